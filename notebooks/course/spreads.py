"""Numbers beside how sure they are: single runs as faint ticks, a bar for the interval, a marker in its middle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from scipy.stats import t as student

from course.light import panels
from course.ranking import Agreement
from nascore.show.chart import COLOURS, GREY, MARKERS, Chart, styled

ENOUGH = 5  # runs: of fewer, an interval of their mean says more about Student's t than about them


@dataclass(frozen=True)
class Spread:
    """A number, the interval around it (None: it is not known how sure it is), the single runs behind it."""

    middle: float
    low: float | None = None
    high: float | None = None
    runs: tuple[float, ...] = ()

    @property
    def words(self) -> str:
        interval = "" if self.low is None else f" ({self.low:.2f} to {self.high:.2f})"
        return f"{self.middle:.2f}{interval}"


Line = tuple[float, float, tuple[float, ...]]  # of one run: where it is, at which height, its colour
Groups = Mapping[str, Mapping[str, Spread]]  # a heading: what is compared below it, by name


def mean_of(runs: Sequence[float]) -> Spread:
    """The mean of some runs and, from five on, its 95 % interval by Student's t."""
    values = np.asarray(runs, dtype=float)
    mean = values.mean()
    if len(values) < ENOUGH:
        return Spread(mean, runs=tuple(values))
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return Spread(mean, mean - half, mean + half, tuple(values))


def quartiles_of(runs: Sequence[float]) -> Spread:
    """The median of some runs, and the half of them that lies around it."""
    low, median, high = np.percentile(runs, (25, 50, 75))
    return Spread(median, low, high, tuple(runs))


def agreement_of(found: Agreement) -> Spread:
    """A rank correlation with the interval of its resamples."""
    return Spread(found.tau, found.low, found.high)


@styled
def spreads(groups: Groups, label: str, at: float | None = None, low: float | None = None) -> Chart:
    """A line for everything that is compared, headed by its group; a colour and a marker for each name. `at` is a
    line across all, `low` where the picture begins (what lies below is not shown)."""
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    count = sum(len(group) for group in groups.values())
    chart, (axes,) = panels(1, 0.75 + 0.21 * count + 0.16 * len(groups))
    if at is not None:
        axes.axvline(at, color=GREY, linestyle=":", linewidth=1.2)
    ticks, labels, words = [], [], []
    runs: list[Line] = []
    height = 0.0
    for heading, group in groups.items():
        ticks.append(height + (len(group) - 1) / 2)
        labels.append(heading)
        for name, spread in group.items():
            runs += _line(axes, height, spread, names.index(name))
            height += 1
        height += 0.8
        words.append(f"{heading}: " + ", ".join(_said(name, spread) for name, spread in group.items()))
    _ticks(axes, runs)
    axes.set_yticks(ticks, labels)
    axes.set(xlabel=label, ylim=(height - 1.2, -0.6))
    axes.grid(axis="y", visible=False)
    if low is not None:
        axes.set_xlim(left=low)
    if names != [""]:
        _key(axes, names)
    chart.words = f"{label}. {'; '.join(words)}."
    return chart


def dots(axes: Axes, x: Sequence[float], y: Sequence[float], colour: str, size: float = 4, label: str = "") -> None:
    """Dots as one path of short strokes with round ends: a mark each would make the picture three times as large."""
    if not len(x):
        return
    begin = np.stack([x, y], 1).astype(float)
    end = begin + [1e-3, 0.0]
    path = Path(np.stack([begin, end], 1).reshape(-1, 2), [Path.MOVETO, Path.LINETO] * len(begin))
    path.should_simplify = False  # else the shortest strokes are left out
    style = {"edgecolor": colour, "linewidth": size, "capstyle": "round", "linestyle": "-"}
    axes.add_patch(PathPatch(path, fill=False, snap=False, **style))  # snapped, a stroke has no length
    axes.autoscale_view()
    if label:
        axes.plot([], [], "o", markersize=size, color=colour, label=label)


def _line(axes: Axes, height: float, spread: Spread, k: int) -> list[Line]:
    """One number at its height: bar and marker. Returns the ticks of its runs."""
    colour = COLOURS[k % len(COLOURS)]
    if spread.low is not None:
        axes.plot([spread.low, spread.high], [height, height], color=colour, linestyle="-", linewidth=3.5)
    axes.plot([spread.middle], [height], marker=MARKERS[k % len(MARKERS)], color=colour, linestyle="", markersize=7)
    alpha = 0.6 if len(spread.runs) >= ENOUGH else 1.0
    return [(run, height, to_rgba(colour, alpha)) for run in dict.fromkeys(spread.runs)]


def _ticks(axes: Axes, runs: Sequence[Line]) -> None:
    """The single runs behind all numbers, as one image: a thousand lines would make the picture large."""
    places = [[(x, height - 0.38), (x, height + 0.38)] for x, height, _ in runs]
    ticks = LineCollection(places, colors=[colour for *_, colour in runs], linewidths=1.2, zorder=1.5, rasterized=True)
    axes.add_collection(ticks)
    axes.autoscale_view()


def _said(name: str, spread: Spread) -> str:
    runs = ""
    if spread.runs:
        few = ", ".join(f"{run:.2f}" for run in spread.runs)
        runs = f" of {few}" if len(spread.runs) < ENOUGH else f" of {len(spread.runs)} runs"
    return f"{name} {spread.words}{runs}".strip()


def _key(axes: Axes, names: Sequence[str]) -> None:
    """Which colour and marker is which, beside the picture: inside it would lie on the numbers."""
    for k, name in enumerate(names):
        style = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)]}
        axes.plot([], [], linestyle="", label=name, **style)
    axes.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
