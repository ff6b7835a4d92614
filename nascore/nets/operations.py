"""The candidate operations by their published names, as modules: (B, channels_in, H, W) -> (B,
channels_out, H', W').

Convolutions are ReLU-Conv-BN without bias (DARTS, A.1.1); ReLU is never in place, because one map
feeds several operations. Batch norm after a pool belongs to the search supernet, not to the
operation.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nascore import genotypes
from nascore.errors import one_of, require
from nascore.nets.depthwise import DepthwiseConv

Constructor = Callable[..., nn.Module]


class ReLUConvBN(nn.Sequential):
    """ReLU, `kernel` x `kernel` convolution, batch norm; `dilation` 2 with padding 2 is NASNet's
    full dilated one."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel=1,
        stride=1,
        padding=0,
        affine=True,
        dilation=1,
    ):
        convolution = nn.Conv2d(
            channels_in, channels_out, kernel, stride, padding, dilation, bias=False
        )
        super().__init__(nn.ReLU(), convolution, nn.BatchNorm2d(channels_out, affine=affine))

    def forward(self, x: Tensor) -> Tensor:
        activation, convolution, norm = self
        if convolution.kernel_size == (1, 1) and convolution.stride != (1, 1):
            # The pixels that are read, first: oneDNN's gradients of a 1x1 convolution with a stride
            # write beyond their memory where two threads share a minibatch.
            height, width = convolution.stride
            x = x[:, :, ::height, ::width]
            return norm(F.conv2d(activation(x), convolution.weight))
        return norm(convolution(activation(x)))


class Skip(ReLUConvBN):
    """NASNet's identity where widths or sizes of maps differ, in a class of its own because drop
    path spares it too."""


class FactorizedReduce(nn.Module):
    """The stride-2 skip: half of the channels see the pixels at (even, even), the other half
    those at (odd, odd). An odd map is halved upwards, as if a row or column of zeros followed
    it."""

    def __init__(self, channels_in: int, channels_out: int, affine: bool = True):
        super().__init__()
        require(channels_out > 1, "channels", channels_out, "2 or more where a map is halved")
        self.even = nn.Conv2d(channels_in, channels_out // 2, 1, bias=False)
        self.odd = nn.Conv2d(channels_in, channels_out - channels_out // 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels_out, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        if x.size(2) % 2 or x.size(3) % 2:
            x = F.pad(x, (0, x.size(3) % 2, 0, x.size(2) % 2))
        # Taking the pixels first leaves ReLU and convolution a quarter of the map each.
        even = self.activate(x[:, :, ::2, ::2])
        odd = self.activate(x[:, :, 1::2, 1::2])
        return self.norm(torch.cat([self.even(even), self.odd(odd)], 1))

    def activate(self, x: Tensor) -> Tensor:
        return x.relu()


class PlainReduce(FactorizedReduce):
    """ENAS's stride-2 identity, and its reduction between macro layers: without a ReLU. Drop
    path spares it."""

    def activate(self, x: Tensor) -> Tensor:
        return x


class Zero(nn.Module):
    """`none`: zeros, whatever comes in (x * 0 would let NaN through)."""

    def __init__(self, channels: int, stride: int = 1):
        super().__init__()
        self.channels = channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x[:, :1, :: self.stride, :: self.stride]).expand(
            -1, self.channels, -1, -1
        )


class ResidualBlock(nn.Module):
    """NAS-Bench-201's reduction: two ReLU-3x3-BN, the first at stride 2, beside a 2x2 average
    pool and a plain 1x1."""

    def __init__(self, channels_in: int, channels_out: int, affine: bool = True):
        super().__init__()
        self.first = ReLUConvBN(channels_in, channels_out, 3, 2, 1, affine)
        self.second = ReLUConvBN(channels_out, channels_out, 3, 1, 1, affine)
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2), nn.Conv2d(channels_in, channels_out, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.second(self.first(x))


def _skip(channels_in: int, channels_out: int, stride: int, affine: bool) -> nn.Module:
    if stride == 2:
        return FactorizedReduce(channels_in, channels_out, affine)
    return (
        nn.Identity()
        if channels_in == channels_out
        else ReLUConvBN(channels_in, channels_out, affine=affine)
    )


def _pool(kind: type[nn.Module], kernel: int, **options) -> Constructor:
    def construct(channels_in: int, channels_out: int, stride: int, affine: bool) -> nn.Module:
        pool = kind(kernel, stride, kernel // 2, **options)
        if channels_in == channels_out:
            return pool
        convolution = nn.Conv2d(channels_in, channels_out, 1, bias=False)
        return nn.Sequential(pool, convolution, nn.BatchNorm2d(channels_out, affine=affine))

    return construct


def _conv(kernel: int, dilation: int = 1) -> Constructor:
    padding = dilation * (kernel - 1) // 2
    return lambda c_in, c_out, stride, affine: ReLUConvBN(
        c_in, c_out, kernel, stride, padding, affine, dilation
    )


def separable(kernel: int, dilation: int = 1, times: int = 1) -> Constructor:
    """Depthwise separable: ReLU, one kernel a channel, 1x1 across channels, batch norm, `times`
    over with the stride and the change of width in the first (NASNet, A.4: twice); the map keeps
    its size at stride 1."""

    def construct(channels_in: int, channels_out: int, stride: int, affine: bool) -> nn.Module:
        layers = []
        width = channels_in
        for k in range(times):
            layers += [nn.ReLU(), DepthwiseConv(width, kernel, 1 if k else stride, dilation)]
            layers += [
                nn.Conv2d(width, channels_out, 1, bias=False),
                nn.BatchNorm2d(channels_out, affine=affine),
            ]
            width = channels_out
        return nn.Sequential(*layers)

    return construct


def _factorized(kernel: int) -> Constructor:
    """ReLU, 1 x kernel, kernel x 1, one batch norm at the end."""
    pad = kernel // 2
    return lambda c_in, c_out, stride, affine: nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(c_in, c_out, (1, kernel), (1, stride), (0, pad), bias=False),
        nn.Conv2d(c_out, c_out, (kernel, 1), (stride, 1), (pad, 0), bias=False),
        nn.BatchNorm2d(c_out, affine=affine),
    )


_CONSTRUCTORS: dict[str, Constructor] = {
    "none": lambda c_in, c_out, stride, affine: Zero(c_out, stride),
    "skip_connect": _skip,
    "avg_pool_3x3": _pool(nn.AvgPool2d, 3, count_include_pad=False),
    **{f"max_pool_{k}x{k}": _pool(nn.MaxPool2d, k) for k in (3, 5, 7)},
    **{f"sep_conv_{k}x{k}": separable(k, times=2) for k in (3, 5, 7)},
    **{f"dil_conv_{k}x{k}": separable(k, dilation=2) for k in (3, 5)},
    **{f"conv_{k}x1_1x{k}": _factorized(k) for k in (3, 7)},
    **{f"conv_{k}x{k}": _conv(k) for k in (1, 3, 5)},
    **{f"nor_conv_{k}x{k}": _conv(k) for k in (1, 3)},
    "full_dil_conv_3x3": _conv(3, dilation=2),
}


REGISTERED: dict[str, Constructor] = {}  # the user's own, which worker processes must be told of


def register(name: str, constructor: Constructor) -> None:
    """Make an operation of your own usable in genotypes and networks: `constructor(channels_in,
    channels_out, stride, affine)` returns its module. Registering a name again replaces it."""
    good = isinstance(name, str) and name.isidentifier()
    require(good, "operation name", name, "letters, digits and underscores")
    genotypes.OPERATIONS.add(name)
    _CONSTRUCTORS[name] = REGISTERED[name] = constructor


def build(
    name: str, channels_in: int, channels_out: int, stride: int = 1, affine: bool = True
) -> nn.Module:
    """The module of an operation; at stride 2 it halves the map."""
    one_of("operation", name, sorted(_CONSTRUCTORS))
    return _CONSTRUCTORS[name](channels_in, channels_out, stride, affine)


def on_batch_statistics(module: nn.Module) -> nn.Module:
    """`module`, whose batch norms from now on always use the batch's own statistics: running averages
    over paths or weights that differ mean nothing."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.track_running_stats = False
            part.running_mean = part.running_var = part.num_batches_tracked = None
    return module
