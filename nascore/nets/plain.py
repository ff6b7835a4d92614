"""What networks are made of, in plain PyTorch, each function without the rest of nascore: `export`
writes those that a network needs into one file. Where `nets` has its own of a name, faster or for
more uses, it has the parameters' names and the values of the one here.
"""

import torch
import torch.nn.functional as F
from torch import nn

# --- what operations are made of ------------------------------------------------------------------


def conv_bn(c_in, c_out, kernel=3, stride=1, padding=1):
    """Convolution and batch norm."""
    convolution = nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(c_out))


def relu_conv_bn(c_in, c_out, kernel=1, stride=1, dilation=1):
    """ReLU, convolution, batch norm; the map keeps its size at stride 1."""
    padding = dilation * (kernel - 1) // 2
    convolution = nn.Conv2d(c_in, c_out, kernel, stride, padding, dilation, bias=False)
    return nn.Sequential(nn.ReLU(), convolution, nn.BatchNorm2d(c_out))


def separable(c_in, c_out, kernel, stride=1, dilation=1, times=1):
    """ReLU, one kernel a channel, 1x1 across channels, batch norm, `times` over."""
    layers = []
    for _ in range(times):
        padding = dilation * (kernel - 1) // 2
        sizes = (kernel, stride, padding, dilation)
        layers.append(nn.ReLU())
        layers.append(nn.Conv2d(c_in, c_in, *sizes, groups=c_in, bias=False))
        layers.append(nn.Conv2d(c_in, c_out, 1, bias=False))
        layers.append(nn.BatchNorm2d(c_out))
        c_in = c_out
        stride = 1
    return nn.Sequential(*layers)


def factorized(c_in, c_out, kernel, stride=1):
    """ReLU, 1 x kernel, kernel x 1, batch norm."""
    pad = kernel // 2
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(c_in, c_out, (1, kernel), (1, stride), (0, pad), bias=False),
        nn.Conv2d(c_out, c_out, (kernel, 1), (stride, 1), (pad, 0), bias=False),
        nn.BatchNorm2d(c_out),
    )


def fitted(pool, c_in, c_out):
    """A pool, and a 1x1 convolution where the width changes."""
    if c_in == c_out:
        return pool
    return nn.Sequential(pool, nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out))


class FactorizedReduce(nn.Module):
    """Halves a map: half of the channels from the even pixels, half from the odd ones."""

    def __init__(self, c_in, c_out, relu=True):
        super().__init__()
        self.relu = relu
        self.even = nn.Conv2d(c_in, c_out // 2, 1, bias=False)
        self.odd = nn.Conv2d(c_in, c_out - c_out // 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(c_out)

    def forward(self, x):
        x = F.pad(x, (0, x.size(3) % 2, 0, x.size(2) % 2))
        x = x.relu() if self.relu else x
        even = x[:, :, ::2, ::2]
        odd = x[:, :, 1::2, 1::2]
        return self.norm(torch.cat([self.even(even), self.odd(odd)], 1))


class Zero(nn.Module):
    """Zeros, whatever comes in."""

    def __init__(self, channels, stride=1):
        super().__init__()
        self.channels = channels
        self.stride = stride

    def forward(self, x):
        one = torch.zeros_like(x[:, :1, :: self.stride, :: self.stride])
        return one.expand(-1, self.channels, -1, -1)


# --- operations of their own; the others are made of the above ------------------------------------


def none(c_in, c_out, stride=1):
    """Zeros."""
    return Zero(c_out, stride)


def skip_connect(c_in, c_out, stride=1):
    """The identity; where the map is halved or another width is wanted, convolutions."""
    if stride == 2:
        return FactorizedReduce(c_in, c_out)
    return nn.Identity() if c_in == c_out else relu_conv_bn(c_in, c_out)


def nasnet_skip_connect(c_in, c_out, stride=1):
    """The identity, or a 1x1 convolution where that cannot be."""
    same = c_in == c_out and stride == 1
    return nn.Identity() if same else relu_conv_bn(c_in, c_out, 1, stride)


def enas_skip_connect(c_in, c_out, stride=1):
    """The identity; where the map is halved, convolutions without a ReLU."""
    if stride == 2:
        return FactorizedReduce(c_in, c_out, relu=False)
    return nn.Identity() if c_in == c_out else relu_conv_bn(c_in, c_out)


# --- parts of whole networks ----------------------------------------------------------------------


class ResidualBlock(nn.Module):
    """NAS-Bench-201's reduction, which reads the previous cell alone."""

    def __init__(self, c_in, c_out):
        super().__init__()
        pool = nn.AvgPool2d(2)
        convolution = nn.Conv2d(c_in, c_out, 1, bias=False)
        self.block = nn.ModuleDict()
        self.block["first"] = relu_conv_bn(c_in, c_out, 3, 2)
        self.block["second"] = relu_conv_bn(c_out, c_out, 3)
        self.block["shortcut"] = nn.Sequential(pool, convolution)

    def forward(self, before, previous):
        block = self.block
        return block["shortcut"](previous) + block["second"](block["first"](previous))


class SameConv(nn.Conv2d):
    """TensorFlow's SAME padding: the larger part of an odd one at the bottom and the right."""

    def __init__(self, c_in, c_out, kernel, stride=(1, 1)):
        super().__init__(c_in, c_out, kernel, stride, bias=False)

    def forward(self, x):
        around = []
        for side, kernel, stride in zip(x.shape[2:], self.kernel_size, self.stride):
            missing = max(0, (-(-side // stride) - 1) * stride + kernel - side)
            around = [missing // 2, missing - missing // 2, *around]
        return F.conv2d(F.pad(x, around), self.weight, None, self.stride)


def same_conv_bn_relu(c_in, c_out, kernel, stride=(1, 1)):
    """A layer of a chain."""
    return nn.Sequential(SameConv(c_in, c_out, kernel, stride), nn.BatchNorm2d(c_out), nn.ReLU())


def concatenate(*maps):
    """Maps side by side in their channels, after zeros at the bottom and the right have made all as
    large as the largest."""
    height, width = (max(x.size(side) for x in maps) for side in (2, 3))
    return torch.cat([F.pad(x, (0, width - x.size(3), 0, height - x.size(2))) for x in maps], 1)


class AuxiliaryPool(nn.Module):
    """A 5x5 average pool where that brings a map to side x side, else even parts of the map."""

    def __init__(self, side, stride):
        super().__init__()
        self.side = side
        self.stride = stride
        self.known = range(5 + stride * (side - 1), 5 + stride * side)

    def forward(self, x):
        if x.size(2) in self.known and x.size(3) in self.known:
            return F.avg_pool2d(x, 5, self.stride)
        return F.adaptive_avg_pool2d(x, self.side)


class AuxiliaryHead(nn.Module):
    """A second classifier, from a middle map, for training."""

    def __init__(self, channels, classes, kernel, stride=3, norm=True, same=False):
        super().__init__()
        plain = nn.Conv2d(128, 768, kernel, bias=False)
        self.features = nn.Sequential(
            nn.ReLU(),
            AuxiliaryPool(kernel, stride),
            nn.Conv2d(channels, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            SameConv(128, 768, (kernel, kernel)) if same else plain,
            nn.BatchNorm2d(768) if norm else nn.Identity(),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.classifier = nn.Linear(768, classes, bias=not same)

    def forward(self, x):
        return self.classifier(self.features(x))
