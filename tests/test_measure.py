"""Sizes of the published networks, to the digit, as counted on the authors' own classes."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

import nascore
from nascore import cli, genotypes
from nascore.errors import UserError
from nascore.files import FORMAT
from nascore.genotypes import Cell, CellGenotype, ChainGenotype, MacroGenotype, MacroLayer, Node
from nascore.nets import measure
from nascore.nets.convolutional import Network
from nascore.nets.measure import depth, describe, multiply_adds, parameters
from nascore.nets.sizes import NETWORKS, Sizes
from nascore.published import GENOTYPES

# DARTS, section 7 of its specification: parameters, auxiliary head, convolutional and linear multiply-adds.
CIFAR = {
    "darts-v1": (3_169_414, 476_426, 500_981_760, 5_760),
    "darts-v2": (3_349_342, 476_426, 528_353_280, 5_760),
    "nasnet-a-darts": (3_830_950, 457_994, 603_445_248, 7_200),
    "amoebanet-a": (3_145_078, 457_994, 488_927_232, 4_320),
}
IMAGENET = {
    "darts-v1": (4_510_432, 1_260_776, 505_096_704, 768_000),
    "darts-v2": (4_718_752, 1_260_776, 529_143_552, 768_000),
    "nasnet-a-darts": (5_564_320, 1_236_200, 603_071_616, 960_000),
    "amoebanet-a": (4_627_360, 1_236_200, 526_170_624, 576_000),
}
SMALL = {  # C=16, L=8: parameters, convolutional multiply-adds
    "darts-v1": (232_890, 41_353_216),
    "darts-v2": (246_106, 43_442_176),
    "nasnet-a-darts": (333_946, 56_221_696),
    "amoebanet-a": (326_330, 52_871_168),
}


def size(name: str, **sizes) -> int:
    return count(name, Sizes(**sizes))


def count(name: str, sizes: Sizes) -> int:
    with torch.device("meta"):
        return parameters(Network.of(GENOTYPES[name], sizes))


@pytest.mark.parametrize("name", CIFAR)
def test_cifar_networks_have_the_published_sizes(name):
    count, auxiliary, convolutions, linear = CIFAR[name]
    found = describe(name)
    assert (found["parameters"], found["multiply_adds"]) == (count, convolutions + linear)
    assert (found["kind"], found["skeleton"], found["channels"], found["cells"]) == ("cell", "darts", 36, 20)
    assert size(name, auxiliary=True) == count + auxiliary


@pytest.mark.parametrize("name", IMAGENET)
def test_imagenet_networks_have_the_published_sizes(name):
    count, auxiliary, convolutions, linear = IMAGENET[name]
    found = describe(name, network="darts-imagenet")
    assert (found["parameters"], found["multiply_adds"]) == (count, convolutions + linear)
    assert (found["input"], found["classes"], found["stem"]) == (224, 1000, "imagenet")
    assert size(name, channels=48, cells=14, classes=1000, stem="imagenet", auxiliary=True) == count + auxiliary


@pytest.mark.parametrize("name", SMALL)
def test_small_networks_have_the_published_sizes(name):
    count, convolutions = SMALL[name]
    found = describe(GENOTYPES[name], channels=16, cells=8)
    width = 64 * len(GENOTYPES[name].normal.concat)
    assert (found["parameters"], found["multiply_adds"]) == (count, convolutions + 10 * width)


def test_parameters_follow_depth_and_classes():
    assert [size("darts-v2", channels=16, cells=n) for n in (3, 5, 20)] == [26_570, 129_706, 710_682]
    assert [size("darts-v1", channels=16, cells=n) for n in (3, 5, 20)] == [26_138, 123_098, 671_034]
    assert size("darts-v2", classes=100) == 3_401_272
    assert size("nasnet-a-darts", channels=32) == 3_061_738  # most likely the paper's own re-run
    assert size("darts-v2", auxiliary=True) == 3_825_768


def test_parts_of_darts_v2_have_the_published_sizes():
    with torch.device("meta"):
        network = Network(GENOTYPES["darts-v2"])
    assert parameters(network.stems) == 3_132 and parameters(network.head) == 5_770
    cells = {index: parameters(network.cells[index]) for index in (0, 1, 6, 7, 13, 19)}
    assert cells == {0: 26_532, 1: 27_828, 6: 21_024, 7: 97_128, 13: 83_520, 19: 411_984}


# NASNet, section 7.1 of its specification: parameters, auxiliary head, multiply-adds.
NASNET = {
    "nasnet-cifar": (3_346_538, 1_631_498, 544_333_312),
    "nasnet-mobile": (5_289_978, 2_411_240, 563_638_816),
    "nasnet-large": (88_753_150, 4_567_784, 23_783_414_658),
}


@pytest.mark.parametrize("network", NASNET)
def test_nasnet_a_in_its_authors_skeleton_has_the_published_sizes(network):
    known, auxiliary, total = NASNET[network]
    found = describe("nasnet-a", network)
    assert (found["parameters"], found["multiply_adds"], found["skeleton"]) == (known, total, "nasnet")
    assert count("nasnet-a", replace(NETWORKS[network], auxiliary=True)) == known + auxiliary


def test_nasnet_a_of_other_depths_widths_and_classes_has_the_derived_sizes():
    shapes = {(8, 32): 1_294_698, (8, 16): 363_194, (5, 8): 72_370}  # N = 2, 2 and 1
    assert {shape: size("nasnet-a", skeleton="nasnet", cells=shape[0], channels=shape[1]) for shape in shapes} == shapes
    assert size("nasnet-a", skeleton="nasnet", channels=32, classes=100) == 3_415_748
    large, mobile = (replace(NETWORKS[name], classes=1001) for name in ("nasnet-large", "nasnet-mobile"))
    assert (count("nasnet-a", large), count("nasnet-a", mobile)) == (88_757_183, 5_291_035)
    with torch.device("meta"):
        buffers = Network(GENOTYPES["nasnet-a"], 32, skeleton="nasnet").buffers()
    assert 3_346_538 + sum(b.numel() for b in buffers if b.dim()) == 3_383_786  # with the running statistics


# PNASNet, section 6 of its specification.
PNASNET = {"pnasnet-cifar": 3_176_602, "pnasnet-mobile": 5_064_487, "pnasnet-large": 86_057_668}


@pytest.mark.parametrize("network", PNASNET)
def test_pnasnet_5_has_the_published_sizes(network):
    found = describe("pnasnet-5", network)
    assert (found["parameters"], found["skeleton"]) == (PNASNET[network], "pnasnet")


def test_pnasnet_5_of_other_sizes_has_the_derived_ones():
    assert describe("pnasnet-5") == describe("pnasnet-5", "pnasnet-cifar") == describe(GENOTYPES["pnasnet-5"])
    assert size("pnasnet-5", skeleton="pnasnet", cells=6, channels=24) == 555_154  # a child of the search
    assert count("pnasnet-5", replace(NETWORKS["pnasnet-large"], classes=1001)) == 86_061_989
    with torch.device("meta"):
        cell = Network(GENOTYPES["pnasnet-5"], 24, 6, skeleton="pnasnet").cells[1]
    assert parameters(cell.nodes) == 13_536


def test_enas_networks_have_the_sizes_of_the_authors_code():
    found = describe("enas-micro")
    assert (found["parameters"], found["skeleton"]) == (3_894_372, "enas")
    assert count("enas-micro", replace(NETWORKS["enas-cifar"], auxiliary=True)) == 3_894_372 + 494_848
    assert size("enas-micro", skeleton="enas", channels=20, cells=8) == 608_540  # N = 6
    found = describe("enas-macro")
    assert (found["parameters"], found["kind"], found["channels"]) == (30_947_424, "macro", 96)
    assert not {"cells", "stem", "auxiliary"} & set(found)
    assert describe("enas-macro", "enas-macro-full-cifar")["parameters"] == 42_559_392
    assert describe(GENOTYPES["enas-macro"], classes=100)["parameters"] == 30_947_424 + 90 * 4 * 96


def nas_rl(inputs) -> ChainGenotype:
    """The published chain with other skips: layer i (from 0) reads `inputs(i)`."""
    layers = GENOTYPES["nas-rl-15"].layers
    return ChainGenotype(tuple(replace(layer, inputs=tuple(inputs(i))) for i, layer in enumerate(layers)))


def test_nas_rl_15_and_its_ablations_have_the_published_sizes():
    found = describe("nas-rl-15")
    assert (found["parameters"], found["multiply_adds"]) == (4_201_630, 4_300_664_832 + 480)
    assert found["depth"] == 16 and found["kind"] == "chain"
    assert not {"channels", "cells", "stem", "auxiliary"} & set(found)
    assert describe(nas_rl(lambda i: range(1, i + 1)))["parameters"] == 6_630_910  # every skip
    assert describe(nas_rl(lambda i: [i] if i else []))["parameters"] == 809_134  # no skip
    assert describe("nas-rl-15", classes=100)["parameters"] == 4_201_630 + 90 * 49


def nasbench201(*ops: str) -> CellGenotype:
    """Edges in the benchmark's order: 0-1, 0-2, 1-2, 0-3, 1-3, 2-3."""
    nodes = (Node((0,), ops[:1]), Node((0, 1), ops[1:3]), Node((0, 1, 2), ops[3:]))
    return CellGenotype(Cell(nodes, (3,), n_inputs=1))


BEST = "nor_conv_3x3 nor_conv_3x3 nor_conv_3x3 skip_connect nor_conv_3x3 nor_conv_1x1".split()  # row 6111


@pytest.mark.parametrize(
    ("ops", "count", "total"),
    [
        (["nor_conv_3x3"] * 6, 1_531_546, 220_119_680),
        (["skip_connect"] * 6, 73_306, 7_783_040),
        (["none"] * 6, 73_306, 7_783_040),
        (["avg_pool_3x3"] * 6, 73_306, 7_783_040),
        (BEST, 1_073_466, 153_272_960),
    ],
)
def test_nasbench201_networks_have_the_benchmarks_sizes(ops, count, total):
    found = describe(nasbench201(*ops))
    assert found["skeleton"] == "nasbench201" and (found["channels"], found["cells"]) == (16, 17)
    assert (found["parameters"], found["multiply_adds"]) == (count, total)


def test_depth_is_the_longest_way_through():
    cell = Cell((Node((0, 1), ("conv_3x3", "sep_conv_3x3")), Node((2, 0), ("skip_connect", "conv_1x1"))), (2, 3))
    network = Network(CellGenotype(cell, cell), channels=4, cells=1)
    # stem 1, preprocessing 1, separable convolution 4, classifier 1
    assert depth(network, (1, 3, 8, 8)) == 7
    assert depth(nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), (1, 1, 2, 2)) == 2
    disconnected = describe(nasbench201(*["none"] * 6), cells=1)
    assert disconnected["depth"] == 1 + 2 + 1  # one residual block is all there is


def test_measuring_leaves_the_network_as_it_was():
    network = Network(GENOTYPES["darts-v2"], channels=4, cells=3).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    total = multiply_adds(network, (1, 3, 32, 32))
    assert network.training and all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert multiply_adds(network, (5, 3, 32, 32)) == 5 * total
    assert next(network.parameters()).device.type == "cpu"


@pytest.mark.parametrize(("seconds", "passes"), [(1 / 1024, 197), (1 / 16, 45), (0.5, 5), (1.0, 5), (40.0, 5)])
def test_a_slow_network_s_latency_is_of_fewer_passes(seconds, passes, monkeypatch):
    """On a clock that only a pass moves: three seconds of passes, but five of them at least, and the row says how
    many; those that warm up are none of them where there is time."""
    now, images = [0.0], []

    class Slow(nn.Module):
        def forward(self, x):
            images.append(len(x))
            now[0] += seconds

    monkeypatch.setattr(measure, "perf_counter", lambda: now[0])
    rows = measure.measure_latency(Slow(), (3, 4, 4), threads=1)
    assert [row["passes"] for row in rows] == [passes, passes]
    assert [images.count(row["batch"]) for row in rows] == [max(6, min(200, 3 / seconds))] * 2
    assert all(row["low_ms"] == row["median_ms"] == pytest.approx(1000 * seconds) for row in rows)


def test_describe_takes_sizes_and_gives_them_back():
    found = describe("darts-v1", cells=5, channels=None, classes=7, input=16, in_channels=1)
    keys = "kind skeleton stem channels cells classes auxiliary in_channels input parameters multiply_adds depth"
    assert list(found) == [*keys.split(), "weights_bytes", "activation_bytes"]
    assert (found["channels"], found["classes"], found["input"], found["in_channels"]) == (36, 7, 16, 1)
    assert describe("darts-v1", network="darts-imagenet", classes=10, cells=1)["classes"] == 10
    assert describe("nasnet-a", skeleton="darts", cells=3)["skeleton"] == "darts"  # concat of a cell input and all
    single = nasbench201(*BEST)
    assert describe(single, cells=3) == describe(single, skeleton="nasbench201", cells=3)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("darts-v9",), "no genotype 'darts-v9'; allowed: a JSON file, or one of nas-rl-15"),
        (("enas-rnn",), "skeleton: found 'recurrent', allowed: darts, nasnet, pnasnet, enas, "),
        (("enas-rnn", None, "darts"), "kind: found 'recurrent', allowed in the skeleton darts: cell"),
        (
            (MacroGenotype((MacroLayer("none"),)), None, "darts"),
            "kind: found 'macro', allowed in the skeleton darts: cell",
        ),
        (("darts-v2", "imagenet"), "network: found 'imagenet', allowed: darts-cifar, darts-imagenet"),
        (("darts-v2", None, "resnet"), "skeleton: found 'resnet', allowed: darts, nasnet, pnasnet, enas, "),
        (("pnasnet-5", None, "darts"), "reduce: found null, allowed in the skeleton darts: a cell"),
        (("darts-v2", None, "nasbench201"), "found 2 inputs, 4 in concat, reduce a cell, allowed"),
        (("enas-macro", None, "enas"), "kind: found 'macro', allowed in the skeleton enas: cell"),
        (("enas-micro", None, "enas-macro-full"), "kind: found 'cell', allowed in the skeleton enas-macro-full: macro"),
        (("pnasnet-5", None, "enas"), "reduce: found null, allowed in the skeleton enas: a cell"),
        (("nas-rl-15", None, "darts"), "kind: found 'chain', allowed in the skeleton darts: cell"),
        (("nas-rl-15", "nasnet-mobile"), "kind: found 'chain', allowed in the skeleton nasnet: cell"),
        (("darts-v2", None, "nas-rl"), "kind: found 'cell', allowed in the skeleton nas-rl: chain"),
        (("pnasnet-5", None, "nasnet"), "reduce: found null, allowed in the skeleton nasnet: a cell"),
    ],
)
def test_what_has_no_network_is_refused_in_one_line(arguments, line):
    with pytest.raises(UserError) as caught:
        describe(*arguments)
    assert line in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("sizes", "line"),
    [
        ({"cells": 0}, "cells: found 0, allowed: a whole number from 1 to 200"),
        ({"channels": 2.5}, "channels: found 2.5, allowed: a whole number from 1 to 4096"),
        ({"classes": -1}, "classes: found -1"),
        ({"input": 30}, "images: found (1, 3, 30, 30), allowed: (batch, 3, height, width) with sides divisible by 4"),
        ({"input": 0}, "input: found 0"),
        ({"input": 40, "stem": "imagenet"}, "sides divisible by 32"),
        ({"channels": 1, "stem": "imagenet"}, "channels: found 1, allowed: 2 or more with the imagenet stem"),
        ({"stem": "tiny"}, "stem: found 'tiny', allowed: cifar, imagenet"),
        ({"colour": 3}, "size in the skeleton darts: found 'colour', allowed: stem, channels"),
        ({"auxiliary": True, "skeleton": "nasbench201"}, "auxiliary: found True, allowed: False"),
    ],
)
def test_sizes_out_of_bounds_are_refused_in_one_line(sizes, line):
    genotype = nasbench201(*BEST) if "skeleton" in sizes else "darts-v2"
    with pytest.raises(UserError) as caught:
        describe(genotype, **sizes)
    assert line in str(caught.value) and "\n" not in str(caught.value)


# --- the folder of a model ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small trained one's folder."""
    folder = tmp_path_factory.mktemp("model") / "run"
    nascore.train("darts-v2", directory=folder, channels=4, cells=3, epochs=1, batch_size=720, progress=False)
    return folder


def test_a_model_is_described_at_its_own_sizes(model, capsys):
    said = json.loads((model / "model.json").read_text())
    found = describe(model)
    sizes = {name: found[name] for name in said["network"]}
    assert sizes == said["network"] and sizes["channels"] == 4 and found["input"] == said["image"]["height"] == 8
    assert found["parameters"] == json.loads((model / "result.json").read_text())["parameters"]
    assert found == describe(str(model / "model.json"))
    assert cli.main(["describe", str(model), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == found


def test_what_is_asked_for_goes_before_a_model_s_own_sizes(model):
    found = describe(model, channels=8, input=16, skeleton="nasnet")
    assert (found["channels"], found["input"], found["skeleton"], found["cells"]) == (8, 16, "nasnet", 3)
    assert describe(model, "darts-cifar") == describe(GENOTYPES["darts-v2"])
    assert describe(GENOTYPES["darts-v2"])["channels"] == 36


def test_a_chain_is_described_at_its_model_s_sizes(model, tmp_path):
    """A chain has its own filters: no channels, no cells, no stem."""
    genotype = json.loads(genotypes.to_json(GENOTYPES["nas-rl-15"]))
    sizes = dict(skeleton="nas-rl", stem="cifar", channels=8, cells=3, classes=7, in_channels=1)
    about = dict(genotype=genotype, network=sizes, image=dict(height=16, width=16))
    (tmp_path / "model.json").write_text(json.dumps(about))
    assert describe(tmp_path) == describe("nas-rl-15", classes=7, in_channels=1, input=16)


@pytest.mark.parametrize(
    "change", [{"network": None}, {"image": {"height": 8, "width": 9}}, {"image": 3}, {"network": 5}]
)
def test_a_model_that_does_not_say_its_sizes_is_refused_in_one_line(change, model, tmp_path):
    about = json.loads((model / "model.json").read_text()) | change
    (tmp_path / "model.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match="model.json: found something else, allowed: the sizes of its network, and the"):
        describe(tmp_path)


@pytest.mark.parametrize("command", ["describe", "convert"])
def test_a_newer_format_is_refused(command, model, tmp_path, capsys):
    """Also where only what is around the genotype is of a newer one."""
    about = json.loads((model / "model.json").read_text()) | {"format": FORMAT + 1}
    (tmp_path / "model.json").write_text(json.dumps(about))
    assert cli.main([command, str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "format" in said and str(FORMAT + 1) in said
