"""DARTS's search against quark0/darts, whose code it runs (see conftest.py): weights transplanted,
then step by step.

`Supernet` stands against model_search.Network, `DARTS.descend_architecture` (and with it
`architecture_gradient`) against Architect.step, the whole alternation against the loop of
train_search.py, `derive` against Network.genotype. Logits within 4e-14, losses 9e-15, gradients
2e-13, those of equation 8's probes 9e-13; alphas and weights after the steps 5e-15.
"""

from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from comparing import agree, blank_images, edges
from torch import Tensor, nn

from nascore import spaces
from nascore.methods.darts import DARTS, DARTSBudget, derive

SIDE = 16
RATE = 0.025
NODES = 4


class Case(NamedTuple):
    channels: int
    cells: int
    classes: int
    batch: int
    steps: int
    order: int

    def __str__(self) -> str:
        return f"C {self.channels}, {self.cells} cells, order {self.order}"

    def draw(self) -> tuple[Tensor, Tensor]:
        """A minibatch."""
        images = torch.randn(self.batch, 3, SIDE, SIDE)
        return images, torch.randint(self.classes, (self.batch,))


CASES = [
    Case(channels=6, cells=5, classes=7, batch=3, steps=3, order=2),
    Case(channels=10, cells=3, classes=100, batch=4, steps=2, order=1),
    pytest.param(Case(16, 8, 10, batch=2, steps=1, order=2), marks=pytest.mark.long),
]


class Pair(NamedTuple):
    """A weight of theirs and the tensor of ours that holds it: one of `count` equal parts, since
    ours has those of all edges that leave a state in one tensor."""

    theirs: Tensor
    ours: Tensor
    at: int = 0
    count: int = 1

    def part(self, whole: Tensor) -> Tensor:
        return whole.chunk(self.count)[self.at]


def pairs(theirs: nn.Module, ours: nn.Module) -> Iterator[Pair]:
    """Every weight of their network with ours, by the name that it has in a checkpoint."""
    names = {
        "stem.0.weight": "stem.weight",
        "stem.1.weight": "stem_norm.weight",
        "stem.1.bias": "stem_norm.bias",
        "classifier.weight": "classifier.weight",
        "classifier.bias": "classifier.bias",
    }
    for name, own in names.items():
        yield Pair(theirs.get_parameter(name), ours.get_parameter(own))
    for index, cell in enumerate(theirs.cells):
        yield from pairs_of_inputs(cell, ours.get_submodule(f"cells.{index}"))
        for source in range(2 + NODES - 1):
            own = ours.get_submodule(f"cells.{index}.sources.{source}.convolutions")
            yield from pairs_of_edges(cell, own, source)


def pairs_of_inputs(cell: nn.Module, own: nn.Module) -> Iterator[Pair]:
    for k, their in enumerate((cell.preprocess0, cell.preprocess1)):
        if hasattr(their, "conv_1"):
            yield Pair(their.conv_1.weight, own.get_parameter(f"preprocess.{k}.even"))
            yield Pair(their.conv_2.weight, own.get_parameter(f"preprocess.{k}.odd"))
        else:
            yield Pair(their.op[1].weight, own.get_parameter(f"preprocess.{k}.weight"))


# Where the convolutions of an operation lie in theirs, and what ours calls them.
SEPARABLE = {1: "depthwise1", 2: "pointwise1", 5: "depthwise2", 6: "pointwise2"}
DILATED = {1: "depthwise", 2: "pointwise"}


def pairs_of_edges(cell: nn.Module, own: nn.Module, source: int) -> Iterator[Pair]:
    """Of all edges that leave a state of a cell. Theirs lie node by node, at node i those from its
    2 + i states."""
    first = max(0, source - 1)  # the first node that reads the state
    for node in range(first, NODES):
        row = sum(2 + i for i in range(node)) + source
        part = partial(Pair, at=node - first, count=NODES - first)
        for name, their in zip(spaces.DARTS_PRIMITIVES, cell._ops[row]._ops, strict=True):
            if name.startswith(("sep", "dil")):
                for k, key in (SEPARABLE if name.startswith("sep") else DILATED).items():
                    yield part(their.op[k].weight, own.get_parameter(f"{name}.{key}"))
            elif hasattr(their, "conv_1"):  # the identity at stride 2
                yield part(their.conv_1.weight, own.get_parameter(f"{name}.even"))
                yield part(their.conv_2.weight, own.get_parameter(f"{name}.odd"))


class Sides(NamedTuple):
    """Their network and our search, with the same weights and alphas."""

    theirs: nn.Module
    ours: DARTS
    pairs: list[Pair]

    def of_weights_and_alphas(self) -> list[Pair]:
        alphas = zip(self.theirs.arch_parameters(), self.ours.alphas, strict=True)
        return [*self.pairs, *(Pair(their, own) for their, own in alphas)]


def transplanted(darts: SimpleNamespace, case: Case) -> Sides:
    criterion = nn.CrossEntropyLoss()
    theirs = darts.model_search.Network(case.channels, case.classes, case.cells, criterion)
    budget = DARTSBudget(channels=case.channels, cells=case.cells, batch_size=4, order=case.order)
    images = blank_images(8, SIDE, case.classes)
    ours = DARTS(spaces.get("darts"), images, budget, 0, torch.device("cpu"))
    sides = Sides(theirs, ours, list(pairs(theirs, ours.supernet)))
    held = sum(pair.theirs.numel() for pair in sides.pairs)
    for network in (theirs, ours.supernet):
        assert sum(p.numel() for p in network.parameters()) == held
    with torch.no_grad():
        for pair in sides.pairs:
            pair.part(pair.ours).copy_(pair.theirs)
        for alpha, their in zip(ours.alphas, theirs.arch_parameters(), strict=True):
            their.copy_(torch.randn_like(their))  # far from uniform: no wrong edge goes unseen
            alpha.copy_(their)
    return sides


@pytest.mark.parametrize("case", CASES, ids=str)
def test_logits_loss_and_gradients(darts, case):
    sides = transplanted(darts, case)
    images, labels = case.draw()
    logits = sides.theirs(images)
    ours = sides.ours.supernet(images, sides.ours.alphas)
    agree(ours, logits, 4e-14)
    F.cross_entropy(logits, labels).backward()
    F.cross_entropy(ours, labels).backward()
    for pair in sides.of_weights_and_alphas():
        agree(pair.part(pair.ours.grad), pair.theirs.grad, 2e-13)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_alternating_steps_and_the_derived_cell(darts, case):
    """As in train_search.py: the alphas, then the weights, on the same training minibatch."""
    theirs, ours, _ = sides = transplanted(darts, case)
    sgd = torch.optim.SGD(theirs.parameters(), RATE, momentum=0.9, weight_decay=3e-4)
    settings = Namespace(momentum=0.9, weight_decay=3e-4, arch_learning_rate=3e-4, arch_weight_decay=1e-3)
    architect = darts.architect.Architect(theirs, settings)
    for step in range(case.steps):
        train = case.draw()
        valid = case.draw()
        rate = RATE * (1 - 0.2 * step)
        for optimizer in (sgd, ours.weight_optimizer):
            optimizer.param_groups[0]["lr"] = rate
        architect.step(*train, *valid, rate, sgd, unrolled=case.order == 2)
        ours.descend_architecture(train, valid, xi=rate if case.order == 2 else 0.0)
        for alpha, their in zip(ours.alphas, theirs.arch_parameters(), strict=True):
            agree(alpha.grad, their.grad, 9e-13)
        sgd.zero_grad()
        loss = F.cross_entropy(theirs(train[0]), train[1])
        loss.backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), 5)
        sgd.step()
        agree(ours.descend_weights(train), loss.detach(), 9e-15)
    for pair in sides.of_weights_and_alphas():
        agree(pair.part(pair.ours), pair.theirs, 5e-15)
    genotype = theirs.genotype()
    cells = derive(ours.alphas, ours.space)
    assert edges(cells.normal) == genotype.normal
    assert edges(cells.reduce) == genotype.reduce
    assert list(cells.normal.concat) == list(genotype.normal_concat)
    assert list(cells.reduce.concat) == list(genotype.reduce_concat)
