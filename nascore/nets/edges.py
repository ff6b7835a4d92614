"""Every candidate operation on all edges that leave one state, at once: what makes the DARTS
supernet fast. `supernet` says what each trick buys."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, cat, empty, stack
from torch.nn import BatchNorm2d, Conv2d, Module, ModuleDict, ModuleList, Parameter, init
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d, pad

from nascore.genotypes import Operation, operation_named
from nascore.nets.depthwise import channels_last, depthwise, is_plain
from nascore.nets.operations import build, on_batch_statistics

Activation = Callable[[Tensor], Tensor]


def batch_norm(x: Tensor, scale: Tensor | None = None) -> Tensor:
    """Batch norm that always uses the batch's own statistics, as the paper's search does."""
    y = F.batch_norm(x, None, None, scale, training=True)
    if y.requires_grad and y.device.type == "cpu" and is_plain(y):
        # On a CPU the backward pass is ten times slower when its gradient is a slice of a larger
        # tensor.
        y.register_hook(channels_last)
    return y


def kernels(outputs: int, inputs: int, size: int = 1) -> Parameter:
    """Weights of a convolution whose outputs each see `inputs` channels, drawn as `nn.Conv2d`
    draws them."""
    weight = empty(outputs, inputs, size, size)
    return Parameter(init.kaiming_uniform_(weight, a=5**0.5))


def pointwise(x: Tensor, weight: Tensor) -> Tensor:
    """Mix the channels of each edge: a 1x1 convolution in as many groups as there are edges."""
    return conv2d(x, weight, groups=x.size(1) // weight.size(1))


def two_phases(x: Tensor) -> Tensor:
    """The pixels at (even, even) and at (odd, odd) places as channels: (B, C, H, W) -> (B, 2C,
    H/2, W/2)."""
    return cat([x[:, :, ::2, ::2], x[:, :, 1::2, 1::2]], 1)


class SepConv(Module):
    """Depthwise, pointwise, twice; the last batch norm is left to `MixedEdges`."""

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


class DilConv(Module):
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


def conv(inputs: int, outputs: int, size: int, stride: int = 1) -> Conv2d:
    """A dense convolution: where all edges read the same channels, it is one convolution with
    more outputs."""
    return Conv2d(inputs, outputs, size, stride, size // 2, bias=False)


def dense(channels: int, edges: int, size: int, stride: int, activation: Activation) -> Conv2d:
    """The dense convolution of all edges that leave a state."""
    return conv(channels, edges * channels, size, stride)


def norm(channels: int) -> BatchNorm2d:
    """Affine batch norm on batch statistics: outside the cells only, where no alpha can be
    absorbed by its scale."""
    return BatchNorm2d(channels, track_running_stats=False)


class MixedReduce(Module):
    """Halve the map by two 1x1 convolutions, one on each diagonal phase, each making half the
    channels of an edge."""

    def __init__(self, inputs: int, outputs: int, edges: int = 1):
        super().__init__()
        self.edges = edges
        self.even = kernels(edges * outputs // 2, inputs)
        self.odd = kernels(edges * outputs // 2, inputs)

    def forward(self, x: Tensor) -> Tensor:
        inputs = x.size(1)
        even = pad(self.even.view(self.edges, -1, inputs), (0, inputs))
        odd = pad(self.odd.view(self.edges, -1, inputs), (inputs, 0))
        return conv2d(two_phases(x), cat([even, odd], 1).view(-1, 2 * inputs, 1, 1))


# The families that have a fast form, of all edges that leave a state: (channels, edges, kernel,
# stride, activation) -> module.
FAST: dict[str, Callable[[int, int, int, int, Activation], Module]] = {
    "separable": SepConv,
    "dilated separable": DilConv,
    "convolution": dense,
}
# Those that make the same map for every edge.
SHARED = ("max pool", "average pool")


class PlainEdges(Module):
    """The slow form, for an operation that has no other, such as a user's own: a module an edge."""

    def __init__(self, name: str, channels: int, edges: int, stride: int):
        super().__init__()
        built = (build(name, channels, channels, stride, affine=False) for _ in range(edges))
        self.operations = ModuleList(map(on_batch_statistics, built))

    def forward(self, x: Tensor, probabilities: Tensor) -> Tensor:
        weighted = zip(probabilities, self.operations)
        return cat([p * operation(x) for p, operation in weighted], 1)  # p_o o(x)


class MixedEdges(Module):
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
        self.operations = [operation_named(name) for name in names]
        self.shared: list[int] = []
        self.convolutions = ModuleDict()
        self.plain = ModuleDict()
        for k, (name, operation) in enumerate(zip(names, self.operations)):
            family = operation.family
            if family in SHARED or (family == "skip" and stride == 1):
                self.shared.append(k)
            elif family == "skip":
                self.convolutions[name] = MixedReduce(channels, channels, edges)
            elif family in FAST:
                make = FAST[family]
                fast = make(channels, edges, operation.kernel, stride, activation)
                self.convolutions[name] = fast
            elif family != "none":
                self.plain[name] = PlainEdges(name, channels, edges, stride)

    def forward(self, x: Tensor, probabilities: Tensor) -> Tensor:
        terms = []
        active = self.activation(x)
        repeated = cat([active] * self.edges, 1)
        # Of each operation (edges * C,).
        scales = probabilities.t().repeat_interleave(self.channels, 1).unbind()
        for name, convolution in self.convolutions.items():
            reads_copies = isinstance(convolution, (SepConv, DilConv))
            y = convolution(repeated if reads_copies else active)
            terms.append(batch_norm(y, scales[self.primitives.index(name)]))  # p_o o(x)
        if self.shared:
            maps = cat([self.shared_map(self.operations[k], x) for k in self.shared], 1)
            identity = torch.eye(self.channels, dtype=x.dtype, device=x.device)
            # Columns: indexing by a list would copy it to the device, and wait.
            shared = stack([probabilities[:, k] for k in self.shared], 1)
            mixing = torch.kron(shared, identity)
            terms.append(conv2d(maps, mixing[:, :, None, None]))  # sum of p_o o(x)
        for name, operation in self.plain.items():
            terms.append(operation(x, probabilities[:, self.primitives.index(name)]))
        return sum(terms[1:], terms[0])

    def shared_map(self, operation: Operation, x: Tensor) -> Tensor:
        """What a pool, or the identity at stride 1, makes of x for every edge."""
        if operation.family == "skip":
            return x
        sides = (operation.kernel, self.stride, operation.kernel // 2)
        if operation.family == "max pool":
            x = max_pool2d(x, *sides)
        else:
            x = avg_pool2d(x, *sides, count_include_pad=False)
        return batch_norm(x) if self.norm_pools else x
