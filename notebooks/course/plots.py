"""The notebooks' figures: each function takes plain data and returns a `Chart`."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import ArrayLike
from scipy.stats import spearmanr

from course.curves import CELLS, policy_curves, search_curves, skip_connections  # noqa: F401
from nascore.show.chart import COLOURS, DASHES, GREY, MARKERS, SHADES, Chart, panels, style, styled  # noqa: F401
from nascore.show.drawing import look

NO_MARKS: Mapping[str, int] = MappingProxyType({})
FAINT = 8  # single runs behind a band


@styled
def decision_probabilities(
    steps: Sequence[tuple[str, Sequence[str], Sequence[float], int | Sequence[int]]],
) -> Chart:
    """Decisions of a controller in the order in which it makes them, each (title, options, their
    probabilities, the index of the one chosen): a panel of bars each, to its own scale. A set of
    options has several indices, or none."""
    columns = min(5, len(steps))
    most = [max(len(options) for _, options, *_ in steps[k : k + columns]) for k in range(0, len(steps), columns)]
    heights = [0.4 + 0.2 * options for options in most]  # inches
    chart = Chart(figsize=(1.8 * columns, sum(heights)), layout="constrained")
    every = chart.subplots(len(most), columns, squeeze=False, height_ratios=heights)
    words = []
    for k, (axes, (title, options, probabilities, chosen)) in enumerate(zip(every.flat, steps)):
        tint = look("separable")[1]
        bars = axes.barh(range(len(options)), probabilities, color=tint, edgecolor=COLOURS[0])
        labels = axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
        chosen = np.atleast_1d(np.asarray(chosen, dtype=int))
        for i in chosen:
            bars[i].set(facecolor=COLOURS[1], edgecolor=COLOURS[1])
            labels[i].set(fontweight="bold", color=COLOURS[1])
        axes.set_yticks(range(len(options)), options, fontsize=8)
        axes.set(xlim=(0, 1.4 * max(probabilities)), ylim=(most[k // columns] - 0.5, -0.5))
        axes.set_title(f"{k + 1}. {title}", fontsize=9)
        names = " and ".join(f"{options[i]} ({probabilities[i]:.2f})" for i in chosen)
        words.append(f"{k + 1}. {title}: {names or 'none'} of {len(options)}")
    for k, axes in enumerate(every.flat):
        axes.grid(False)
        axes.xaxis.set_visible(False)
        axes.spines[:].set_visible(False)
        axes.set_visible(k < len(steps))
    chart.words = f"Decisions of the controller, with the probability of what was chosen: {'; '.join(words)}."
    return chart


@styled
def ppo_clip(epsilon: float = 0.2) -> Chart:
    """PPO's clipped objective of one decision, min(r A, clip(r, 1 - epsilon, 1 + epsilon) A),
    against the ratio r of its new and old probability: one panel for a good architecture (A >
    0), one for a bad."""
    chart, both = panels(2, 2.8)
    ratio = np.array([0, 1 - epsilon, 1, 1 + epsilon, 2])
    for axes, sign, flat in zip(both, (1, -1), (slice(3, None), slice(0, 2))):
        value = np.minimum(ratio * sign, ratio.clip(1 - epsilon, 1 + epsilon) * sign)
        axes.plot(ratio, ratio * sign, color=GREY, linestyle=":", linewidth=1.2, label="r A, not clipped")
        axes.plot(ratio, value, color=COLOURS[0], linestyle="-", label="the smaller of the two")
        axes.plot(
            ratio[flat],
            value[flat],
            color=COLOURS[1],
            linestyle="--",
            linewidth=4,
            label="flat: no gradient",
        )
        axes.plot(1, sign, "o", color=GREY)
        axes.set_xticks(ratio, ["0", "$1-\\epsilon$", "1", "$1+\\epsilon$", "2"])
        axes.set(
            title=f"A {'>' if sign > 0 else '<'} 0",
            xlabel="r, new probability / old",
            ylabel="objective / |A|",
        )
        axes.legend(fontsize=8, loc="upper left" if sign > 0 else "lower left")
    chart.words = (
        f"The clipped objective against the ratio r, epsilon = {epsilon:g}: with A > 0 it rises with r up to "
        f"{1 + epsilon:g} and is flat above; with A < 0 it is flat below {1 - epsilon:g} and falls from there on."
    )
    return chart


@styled
def estimates(samples: Mapping[str, Sequence[float]], exact: float, label: str) -> Chart:
    """How estimates of one number are distributed, for each estimator by its name, around the
    exact number."""
    chart, (axes,) = panels(1, 2.8)
    samples = {name: np.asarray(values, dtype=float) for name, values in samples.items()}
    bins = np.histogram_bin_edges(np.concatenate(list(samples.values())), 60)
    words = []
    for (name, values), colour in zip(samples.items(), COLOURS):
        spread = f"{name}: mean {values.mean():.3g}, standard deviation {values.std(ddof=1):.2g}"
        axes.hist(
            values,
            bins,
            weights=np.full(len(values), 1 / len(values)),
            histtype="stepfilled",
            edgecolor=colour,
            facecolor=f"{colour}70",
            label=spread,
        )
        words.append(f"{spread} of {len(values):,}")
    axes.axvline(exact, color=GREY, linestyle="--", linewidth=1.2, label=f"exact: {exact:.3g}")
    axes.set(xlabel=label, ylabel="share of the estimates")
    axes.legend(fontsize=8)
    chart.words = f"Estimates of {label}, exactly {exact:.3g}; {'; '.join(words)}."
    return chart


@styled
def strengths(history: Sequence[Mapping]) -> Chart:
    """The mean over edges of softmax(alpha), operation by operation, as a search goes on: one
    area a cell."""
    cells = list(history[-1]["strengths"])
    chart, every = panels(len(cells), 3.4, sharey=True)
    words = []
    for axes, cell in zip(every, cells):
        names = list(history[-1]["strengths"][cell])
        values = np.array([[row["strengths"][cell][name] for row in history] for name in names])
        steps = [row["step"] for row in history]
        areas = axes.stackplot(steps, values, colors=[look(name)[1] for name in names])
        for name, area, top, share in zip(names, areas, values[:, -1].cumsum(), values[:, -1]):
            area.set(edgecolor=look(name)[0], linewidth=1)
            place = (steps[-1], top - share / 2)
            axes.annotate(name, place, (4, 0), textcoords="offset points", va="center", fontsize=8)
        axes.set(title=f"{CELLS[cell]} cell", xlabel="step", ylim=(0, 1))
        axes.margins(x=0)
        order = np.argsort(-values[:, -1])
        words.append(f"{CELLS[cell]} cell: " + ", ".join(f"{names[k]} {values[k, -1]:.3f}" for k in order))
    every[0].set_ylabel("mean softmax($\\alpha$)")
    chart.words = f"Mean strength of each operation, at the end: {'; '.join(words)}."
    return chart


@styled
def heat_map(values: ArrayLike, rows: Sequence[str], columns: Sequence[str], label: str, digits: int = 2) -> Chart:
    """A matrix (rows, columns) as shades, each field with its number; `label` says what the
    numbers are."""
    values = np.asarray(values, dtype=float)
    chart, (axes,) = panels(1, 0.9 + 0.3 * len(rows), min(9.0, 2.0 + 0.95 * len(columns)))
    axes.imshow(values, cmap=SHADES, aspect="auto")
    axes.grid(False)
    middle = (values.min() + values.max()) / 2
    for (i, j), value in np.ndenumerate(values):
        ink = "#ffffff" if value > middle else "#1b1b1b"
        axes.text(j, i, f"{value:.{digits}f}", ha="center", va="center", color=ink, fontsize=9)
    axes.set_xticks(range(len(columns)), columns, rotation=20 if max(map(len, columns)) > 9 else 0)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_title(label)
    best = [f"{row}: {columns[int(np.argmax(line))]} {line.max():.{digits}f}" for row, line in zip(rows, values)]
    chart.words = f"{label}; the largest of each row is {', '.join(best)}."
    return chart


def operation_worth(
    decisions: ArrayLike, accuracies: ArrayLike, operations: Sequence[str], edges: Sequence[str]
) -> Chart:
    """Mean accuracy (percent) of all architectures that have an operation on an edge.
    `decisions` is (N, edges)."""
    decisions = np.asarray(decisions)
    accuracies = np.asarray(accuracies, dtype=float)
    means = [[accuracies[decisions[:, e] == k].mean() for k in range(len(operations))] for e in range(len(edges))]
    return heat_map(means, edges, operations, "mean accuracy (%) with this operation on this edge", 1)


@styled
def histogram(values: ArrayLike, label: str, marks: Mapping[str, float] = NO_MARKS, bins: int = 60) -> Chart:
    """How `values` are distributed; `marks` names single values on the axis."""
    values = np.asarray(values, dtype=float)
    chart, (axes,) = panels(1, 2.8)
    axes.hist(values, bins=bins, color=COLOURS[0], histtype="stepfilled")
    for k, (name, value) in enumerate(marks.items(), 1):
        axes.axvline(value, color=COLOURS[k % 6], linestyle=DASHES[k % 6], label=f"{name}: {value:.2f}")
    if marks:
        axes.legend(loc="upper left")
    axes.set(xlabel=label, ylabel="architectures")
    low, median, high = np.percentile(values, (5, 50, 95))
    named = "".join(f"; {name} {value:.2f}" for name, value in marks.items())
    spread = f"median {median:.2f}, 5% below {low:.2f}, 5% above {high:.2f}, best {values.max():.2f}"
    chart.words = f"Histogram of {len(values):,} values, {label}: {spread}{named}."
    return chart


@styled
def anytime(
    curves: Mapping[str, Sequence],
    label: str,
    best: float | None = None,
    queries: Sequence[int] | None = None,
    bands: Collection[str] | None = None,
) -> Chart:
    """What each method has found after so many queries: `curves[name]` is (seeds, queries),
    `queries` are their numbers (1, 2, 3 ... without). The thick line is the mean over seeds, the
    band the 95% interval of that mean, and faint lines are single runs (`bands` names the methods
    that get both, or all do); `best` is what nobody can beat. The first few queries are luck, and
    left out."""
    chart, (axes,) = panels(1, 3.6)
    words = []
    lows = []
    tops = [] if best is None else [best]
    lines = {}
    for k, (name, runs) in enumerate(curves.items()):
        runs = np.atleast_2d(np.asarray(runs, dtype=float))
        asked = np.arange(1, runs.shape[1] + 1) if queries is None else np.asarray(queries)
        shown = np.unique(np.geomspace(1, runs.shape[1], 80).astype(int)) - 1  # no more fit a logarithmic axis
        mean = runs.mean(0)
        error = 1.96 * runs.std(0, ddof=min(1, len(runs) - 1)) / len(runs) ** 0.5
        colour = COLOURS[k % 6]
        if bands is None or name in bands:
            for run in runs[:FAINT]:
                steps = np.append(np.flatnonzero(np.diff(run, prepend=-np.inf)), len(run) - 1)
                faint = dict(alpha=0.5, linestyle="-", linewidth=0.6, drawstyle="steps-post")
                axes.plot(asked[steps], run[steps], color=colour, **faint)
            outline = dict(facecolor=f"{colour}59", edgecolor=colour, linewidth=0.8)  # the fill alone is too pale
            axes.fill_between(asked[shown], (mean - error)[shown], (mean + error)[shown], **outline)
            tops.append(runs[:FAINT].max())
        (line,) = axes.plot(
            asked[shown],
            mean[shown],
            color=colour,
            linestyle=DASHES[k % 6],
            linewidth=2.4,
            label=f"{name} ({len(runs)} seeds)",
        )
        lows.append(mean[min(np.searchsorted(asked, 10), len(asked) - 1)])
        tops.append(mean.max())
        lines[mean[-1], -k] = line
        last = runs[:, -1]
        words.append(f"{name} {mean[-1]:.2f} ± {error[-1]:.2f} (runs {last.min():.2f} to {last.max():.2f})")
    if best is not None:
        label_of_best = f"best there is: {best:.2f}"
        lines[best, 1] = axes.axhline(best, label=label_of_best, color=GREY, linestyle=":", linewidth=1.2)
    low = min(lows)
    high = max(tops)
    first = asked[min(np.searchsorted(asked, 5), len(asked) - 1)]
    axes.set(xscale="log", xlabel="architectures evaluated", ylabel=label, xlim=(first, None))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_ylim(low - 0.1 * (high - low), high + 0.05 * (high - low))
    axes.legend(handles=[lines[end] for end in sorted(lines, reverse=True)], loc="lower right")  # as the lines end
    chart.words = f"{label}, mean and its 95% interval after {asked[-1]:,} queries: {'; '.join(words)}."
    return chart


@styled
def compare(groups: Mapping[str, Sequence[float]], label: str) -> Chart:
    """Every value of every group as a point, over a box of its quartiles: a difference beside
    its spread."""
    chart, (axes,) = panels(1, 0.9 + 0.55 * len(groups))
    names = list(groups)
    values = [np.asarray(list(group), dtype=float) for group in groups.values()]
    line = {"color": GREY, "linewidth": 1.2}
    axes.boxplot(
        values,
        orientation="horizontal",
        widths=0.55,
        showfliers=False,
        boxprops=line,
        medianprops=line,
        whiskerprops=line,
        capprops=line,
    )
    jitter = np.random.default_rng(0)
    words = []
    for k, (name, group) in enumerate(zip(names, values)):
        heights = k + 1 + jitter.uniform(-0.16, 0.16, len(group))
        axes.plot(group, heights, linestyle="", marker=MARKERS[k % 6], alpha=0.75, markersize=5)
        spread = group.std(ddof=1) if len(group) > 1 else 0.0
        words.append(f"{name}: mean {group.mean():.2f}, standard deviation {spread:.2f}, {len(group)} runs")
    axes.set_yticks(range(1, len(names) + 1), names)
    axes.invert_yaxis()
    axes.set(xlabel=label)
    chart.words = f"{label}. {'; '.join(words)}."
    return chart


@styled
def scatter(x: ArrayLike, y: ArrayLike, xlabel: str, ylabel: str, marks: Mapping[str, int] = NO_MARKS) -> Chart:
    """One measurement against another over all architectures, fields of a fine grid the darker the more lie in them;
    `marks` names single ones by their index."""
    x = np.asarray(x, dtype=float)
    y = np.asarray(y, dtype=float)
    chart, (axes,) = panels(1, 4.2, 7.0)
    counts, across, up = np.histogram2d(x, y, bins=(160, 100))
    shares = np.log1p(counts.T) / np.log1p(counts.max())
    sparse, dense = (np.array(to_rgb(look(name)[0])) for name in ("dilated separable", "separable"))
    tint = np.ones((*shares.shape, 4))
    tint[..., :3] = sparse + shares[..., None] * (dense - sparse)  # both are seen on light and on dark pages
    tint[..., 3] = shares > 0
    places = across[0], across[-1], up[0], up[-1]
    axes.imshow(tint, origin="lower", extent=places, aspect="auto", interpolation="none")  # dots would be megabytes
    axes.set_xlim(across[0] - np.ptp(across) / 30, across[-1] + np.ptp(across) / 30)
    axes.set_ylim(up[0] - np.ptp(up) / 30, up[-1] + np.ptp(up) / 30)
    for k, (name, i) in enumerate(marks.items(), 1):
        axes.plot(
            x[i],
            y[i],
            MARKERS[k % 6],
            color=COLOURS[k % 6],
            label=f"{name}: {x[i]:.2f}, {y[i]:.2f}",
        )
    if marks:
        axes.legend(loc="lower right")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    rank = spearmanr(x, y).statistic
    chart.words = f"{len(x):,} architectures, {ylabel} against {xlabel}: rank correlation {rank:.3f}."
    return chart


@styled
def roofline(stored: Mapping) -> Chart:
    """`runs/roofline.json`: each kind of operation of a step at its arithmetic for each byte and at what it reaches,
    its area its share of the time, below the machine's roof."""
    chart, (axes,) = panels(1, 3.8)
    peak, bandwidth = stored["peak"], stored["bandwidth"]
    kinds: dict[str, np.ndarray] = {}  # (seconds, FLOP, bytes); gradients with what they are of
    for row in stored["kinds"]:
        found = np.array([row["seconds"], row["flops"], row["bytes"]])
        kind = row["kind"].split(",")[0]
        kinds[kind] = kinds.get(kind, 0) + found
    whole = sum(kinds.values())[0]
    shown = {kind: found for kind, found in kinds.items() if found[0] > 0.01 * whole and kind != "other"}
    edge, least = peak / bandwidth, min(found[1] / found[2] for found in shown.values())
    axes.plot([least / 2, edge, 3 * edge], [least / 2 * bandwidth, peak, peak], color=GREY, linestyle="-")
    words, bound = [], 0.0
    for kind, (seconds, flops, held) in sorted(shown.items(), key=lambda item: -item[1][0]):
        share, place = seconds / whole, (flops / held, flops / seconds / 1e9)
        axes.scatter(*place, s=4000 * share, color=COLOURS[0], alpha=0.5, linewidth=0)
        above = {"relu": 5, "sums": -14, "batch norm": 7, "pools": -8}.get(kind, 0)  # points: they lie close together
        how = dict(xytext=(32 * share**0.5 + 4, above), textcoords="offset points", va="center", fontsize=9)
        axes.annotate(f"{kind} {share:.0%}", place, **how)
        words.append(f"{kind} {share:.0%}")
        bound += share * (place[0] < 2)
    axes.set(xscale="log", yscale="log", xlabel="arithmetic for each byte (FLOP)", ylabel="reached (GFLOP/s)")
    axes.set_title(f"the roof: {peak:.0f} GFLOP/s, {bandwidth:.1f} GB/s from memory", fontsize=9)
    chart.words = (
        f"Roofline of a weights step of the supernet, shares of its time: {', '.join(words)}. {bound:.0%} of the time "
        f"goes into operations that do less than 2 FLOP for a byte, where the roof is memory's {bandwidth:.1f} GB/s "
        f"and not the {peak:.0f} GFLOP/s of the processor."
    )
    return chart
