"""What a network is stacked from: cells, layers with skips, a block that reduces, auxiliary
heads."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, cat
from torch.nn import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Identity,
    Linear,
    Module,
    ModuleDict,
    ModuleList,
    ReLU,
    Sequential,
)
from torch.nn.functional import conv2d

from nascore.errors import UserError
from nascore.genotypes import Cell, ChainLayer, MacroLayer, Node, operation_named
from nascore.nets import operations
from nascore.nets.operations import (
    Constructor,
    PlainReduce,
    ReLUConvBN,
    Skip,
    convolution,
    separable,
)
from nascore.nets.plain import AuxiliaryPool, conv_bn

Drop = Callable[[Tensor], Tensor] | None


def require_images(shape: Sequence[int], channels: int, factor: int, smallest: int = 1) -> None:
    """Raises `UserError` where images of a `shape` (batch, channels, height, width) have not so
    many channels, or sides that no reduction can halve."""
    found, *sides = shape[1:] if len(shape) == 4 else (0,)
    fits = all(side >= smallest and side % factor == 0 for side in sides)
    if found != channels or not fits:
        known = f"of at least {smallest}"
        if factor > 1:
            known = f"divisible by {factor}, {2 * factor} or {8 * factor} say"
        wanted = f"(batch, {channels}, height, width) with sides {known}"
        raise UserError(f"images: found {tuple(shape)}, allowed: {wanted}")


class PlacedCell(Module):
    """A genotype's cell at one place of a network. `preprocess` brings the outputs of the two cells
    before it to `channels` (or to their entries of `widths`), of which a cell with one input takes
    the last; at stride 2 the edges that leave a cell input halve the map (DARTS, 2.1). `build`
    makes the operations. Returns (B, width, H / stride, W / stride) with `width` = len(concat) *
    channels."""

    def __init__(
        self,
        cell: Cell,
        preprocess: Sequence[Module],
        channels: int,
        stride: int = 1,
        widths: Sequence[int] | None = None,
        build: Constructor = operations.build,
    ):
        super().__init__()
        n = cell.n_inputs
        self.cell = cell
        self.width = len(cell.concat) * channels
        self.channels = channels
        self.stride = stride
        self.widths = list(widths or (channels, channels))[-n:]
        self.preprocess = ModuleList(preprocess[-n:])
        self.nodes = ModuleList(self._edges(node, build) for node in cell.nodes)
        # What a concat node puts out, back to the cell's width; and the cell inputs that are put
        # out.
        self.projections = ModuleDict()
        for i, node in enumerate(cell.nodes):
            if node.combine == "concat":
                self.projections[str(i)] = ReLUConvBN(len(node.inputs) * channels, channels)
        self.skips = ModuleDict()
        for j in set(cell.concat) & set(range(n)):
            self.skips[str(j)] = self._skip(self.widths[j], build)

    def _edges(self, node: Node, build: Constructor) -> ModuleList:
        """The operations of a node: those on the cell's inputs halve the map at stride 2."""
        inside = len(self.cell.nodes)
        widths = self.widths + [self.channels] * inside
        strides = [self.stride] * self.cell.n_inputs + [1] * inside
        edges = zip(node.ops, node.inputs)
        return ModuleList(build(op, widths[j], self.channels, strides[j]) for op, j in edges)

    def _skip(self, width: int, build: Constructor) -> Module:
        if width == self.channels:
            return build("skip_connect", width, width, self.stride)
        return conv_bn(width, self.channels, 1, self.stride, 0)

    def forward(self, before_previous: Tensor, previous: Tensor, drop: Drop = None) -> Tensor:
        inputs = (before_previous, previous)[-self.cell.n_inputs :]
        states = [fit(x) for fit, x in zip(self.preprocess, inputs)]
        operations: Any = self.nodes
        for i, (node, ops) in enumerate(zip(self.cell.nodes, operations)):
            terms = []
            for j, op in zip(node.inputs, ops):
                term = op(states[j])
                spared = isinstance(op, Identity | PlainReduce | Skip)
                terms.append(drop(term) if drop and not spared else term)
            if node.combine == "concat":
                states.append(self.projections[str(i)](cat(terms, 1)))
            else:
                states.append(sum(terms[1:], terms[0]))
        out = []
        for j in self.cell.concat:
            name = str(j)
            out.append(self.skips[name](states[j]) if name in self.skips else states[j])
        return out[0] if len(out) == 1 else cat(out, 1)


class Reduction(Module):
    """A block that only reads the previous cell, in a cell's place."""

    def __init__(self, block: Module):
        super().__init__()
        self.block = block

    def forward(self, before_previous: Tensor, previous: Tensor, drop: Drop = None) -> Tensor:
        return self.block(previous)


class SameConv(Conv2d):
    """A convolution with TensorFlow's SAME padding, for filters of any size: ceil(side / stride)
    pixels come out, and an odd padding has its larger part at the bottom and the right. No bias.

    A filter that is larger than its map is padded for before, not by the convolution: oneDNN's
    gradients write beyond their memory where the padding is as large as the map."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: tuple[int, int], stride: tuple[int, int]
    ):
        super().__init__(channels_in, channels_out, kernel, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        sides = list(zip(x.shape[2:], self.kernel_size, self.stride))
        height, width = (
            max(0, (-(-side // stride) - 1) * stride + kernel - side)
            for side, kernel, stride in sides
        )
        if any(kernel > side for side, kernel, _ in sides):
            around = (width // 2, width - width // 2, height // 2, height - height // 2)
            return conv2d(F.pad(x, around), self.weight, None, self.stride)
        if height % 2 or width % 2:
            x = F.pad(x, (0, width % 2, 0, height % 2))
        return conv2d(x, self.weight, None, self.stride, (height // 2, width // 2))


class ChainBody(Module):
    """Layers of convolution, batch norm and ReLU (NAS-RL, section 3). Each reads the outputs
    that its genotype names, in that order, or the image where it names none; what no layer reads
    is put out, `width` channels in all. What is read together is concatenated, after zeros at
    the bottom and the right have made all maps as large as the largest."""

    def __init__(self, layers: Sequence[ChainLayer], in_channels: int):
        super().__init__()
        widths = [in_channels, *(layer.filters for layer in layers)]
        self.inputs = [layer.inputs or (0,) for layer in layers]
        unread = set(range(1, len(widths))).difference(*self.inputs)
        self.outputs = sorted(unread)
        self.width = sum(widths[k] for k in self.outputs)
        self.layers = ModuleList()
        for layer, inputs in zip(layers, self.inputs):
            width = sum(widths[j] for j in inputs)
            conv = SameConv(width, layer.filters, layer.filter, layer.stride)
            self.layers.append(Sequential(conv, BatchNorm2d(layer.filters), ReLU()))

    def forward(self, image: Tensor) -> Tensor:
        states = [image]
        for layer, inputs in zip(self.layers, self.inputs):
            states.append(layer(_concatenate([states[j] for j in inputs])))
        return _concatenate([states[k] for k in self.outputs])


def _concatenate(maps: list[Tensor]) -> Tensor:
    if len(maps) == 1:
        return maps[0]
    height, width = (max(x.size(side) for x in maps) for side in (2, 3))
    missing = [(0, width - x.size(3), 0, height - x.size(2)) for x in maps]
    return cat([F.pad(x, pad) if any(pad) else x for x, pad in zip(maps, missing)], 1)


def macro_operation(name: str, channels: int, separable_once: bool = True) -> Sequential:
    """What a layer of ENAS's macro space applies to its (B, channels, H, W): ReLU-1x1-BN, then
    the operation. A separable convolution is applied once, or else replaced by a full one, as in
    the network that its authors train."""
    operation = operation_named(name)
    made: Module
    if operation.family == "separable":
        made = convolution(operation.kernel, channels, channels)
        if separable_once:  # the full one is drawn all the same: a seed keeps its weights
            made = separable(operation.kernel, channels, channels)
    else:
        made = operations.build(name, channels, channels)
    return Sequential(ReLUConvBN(channels, channels), made)


class MacroBody(Module):
    """ENAS's macro network (section 2.3): a stem, then layers. From the second on, a layer's
    output is its operation's and its skips, concatenated and brought back to one width by
    ReLU-1x1-BN. After the layers in `halvings` (from 0) the width doubles and every output so
    far is halved, each by weights of its own. Returns (B, width, H', W')."""

    def __init__(
        self,
        layers: Sequence[MacroLayer],
        in_channels: int,
        channels: int,
        halvings: Collection[int],
        separable_once: bool = True,
    ):
        super().__init__()
        self.skips = [layer.skips for layer in layers]
        self.stem = conv_bn(in_channels, channels)
        self.operations = ModuleList()
        self.joins = ModuleList()
        self.halvings = ModuleDict()
        for k, layer in enumerate(layers):
            self.operations.append(macro_operation(layer.op, channels, separable_once))
            width = (len(layer.skips) + 1) * channels
            self.joins.append(ReLUConvBN(width, channels) if k else Identity())
            if k in halvings:
                halves = [PlainReduce(channels, 2 * channels) for _ in range(k + 2)]
                self.halvings[str(k)] = ModuleList(halves)
                channels = 2 * channels
        self.width = channels

    def forward(self, image: Tensor) -> Tensor:
        states = [self.stem(image)]
        for k, (skips, operation, join) in enumerate(zip(self.skips, self.operations, self.joins)):
            states.append(join(cat([*(states[j] for j in skips), operation(states[-1])], 1)))
            if str(k) in self.halvings:
                # What no later layer reads need not be halved.
                read = {k + 1}.union(*self.skips[k + 1 :])
                modules: Any = self.halvings[str(k)]
                halves = zip(modules, states)
                states = [halve(x) if j in read else x for j, (halve, x) in enumerate(halves)]
        return states[-1]


class AuxiliaryHead(Module):
    """A second classifier on a middle map, which `AuxiliaryPool` brings to `kernel` x `kernel`:
    features (B, 768), then logits (B, classes). In ENAS's (`same`) the last convolution keeps the
    map, which is then averaged, the classifier has no bias, and no weight learns: the authors'
    optimizer is not given them, so that the head passes gradients on as it was drawn."""

    def __init__(
        self,
        channels: int,
        classes: int,
        kernel: int,
        stride: int = 3,
        norm: bool = True,
        same: bool = False,
    ):
        super().__init__()
        pool = AuxiliaryPool(kernel, stride)
        project = Conv2d(channels, 128, 1, bias=False)
        last: Module
        if same:
            last = SameConv(128, 768, (kernel, kernel), (1, 1))
        else:
            last = Conv2d(128, 768, kernel, bias=False)
        self.features = Sequential(
            ReLU(),
            pool,
            project,
            BatchNorm2d(128),
            ReLU(),
            last,
            BatchNorm2d(768) if norm else Identity(),
            ReLU(),
            AdaptiveAvgPool2d(1),
            Flatten(),
        )
        self.classifier = Linear(768, classes, bias=not same)
        self.requires_grad_(not same)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))
