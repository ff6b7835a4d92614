"""A module as the Python expression that makes it, from PyTorch's modules and the functions of
`nets.plain`.
"""

from functools import singledispatch
from typing import Any

from torch import nn

from nascore.nets.blocks import AuxiliaryHead, ChainBody, MacroBody, SameConv
from nascore.nets.operations import FactorizedReduce, PlainReduce


@singledispatch
def expression(module: nn.Module) -> str:
    """The Python that builds `module` from PyTorch's modules and the functions of `nets.plain`."""
    return f"nn.{module!r}"  # ReLU(), Identity(): as PyTorch says them


@expression.register
def _(module: nn.Sequential) -> str:
    parts: list[Any] = list(module)
    match parts:
        case [nn.Conv2d() as conv, nn.BatchNorm2d()]:
            return f"conv_bn({widths(conv)}, {_sides(conv)})"
        case [nn.ReLU(), nn.Conv2d() as conv, nn.BatchNorm2d()]:
            return f"relu_conv_bn({widths(conv)}{_kernel(conv)})"
        case [SameConv() as conv, nn.BatchNorm2d(), nn.ReLU()]:
            strides = "" if conv.stride == (1, 1) else f", {conv.stride}"
            return f"same_conv_bn_relu({widths(conv)}, {conv.kernel_size}{strides})"
    return f"nn.Sequential({', '.join(map(expression, parts))})"


@expression.register
def _(module: nn.Conv2d) -> str:
    return f"nn.Conv2d({widths(module)}, {_sides(module)}, bias=False)"


@expression.register
def _(module: nn.BatchNorm2d) -> str:
    return f"nn.BatchNorm2d({module.num_features})"


@expression.register
def _(module: nn.AdaptiveAvgPool2d) -> str:
    return f"nn.AdaptiveAvgPool2d({module.output_size})"


@expression.register
def _(module: nn.Flatten) -> str:
    return "nn.Flatten()"


@expression.register
def _(module: nn.Linear) -> str:
    bias = "" if module.bias is not None else ", bias=False"
    return f"nn.Linear({module.in_features}, {module.out_features}{bias})"


@expression.register
def _(module: FactorizedReduce) -> str:
    relu = ", relu=False" if isinstance(module, PlainReduce) else ""
    widths = f"{module.even.in_channels}, {module.norm.num_features}"
    return f"FactorizedReduce({widths}{relu})"


@expression.register
def _(module: AuxiliaryHead) -> str:
    _, pool, project, _, _, last, norm, *_ = module.features
    same = isinstance(last, SameConv)
    classes = module.classifier.out_features
    sizes = f"{project.in_channels}, {classes}, {pool.side}, {pool.stride}"
    return f"AuxiliaryHead({sizes}, norm={isinstance(norm, nn.BatchNorm2d)}, same={same})"


def widths(convolution: nn.Conv2d) -> str:
    """The channels that come in and that go out."""
    return f"{convolution.in_channels}, {convolution.out_channels}"


def _sides(convolution: nn.Conv2d) -> str:
    """Kernel, stride and padding, square ones."""
    sides = (convolution.kernel_size, convolution.stride, convolution.padding)
    return ", ".join(str(side[0]) for side in sides)


def _kernel(convolution: nn.Conv2d) -> str:
    """What differs from a 1x1 at stride 1; the padding follows."""
    sides = (convolution.kernel_size, convolution.stride, convolution.dilation)
    named = zip(("", "stride=", "dilation="), sides)
    return "".join(f", {name}{side}" for name, (side, _) in named if side > 1)


@expression.register
def _(module: ChainBody) -> str:
    return "Chain()"


@expression.register
def _(module: MacroBody) -> str:
    return "Macro()"
