"""What the comparisons share: when two results agree, and images that nobody looks at."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from nascore.data import Images
from nascore.genotypes import Cell, CellGenotype

# The last bits of a number near 1. What is equal to the bit on one machine need not be on another.
BITS = 2e-15


def agree(ours: Any, theirs: Any, within: float) -> None:
    """No number differs by more than `within`: in tensors, floats, or sequences of them."""
    torch.testing.assert_close(ours, theirs, rtol=0, atol=within)


def leaves(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the module's weights, by name, to be differentiated by."""
    return {name: p.detach().clone().requires_grad_() for name, p in module.named_parameters()}


def edges(cell: Cell) -> list[tuple[str, int]]:
    """(operation, input) of all nodes, as quark0/darts lists a cell."""
    return [pair for node in cell.nodes for pair in zip(node.ops, node.inputs)]


def as_theirs(darts: SimpleNamespace, genotype: CellGenotype) -> Any:
    """The Genotype of quark0/darts that means the same cells."""
    normal, reduce = genotype.normal, genotype.reduce
    return darts.genotypes.Genotype(edges(normal), list(normal.concat), edges(reduce), list(reduce.concat))


def blank_images(count: int, side: int, classes: int) -> Images:
    """Black images, where a search or a training wants some and none of them is looked at."""
    pixels = torch.zeros(count, 3, side, side, dtype=torch.uint8)
    labels = torch.arange(count) % classes
    names = tuple(map(str, range(classes)))
    half = (0.5, 0.5, 0.5)
    return Images("blank", pixels, labels, pixels, labels, names, half, half, 4, True)
