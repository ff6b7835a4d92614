"""A module as the Python expression that makes it, from PyTorch's modules and the functions of
`nets.plain`.
"""

from typing import Any

from torch.nn import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Linear,
    Module,
    ReLU,
    Sequential,
)

from nascore.nets.blocks import AuxiliaryHead, ChainBody, MacroBody, SameConv
from nascore.nets.operations import FactorizedReduce, PlainReduce


def expression(module: Module) -> str:
    """The Python that builds `module` from PyTorch's modules and the functions of `nets.plain`."""
    match module:
        case ChainBody():
            return "Chain()"
        case MacroBody():
            return "Macro()"
        case Sequential():
            return _sequence(list(module))
        case Conv2d():
            return f"nn.Conv2d({widths(module)}, {_sides(module)}, bias=False)"
        case BatchNorm2d(num_features=channels):
            return f"nn.BatchNorm2d({channels})"
        case AdaptiveAvgPool2d(output_size=side):
            return f"nn.AdaptiveAvgPool2d({side})"
        case Flatten():
            return "nn.Flatten()"
        case Linear(in_features=channels, out_features=classes, bias=bias):
            return f"nn.Linear({channels}, {classes}{', bias=False' if bias is None else ''})"
        case FactorizedReduce(even=even, norm=norm):
            relu = ", relu=False" if isinstance(module, PlainReduce) else ""
            return f"FactorizedReduce({even.in_channels}, {norm.num_features}{relu})"
        case AuxiliaryHead():
            return _auxiliary(module)
    return f"nn.{module!r}"  # ReLU(), Identity(): as PyTorch says them


def _sequence(parts: list[Any]) -> str:
    match parts:
        case [Conv2d() as conv, BatchNorm2d()]:
            return f"conv_bn({widths(conv)}, {_sides(conv)})"
        case [ReLU(), Conv2d() as conv, BatchNorm2d()]:
            return f"relu_conv_bn({widths(conv)}{_kernel(conv)})"
        case [SameConv(stride=stride, kernel_size=kernel) as conv, BatchNorm2d(), ReLU()]:
            strides = "" if stride == (1, 1) else f", {stride}"
            return f"same_conv_bn_relu({widths(conv)}, {kernel}{strides})"
    return f"nn.Sequential({', '.join(map(expression, parts))})"


def _auxiliary(head: AuxiliaryHead) -> str:
    _, pool, project, _, _, last, norm, *_ = head.features
    same = isinstance(last, SameConv)
    sizes = f"{project.in_channels}, {head.classifier.out_features}, {pool.side}, {pool.stride}"
    return f"AuxiliaryHead({sizes}, norm={isinstance(norm, BatchNorm2d)}, same={same})"


def widths(convolution: Conv2d) -> str:
    """The channels that come in and that go out."""
    return f"{convolution.in_channels}, {convolution.out_channels}"


def _sides(convolution: Conv2d) -> str:
    """Kernel, stride and padding, square ones."""
    sides = (convolution.kernel_size, convolution.stride, convolution.padding)
    return ", ".join(str(side[0]) for side in sides)


def _kernel(convolution: Conv2d) -> str:
    """What differs from a 1x1 at stride 1; the padding follows."""
    sides = (convolution.kernel_size, convolution.stride, convolution.dilation)
    named = zip(("", "stride=", "dilation="), sides)
    return "".join(f", {name}{side}" for name, (side, _) in named if side > 1)
