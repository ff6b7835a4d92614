"""PNAS: Algorithm 1 step by step, the paper's numbers, what is kept and what is returned, whole searches."""

import copy

import pytest
import torch

import nascore
from nascore import spaces
from nascore.errors import UserError
from nascore.estimators import Table
from nascore.genotypes import canonical
from nascore.methods import pnas
from nascore.methods.pnas import PNAS, PNASBudget, distinct, next_blocks, top_k

TWO, BENCH = spaces.get("pnas", blocks=2), spaces.get("nasbench201")
QUICK = PNASBudget.preset("reduced", steps=5, predictor="mlp")


def convolutions(genotypes):
    """A reward that wants separable convolutions, and late inputs."""
    rewards = []
    for genotype in genotypes:
        pairs = [pair for node in genotype.normal.nodes for pair in zip(node.inputs, node.ops)]
        rewards.append(0.5 + 0.2 * sum(op.startswith("sep") + 0.1 * j for j, op in pairs) / len(pairs))
    return rewards


def finished(search):
    while not search.done:
        search.step()
    return search


def expand(space, parents):
    """Every parent with every block."""
    return [(*parent, *block) for parent in parents for block in next_blocks(space, len(parents[0]))]


def test_full_is_the_paper_s_own_and_trains_1160_models():
    """136 of one block, then 256 a level; 0.9 million examples each are 1.044 billion (`test_search` counts the images
    of a child)."""
    full = PNASBudget.preset("full")
    assert (full.beam, full.blocks, full.child_epochs, full.channels, full.cells, full.recipe, full.predictor) == (
        256, 5, 20, 24, 6, "pnas-child", "mlp-ensemble",
    )  # fmt: skip
    search = PNAS(spaces.get("pnas"), convolutions, full, seed=0)
    assert len(search.queue) == 136 and 136 + 4 * full.beam == full.trials == 1160
    assert full.trials * full.child_epochs * 45_000 == 1_044_000_000
    assert PNAS.own_space(full).levels == (4, 8, 12, 16, 20)


def test_expansion_takes_every_parent_and_every_block():
    first = list(distinct(TWO, next_blocks(TWO)))
    assert len(first) == 136 and len(expand(TWO, first)) == 78_336


def test_the_k_best_are_distinct_and_in_order():
    """Against all children, decoded and sorted one by one."""
    parents = [(0, 1, 0, 4), (1, 0, 4, 0)]  # one cell, written in two ways
    scores = torch.rand(2, 576, generator=torch.Generator().manual_seed(0)).round(decimals=2)  # with ties
    children = expand(TWO, parents)
    order = sorted(range(len(children)), key=lambda k: -scores.flatten()[k].item())
    best = {}
    for k in order:
        best.setdefault(canonical(TWO.decode(children[k])), (children[k], scores.flatten()[k].item()))
    kept = top_k(TWO, parents, scores, 200)
    assert kept == list(best.values())[:200]
    assert len({canonical(TWO.decode(child)) for child, _ in kept}) == 200
    assert top_k(TWO, parents, scores, 50, known=[child for child, _ in kept[:150]]) == kept[150:]
    assert len(top_k(TWO, parents, scores, 10_000)) == len(best)


def test_nothing_is_built_that_is_not_looked_at():
    class Counting:
        levels, choices_at, decoded = TWO.levels, TWO.choices_at, 0

        def decode(self, decisions):
            self.decoded += 1
            return TWO.decode(decisions)

    space, parents = Counting(), list(distinct(TWO, next_blocks(TWO)))
    assert len(top_k(space, parents, torch.rand(136, 576), 5)) == 5 and space.decoded < 20


def test_a_search_climbs_level_by_level_and_keeps_what_its_predictor_ranks_first():
    search = PNAS(BENCH, Table(), PNASBudget.preset("reduced", trials=45, beam=20, steps=20), seed=3)
    finished(search)
    levels = [row["level"] for row in search.history]
    assert levels == [1] * 5 + [2] * 20 + [3] * 20
    rows, parents, seen = search.history, search.decisions[5:25], search.decisions[:25]
    del search.trials[25:], search.rewards[25:]
    predictor = search.fitted(2)
    scores = predictor.score_children(parents).flatten()
    assert scores.shape == (20 * 125,)
    kept = [row["predicted"] for row in rows[25:]]
    assert kept == sorted(kept, reverse=True) and kept[0] == pytest.approx(scores.max().item(), abs=1e-6)
    assert all("predicted" not in row for row in rows[:5])
    forms = {canonical(BENCH.decode(d)) for d in seen}
    assert len(forms) == 25


def test_each_level_is_a_fit_of_its_own_on_everything_so_far(monkeypatch):
    """0.01 for one block, 0.002 for more; the steps of the budget; another start for every seed and level; and what was
    evaluated before is not evaluated again."""
    seen = {"fit": [], "make": [], "top_k": []}

    def spied(name, call):  # with the lists as they are at that time: they grow
        return lambda *data, **how: seen[name].append(copy.deepcopy((data, how))) or call(*data, **how)

    for name in seen:
        monkeypatch.setattr(pnas, name, spied(name, getattr(pnas, name)))
    searches = [
        finished(PNAS(BENCH, Table(), PNASBudget.preset("reduced", trials=15, beam=5, steps=3), seed))
        for seed in (0, 1)
    ]
    assert [how["learning_rate"] for _, how in seen["fit"]] == [0.01, 0.002] * 2
    assert [how["steps"] for _, how in seen["fit"]] == [3] * 4
    assert [len(data) for (_, data, _), _ in seen["fit"]] == [5, 10] * 2
    assert len({how["seed"] for _, how in seen["fit"]}) == len({a[2] for a, _ in seen["make"]}) == 4
    assert [how["known"] for _, how in seen["top_k"]] == [s.decisions[:n] for s in searches for n in (5, 10)]
    for search in searches:
        fits = [row["fit_correlation"] for row in search.history[5:]]
        assert len(set(fits[:5])) == len(set(fits[5:])) == 1 and fits[0] != fits[5] and 0 < max(fits) <= 1


def test_a_single_cell_of_the_first_level_teaches_every_member():
    search = finished(PNAS(BENCH, Table(), PNASBudget.preset("reduced", trials=9, beam=4, first=1, steps=2), seed=0))
    assert all(0 < row["predicted"] < 1 for row in search.history[1:])


def test_too_few_trials_for_the_first_level_are_spent_at_random():
    """In the order of enumeration the last 36 of the 136, which read c_{k-1} twice, would never be tried."""
    tried = PNAS(TWO, convolutions, PNASBudget.preset("full", trials=100), seed=0).queue
    assert len(tried) == 100 and 10 < sum(decisions[:2] == (1, 1) for decisions, _ in tried) < 36
    other = PNAS(TWO, convolutions, PNASBudget.preset("full", trials=100), seed=1).queue
    assert tried != other


def test_it_returns_the_best_of_the_largest_level():
    def small(genotypes):
        return [1 / len(genotype.normal.nodes) for genotype in genotypes]

    result = nascore.run("pnas", estimate=small, budget=QUICK, progress=False)
    assert result.reward == 1 / 3 and len(result.genotype.normal.nodes) == 3
    stopped = nascore.run("pnas", estimate=small, budget=QUICK, trials=14, beam=8, progress=False)
    assert len(stopped.genotype.normal.nodes) == 2 and len(stopped.history) == 14


def test_an_even_share_of_the_trials_goes_to_each_level():
    search = finished(PNAS(BENCH, Table(), PNASBudget.preset("reduced", trials=300, steps=2), seed=0))
    levels = [row["level"] for row in search.history]
    assert [levels.count(level) for level in (1, 2, 3)] == [5, 125, 170]  # the second level has no more than 125


@pytest.mark.parametrize(
    "space, fields, totals",
    [
        (BENCH, dict(trials=1000, beam=7), [5 + 7 + 7]),
        (BENCH, dict(trials=300), [300]),
        (BENCH, dict(trials=40, beam=10, first=2), [2 + 10 + 10]),
        (BENCH, dict(trials=4, first=9), [4]),  # fewer than the first level: nothing grows
        (TWO, dict(trials=1000, first=1), [1 + 576, 1 + 300]),  # lists, until it is known that they mean 300 cells
    ],
)
def test_the_search_ends_when_the_last_level_is_evaluated_and_its_progress_counts_to_that(space, fields, totals):
    estimate = Table() if space is BENCH else convolutions
    search, seen = PNAS(space, estimate, PNASBudget.preset("reduced", steps=1, **{"first": 0, **fields}), seed=0), []
    while not search.done:
        seen.append(search.step().total)
    assert len(search.history) == totals[-1] and list(dict.fromkeys(seen)) == totals
    again = PNAS(space, estimate, search.budget, seed=0)
    again.load_state_dict(search.state_dict())
    assert again.total == totals[-1]


@pytest.mark.parametrize("stop_at", [3, 9, 17, 25])
def test_a_search_stopped_anywhere_goes_on_to_the_same_bits(tmp_path, stop_at):
    def run(**options):
        return nascore.run("pnas", estimate=convolutions, budget=QUICK, progress=False, seed=3, **options)

    whole, steps = run(), iter(range(26))
    stopped = run(directory=tmp_path, stop=lambda: next(steps) == stop_at)
    assert len(stopped.history) == stop_at and not stopped.finished
    resumed = run(directory=tmp_path, resume=True)
    assert resumed.history == whole.history and resumed.genotype == whole.genotype and len(whole.history) == 26


def test_a_resumed_search_remembers_which_of_two_equal_rewards_was_the_best():
    search = PNAS(BENCH, lambda genotypes: [0.5] * len(genotypes), QUICK, seed=0)
    finished(search)
    again = PNAS(BENCH, search.estimate, QUICK, seed=0)
    again.load_state_dict(search.state_dict())
    assert again.best == search.best and again.done
    assert canonical(search.best.genotype) == canonical(BENCH.decode(search.decisions[search.best_at]))
    assert len(search.decisions[search.best_at]) == 6


def test_the_predictor_finds_what_random_search_does_not():
    rewards = {}
    for method in ("pnas", "random"):
        runs = [nascore.run(method, estimate=convolutions, space=spaces.get("pnas", blocks=3), trials=40, seed=seed,
                            progress=False).reward for seed in range(3)]  # fmt: skip
        rewards[method] = sum(runs) / 3
    assert rewards["pnas"] > rewards["random"] + 0.02


def test_it_grows_chains_too_and_a_space_without_levels_is_refused():
    chains = spaces.get("nas-rl", layers=3)
    estimate = lambda gs: [sum(layer.filters for layer in g.layers) / (64 * len(g.layers)) for g in gs]  # noqa: E731
    result = nascore.run("pnas", space=chains, estimate=estimate, trials=40, first=20, progress=False)
    assert len(result.genotype.layers) == 3 and result.reward > 0.9
    with pytest.raises(UserError, match="^pnas grows architectures and space 'darts' has no levels; allowed: .*pnas"):
        nascore.run("pnas", space="darts", estimate=convolutions, progress=False)


def test_a_space_whose_options_depend_on_the_decisions_before_is_refused():
    class Uneven(type(BENCH)):
        def choices_at(self, prefix):
            return super().choices_at(prefix) - (len(prefix) == 2 and prefix[1] == 3)

    space = Uneven("mine", BENCH.skeleton, BENCH.primitives, 3, ("normal",))
    with pytest.raises(UserError, match=r"^options of decision 2 after \(\d, 3\): found 4, allowed: 5, as after zeros"):
        nascore.run("pnas", space=space, estimate=convolutions, progress=False)


def test_running_out_of_memory_names_the_beam(monkeypatch):
    def full(*arguments, **how):
        raise MemoryError

    monkeypatch.setattr(pnas, "top_k", full)
    with pytest.raises(UserError, match="^out of memory: lower --beam$"):
        finished(PNAS(BENCH, Table(), PNASBudget.preset("reduced", steps=1), seed=0))
