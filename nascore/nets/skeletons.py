"""How a genotype is stacked: a skeleton is a function of a genotype and its sizes that returns the
parts of a network, a `Layout`.

`nets.convolutional.Network` runs any of them. A later paper adds its own here, and its sizes to
`nets.sizes.NETWORKS`.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch.nn import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Flatten,
    Identity,
    Linear,
    Module,
    ReLU,
    Sequential,
)

from nascore.errors import UserError, one_of, require
from nascore.genotypes import Cell, CellGenotype, ChainGenotype, Genotype, MacroGenotype
from nascore.genotypes import kind as kind_of
from nascore.nets.blocks import (
    AuxiliaryHead,
    ChainBody,
    MacroBody,
    PlacedCell,
    Reduction,
)
from nascore.nets.operations import (
    FactorizedReduce,
    PlainReduce,
    ReLUConvBN,
    ResidualBlock,
    Skip,
    build,
    fitted,
)
from nascore.nets.plain import conv_bn
from nascore.nets.sizes import Sizes
from nascore.nets.stack import Place, macro_reductions, micro_reductions, reductions, stack


@dataclass
class Layout:
    """The parts of a network. The image passes the stems, then the cells, each of which reads
    the last two outputs (the only stem's twice), then the head. After a cell in `holds` the next
    one reads, as the output before the last, the same as that cell did. Image sides are at least
    `smallest` and divisible by `factor`. Batch norm adds `norm_epsilon` to a variance."""

    stems: Sequence[Module]
    cells: Sequence[Module]
    head: Sequential
    factor: int = 1
    smallest: int = 1
    auxiliary: Module | None = None
    auxiliary_after: int | None = None
    holds: Collection[int] = ()
    drops_more_with_depth: bool = False
    norm_epsilon: float = 1e-5


def _classifier(width: int, classes: int, *first: Module, bias: bool = True) -> Sequential:
    """`first`, the mean of every channel's map, logits."""
    linear = Linear(width, classes, bias)
    return Sequential(*first, AdaptiveAvgPool2d(1), Flatten(), linear)


def _of_kind(genotype: Genotype, kind: str, skeleton: str) -> Any:
    found = kind_of(genotype)
    if found != kind:
        raise UserError(f"kind: found {found!r}, allowed in the skeleton {skeleton}: {kind}")
    return genotype


Pair = tuple[Cell, Cell]  # the normal and the reduction cell
Stem = tuple[list[Module], int]  # the modules and their width


def _two_cells(genotype: Genotype, skeleton: str) -> Pair:
    both: CellGenotype = _of_kind(genotype, "cell", skeleton)
    if both.reduce is None:
        raise UserError(f"reduce: found null, allowed in the skeleton {skeleton}: a cell")
    return both.normal, both.reduce


def _outputs(cells: Pair) -> tuple[int, int]:
    """How many times as wide as their nodes these cells are."""
    normal, reduce = cells
    return len(normal.concat), len(reduce.concat)


def _conv_stem(sizes: Sizes, times: int) -> Stem:
    """A convolution that is `times` as wide as the first cell's nodes, and its width."""
    width = times * sizes.channels
    return [conv_bn(sizes.in_channels, width)], width


# --- DARTS ----------------------------------------------------------------------------------------


def darts(genotype: Genotype, sizes: Sizes) -> Layout:
    """DARTS's evaluation network (A.2.1; ImageNet: A.2.3). A cell with one input reads only the
    previous cell."""
    pair = _two_cells(genotype, "darts")
    one_of("stem", sizes.stem, ("cifar", "imagenet"))
    imagenet = sizes.stem == "imagenet"
    stems, width = _darts_imagenet_stems(sizes) if imagenet else _conv_stem(sizes, 3)
    at = reductions(sizes.cells)
    cells = []
    head = None
    for place in stack(sizes.channels, sizes.cells, at, width, _outputs(pair), halved=imagenet):
        first = FactorizedReduce if place.halved else ReLUConvBN
        fits = [first(place.before, place.channels), ReLUConvBN(place.previous, place.channels)]
        cells.append(PlacedCell(pair[place.reduction], fits, place.channels, place.stride))
        if sizes.auxiliary and place.index == at[-1]:
            # On ImageNet without second batch norm: the authors keep a slip for the sake of their
            # published numbers.
            stride = 2 if imagenet else 3
            head = AuxiliaryHead(cells[-1].width, sizes.classes, 2, stride, norm=not imagenet)
    classifier = _classifier(cells[-1].width, sizes.classes)
    factor = (8 if imagenet else 1) * 2 ** len(set(at))
    return Layout(stems, cells, classifier, factor, auxiliary=head, auxiliary_after=at[-1])


def _darts_imagenet_stems(sizes: Sizes) -> Stem:
    width = sizes.channels
    require(width > 1, "channels", width, "2 or more with the imagenet stem")
    half = width // 2
    first = conv_bn(sizes.in_channels, half, stride=2)
    second = conv_bn(half, width, stride=2)
    third = conv_bn(width, width, stride=2)
    stems = [Sequential(*first, ReLU(), *second), Sequential(ReLU(), *third)]
    return list(stems), width


# --- NASNet and PNASNet ---------------------------------------------------------------------------


def nasnet(genotype: Genotype, sizes: Sizes) -> Layout:
    """NASNet's network as its authors' code stacks it (section 2, appendix A.4;
    tensorflow/models, slim): on ImageNet two more reduction cells come first. Odd maps are
    halved upwards. Paddings are symmetric: at stride 2 TensorFlow's windows stand a pixel
    further down and right on even maps."""
    return _nasnet(_two_cells(genotype, "nasnet"), sizes, pnasnet=False)


def pnasnet(genotype: Genotype, sizes: Sizes) -> Layout:
    """PNASNet's network (section 3.2; tensorflow/models, slim): NASNet's with one cell, which at
    stride 2 is the reduction as well. A genotype of two cells reduces with its second one."""
    cell: CellGenotype = _of_kind(genotype, "cell", "pnasnet")
    return _nasnet((cell.normal, cell.reduce or cell.normal), sizes, pnasnet=True)


def _nasnet(pair: Pair, sizes: Sizes, pnasnet: bool) -> Layout:
    one_of("stem", sizes.stem, ("cifar", "imagenet", "imagenet-large"))
    cifar = sizes.stem == "cifar"
    large = sizes.stem == "imagenet-large"
    channels = sizes.channels
    first = () if cifar else (channels // 4, channels // 2)
    stems, width = _conv_stem(sizes, 3) if cifar else _nasnet_imagenet_stem(sizes)
    at = reductions(sizes.cells)
    holding = large and not pnasnet
    outputs = _outputs(pair)
    places = list(stack(channels, sizes.cells, at, width, outputs, first=first, holding=holding))
    # No cell came before the first one's previous: the stem stands in for it, unfitted (on CIFAR-10
    # in NASNet alone).
    unfitted = not (pnasnet and cifar)
    cells = [
        _nasnet_cell(pair[place.reduction], place, unfitted and place.index == 0)
        for place in places
    ]
    after = len(first) + max(0, at[-1] - 1)  # the last cell before the second reduction
    head = None
    if sizes.auxiliary:
        head = AuxiliaryHead(cells[after].width, sizes.classes, 6 if large else 4)
    return Layout(
        stems,
        cells,
        _classifier(cells[-1].width, sizes.classes, ReLU()),
        smallest=1 if cifar else 3,
        auxiliary=head,
        auxiliary_after=after,
        holds=[place.index for place in places if place.holds],
        drops_more_with_depth=True,
        norm_epsilon=1e-5 if cifar else 1e-3,  # as the authors' arg scopes have it
    )


def _nasnet_imagenet_stem(sizes: Sizes) -> Stem:
    allowed = f"4 or more with the {sizes.stem} stem"
    require(sizes.channels > 3, "channels", sizes.channels, allowed)
    width = 96 if sizes.stem == "imagenet-large" else 32
    return [conv_bn(sizes.in_channels, width, stride=2, padding=0)], width


def _nasnet_cell(cell: Cell, place: Place, raw: bool) -> PlacedCell:
    """`raw`: the output before the previous one stays as it is."""
    channels = place.channels
    first: Module = Identity()
    if place.halved:
        first = FactorizedReduce(place.before, channels)
    elif not raw and place.before != channels:
        first = ReLUConvBN(place.before, channels)
    fits = [first, ReLUConvBN(place.previous, channels)]
    widths = [place.before if raw else channels, channels]
    return PlacedCell(cell, fits, channels, place.stride, widths, _nasnet_operation)


def _nasnet_operation(name: str, channels_in: int, channels_out: int, stride: int = 1) -> Module:
    if name == "skip_connect" and (channels_in, 1) != (channels_out, stride):
        return Skip(channels_in, channels_out, 1, stride)
    return build(name, channels_in, channels_out, stride)


# --- ENAS -----------------------------------------------------------------------------------------


def enas(genotype: Genotype, sizes: Sizes) -> Layout:
    """ENAS's micro network as its authors train it at last (section 2.4, their `micro_child`):
    both inputs are brought to the cell's width, then the previous one passes one more
    ReLU-1x1-BN. Paddings are as in `nasnet`; the dropout before the classifier is left out."""
    pair = _two_cells(genotype, "enas")
    one_of("stem", sizes.stem, ("cifar",))
    stems, width = _conv_stem(sizes, 3)
    at = micro_reductions(sizes.cells)
    cells = []
    for place in stack(sizes.channels, sizes.cells, at, width, _outputs(pair)):
        channels = place.channels
        fits = [fitted(place.before, channels), fitted(place.previous, channels)]
        if place.halved:
            fits[0] = FactorizedReduce(place.before, channels)
        fits[1] = Sequential(fits[1], ReLUConvBN(channels, channels))
        cell = pair[place.reduction]
        cells.append(PlacedCell(cell, fits, channels, place.stride, build=_enas_operation))
    after = min(at[-1] + 1, sizes.cells - 1)
    head = None
    if sizes.auxiliary:
        head = AuxiliaryHead(cells[after].width, sizes.classes, 2, same=True)
    classifier = _classifier(cells[-1].width, sizes.classes, ReLU(), bias=False)
    return Layout(
        stems,
        cells,
        classifier,
        auxiliary=head,
        auxiliary_after=after,
        drops_more_with_depth=True,
    )


def _enas_operation(name: str, channels_in: int, channels_out: int, stride: int = 1) -> Module:
    if name == "skip_connect" and stride == 2:
        return PlainReduce(channels_in, channels_out)
    return build(name, channels_in, channels_out, stride)


def enas_macro(genotype: Genotype, sizes: Sizes, full: bool = False) -> Layout:
    """ENAS's macro network (section 2.3), whose genotype has its own depth. Separable convolutions
    are what their name says, or, where `full`, the full ones of the authors' code. The dropout
    before the classifier is left out."""
    macro: MacroGenotype = _of_kind(genotype, "macro", sizes.skeleton)
    one_of("auxiliary", sizes.auxiliary, (False,))
    halvings = macro_reductions(len(macro.layers))
    body = MacroBody(macro.layers, sizes.in_channels, sizes.channels, halvings, not full)
    return Layout([body], [], _classifier(body.width, sizes.classes, bias=False))


# --- NAS-Bench-201 and NAS-RL ---------------------------------------------------------------------


def nasbench201(genotype: Genotype, sizes: Sizes) -> Layout:
    """NAS-Bench-201's network: one cell everywhere, residual blocks as reductions."""
    both: CellGenotype = _of_kind(genotype, "cell", "nasbench201")
    one_of("stem", sizes.stem, ("cifar",))
    one_of("auxiliary", sizes.auxiliary, (False,))
    cell = both.normal
    if both.reduce is not None or cell.n_inputs != 1 or len(cell.concat) != 1:
        reduce = "null" if both.reduce is None else "a cell"
        found = f"{cell.n_inputs} inputs, {len(cell.concat)} in concat, reduce {reduce}"
        allowed = "allowed in the skeleton nasbench201: 1 input, 1 in concat, reduce null"
        raise UserError(f"cell: found {found}, {allowed}")
    stems, width = _conv_stem(sizes, 1)
    at = reductions(sizes.cells)
    cells: list[Module] = []
    for place in stack(sizes.channels, sizes.cells, at, width):
        width = place.channels
        if place.reduction:
            cells.append(Reduction(ResidualBlock(place.previous, width)))
        else:
            cells.append(PlacedCell(cell, [Identity()], width))
    classifier = _classifier(width, sizes.classes, BatchNorm2d(width), ReLU())
    return Layout(stems, cells, classifier, 2 ** len(set(at)))


def nas_rl(genotype: Genotype, sizes: Sizes) -> Layout:
    """NAS-RL's chain (section 3), which has its own layers and filters."""
    chain: ChainGenotype = _of_kind(genotype, "chain", "nas-rl")
    one_of("auxiliary", sizes.auxiliary, (False,))
    body = ChainBody(chain.layers, sizes.in_channels)
    return Layout([body], [], _classifier(body.width, sizes.classes))


SKELETONS: dict[str, Callable[[Genotype, Sizes], Layout]] = {
    "darts": darts,
    "nasnet": nasnet,
    "pnasnet": pnasnet,
    "enas": enas,
    "enas-macro": enas_macro,
    "enas-macro-full": partial(enas_macro, full=True),
    "nasbench201": nasbench201,
    "nas-rl": nas_rl,
}
