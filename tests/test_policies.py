"""What notebooks 01 and 02 draw of policies says the numbers it was given; what they count, probe and time is so."""

import json
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from course import costs, policies, probes
from nascore import spaces
from nascore.genotypes import ChainGenotype, ChainLayer
from nascore.methods.nas_rl import NASRLBudget
from nascore.methods.nasnet import NASNetBudget
from nascore.nets.convolutional import Network
from nascore.nets.measure import describe
from nascore.published import GENOTYPES

RUNS = np.arange(12.0).reshape(4, 3)  # four seeds, asked at three numbers of queries
CURVES = {"ours": RUNS, "theirs": RUNS + 1}
LOGS = np.log([[[1.0, 1.0], [1.0, 1.0]], [[0.5, 2.0], [1.0, 3.0]]])  # a pass, two children of two decisions
SEARCHES = {"ours": {"rewards": RUNS, "test": [1, 2, 3, 4]}, "random": {"rewards": RUNS / 2, "test": [0, 2, 4, 6]}}
FIGURES = {
    "baseline": lambda: policies.baseline(RUNS.ravel() - 3, 2.5, [0.0, 1.0, 2.0], [4.0, 1.0, 4.0], 0.5),
    "ratios": lambda: policies.ratios({"clipped": LOGS, "free": 2 * LOGS}, 0.2),
    "at_queries": lambda: policies.at_queries(CURVES, (1, 10, 100), (10, 100), "accuracy", {"ours": ((5, 1), (6, 1))}),
    "many_runs": lambda: policies.many_runs({"entropy": CURVES, "share": {"one": RUNS[:1]}}, (1, 2, 3), "queries"),
    "searches": lambda: policies.searches(SEARCHES, ("first", "middle", "last"), "accuracy (%)"),
    "bars": lambda: policies.bars({"a": (1, 1000), "b": (2, 3)}, ("errors", "weights"), (".1f", ",")),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_says_what_it_shows_and_comes_out_the_same_each_time(name):
    chart = FIGURES[name]()
    svg = chart.svg
    assert ElementTree.fromstring(svg).get("aria-label") == chart.words
    assert svg == FIGURES[name]().svg and len(svg) < 60_000
    assert len(chart.words) > 40


def test_the_margin_is_that_of_a_mean_and_a_difference_adds_variances():
    values = np.array([1.0, 2.0, 3.0, 4.0])
    assert np.isclose(policies.margin(values), 1.96 * np.sqrt(5 / 3) / 2)
    gap, error = policies.difference(values, values + 1)
    assert gap == -1 and np.isclose(error, np.sqrt(2 * (5 / 3) / 4))


def test_the_interval_drawn_at_a_number_of_queries_is_that_of_its_column():
    chart = FIGURES["at_queries"]()
    assert "after 10 queries ours 5.50 ± 3.87, theirs 6.50 ± 3.87" in chart.words
    intervals, means, theirs, _ = chart.axes[0].collections
    half = policies.margin(RUNS[:, 1])
    assert np.allclose(intervals.get_segments(), [[[m - half, k], [m + half, k]] for k, m in enumerate((5.5, 6.5))])
    assert np.allclose(means.get_offsets(), [[5.5, 0], [6.5, 1]])
    assert np.allclose(theirs.get_segments(), [[[5 - 1.96 / 500**0.5, 0.3], [5 + 1.96 / 500**0.5, 0.3]]])
    assert chart.axes[0].get_xlim() == chart.axes[1].get_xlim()  # to compare


def test_the_baseline_says_how_many_estimates_point_the_wrong_way():
    words = FIGURES["baseline"]().words
    assert "25% point the wrong way" in words  # -3, -2, -1 of twelve
    assert "the trace is 2.5" in words and "lowest, 1, at 1" in words


def test_ratios_are_of_each_decision_and_their_product_of_each_architecture():
    words = FIGURES["ratios"]().words
    assert "each decision, clipped: 0.5 to 3;" in words and "each architecture, clipped: 1 to 3;" in words
    assert "each architecture, free: 1 to 9" in words


def test_single_runs_are_one_line_with_gaps():
    (line, *_) = FIGURES["many_runs"]().axes[0].lines
    runs = line.get_ydata().reshape(4, 4)
    assert np.array_equal(runs[:, :3], RUNS) and np.isnan(runs[:, 3]).all()


def test_means_of_searches_are_over_the_searches():
    words = FIGURES["many_runs"]().words
    assert (
        "entropy: ours from 4.50 to 6.50, theirs from 5.50 to 7.50" in words and "share: one from 0.00 to 2.00" in words
    )
    assert (
        "ours: first 4.50, middle 5.50, last 6.50, best reward 6.50 ± 3.87, test 2.50 ± 1.29"
        in FIGURES["searches"]().words
    )


def test_bars_say_each_row_in_its_format():
    assert FIGURES["bars"]().words == "a: 1.0 errors, 1,000 weights; b: 2.0 errors, 3 weights."


def test_the_bits_of_a_layer_are_one_panel():
    space = spaces.get("nas-rl", layers=3)
    architecture = [1, 0, 3, 1, 2, 2, 0, 1, 2, 3, 0, 1]
    chances = [[1 / n] * n for n in space.choices]
    steps = policies.decisions(space, architecture, chances)
    titles = "height width filters".split()
    wanted = [*(f"layer 1: {t}" for t in titles), *(f"layer 2: {t}" for t in titles), "layer 2 reads"]
    assert [title for title, *_ in steps] == [*wanted, *(f"layer 3: {t}" for t in titles), "layer 3 reads"]
    assert steps[-1] == ("layer 3 reads", ["layer 1", "layer 2"], [0.5, 0.5], [1])
    assert steps[0] == ("layer 1: height", ("1", "3", "5", "7"), [0.25] * 4, 1)
    kinds = {token.kind for token in space.tokens} - {"skip"}
    assert policies.OPTIONS.keys() == kinds
    counts = {space.token_at(k).kind: n for k, n in enumerate(space.choices)}
    assert all(len(options) == counts[kind] for kind, options in policies.OPTIONS.items())


def layer(stride=1, inputs=()):
    return ChainLayer(filter=(3, 3), stride=(stride, stride), filters=24, inputs=inputs)


@pytest.mark.parametrize(
    "layers, wanted",
    [
        ((layer(), layer(inputs=(1,))), (False, False, False)),
        ((layer(), layer(inputs=(1,)), layer(inputs=(2,))), (False, False, False)),
        ((layer(), layer()), (True, True, False)),  # both go to the classifier, of one size
        ((layer(), layer(2)), (True, True, True)),  # and of two
        ((layer(), layer(2, (1,)), layer(inputs=(1, 2))), (False, False, True)),
        ((layer(2), layer(inputs=(1,)), layer(inputs=(1, 2))), (False, False, False)),
    ],
)
def test_repairs_are_those_that_a_network_needs(layers, wanted):
    assert policies.repairs(ChainGenotype(layers)) == wanted


def test_a_correlation_within_searches_does_not_see_their_means():
    assert np.isclose(policies.within([[0, 1], [10, 11]], [[5, 4], [1, 0]]), -1)
    assert np.isclose(policies.within([[0, 1, 2]], [[0, 2, 4]]), 1)


def test_a_stored_search_is_its_genotype_and_its_rows():
    folder = costs.__file__.replace("course/costs.py", "runs/nas-rl-cifar10")
    genotype, history = policies.stored_search(policies.Path(folder))
    assert len(history) == 24 and max(row["reward"] for row in history) == history[-1]["best"]
    assert len(genotype.layers) == 6


# --- the entropy of policies, as the runs have it -------------------------------------------------------------------


def test_the_runs_of_policies_that_close_are_whole():
    found = json.loads((policies.Path(costs.__file__).parents[1] / "runs" / "policy_entropy.json").read_text())
    assert {name: len(runs) for name, runs in found.items()} == dict.fromkeys(found, 20) and len(found) == 4
    for name, runs in found.items():
        for run in runs:
            assert len({len(run[key]) for key in ("entropy", "reward", "conv 3x3", "skip", "different")}) == 1
            assert 0 <= min(run["entropy"]) and max(run["entropy"]) <= 6 * np.log(5) + 0.01
            assert run["different"] == sorted(run["different"])
            assert len(run["entropy"]) == (15 if "16" in name else 50)


# --- probes and costs -----------------------------------------------------------------------------------------------


def test_a_reduction_cell_strides_where_it_reads_its_inputs():
    network = Network(GENOTYPES["nasnet-a"], channels=8, cells=3, skeleton="nasnet").eval()
    seen = probes.reads(network, 1, torch.zeros(1, 3, 16, 16))
    cell = GENOTYPES["nasnet-a"].reduce
    assert [(read.operation, read.state) for read in seen] == [
        (op, j) for node in cell.nodes for op, j in zip(node.ops, node.inputs)
    ]
    assert all((read.before, read.after) == ((16, 8) if read.state < 2 else (8, 8)) for read in seen)
    assert not any(module._forward_hooks for module in network.modules())


def test_the_probability_of_dropping_grows_with_depth():
    network = Network(GENOTYPES["nasnet-a"], channels=4, cells=4, skeleton="nasnet").train()
    network.drop_path = 0.4
    assert np.allclose(probes.drop_probabilities(network, torch.zeros(2, 3, 8, 8)), [0.1, 0.2, 0.3, 0.4])
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_the_second_run_is_timed(monkeypatch):
    clock = iter([10.0, 13.0])
    monkeypatch.setattr(costs, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    calls = []
    assert costs.seconds_of(lambda: calls.append(1)) == 3.0 and len(calls) == 2


def test_years_are_seconds_an_image_times_all_images():
    budget = NASNetBudget.preset("full")
    assert np.isclose(costs.nasnet_years(budget, one=1.0), 45_000 * 20 * 20_000 / (365 * 86_400))
    paper = GENOTYPES["nas-rl-15"]
    flat = NASRLBudget.preset("full", trials=1600, first_layers=15)  # a stage of children as deep as the one timed
    child = spaces.get("nas-rl").decode(spaces.get("nas-rl").sample(costs.Random(0)))
    share = describe(child)["multiply_adds"] / describe(paper)["multiply_adds"]
    assert np.isclose(costs.nas_rl_years(flat, paper, one=1.0), share * 45_000 * 50 * 1600 / (365 * 86_400))
    assert costs.nas_rl_years(budget=NASRLBudget.preset("full"), timed=paper, one=1.0) > 0
    assert costs.seconds_per_image(Network(GENOTYPES["nasnet-a"], 4, 3, skeleton="nasnet"), 2, 8) > 0
