"""The curves of a search from its history: each function takes its rows and returns a `Chart`."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from matplotlib.axes import Axes

from nascore.show.chart import GREY, MARKERS, Chart, History, panels, styled

CELLS = {"normal": "normal", "reduce": "reduction"}


def _steps(history: History, name: str) -> np.ndarray:
    """(2, N): the steps at which there is a value of that name, and these."""
    found = [(row["step"], row[name]) for row in history if row.get(name) is not None]
    return np.array(found, dtype=float).reshape(-1, 2).T


def _smooth(values: np.ndarray) -> np.ndarray:
    """The running mean over a twentieth of the run: single minibatches are noisy."""
    count = len(values)
    window = 1 + count // 20
    return np.convolve(values, np.ones(window))[:count] / np.minimum(np.arange(count) + 1, window)


def skip_connections(genotype: Mapping) -> dict[str, int]:
    """How many operations of each cell of a history row's genotype are skip connections."""
    counts = {}
    for name in CELLS:
        if cell := genotype.get(name):
            counts[name] = sum(node["ops"].count("skip_connect") for node in cell["nodes"])
    return counts


def _curves(
    axes: Axes,
    title: str,
    history: History,
    names: Mapping[str, str],
    smooth: bool = True,
    xlabel: str = "step",
    drawstyle: Literal["default", "steps-post"] = "default",
) -> list[str]:
    """One panel of a search: those columns of its history that exist, named for the legend.
    Returns their words."""
    words = []
    for name, label in names.items():
        steps, values = _steps(history, name)
        if len(values):
            if smooth:
                values = _smooth(values)
            axes.plot(steps, values, label=label, drawstyle=drawstyle)
            words.append(f"{name.replace('_', ' ')} from {values[0]:.3g} to {values[-1]:.3g}")
    axes.set(title=title, xlabel=xlabel)
    axes.locator_params(nbins=4)  # few labels, a small picture
    if len(axes.lines) > 1:
        axes.legend(fontsize=8)
    return words


@styled
def search_curves(history: History) -> Chart:
    """A one-shot search from its history: loss, accuracy of the supernet, entropy of alpha, skip
    connections."""
    chart, (loss, accuracy, entropy, skips) = panels(4, 2.6)
    words = _curves(loss, "loss", history, {"loss": "training", "valid_loss": "validation"})
    words += _curves(accuracy, "accuracy", history, {"reward": "validation"})
    names = {"entropy_normal": "normal cell", "entropy_reduce": "reduction cell"}
    words += _curves(entropy, "entropy of $\\alpha$ (nats)", history, names)
    names = {f"skip connections in the {cell} cell": f"{cell} cell" for cell in CELLS.values()}
    rows = []
    for row in history:
        counts = skip_connections(row["genotype"]).values()
        rows.append({"step": row["step"], **dict(zip(names, counts))})
    words += _curves(skips, "skip connections", rows, names, smooth=False, drawstyle="steps-post")
    skips.set_ylim(bottom=-0.2)
    skips.locator_params("y", integer=True)
    chart.words = f"Search curves over {len(history)} steps: {'; '.join(words)}."
    return chart


def _as_shown(row: Mapping, power: float) -> dict:
    """What a controller is shown of a row, and how deep its child is."""
    shown = {**row, "baseline": row.get("baseline") or None}  # 0 until there is one
    for name in ("reward", "best"):
        shown[name] **= power
    if layers := row["genotype"].get("layers"):
        shown["layers"] = len(layers)
    return shown


@styled
def policy_curves(history: History, power: float = 1.0) -> Chart:
    """A multi-trial search from its history, a row a child: each reward a dot, the best so far
    and the baseline lines, all as the controller is shown them, to the `power`; beside it the
    entropy of the policy and the depth of the children, where they have them. The worst
    twentieth of the rewards may lie below the picture."""
    rows = [_as_shown(row, power) for row in history]
    beside = {"entropy": "entropy of the policy (nats)", "layers": "layers of a child"}
    beside = {name: title for name, title in beside.items() if name in rows[-1]}
    chart, (rewards, *others) = panels(1 + len(beside), 3.0, width_ratios=[2] + [1] * len(beside))
    steps, values = _steps(rows, "reward")
    count = len(values)
    rewards.plot(
        steps,
        values,
        ".",
        label="a child",
        markersize=3,
        alpha=0.35,
        color=GREY,
        rasterized=count > 100,
    )
    title = "reward"
    if power != 1:
        title += f" to the power {power:g}"
    lines = {"best": "best so far", "baseline": "baseline"}
    xlabel = "architectures evaluated"
    words = _curves(rewards, title, rows, lines, smooth=False, xlabel=xlabel)
    low, high = np.percentile(values, [5, 100])
    margin = 0.1 * (high - low) + 1e-6
    rewards.set_ylim(low - margin, high + margin)
    for axes, (name, label) in zip(others, beside.items()):
        words += _curves(axes, label, rows, {name: label}, smooth=False, xlabel=xlabel)
    chart.words = f"A search over {count:,} architectures, {title}: {'; '.join(words)}."
    return chart


@styled
def growth(found: Mapping[str, Mapping]) -> Chart:
    """Seconds of a step over what grows, both logarithmic, of `runs/growth.py`: a panel for what grows, a line for a
    step."""
    chart, every = panels(len(found), sharey=True)
    words = []
    for axes, (name, grown) in zip(every, found.items()):
        for (step, values), marker in zip(grown["seconds"].items(), MARKERS):
            axes.loglog(grown["sizes"], values, marker=marker, label=step)
        axes.set(xlabel=name, ylabel="seconds of a step")
        axes.set_xticks(grown["sizes"], grown["sizes"])
        axes.minorticks_off()
        axes.label_outer()
        words.append(f"{name} {tuple(grown['sizes'])}: {grown['slopes']}")
    lines, names = every[0].get_legend_handles_labels()
    chart.legend(lines, names, loc="outside upper left", ncols=len(names), fontsize=9)
    chart.words = f"Slopes of log seconds over log size, by least squares; {'; '.join(words)}."
    return chart
