"""Skeletons: NAS-RL's chains, NASNet's and PNASNet's stacks against their specifications, plain loops, TensorFlow."""

import random
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nascore import spaces
from nascore.errors import UserError
from nascore.genotypes import Cell, CellGenotype, ChainGenotype, ChainLayer, Node
from nascore.nets.blocks import SameConv
from nascore.nets.convolutional import Network, drop_path
from nascore.nets.measure import parameters
from nascore.nets.operations import FactorizedReduce, ReLUConvBN, Skip
from nascore.nets.sizes import NETWORKS, Sizes
from nascore.published import GENOTYPES


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def nasnet(network: str | None = None, genotype=GENOTYPES["nasnet-a"], device="cpu", **sizes) -> Network:
    of = NETWORKS[network] if network else Sizes("nasnet")
    with torch.device(device):
        return Network.of(genotype, replace(of, **sizes))


# --- NAS-RL ---


def test_same_padding_is_tensorflows_own_example():
    """From its documentation: 13 pixels, a filter of 6, a stride of 5: one zero before and two after."""
    conv = SameConv(1, 1, (1, 6), (1, 5))
    nn.init.ones_(conv.weight)
    row = torch.arange(1.0, 14).view(1, 1, 1, 13)
    assert conv(row).flatten().tolist() == [1 + 2 + 3 + 4 + 5, 5 + 6 + 7 + 8 + 9 + 10, 10 + 11 + 12 + 13]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("kernel", [(1, 2), (4, 3), (6, 8), (5, 7)])
def test_same_padding_is_pytorchs_at_stride_1_and_rounds_up_at_others(kernel):
    x, conv = images(2, 3, 9, 6), SameConv(3, 4, kernel, (1, 1))
    torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight, padding="same"))
    for stride in ((2, 3), (3, 1), (9, 9)):
        shape = SameConv(3, 4, kernel, stride)(x).shape
        assert shape == (2, 4, -(-9 // stride[0]), -(-6 // stride[1]))


def test_a_chain_computes_what_the_paper_says():
    """A plain loop: three layers read the image, sizes differ, and two outputs are read by nobody."""
    layers = ChainLayer((3, 3), (1, 1), 4), ChainLayer((1, 3), (2, 3), 3), ChainLayer((3, 1), (1, 2), 2, (2, 1))
    genotype = ChainGenotype((*layers, ChainLayer((3, 5), (3, 1), 6), ChainLayer((5, 3), (1, 1), 5, (3, 2))))
    network = Network(genotype, in_channels=2, classes=7, skeleton="nas-rl").double().train()
    image, chain = images(3, 2, 7, 8).double(), network.stems[0]

    def layer(k: int, x: torch.Tensor) -> torch.Tensor:
        conv, norm, _ = chain.layers[k - 1]
        padding = [side // 2 for side in conv.kernel_size]
        padded = F.pad(x, (padding[1], padding[1] + 2, padding[0], padding[0] + 2))  # at least as much as SAME's
        sides = [-(-side // stride) for side, stride in zip(x.shape[2:], conv.stride)]
        gaps = [max(0, (n - 1) * s + k - a) for n, s, k, a in zip(sides, conv.stride, conv.kernel_size, x.shape[2:])]
        top, left = (p - gap // 2 for p, gap in zip(padding, gaps))
        out = F.conv2d(padded[:, :, top:, left:], conv.weight, stride=conv.stride)[:, :, : sides[0], : sides[1]]
        return F.batch_norm(out, None, None, norm.weight, norm.bias, training=True).clamp(min=0)

    def grow(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
        larger = x.new_zeros(*x.shape[:2], height, width)
        larger[:, :, : x.size(2), : x.size(3)] = x
        return larger

    one, two, four = layer(1, image), layer(2, image), layer(4, image)
    assert one.shape[2:] == (7, 8) and two.shape[2:] == (4, 3) and four.shape[2:] == (3, 8)
    three = layer(3, torch.cat([grow(two, 7, 8), one], 1))
    five = layer(5, torch.cat([three, grow(two, 7, 4)], 1))
    seen = torch.cat([grow(four, 7, 8), grow(five, 7, 8)], 1)  # 6 + 5 channels
    linear = network.head[-1]
    expected = seen.mean((2, 3)) @ linear.weight.T + linear.bias
    torch.testing.assert_close(network(image), expected)


def test_every_chain_of_the_space_runs_and_trains():
    space, generator = spaces.get("nas-rl", layers=6, strides=True), random.Random(0)
    for _ in range(10):
        genotype = space.decode(space.sample(generator))
        network = Network(genotype, in_channels=1, skeleton="nas-rl")
        network(images(2, 1, 7, 9)).logsumexp(1).sum().backward()
        assert all(p.grad is not None for p in network.parameters())
        assert network.head[-1].in_features == sum(
            layer.filters
            for k, layer in enumerate(genotype.layers, 1)
            if not any(k in later.inputs for later in genotype.layers)
        )


def test_nas_rl_15_runs_and_only_its_last_layer_is_read_by_nobody():
    network = Network(GENOTYPES["nas-rl-15"], skeleton="nas-rl").eval()
    assert network(images(1, 3, 8, 8)).shape == (1, 10) and network.head[-1].in_features == 48
    assert network.stems[0].outputs == [15]
    with pytest.raises(UserError, match="auxiliary: found True, allowed: False"):
        Network(GENOTYPES["nas-rl-15"], skeleton="nas-rl", auxiliary=True)


# --- NASNet: shapes and sizes ---


# (channels, side) of what the stem and every cell put out.
MAPS = {
    "nasnet-cifar": [(96, 32), *[(192, 32)] * 6, (256, 16), *[(384, 16)] * 6, (512, 8), *[(768, 8)] * 6],
    "nasnet-mobile": [(32, 111), (44, 56), (88, 28), *[(264, 28)] * 4, (352, 14), *[(528, 14)] * 4, (704, 7)]
    + [(1056, 7)] * 4,
    "nasnet-large": [(96, 165), (168, 83), (336, 42), *[(1008, 42)] * 6, (1344, 21), *[(2016, 21)] * 6, (2688, 11)]
    + [(4032, 11)] * 6,
}


@pytest.mark.parametrize("name", MAPS)
def test_maps_are_as_in_the_authors_tests_and_cells_as_large_as_their_closed_forms(name):
    network, seen = nasnet(name, device="meta").eval(), []
    for module in (*network.stems, *network.cells):
        module.register_forward_hook(lambda *call: seen.append(call))  # the module, its inputs, its output
    network(torch.empty(1, 3, *[NETWORKS[name].input] * 2, device="meta"))
    assert [tuple(output.shape[1:3]) for _, _, output in seen] == MAPS[name]
    for cell, (before, previous, _), _ in seen[2:]:  # the first cell's missing input is not fitted
        channels, linear = cell.width // len(cell.cell.concat), 338 if len(cell.cell.concat) == 4 else 178
        fits = (before.size(1) + previous.size(1)) * channels
        assert parameters(cell) == 10 * channels**2 + linear * channels + fits


def test_the_first_cells_missing_input_is_the_raw_stem():
    network = nasnet(channels=32, cells=5).eval()
    first = network.cells[0]
    assert parameters(first) == 40_384 and isinstance(first.preprocess[0], nn.Identity)
    projections = {"skip_connect": Skip, "avg_pool_3x3": nn.Sequential}
    for node, ops in zip(first.cell.nodes, first.nodes):
        for name, j, op in zip(node.ops, node.inputs, ops):
            if j == 0 and name in projections:
                assert type(op) is projections[name] and parameters(op) == 96 * 32 + 64
    conv, norm = first.skips["0"]  # its entry in the concat: 1x1 and batch norm alone
    stem = images(2, 96, 8, 8)
    torch.testing.assert_close(first(stem, stem)[:, :32], norm(conv(stem)))


def test_a_nasnet_of_any_depth_and_stem_runs_on_odd_maps():
    for cells in (1, 2, 3, 4, 7):
        for stem, side in (("cifar", 7), ("imagenet", 45), ("imagenet-large", 45)):
            network = nasnet(channels=4, cells=cells, stem=stem).eval()
            assert network(images(1, 3, side, side + 2)).shape == (1, 10)
            assert len(network.cells) == cells + 2 * (stem != "cifar")
    network = nasnet(channels=4, cells=3, stem="imagenet", in_channels=1)
    network(images(2, 1, 21, 35)).logsumexp(1).sum().backward()
    assert all(p.grad is not None for p in network.stems.parameters())


# --- NASNet: what a cell reads and how it is fitted ---


@pytest.mark.parametrize("stem, side", [("cifar", 16), ("imagenet", 67), ("imagenet-large", 67)])
def test_a_cell_after_a_reduction_reads_its_input_and_in_the_large_one_the_output_before_that(stem, side):
    network = nasnet(channels=4, cells=8, stem=stem).eval()
    calls = []
    for module in (network.stems[0], *network.cells):
        module.register_forward_hook(lambda *call: calls.append(call[1:]))
    network(images(1, 3, side, side))
    inputs, outputs = zip(*calls)
    stems = 1 if stem == "cifar" else 3
    for k in range(1, len(outputs)):  # outputs[0] is the raw stem's
        after_reduction = k - stems in (3, 6)
        back = 3 if after_reduction and stem == "imagenet-large" else 2
        assert inputs[k][0] is outputs[max(k - back, 0)] and inputs[k][1] is outputs[k - 1]


def test_inputs_are_fitted_as_the_specification_says():
    network = nasnet(channels=4, cells=8)
    kinds = [tuple(type(fit) for fit in cell.preprocess) for cell in network.cells]
    halved, fitted = (FactorizedReduce, ReLUConvBN), (ReLUConvBN, ReLUConvBN)
    assert kinds == [(nn.Identity, ReLUConvBN), fitted, fitted, halved, fitted, fitted, halved, fitted]
    # One node: the output before the last has the cell's width already, and stays as it is.
    single = Cell((Node((0, 1), ("conv_1x1", "skip_connect")),), (2,))
    cells = nasnet(genotype=CellGenotype(single, single), channels=4, cells=4).cells
    assert [type(cell.preprocess[0]) for cell in cells[:2]] == [nn.Identity, ReLUConvBN]
    wide = nasnet(genotype=CellGenotype(single, single), channels=4, cells=9).cells
    assert isinstance(wide[2].preprocess[0], nn.Identity) and isinstance(wide[2].preprocess[1], ReLUConvBN)


def test_the_identity_at_stride_2_is_a_strided_convolution():
    reduce = Cell((Node((0, 1), ("skip_connect", "sep_conv_3x3")), Node((2,), ("skip_connect",))), (3, 1))
    cell = nasnet(genotype=CellGenotype(reduce, reduce), channels=4, cells=3).eval().cells[1]
    skip, inner, put_out = cell.nodes[0][0], cell.nodes[1][0], cell.skips["1"]
    assert type(skip) is type(put_out) is Skip and type(inner) is nn.Identity
    x = images(2, 8, 7, 8)
    torch.testing.assert_close(skip(x), skip[2](F.conv2d(x.relu(), skip[1].weight)[:, :, ::2, ::2]))


def test_children_of_the_search_run_and_train_in_it():
    space, generator = spaces.get("nasnet", blocks=3), random.Random(0)
    genotypes = [space.decode(space.sample(generator)) for _ in range(6)]
    assert {node.combine for g in genotypes for node in g.normal.nodes} == {"add", "concat"}
    one = Cell((Node((0, 0), ("conv_3x3", "skip_connect"), "concat"),), (0, 1), n_inputs=1)
    for genotype in (*genotypes, CellGenotype(one, one)):
        network = nasnet(genotype=genotype, channels=4, cells=4, in_channels=1)
        network(images(2, 1, 9, 6)).logsumexp(1).sum().backward()
        assert all(p.grad is not None for p in network.head.parameters())


# --- NASNet: heads ---


def test_relu_comes_before_the_pool():
    network = nasnet(channels=4, cells=1).eval()
    x = images(2, 32, 2, 2)
    torch.testing.assert_close(network.head(x), network.head[-1](x.clamp(min=0).mean((2, 3))))


@pytest.mark.parametrize(
    "stem, side, after, kernel, others",
    [
        ("cifar", 32, 2, 4, (8, 64, 97)),
        ("imagenet", 224, 4, 4, (64, 320)),
        ("imagenet-large", 331, 4, 6, (64, 224)),
    ],
)
def test_the_auxiliary_head_stands_before_the_second_reduction(stem, side, after, kernel, others):
    network = nasnet(channels=4, cells=5, classes=5, stem=stem, auxiliary=True, device="meta").train()
    assert network.auxiliary_after == after and network.cells[after + 1].cell is GENOTYPES["nasnet-a"].reduce
    assert network.auxiliary.features[5].kernel_size == (kernel, kernel)
    for pixels in (side, *others):  # images of other sizes than the paper's, too
        logits, auxiliary = network(torch.empty(2, 3, pixels, pixels, device="meta"))
        assert logits.shape == auxiliary.shape == (2, 5)


@pytest.mark.parametrize("stem", ["cifar", "imagenet", "imagenet-large"])
def test_batch_norm_adds_what_the_authors_code_does(stem):
    """nasnet_cifar_arg_scope has an epsilon of 1e-5, nasnet_mobile_arg_scope and nasnet_large_arg_scope 1e-3, which
    PNASNet uses too (tensorflow/models, slim)."""
    for name, skeleton in (("nasnet-a", "nasnet"), ("pnasnet-5", "pnasnet")):
        network = Network(GENOTYPES[name], 4, 3, skeleton=skeleton, stem=stem, auxiliary=True)
        found = {module.eps for module in network.modules() if isinstance(module, nn.BatchNorm2d)}
        assert found == {1e-5 if stem == "cifar" else 1e-3}


# --- ScheduledDropPath ---


def probabilities(network: Network, images: torch.Tensor) -> list[float]:
    """What each cell drops with, in the order of the cells."""
    found = []
    for cell in network.cells:
        cell.register_forward_pre_hook(lambda _, inputs: found.append(inputs[2].keywords["probability"]))
    network.train()(images)
    return found


def test_drop_path_grows_with_depth_in_nasnet_alone():
    cifar, imagenet = nasnet(channels=4, cells=5), nasnet(channels=4, cells=5, stem="imagenet")
    darts = Network(GENOTYPES["darts-v1"], channels=4, cells=5)
    for network, side, expected in (
        (cifar, 8, [0.4 * k / 5 for k in range(1, 6)]),  # keep = 0.6 in the last cell, at the end of the training
        (imagenet, 35, [0.4 * k / 7 for k in range(1, 8)]),  # the two stem cells count
        (darts, 8, [0.4] * 5),
    ):
        network.drop_path = 0.4
        assert probabilities(network, images(2, 3, side, side)) == pytest.approx(expected)


def test_nothing_is_dropped_at_the_first_step_and_the_mean_stays_later():
    network = nasnet(channels=4, cells=3)
    network.cells[0].register_forward_pre_hook(lambda _, inputs: dropped.append(inputs[2]))
    dropped = []
    network.train()(images(2, 3, 8, 8))
    network.drop_path = 0.4
    network.eval()(images(2, 3, 8, 8))
    assert dropped == [None, None]
    x = torch.ones(20_000, 1, 1, 1)
    for probability in (0.02, 0.4):
        mean = drop_path(x, probability, torch.Generator().manual_seed(0)).mean().item()
        assert abs(mean - 1) < 4 * (probability / (1 - probability) / 20_000) ** 0.5


def test_nasnets_identities_are_never_dropped_not_even_projected_ones():
    skip = Cell((Node((0, 1), ("skip_connect", "skip_connect")), Node((1,), ("max_pool_3x3",))), (2, 3))
    network = nasnet(genotype=CellGenotype(skip, skip), channels=4, cells=3).eval()
    x = images(2, 12, 8, 8)
    for cell, before, previous in ((network.cells[0], x, x), (network.cells[1], x, images(2, 8, 8, 8))):
        kept, dropped = cell(before, previous), cell(before, previous, torch.zeros_like)
        width = cell.width // 2
        assert torch.equal(kept[:, :width], dropped[:, :width]) and kept[:, :width].any()
        assert not dropped[:, width:].any()  # the pool is


# --- PNASNet ---


def pnasnet(genotype=GENOTYPES["pnasnet-5"], **sizes) -> Network:
    return nasnet(genotype=genotype, skeleton="pnasnet", **sizes)


def test_pnasnets_one_cell_stands_everywhere_and_reduces_at_stride_2():
    network = pnasnet(channels=4, cells=9).eval()
    assert all(cell.cell is GENOTYPES["pnasnet-5"].normal for cell in network.cells)
    shapes = []
    for cell in network.cells:
        cell.register_forward_hook(lambda _, inputs, output: shapes.append(tuple(output.shape[1:])))
    network(images(1, 3, 16, 16))
    assert shapes == [(20, 16, 16)] * 3 + [(40, 8, 8)] * 3 + [(80, 4, 4)] * 3
    kinds = [type(cell.preprocess[0]) for cell in network.cells]
    assert [k for k, kind in enumerate(kinds) if kind is FactorizedReduce] == [4, 7]
    assert all(kinds[k] is ReLUConvBN for k in (0, 1, 2, 3, 5, 6, 8))  # the stem too is fitted, unlike NASNet's
    assert isinstance(network.cells[3].nodes[4][1], Skip)  # the identity at stride 2


def test_pnasnets_first_imagenet_cell_reads_the_raw_stem_and_no_cell_is_held_back():
    network = pnasnet(channels=4, cells=6, stem="imagenet-large").eval()
    first = network.cells[0]
    assert isinstance(first.preprocess[0], nn.Identity) and not network.holds
    assert [type(module) for module in first.nodes[0][1]] == [nn.MaxPool2d, nn.Conv2d, nn.BatchNorm2d]
    assert parameters(first.nodes[0][1]) == 96 * 1 + 2 * 1  # the stem's 96 to channels // 4
    assert network(images(1, 3, 67, 45)).shape == (1, 10)


def test_a_genotype_of_two_cells_reduces_with_its_second_in_pnasnet():
    one, other = (Cell((Node((0, 1), (op, "skip_connect")),), (2,)) for op in ("conv_1x1", "conv_3x3"))
    network = pnasnet(CellGenotype(one, other), channels=4, cells=6)
    assert [cell.cell for cell in network.cells] == [one, one, other, one, other, one]
    assert {cell.cell for cell in pnasnet(CellGenotype(one), channels=4, cells=6).cells} == {one}


# --- refusals ---


@pytest.mark.parametrize(
    "attempt, line",
    [
        (lambda: nasnet(channels=3, stem="imagenet"), "channels: found 3, allowed: 4 or more with the imagenet stem"),
        (lambda: nasnet(stem="tiny"), "stem: found 'tiny', allowed: cifar, imagenet, imagenet-large"),
        (lambda: nasnet(genotype=GENOTYPES["pnasnet-5"]), "reduce: found null, allowed in the skeleton nasnet: a cell"),
        (lambda: nasnet(genotype=GENOTYPES["nas-rl-15"]), "kind: found 'chain', allowed in the skeleton nasnet: cell"),
        (lambda: nasnet(channels=4, cells=1, stem="imagenet")(images(1, 3, 2, 9)), "width) with sides of at least 3"),
    ],
)
def test_what_cannot_be_stacked_is_refused_in_one_line(attempt, line):
    with pytest.raises(UserError) as caught:
        attempt()
    assert line in str(caught.value) and "\n" not in str(caught.value)
