"""ENAS's supernet: one graph that holds every architecture of a space, of which a step computes one
path (section 2).

Who shares what: in a cell, an operation belongs to its place (cell, node, side, input): two cells
that apply it there use the same tensors. In a whole network it belongs to its layer. Batch norm
always uses the batch's own statistics: running averages over paths that differ mean nothing.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, cat
from torch.nn import (
    BatchNorm2d,
    Conv2d,
    Identity,
    Linear,
    Module,
    ModuleDict,
    ModuleList,
    ReLU,
    Sequential,
    init,
)
from torch.nn.functional import conv2d

from nascore.errors import UserError
from nascore.genotypes import Cell, CellGenotype, MacroGenotype
from nascore.nets.blocks import Reduction, macro_operation, require_images
from nascore.nets.operations import (
    PlainReduce,
    ReLUConvBN,
    ResidualBlock,
    build,
    fitted,
    on_batch_statistics,
)
from nascore.nets.plain import conv_bn
from nascore.nets.stack import Place, macro_reductions, micro_reductions, reductions, stack
from nascore.spaces import Blocks, CellSpace, Macro, Space, of


def _begin(network: Module) -> None:
    """Batch statistics, and convolutions drawn as ENAS does (He et al.'s normal)."""
    for module in on_batch_statistics(network).modules():
        if isinstance(module, Conv2d):
            init.kaiming_normal_(module.weight)


class SharedCell(Module):
    """All cells of a space at one place of the network. `preprocess` brings each input to
    `channels`; where `project`, the states that a cell puts out are brought back to `channels`
    by ReLU-1x1-BN, whose kernel has a slice for every state, so that cells of different loose
    ends share it."""

    def __init__(
        self, space: CellSpace, channels: int, preprocess: Sequence[Module], project: bool
    ):
        super().__init__()
        # The first and the second input of a node have weights of their own there.
        self.sides = isinstance(space, Blocks)
        self.preprocess = ModuleList(preprocess)
        self.operations = ModuleDict()
        for node in range(space.nodes):
            for source in range(space.n_inputs + node):
                for side in range(2 if self.sides else 1):
                    for op in space.primitives:
                        name = self.place(node, side, source, op)
                        self.operations[name] = build(op, channels, channels)
        states = space.n_inputs + space.nodes
        self.project = ReLUConvBN(states * channels, channels) if project else None

    def place(self, node: int, side: int, source: int, op: str) -> str:
        """The name of an operation: with it go its weights."""
        return f"{node}_{side if self.sides else 0}_{source}_{op}"

    def forward(self, states: Sequence[Tensor], cell: Cell) -> Tensor:
        states = [fit(x) for fit, x in zip(self.preprocess, states)]
        for i, node in enumerate(cell.nodes):
            edges = enumerate(zip(node.inputs, node.ops))
            terms = [
                self.operations[self.place(i, side, j, op)](states[j]) for side, (j, op) in edges
            ]
            states.append(sum(terms[1:], terms[0]))
        if self.project is None:
            return states[cell.concat[0]]
        parts: Any = self.project
        relu, convolution, norm = parts
        channels = convolution.out_channels
        kernel = cat(
            [convolution.weight[:, j * channels : (j + 1) * channels] for j in cell.concat], 1
        )
        return norm(conv2d(relu(cat([states[j] for j in cell.concat], 1)), kernel))


class SharedCells(Module):
    """The micro search (section 2.4), and NAS-Bench-201's space: `forward(images, genotype)` ->
    logits (B, classes).

    In the micro space a reduction cell halves its inputs first and has operations of stride 1,
    as in the authors' code (which takes the previous cell for both), an input of another width
    passes ReLU-1x1-BN, and every cell puts out `channels`; the network trained at the end has
    operations of stride 2 and concatenates."""

    def __init__(self, space: CellSpace, channels: int, cells: int, classes: int, in_channels: int):
        super().__init__()
        micro = space.skeleton != "nasbench201"
        width = 3 * channels if micro else channels
        self.stem = conv_bn(in_channels, width)
        self.cells = ModuleList()
        self.halves = ModuleDict()
        self.kinds: list[str] = []
        at = (micro_reductions if micro else reductions)(cells)
        for place in stack(channels, cells, at, width):
            channels = place.channels
            self.kinds.append("reduce" if place.reduction else "normal")
            if micro:
                self.cells.append(self._micro_cell(space, place))
            elif place.reduction:
                self.cells.append(Reduction(ResidualBlock(place.previous, channels)))
            else:
                self.cells.append(SharedCell(space, channels, [Identity()], project=False))
        self.last = ReLU() if micro else Sequential(BatchNorm2d(channels), ReLU())
        self.classifier = Linear(channels, classes, bias=not micro)
        self.in_channels = in_channels
        self.factor = 1 if micro else 2 ** len(at)
        _begin(self)

    def _micro_cell(self, space: CellSpace, place: Place) -> SharedCell:
        """A reduction halves both its inputs, the older of which the next cell reads so, too."""
        channels = place.channels
        widths = (place.previous if place.halved else place.before, place.previous)
        if place.reduction:
            halves = [PlainReduce(width, channels) for width in widths]
            self.halves[str(place.index)] = ModuleList(halves)
            widths = (channels, channels)
        fits = [fitted(width, channels) for width in widths]
        return SharedCell(space, channels, fits, project=True)

    def check(self, shape: Sequence[int]) -> None:
        """Raises `UserError` for images of a `shape` (batch, channels, height, width) that this
        supernet cannot take: ENAS's reduction halves any map, that of NAS-Bench-201 an even one."""
        require_images(shape, self.in_channels, self.factor)

    def forward(self, images: Tensor, genotype: CellGenotype) -> Tensor:
        self.check(images.shape)
        before = previous = self.stem(images)
        for index, (cell, cell_type) in enumerate(zip(self.cells, self.kinds)):
            if str(index) in self.halves:
                of_before, of_previous = self.halves[str(index)].children()
                before = of_before(before)
                previous = of_previous(previous)
            if isinstance(cell, Reduction):
                output = cell(before, previous)
            else:
                chosen = getattr(genotype, cell_type)
                output = cell((before, previous)[-chosen.n_inputs :], chosen)
            before = previous
            previous = output
        return self.classifier(self.last(previous).mean((2, 3)))


class SharedLayers(Module):
    """The macro search (section 2.3): `forward(images, genotype)` -> logits (B, classes). All
    layers have `channels`; an operation is ReLU-1x1-BN, then ReLU-conv-BN or a pool, the text's
    order (the code: conv-BN-ReLU). A layer adds its skips to what its operation puts out, and
    batch norm follows: in the network trained at the end they are concatenated and the widths
    double."""

    def __init__(self, space: Macro, channels: int, cells: int, classes: int, in_channels: int):
        super().__init__()
        self.stem = conv_bn(in_channels, channels)
        self.layers = ModuleList()
        self.norms = ModuleList()
        self.reductions = ModuleDict()
        for _ in range(space.layers):
            operations = {op: macro_operation(op, channels) for op in space.primitives}
            self.layers.append(ModuleDict(operations))
            self.norms.append(BatchNorm2d(channels))
        # Every output so far is halved, each by weights of its own.
        for index in macro_reductions(space.layers):
            halves = [PlainReduce(channels, channels) for _ in range(index + 2)]
            self.reductions[str(index)] = ModuleList(halves)
        self.classifier = Linear(channels, classes, bias=False)
        self.in_channels = in_channels
        _begin(self)

    def check(self, shape: Sequence[int]) -> None:
        """Raises `UserError` for images of a `shape` (batch, channels, height, width) that are not
        of this supernet's channels."""
        require_images(shape, self.in_channels, 1)

    def forward(self, images: Tensor, genotype: MacroGenotype) -> Tensor:
        self.check(images.shape)
        states = [self.stem(images)]
        layers: Any = self.layers
        skips = [layer.skips for layer in genotype.layers]
        for index, layer in enumerate(genotype.layers):
            output = layers[index][layer.op](states[-1])
            if index:
                output = self.norms[index](sum((states[j] for j in layer.skips), output))
            states.append(output)
            if str(index) in self.reductions:
                read = {index + 1}.union(*skips[index + 1 :])
                halves = zip(self.reductions[str(index)].children(), states)
                states = [halve(x) if j in read else x for j, (halve, x) in enumerate(halves)]
        return self.classifier(states[-1].mean((2, 3)))


def shared_network(
    space: Space, channels: int, cells: int, classes: int, in_channels: int
) -> "SharedCells | SharedLayers":
    """The supernet of a space; `cells` counts the reductions, and says nothing in the macro
    space. Raises `UserError` for a space that has neither cells nor layers of one operation."""
    if isinstance(space, Macro):
        return SharedLayers(space, channels, cells, classes, in_channels)
    if isinstance(space, CellSpace) and space.skeleton in ("enas", "nasbench201"):
        return SharedCells(space, channels, cells, classes, in_channels)
    name = of(space).name
    raise UserError(
        f"space: found {name}, allowed for shared weights: enas-macro, enas-micro, nasbench201"
    )
