"""A module as the Python expression that makes it, from PyTorch's modules and the functions of
`nets.plain`.
"""

from functools import singledispatch

from torch import nn

from nascore.nets import blocks, operations


@singledispatch
def expression(module: nn.Module) -> str:
    """The Python that builds `module` from PyTorch's modules and the functions of `nets.plain`."""
    return f"nn.{module!r}"  # ReLU(), Identity(): as PyTorch says them


@expression.register
def _(module: nn.Sequential) -> str:
    parts = list(module)
    match [type(part) for part in parts]:
        case kinds if kinds == [nn.Conv2d, nn.BatchNorm2d]:
            return f"conv_bn({_widths(parts[0])}, {_sides(parts[0])})"
        case kinds if kinds == [nn.ReLU, nn.Conv2d, nn.BatchNorm2d]:
            return f"relu_conv_bn({_widths(parts[1])}{_kernel(parts[1])})"
        case kinds if kinds == [blocks.SameConv, nn.BatchNorm2d, nn.ReLU]:
            kernel, stride = parts[0].kernel_size, parts[0].stride
            strides = "" if stride == (1, 1) else f", {stride}"
            return f"same_conv_bn_relu({_widths(parts[0])}, {kernel}{strides})"
    return f"nn.Sequential({', '.join(map(expression, parts))})"


@expression.register
def _(module: nn.Conv2d) -> str:
    return f"nn.Conv2d({_widths(module)}, {_sides(module)}, bias=False)"


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
def _(module: operations.FactorizedReduce) -> str:
    relu = ", relu=False" if isinstance(module, operations.PlainReduce) else ""
    widths = f"{module.even.in_channels}, {module.norm.num_features}"
    return f"FactorizedReduce({widths}{relu})"


@expression.register
def _(module: blocks.AuxiliaryHead) -> str:
    _, pool, project, _, _, last, norm, *_ = module.features
    same = isinstance(last, blocks.SameConv)
    classes = module.classifier.out_features
    sizes = f"{project.in_channels}, {classes}, {pool.side}, {pool.stride}"
    return f"AuxiliaryHead({sizes}, norm={isinstance(norm, nn.BatchNorm2d)}, same={same})"


def _widths(convolution: nn.Conv2d) -> str:
    return f"{convolution.in_channels}, {convolution.out_channels}"


def _sides(convolution: nn.Conv2d) -> str:
    """Kernel, stride and padding, square ones."""
    sides = (convolution.kernel_size, convolution.stride, convolution.padding)
    return ", ".join(str(side[0]) for side in sides)


def _kernel(convolution: nn.Conv2d) -> str:
    """What differs from a 1x1 at stride 1; the padding follows."""
    kernel, stride, dilation = (
        side[0] for side in (convolution.kernel_size, convolution.stride, convolution.dilation)
    )
    said = [f"{kernel}"] if kernel > 1 else []
    said += [f"stride={stride}"] if stride > 1 else []
    said += [f"dilation={dilation}"] if dilation > 1 else []
    return "".join(f", {part}" for part in said)


@expression.register
def _(module: blocks.ChainBody) -> str:
    return "Chain()"


@expression.register
def _(module: blocks.MacroBody) -> str:
    return "Macro()"
