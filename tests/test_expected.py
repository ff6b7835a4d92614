"""How much of a search is done, and how long it will take: what steps cost beside one another."""

import numpy as np
import pytest

import nascore
from nascore import expected as expecting
from nascore.expected import expected, in_words
from nascore.search import prepare

SMALL = {
    "darts": {"budget": "smoke"},
    "enas-micro": {"budget": "smoke"},
    "nas-rl": {"budget": "smoke", "workers": 1},
    "evolution": {"data": "nasbench201", "trials": 30},
    "pnas": {"data": "nasbench201", "trials": 30},
}


@pytest.mark.parametrize("method", SMALL)
def test_the_share_that_is_done_rises_to_all_of_it(method):
    shares = []
    nascore.run(method, progress=lambda step: shares.append(step.share), **SMALL[method])
    assert shares == sorted(shares) and 0 < shares[0] and shares[-1] == pytest.approx(1)


def test_a_batch_that_was_trained_counts_before_its_rows_are_written():
    shares = []
    options = {"trials": 12, "children": 4, "workers": 1, "child_epochs": 1, "budget": "smoke"}
    nascore.run("random", progress=lambda step: shares.append(step.share), **options)
    assert shares[0] > 1 / 12  # at least two children are asked for in one call


def test_a_deeper_child_costs_what_it_has_layers_and_half_the_skips_that_there_may_be():
    search, _ = prepare("nas-rl", trials=6, first_layers=2, added_layers=1, stage=2)
    layers = [2, 2, 3, 3, 4, 4]
    maps = [sum(1 + k / 2 for k in range(d)) for d in layers]  # layer k may read k earlier ones besides
    costs = np.array([search.cost(k) for k in range(7)])
    assert costs / costs[-1] == pytest.approx(np.cumsum([0, *maps]) / sum(maps))


def test_the_time_left_is_that_of_the_children_first_alone_then_several_at_once():
    search, _ = prepare("random", budget="smoke", trials=12, children=4, child_epochs=1, workers=2)
    search.step()
    assert search.left is not None
    estimate = search.estimate
    assert estimate.pace(30.0, 8) == 15.0  # it has its workers from the start
    waits, _ = prepare("random", budget="smoke")
    waits.estimate.workers = 4
    assert waits.estimate.pace(3.0, 8) == 3.0 and waits.estimate.pace(25.0, 8) == 5 + 20 / 4
    assert waits.estimate.pace(25.0, 1) == 25.0  # proposed one by one


def test_a_step_of_the_controller_costs_its_samples_forward_passes():
    search, _ = prepare("enas-micro", budget="smoke", epochs=2, controller_steps=2, samples=6)
    shared = search.train_batches.per_epoch
    assert search.cost(shared) == shared
    assert search.cost(shared + 1) == shared + 6 / 3
    assert search.cost(search.total) == 2 * (shared + 2 * 6 / 3)


def test_what_is_expected_is_the_sum_over_steps_of_a_timed_one(monkeypatch):
    """By a clock that gains two seconds a look, so that each loop is timed by one step, which takes four."""
    clock = iter(range(0, 10_000, 2))
    monkeypatch.setattr(expecting, "monotonic", lambda: next(clock))
    found = expected("darts", budget="smoke", epochs=3)
    total = prepare("darts", budget="smoke", epochs=3)[0].total
    assert found.seconds == 4 * total and found.size == nascore.spaces.get("darts").size()
    found = expected("random", data="nasbench201", budget="full")
    assert (found.size, found.weights) == (15_625, 0)
    child = prepare("random", budget="smoke", trials=10, workers=2)[0].estimate.child
    found = expected("random", budget="smoke", trials=10, workers=2)
    per_child = child.recipe.epochs * -(-prepare("random", budget="smoke")[0].estimate.task.count("train") // 64)
    assert found.seconds == pytest.approx(4 * per_child * 10 / 2, rel=0.3)  # minibatches: to a rest, dropped or kept


@pytest.mark.parametrize(
    "seconds, words",
    [(0.2, "1 s"), (59, "59 s"), (119, "119 s"), (180, "3 minutes"), (7_300, "2 hours"), (1e6, "12 days")],
)
def test_a_time_is_said_in_the_largest_unit_of_which_it_has_two(seconds, words):
    assert in_words(seconds) == words
    assert in_words(7 * 31_557_600) == "7 years"
