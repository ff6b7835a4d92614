"""The DARTS supernet: every candidate operation on every edge at once, exactly equal to the paper's
sum, and fast.

Equations 1 and 2 read x_j = sum over i < j of sum over o of p_o o(x_i), with p = softmax(alpha) of
that edge. Here the sum runs in another order: all edges that leave one state x_i run together
(`Edges`), their channels side by side, edge-major.

What each trick buys on a CPU: how many times longer a step takes without it, for weights and for
alphas (first order; 16 channels, 8 cells, batch 16, one thread, CPU seconds, medians of 3 to 5
rounds in turn; on a busy machine single rounds spread by 0.3, so a tenth is hardly a gain): edges
together 1.8, 1.55; `nets.depthwise` 1.3, 1.1 (its weight gradient alone 1.1 to 1.3, its input
gradient 1.05 to 1.1); dense gradients into batch norm 1.1, 1.1. No gain: sums in place, and pools
weighted edge by edge in place of one 1x1 convolution. Not done: a fast 5x5 weight gradient at
stride 2 (by its timing alone about 1 % of a weights step).
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nascore.errors import one_of
from nascore.nets.blocks import require_images
from nascore.nets.depthwise import channels_last, depthwise, is_plain
from nascore.nets.operations import REGISTERED, build, on_batch_statistics
from nascore.nets.skeletons import reductions
from nascore.spaces import DARTS_PRIMITIVES

Activation = Callable[[Tensor], Tensor]


def batch_norm(x: Tensor, scale: Tensor | None = None) -> Tensor:
    """Batch norm that always uses the batch's own statistics, as the paper's search does."""
    y = F.batch_norm(x, None, None, scale, training=True)
    if y.requires_grad and is_plain(y):
        # On a CPU the backward pass is ten times slower when its gradient is a slice of a larger
        # tensor.
        y.register_hook(channels_last)
    return y


def kernels(outputs: int, inputs: int, size: int = 1) -> nn.Parameter:
    """Weights of a convolution whose outputs each see `inputs` channels, drawn as `nn.Conv2d`
    draws them."""
    return nn.Parameter(
        nn.init.kaiming_uniform_(torch.empty(outputs, inputs, size, size), a=5**0.5)
    )


def pointwise(x: Tensor, weight: Tensor) -> Tensor:
    """Mix the channels of each edge: a 1x1 convolution in as many groups as there are edges."""
    return F.conv2d(x, weight, groups=x.size(1) // weight.size(1))


def two_phases(x: Tensor) -> Tensor:
    """The pixels at (even, even) and at (odd, odd) places as channels: (B, C, H, W) -> (B, 2C,
    H/2, W/2)."""
    return torch.cat([x[:, :, ::2, ::2], x[:, :, 1::2, 1::2]], 1)


class SepConv(nn.Module):
    """Depthwise, pointwise, twice; the last batch norm is left to `Edges`."""

    def __init__(self, channels: int, edges: int, size: int, stride: int, activation: Activation):
        super().__init__()
        self.stride = stride
        self.activation = activation
        self.depthwise1 = kernels(edges * channels, 1, size)
        self.pointwise1 = kernels(edges * channels, channels)
        self.depthwise2 = kernels(edges * channels, 1, size)
        self.pointwise2 = kernels(edges * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = batch_norm(pointwise(depthwise(x, self.depthwise1, self.stride), self.pointwise1))
        return pointwise(depthwise(self.activation(x), self.depthwise2), self.pointwise2)


class DilConv(nn.Module):
    """Depthwise at dilation 2, pointwise. At stride 2 only every other pixel is read: on those
    the dilation is 1."""

    def __init__(self, channels: int, edges: int, size: int, stride: int, activation: Activation):
        super().__init__()
        self.stride = stride
        self.depthwise = kernels(edges * channels, 1, size)
        self.pointwise = kernels(edges * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        return pointwise(depthwise(x, self.depthwise, dilation=2 // self.stride), self.pointwise)


def conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    """A dense convolution: where all edges read the same channels, it is one convolution with
    more outputs."""
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)


def dense(channels: int, edges: int, size: int, stride: int, activation: Activation) -> nn.Conv2d:
    return conv(channels, edges * channels, size, stride)


def norm(channels: int) -> nn.BatchNorm2d:
    """Affine batch norm on batch statistics: outside the cells only, where no alpha can be
    absorbed by its scale."""
    return nn.BatchNorm2d(channels, track_running_stats=False)


class FactorizedReduce(nn.Module):
    """Halve the map by two 1x1 convolutions, one on each diagonal phase, each making half the
    channels of an edge."""

    def __init__(self, inputs: int, outputs: int, edges: int = 1):
        super().__init__()
        self.edges = edges
        self.even = kernels(edges * outputs // 2, inputs)
        self.odd = kernels(edges * outputs // 2, inputs)

    def forward(self, x: Tensor) -> Tensor:
        inputs = x.size(1)
        even = F.pad(self.even.view(self.edges, -1, inputs), (0, inputs))
        odd = F.pad(self.odd.view(self.edges, -1, inputs), (inputs, 0))
        return F.conv2d(two_phases(x), torch.cat([even, odd], 1).view(-1, 2 * inputs, 1, 1))


# The operations that have a fast form, by name: of all edges that leave a state, (channels, edges, stride,
# activation) -> module.
FAST: dict[str, Callable[..., nn.Module]] = {
    **{f"sep_conv_{k}x{k}": partial(SepConv, size=k) for k in (3, 5, 7)},
    **{f"dil_conv_{k}x{k}": partial(DilConv, size=k) for k in (3, 5)},
    **{f"conv_{k}x{k}": partial(dense, size=k) for k in (1, 3, 5)},
    **{f"nor_conv_{k}x{k}": partial(dense, size=k) for k in (1, 3)},
}
POOLS = ("avg_pool_3x3", "max_pool_3x3", "max_pool_5x5", "max_pool_7x7")


class PlainEdges(nn.Module):
    """The slow form, for an operation that has no other, such as a user's own: a module an edge."""

    def __init__(self, name: str, channels: int, edges: int, stride: int):
        super().__init__()
        built = (build(name, channels, channels, stride, affine=False) for _ in range(edges))
        self.operations = nn.ModuleList(map(on_batch_statistics, built))

    def forward(self, x: Tensor, probabilities: Tensor) -> Tensor:
        weighted = zip(probabilities, self.operations)
        return torch.cat([p * operation(x) for p, operation in weighted], 1)


class Edges(nn.Module):
    """All operations on all edges that leave one state: returns sum over o of p_o o(x), (B, edges *
    C, H', W').

    The softmax weight of a convolution is the scale of its last batch norm. Pools and the identity
    make the same map for every edge, so they are made once, and all weighted sums of them are one
    1x1 convolution; `none` adds nothing.
    """

    def __init__(
        self,
        names: Sequence[str],
        channels: int,
        edges: int,
        stride: int,
        norm_pools: bool,
        activation: Activation,
    ):
        super().__init__()
        self.channels = channels
        self.edges = edges
        self.stride = stride
        self.norm_pools = norm_pools
        self.activation = activation
        self.primitives = tuple(names)
        self.shared: list[int] = []
        self.convolutions = nn.ModuleDict()
        self.plain = nn.ModuleDict()
        how = {"channels": channels, "edges": edges, "stride": stride, "activation": activation}
        for k, name in enumerate(names):
            own = name in REGISTERED
            if not own and (name in POOLS or (name == "skip_connect" and stride == 1)):
                self.shared.append(k)
            elif not own and name == "skip_connect":
                self.convolutions[name] = FactorizedReduce(channels, channels, edges)
            elif not own and name in FAST:
                self.convolutions[name] = FAST[name](**how)
            elif own or name != "none":
                self.plain[name] = PlainEdges(name, channels, edges, stride)

    def forward(self, x: Tensor, probabilities: Tensor) -> Tensor:
        terms = []
        active = self.activation(x)
        repeated = torch.cat([active] * self.edges, 1)
        # Of each operation (edges * C,).
        scales = probabilities.t().repeat_interleave(self.channels, 1).unbind()
        for name, convolution in self.convolutions.items():
            reads_copies = isinstance(convolution, (SepConv, DilConv))
            y = convolution(repeated if reads_copies else active)
            terms.append(batch_norm(y, scales[self.primitives.index(name)]))
        if self.shared:
            maps = torch.cat([self.simple(self.primitives[k], x) for k in self.shared], 1)
            identity = torch.eye(self.channels, dtype=x.dtype, device=x.device)
            mixing = torch.kron(probabilities[:, self.shared], identity)
            terms.append(F.conv2d(maps, mixing[:, :, None, None]))
        for name, operation in self.plain.items():
            terms.append(operation(x, probabilities[:, self.primitives.index(name)]))
        return sum(terms[1:], terms[0])

    def simple(self, name: str, x: Tensor) -> Tensor:
        if name == "skip_connect":
            return x
        size = int(name[-1])
        if name.startswith("max_pool"):
            x = F.max_pool2d(x, size, self.stride, size // 2)
        else:
            x = F.avg_pool2d(x, size, self.stride, size // 2, count_include_pad=False)
        return batch_norm(x) if self.norm_pools else x


class Cell(nn.Module):
    """A cell of the supernet: states of earlier cells in, the nodes' sums out."""

    def __init__(
        self,
        sources: Sequence[Edges],
        preprocess: Sequence[nn.Module],
        concat: int,
        activation: Activation,
    ):
        super().__init__()
        self.sources = nn.ModuleList(sources)
        self.preprocess = nn.ModuleList(preprocess)
        self.concat = concat
        self.activation = activation

    def forward(self, states: Sequence[Tensor], probabilities: Sequence[Tensor]) -> Tensor:
        states = list(states)
        for k, convolution in enumerate(self.preprocess):
            states[k] = batch_norm(convolution(self.activation(states[k])))
        nodes = self.sources[0].edges
        first = len(self.sources) - nodes + 1  # number of input states
        sums: list[list[Tensor]] = [[] for _ in range(nodes)]
        for k, source in enumerate(self.sources):
            if k >= first:
                states.append(sum(sums[k - first][1:], sums[k - first][0]))
            outputs = source(states[k], probabilities[k]).split(source.channels, 1)
            for node, output in zip(sums[-source.edges :], outputs):
                node.append(output)
        states.append(sum(sums[-1][1:], sums[-1][0]))
        return torch.cat(states[-self.concat :], 1) if self.concat > 1 else states[-1]


class ResidualBlock(nn.Module):
    """NAS-Bench-201's reduction: two ReLU-conv3x3-BN, and a shortcut of average pooling and a
    1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, activation: Activation):
        super().__init__()
        self.conv1 = conv(inputs, outputs, 3, stride=2)
        self.conv2 = conv(outputs, outputs, 3)
        self.norm1 = norm(outputs)
        self.norm2 = norm(outputs)
        self.shortcut = conv(inputs, outputs, 1)
        self.activation = activation

    def forward(self, states: Sequence[Tensor], probabilities: Sequence[Tensor]) -> Tensor:
        (x,) = states
        y = self.norm1(self.conv1(self.activation(x)))
        return self.norm2(self.conv2(self.activation(y))) + self.shortcut(F.avg_pool2d(x, 2))


class Supernet(nn.Module):
    """The search network (sections 2.2 and 3.1): `forward(images, alphas)`, an (edges, operations)
    matrix a cell type.

    The alphas are arguments, not parameters. There are no buffers, so `torch.func.functional_call`
    with other weights changes nothing. A step that wants only the alphas' gradient passes weights
    that need none: none is computed then.
    """

    def __init__(
        self,
        primitives: Sequence[str] = DARTS_PRIMITIVES,
        nodes: int = 4,
        n_inputs: int = 2,
        channels: int = 16,
        cells: int = 8,
        classes: int = 10,
        in_channels: int = 3,
        skeleton: str = "darts",
        cell_types: Sequence[str] = ("normal", "reduce"),
        activation: Activation = F.relu,
    ):
        super().__init__()
        one_of("skeleton", skeleton, ("darts", "nasbench201"))
        self.primitives = tuple(primitives)
        self.cell_types = tuple(cell_types)
        self.activation = activation
        pairs = [
            (node, source) for node in range(nodes) for source in range(n_inputs + node)
        ]  # the rows of alpha
        self.by_source = sorted(range(len(pairs)), key=lambda row: (pairs[row][1], pairs[row][0]))
        self.edges_of = [
            nodes - max(0, source - n_inputs + 1) for source in range(n_inputs + nodes - 1)
        ]
        darts = skeleton == "darts"
        width = channels * 3 if darts else channels
        self.stem = conv(in_channels, width, 3)
        self.stem_norm = norm(width)
        self.n_inputs = n_inputs
        self.cells = nn.ModuleList()
        self.types: list[int] = []
        widths = [width] * n_inputs
        shrunk = False
        places = set(reductions(cells))
        self.reductions = len(places)
        for index in range(cells):
            reduction = index in places
            channels *= 2 if reduction else 1
            if reduction and not darts:
                cell = ResidualBlock(widths[-1], channels, activation)
                width = channels
            else:
                sources = [
                    Edges(
                        primitives,
                        channels,
                        edges,
                        2 if reduction and k < n_inputs else 1,
                        darts,
                        activation,
                    )
                    for k, edges in enumerate(self.edges_of)
                ]
                preprocess = [conv(wide, channels, 1) for wide in widths] if darts else []
                if shrunk:  # the inputs older than the last cell are twice as large as its output
                    preprocess[:-1] = [FactorizedReduce(wide, channels) for wide in widths[:-1]]
                cell = Cell(sources, preprocess, nodes if darts else 1, activation)
                width = nodes * channels if darts else channels
            self.cells.append(cell)
            self.types.append(self.cell_types.index("reduce") if reduction and darts else 0)
            widths = [*widths[1:], width]
            shrunk = reduction and darts
        self.last_norm = None if darts else norm(width)
        self.classifier = nn.Linear(width, classes)

    def check(self, shape: Sequence[int]) -> None:
        """Raises `UserError` for images of a `shape` (batch, channels, height, width) that this supernet
        cannot take: every reduction halves the sides."""
        require_images(shape, self.stem.in_channels, 2**self.reductions)

    def forward(self, images: Tensor, alphas: Sequence[Tensor]) -> Tensor:
        self.check(images.shape)
        probabilities = [
            F.softmax(alpha, -1)[self.by_source].split(self.edges_of) for alpha in alphas
        ]
        stem = self.stem_norm(self.stem(channels_last(images)))
        stem = channels_last(stem)  # a convolution of one channel loses the format
        states = [stem] * self.n_inputs
        for cell, kind in zip(self.cells, self.types):
            states = [*states[1:], cell(states, probabilities[kind])]
        x = states[-1] if self.last_norm is None else self.activation(self.last_norm(states[-1]))
        return self.classifier(x.mean((2, 3)))


def initial_alphas(
    supernet: Supernet, generator: torch.Generator | None = None, device="cpu"
) -> tuple[Tensor, ...]:
    """One (edges, operations) matrix per cell type, drawn from N(0, 1) (the reference's code
    scales it by 1e-3)."""
    shape = (len(supernet.by_source), len(supernet.primitives))
    where = generator.device if generator else "cpu"
    return tuple(
        torch.randn(shape, generator=generator, device=where).to(device)
        for _ in supernet.cell_types
    )
