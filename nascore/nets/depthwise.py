"""Depthwise convolutions, fast on a CPU: what most of a cell's time goes into.

oneDNN computes their input gradients, their weight gradients and small maps by slow kernels. Here
each has a fast one, equal to the last digits: the input gradient is a forward convolution with the
flipped kernel, the weight gradient is made three columns at a time, and on a small map only the
taps that can reach a pixel are read. Where more than a plain call is wanted (`is_plain`), and on a
GPU, PyTorch's own convolution does it, so that these compose as it does; but not where it is
`differentiated_twice`: PyTorch makes that of a convolution for every image and channel.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, cat, float64, stack
from torch.autograd import Function, forward_ad
from torch.nn import Conv2d
from torch.nn.functional import conv2d, pad
from torch.nn.grad import conv2d_weight


def depthwise(x: Tensor, weight: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
    """Convolve every channel with its own kernel, padded to keep the size."""
    reach = (max(x.shape[2:]) - 1) // dilation  # taps farther out would read nothing but padding
    excess = weight.size(2) // 2 - reach
    if excess > 0:
        weight = weight[:, :, excess:-excess, excess:-excess]
    if weight.size(2) == 1:
        return x[:, :, ::stride, ::stride] * weight.view(-1, 1, 1)
    ours = _twice > 0 or x.device.type == "cpu"
    if weight.size(2) <= 5 and x.dtype == weight.dtype in FAST and ours and is_plain(x):
        return Depthwise.apply(x, weight, stride, dilation)
    return conv2d(x, weight, None, stride, dilation * (weight.size(2) // 2), dilation, x.size(1))


FAST = (torch.float32, float64)


_twice = 0  # blocks that are open


@contextmanager
def differentiated_twice() -> Iterator[None]:
    """A block whose gradients are differentiated again: there a GPU, too, takes `Depthwise`."""
    global _twice
    _twice += 1
    try:
        yield
    finally:
        _twice -= 1


def is_plain(x: Tensor) -> bool:
    """Whether `x` is computed with, and that is all: no autocast, no transform of `torch.func`, no
    forward differentiation, no compilation."""
    return (
        not torch.is_autocast_enabled(x.device.type)
        and not is_transformed()
        and not torch.compiler.is_compiling()
        and forward_ad._current_level < 0
    )


def is_transformed() -> bool:
    """Inside `torch.func.grad`, `vmap`, `jvp`, ...: what autograd's own functions ask, too."""
    return torch._C._are_functorch_transforms_active()


def channels_last(x: Tensor) -> Tensor:
    """`x` (B, C, H, W) with its channels innermost, the format of all maps; `vmap` knows no
    formats."""
    return x if is_transformed() else x.contiguous(memory_format=torch.channels_last)


class Depthwise(Function):
    """A depthwise convolution whose gradients use the kernels that are fast on a CPU."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
        # Without a `setup_context`, for which PyTorch would look at this signature anew at every
        # call.
        ctx.stride = stride
        ctx.dilation = dilation
        needed = stride > 1 or ctx.needs_input_grad[1]
        ctx.save_for_backward(x if needed else None, weight)
        return conv2d(
            x, weight, None, stride, dilation * (weight.size(2) // 2), dilation, x.size(1)
        )

    @staticmethod
    def backward(ctx, gradient: Tensor):
        x, weight = ctx.saved_tensors
        stride = ctx.stride
        dilation = ctx.dilation
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        to_x = to_weight = None
        if stride > 1:
            padding = dilation * (weight.size(2) // 2)
            sizes = ([0], [stride] * 2, [padding] * 2, [dilation] * 2, False, [0, 0], x.size(1))
            needed = [*ctx.needs_input_grad[:2], False]
            to_x, to_weight, _ = torch.ops.aten.convolution_backward(
                gradient, x, weight, *sizes, needed
            )
            return to_x, to_weight, None, None
        if ctx.needs_input_grad[0]:
            to_x = Depthwise.apply(gradient, weight.flip(2, 3), 1, dilation)
        if ctx.needs_input_grad[1]:
            to_weight = _to_weight(x, gradient, weight.size(2), dilation)
        return to_x, to_weight, None, None


def _to_weight(x: Tensor, gradient: Tensor, size: int, dilation: int) -> Tensor:
    """The weight gradient (C, 1, size, size) of a depthwise convolution at stride 1: x and gradient
    correlated.

    oneDNN has a fast kernel for three columns (any rows) and no dilation. Pixels that are read
    `step` at a time, as channels, make columns at distance `step` neighbours: so three columns at
    distance d are one correlation, and of five the 1st, 3rd and 5th are one at distance 2d, the 2nd
    and 4th another with the halves of each 2d pixels swapped.
    """
    step = dilation * (size // 2)
    rows = dilation * (size - 1) + 1  # those between the kernel's are made and dropped
    lower = max(0, rows - x.size(2))  # that kernel wants maps no lower than itself
    missing = (0, -x.size(3) % step, 0, lower)
    if any(missing):
        x = pad(x, missing)
        gradient = pad(gradient, missing)
    x = side_by_side(x, step)
    gradient = side_by_side(gradient, step)
    channels = x.size(1)

    def correlate(x: Tensor) -> Tensor:
        shape = (channels, 1, rows, 3)
        around = (rows // 2, 1)
        found = conv2d_weight(x, shape, gradient, padding=around, groups=channels)
        halves = found[:, :, ::dilation].view(size // 2, dilation, -1, 1, size, 3)
        return halves.sum(1)  # (halves, C, 1, size, 3)

    outer = correlate(x).sum(0)
    if size == 3:
        return outer
    first, second = correlate(cat([x[:, channels // 2 :], x[:, : channels // 2]], 1))
    inner = first[..., :2] + second[..., 1:]
    return stack([outer, pad(inner, (0, 1))], -1).flatten(-2)[..., :size]


def side_by_side(x: Tensor, step: int) -> Tensor:
    """Read each `step` pixels of a row as channels: (B, C, H, W) -> (B, step C, H, W / step),
    free in channels_last."""
    b, c, h, w = x.shape
    return x.permute(0, 2, 3, 1).reshape(b, h, w // step, step * c).permute(0, 3, 1, 2)


class DepthwiseConv(Conv2d):
    """One kernel a channel, no bias, padded to keep the size: `nn.Conv2d` in all but how it is
    computed."""

    def __init__(self, channels: int, kernel: int, stride: int = 1, dilation: int = 1):
        padding = dilation * (kernel - 1) // 2
        super().__init__(
            channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        return depthwise(x, self.weight, self.stride[0], self.dilation[0])
