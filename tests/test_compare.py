"""Comparisons of searchers: the protocol of comparison.md, its statistics against scipy and by hand, a user's own."""

import json

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from course.comparing import Comparison, compare, holm, incumbents, interval
from nascore.errors import UserError
from nascore.estimators import Table


def at_random(history, space, random):
    return space.sample(random)


def always_the_best(history, space, random):
    return [3, 3, 1, 3, 3, 2]


@pytest.fixture(scope="module")
def found():
    both = {"mine": at_random, "evolution": "evolution"}
    return compare(both, seeds=30, queries=60, workers=2, progress=False)


def test_the_incumbent_is_the_best_by_the_signal_and_the_first_of_equals():
    signal = np.array([0.1, 0.9, 0.5, 0.9])
    assert incumbents(np.array([[2, 0, 1, 3, 2]]), signal).tolist() == [[2, 2, 1, 1, 1]]


def test_random_search_is_as_good_as_order_statistics_say():
    """comparison.md, section 4: 93.4673 is expected of the best of 50 drawn without repeats."""
    found = compare(["random"], seeds=200, queries=50, progress=False)
    last = found.last["random"]
    assert abs(last.mean() - 93.4673) < 4 * last.std() / 200**0.5


def test_a_function_of_ones_own_is_a_searcher(found):
    assert found.found["mine"].shape == found.found["evolution"].shape == (30, 60)
    assert [row["name"] for row in found.rows] == ["evolution", "mine"]
    text = str(found)
    assert "evolution" in text and f"{found.rows[0]['mean']:.2f}" in text


def test_the_same_seeds_give_the_same_whatever_the_workers(found):
    again = compare({"mine": at_random}, seeds=7, queries=60, workers=1, progress=False)
    assert (again.found["mine"] == found.found["mine"][:7]).all()


def test_holms_correction():
    """Holm 1979, by hand: 0.01 * 3, 0.02 * 2, then never less than the one before."""
    assert holm([0.02, 0.01, 0.03]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])


def test_pairs_are_tested_as_scipy_does(found):
    (pair,) = found.pairs
    a, b = found.last[pair["a"]], found.last[pair["b"]]
    assert pair["p"] == mannwhitneyu(a, b).pvalue
    wins = (a[:, None] > b).mean() + (a[:, None] == b).mean() / 2
    assert pair["superior"] == pytest.approx(wins)


def test_it_says_in_words_what_is_luck():
    random = np.random.default_rng(0)
    values = 90 + random.normal(size=(50, 3))
    twins = {"a": values, "b": values[::-1]}
    (line,) = Comparison("cifar10", twins).words("a")
    assert line.endswith("it may be luck")
    better = twins | {"b": twins["b"] + 3}
    (line,) = Comparison("cifar10", better).words("b")
    assert line.startswith("b against a: +") and line.endswith("a difference")


def test_the_interval_of_a_mean_covers_it_as_often_as_it_says():
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(60):
        low, high = interval(random.normal(size=40))
        hits += low < 0 < high
    assert 49 <= hits <= 60  # 57 are expected


def test_what_was_run_is_kept_and_only_what_is_missing_is_run(tmp_path, found):
    how = dict(queries=60, directory=tmp_path, progress=False, workers=1)
    compare({"mine": at_random}, seeds=5, **how)
    kept = json.loads((tmp_path / "cifar10-mine.json").read_text())
    kept["runs"][0] = " ".join(["0"] * 60)  # a trace of the file: it is believed
    (tmp_path / "cifar10-mine.json").write_text(json.dumps(kept))
    more = compare({"mine": at_random}, seeds=10, **how)
    assert (more.found["mine"][1:10] == found.found["mine"][1:10]).all()
    assert (more.found["mine"][0] == Table().columns["cifar10_test_200ep"][0]).all()
    other = compare({"mine": always_the_best}, seeds=2, **how)  # another function of that name
    assert (other.found["mine"] > 90).all()


@pytest.mark.parametrize(
    ("methods", "how", "line"),
    [
        (["darts"], {}, "compare: found 'darts', allowed: a method that asks an estimator"),
        (["rondom"], {}, "rondom"),
        (["random"], {"data": "mnist"}, "data: found 'mnist', allowed:"),
        (["random"], {"seeds": 1}, "seeds: found 1, allowed:"),
        ({"mine": lambda history, space, random: [9] * 6}, {}, "mine: "),
        ({"mine": lambda history, space, random: 1 / 0}, {}, "division by zero"),
        ({}, {}, "methods: found {}, allowed: one or more"),
    ],
)
def test_a_users_mistakes_are_one_line(methods, how, line):
    with pytest.raises(UserError, match=line.replace("{}", r"\{\}")) as error:
        compare(methods, **{"seeds": 2, "queries": 3, "workers": 1, "progress": False} | how)
    assert "\n" not in str(error.value)
