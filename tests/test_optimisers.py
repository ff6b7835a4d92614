"""Brute force, local search, Q-learning, a particle swarm and Optuna: figures of comparison.md on the table, exact
facts, and a resumed run that equals an uninterrupted one."""

import numpy as np
import pytest
import torch

import nascore
from course import swarm  # noqa: F401  registers it
from course.comparing import Queried
from course.q_learning import QLearning, QLearningBudget
from nascore import registry, spaces
from nascore.errors import UserError
from nascore.estimators import Table
from nascore.methods.blackbox import neighbours

SPACE, TABLE = spaces.get("nasbench201"), Table()
SIGNAL, TEST = TABLE.columns["cifar10_valid"], TABLE.columns["cifar10_test_200ep"]
NEW = {
    "exhaustive": {},
    "local-search": {},
    "local-search best": {"improvement": "best"},
    "q-learning": {},
    "particle-swarm": {},
    "optuna": {},
}


@pytest.fixture(scope="module")
def queried():
    return Queried.of("cifar10")


def build(name, queried, trials, seed, **fields):
    entry = registry.get(name.split()[0])
    return entry.build(SPACE, queried, entry.budget.preset("reduced", trials=trials, **fields), seed)


def finished(search, steps=None):
    while not search.done and (steps is None or search.recorded < steps):
        search.step()
    return search


def reports(name, queried, trials, seeds, **fields) -> np.ndarray:
    """The 200-epoch test accuracy of the best cell by 12-epoch validation, of each seed."""
    found = [finished(build(name, queried, trials, seed, **fields)).best.decisions for seed in range(seeds)]
    return np.array([TEST[int("".join(map(str, decisions)), 5)] for decisions in found])


# --- brute force ------------------------------------------------------------------------------------------------------


def test_brute_force_finds_the_best_cell_of_the_table_and_sees_every_cell_once(queried):
    search = finished(build("exhaustive", queried, 0, 0))
    assert len(set(search.decisions)) == search.total == 15_625
    assert round(100 * search.best.reward, 3) == 84.892


def test_a_space_too_large_for_brute_force_is_one_line():
    with pytest.raises(UserError, match="allowed: at most 1,000,000, or --trials N for the first N"):
        nascore.run("exhaustive", data="digits", progress=False)


# --- local search -----------------------------------------------------------------------------------------------------


def test_a_cell_of_the_table_has_24_neighbours():
    around = neighbours(SPACE, (0, 1, 2, 3, 4, 0))
    assert len(set(around)) == 24
    assert all(sum(a != b for a, b in zip(there, (0, 1, 2, 3, 4, 0))) == 1 for there in around)


@pytest.mark.parametrize(("improvement", "at_100", "sd"), [("first", 94.15, 0.30), ("best", 93.96, 0.49)])
def test_local_search_reaches_what_comparison_md_says(queried, improvement, at_100, sd):
    """comparison.md, section 4: 500 seeds; every seed is at the best cell after 1,000 queries."""
    seeds = 60
    found = reports("local-search", queried, 100, seeds, improvement=improvement)
    assert abs(found.mean() - at_100) < 4 * sd * (1 / seeds + 1 / 500) ** 0.5
    assert (reports("local-search", queried, 1000, 10, improvement=improvement) == 94.3733).all()


def test_local_search_queries_nothing_twice_and_ends_when_everything_is_known():
    space = spaces.get("darts", nodes=1, primitives=("skip_connect", "max_pool_3x3"))
    entry = registry.get("local-search")
    search = entry.build(space, lambda genotypes: [0.5] * len(genotypes), entry.budget.preset("full"), 0)
    finished(search)
    assert len(set(search.decisions)) == len(search.decisions) == space.size() < 1000


# --- Q-learning -------------------------------------------------------------------------------------------------------


def test_states_are_the_decisions_so_far():
    search = QLearning(SPACE, None, QLearningBudget(), 0)
    states = search.states(torch.tensor([[3, 1, 4, 0, 2, 2]]))
    assert states.shape == (1, 6, 30) and states.sum(2).tolist() == [[0, 1, 2, 3, 4, 5]]
    assert states[0, 2].nonzero().flatten().tolist() == [3, 6]


def test_q_learning_learns_the_values_that_dynamic_programming_gives():
    """Two decisions of two options; Q of the first is the best that can follow."""
    worth = {(0, 0): 0.2, (0, 1): 0.9, (1, 0): 0.5, (1, 1): 0.6}
    space = spaces.get("nasbench201")

    class Small:
        name, choices = "small", (2, 2)

        def choices_at(self, prefix):
            return 2 if len(prefix) < 2 else 0

        def size(self):
            return 4

        def sample(self, random):
            return [random.randrange(2), random.randrange(2)]

        def decode(self, decisions):
            return space.decode([*decisions, 0, 0, 0, 0])

    budget = QLearningBudget(trials=150, epsilon=0.5, updates=10, learning_rate=0.01)
    answers = {Small().decode(decisions): value for decisions, value in worth.items()}
    search = finished(QLearning(Small(), lambda gs: [answers[g] for g in gs], budget, 0))
    with torch.no_grad():
        values = search.network(search.states(torch.tensor([[0, 0], [1, 0]])))
    assert values[0, 0].tolist() == pytest.approx([0.9, 0.6], abs=0.02)
    assert values[:, 1].flatten().tolist() == pytest.approx(list(worth.values()), abs=0.02)


def test_q_learning_begins_with_random_search_and_ends_with_few_random_decisions(queried):
    always = finished(build("q-learning", queried, 200, 0, exploring=1.0, epsilon=1.0))
    counts = np.bincount(np.array(always.decisions).ravel(), minlength=5)
    assert counts.sum() == 1200 and abs(counts - 240).max() < 60  # four standard deviations
    never = finished(build("q-learning", queried, 40, 0, exploring=0.0, epsilon=0.0, updates=1, learning_rate=0.0))
    assert len(set(never.decisions[1:])) == 1


# --- a particle swarm -------------------------------------------------------------------------------------------------


def test_a_particle_with_no_velocity_is_anywhere_and_one_that_is_pulled_is_where_it_was_best(queried):
    still = finished(build("particle-swarm", queried, 500, 0, own=0.0, social=0.0))
    counts = np.bincount(np.array(still.decisions).ravel(), minlength=5)
    assert abs(counts - 600).max() < 4 * (3000 * 0.2 * 0.8) ** 0.5
    pulled = finished(build("particle-swarm", queried, 500, 0, limit=50.0))
    best = np.array(pulled.best.decisions)
    assert (np.array(pulled.decisions)[-50:] == best).mean() > 0.5  # of places anywhere, a fifth


# --- Optuna -----------------------------------------------------------------------------------------------------------


def test_tpe_reaches_what_others_measured(queried):
    """comparison-addenda.md: 94.16 +- 0.25 after 100 queries, 60 seeds."""
    pytest.importorskip("optuna")
    seeds = 12
    found = reports("optuna", queried, 100, seeds)
    assert abs(found.mean() - 94.16) < 4 * 0.25 * (1 / seeds + 1 / 60) ** 0.5


# --- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NEW)
def test_a_resumed_search_equals_one_that_was_not_stopped(name, queried, tmp_path):
    if name == "optuna":
        pytest.importorskip("optuna")
    how = dict(data="nasbench201", seed=3, progress=False, trials=37, children=4, **NEW[name])
    method = name.split()[0]
    whole = nascore.run(method, **how)
    seen = []
    how |= dict(directory=tmp_path / "run")
    first = nascore.run(method, **how, stop=lambda: seen.append(1) or len(seen) > 22)
    assert not first.finished
    again = nascore.run(method, **how, resume=True)
    assert again.finished and again.history == whole.history


@pytest.mark.parametrize("name", [name for name in NEW if name != "exhaustive"])
def test_a_bound_is_kept_and_a_resumed_search_keeps_it(name, tmp_path):
    if name == "optuna":
        pytest.importorskip("optuna")
    how = dict(data="nasbench201", seed=1, progress=False, trials=20, max_multiply_adds=60_000_000, **NEW[name])
    method = name.split()[0]
    whole = nascore.run(method, **how)
    assert all(row["multiply_adds"] <= 60_000_000 for row in whole.history)
    seen = []
    how |= dict(directory=tmp_path / "run")
    nascore.run(method, **how, stop=lambda: seen.append(1) or len(seen) > 14)
    assert nascore.run(method, **how, resume=True).history == whole.history


@pytest.mark.parametrize("name", NEW)
def test_they_search_other_spaces_with_trained_children(name):
    if name == "optuna":
        pytest.importorskip("optuna")
    method = name.split()[0]
    found = nascore.run(method, budget="smoke", progress=False, **NEW[name])
    assert len(found.history) == 3 and found.reward > 0
