"""Figures show the numbers they were given, say them in words, and come out the same each time."""

import base64
import io
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from course import curves, plots

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
TRIALS = [  # a search with a controller: a child that failed, a baseline from the second batch on
    {
        "step": k,
        "reward": 0.0 if k == 7 else k / 100,
        "best": k / 100,
        "genotype": {"layers": [{}] * (2 + k // 30)},
    }
    | {"baseline": k / 200 if k > 5 else 0.0, "entropy": 9.0 - k / 50}
    for k in range(1, 61)
]
DECISIONS = [
    ("filter height", ("1", "3", "5", "7"), (0.1, 0.2, 0.3, 0.4), 3),
    ("inputs of layer 3", ("layer 1", "layer 2"), (0.9, 0.7), [0, 1]),
    ("inputs of layer 4", ("layer 1", "layer 2", "layer 3"), (0.4, 0.5, 0.1), []),
]
RUNS = np.arange(60.0).reshape(3, 20)
RISING = np.repeat(RUNS, 50, axis=1)  # a thousand queries, twenty of which find something better
FIGURES = {
    "search_curves": lambda: plots.search_curves(HISTORY),
    "policy_curves": lambda: plots.policy_curves(TRIALS),
    "decision_probabilities": lambda: plots.decision_probabilities(DECISIONS * 2),
    "ppo_clip": lambda: plots.ppo_clip(0.2),
    "estimates": lambda: plots.estimates({"plain": RUNS[0], "baseline": RUNS[1]}, 12.0, "a component"),
    "strengths": lambda: plots.strengths(HISTORY),
    "heat_map": lambda: plots.heat_map(np.eye(2), ("a", "b"), ("c", "d"), "shares"),
    "operation_worth": lambda: plots.operation_worth([[0, 1], [1, 0], [2, 2]], [1, 2, 3], OPERATIONS, ("e", "f")),
    "histogram": lambda: plots.histogram(range(100), "accuracy (%)", {"ours": 90.0}),
    "anytime": lambda: plots.anytime({"random": RUNS, "evolution": RUNS + 1}, "accuracy (%)", best=70.0),
    "six anytime curves": lambda: plots.anytime({f"method {k}": RISING - k for k in range(6)}, "accuracy"),
    "compare": lambda: plots.compare({"searched": [1, 2, 3], "random": [4.0]}, "accuracy (%)"),
    "scatter": lambda: plots.scatter(range(2000), range(2000), "valid", "test", {"best": 1999}),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_small_accessible_and_the_same_each_time(name):
    before = dict(matplotlib.rcParams)
    chart = FIGURES[name]()
    bundle, about = chart._repr_mimebundle_()
    svg = bundle["image/svg+xml"]
    with Image.open(io.BytesIO(png := base64.b64decode(bundle["image/png"]))) as image:
        assert image.width >= about["image/png"]["width"] and len(png) < 40_000
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
    assert np.allclose(curves._smooth(np.full(100, 3.0)), 3.0)
    assert np.allclose(curves._smooth(np.arange(5.0)), np.arange(5.0))  # a short run is shown as it is


def test_a_search_with_a_controller_is_told_by_its_best_baseline_entropy_and_depth():
    words = plots.policy_curves(TRIALS).words
    assert words == (
        "A search over 60 architectures, reward: best from 0.01 to 0.6; baseline from 0.03 to 0.3; "
        "entropy from 8.98 to 7.8; layers from 2 to 4."
    )
    rows = [{"step": row["step"], "reward": 0.5, "best": 0.5, "genotype": {"normal": CELL}} for row in TRIALS]
    chart = plots.policy_curves(rows, power=3)  # random search has no policy
    assert len(chart.axes) == 1
    assert chart.words == "A search over 60 architectures, reward to the power 3: best from 0.125 to 0.125."


def test_a_child_that_failed_does_not_flatten_the_others():
    rows = [row | {"reward": 0.0 if row["step"] == 7 else 0.8 + row["step"] / 1000} for row in TRIALS]
    low, high = plots.policy_curves(rows).axes[0].get_ylim()
    assert 0.7 < low < 0.801 and 0.86 < high < 0.95


def test_decisions_say_what_was_chosen_and_how_likely_it_was():
    assert plots.decision_probabilities(DECISIONS).words == (
        "Decisions of the controller, with the probability of what was chosen: 1. filter height: 7 (0.40) of 4; "
        "2. inputs of layer 3: layer 1 (0.90) and layer 2 (0.70) of 2; 3. inputs of layer 4: none of 3."
    )


@pytest.mark.parametrize("epsilon", (0.1, 0.2, 0.3))
def test_the_clipped_objective_is_drawn_as_its_formula_and_marked_where_it_is_flat(epsilon):
    ratio = np.linspace(0, 2, 41)
    for axes, advantage in zip(plots.ppo_clip(epsilon).axes, (1, -1)):
        _, objective, flat, _ = axes.lines
        expected = [min(r * advantage, min(max(r, 1 - epsilon), 1 + epsilon) * advantage) for r in ratio]
        assert np.allclose(np.interp(ratio, *objective.get_data()), expected)
        assert list(flat.get_xdata()) == ([1 + epsilon, 2] if advantage > 0 else [0, 1 - epsilon])
        assert np.ptp(flat.get_ydata()) == 0


def test_estimates_say_mean_and_spread_beside_the_exact_number():
    words = plots.estimates({"plain": [0.0, 2.0, 4.0], "baseline": [1.0, 2.0, 3.0]}, 2.0, "a component").words
    assert words == (
        "Estimates of a component, exactly 2; plain: mean 2, standard deviation 2 of 3; "
        "baseline: mean 2, standard deviation 1 of 3."
    )


def test_an_operation_is_worth_the_mean_over_all_architectures_that_have_it():
    decisions = [[a, b] for a in range(3) for b in range(3)]
    accuracies = [10 * a + b for a, b in decisions]
    words = plots.operation_worth(decisions, accuracies, OPERATIONS, ("first", "second")).words
    assert "first: sep_conv_3x3 21.0" in words and "second: sep_conv_3x3 12.0" in words


def test_an_anytime_curve_is_the_mean_over_seeds_with_its_band():
    words = plots.anytime({"random": RUNS}, "accuracy").words
    error = 1.96 * 20 / 3**0.5  # of the mean of 19, 39 and 59
    said = f"random 39.00 ± {error:.2f} (runs 19.00 to 59.00)"
    assert words == f"accuracy, mean and its 95% interval after 20 queries: {said}."


def luminance(colour):
    """As WCAG 2 has it."""
    channels = np.array(to_rgb(colour))
    linear = np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("page", ["#ffffff", "#111111"])  # JupyterLab's, light and dark
def test_lines_and_the_ends_of_bands_can_be_seen_on_both_pages(page):
    (axes,) = plots.anytime({f"method {k}": RUNS + k for k in range(6)}, "accuracy", best=70.0).axes
    seen = [line.get_color() for line in axes.lines if line.get_alpha() is None]  # without the single runs, faint
    ends = [band.get_edgecolor()[0] for band in axes.collections]
    assert len(seen) == 6 + 1 and len(ends) == 6
    for colour in [*seen, *ends]:
        low, high = sorted([luminance(colour), luminance(page)])
        assert (high + 0.05) / (low + 0.05) >= 3


def test_single_runs_stand_behind_a_band():
    (axes,) = plots.anytime({"random": np.tile(RUNS, (10, 1))}, "accuracy").axes
    faint = [line for line in axes.lines if line.get_alpha()]
    assert len(faint) == plots.FAINT and list(faint[0].get_ydata())[:20] == list(RUNS[0])


def test_anytime_curves_may_be_thinned_and_are_named_from_the_best_down():
    chart = plots.anytime(
        {"a": RUNS, "c": RUNS + 2, "b": RUNS + 1},
        "accuracy",
        queries=range(50, 1050, 50),
        bands="c",
    )
    assert chart.words.startswith("accuracy, mean and its 95% interval after 1,000 queries: a 39.00")
    (axes,) = chart.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [f"{name} (3 seeds)" for name in "cba"]
    assert len(axes.collections) == 1 and list(axes.lines[0].get_xdata()) == list(range(50, 1050, 50))


def test_a_comparison_says_mean_spread_and_number_of_runs():
    words = plots.compare({"searched": [1.0, 2.0, 3.0]}, "accuracy").words
    assert words == "accuracy. searched: mean 2.00, standard deviation 1.00, 3 runs."


def test_a_scatter_says_the_rank_correlation():
    assert "rank correlation -1.000" in plots.scatter([1, 2, 3], [9, 4, 1], "valid", "test").words


def test_style_needs_no_notebook():
    with matplotlib.rc_context():
        plots.style()
        assert matplotlib.rcParams["axes.facecolor"] == "none"


def test_a_printed_chart_is_its_words():
    chart, _ = plots.panels()
    chart.words = "A curve that rises."
    assert str(chart) == repr(chart) == f"{chart}" == "A curve that rises."
