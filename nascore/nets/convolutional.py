"""From a genotype to a convolutional network: `Network` runs what a skeleton laid out."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Generator, Tensor
from torch.nn import BatchNorm2d, Module, ModuleList

from nascore.errors import UserError
from nascore.genotypes import CellGenotype, Genotype
from nascore.nets.blocks import Drop, require_images
from nascore.nets.recompute import recomputed
from nascore.nets.sizes import Sizes
from nascore.nets.skeletons import SKELETONS

MAX_OPERATIONS = 10_000  # of a network's cells: more take minutes to build


def drop_path(x: Tensor, probability: float, generator: Generator | None = None) -> Tensor:
    """Zero whole samples of (B, C, H, W) with `probability` and scale the others up, so that the
    mean stays."""
    keep = 1 - probability
    mask = x.new_empty(len(x), 1, 1, 1).bernoulli_(keep, generator=generator)
    return x * mask.div_(keep)


class Network(Module):
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
        sizes = Sizes(
            skeleton,
            stem,
            channels,
            cells,
            classes,
            auxiliary=auxiliary,
            in_channels=in_channels,
        )
        sizes.check()
        if isinstance(genotype, CellGenotype):
            _require_few_operations(genotype, cells)
        layout = SKELETONS[skeleton](genotype, sizes)
        self.genotype = genotype
        self.skeleton = skeleton
        self.in_channels = in_channels
        self.factor = layout.factor
        self.smallest = layout.smallest
        self.holds = layout.holds
        self.stems = ModuleList(layout.stems)
        self.cells = ModuleList(layout.cells)
        self.head = layout.head
        self.auxiliary = layout.auxiliary
        self.auxiliary_after = layout.auxiliary_after
        self.drops_more_with_depth = layout.drops_more_with_depth
        self.recomputes = False  # cells, in the backward pass: for less memory
        self.drop_path = 0.0
        self.generator: Generator | None = None
        for module in self.modules():
            if isinstance(module, BatchNorm2d):
                module.eps = layout.norm_epsilon

    @classmethod
    def of(cls, genotype: Genotype, sizes: Sizes) -> "Network":
        """The network of these sizes, whose `input` only has to be one that can be."""
        sizes.check()
        return cls(
            genotype,
            sizes.channels,
            sizes.cells,
            sizes.classes,
            sizes.in_channels,
            sizes.skeleton,
            sizes.stem,
            sizes.auxiliary,
        )

    def check(self, shape: Sequence[int]) -> None:
        """Raises `UserError` for images of a `shape` (batch, channels, height, width) that this
        network cannot take."""
        require_images(shape, self.in_channels, self.factor, self.smallest)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        self.check(images.shape)
        before = previous = self.stems[0](images)
        for stem in self.stems[1:]:
            before, previous = previous, stem(previous)
        auxiliary = None
        for index, cell in enumerate(self.cells):
            output = self._call(cell, before, previous, self._drop(index))
            before = before if index in self.holds else previous
            previous = output
            if self.auxiliary is not None and self.training and index == self.auxiliary_after:
                auxiliary = self.auxiliary(previous)
        logits = self.head(previous)
        return logits if auxiliary is None else (logits, auxiliary)

    def _call(self, cell: Module, *inputs: Any) -> Tensor:
        if not self.recomputes or not self.training:
            return cell(*inputs)
        return recomputed(cell, *inputs, generator=self.generator if self.drop_path else None)

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
