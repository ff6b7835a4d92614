"""`nascore bench`: both sides run in turn, old signatures of the reference work, and errors are one
line."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from operation_counts import Operations

from course import curves
from nascore import bench, spaces
from nascore.bench import harness, rows
from nascore.bench.naive import NaiveDARTS, NaiveSupernet
from nascore.errors import UserError
from nascore.methods.darts import DARTS
from nascore.nets.edges import MixedEdges
from nascore.nets.shared import shared_network
from nascore.nets.supernet import Supernet, initial_alphas
from runs import growth

SMALL = dict(batch=2, rounds=2, channels=4, cells=3, threads=(1,))
MODEL = """
import torch
class Network(torch.nn.Linear):
    def __init__(self, channels, classes, layers, criterion):
        super().__init__(3 * 32 * 32, classes)
    def forward(self, x):
        return super().forward(x.flatten(1))
"""
ARCHITECT = """
import torch
class Architect:
    def __init__(self, model, args):
        self.weight = model.weight.cuda()
    def step(self, x, y, x_valid, y_valid, eta, optimizer, unrolled):
        ones, before = torch.ones_like(self.weight), self.weight.detach().clone()
        self.weight.data.add_(2.0, ones)
        self.weight.data.sub_(torch.tensor(0.5), ones)
        assert torch.allclose(self.weight, before.sub(-1.5, ones)), "an old signature means something else"
        self.weight.data.sub_(1.5 * ones)
"""


def checkout(folder, model=MODEL):
    """A stand-in for the reference: the same two files and the same old calls."""
    (folder / "cnn").mkdir()
    (folder / "cnn" / "model_search.py").write_text(model)
    (folder / "cnn" / "architect.py").write_text(ARCHITECT)
    return str(folder)


def measured(result, words):
    """The title that holds `words`, and what was measured under it: side -> values for each
    step."""
    (title,) = (title for title in result["measured"] if words in title)
    return title, result["measured"][title]


def test_both_sides_are_measured_and_compared(tmp_path):
    result = json.loads(json.dumps(bench.benchmark(checkout(tmp_path), **SMALL)))
    title, seconds = measured(result, "cpu seconds on 1 threads")
    for k in range(3):
        ours, reference = seconds["ours"][k], seconds["reference"][k]
        assert len(ours) == len(reference) == 2 and min(ours) > 0
        ratios = sorted(b / a for a, b in zip(ours, reference))
        assert result["ratios"][title][k] == pytest.approx([ratios[0], sum(ratios) / 2, ratios[1]])
    memory = measured(result, "peak memory")[1]["ours"]
    assert memory == sorted(memory)  # a peak only grows
    line = next(line for line in bench.table(result).splitlines() if "second order" in line)
    assert all(f"{r:.2f}" in line for r in result["ratios"][measured(result, "peak memory")[0]][2])


@pytest.fixture
def one_process(monkeypatch):
    """The sides of a row are made here: processes of their own take seconds to start."""
    monkeypatch.setattr(harness, "ProcessPoolExecutor", lambda workers, *_: ThreadPoolExecutor(workers))


def test_all_rows_have_both_sides_their_memory_and_a_ratio(one_process):
    result = bench.benchmark(**SMALL, others=True, many=6)
    assert json.loads(json.dumps(result))["rows"].keys() == result["rows"].keys()
    assert "naive" in result["setting"]["reference"]
    text = bench.table(result)
    assert all(step in text for step in bench.STEPS)
    for words in ("augmentation", "table", "sampling", "trained for an epoch", "enas-micro", "enas-macro", "DARTS-V2"):
        assert sum(words in title for title in result["rows"]) == 1
    for title, row in result["rows"].items():
        assert f"{title} (cpu seconds), against {row['against']}" in text
        for figure, count in (("seconds", 2), ("memory", 1)):
            assert list(row[figure]) == ["ours", "reference"]
            assert all(len(v) == count and min(v) > 0 for side in row[figure].values() for v in side)
        assert len(result["ratios"][title]) == len(row["steps"]) == len(row["seconds"]["ours"])


def copied(naive, net):
    """The naive supernet with the weights of `net`, which has those of all edges of a state in one tensor."""
    ours = {name: part for name, part in net.named_modules() if isinstance(part, MixedEdges)}
    theirs = dict(naive.named_modules())
    for name, mixed in ours.items():
        for edge in range(mixed.edges):
            for k, op in enumerate(mixed.primitives):
                stacked = mixed.convolutions[op].parameters() if op in mixed.convolutions else ()
                module = theirs[name].operations[edge * len(mixed.primitives) + k]
                for weight, all_edges in zip(module.parameters(), stacked, strict=True):
                    weight.data.copy_(all_edges.chunk(mixed.edges)[edge])
    shared = {name: weight for name, weight in net.state_dict().items() if ".sources." not in name}
    naive.load_state_dict(shared, strict=False)
    return naive


@pytest.mark.parametrize("skeleton", ["darts", "nasbench201"])
def test_the_naive_supernet_computes_what_ours_does(skeleton):
    space = spaces.get(skeleton)
    sizes = dict(primitives=space.primitives, nodes=space.nodes, n_inputs=space.n_inputs, skeleton=skeleton)
    sizes |= dict(channels=4, cells=4, cell_types=space.cell_types)
    torch.manual_seed(0)
    net = Supernet(**sizes).double()
    naive = copied(NaiveSupernet(**sizes).double(), net)
    assert sum(p.numel() for p in naive.parameters()) == sum(p.numel() for p in net.parameters())
    assert not any(isinstance(part, MixedEdges) for part in naive.modules())
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    alphas = [alpha.double() for alpha in initial_alphas(net)]
    torch.testing.assert_close(naive(images, alphas), net(images, alphas), rtol=0, atol=1e-10)


def test_a_step_of_second_order_is_two_gradients_of_the_weights_kind_and_two_probes():
    counts = []
    for step in bench.our_steps(bench.Workload(2, 4, 3)):
        with Operations() as counter:
            step()
        counts.append(counter.count)
    weights, first, second = counts
    assert second > weights + first


def test_the_naive_supernet_is_searched_by_the_same_steps():
    counts = []
    for method in (DARTS, NaiveDARTS):
        step, *_ = bench.our_steps(bench.Workload(2, 4, 3), method)
        with Operations() as counter:
            step()
        counts.append(counter.count)
    assert counts[0] < counts[1]


@pytest.mark.parametrize("name", ["enas-micro", "enas-macro", "nasbench201"])
def test_a_path_alone_computes_the_same_with_no_weight_of_another(name):
    space = spaces.get(name)
    network = shared_network(space, 4, 6, 10, 3)
    images = torch.randn(2, 3, 32, 32)
    (genotype,) = rows.genotypes(name, 1)
    logits = network(images, genotype)
    logits.sum().backward()
    ours = len(list(network.parameters()))
    reached = {weight for weight in network.parameters() if weight.grad is not None}
    rows._leave_path(network)
    assert torch.equal(network(images, genotype), logits)
    left = set(network.parameters())
    assert reached <= left and len(left) < ours


def test_a_reference_that_fails_is_reported_with_its_own_words(tmp_path):
    with pytest.raises(UserError, match="the reference does not run: .*not_a_module"):
        bench.benchmark(checkout(tmp_path, "import not_a_module"), **SMALL)


@pytest.mark.parametrize("wrong", [dict(against="/nowhere"), dict(rounds=0), dict(batch=1)])
def test_what_cannot_be_timed_is_refused_in_one_line(wrong):
    with pytest.raises(UserError, match="found .*, allowed: ") as error:
        bench.benchmark(**SMALL | wrong)
    assert "\n" not in str(error.value)


def test_views_and_allocations_are_not_counted():
    x = torch.ones(4, 4)
    with Operations() as counter:
        torch.empty(3).detach()
        x.view(2, 8).t()[0]
    assert counter.count == 0
    with Operations() as counter:
        (x @ x + 1).relu_()
    assert counter.count == 3


def test_growth_finds_the_exponents_of_a_known_cost(monkeypatch):
    monkeypatch.setitem(growth.RANGES, "threads", (1, 2, 4))

    def cost(workload, rounds):
        size = workload.batch**0.5 * workload.channels**2 * workload.cells / workload.threads**0.25
        return [size, 3 * size, size**2]

    found = growth.grow(cost=cost)
    slopes = {name: list(grown["slopes"].values()) for name, grown in found.items()}
    expected = {"batch": 0.5, "channels": 2, "cells": 1, "threads": -0.25}
    assert slopes.keys() == expected.keys()
    for name, value in expected.items():
        assert slopes[name] == pytest.approx([value, value, 2 * value])
    chart = curves.growth(found)
    assert "batch (16, 64, 256)" in chart.words and "'weights': 0.5" in chart.words


def test_a_growth_is_measured_step_by_step(one_process, monkeypatch):
    monkeypatch.setattr(growth, "RANGES", {"batch": (2, 4), "threads": (1,)})
    start = bench.Workload(2, 4, 3, side=8)
    found = json.loads(json.dumps(growth.grow(1, start)))
    assert found.keys() == {"batch"}
    assert found["batch"]["seconds"].keys() == found["batch"]["slopes"].keys() == set(bench.STEPS)
    assert all(min(seconds) > 0 for seconds in found["batch"]["seconds"].values())
