"""Random search and regularized evolution: published means on the table, exact order statistics, what is drawn."""

import gc
from random import Random

import numpy as np
import pytest
import torch

import nascore
from nascore import spaces
from nascore.errors import UserError
from nascore.estimators import Estimate, Table
from nascore.genotypes import from_json, to_json
from nascore.methods.blackbox import (
    EvolutionBudget,
    RandomBudget,
    RandomSearch,
    RegularizedEvolution,
)

TABLE, BENCH = Table(), spaces.get("nasbench201")
SEEDS, QUERIES = 200, (100, 300, 1_000)


def finished(search):
    while not search.done:
        search.step()
    return search


def half(genotypes):
    return [0.5 for _ in genotypes]


def incumbents(cls, budget) -> np.ndarray:
    """(seeds, queries): the 200-epoch test accuracy of the best cell by 12-epoch validation."""
    found = np.empty((SEEDS, len(QUERIES)))
    gc.disable()  # nothing here is cyclic, and passes over 15,625 cached cells would double the time
    try:
        for seed in range(SEEDS):
            search = cls(BENCH, TABLE, budget, seed)
            for column, queries in enumerate(QUERIES):
                while len(search.history) < queries:
                    search.step()
                found[seed, column] = search.best.details["cifar10_test_200ep"]
    finally:
        gc.enable()
    return found


def expected_best(column: str, n: int) -> float:
    """E of `column` at the best of n cells drawn without repeats: the best has rank k (1 the worst) with probability
    C(k-1, n-1) / C(15625, n)."""
    order = np.argsort(TABLE.columns["cifar10_valid"], kind="stable")
    ratios = [(k - n) / (k - 1) for k in range(5**6, 1, -1)]  # of C(k-2, n-1) to C(k-1, n-1)
    probabilities = n / 5**6 * np.cumprod([1.0, *ratios])[::-1]
    return float(np.dot(probabilities, TABLE.columns[column][order]))


@pytest.mark.parametrize(
    "n, valid, test, report",
    [
        (10, 80.6246, 86.0798, 92.5781),
        (50, 83.2051, 87.7505, 93.4673),
        (100, 83.6980, 88.0941, 93.7309),
        (300, 84.1537, 88.3909, 93.9400),
        (1_000, 84.4839, 88.6134, 94.0669),
    ],
)
def test_exact_order_statistics_of_the_table(n, valid, test, report):
    columns = ("cifar10_valid", "cifar10_test", "cifar10_test_200ep")
    assert [expected_best(column, n) for column in columns] == pytest.approx([valid, test, report], abs=0.01)


def test_random_search_finds_what_order_statistics_say():
    found = incumbents(RandomSearch, RandomBudget(trials=1_000))
    errors = found.std(0, ddof=1) / SEEDS**0.5
    assert np.all(np.abs(found.mean(0) - [93.73, 93.94, 94.07]) < 4 * errors), (found.mean(0), errors)


def test_evolution_finds_what_it_is_known_to_find():
    found = incumbents(RegularizedEvolution, EvolutionBudget(trials=1_000, population_size=10, sample_size=10))
    errors = found.std(0, ddof=1) / SEEDS**0.5
    assert np.all(np.abs(found.mean(0) - [94.07, 94.23, 94.32]) < 4 * errors), (found.mean(0), errors)


@pytest.mark.parametrize("method", ["random", "evolution"])
def test_five_hundred_queries_ask_the_table_five_hundred_times(method, tmp_path, monkeypatch):
    asked, row = [], Table.row
    monkeypatch.setattr(Table, "row", lambda table, genotype: (asked.append(genotype), row(table, genotype))[1])
    result = nascore.run(method, data="nasbench201", trials=500, directory=tmp_path, progress=False)
    assert len(asked) == 500
    assert len(result.history) == 500 and result.details["cifar10_test_200ep"] > 90


def test_random_search_repeats_nothing_until_it_has_seen_everything():
    space = spaces.get("darts", nodes=1, primitives=("none", "skip_connect", "sep_conv_3x3"))
    search = finished(RandomSearch(space, half, RandomBudget(trials=40), seed=0))
    assert space.size() == 16 and len(set(search.decisions[:16])) == 16
    assert len(search.history) == 40
    everything = finished(RandomSearch(BENCH, TABLE, RandomBudget(trials=5**6), seed=0))
    assert len(set(everything.decisions)) == 5**6 and everything.best.details["index"] == 13714


def test_a_child_of_evolution_differs_in_one_decision_from_someone_alive():
    search = finished(RegularizedEvolution(BENCH, TABLE, EvolutionBudget(trials=300), seed=1))
    for born in range(10, 300):
        alive = search.decisions[born - 10 : born]
        assert 1 in [sum(a != b for a, b in zip(search.decisions[born], parent)) for parent in alive]


def test_the_oldest_dies_even_when_it_is_the_best():
    """One cell is worth 1, all others nothing; with a sample as large as it gets the best alive is always the parent,
    so its neighbours are born until it is too old, and never again."""
    space, worth = spaces.get("enas-micro"), []

    def only_the_first(genotypes):
        worth.append(1.0 if not worth else 0.0)
        return worth[-1:]

    budget = EvolutionBudget(trials=400, population_size=10, sample_size=1_000)
    search = finished(RegularizedEvolution(space, only_the_first, budget, seed=0))
    first = search.decisions[0]
    distance = [sum(a != b for a, b in zip(first, decisions)) for decisions in search.decisions]
    assert distance[10] == 1 and min(distance[11:]) > 1


def test_evolution_samples_with_replacement():
    """A sample as large as the population, without replacement, would always hold the best; with it, the best is
    missing with probability (1 - 1/2)^2 in a population of two."""
    space, missing, runs = spaces.get("enas-micro"), 0, 400
    for seed in range(runs):
        rewards = iter([1.0, 0.0, 0.0])
        budget = EvolutionBudget(trials=3, population_size=2, sample_size=2)
        search = finished(RegularizedEvolution(space, lambda genotypes, r=rewards: [next(r)], budget, seed))
        best, other, child = search.decisions
        missing += sum(a != b for a, b in zip(other, child)) == 1
    assert abs(missing / runs - 1 / 4) < 4 * (0.25 * 0.75 / runs) ** 0.5


@pytest.mark.parametrize("cls, budget", [(RandomSearch, RandomBudget), (RegularizedEvolution, EvolutionBudget)])
@pytest.mark.parametrize("steps", [0, 4, 37])
def test_a_resumed_search_equals_one_that_was_not_interrupted(cls, budget, steps, tmp_path):
    whole = finished(cls(BENCH, TABLE, budget(trials=60), seed=5))
    first = cls(BENCH, TABLE, budget(trials=60), seed=5)
    for _ in range(steps):
        first.step()
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = cls(BENCH, TABLE, budget(trials=60), seed=99)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    finished(second)
    assert second.history == whole.history and second.best == whole.best
    assert second.generator.getstate() == whole.generator.getstate()


def test_the_history_has_the_plain_reward_and_the_genotype_as_json():
    search = finished(RandomSearch(BENCH, TABLE, RandomBudget(trials=20), seed=0))
    for step, row in enumerate(search.history, 1):
        genotype = BENCH.decode(search.decisions[step - 1])
        assert row["step"] == step and row["reward"] == TABLE([genotype])[0].reward
        assert row["genotype"]["kind"] == "cell" and from_json(to_json(genotype)) == genotype
    rewards = [row["reward"] for row in search.history]
    assert search.best.reward == max(rewards) and [row["best"] for row in search.history][-1] == max(rewards)


def test_a_child_that_failed_is_a_trial_with_an_error_and_the_search_goes_on():
    answers = [Estimate(0.0, error="it diverged"), 0.7, Estimate(float("nan")), 0.6]
    space = spaces.get("darts")
    search = finished(RandomSearch(space, lambda genotypes: answers, RandomBudget(trials=4), seed=0))
    assert [row["reward"] for row in search.history] == [0.0, 0.7, 0.0, 0.6]
    assert search.history[0]["error"] == "it diverged" and search.history[2]["error"] == "the reward was nan"
    assert search.best.reward == 0.7 and search.best.details == {}


def test_a_space_of_ones_own_works_with_both():
    class Bits:
        """Eight bits; a genotype is what the estimator understands."""

        name = "bits"

        def choices_at(self, prefix):
            return 2 if len(prefix) < 8 else 0

        def decode(self, decisions):
            return spaces.get("nasbench201").decode(list(decisions)[:6])

        def size(self):
            return 2**8

        def sample(self, generator: Random):
            return np.array([generator.getrandbits(1) for _ in range(8)])

        def mutate(self, decisions, generator: Random):
            place = generator.randrange(8)
            return [1 - d if i == place else d for i, d in enumerate(decisions)]

    for cls, budget in ((RandomSearch, RandomBudget), (RegularizedEvolution, EvolutionBudget)):
        search = finished(cls(Bits(), half, budget(trials=30), seed=0))
        assert len(search.history) == 30 and all(type(d) is int for one in search.decisions for d in one)


def test_presets_and_bounds():
    full = EvolutionBudget.preset("full")
    assert (full.trials, full.population_size, full.sample_size) == (20_000, 100, 25)  # Real et al.
    assert EvolutionBudget.preset("reduced").population_size == 10
    with pytest.raises(UserError, match="population_size: found 0, allowed: a whole number from 1 to"):
        EvolutionBudget.preset("reduced", population_size=0)
