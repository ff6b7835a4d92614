"""How a genotype is stacked: a skeleton is a function that returns the parts of a network, a
`Layout`.

`nets.convolutional.Network` runs any of them. A later paper adds its own here, and its sizes to
`NETWORKS` there.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial

from torch import nn

from nascore import genotypes
from nascore.errors import UserError, one_of, require
from nascore.genotypes import CellGenotype, Genotype
from nascore.nets.blocks import AuxiliaryHead, Cell, Chain, Macro, Reduction, conv_bn
from nascore.nets.operations import (
    FactorizedReduce,
    PlainReduce,
    ReLUConvBN,
    ResidualBlock,
    Skip,
    build,
)


@dataclass
class Layout:
    """The parts of a network. The image passes the stems, then the cells, each of which reads
    the last two outputs (the only stem's twice), then the head. After a cell in `holds` the next
    one reads, as the output before the last, the same as that cell did. Image sides are at least
    `smallest` and divisible by `factor`. Batch norm adds `norm_epsilon` to a variance."""

    stems: list[nn.Module]
    cells: list[nn.Module]
    head: nn.Module
    factor: int = 1
    smallest: int = 1
    auxiliary: nn.Module | None = None
    auxiliary_after: int | None = None
    holds: Collection[int] = ()
    drops_more_with_depth: bool = False
    norm_epsilon: float = 1e-5


def _head(channels: int, classes: int, bias: bool = True) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes, bias)]


def _of_kind(genotype: Genotype, kind: str, skeleton: str):
    if genotypes.kind(genotype) != kind:
        raise UserError(
            f"kind: found {genotypes.kind(genotype)!r}, allowed in the skeleton {skeleton}: {kind}"
        )
    return genotype


def _two_cells(genotype: Genotype, skeleton: str) -> CellGenotype:
    if _of_kind(genotype, "cell", skeleton).reduce is None:
        raise UserError(f"reduce: found null, allowed in the skeleton {skeleton}: a cell")
    return genotype


def reductions(cells: int) -> tuple[int, int]:
    """Where a stack of cells halves its maps and doubles its channels; the same place twice
    where `cells` is 1."""
    return cells // 3, 2 * cells // 3


def micro_reductions(cells: int) -> tuple[int, int]:
    """Where ENAS's stack of N + 2 cells does; in none of its cells where there is one."""
    third = (cells - 2) // 3
    return third, 2 * third + 1


def macro_reductions(layers: int) -> tuple[int, ...]:
    """The layers (from 0) after which ENAS's macro network halves its maps."""
    third = layers // 3
    return (third - 1, 2 * third - 1) if third else ()


def _places(
    genotype: CellGenotype, channels: int, cells: int, at=reductions
) -> list[tuple[genotypes.Cell, int, int]]:
    """(cell, channels, stride) from the first cell of a stack to the last."""
    places = []
    for index in range(cells):
        stride = 1 + (index in at(cells))
        channels *= stride
        places.append((genotype.reduce if stride == 2 else genotype.normal, channels, stride))
    return places


def darts(genotype, channels, cells, classes, in_channels, stem, auxiliary) -> Layout:
    """DARTS's evaluation network (A.2.1; ImageNet: A.2.3). A cell with one input reads only the
    previous cell."""
    genotype = _two_cells(genotype, "darts")
    one_of("stem", stem, ("cifar", "imagenet"))
    if stem == "cifar":
        width = 3 * channels
        stems = [nn.Sequential(*conv_bn(in_channels, width))]
    else:
        require(channels > 1, "channels", channels, "2 or more with the imagenet stem")
        width = channels
        half = channels // 2
        first = [*conv_bn(in_channels, half, stride=2), nn.ReLU(), *conv_bn(half, width, stride=2)]
        stems = [nn.Sequential(*first), nn.Sequential(nn.ReLU(), *conv_bn(width, width, stride=2))]
    before = width
    previous = width
    halved = stem == "imagenet"
    places = _places(genotype, channels, cells)
    stack = []
    head = None
    last = reductions(cells)[-1]
    for index, (cell, channels, stride) in enumerate(places):
        # The input before the previous one is twice as large where the previous cell (or stem)
        # halved its map.
        fits = [
            (FactorizedReduce if halved else ReLUConvBN)(before, channels),
            ReLUConvBN(previous, channels),
        ]
        stack.append(Cell(cell, fits[-cell.n_inputs :], channels, stride))
        before = previous
        previous = stack[-1].width
        halved = stride == 2
        if auxiliary and index == last:
            # On ImageNet without second batch norm: the authors keep a slip for the sake of their
            # published numbers.
            head = AuxiliaryHead(
                previous, classes, 2, *((3, True) if stem == "cifar" else (2, False))
            )
    factor = (1 if stem == "cifar" else 8) * 2 ** len(set(reductions(cells)))
    return Layout(stems, stack, nn.Sequential(*_head(previous, classes)), factor, 1, head, last)


def _nasnet_operation(name: str, channels_in: int, channels_out: int, stride: int = 1) -> nn.Module:
    if name == "skip_connect" and (channels_in, 1) != (channels_out, stride):
        return Skip(channels_in, channels_out, 1, stride)
    return build(name, channels_in, channels_out, stride)


def nasnet(genotype, channels, cells, classes, in_channels, stem, auxiliary) -> Layout:
    """NASNet's network as its authors' code stacks it (section 2, appendix A.4;
    tensorflow/models, slim): on ImageNet two more reduction cells come first. Odd maps are
    halved upwards. Paddings are symmetric: at stride 2 TensorFlow's windows stand a pixel
    further down and right on even maps."""
    return _nasnet(
        _two_cells(genotype, "nasnet"), channels, cells, classes, in_channels, stem, auxiliary
    )


def pnasnet(genotype, channels, cells, classes, in_channels, stem, auxiliary) -> Layout:
    """PNASNet's network (section 3.2; tensorflow/models, slim): NASNet's with one cell, which at
    stride 2 is the reduction as well. A genotype of two cells reduces with its second one."""
    genotype = _of_kind(genotype, "cell", "pnasnet")
    genotype = replace(genotype, reduce=genotype.reduce or genotype.normal)
    return _nasnet(genotype, channels, cells, classes, in_channels, stem, auxiliary, pnasnet=True)


def _nasnet(
    genotype, channels, cells, classes, in_channels, stem, auxiliary, pnasnet=False
) -> Layout:
    one_of("stem", stem, ("cifar", "imagenet", "imagenet-large"))
    places = _places(genotype, channels, cells)
    large = stem == "imagenet-large"
    auxiliary_after = max(0, reductions(cells)[-1] - 1)  # the last cell before the second reduction
    if stem == "cifar":
        width = 3 * channels
        stems = [nn.Sequential(*conv_bn(in_channels, width))]
    else:
        require(channels > 3, "channels", channels, f"4 or more with the {stem} stem")
        width = 96 if large else 32
        stems = [nn.Sequential(*conv_bn(in_channels, width, stride=2, padding=0))]
        places = [(genotype.reduce, channels // 4, 2), (genotype.reduce, channels // 2, 2), *places]
        auxiliary_after += 2
    before = width
    previous = width
    halved = False
    stack = []
    holds = []
    for index, (cell, channels, stride) in enumerate(places):
        # No cell came before the previous one: the stem stands in for it, unfitted (on CIFAR-10 in
        # NASNet alone).
        raw = index == 0 and not (pnasnet and stem == "cifar")
        if halved:
            fit = FactorizedReduce(before, channels)
        else:
            fit = nn.Identity() if raw or before == channels else ReLUConvBN(before, channels)
        fits = [fit, ReLUConvBN(previous, channels)]
        widths = [before if raw else channels, channels]
        n = cell.n_inputs
        stack.append(Cell(cell, fits[-n:], channels, stride, widths[-n:], _nasnet_operation))
        if (
            large and stride == 2 and not halved and not pnasnet
        ):  # the next cell never sees this one's input
            holds.append(index)
        else:
            before = previous
        previous = stack[-1].width
        halved = stride == 2
    head = None
    if auxiliary:
        head = AuxiliaryHead(stack[auxiliary_after].width, classes, 6 if large else 4)
    classifier = nn.Sequential(nn.ReLU(), *_head(previous, classes))
    return Layout(
        stems,
        stack,
        classifier,
        smallest=1 if stem == "cifar" else 3,
        auxiliary=head,
        auxiliary_after=auxiliary_after,
        holds=holds,
        drops_more_with_depth=True,
        norm_epsilon=1e-5 if stem == "cifar" else 1e-3,  # as the authors' arg scopes have it
    )


def _enas_operation(name: str, channels_in: int, channels_out: int, stride: int = 1) -> nn.Module:
    halves = name == "skip_connect" and stride == 2
    return (
        PlainReduce(channels_in, channels_out)
        if halves
        else build(name, channels_in, channels_out, stride)
    )


def enas(genotype, channels, cells, classes, in_channels, stem, auxiliary) -> Layout:
    """ENAS's micro network as its authors train it at last (section 2.4, their `micro_child`):
    both inputs are brought to the cell's width, then the previous one passes one more
    ReLU-1x1-BN. Paddings are as in `nasnet`; the dropout before the classifier is left out."""
    genotype = _two_cells(genotype, "enas")
    one_of("stem", stem, ("cifar",))
    before = previous = 3 * channels
    stems = [nn.Sequential(*conv_bn(in_channels, previous))]
    stack = []
    halved = False
    places = _places(genotype, channels, cells, micro_reductions)
    for cell, channels, stride in places:
        fits = [
            nn.Identity() if width == channels else ReLUConvBN(width, channels)
            for width in (before, previous)
        ]
        if halved:
            fits[0] = FactorizedReduce(before, channels)
        fits[1] = nn.Sequential(fits[1], ReLUConvBN(channels, channels))
        stack.append(Cell(cell, fits[-cell.n_inputs :], channels, stride, build=_enas_operation))
        before = previous
        previous = stack[-1].width
        halved = stride == 2
    after = min(micro_reductions(cells)[-1] + 1, cells - 1)
    head = AuxiliaryHead(stack[after].width, classes, 2, same=True) if auxiliary else None
    classifier = nn.Sequential(nn.ReLU(), *_head(previous, classes, bias=False))
    return Layout(
        stems, stack, classifier, auxiliary=head, auxiliary_after=after, drops_more_with_depth=True
    )


def enas_macro(
    genotype, channels, cells, classes, in_channels, stem, auxiliary, full=False
) -> Layout:
    """ENAS's macro network (section 2.3), whose genotype has its own depth: `cells` and `stem`
    say nothing. Separable convolutions are what their name says, or, where `full`, the full ones
    of the authors' code. The dropout before the classifier is left out."""
    layers = _of_kind(genotype, "macro", "enas-macro-full" if full else "enas-macro").layers
    one_of("auxiliary", auxiliary, (False,))
    body = Macro(layers, in_channels, channels, macro_reductions(len(layers)), not full)
    return Layout([body], [], nn.Sequential(*_head(body.width, classes, bias=False)))


def nasbench201(genotype, channels, cells, classes, in_channels, stem, auxiliary) -> Layout:
    """NAS-Bench-201's network: one cell everywhere, residual blocks as reductions."""
    genotype = _of_kind(genotype, "cell", "nasbench201")
    one_of("stem", stem, ("cifar",))
    one_of("auxiliary", auxiliary, (False,))
    cell = genotype.normal
    if genotype.reduce is not None or cell.n_inputs != 1 or len(cell.concat) != 1:
        reduce = "null" if genotype.reduce is None else "a cell"
        found = f"{cell.n_inputs} inputs, {len(cell.concat)} in concat, reduce {reduce}"
        raise UserError(
            f"cell: found {found}, allowed in the skeleton nasbench201: 1 input, 1 in concat, reduce null"
        )
    stems = [nn.Sequential(*conv_bn(in_channels, channels))]
    stack = []
    for _, width, stride in _places(genotype, channels, cells):
        block = (
            Cell(cell, [nn.Identity()], width)
            if stride == 1
            else Reduction(ResidualBlock(width // 2, width))
        )
        stack.append(block)
    head = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), *_head(width, classes))
    return Layout(stems, stack, head, 2 ** len(set(reductions(cells))))


def nas_rl(genotype, channels, cells, classes, in_channels, stem, auxiliary) -> Layout:
    """NAS-RL's chain (section 3), which has its own layers and filters: `channels`, `cells` and
    `stem` say nothing."""
    layers = _of_kind(genotype, "chain", "nas-rl").layers
    one_of("auxiliary", auxiliary, (False,))
    chain = Chain(layers, in_channels)
    return Layout([chain], [], nn.Sequential(*_head(chain.width, classes)))


SKELETONS: dict[str, Callable[..., Layout]] = {
    "darts": darts,
    "nasnet": nasnet,
    "pnasnet": pnasnet,
    "enas": enas,
    "enas-macro": enas_macro,
    "enas-macro-full": partial(enas_macro, full=True),
    "nasbench201": nasbench201,
    "nas-rl": nas_rl,
}
