"""An operation is one line of a table, or one call of `register`: it then works wherever operations do."""

import pytest
import torch
import torch.nn.functional as F
from naive_supernet import naive_forward
from torch import nn

import nascore
from nascore import genotypes, spaces
from nascore.genotypes import (
    OPERATIONS,
    TABLE,
    Cell,
    CellGenotype,
    MacroGenotype,
    MacroLayer,
    Node,
    Operation,
)
from nascore.nets import source
from nascore.nets.convolutional import Network
from nascore.nets.edges import PlainEdges
from nascore.nets.shared import shared_network
from nascore.nets.supernet import Supernet, initial_alphas
from nascore.show.drawing import FAMILIES, draw, look

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_a_line_of_the_table_is_an_operation(open_table):
    name = "sep_conv_9x9"
    TABLE[name] = Operation("separable", 9)
    OPERATIONS.add(name)
    works_everywhere(name)
    assert look(name) == FAMILIES["separable"]
    text = source.python(network_of(name), "Nine by nine", (16, 16))
    assert "def sep_conv_9x9(c_in, c_out, stride=1):\n    return separable(c_in, c_out, 9, stride, times=2)\n" in text
    # In the DARTS supernet by its fast form, which is the naive sum.
    how = dict(primitives=(name, "skip_connect"), nodes=2, n_inputs=2, channels=4, cells=3, skeleton="darts")
    supernet, images = Supernet(**how).double(), IMAGES.double()
    alphas = [alpha.double() for alpha in initial_alphas(supernet)]
    naive = naive_forward(dict(supernet.named_parameters()), images, alphas, **how)
    torch.testing.assert_close(supernet(images, alphas), naive)
    assert not any(isinstance(module, PlainEdges) for module in supernet.modules())


@pytest.mark.parametrize("name", ["mine", "sep_conv_3x3", "max_pool_3x3", "skip_connect"])
def test_a_registered_one_is_too_also_in_a_published_one_s_place(name, open_table):
    made = []

    def construct(channels_in, channels_out, stride, affine):
        made.append(nn.Conv2d(channels_in, channels_out, 1, stride))
        return made[-1]

    nascore.register(name, construct)
    works_everywhere(name)
    assert look(name) == FAMILIES["own"]
    supernet = Supernet((name, "avg_pool_3x3"), nodes=1, channels=4, cells=3)
    assert supernet(IMAGES, initial_alphas(supernet)).isfinite().all()
    plain = [module for module in supernet.modules() if isinstance(module, PlainEdges)]
    assert len(plain) == 6 and {id(module.operations[0]) for module in plain} <= set(map(id, made))


def cell_of(name):
    nodes = (Node((0, 1), (name, "max_pool_5x5")), Node((2,), (name,)))
    return Cell(nodes, (2, 3))


def network_of(name):
    return Network(CellGenotype(cell_of(name), cell_of(name)), channels=4, cells=3)


def works_everywhere(name):
    """In genotypes and their JSON, networks, ENAS's two supernets and pictures."""
    cells = CellGenotype(cell_of(name), cell_of(name))
    macro = MacroGenotype((MacroLayer(name), MacroLayer("avg_pool_3x3", (0,))))
    assert genotypes.from_json(genotypes.to_json(cells)) == genotypes.from_dict(genotypes.as_dict(cells)) == cells
    F.cross_entropy(network_of(name)(IMAGES), torch.tensor([0, 1])).backward()
    assert Network(macro, channels=4, skeleton="enas-macro")(IMAGES).shape == (2, 10)
    for space, genotype in (
        (spaces.get("enas-micro", nodes=2, primitives=(name, "max_pool_5x5")), None),
        (spaces.get("enas-macro", layers=2, primitives=(name, "avg_pool_3x3")), macro),
    ):
        genotype = genotype or space.decode([0] * len(space.choices))
        assert shared_network(space, 4, 3, 10, 3)(IMAGES, genotype).isfinite().all()
    assert name in repr(draw(cells)) and name in repr(draw(macro))
