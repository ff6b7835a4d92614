"""Figures show the numbers they were given, say them in words, and come out the same each time."""

import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest

from nascore.show import plots

OPERATIONS = ("none", "skip_connect", "sep_conv_3x3")
CELL = {"nodes": [{"inputs": [0, 1], "ops": ["skip_connect", "sep_conv_3x3"]}], "concat": [2]}
HISTORY = [
    {
        "step": step,
        "reward": step / 10,
        "genotype": {"kind": "cell", "normal": CELL, "reduce": CELL},
        "loss": 2.0 / step,
        "valid_loss": 2.2 / step,
        "entropy_normal": 1.0 - step / 100,
        "entropy_reduce": 1.0 - step / 50,
        "strengths": {cell: dict(zip(OPERATIONS, (0.2, 0.3, 0.5))) for cell in ("normal", "reduce")},
    }
    for step in range(1, 11)
]
RUNS = np.arange(60.0).reshape(3, 20)
FIGURES = {
    "search_curves": lambda: plots.search_curves(HISTORY),
    "strengths": lambda: plots.strengths(HISTORY),
    "heat_map": lambda: plots.heat_map(np.eye(2), ("a", "b"), ("c", "d"), "shares"),
    "operation_worth": lambda: plots.operation_worth([[0, 1], [1, 0], [2, 2]], [1, 2, 3], OPERATIONS, ("e", "f")),
    "histogram": lambda: plots.histogram(range(100), "accuracy (%)", {"ours": 90.0}),
    "anytime": lambda: plots.anytime({"random": RUNS, "evolution": RUNS + 1}, "accuracy (%)", best=70.0),
    "compare": lambda: plots.compare({"searched": [1, 2, 3], "random": [4.0]}, "accuracy (%)"),
    "scatter": lambda: plots.scatter(range(2000), range(2000), "valid", "test", {"best": 1999}),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_small_accessible_and_the_same_each_time(name):
    before = dict(matplotlib.rcParams)
    chart = FIGURES[name]()
    bundle = chart._repr_mimebundle_()
    svg = bundle["image/svg+xml"]
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img" and root.get("aria-label") == bundle["text/plain"] == repr(chart) == chart.words
    assert len(svg) < 60_000 and "<dc:date>" not in svg and "fill: #ffffff; stroke" not in svg
    assert svg == FIGURES[name]().svg
    assert dict(matplotlib.rcParams) == before  # the notebook's own settings are left alone


def test_search_curves_tell_loss_entropy_and_skip_connections():
    words = plots.search_curves(HISTORY).words
    assert "loss from 2 to 0.2" in words and "entropy normal from 0.99 to 0.9" in words
    assert "skip connections in the normal cell from 1 to 1" in words
    assert plots.skip_connections(HISTORY[0]["genotype"]) == {"normal": 1, "reduce": 1}


def test_curves_that_a_method_does_not_have_are_left_out():
    chart = plots.search_curves([{"step": 1, "reward": 0.5, "genotype": {"normal": CELL, "reduce": None}}])
    assert "loss" not in chart.words and "reward from 0.5 to 0.5" in chart.words


def test_the_running_mean_of_a_constant_is_the_constant():
    assert np.allclose(plots._smooth(np.full(100, 3.0)), 3.0)
    assert np.allclose(plots._smooth(np.arange(5.0)), np.arange(5.0))  # a short run is shown as it is


def test_an_operation_is_worth_the_mean_over_all_architectures_that_have_it():
    decisions = [[a, b] for a in range(3) for b in range(3)]
    accuracies = [10 * a + b for a, b in decisions]
    words = plots.operation_worth(decisions, accuracies, OPERATIONS, ("first", "second")).words
    assert "first: sep_conv_3x3 21.0" in words and "second: sep_conv_3x3 12.0" in words


def test_an_anytime_curve_is_the_mean_over_seeds_with_its_band():
    words = plots.anytime({"random": RUNS}, "accuracy").words
    assert words == "accuracy, after 20 queries: random 39.00 (middle 90%: 21.00 to 57.00)."


def test_a_comparison_says_mean_spread_and_number_of_runs():
    words = plots.compare({"searched": [1.0, 2.0, 3.0]}, "accuracy").words
    assert words == "accuracy. searched: mean 2.00, standard deviation 1.00, 3 runs."


def test_a_scatter_says_the_rank_correlation():
    assert "rank correlation -1.000" in plots.scatter([1, 2, 3], [9, 4, 1], "valid", "test").words


def test_style_needs_no_notebook():
    with matplotlib.rc_context():
        plots.style()
        assert matplotlib.rcParams["axes.facecolor"] == "none"
