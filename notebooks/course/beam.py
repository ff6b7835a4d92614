"""The pictures of PNAS's notebook: what the space is, what a surrogate guesses, what a beam keeps and drops."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from course.light import panels
from course.spreads import Groups, Spread, dots, mean_of, quartiles_of
from nascore.genotypes import Cell, CellGenotype, Node
from nascore.show.chart import COLOURS, GREY, MARKERS, Chart, styled

# PNASNet-5 as its authors' file has it: two operations and two inputs for each block. Their 0 is the previous cell.
PUBLISHED_OPERATIONS = (
    ("sep_conv_5x5", "max_pool_3x3"),
    ("sep_conv_7x7", "max_pool_3x3"),
    ("sep_conv_5x5", "sep_conv_3x3"),
    ("sep_conv_3x3", "max_pool_3x3"),
    ("sep_conv_3x3", "skip_connect"),
)
PUBLISHED_INPUTS = ((1, 1), (0, 0), (0, 0), (4, 0), (1, 0))


def as_published(exchanged: bool) -> CellGenotype:
    """PNASNet-5 from its authors' lists, with inputs 0 and 1 `exchanged` or read as they stand."""
    place = {0: 1, 1: 0} if exchanged else {}
    nodes = []
    for inputs, operations in zip(PUBLISHED_INPUTS, PUBLISHED_OPERATIONS):
        nodes.append(Node(tuple(place.get(j, j) for j in inputs), operations))
    return CellGenotype(Cell(tuple(nodes), (2, 3, 4, 5, 6)))


@styled
def growth(counts: Mapping[str, Sequence[float | None]]) -> Chart:
    """How many there are of each kind at one block, two, three ... (None: there are none of it)."""
    chart, (axes,) = panels(1, 3.2, 7.0)
    words = []
    for (name, values), marker in zip(counts.items(), MARKERS):
        blocks = [b for b, value in enumerate(values, 1) if value is not None]
        axes.plot(blocks, [value for value in values if value is not None], marker=marker, label=name)
        words.append(f"{name} {values[-1]:.2g}")
    axes.set(yscale="log", xlabel="blocks b", ylabel="how many", xticks=range(1, len(values) + 1))
    axes.set_yticks([10.0**k for k in range(2, 16, 3)])
    axes.minorticks_off()
    axes.legend(fontsize=9)
    last = len(values)
    chart.words = f"Growth from one block to {last}, on a logarithmic axis; at {last}: {', '.join(words)}."
    return chart


@styled
def guesses(predicted: ArrayLike, measured: ArrayLike, kinds: Sequence[str], rank: float) -> Chart:
    """Measured against predicted accuracy (percent) of cells, a colour and a marker for each of the `kinds`, which
    names every cell's; `rank` is their rank correlation."""
    predicted = np.asarray(predicted)
    measured = np.asarray(measured)
    chart, (axes,) = panels(1, 3.8, 8.0)
    for k, kind in enumerate(dict.fromkeys(kinds)):
        these = [name == kind for name in kinds]
        style = {"linestyle": "", "markersize": 5, "alpha": 0.9, "marker": MARKERS[k], "rasterized": True}
        axes.plot(predicted[these], measured[these], label=kind, **style)
    axes.set(xlabel="predicted (%)", ylabel="12-epoch validation (%)")
    axes.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    first = measured[predicted.argmax()]
    chart.words = f"Measured against predicted accuracy of {len(measured)} cells: rank correlation {rank:.2f}. "
    chart.words += f"The best by the guess has {first:.1f} %, the best of all {measured.max():.1f} %."
    return chart


@styled
def kept(children: Mapping[str, Sequence[float]], k: int) -> Chart:
    """For each landscape the best child of every parent, parents in the order of their own score, best first: what a
    beam of `k` keeps, what it drops, and the best child of all."""
    chart, every = panels(len(children), 3.2, min(9.0, 4.5 * len(children)))
    words = []
    for axes, (title, values) in zip(every, children.items()):
        values = np.asarray(values, dtype=float)
        places = np.arange(1, len(values) + 1)
        best = int(values.argmax())
        reached = int(values[:k].argmax())
        axes.axvspan(0.5, k + 0.5, color=COLOURS[0], alpha=0.12, linewidth=0)
        dots(axes, places[:k], values[:k], COLOURS[0])
        dots(axes, places[k:], values[k:], GREY)
        axes.plot(places[best], values[best], "*", color=COLOURS[1], markersize=13, label="best of all")
        axes.plot(places[reached], values[reached], "s", color=COLOURS[0], fillstyle="none", label="best kept")
        axes.set(title=f"{title}, K = {k}", xlabel="place of the parent")
        axes.set_ylim(*_worth_showing(values))
        missed = values[best] - values[reached]
        said = f"the best child of all, {values[best]:.2f}, grows from place {best + 1}"
        words.append(f"{title}: {said}; a beam of {k} reaches {values[reached]:.2f}, {missed:.2f} less")
    every[0].set_ylabel("its best child")
    every[0].legend(fontsize=9, loc="lower left")
    chart.words = f"What a beam keeps. {'; '.join(words)}."
    return chart


def _worth_showing(values: np.ndarray) -> tuple[float, float]:
    """The upper half of the values with a margin, and a little of the lower: what a beam fights over."""
    low, high = np.percentile(values, (10, 100))
    margin = 0.12 * (high - low) + 1e-3
    return low - margin, high + margin


def seen_and_new(runs: Mapping[str, Sequence[Sequence[tuple[float, float]]]]) -> Groups:
    """From `runs/pnas_ranks.json`: rank correlations level by level, of the cells that a predictor was fitted on and of
    new ones of the level after; the quartiles of the repeats for each predictor."""
    groups: dict[str, dict[str, Spread]] = {}
    for name, repeats in runs.items():
        for level, (seen, new) in enumerate(np.array(repeats).transpose(1, 2, 0), 1):
            groups.setdefault(f"level {level}, seen", {})[name] = quartiles_of(seen)
            groups.setdefault(f"level {level + 1}, new", {})[name] = quartiles_of(new)
    return groups


def by_queries(stored: Mapping) -> Groups:
    """From a `runs/pnas_table*.json`: the searches of every method after each number of queries, and their mean."""
    groups: dict[str, dict[str, Spread]] = {}
    for k, queries in enumerate(stored["queries"]):
        methods = stored["methods"].items()
        groups[f"{queries} queries"] = {name: mean_of([run[k] for run in runs]) for name, runs in methods}
    return groups
