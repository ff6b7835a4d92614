"""From a genotype to a convolutional network: stems, stacked cells, head, auxiliary head, drop path.

A skeleton is a function that returns a `Layout`; `Network` runs any of them. A later paper adds its own to `SKELETONS`
and its sizes to `NETWORKS`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from nascore import genotypes, published
from nascore.errors import UserError, one_of, whole
from nascore.genotypes import CellGenotype, Genotype
from nascore.nets.operations import FactorizedReduce, ReLUConvBN, ResidualBlock, build

# Networks by name: all sizes at once. `input` is the side of an image; the first one of a skeleton is its home.
NETWORKS: dict[str, dict] = {
    "darts-cifar": dict(
        skeleton="darts", stem="cifar", channels=36, cells=20, classes=10, input=32, auxiliary=False
    ),
    "darts-imagenet": dict(
        skeleton="darts", stem="imagenet", channels=48, cells=14, classes=1000, input=224, auxiliary=False
    ),
    "nasbench201-cifar": dict(
        skeleton="nasbench201", stem="cifar", channels=16, cells=17, classes=10, input=32, auxiliary=False
    ),
}  # fmt: skip

LIMITS = {"channels": 4096, "cells": 200, "classes": 1_000_000, "in_channels": 1024, "input": 4096}


def drop_path(x: Tensor, probability: float, generator: torch.Generator | None = None) -> Tensor:
    """Zero whole samples of (B, C, H, W) with `probability` and scale the others up, so that the mean stays."""
    keep = 1 - probability
    mask = x.new_empty(len(x), 1, 1, 1).bernoulli_(keep, generator=generator)
    return x * mask.div_(keep)


Drop = Callable[[Tensor], Tensor] | None


class Cell(nn.Module):
    """A genotype's cell at one place of a network. `preprocess` brings each input to `channels`; at stride 2 the edges
    that leave a cell input halve the map (DARTS, 2.1). Returns (B, len(concat) * channels, H / stride, W / stride)."""

    def __init__(self, cell: genotypes.Cell, preprocess: Sequence[nn.Module], channels: int, stride: int = 1):
        super().__init__()
        self.cell = cell
        self.preprocess = nn.ModuleList(preprocess)
        self.nodes = nn.ModuleList()
        for node in cell.nodes:
            strides = [stride if j < cell.n_inputs else 1 for j in node.inputs]
            self.nodes.append(nn.ModuleList(build(op, channels, channels, s) for op, s in zip(node.ops, strides)))
        joined = {str(i): len(node.inputs) for i, node in enumerate(cell.nodes) if node.combine == "concat"}
        # What a concat node puts out, back to the cell's width; and the cell inputs that are put out.
        self.projections = nn.ModuleDict({i: ReLUConvBN(n * channels, channels) for i, n in joined.items()})
        put_out = [str(j) for j in cell.concat if j < cell.n_inputs]
        self.skips = nn.ModuleDict({j: build("skip_connect", channels, channels, stride) for j in put_out})

    def forward(self, before_previous: Tensor, previous: Tensor, drop: Drop = None) -> Tensor:
        inputs = (before_previous, previous)[-self.cell.n_inputs :]
        states = [fit(x) for fit, x in zip(self.preprocess, inputs)]
        for i, (node, ops) in enumerate(zip(self.cell.nodes, self.nodes)):
            terms = []
            for j, op in zip(node.inputs, ops):
                term = op(states[j])
                terms.append(drop(term) if drop and not isinstance(op, nn.Identity) else term)
            if node.combine == "concat":
                states.append(self.projections[str(i)](torch.cat(terms, 1)))
            else:
                states.append(sum(terms[1:], terms[0]))
        out = [self.skips[str(j)](states[j]) if str(j) in self.skips else states[j] for j in self.cell.concat]
        return out[0] if len(out) == 1 else torch.cat(out, 1)


class Reduction(nn.Module):
    """A block that only reads the previous cell, in a cell's place."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.block = block

    def forward(self, before_previous: Tensor, previous: Tensor, drop: Drop = None) -> Tensor:
        return self.block(previous)


class AuxiliaryHead(nn.Module):
    """A second classifier on a middle map of 8 x 8 (ImageNet: 7 x 7). The ImageNet one has no second batch norm, as in
    the authors' code, which keeps a slip for the sake of its published numbers."""

    def __init__(self, channels: int, classes: int, stem: str):
        super().__init__()
        stride, norm = (3, nn.BatchNorm2d(768)) if stem == "cifar" else (2, nn.Identity())
        self.sides = range(5 + stride, 5 + 2 * stride)  # pooled to 2 x 2
        first = [nn.ReLU(), nn.AvgPool2d(5, stride), nn.Conv2d(channels, 128, 1, bias=False), nn.BatchNorm2d(128)]
        second = [nn.ReLU(), nn.Conv2d(128, 768, 2, bias=False), norm]
        self.features = nn.Sequential(*first, *second, nn.ReLU(), nn.Flatten())
        self.classifier = nn.Linear(768, classes)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        if height not in self.sides or width not in self.sides:
            sides = f"maps of {self.sides[0]} to {self.sides[-1]} pixels a side"
            raise UserError(f"auxiliary head: found {height} x {width} at its place, allowed: {sides}")
        return self.classifier(self.features(x))


@dataclass
class Layout:
    """The parts of a network. The image passes the stems, then the cells, each of which reads the last two outputs (the
    only stem's twice), then the head. Image sides must be divisible by `factor`."""

    stems: list[nn.Module]
    cells: list[nn.Module]
    head: nn.Module
    factor: int
    auxiliary: nn.Module | None = None
    auxiliary_after: int | None = None


def _conv_bn(channels_in: int, channels_out: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False), nn.BatchNorm2d(channels_out)]


def _head(channels: int, classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]


def _cells_of(genotype: Genotype, skeleton: str) -> CellGenotype:
    if not isinstance(genotype, CellGenotype):
        raise UserError(f"kind: found {genotypes.kind(genotype)!r}, allowed in the skeleton {skeleton}: cell")
    return genotype


def reductions(cells: int) -> tuple[int, int]:
    """Where a stack of cells halves its maps and doubles its channels; the same place twice where `cells` is 1."""
    return cells // 3, 2 * cells // 3


def darts(genotype, channels, cells, classes, in_channels, stem, auxiliary) -> Layout:
    """DARTS's evaluation network (A.2.1; ImageNet: A.2.3). A cell with one input reads only the previous cell."""
    genotype = _cells_of(genotype, "darts")
    if genotype.reduce is None:
        raise UserError("reduce: found null, allowed in the skeleton darts: a cell")
    one_of("stem", stem, ("cifar", "imagenet"))
    if stem == "cifar":
        width = 3 * channels
        stems = [nn.Sequential(*_conv_bn(in_channels, width))]
    else:
        if channels % 2:
            raise UserError(f"channels: found {channels}, allowed with the imagenet stem: an even number")
        width, half = channels, channels // 2
        first = [*_conv_bn(in_channels, half, 2), nn.ReLU(), *_conv_bn(half, width, 2)]
        stems = [nn.Sequential(*first), nn.Sequential(nn.ReLU(), *_conv_bn(width, width, 2))]
    before, previous, halved = width, width, stem == "imagenet"
    stack, head = [], None
    for index in range(cells):
        reduce = index in reductions(cells)
        cell = genotype.reduce if reduce else genotype.normal
        channels *= 1 + reduce
        # The input before the previous one is twice as large where the previous cell (or stem) halved its map.
        fits = [(FactorizedReduce if halved else ReLUConvBN)(before, channels), ReLUConvBN(previous, channels)]
        stack.append(Cell(cell, fits[-cell.n_inputs :], channels, 1 + reduce))
        before, previous, halved = previous, len(cell.concat) * channels, reduce
        if auxiliary and index == reductions(cells)[-1]:
            head = AuxiliaryHead(previous, classes, stem)
    factor = (1 if stem == "cifar" else 8) * 2 ** len(set(reductions(cells)))
    return Layout(stems, stack, nn.Sequential(*_head(previous, classes)), factor, head, reductions(cells)[-1])


def nasbench201(genotype, channels, cells, classes, in_channels, stem, auxiliary) -> Layout:
    """NAS-Bench-201's network: one cell everywhere, residual blocks as reductions."""
    genotype = _cells_of(genotype, "nasbench201")
    one_of("stem", stem, ("cifar",))
    one_of("auxiliary", auxiliary, (False,))
    cell = genotype.normal
    if genotype.reduce is not None or cell.n_inputs != 1 or len(cell.concat) != 1:
        reduce = "null" if genotype.reduce is None else "a cell"
        found = f"{cell.n_inputs} inputs, {len(cell.concat)} in concat, reduce {reduce}"
        raise UserError(f"cell: found {found}, allowed in the skeleton nasbench201: 1 input, 1 in concat, reduce null")
    stems, stack = [nn.Sequential(*_conv_bn(in_channels, channels))], []
    for index in range(cells):
        if index in reductions(cells):
            stack.append(Reduction(ResidualBlock(channels, 2 * channels)))
            channels *= 2
        else:
            stack.append(Cell(cell, [nn.Identity()], channels))
    head = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), *_head(channels, classes))
    return Layout(stems, stack, head, 2 ** len(set(reductions(cells))))


SKELETONS: dict[str, Callable[..., Layout]] = {"darts": darts, "nasbench201": nasbench201}


class Network(nn.Module):
    """The network of a genotype: images (B, in_channels, H, W) -> logits (B, classes); with an auxiliary head, while
    training, (logits, auxiliary logits). `cells` counts the reductions too. `drop_path` is the probability with which
    training drops an operation's output for a sample (never an identity's), `generator` draws those masks."""

    def __init__(
        self,
        genotype: Genotype,
        channels: int = 36,
        cells: int = 20,
        classes: int = 10,
        in_channels: int = 3,
        skeleton: str = "darts",
        stem: str = "cifar",
        auxiliary: bool = False,
    ):
        super().__init__()
        one_of("skeleton", skeleton, SKELETONS)
        sizes = {"channels": channels, "cells": cells, "classes": classes, "in_channels": in_channels}
        for field, found in sizes.items():
            whole(field, found, 1, LIMITS[field])
        layout = SKELETONS[skeleton](genotype, channels, cells, classes, in_channels, stem, auxiliary)
        self.genotype, self.in_channels, self.factor = genotype, in_channels, layout.factor
        self.stems, self.cells = nn.ModuleList(layout.stems), nn.ModuleList(layout.cells)
        self.head = layout.head
        self.auxiliary, self.auxiliary_after = layout.auxiliary, layout.auxiliary_after
        self.drop_path = 0.0
        self.generator: torch.Generator | None = None

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        channels, *sides = images.shape[1:] if images.dim() == 4 else (0,)
        if channels != self.in_channels or any(side < 1 or side % self.factor for side in sides):
            wanted = f"(batch, {self.in_channels}, height, width) with sides divisible by {self.factor}"
            raise UserError(f"images: found {tuple(images.shape)}, allowed: {wanted}")
        drop = None
        if self.training and self.drop_path > 0:
            drop = partial(drop_path, probability=self.drop_path, generator=self.generator)
        before = previous = self.stems[0](images)
        for stem in self.stems[1:]:
            before, previous = previous, stem(previous)
        auxiliary = None
        for index, cell in enumerate(self.cells):
            before, previous = previous, cell(before, previous, drop)
            if self.auxiliary is not None and self.training and index == self.auxiliary_after:
                auxiliary = self.auxiliary(previous)
        logits = self.head(previous)
        return logits if auxiliary is None else (logits, auxiliary)


def home(genotype: Genotype | str, skeleton: str | None = None) -> dict:
    """The sizes of the network that a genotype, or a published name, belongs in: an entry of `NETWORKS`. What is not
    published belongs in DARTS's, except a cell that only NAS-Bench-201's skeleton can hold."""
    if skeleton is None and isinstance(genotype, str):
        skeleton = published.get(genotype).skeleton
    elif skeleton is None:
        single = isinstance(genotype, CellGenotype) and genotype.reduce is None and genotype.normal.n_inputs == 1
        skeleton = "nasbench201" if single else "darts"
    one_of("skeleton", skeleton, SKELETONS)
    return dict(next(sizes for sizes in NETWORKS.values() if sizes["skeleton"] == skeleton))
