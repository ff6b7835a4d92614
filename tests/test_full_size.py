"""Whole searches with trained children: what is stored agrees with the table, and the picture says it."""

import json
from pathlib import Path

import numpy as np
import pytest

from course import full_size
from nascore import spaces
from nascore.estimators import Table

FILE = Path(full_size.__file__).parents[1] / "runs" / "full_size.json"
SPACE, TABLE = spaces.get("nasbench201"), Table()
SEARCHES = full_size.load(FILE)


def test_every_method_searched_three_times_with_as_many_children():
    runs = json.loads(FILE.read_text())
    assert len(SEARCHES) == 12 and {search.name for search in SEARCHES} == {"random", "nas-rl", "nasnet", "pnas"}
    assert all(len(search.cells) == len(search.rewards) == runs["children"]["trials"] for search in SEARCHES)


@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: f"{search.name} {search.seed}")
def test_what_a_search_returns_is_its_best_child_and_its_worth_is_the_tables(search):
    chosen = int(np.argmax(search.rewards))
    if search.name != "pnas":  # it returns the best of its last level
        assert search.cells[chosen] == search.found
    assert search.found in search.cells
    decisions = [int(digit) for digit in np.base_repr(search.found, 5).zfill(6)]
    row = TABLE.row(SPACE.decode(decisions))
    assert full_size.WORTH[search.found] == row["cifar10_test_200ep"]
    assert search.worth[-1] == full_size.WORTH[search.cells[chosen]]


def test_the_place_of_the_best_and_of_the_worst_cell():
    order = np.argsort(full_size.WORTH)
    assert full_size.place(int(order[-1])) == 1 and full_size.place(int(order[0])) > 15_000


def test_rewards_in_the_order_of_worth_agree_wholly():
    cells = np.argsort(full_size.WORTH)[[2_000, 7_000, 12_000, 15_000]]
    up = full_size.Search("random", 0, cells, np.linspace(0.1, 0.4, 4), int(cells[-1]))
    assert full_size.agreement([up]) == pytest.approx(1)
    down = full_size.Search("random", 0, cells, np.linspace(0.4, 0.1, 4), int(cells[0]))
    assert full_size.agreement([down]) == pytest.approx(-1)


@pytest.mark.parametrize("name", ["nas-rl", "nasnet", "pnas"])
def test_the_picture_says_what_was_found(name):
    chart = full_size.beside_random(SEARCHES, name)
    for search in SEARCHES:
        if search.name in ("random", name):
            assert f"{full_size.WORTH[search.found]:.2f}" in chart.words
    assert len(chart.svg) < 60_000
