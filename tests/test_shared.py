"""ENAS's supernet: who shares what, that a path is the plain network of its operations, and what it costs."""

import copy
from random import Random

import pytest
import torch
import torch.nn.functional as F
from operation_counts import Operations
from torch.utils.flop_counter import FlopCounterMode

from nascore import spaces
from nascore.errors import UserError
from nascore.genotypes import Cell, CellGenotype, MacroGenotype, MacroLayer, Node
from nascore.nets.convolutional import Network
from nascore.nets.measure import parameters
from nascore.nets.shared import SharedCells, SharedLayers, shared_network
from nascore.seeding import seeded

SIZES = {"enas-micro": 5, "nasbench201": 5, "enas-macro": 3}


def supernet(name, channels=4, cells=None, **sizes):
    space = spaces.get(name, **sizes)
    with seeded("shared", name):
        return space, shared_network(space, channels, cells or SIZES[name], 10, 3)


def images(n=4, side=16):
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(0))


def moved(network, genotype):
    """The parameters that a step on this architecture reaches."""
    network.zero_grad()
    network(images(), genotype).sum().backward()
    return {name for name, p in network.named_parameters() if p.grad is not None}


def micro(*nodes):
    used = {j for inputs, _ in nodes for j in inputs}
    cell = Cell(tuple(Node(*node) for node in nodes), tuple(j for j in range(2 + len(nodes)) if j not in used))
    return CellGenotype(cell, cell)


A = micro(((0, 1), ("sep_conv_3x3", "sep_conv_5x5")), ((2, 1), ("sep_conv_3x3", "skip_connect")))
B = micro(((0, 1), ("sep_conv_3x3", "avg_pool_3x3")), ((0, 1), ("sep_conv_3x3", "sep_conv_3x3")))


def test_two_architectures_that_share_an_edge_share_its_tensor():
    _, network = supernet("enas-micro", nodes=2)
    common = {name for name in moved(network, A) & moved(network, B) if ".operations." in name}
    assert {name.split(".operations.")[1].split(".")[0] for name in common} == {"0_0_0_sep_conv_3x3"}
    before = network.eval()(images(), B)
    weight = network.cells[0].operations["0_0_0_sep_conv_3x3"][1].weight
    with torch.no_grad():
        weight.mul_(-1)  # as a step on A would change it
    assert not torch.allclose(network(images(), B), before)


def test_a_step_on_one_architecture_leaves_what_another_uses_alone():
    _, network = supernet("enas-micro", nodes=2)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2)
    before = {name: p.clone() for name, p in network.named_parameters()}
    used = moved(network, A)
    optimizer.step()
    after = dict(network.named_parameters())
    assert {name for name in before if not torch.equal(before[name], after[name])} == used != set(before)


def test_a_path_of_the_nasbench201_supernet_is_the_plain_network():
    space, network = supernet("nasbench201")
    genotype = space.decode([3, 1, 2, 4, 0, 3])
    plain = Network(genotype, 4, 5, 10, 3, "nasbench201").train()
    used = [p for name, p in network.named_parameters() if name in moved(network, genotype)]
    # both list their parameters in the order of construction; the supernet's order of edges is by node and source too
    assert sorted(p.numel() for p in used) == sorted(p.numel() for p in plain.parameters() if p.requires_grad)
    groups: dict = {}
    for p in used:
        groups.setdefault(tuple(p.shape), []).append(p)
    with torch.no_grad():
        for p in plain.parameters():
            p.copy_(groups[tuple(p.shape)].pop(0))
    assert torch.allclose(network(images(), genotype), plain(images()), atol=1e-5)


def test_in_the_macro_space_a_layer_adds_its_skips_before_batch_norm():
    space, network = supernet("enas-macro", layers=3)
    genotype = MacroGenotype((MacroLayer("conv_3x3"), MacroLayer("max_pool_3x3", (0,)), MacroLayer("conv_3x3", (1,))))
    x, (first, second, third) = images(), network.layers
    halves = {int(k): v for k, v in network.reductions.items()}
    states = [network.stem(x)]
    for k, (layers, op) in enumerate(zip((first, second, third), ("conv_3x3", "max_pool_3x3", "conv_3x3"))):
        y = layers[op](states[-1])
        states.append(network.norms[k](y + states[k - 1]) if k else y)
        if k in halves:
            states = [halve(s) for halve, s in zip(halves[k], states)]
    assert torch.allclose(network(x, genotype), network.classifier(states[-1].mean((2, 3))), atol=1e-5)


def test_a_micro_path_reads_both_cells_before_it_and_brings_its_loose_ends_back_to_one_width():
    """Cell by cell as the paper tells it (section 2.4): reduce, reduce, normal, each with another genotype."""
    space, network = supernet("enas-micro", cells=3, nodes=2)
    normal = micro(((0, 1), ("sep_conv_3x3", "skip_connect")), ((0, 0), ("max_pool_3x3", "sep_conv_5x5"))).normal
    reduce = micro(((1, 1), ("avg_pool_3x3", "sep_conv_3x3")), ((2, 1), ("sep_conv_5x5", "skip_connect"))).normal
    assert (normal.concat, reduce.concat) == ((2, 3), (0, 3)) and network.kinds == ["reduce", "reduce", "normal"]
    x = images()
    before = previous = network.stem(x)
    for index, cell in enumerate((reduce, reduce, normal)):
        shared = network.cells[index]
        if index < 2:
            halve = network.halves[str(index)]
            before, previous = halve[0](before), halve[1](previous)
        states = [shared.preprocess[0](before), shared.preprocess[1](previous)]
        for i, node in enumerate(cell.nodes):
            (a, b), (op, other) = node.inputs, node.ops
            first, second = shared.operations[f"{i}_0_{a}_{op}"], shared.operations[f"{i}_1_{b}_{other}"]
            states.append(first(states[a]) + second(states[b]))
        y, width = 0, states[0].size(1)
        for j in cell.concat:  # a 1x1 convolution of the concatenation is a sum over what is concatenated
            y = y + F.conv2d(states[j].relu(), shared.project[1].weight[:, j * width : (j + 1) * width])
        before, previous = previous, F.batch_norm(y, None, None, shared.project[2].weight, shared.project[2].bias, True)
    expected = network.classifier(previous.relu().mean((2, 3)))
    assert torch.allclose(network(x, CellGenotype(normal, reduce)), expected, atol=1e-5)


def test_inputs_of_the_cell_s_own_width_are_left_alone():
    """As in the authors' `_maybe_calibrate_size`."""
    _, network = supernet("enas-micro", channels=4, cells=5)
    assert network.kinds == ["normal", "reduce", "normal", "reduce", "normal"]
    plain = [[type(fit).__name__ for fit in cell.preprocess] for cell in network.cells]
    assert plain == [["ReLUConvBN"] * 2] + [["Identity"] * 2] * 4  # the stem is three times as wide


@pytest.mark.parametrize("name", SIZES)
def test_convolutions_start_as_he_et_al_draw_them(name):
    _, network = supernet(name, channels=16)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d) and module.weight.numel() > 2000:
            expected = (2 / module.weight[0].numel()) ** 0.5
            assert module.weight.std().item() == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("name", SIZES)
def test_every_sampled_architecture_runs_on_digits_and_batch_statistics_leave_no_trace(name):
    space = spaces.get(name)
    network, random = shared_network(space, 4, SIZES[name], 10, 1), Random(0)
    x = torch.randn(3, 1, 8, 8)
    for _ in range(5):
        genotype = space.decode(space.sample(random))
        first = network.train()(x, genotype)
        assert first.shape == (3, 10) and torch.equal(network.eval()(x, genotype), first)
    assert not list(network.buffers())


@pytest.mark.parametrize("name", ["nasbench201", "enas-micro", "enas-macro"])
def test_a_step_runs_no_more_operations_than_the_path_alone(name):
    """Counted, which no busy machine disturbs: the supernet against its copy without whatever is off the path."""
    space, network = supernet(name)
    genotype = space.decode(space.sample(Random(1)))
    alone = copy.deepcopy(network)
    used = moved(alone, genotype)
    for where in [module for module in alone.modules() if isinstance(module, torch.nn.ModuleDict)]:
        for key, part in list(where.items()):
            weights = {id(p) for p in part.parameters()}
            if weights and not weights & {id(p) for n, p in alone.named_parameters() if n in used}:
                del where[key]
    assert parameters(alone) < parameters(network)

    def operations(module):
        optimizer = torch.optim.SGD(module.parameters(), 0.01, foreach=False)
        with Operations() as counter:
            F.cross_entropy(module(images(), genotype), torch.arange(4)).backward()
            optimizer.step()
        return counter.count

    assert operations(network) <= operations(alone)


@pytest.mark.parametrize("decisions", [[3, 3, 2, 3, 4, 3], [3, 1, 2, 4, 0, 3], [4] * 6, [0, 1, 0, 3, 2, 1]])
def test_a_step_does_the_arithmetic_of_the_plain_network_and_runs_no_more_operations(decisions):
    """What it takes in seconds is in `notebooks/runs/shared_step.py`."""
    space, network = supernet("nasbench201", channels=8)
    genotype = space.decode(decisions)
    plain = Network(genotype, 8, 5, 10, 3, "nasbench201").train()

    def cost(module, *arguments):
        optimizer = torch.optim.SGD(module.parameters(), 0.01, foreach=False)
        with FlopCounterMode(display=False) as arithmetic, Operations() as operations:
            F.cross_entropy(module(images(), *arguments), torch.arange(4)).backward()
            optimizer.step()
        return arithmetic.get_total_flops(), operations.count

    (ours, our_operations), (theirs, their_operations) = cost(network, genotype), cost(plain)
    assert ours == theirs > 0 and our_operations <= their_operations


def test_only_spaces_that_can_share_are_taken():
    assert isinstance(supernet("enas-micro")[1], SharedCells) and isinstance(supernet("enas-macro")[1], SharedLayers)
    for name in ("nas-rl", "pnas", "darts"):
        with pytest.raises(UserError, match="allowed for shared weights: enas-macro, enas-micro, nasbench201"):
            shared_network(spaces.get(name), 4, 5, 10, 3)
