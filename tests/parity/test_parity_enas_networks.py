"""ENAS's token tables and the sizes of its final networks, exactly.

`Space.decode` of enas-micro and enas-macro against the order in which melodyguan/enas stores an
architecture, and `Network` with the skeletons enas, enas-macro and enas-macro-full against the
shapes that micro_child.py and general_child.py build with a fixed architecture, added up by hand.
"""

import random
from collections.abc import Sequence

import pytest
import torch

from nascore import published, spaces
from nascore.genotypes import Genotype
from nascore.nets.convolutional import Network

MICRO = ["sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "skip_connect"]
MACRO = ["conv_3x3", "sep_conv_3x3", "conv_5x5", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3"]


def test_micro_tokens():
    """A cell is 20 numbers, (input, operation, input, operation) of each node; it puts out every
    state that no node reads, the cell's inputs too."""
    space = spaces.get("enas-micro")
    rng = random.Random(3)
    for _ in range(300):
        arc = space.sample(rng)
        genotype = space.decode(arc)
        for cell, part in ((genotype.normal, arc[:20]), (genotype.reduce, arc[20:])):
            unread = set(range(7))
            for k, node in enumerate(cell.nodes):
                x, x_op, y, y_op = part[4 * k : 4 * k + 4]
                unread -= {x, y}
                assert (node.inputs, node.ops) == ((x, y), (MICRO[x_op], MICRO[y_op]))
            assert list(cell.concat) == sorted(unread)


def test_macro_tokens():
    """Layer k is an operation and k bits."""
    space = spaces.get("enas-macro")
    rng = random.Random(3)
    for _ in range(300):
        arc = space.sample(rng)
        at = 0
        for k, layer in enumerate(space.decode(arc).layers):
            bits = arc[at + 1 : at + 1 + k]
            assert layer.op == MACRO[arc[at]]
            assert list(layer.skips) == [i for i, bit in enumerate(bits) if bit]
            at += 1 + k


def convolution(inputs: int, outputs: int, side: int = 1) -> int:
    """Of a convolution and its batch norm."""
    return side * side * inputs * outputs + 2 * outputs


def cell_size(arc: Sequence[int], channels: int, stride: int) -> tuple[int, int]:
    """Of a cell between its calibrated inputs and its output: parameters, and states put out."""
    total = 0
    unread = set(range(2 + len(arc) // 4))
    for source, op in zip(arc[::2], arc[1::2]):
        unread.discard(source)
        if MICRO[op].startswith("sep_conv"):  # twice: a depthwise convolution, then a pointwise
            side = int(MICRO[op][-1])
            total += 2 * (side * side * channels + convolution(channels, channels))
        elif MICRO[op] == "skip_connect" and stride == 2 and source < 2:
            total += convolution(channels, channels)
    if stride == 2:  # a cell's input that is put out is halved
        total += sum(convolution(channels, channels) for state in unread if state < 2)
    return total, len(unread)


def micro_size(arc: Sequence[int], n: int, channels: int, classes: int) -> int:
    """Of n cells and two reductions, without the auxiliary head."""
    normal, reduce = arc[: len(arc) // 2], arc[len(arc) // 2 :]
    pools = (n // 3, 2 * (n // 3) + 1)
    before = previous = 3 * channels  # widths of the two outputs before
    total = convolution(3, previous, 3)
    halved = False  # whether the previous output is half as large as the one before
    for k in range(n + 2):
        stride = 2 if k in pools else 1
        channels *= stride
        if halved or before != channels:
            total += convolution(before, channels)
        if previous != channels:
            total += convolution(previous, channels)
        total += convolution(channels, channels)  # the previous output once more, always
        of_cell, states = cell_size(reduce if stride == 2 else normal, channels, stride)
        total += of_cell
        before, previous = previous, states * channels
        halved = stride == 2
    return total + previous * classes


def macro_size(arc: Sequence[int], layers: int, channels: int, classes: int, full: bool) -> int:
    """`full`: a separable operation's kernel is that of a whole convolution, as in the code."""
    pools = (layers // 3 - 1, 2 * (layers // 3) - 1)
    total = 27 * channels + 2 * channels
    at = 0
    for k in range(layers):
        op, skips = MACRO[arc[at]], arc[at + 1 : at + 1 + k]
        at += 1 + k
        side = int(op[-1])
        total += convolution(channels, channels) + 2 * channels
        whole = full or op.startswith("conv")
        total += side**2 * channels**2 if whole else side**2 * channels + channels**2
        if k:
            total += convolution((1 + sum(skips)) * channels, channels)
        if k in pools:  # every map so far is halved, and twice as wide
            total += (k + 2) * convolution(channels, 2 * channels)
            channels *= 2
    return total + channels * classes


def size(genotype: Genotype, channels: int, classes: int, skeleton: str, **cells: int) -> int:
    with torch.device("meta"):
        network = Network(genotype, channels, classes=classes, skeleton=skeleton, **cells)
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    "n, channels, classes",
    [(15, 36, 10), (6, 20, 10), (3, 8, 7), (12, 10, 100), (1, 6, 10), (9, 4, 10)],
)
def test_sizes_of_micro_networks(n, channels, classes):
    space = spaces.get("enas-micro")
    rng = random.Random(n)
    arcs = [space.sample(rng) for _ in range(4)]
    arcs.append(space.encode(published.PUBLISHED["enas-micro"].genotype))
    for arc in arcs:
        ours = size(space.decode(arc), channels, classes, "enas", cells=n + 2)
        assert ours == micro_size(arc, n, channels, classes)


@pytest.mark.parametrize("skeleton, full", [("enas-macro-full", True), ("enas-macro", False)])
@pytest.mark.parametrize(
    "layers, channels, classes",
    [(12, 36, 10), (24, 96, 10), (6, 8, 10), (9, 4, 100), (13, 10, 3)],
)
def test_sizes_of_macro_networks(layers, channels, classes, skeleton, full):
    """With the four operations that are convolutions."""
    space = spaces.get("enas-macro", layers=layers, primitives=MACRO[:4])
    rng = random.Random(layers)
    for arc in [space.sample(rng) for _ in range(4)]:
        ours = size(space.decode(arc), channels, classes, skeleton)
        assert ours == macro_size(arc, layers, channels, classes, full)
