"""PNAS against its paper's words, written out (its authors published the found network alone).

The counts of `course.counting`, `canonical` and `distinct` against cells under every numbering of
their blocks; `make`, `Predictor.predict` and `score_children` against nn.LSTM and against
embeddings side by side, within 3e-15; `fit` against three steps of Adam by hand, within 2e-13; the
levels of `PNAS` against Algorithm 1, within 2e-15.
"""

import math
import random
from collections.abc import Sequence
from itertools import permutations, product

import pytest
import torch
from comparing import BITS, agree
from torch import Tensor, nn

from course.counting import enumerate_unique, unique_cells
from nascore import spaces
from nascore.genotypes import Cell, Genotype, canonical
from nascore.methods.pnas import PNAS, PNASBudget, distinct, next_blocks
from nascore.predictors import Predictor, fit, make
from nascore.seeding import generator, seed_of
from nascore.spaces.cells import Blocks

Decisions = tuple[int, ...]
Pairs = Sequence[Sequence[tuple[int, int]]]  # of each block: its (input, operation) pairs

# --- how many cells there are ---------------------------------------------------------------------


def form(cell: Pairs) -> tuple:
    """The same for all numberings of a cell's blocks: the least of what they give."""
    forms = []
    for new in permutations(range(len(cell))):
        renumbered = []
        for b, block in enumerate(cell):
            pairs = ((j if j < 2 else 2 + new[j - 2], op) for j, op in block)
            renumbered.append((new[b], tuple(sorted(pairs))))
        forms.append(tuple(sorted(renumbered)))
    return min(forms)


def unique_by_force(blocks: int, ops: int) -> int:
    """Every list of blocks, its pairs in order, once for each form."""
    of_a_block = []
    for b in range(blocks):
        pairs = list(product(range(2 + b), range(ops)))
        of_a_block.append({tuple(sorted(two)) for two in product(pairs, pairs)})
    return len({form(cell) for cell in product(*of_a_block)})


SIZES = [(1, 1), (1, 8), (2, 1), (2, 2), (3, 1)]
LARGE = [pytest.param(*size, marks=pytest.mark.long) for size in ((2, 3), (3, 2))]


@pytest.mark.parametrize("blocks, ops", SIZES + LARGE)
def test_counts_of_unique_cells(blocks, ops):
    count = unique_by_force(blocks, ops)
    assert unique_cells(blocks, ops) == count
    assert len(enumerate_unique(blocks, ops)) == count


@pytest.mark.parametrize("blocks, ops", [(2, 2), *LARGE])
def test_canonical_genotypes_are_as_many(blocks, ops):
    primitives = spaces.PNAS_PRIMITIVES[:ops]
    order = ("input 1", "input 2", "op 1", "op 2")
    space = Blocks("pnas", "pnasnet", primitives, blocks, ("normal",), order, "all")
    lists = product(*map(range, space.choices))
    assert len({canonical(space.decode(a)) for a in lists}) == unique_by_force(blocks, ops)


def test_published_counts():
    published = [136, 31_620, 10_979_688, 5_194_395_866, 3_147_356_952_080]
    assert [unique_cells(b) for b in (1, 2, 3, 4, 5)] == published
    space = spaces.get("pnas")
    assert len(list(distinct(space, next_blocks(space)))) == 136


# --- the predictors -------------------------------------------------------------------------------

SPACE = spaces.get("pnas", blocks=5)
INPUTS = 6  # rows of the table of embeddings: so many inputs, then the operations
PREDICTORS = {  # members, parameters
    "lstm": (1, 82_301),
    "mlp": (1, 51_701),
    "lstm-ensemble": (5, 5 * 82_301),
    "mlp-ensemble": (5, 5 * 51_701),
}


def architectures(count: int) -> list[Decisions]:
    """Of one to five blocks."""
    rng = random.Random(11)
    return [tuple(SPACE.sample(rng))[: 4 * rng.randint(1, 5)] for _ in range(count)]


def member(predictor: Predictor, m: int) -> dict[str, Tensor]:
    """A copy of the weights of one member, by name."""
    return {name: p[m].detach().clone() for name, p in predictor.named_parameters()}


def embedded(weights: dict[str, Tensor], decisions: Decisions) -> Tensor:
    """(T, 100): a block is two inputs, then two operations."""
    rows = [d if t % 4 < 2 else INPUTS + d for t, d in enumerate(decisions)]
    return weights["embedding"][rows]


def by_lstm(weights: dict[str, Tensor], decisions: Decisions) -> Tensor:
    lstm = nn.LSTM(100, 100)
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(weights["weight_ih"].T)
        lstm.weight_hh_l0.copy_(weights["weight_hh"].T)
        lstm.bias_ih_l0.copy_(weights["bias_ih"][0])
        lstm.bias_hh_l0.copy_(weights["bias_hh"][0])
        _, (last, _) = lstm(embedded(weights, decisions))
    return answer(weights, last[0])


def by_mlp(weights: dict[str, Tensor], decisions: Decisions) -> Tensor:
    """The embeddings of a block side by side, (4 x 100,), and their mean over the blocks."""
    blocks = embedded(weights, decisions).view(-1, 400).mean(0)
    h = torch.relu(blocks @ weights["weight_1"].flatten(0, 1) + weights["bias_1"][0])
    return answer(weights, torch.relu(h @ weights["weight_2"] + weights["bias_2"][0]))


def answer(weights: dict[str, Tensor], h: Tensor) -> Tensor:
    return torch.sigmoid(h @ weights["head"][:, 0] + weights["head_bias"][0, 0])


@pytest.mark.parametrize("name", PREDICTORS)
def test_sizes_and_first_weights_of_predictors(name):
    """Embeddings in (-0.1, 0.1) and a bias of 1.8, as in the paper's appendix."""
    predictor = make(name, SPACE, 3)
    _, parameters = PREDICTORS[name]
    assert sum(p.numel() for p in predictor.parameters()) == parameters
    assert 0.099 < predictor.embedding.abs().max() <= 0.1
    assert (predictor.head_bias == 1.8).all()


@pytest.mark.parametrize("name", PREDICTORS)
def test_predictions(name):
    predictor = make(name, SPACE, 3)
    members, _ = PREDICTORS[name]
    lists = architectures(60)
    by_hand = by_lstm if "lstm" in name else by_mlp
    theirs = []
    for m in range(members):
        weights = member(predictor, m)
        theirs.append(torch.stack([by_hand(weights, a) for a in lists]))
    agree(predictor.predict(lists), torch.stack(theirs).mean(0), 3e-15)


@pytest.mark.parametrize("name", PREDICTORS)
def test_scores_of_children_are_predictions(name):
    """All children of two parents of two blocks, in the order of their decisions."""
    predictor = make(name, SPACE, 3)
    rng = random.Random(11)
    parents = [tuple(SPACE.sample(rng))[:8] for _ in range(2)]
    children = [(*parent, *block) for parent in parents for block in next_blocks(SPACE, 8)]
    some = rng.sample(range(len(children)), 300)
    scores = predictor.score_children(parents).flatten()
    assert len(scores) == len(children)
    agree(scores[some], predictor.predict([children[k] for k in some]), 3e-15)


def test_a_fit_of_three_steps():
    """Each of five members by itself: Adam on the mean absolute error of its four fifths."""
    data = architectures(23)
    rewards = torch.rand(23)
    predictor = make("mlp-ensemble", SPACE, 4)
    begun = [member(predictor, m) for m in range(5)]
    fit(predictor, data, rewards.tolist(), learning_rate=0.01, steps=3, seed=9)
    fifths = torch.randperm(23, generator=generator(9, "left out")) % 5
    assert sorted(fifths.bincount().tolist()) == [4, 4, 5, 5, 5]
    for m, weights in enumerate(begun):
        kept = [k for k in range(23) if fifths[k] != m]
        adam = torch.optim.Adam([w.requires_grad_() for w in weights.values()], lr=0.01)
        for _ in range(3):
            adam.zero_grad()
            predicted = torch.stack([by_mlp(weights, data[k]) for k in kept])
            (predicted - rewards[kept]).abs().mean().backward()
            adam.step()
        agree(member(predictor, m), {name: w.detach() for name, w in weights.items()}, 2e-13)


# --- Algorithm 1 ----------------------------------------------------------------------------------


def small(blocks: int) -> spaces.Space:
    """Of two operations, where many lists mean the same cell."""
    return spaces.get("pnas", blocks=blocks, primitives=spaces.PNAS_PRIMITIVES[:2])


def made_up(genotype: Genotype) -> float:
    """An accuracy that depends on everything in a cell, smoothly on nothing; the best and the worst
    cells have one block."""
    total = 0
    for k, node in enumerate(genotype.normal.nodes, 1):
        for j, op in zip(node.inputs, node.ops):
            total += k * (1 + j) * (len(op) + 3 * spaces.PNAS_PRIMITIVES.index(op))
    return 0.5 + 0.4 * math.sin(total) / len(genotype.normal.nodes)


def pairs(cell: Cell) -> Pairs:
    return [tuple(zip(node.inputs, node.ops)) for node in cell.nodes]


def beam(predictor: Predictor, parents: Sequence[Decisions], k: int) -> list[float]:
    """The scores of the k best distinct children, best first: all of them predicted and sorted."""
    length = len(parents[0])
    space = small(length // 4 + 1)
    blocks = next_blocks(space, length)
    children = [(*parent, *block) for parent in parents for block in blocks]
    scores = predictor.predict(children).tolist()
    forms = set()
    kept = []
    for at in sorted(range(len(children)), key=lambda at: -scores[at]):
        found = form(pairs(space.decode(children[at]).normal))
        if found not in forms:
            forms.add(found)
            kept.append(scores[at])
        if len(kept) == k:
            break
    return kept


def test_levels_of_a_search():
    """Level 1 is as many as `first` says; level b + 1 holds the K best distinct children of level b
    by a predictor that was fitted anew on all before."""
    seen: list[Genotype] = []

    def estimate(genotypes):
        seen.extend(genotypes)
        return [made_up(genotype) for genotype in genotypes]

    budget = PNASBudget(trials=32, blocks=3, beam=12, first=8, children=5, predictor="mlp")
    search = PNAS(small(3), estimate, budget, 0)
    while not search.done:
        search.step()
    sizes = [len(genotype.normal.nodes) for genotype in seen]
    assert sizes == [1] * 8 + [2] * 12 + [3] * 12
    rewards = [made_up(genotype) for genotype in seen]
    decisions = [tuple(small(size).encode(found)) for size, found in zip(sizes, seen)]
    for level, first, last in ((1, 0, 8), (2, 8, 20)):
        seed = seed_of(0, "level", level)
        rate = 0.01 if level == 1 else 0.002
        predictor = make("mlp", search.space, seed)
        fit(predictor, decisions[:last], rewards[:last], learning_rate=rate, steps=50, seed=seed)
        chosen = predictor.predict(decisions[last : last + 12]).tolist()
        theirs = beam(predictor, decisions[first:last], 12)
        agree(sorted(chosen, reverse=True), theirs, BITS)
    # What is returned is the best of the last level alone.
    assert search.best.reward == max(rewards[-12:]) < max(rewards)
