"""The candidate operations by their published names, as modules: (B, channels_in, H, W) -> (B,
channels_out, H', W').

Convolutions are ReLU-Conv-BN without bias (DARTS, A.1.1); ReLU is never in place, because one map
feeds several operations. Batch norm after a pool belongs to the search supernet, not to the
operation.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, cat
from torch.nn import AvgPool2d, BatchNorm2d, Conv2d, Identity, MaxPool2d, Module, ReLU, Sequential
from torch.nn.functional import conv2d

from nascore.errors import one_of, require
from nascore.genotypes import OPERATIONS, TABLE, operation_named
from nascore.nets.depthwise import DepthwiseConv
from nascore.nets.plain import Zero

Constructor = Callable[..., Module]


class ReLUConvBN(Sequential):
    """ReLU, `kernel` x `kernel` convolution, batch norm; `dilation` 2 with padding 2 is NASNet's
    full dilated one."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int = 1,
        stride: int = 1,
        padding: int = 0,
        affine: bool = True,
        dilation: int = 1,
    ):
        sides = (kernel, stride, padding, dilation)
        convolution = Conv2d(channels_in, channels_out, *sides, bias=False)
        super().__init__(ReLU(), convolution, BatchNorm2d(channels_out, affine=affine))

    def forward(self, x: Tensor) -> Tensor:
        parts: Any = self  # Sequential
        activation, convolution, norm = parts
        if convolution.kernel_size == (1, 1) and convolution.stride != (1, 1):
            # The pixels that are read, first: oneDNN's gradients of a 1x1 convolution with a stride
            # write beyond their memory where two threads share a minibatch.
            height, width = convolution.stride
            x = x[:, :, ::height, ::width]
            return norm(conv2d(activation(x), convolution.weight))
        return norm(convolution(activation(x)))


class Skip(ReLUConvBN):
    """NASNet's identity where widths or sizes of maps differ, in a class of its own because drop
    path spares it too."""


class FactorizedReduce(Module):
    """The stride-2 skip: half of the channels see the pixels at (even, even), the other half
    those at (odd, odd). An odd map is halved upwards, as if a row or column of zeros followed
    it."""

    def __init__(self, channels_in: int, channels_out: int, affine: bool = True):
        super().__init__()
        require(channels_out > 1, "channels", channels_out, "2 or more where a map is halved")
        self.even = Conv2d(channels_in, channels_out // 2, 1, bias=False)
        self.odd = Conv2d(channels_in, channels_out - channels_out // 2, 1, bias=False)
        self.norm = BatchNorm2d(channels_out, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        if x.size(2) % 2 or x.size(3) % 2:
            x = F.pad(x, (0, x.size(3) % 2, 0, x.size(2) % 2))
        # Taking the pixels first leaves ReLU and convolution a quarter of the map each.
        even = self.activate(x[:, :, ::2, ::2])
        odd = self.activate(x[:, :, 1::2, 1::2])
        return self.norm(cat([self.even(even), self.odd(odd)], 1))

    def activate(self, x: Tensor) -> Tensor:
        """What comes before the convolutions."""
        return x.relu()


class PlainReduce(FactorizedReduce):
    """ENAS's stride-2 identity, and its reduction between macro layers: without a ReLU. Drop
    path spares it."""

    def activate(self, x: Tensor) -> Tensor:
        return x


class ResidualBlock(Module):
    """NAS-Bench-201's reduction: two ReLU-3x3-BN, the first at stride 2, beside a 2x2 average
    pool and a plain 1x1."""

    def __init__(self, channels_in: int, channels_out: int, affine: bool = True):
        super().__init__()
        self.first = ReLUConvBN(channels_in, channels_out, 3, 2, 1, affine)
        self.second = ReLUConvBN(channels_out, channels_out, 3, 1, 1, affine)
        self.shortcut = Sequential(AvgPool2d(2), Conv2d(channels_in, channels_out, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.second(self.first(x))


# --- families: each makes the module of a kernel, which halves the map at stride 2 ----------------


def _none(kernel: int, channels_in: int, channels_out: int, stride: int, affine: bool) -> Zero:
    return Zero(channels_out, stride)


def _skip(kernel: int, channels_in: int, channels_out: int, stride: int, affine: bool) -> Module:
    if stride == 2:
        return FactorizedReduce(channels_in, channels_out, affine)
    return fitted(channels_in, channels_out, affine)


def fitted(channels_in: int, channels_out: int, affine: bool = True) -> Module:
    """ReLU-1x1-BN where the width changes."""
    if channels_in == channels_out:
        return Identity()
    return ReLUConvBN(channels_in, channels_out, affine=affine)


def _max_pool(
    kernel: int, channels_in: int, channels_out: int, stride: int, affine: bool
) -> Module:
    pool = MaxPool2d(kernel, stride, kernel // 2)
    return _widened(pool, channels_in, channels_out, affine)


def _average_pool(
    kernel: int, channels_in: int, channels_out: int, stride: int, affine: bool
) -> Module:
    pool = AvgPool2d(kernel, stride, kernel // 2, count_include_pad=False)
    return _widened(pool, channels_in, channels_out, affine)


def _widened(pool: Module, channels_in: int, channels_out: int, affine: bool) -> Module:
    if channels_in == channels_out:
        return pool
    convolution = Conv2d(channels_in, channels_out, 1, bias=False)
    return Sequential(pool, convolution, BatchNorm2d(channels_out, affine=affine))


def convolution(
    kernel: int,
    channels_in: int,
    channels_out: int,
    stride: int = 1,
    affine: bool = True,
    dilation: int = 1,
) -> ReLUConvBN:
    """ReLU, a full convolution, batch norm; the map keeps its size at stride 1."""
    padding = dilation * (kernel - 1) // 2
    return ReLUConvBN(channels_in, channels_out, kernel, stride, padding, affine, dilation)


def separable(
    kernel: int,
    channels_in: int,
    channels_out: int,
    stride: int = 1,
    affine: bool = True,
    dilation: int = 1,
    times: int = 1,
) -> Sequential:
    """Depthwise separable: ReLU, one kernel a channel, 1x1 across channels, batch norm, `times`
    over with the stride and the change of width in the first (NASNet, A.4: twice); the map keeps
    its size at stride 1."""
    layers: list[Module] = []
    for _ in range(times):
        layers += [ReLU(), DepthwiseConv(channels_in, kernel, stride, dilation)]
        layers += [Conv2d(channels_in, channels_out, 1, bias=False)]
        layers += [BatchNorm2d(channels_out, affine=affine)]
        channels_in = channels_out
        stride = 1
    return Sequential(*layers)


def _factorized(
    kernel: int, channels_in: int, channels_out: int, stride: int, affine: bool
) -> Sequential:
    """ReLU, 1 x kernel, kernel x 1, one batch norm at the end."""
    pad = kernel // 2
    return Sequential(
        ReLU(),
        Conv2d(channels_in, channels_out, (1, kernel), (1, stride), (0, pad), bias=False),
        Conv2d(channels_out, channels_out, (kernel, 1), (stride, 1), (pad, 0), bias=False),
        BatchNorm2d(channels_out, affine=affine),
    )


_FAMILIES: dict[str, Callable[[int, int, int, int, bool], Module]] = {
    "none": _none,
    "skip": _skip,
    "separable": partial(separable, times=2),
    "dilated separable": partial(separable, dilation=2),
    "convolution": convolution,
    "dilated convolution": partial(convolution, dilation=2),
    "factorized convolution": _factorized,
    "max pool": _max_pool,
    "average pool": _average_pool,
}
REGISTERED: dict[str, Constructor] = {}  # the user's own, which worker processes must be told of


def register(name: str, constructor: Constructor) -> None:
    """Make an operation of your own usable in genotypes and networks: `constructor(channels_in,
    channels_out, stride, affine)` returns its module. Registering a name again replaces it, a
    published one too."""
    good = isinstance(name, str) and name.isidentifier()
    require(good, "operation name", name, "letters, digits and underscores")
    OPERATIONS.add(name)
    TABLE.pop(name, None)
    REGISTERED[name] = constructor


def build(
    name: str, channels_in: int, channels_out: int, stride: int = 1, affine: bool = True
) -> Module:
    """The module of an operation; at stride 2 it halves the map."""
    operation = operation_named(name)
    if operation.family == "own":
        one_of("operation", name, sorted(TABLE.keys() | REGISTERED))
        return REGISTERED[name](channels_in, channels_out, stride, affine)
    made = _FAMILIES[operation.family]
    return made(operation.kernel, channels_in, channels_out, stride, affine)


def on_batch_statistics(module: Module) -> Module:
    """`module`, whose batch norms from now on always use the batch's own statistics: running
    averages over paths or weights that differ mean nothing."""
    for part in module.modules():
        if isinstance(part, BatchNorm2d):
            part.track_running_stats = False
            part.running_mean = part.running_var = part.num_batches_tracked = None
    return module
