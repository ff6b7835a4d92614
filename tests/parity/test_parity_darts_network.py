"""DARTS's evaluation networks against quark0/darts, whose code it runs (see conftest.py).

`Network(skeleton="darts")` stands against model.NetworkCIFAR and NetworkImageNet with random and
with published genotypes and the same weights: logits, auxiliary logits, gradients, running figures
of batch norm, drop path made the same on both sides. Within 2e-14, gradients 3e-13. `describe`
stands against their parameters and multiply-adds, exactly.
"""

import random
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from comparing import agree, as_theirs
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nascore import published, spaces
from nascore.genotypes import CellGenotype
from nascore.nets import convolutional
from nascore.nets.convolutional import Network
from nascore.nets.measure import describe

SPACE = spaces.get("darts")
RANDOM = [SPACE.decode(SPACE.sample(random.Random(seed))) for seed in range(12)]
NAMES = ("darts-v1", "darts-v2", "nasnet-a-darts", "amoebanet-a")
NAMED = [published.PUBLISHED[name].genotype for name in NAMES]
GENOTYPES = RANDOM + NAMED
SOME = [0, 1, 2, 3, *range(12, 16)]  # of them: those that do not take long


def long(k: int):
    return pytest.param(k, marks=pytest.mark.long)


class Sizes(NamedTuple):
    channels: int
    cells: int
    classes: int
    stem: str
    auxiliary: bool


def both(darts: SimpleNamespace, genotype: CellGenotype, sizes: Sizes) -> tuple[nn.Module, Network]:
    listed = as_theirs(darts, genotype)
    classes = {"cifar": darts.model.NetworkCIFAR, "imagenet": darts.model.NetworkImageNet}
    make = classes[sizes.stem]
    theirs = make(sizes.channels, sizes.classes, sizes.cells, sizes.auxiliary, listed)
    theirs.drop_path_prob = 0.0
    ours = Network(
        genotype,
        sizes.channels,
        sizes.cells,
        sizes.classes,
        skeleton="darts",
        stem=sizes.stem,
        auxiliary=sizes.auxiliary,
    )
    return theirs, ours


Weights = tuple[list[Tensor], list[Tensor]]  # parameters, running figures


def in_order(*parts: nn.Module | None) -> Weights:
    """The parameters, and the running figures of batch norm, in the order of the modules."""
    modules = [module for part in parts if part is not None for module in part.modules()]
    parameters = [p for module in modules for p in module.parameters(recurse=False)]
    buffers = [b for module in modules for b in module.buffers(recurse=False)]
    return parameters, [b for b in buffers if b.dim()]


def transplanted(theirs: nn.Module, ours: Network) -> tuple[Weights, Weights]:
    """Random numbers for all weights and running figures, the same in both: (theirs, ours)."""
    stems = [theirs.stem] if hasattr(theirs, "stem") else [theirs.stem0, theirs.stem1]
    head = getattr(theirs, "auxiliary_head", None)
    of_theirs = in_order(*stems, theirs.cells, theirs.classifier, head)
    of_ours = in_order(ours.stems, ours.cells, ours.head, ours.auxiliary)
    with torch.no_grad():
        for a, b in zip(sum(of_theirs, []), sum(of_ours, []), strict=True):
            assert a.shape == b.shape
            if a.dim() == 1:
                a.uniform_(0.5, 1.5)
            else:
                a.normal_(std=a[0].numel() ** -0.5)
            b.copy_(a)
    return of_theirs, of_ours


def compare(darts: SimpleNamespace, genotype: CellGenotype, sizes: Sizes, side: int, drop: float) -> None:
    """Their outputs and ours: in evaluation, then in training with a step's gradients."""
    theirs, ours = both(darts, genotype, sizes)
    (parameters, figures), (own_parameters, own_figures) = transplanted(theirs, ours)
    images = torch.randn(2, 3, side, side)
    labels = torch.randint(sizes.classes, (2,))
    with torch.no_grad():
        agree(ours.eval()(images), theirs.eval()(images)[0], 2e-14)
    theirs.drop_path_prob = ours.drop_path = drop
    logits, extra = theirs.train()(images)
    output = ours.train()(images)
    own, own_extra = output if sizes.auxiliary else (output, None)
    agree(own, logits, 2e-14)
    loss = F.cross_entropy(logits, labels)
    own_loss = F.cross_entropy(own, labels)
    if sizes.auxiliary:
        agree(own_extra, extra, 2e-14)
        loss = loss + 0.4 * F.cross_entropy(extra, labels)
        own_loss = own_loss + 0.4 * F.cross_entropy(own_extra, labels)
    loss.backward()
    own_loss.backward()
    agree([p.grad for p in own_parameters], [p.grad for p in parameters], 3e-13)
    agree(own_figures, figures, 2e-14)


def scaled(x: Tensor, probability: float, generator: torch.Generator | None = None) -> Tensor:
    """A drop path without chance."""
    return x * (1 + probability)


@pytest.mark.parametrize("k", SOME + [long(k) for k in range(4, 12)])
def test_cifar_networks(darts, monkeypatch, k):
    """Every other one with an auxiliary head, every third with drop path: not random, so that the
    same terms must pass, by the same probability."""
    monkeypatch.setattr(darts.model, "drop_path", scaled)
    monkeypatch.setattr(convolutional, "drop_path", scaled)
    rng = random.Random(k)
    auxiliary = k % 2 == 0
    # With three cells an auxiliary head would stand after the last, whose output their ReLU changes
    # in place before the classifier reads it (cnn/model.py:71).
    cells = rng.choice((4, 5, 7) if auxiliary else (3, 4, 5))
    sizes = Sizes(rng.choice((4, 6)), cells, rng.choice((3, 10)), "cifar", auxiliary)
    compare(darts, GENOTYPES[k], sizes, side=32, drop=0.3 if k % 3 == 0 else 0.0)


@pytest.mark.parametrize("k", [0, long(8)])
def test_imagenet_networks(darts, k):
    sizes = Sizes(4, 4, 7, "imagenet", auxiliary=k == 0)
    compare(darts, GENOTYPES[k], sizes, side=224, drop=0.0)


@pytest.mark.parametrize("k", [0, 12, 13, 14, 15, long(1), long(2), long(3)])
def test_counts(darts, k):
    """Parameters, and multiply-adds of one image, of four random sizes."""
    rng = random.Random(k)
    for _ in range(4):
        sizes = Sizes(
            channels=2 * rng.randint(2, 40),
            cells=rng.randint(3, 22),
            classes=rng.choice((2, 10, 37, 100, 1000)),
            stem=rng.choice(("cifar", "imagenet")),
            auxiliary=rng.random() < 0.5,
        )
        with torch.device("meta"):
            theirs, ours = both(darts, GENOTYPES[k], sizes)
        side = 32 if sizes.stem == "cifar" else 224
        with FlopCounterMode(display=False) as counter:
            theirs.eval()(torch.empty(1, 3, side, side, device="meta"))
        described = describe(
            GENOTYPES[k],
            skeleton="darts",
            stem=sizes.stem,
            channels=sizes.channels,
            cells=sizes.cells,
            classes=sizes.classes,
            input=side,
            auxiliary=sizes.auxiliary,
        )
        parameters = [sum(p.numel() for p in network.parameters()) for network in (theirs, ours)]
        assert parameters == [described["parameters"]] * 2
        assert described["multiply_adds"] == counter.get_total_flops() // 2
