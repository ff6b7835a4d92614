"""A network as one file of plain PyTorch: how its text is laid out."""

import ast

import torch

from nascore import spaces
from nascore.genotypes import Cell, CellGenotype, Node
from nascore.nets import source
from nascore.nets.convolutional import Network


def long_cell(n_inputs):
    """The most nodes that a cell may have, each of which is put out; one reads a node twice."""
    count = 100
    nodes = [Node((max(0, k + n_inputs - 2), k + n_inputs - 1), ("skip_connect", "none")) for k in range(count)]
    return Cell(tuple(nodes), tuple(range(n_inputs, n_inputs + count)), n_inputs)


def test_no_line_of_a_cell_of_a_hundred_nodes_is_too_long():
    genotype = CellGenotype(long_cell(2), long_cell(2))
    with torch.device("meta"):
        network = Network(genotype, channels=2, cells=3)
    text = source.python(network, "A network of nascore", (8, 8))
    assert max(map(len, text.splitlines())) <= source.WIDTH
    (cell,) = [part for part in ast.parse(text).body if isinstance(part, ast.ClassDef) and part.name == "Cell"]
    said = " ".join(ast.get_docstring(cell).split())
    assert said == f"States 0, 1: the two cells before; {', '.join(map(str, range(2, 102)))} are put out."


def test_a_short_cell_s_docstring_is_one_line():
    space = spaces.get("nasbench201")
    with torch.device("meta"):
        network = Network(space.decode([1] * 6), channels=2, cells=3, skeleton="nasbench201")
    assert '    """States 0: the cell before; 3 are put out."""\n' in source.python(network, "A network", (8, 8))
