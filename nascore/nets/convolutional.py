"""From a genotype to a convolutional network: `Network` runs what a skeleton laid out;
`NETWORKS` names all sizes."""

import os
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from nascore import formats
from nascore.errors import UserError, one_of, whole
from nascore.genotypes import CellGenotype, ChainGenotype, Genotype, MacroGenotype
from nascore.nets.blocks import Drop, require_images
from nascore.nets.skeletons import SKELETONS

# Networks by name: all sizes at once. `input` is the side of an image; the first one of a skeleton
# is its home.
NETWORKS: dict[str, dict] = {
    "darts-cifar": dict(
        skeleton="darts", stem="cifar", channels=36, cells=20, classes=10, input=32, auxiliary=False
    ),
    "darts-imagenet": dict(
        skeleton="darts", stem="imagenet", channels=48, cells=14, classes=1000, input=224, auxiliary=False
    ),
    "nasnet-cifar": dict(
        skeleton="nasnet", stem="cifar", channels=32, cells=20, classes=10, input=32, auxiliary=False
    ),
    "nasnet-mobile": dict(
        skeleton="nasnet", stem="imagenet", channels=44, cells=14, classes=1000, input=224, auxiliary=False
    ),
    "nasnet-large": dict(
        skeleton="nasnet", stem="imagenet-large", channels=168, cells=20, classes=1000, input=331, auxiliary=False
    ),
    "pnasnet-cifar": dict(
        skeleton="pnasnet", stem="cifar", channels=48, cells=9, classes=10, input=32, auxiliary=False
    ),
    "pnasnet-mobile": dict(
        skeleton="pnasnet", stem="imagenet", channels=54, cells=9, classes=1000, input=224, auxiliary=False
    ),
    "pnasnet-large": dict(
        skeleton="pnasnet", stem="imagenet-large", channels=216, cells=12, classes=1000, input=331, auxiliary=False
    ),
    "enas-cifar": dict(
        skeleton="enas", stem="cifar", channels=36, cells=17, classes=10, input=32, auxiliary=False
    ),
    # A macro network has its own layers, and a chain its own filters as well.
    "enas-macro-cifar": dict(skeleton="enas-macro", channels=96, classes=10, input=32),
    "enas-macro-full-cifar": dict(skeleton="enas-macro-full", channels=96, classes=10, input=32),
    "nasbench201-cifar": dict(
        skeleton="nasbench201", stem="cifar", channels=16, cells=17, classes=10, input=32, auxiliary=False
    ),
    "nas-rl-cifar": dict(skeleton="nas-rl", classes=10, input=32),
}  # fmt: skip

MAX_OPERATIONS = 10_000  # of a network's cells: more take minutes to build
LIMITS = {"channels": 4096, "cells": 200, "classes": 1_000_000, "in_channels": 1024, "input": 4096}


def drop_path(x: Tensor, probability: float, generator: torch.Generator | None = None) -> Tensor:
    """Zero whole samples of (B, C, H, W) with `probability` and scale the others up, so that the
    mean stays."""
    keep = 1 - probability
    mask = x.new_empty(len(x), 1, 1, 1).bernoulli_(keep, generator=generator)
    return x * mask.div_(keep)


class Network(nn.Module):
    """The network of a genotype: images (B, in_channels, H, W) -> logits (B, classes); with an
    auxiliary head, while training, (logits, auxiliary logits). `cells` counts the reductions too,
    not ImageNet's two stem cells.

    `drop_path` is the probability with which training drops an operation's output for a sample
    (never an identity's), `generator` draws those masks. NASNet's ScheduledDropPath is this
    growing over the training: in its skeleton cell k of n drops with k / n of it."""

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
        sizes = {
            "channels": channels,
            "cells": cells,
            "classes": classes,
            "in_channels": in_channels,
        }
        for field, found in sizes.items():
            whole(field, found, 1, LIMITS[field])
        if isinstance(genotype, CellGenotype):
            _require_few_operations(genotype, cells)
        layout = SKELETONS[skeleton](
            genotype, channels, cells, classes, in_channels, stem, auxiliary
        )
        self.genotype, self.skeleton, self.in_channels = genotype, skeleton, in_channels
        self.factor, self.smallest, self.holds = layout.factor, layout.smallest, layout.holds
        self.stems, self.cells = nn.ModuleList(layout.stems), nn.ModuleList(layout.cells)
        self.head = layout.head
        self.auxiliary, self.auxiliary_after = layout.auxiliary, layout.auxiliary_after
        self.drops_more_with_depth, self.drop_path = layout.drops_more_with_depth, 0.0
        self.generator: torch.Generator | None = None
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = layout.norm_epsilon

    def check(self, shape: Sequence[int]) -> None:
        """Raises `UserError` for images of a `shape` (batch, channels, height, width) that this network
        cannot take."""
        require_images(shape, self.in_channels, self.factor, self.smallest)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        self.check(images.shape)
        before = previous = self.stems[0](images)
        for stem in self.stems[1:]:
            before, previous = previous, stem(previous)
        auxiliary = None
        for index, cell in enumerate(self.cells):
            output = cell(before, previous, self._drop(index))
            before, previous = before if index in self.holds else previous, output
            if self.auxiliary is not None and self.training and index == self.auxiliary_after:
                auxiliary = self.auxiliary(previous)
        logits = self.head(previous)
        return logits if auxiliary is None else (logits, auxiliary)

    def _drop(self, index: int) -> Drop:
        if not self.training or self.drop_path == 0:
            return None
        share = (index + 1) / len(self.cells) if self.drops_more_with_depth else 1
        return partial(drop_path, probability=self.drop_path * share, generator=self.generator)


def _require_few_operations(genotype: CellGenotype, cells: int) -> None:
    of_cells = (genotype.normal, genotype.reduce or genotype.normal)
    most = max(sum(len(node.ops) for node in cell.nodes) for cell in of_cells)
    if cells * most > MAX_OPERATIONS:
        found = f"{cells} cells of up to {most:,} operations"
        raise UserError(f"network: found {found}, allowed: {MAX_OPERATIONS:,} operations in all")


def home(
    genotype: Genotype | str | os.PathLike,
    skeleton: str | None = None,
    network: str | Mapping | None = None,
    **sizes,
) -> dict:
    """The sizes of the network that a genotype (whatever `formats.read` takes) belongs in, with
    `in_channels`: `network`, an entry of `NETWORKS` or one's name, or the first of its skeleton.
    What does not say so by its name (`formats.skeleton_of`) belongs in DARTS's, except a chain, a
    macro network, and a cell without a reduction cell: of one input in NAS-Bench-201's, of two in
    PNASNet's. `sizes` that are not None override it."""
    named = {} if network is None else network
    if not isinstance(named, Mapping):
        named = NETWORKS[one_of("network", network, NETWORKS)]
    skeleton = skeleton or named.get("skeleton") or formats.skeleton_of(genotype)
    genotype = formats.read(genotype)
    if skeleton is None and isinstance(genotype, CellGenotype):
        single = "nasbench201" if genotype.normal.n_inputs == 1 else "pnasnet"
        skeleton = "darts" if genotype.reduce else single
    elif skeleton is None:
        skeleton = {ChainGenotype: "nas-rl", MacroGenotype: "enas-macro"}.get(
            type(genotype), "darts"
        )
    one_of("skeleton", skeleton, SKELETONS)
    base = next(sizes for sizes in NETWORKS.values() if sizes["skeleton"] == skeleton)
    base = {**base, "in_channels": 3}
    del base["skeleton"]
    base = {name: named.get(name, value) for name, value in base.items()}
    sizes = {name: value for name, value in sizes.items() if value is not None}
    for name in sizes:
        one_of(f"size in the skeleton {skeleton}", name, base)
    return {"skeleton": skeleton, **base, **sizes}
