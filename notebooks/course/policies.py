"""What the notebooks on controllers (01 and 02) show of a policy and of what it finds: each function takes plain data
and returns a `Chart`, or counts something about a network."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from nascore import spaces
from nascore.genotypes import ChainGenotype, Genotype, from_json
from nascore.show.chart import COLOURS, GREY, MARKERS, Chart, panels, styled

CONFIDENCE = 1.96  # standard errors on each side of a mean: 95 %
OPTIONS = {"filter height": ("1", "3", "5", "7"), "filter width": ("1", "3", "5", "7")}
OPTIONS["filters"] = ("24", "36", "48", "64")  # of NAS-RL's own space
# 200-epoch test accuracy on CIFAR-10 in the table, by other code: mean and standard deviation after 100, 300 and 1,000
# queries.
REFERENCES: Mapping[str, Sequence[tuple[float, float]]] = {
    "random search": ((93.75, 0.37), (93.97, 0.24), (94.06, 0.23)),
    "regularized evolution": ((94.07, 0.36), (94.23, 0.25), (94.32, 0.17)),
    "local search": ((94.15, 0.30), (94.36, 0.08), (94.37, 0.00)),
    "plain REINFORCE": ((93.86, 0.30), (94.19, 0.22), (94.36, 0.08)),
}
REFERENCE_RUNS = 500  # of each
FAINT = 8  # single runs behind their mean
Decision = tuple[str, Sequence[str], Sequence[float], int | Sequence[int]]
Curves = Mapping[str, Sequence[Sequence[float]]]


def margin(values: ArrayLike) -> float:
    """Half the width of the 95 % interval of the mean of `values`."""
    values = np.asarray(values, dtype=float)
    return CONFIDENCE * values.std(ddof=1) / len(values) ** 0.5


def difference(first: ArrayLike, second: ArrayLike) -> tuple[float, float]:
    """The mean of the first less the mean of the second, and its standard error: the two are independent."""
    means = [np.mean(values) for values in (first, second)]
    squares = [np.var(values, ddof=1) / len(values) for values in (first, second)]
    return means[0] - means[1], sum(squares) ** 0.5


# --- what a controller decides --------------------------------------------------------------------------------------


def decisions(space: spaces.Space, architecture: Sequence[int], probabilities: Sequence[Sequence[float]]) -> list:
    """The decisions of a controller of NAS-RL's space for `plots.decision_probabilities`: a panel each, but the bits of
    a layer in one. `probabilities` are of the options of each decision."""
    steps: list[Decision] = []
    layer = 0
    for position, (chances, chosen) in enumerate(zip(probabilities, architecture)):
        kind = space.token_at(position).kind
        if kind == "filter height":
            layer += 1
        if kind == "skip":
            title = f"layer {layer} reads"
            if steps[-1][0] != title:
                steps.append((title, [], [], []))
            _, names, yes, on = steps[-1]
            if chosen:
                on.append(len(names))
            names.append(f"layer {len(names) + 1}")
            yes.append(float(chances[1]))
        else:
            steps.append((f"layer {layer}: {kind.split()[-1]}", OPTIONS[kind], [float(p) for p in chances], chosen))
    return steps


def repairs(network: ChainGenotype, side: int = 32) -> tuple[bool, bool, bool]:
    """Which of NAS-RL's three repairs a network needs on images of that side: the image (by a layer after the
    first), outputs that nobody reads (besides the last), padding."""
    sides = [(side, side)]
    last = len(network.layers)
    unread = {*range(1, last + 1)} - {j for layer in network.layers for j in layer.inputs}
    padding = False
    for layer in network.layers:
        read = [sides[j] for j in layer.inputs or (0,)]
        padding |= len(set(read)) > 1
        largest = [max(lengths) for lengths in zip(*read)]
        sides.append(tuple(-(-length // stride) for length, stride in zip(largest, layer.stride)))
    padding |= len({sides[j] for j in unread}) > 1
    return not all(layer.inputs for layer in network.layers[1:]), unread != {last}, padding


# --- how good an estimate of the gradient is ------------------------------------------------------------------------


@styled
def baseline(estimates: ArrayLike, exact: float, grid: Sequence[float], traces: Sequence[float], b: float) -> Chart:
    """Estimates of the gradient along its own direction with the baseline b, and the trace of the estimate's covariance
    for every baseline of a grid."""
    chart, (left, right) = panels(2, 3.0)
    values = np.asarray(estimates, dtype=float)
    wrong = f"{(values < 0).mean():.0%}"
    shares = np.full(len(values), 1 / len(values))
    left.hist(values, 60, weights=shares, histtype="stepfilled", color=COLOURS[0])
    left.locator_params(nbins=4)
    right.locator_params("x", nbins=4)
    left.axvline(0, color=GREY, linewidth=1.2)
    left.axvline(exact, color=COLOURS[1], linestyle="--", label=f"exact: {exact:.4f}")
    left.set(xlabel="gradient along its own direction", ylabel="share of the estimates")
    left.set_title(f"b = {b:g}: {wrong} of the estimates point the wrong way")
    left.legend(fontsize=8)
    trace = float(np.interp(b, grid, traces))
    right.plot(grid, traces, color=COLOURS[0])
    right.plot(b, trace, "o", color=COLOURS[1], markersize=9, label=f"b = {b:g}: {trace:.2g}")
    right.set(yscale="log", xlabel="b", ylabel="trace of the covariance")
    right.yaxis.set_major_formatter("{x:g}")
    right.legend(fontsize=8)
    best = grid[int(np.argmin(traces))]
    chart.words = (
        f"With the baseline {b:g}, {len(values):,} estimates have the standard deviation {values.std(ddof=1):.2g} "
        f"around {exact:.4f}, {wrong} point the wrong way, and the trace is {trace:.2g}; it is lowest, "
        f"{min(traces):.2g}, at {best:.3g}."
    )
    return chart


@styled
def ratios(runs: Mapping[str, ArrayLike], epsilon: float) -> Chart:
    """How far ratios move over passes: `runs[name]` are the logarithms (passes + 1, children, decisions). For each
    decision and each architecture, the least, the largest and the band that holds half of them."""
    chart, both = panels(2, 3.2, sharey=True)
    words = []
    for axes, title, total in zip(both, ("each decision", "each architecture"), (False, True)):
        for k, (name, logs) in enumerate(runs.items()):
            logs = np.asarray(logs, dtype=float)
            logs = logs.sum(2) if total else logs.reshape(len(logs), -1)
            low, first, third, high = np.exp(np.percentile(logs, (0, 25, 75, 100), axis=1))
            passes = np.arange(len(logs))
            axes.plot(passes, high, color=COLOURS[k], linestyle="--"[k:] or "-", label=f"{name}: least and largest")
            axes.plot(passes, low, color=COLOURS[k], linestyle="-")
            axes.fill_between(passes, first, third, color=COLOURS[k], alpha=0.6, linewidth=0)
            words.append(f"{title}, {name}: {low[-1]:.2g} to {high[-1]:.2g}")
        for edge in (1 - epsilon, 1 + epsilon):
            axes.axhline(edge, color=GREY, linestyle=":", linewidth=1.5)
        axes.set(title=f"{title} (dotted: 1 ± {epsilon:g})", xlabel="passes over the batch", yscale="log")
        axes.locator_params("x", nbins=5)
        axes.set_ylim(1e-3, 1e3)
        axes.set_yticks((0.001, 0.03, 1, 30, 1000), ("0.001", "0.03", "1", "30", "1000"))
        axes.legend(fontsize=8, loc="lower left")
        axes.minorticks_off()
    both[0].set_ylabel("ratio (filled: half of them)")
    chart.words = f"Ratios after {len(passes) - 1} passes, epsilon = {epsilon:g}: {'; '.join(words)}."
    return chart


# --- what searches find ---------------------------------------------------------------------------------------------


def _faint(axes: Axes, x: ArrayLike, runs: np.ndarray, **look: Any) -> None:
    """Single runs (runs, steps), behind their mean: one thin line, broken between them, keeps the picture small."""
    gaps = np.pad(runs, ((0, 0), (0, 1)), constant_values=np.nan)
    places = np.tile(np.append(x, np.nan), len(runs))
    axes.plot(places, gaps.ravel(), linewidth=0.6, **look)


def _intervals(axes: Axes, rows: Iterable[float], means: Any, halves: Any, colour: str) -> None:
    """Means with the intervals around them, a row each."""
    means = np.asarray(means)
    halves = np.asarray(halves)
    axes.hlines(list(rows), means - halves, means + halves, color=colour, linewidth=2)
    axes.scatter(means, list(rows), s=36 if colour != GREY else 10, color=colour)


@styled
def at_queries(
    curves: Curves,
    queries: Sequence[int],
    points: Sequence[int],
    label: str,
    references: Mapping[str, Sequence[tuple[float, float]]] | None = None,
) -> Chart:
    """What methods have found after some numbers of queries: the mean over seeds with its 95 % interval.
    `references[name]` are the mean and standard deviation of somebody else's `REFERENCE_RUNS`, one pair a point: grey,
    below ours."""
    chart, every = panels(len(points), 0.9 + 0.36 * len(curves), sharey=True)
    names = list(curves)
    words = []
    for axes, point in zip(every, points):
        at = list(queries).index(point)
        ends = [np.array([run[at] for run in curves[name]]) for name in names]
        _intervals(axes, range(len(names)), [v.mean() for v in ends], [margin(v) for v in ends], COLOURS[0])
        said = [f"{name} {v.mean():.2f} ± {v.std(ddof=1):.2f}" for name, v in zip(names, ends)]
        if references:
            theirs = np.array([pairs[list(points).index(point)] for pairs in references.values()])
            below = [names.index(name) + 0.3 for name in references]
            _intervals(axes, below, theirs[:, 0], CONFIDENCE * theirs[:, 1] / REFERENCE_RUNS**0.5, GREY)
        axes.set_title(f"after {point:,} queries")
        axes.locator_params("x", nbins=3)
        axes.grid(axis="y", visible=False)
        words.append(f"after {point:,} queries {', '.join(said)}")
    low, high = (f(axes.get_xlim()[side] for axes in every) for side, f in enumerate((min, max)))
    for axes in every:
        axes.set_xlim(low, high)
    every[0].set_yticks(range(len(names)), [f"{name} ({len(curves[name])})" for name in names])
    every[0].invert_yaxis()
    every[len(every) // 2].set_xlabel(label)
    chart.words = f"{label}, mean ± standard deviation over seeds: {'; '.join(words)}."
    return chart


@styled
def many_runs(parts: Mapping[str, Mapping[str, ArrayLike]], steps: Sequence[float], xlabel: str) -> Chart:
    """Several searches of each kind, `parts[title][name]` of shape (searches, steps): single ones faint, their mean in
    full colour. A panel for each title."""
    chart, every = panels(len(parts), 3.0)
    words = []
    for axes, (title, kinds) in zip(every, parts.items()):
        said = []
        for k, (name, runs) in enumerate(kinds.items()):
            runs = np.asarray(runs, dtype=float)[:, : len(steps)]
            at = steps[: runs.shape[1]]
            _faint(axes, at, runs[:FAINT], color=COLOURS[k], linestyle="-", alpha=0.5)
            several = f": mean of {len(runs)}" if len(runs) > 1 else ""
            axes.plot(at, runs.mean(0), color=COLOURS[k], linewidth=2.4, label=name + several)
            said.append(f"{name} from {runs[:, 0].mean():.2f} to {runs[:, -1].mean():.2f}")
        axes.set(title=title, xlabel=xlabel)
        axes.locator_params(nbins=4)
        axes.legend(fontsize=8)
        words.append(f"{title}: {', '.join(said)}")
    chart.words = f"Means of several searches: {'; '.join(words)}."
    return chart


@styled
def searches(found: Mapping[str, Mapping[str, ArrayLike]], parts: Sequence[str], label: str) -> Chart:
    """Searches by their names, each with the `rewards` (searches, children) and the `test` accuracies of their best
    children, in percent. On the left the mean reward of each part of the children, on the right the best reward and its
    test: single searches faint, means with their 95 % intervals."""
    chart, (left, right) = panels(2, 3.2, width_ratios=(3, 2))
    words = []
    for k, (name, search) in enumerate(found.items()):
        rewards = np.asarray(search["rewards"], dtype=float)
        means = np.array([part.mean(1) for part in np.array_split(rewards, len(parts), axis=1)]).T
        ends = np.stack([rewards.max(1), np.asarray(search["test"], dtype=float)], 1)
        shape = {"color": COLOURS[k], "marker": MARKERS[k], "label": f"{name} ({len(rewards)})"}
        for axes, values, line in ((left, means, "-"), (right, ends, "")):
            places = np.arange(values.shape[1]) + 0.12 * k
            axes.locator_params("y", nbins=5)
            _faint(axes, places, values, color=COLOURS[k], linestyle=line, marker="" if line else ".", alpha=0.5)
            bars = [margin(column) for column in values.T]
            axes.errorbar(places + 0.05, values.mean(0), yerr=bars, linestyle=line, **shape)
        said = [f"{part} {values.mean():.2f}" for part, values in zip(parts, means.T)]
        told = [f"{what} {v.mean():.2f} ± {v.std(ddof=1):.2f}" for what, v in zip(("best reward", "test"), ends.T)]
        words.append(f"{name}: {', '.join([*said, *told])}")
    left.set_xticks(range(len(parts)), parts)
    left.set(ylabel="accuracy (%)", title="mean reward of the children")
    left.legend(fontsize=8)
    right.set_xticks((0.05, 1.05), ("best reward", "its child, tested"))
    right.set_title("what a search returns")
    chart.words = f"{label}, mean ± standard deviation over searches: {'; '.join(words)}."
    return chart


@styled
def bars(rows: Mapping[str, Sequence[float]], columns: Sequence[str], formats: Sequence[str] | None = None) -> Chart:
    """A table as bars: a panel for each column, to its own scale, a bar with its number for each row."""
    chart, every = panels(len(columns), 0.8 + 0.3 * len(rows), sharey=True)
    told: dict[str, list[str]] = {name: [] for name in rows}
    for k, (axes, column) in enumerate(zip(every, columns)):
        values = [row[k] for row in rows.values()]
        drawn = axes.barh(range(len(rows)), values, color=COLOURS[k % 5], alpha=0.85)
        texts = [format(value, formats[k] if formats else ",") for value in values]
        axes.bar_label(drawn, texts, padding=3, fontsize=9, color=GREY)
        axes.set(title=column, xlim=(0, 1.35 * max(values)))
        axes.grid(False)
        axes.xaxis.set_visible(False)
        for name, text in zip(rows, texts):
            told[name].append(f"{text} {column}")
    every[0].set_yticks(range(len(rows)), list(rows))
    every[0].invert_yaxis()
    chart.words = "; ".join(f"{name}: {', '.join(texts)}" for name, texts in told.items()) + "."
    return chart


def within(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> float:
    """How two columns of several searches go together inside a search: their correlation, each search less its mean."""
    a, b = (np.asarray(values, dtype=float) for values in (first, second))
    a = a - a.mean(1, keepdims=True)
    b = b - b.mean(1, keepdims=True)
    return float((a * b).sum() / ((a * a).sum() * (b * b).sum()) ** 0.5)


def stored_search(folder: Path) -> tuple[Genotype, list[dict]]:
    """What a search has left in its directory: the genotype that it found, and its history."""
    rows = (folder / "history.jsonl").read_text().splitlines()
    return from_json((folder / "genotype.json").read_text()), [json.loads(row) for row in rows]
