"""ENAS's skeletons, micro and macro, and PNASNet's as children: against plain loops and their specification."""

import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nascore import spaces
from nascore.data import load
from nascore.estimators import TrainChildren
from nascore.genotypes import Cell, CellGenotype, MacroGenotype, MacroLayer, Node
from nascore.nets.convolutional import Network
from nascore.nets.measure import parameters
from nascore.nets.operations import FactorizedReduce, ReLUConvBN
from nascore.nets.stack import macro_reductions, micro_reductions
from nascore.published import GENOTYPES
from nascore.training import Recipe


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def enas(genotype=GENOTYPES["enas-micro"], skeleton="enas", **sizes) -> Network:
    return Network(genotype, **{"channels": 4} | sizes, skeleton=skeleton)


def test_enas_reduces_where_its_authors_do():
    assert [micro_reductions(n + 2) for n in (15, 6, 3, 1, 0)] == [(5, 11), (2, 5), (1, 3), (0, 1), (0, 1)]
    assert [macro_reductions(n) for n in (24, 12, 5, 3, 2)] == [(7, 15), (3, 7), (0, 1), (0, 1), ()]
    network = enas(cells=8)
    reduce = [k for k, cell in enumerate(network.cells) if cell.cell is GENOTYPES["enas-micro"].reduce]
    assert reduce == [2, 5] and [cell.width for cell in network.cells] == [20, 20, 32, 40, 40, 64, 80, 80]
    assert [k for k, cell in enumerate(network.cells) if isinstance(cell.preprocess[0], FactorizedReduce)] == [3, 6]


def test_an_enas_cell_puts_out_its_loose_ends_and_halves_without_relu():
    node = Node((1, 1), ("skip_connect", "max_pool_3x3"))
    cell = enas(CellGenotype(*[Cell((node, node), (0, 2, 3))] * 2), cells=2).double().eval().cells[0]
    before, previous = images(2, 12, 6, 8).double(), images(2, 12, 6, 8, seed=1).double()
    skip, pool = cell.nodes[0]

    def halve(reduce, x):
        even, odd = reduce.even(x[:, :, ::2, ::2]), reduce.odd(x[:, :, 1::2, 1::2])
        return reduce.norm(torch.cat([even, odd], 1))

    first, second = cell.preprocess[0](before), cell.preprocess[1](previous)
    assert [type(fit) for fit in cell.preprocess[1]] == [ReLUConvBN, ReLUConvBN] and second.shape == (2, 8, 6, 8)
    out = cell(before, previous)
    torch.testing.assert_close(out[:, :8], halve(cell.skips["0"], first))
    torch.testing.assert_close(out[:, 8:16], halve(skip, second) + F.max_pool2d(second, 3, 2, 1))
    dropped = cell(before, previous, torch.zeros_like)  # drop path spares identities, and drops the pool
    torch.testing.assert_close(dropped[:, 8:16], halve(skip, second))


def test_enas_has_an_auxiliary_head_after_the_cell_that_follows_the_second_reduction():
    network = enas(cells=8, auxiliary=True, classes=7).train()
    assert network.auxiliary_after == 6 and network.head[-1].bias is network.auxiliary.classifier.bias is None
    for side in (32, 8, 64):
        logits, auxiliary = network(images(2, 3, side, side))
        assert logits.shape == auxiliary.shape == (2, 7)
    network = enas(cells=5)
    network.drop_path = 0.4
    dropped = []
    for cell in network.cells:
        cell.register_forward_pre_hook(lambda _, inputs: dropped.append(inputs[2].keywords["probability"]))
    network(images(2, 3, 8, 8))
    assert dropped == pytest.approx([0.4 * k / 5 for k in range(1, 6)])


@pytest.mark.parametrize("skeleton", ["enas-macro", "enas-macro-full"])
def test_a_macro_network_computes_what_the_paper_says(skeleton):
    """A plain loop over five layers, of which the first and the second halve all maps, each by weights of its own."""
    ops = ("conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "conv_5x5", "max_pool_3x3")
    skips = ((), (0,), (), (0, 2), (1,))
    genotype = MacroGenotype(tuple(map(MacroLayer, ops, skips)))
    network, image = enas(genotype, skeleton, in_channels=2).double().eval(), images(2, 2, 9, 6).double()
    body = network.stems[0]
    for norm in (module for module in body.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.running_mean.copy_(images(norm.num_features))
    states = [body.stem(image)]
    for k in range(5):
        squeeze, operation = body.operations[k]
        out = operation(squeeze(states[-1]))
        if k:
            out = body.joins[k](torch.cat([*(states[j] for j in skips[k]), out], 1))
        states.append(out)
        if k < 2:
            states = [halve(x) for halve, x in zip(body.halvings[str(k)], states)]
    assert states[-1].shape == (2, 16, 3, 2)
    torch.testing.assert_close(network(image), states[-1].mean((2, 3)) @ network.head[-1].weight.T)
    separable = body.operations[1][1]
    assert parameters(separable) == (25 * 8 + 64 + 16 if skeleton == "enas-macro" else 25 * 64 + 16)  # once, or full


def test_what_no_later_layer_reads_is_not_halved():
    genotype = MacroGenotype(tuple(MacroLayer("conv_3x3", skips) for skips in ((), (), (0,))))
    network, called = enas(genotype, "enas-macro"), []
    for k, halves in network.stems[0].halvings.items():
        for j, halve in enumerate(halves):
            halve.register_forward_hook(lambda *call, at=(k, j): called.append(at))
    network(images(2, 3, 8, 8))
    assert called == [("0", 0), ("0", 1), ("1", 0), ("1", 2)]


@pytest.mark.parametrize("space", ["pnas", "enas-micro", "enas-macro"])
def test_children_of_pnas_and_enas_train_on_small_and_odd_maps(space):
    space, generator = spaces.get(space), random.Random(0)
    children = [space.decode(space.sample(generator)) for _ in range(3)]
    for genotype in children:
        for cells, shape in ((1, (2, 1, 8, 8)), (2, (2, 1, 7, 9)), (3, (2, 1, 8, 8))):
            network = enas(genotype, space.skeleton, cells=cells, in_channels=1)
            network(images(*shape)).logsumexp(1).sum().backward()
            assert all(p.grad is not None for p in (next(network.parameters()), *network.head.parameters()))
    recipe = Recipe(4, 3, 1, 64)
    found = TrainChildren(load("digits"), recipe, 4, 3, skeleton=space.skeleton)(children[:1])
    assert found[0].error is None and 0 < found[0].reward <= 1
