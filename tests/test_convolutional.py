"""Networks: their forward pass against a plain one, drop path, auxiliary head, skeletons, and what is refused."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nascore.errors import UserError
from nascore.genotypes import Cell, CellGenotype, Node
from nascore.nets.blocks import AuxiliaryHead
from nascore.nets.convolutional import Network, drop_path
from nascore.nets.operations import FactorizedReduce, ReLUConvBN
from nascore.nets.plain import AuxiliaryPool
from nascore.nets.sizes import DECIDED, HOMES, NETWORKS, Sizes, home
from nascore.nets.skeletons import SKELETONS
from nascore.nets.stack import Place, reductions, stack
from nascore.published import GENOTYPES

DARTS = ("darts-v1", "darts-v2", "nasnet-a-darts", "amoebanet-a")


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_reductions_are_at_one_and_two_thirds():
    expected = {20: (6, 13), 14: (4, 9), 8: (2, 5), 5: (1, 3), 3: (1, 2), 2: (0, 1), 1: (0, 0)}
    assert {cells: reductions(cells) for cells in expected} == expected


@pytest.mark.parametrize("name", DARTS)
@pytest.mark.parametrize("cells", [1, 2, 3, 5])
def test_networks_of_any_depth_run_and_train(name, cells):
    network = Network(GENOTYPES[name], channels=4, cells=cells, classes=7, in_channels=1)
    logits = network(images(2, 1, 16, 24))
    logits.sum().backward()
    assert logits.shape == (2, 7)
    assert all(p.grad is not None for p in network.stems.parameters())


def test_maps_and_widths_follow_the_paper():
    network = Network(GENOTYPES["darts-v2"], channels=16, cells=8).eval()
    shapes = []
    for cell in network.cells:
        cell.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    network(images(1, 3, 32, 32))
    assert shapes == [(64, 32, 32)] * 2 + [(128, 16, 16)] * 3 + [(256, 8, 8)] * 3
    kinds = [type(cell.preprocess[0]) for cell in network.cells]
    halved = [index for index, kind in enumerate(kinds) if kind is FactorizedReduce]
    assert halved == [3, 6] and all(type(cell.preprocess[1]) is ReLUConvBN for cell in network.cells)


def test_a_cell_computes_the_sum_in_the_paper():
    network = Network(GENOTYPES["darts-v2"], channels=4, cells=1).double().train()
    cell, nodes = network.cells[0], GENOTYPES["darts-v2"].reduce.nodes
    before, previous = images(2, 12, 8, 8).double(), images(2, 12, 8, 8, seed=1).double()
    states = [cell.preprocess[0](before), cell.preprocess[1](previous)]
    for node, ops in zip(nodes, cell.nodes):
        states.append(sum(op(states[j]) for j, op in zip(node.inputs, ops)))
    assert torch.allclose(cell(before, previous), torch.cat(states[2:], 1), atol=1e-12)


def test_batch_norm_does_not_follow_pools_and_is_affine_everywhere():
    network = Network(GENOTYPES["darts-v2"], channels=4, cells=3)
    assert all(m.affine for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    assert isinstance(network.cells[1].nodes[0][0], nn.MaxPool2d)


# --- combinations and concat of the contract ---


def test_a_concat_node_comes_back_to_the_cells_width():
    concat = Node((0, 1, 0), ("skip_connect", "avg_pool_3x3", "conv_1x1"), "concat")
    add = Node(concat.inputs, concat.ops, "add")
    cells = {node.combine: Cell((node, Node((2,), ("skip_connect",))), (2, 3)) for node in (concat, add)}
    sizes = {}
    for combine, cell in cells.items():
        network = Network(CellGenotype(cell, cell), channels=4, cells=1)
        assert network.cells[0](images(2, 12, 8, 8), images(2, 12, 8, 8)).shape == (2, 2 * 8, 4, 4)
        sizes[combine] = sum(p.numel() for p in network.parameters())
    assert sizes["concat"] - sizes["add"] == 3 * 8 * 8 + 2 * 8  # one ReLU-1x1-BN at the reduction's width of 8


def test_cell_inputs_that_are_put_out_pass_the_stride_2_skip():
    cell = Cell((Node((0,), ("none",)),), (0, 2, 1))
    network = Network(CellGenotype(cell, cell), channels=4, cells=3)
    normal, reduce = network.cells[0], network.cells[1]
    assert not normal.skips["0"].state_dict() and isinstance(reduce.skips["1"], FactorizedReduce)
    x = images(2, 12, 8, 8)
    out = normal(x, x)
    assert torch.equal(out[:, :4], normal.preprocess[0](x)) and torch.equal(out[:, 8:], normal.preprocess[1](x))
    assert torch.equal(out[:, 4:8], torch.zeros(2, 4, 8, 8))
    assert reduce(x, out).shape == (2, 24, 4, 4)
    assert Network(GENOTYPES["nasnet-a"], channels=4, cells=3)(images(2, 3, 8, 8)).shape == (2, 10)


def test_a_cell_with_one_input_reads_the_previous_cell_only():
    cell = Cell((Node((0, 0), ("conv_3x3", "skip_connect")),), (1,), n_inputs=1)
    network = Network(CellGenotype(cell, cell), channels=4, cells=4)
    assert [len(cell.preprocess) for cell in network.cells] == [1] * 4
    assert network(images(2, 3, 8, 8)).shape == (2, 10)


def test_nasbench201_network_is_the_benchmarks():
    cell = Cell((Node((0,), ("nor_conv_3x3",)), Node((0, 1), ("none", "nor_conv_1x1")),
                 Node((0, 1, 2), ("skip_connect", "avg_pool_3x3", "skip_connect"))), (3,), n_inputs=1)  # fmt: skip
    network = Network(CellGenotype(cell), channels=4, cells=5, skeleton="nasbench201").eval()
    x = images(2, 3, 16, 16)
    expected = network.stems[0](x)
    for index, module in enumerate(network.cells):
        if index in (1, 3):
            expected = module.block(expected)
        else:
            (first,), (_, second), (_, pool, _) = module.nodes
            one = first(expected)
            expected = expected + pool(one) + second(one)
    norm, linear = network.head[0], network.head[-1]
    expected = linear(norm(expected).relu().mean((2, 3)))
    assert expected.shape == (2, 10) and torch.allclose(network(x), expected, atol=1e-6)


# --- training ---


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    x = torch.ones(4000, 2, 3, 3)
    out = drop_path(x, 0.25, torch.Generator().manual_seed(0))
    per_sample = out.flatten(1)
    assert torch.equal(per_sample.amin(1), per_sample.amax(1))  # the mask has shape (B, 1, 1, 1)
    values = {round(v, 5) for v in per_sample[:, 0].tolist()}
    assert values == {0.0, round(1 / 0.75, 5)}
    assert abs(per_sample[:, 0].mean().item() - 1) < 4 * (0.25 / 0.75 / 4000) ** 0.5
    assert torch.equal(x, torch.ones_like(x))


def test_drop_path_spares_identities_but_not_stride_2_skips_or_pools():
    skip = Cell((Node((0, 1), ("skip_connect", "skip_connect")), Node((1,), ("max_pool_3x3",))), (2, 3))
    network = Network(CellGenotype(skip, skip), channels=4, cells=3).train()
    x = images(64, 12, 8, 8)

    def drop(y):
        return y * 0

    normal = network.cells[0]
    out = normal(x, x, drop)
    assert torch.equal(out[:, :4], normal.preprocess[0](x) + normal.preprocess[1](x))  # identities are spared
    assert torch.equal(out[:, 4:], torch.zeros_like(out[:, 4:]))  # the pool is not
    assert not network.cells[1](x, images(64, 8, 8, 8), drop).any()  # nor are stride-2 skips


def test_drop_path_works_in_training_only_and_repeats_with_its_generator():
    network = Network(GENOTYPES["darts-v2"], channels=4, cells=3)
    x, logits = images(8, 3, 8, 8), []
    for seed, probability in ((1, 0.5), (1, 0.5), (2, 0.5), (1, 0.0), (2, 0.0)):
        network.drop_path, network.generator = probability, torch.Generator().manual_seed(seed)
        logits.append(network.train()(x))
    assert torch.equal(logits[0], logits[1]) and not torch.equal(logits[0], logits[2])
    assert torch.equal(logits[3], logits[4]) and not torch.equal(logits[0], logits[3])
    network.eval()
    network.drop_path = 0.5
    assert torch.equal(network(x), network(x))


@pytest.mark.parametrize(("stem", "side", "small", "batch_norms"), [("cifar", 32, 16, 2), ("imagenet", 224, 128, 1)])
def test_the_auxiliary_head_speaks_in_training_only(stem, side, small, batch_norms):
    network = Network(GENOTYPES["darts-v1"], channels=4, cells=3, classes=5, stem=stem, auxiliary=True)
    logits, auxiliary = network.train()(images(2, 3, side, side))
    assert logits.shape == auxiliary.shape == (2, 5)
    assert network.auxiliary_after == 2 and network.eval()(images(2, 3, side, side)).shape == (2, 5)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in network.auxiliary.modules()) == batch_norms
    assert network.train()(images(2, 3, small, small))[1].shape == (2, 5)


def test_the_auxiliary_head_pools_as_the_authors_do_and_maps_of_other_sizes_evenly():
    for kernel, stride in ((2, 3), (2, 2), (4, 3), (6, 3)):
        pool, head = AuxiliaryPool(kernel, stride), AuxiliaryHead(3, 5, kernel, stride).eval()
        for side in (1, 2, 4, 7, 8, 10, 14, 16, 20, 22, 33):
            x = torch.rand(2, 3, side, side)
            plain = F.avg_pool2d(x, 5, stride) if side >= 5 else None
            if plain is not None and plain.shape[2] == kernel:
                assert torch.equal(pool(x), plain)
            else:
                assert torch.equal(pool(x), F.adaptive_avg_pool2d(x, kernel))
            assert head(x).shape == (2, 5)


def test_a_network_of_too_many_operations_is_refused_before_it_is_built():
    node = Node((0, 1), ("skip_connect", "skip_connect"))
    cell = Cell((node,) * 100, (101,))
    genotype = CellGenotype(cell, cell)
    assert Network(genotype, channels=1, cells=20)
    with pytest.raises(UserError, match="found 51 cells of up to 200 operations, allowed: 10,000 operations in all"):
        Network(genotype, channels=1, cells=51)


@pytest.mark.parametrize(
    "name, skeleton", [("darts-v2", "darts"), ("pnasnet-5", "pnasnet"), ("enas-micro", "enas"), ("enas-macro",) * 2]
)
def test_the_same_seed_trains_to_the_same_bits_and_maps_stay_channels_last(name, skeleton):
    head = skeleton != "enas-macro"

    def train() -> list[torch.Tensor]:
        torch.manual_seed(3)
        network = Network(GENOTYPES[name], channels=4, cells=3, skeleton=skeleton, auxiliary=head)
        network = network.to(memory_format=torch.channels_last).train()
        network.drop_path, network.generator = 0.2, torch.Generator().manual_seed(3)
        strays = []
        for path, module in network.named_modules():
            module.register_forward_hook(
                lambda m, i, o, path=path: (
                    strays.append(path)
                    if isinstance(o, torch.Tensor)
                    and o.dim() == 4
                    and not o.is_contiguous(memory_format=torch.channels_last)
                    else None
                )
            )
        optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
        x = images(4, 3, 32, 32).contiguous(memory_format=torch.channels_last)
        for _ in range(2):
            logits = network(x)
            optimizer.zero_grad()
            logits = logits[0] + 0.4 * logits[1] if head else logits
            nn.functional.cross_entropy(logits, torch.arange(4)).backward()
            optimizer.step()
        assert not strays
        return [p.detach().clone() for p in network.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(train(), train()))


# --- homes and refusals ---


def test_homes():
    assert home("darts-v2") == home(GENOTYPES["nasnet-a"]) == NETWORKS["darts-cifar"] == Sizes()
    single = CellGenotype(Cell((Node((0,), ("none",)),), (1,), n_inputs=1))
    assert home(single) == NETWORKS["nasbench201-cifar"]
    assert home("pnasnet-5") == home(GENOTYPES["pnasnet-5"]) == NETWORKS["pnasnet-cifar"]
    assert home("enas-macro") == home(GENOTYPES["enas-macro"]) == NETWORKS["enas-macro-cifar"]
    assert home("enas-micro") == NETWORKS["enas-cifar"]
    assert home("darts-v1", "nasbench201").cells == 17 and home("nasnet-a").skeleton == "nasnet"
    assert home("nas-rl-15") == home(GENOTYPES["nas-rl-15"]) == NETWORKS["nas-rl-cifar"]
    assert home("darts-v1", "darts", "nasnet-mobile").channels == 44  # the network's sizes, the skeleton asked for
    of = Sizes("nasnet", channels=4)
    assert home("darts-v2", network=of, classes=3, cells=None) == replace(of, classes=3)


@pytest.mark.parametrize("name", ["darts-rnn-v2", "enas-rnn", "nas-rl-rnn"])
def test_a_recurrent_cell_is_at_home_in_no_network_of_images(name):
    with pytest.raises(UserError, match="kind: found 'recurrent.*', allowed: cell, chain, macro$"):
        home(GENOTYPES[name])
    with pytest.raises(UserError, match="skeleton: found 'recurrent', allowed: darts, nasnet"):
        home(name)


def test_every_skeleton_has_a_home_and_says_which_sizes_are_its_genotypes_own():
    assert list(HOMES) == list(SKELETONS) and set(DECIDED) < set(SKELETONS)
    assert [*Sizes("nas-rl").open()] == ["skeleton", "classes", "input", "in_channels"]
    with pytest.raises(UserError, match="size in the skeleton nas-rl: found 'channels', allowed: classes, input, in_"):
        home("nas-rl-15", channels=8)


def test_the_places_of_a_stack():
    places = list(stack(4, 4, (1, 2), 12, (2, 3)))
    assert [(at.channels, at.stride, at.before, at.previous, at.halved) for at in places] == [
        (4, 1, 12, 12, False), (8, 2, 12, 8, False), (16, 2, 8, 24, True), (16, 1, 24, 48, True)
    ]  # fmt: skip
    first, second, third, *_ = stack(9, 2, (1,), 96, (6, 4), first=(2, 4), holding=True)
    assert first == Place(0, 2, True, 96, 96, False, holds=True)
    assert second == Place(1, 4, True, 96, 8, True) and (third.before, third.previous) == (8, 16)
    assert next(stack(4, 3, (1,), 4, halved=True)).halved


@pytest.mark.parametrize("shape", [(2, 3, 30, 32), (2, 1, 32, 32), (3, 32, 32), (2, 3, 32, 0), (2, 3, 2, 32)])
def test_images_that_do_not_fit_are_refused_in_one_line(shape):
    network = Network(GENOTYPES["darts-v2"], channels=4, cells=3)
    with pytest.raises(UserError, match=r"images: found .*, allowed: \(batch, 3, height, width\).* divisible by 4"):
        network(torch.zeros(shape))
    assert Network(GENOTYPES["darts-v2"], channels=4, cells=1)(images(2, 3, 30, 2)).shape == (2, 10)
