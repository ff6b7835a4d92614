"""The course's figures. Each function takes plain data and returns a `Chart`, a matplotlib Figure that says in words
what it shows. Figures are transparent, in mid-grey and Okabe and Ito's colours, to read on light and dark pages, and
come out the same to the byte each time (no date, a fixed salt)."""

import io
import re
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from nascore.show.drawing import FAMILIES, GREY, accessible, look

COLOURS = [FAMILIES[name][0] for name in ("sep_conv", "max_pool", "conv", "skip", "avg_pool", "dil_conv")]
DASHES = ["-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1))]  # never colour alone
CELLS = {"normal": "normal", "reduce": "reduction"}
MARKERS = "os^DvP"
_DIGITS = re.compile(r"(?<=\.\d\d)\d+")  # hundredths of a point are enough for a path, and half the size
SHADES = LinearSegmentedColormap.from_list("nascore", ["#E3F3FC", "#3A96CE", "#003F63"])
STYLE = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), GREY),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor"), "none"),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    **{"font.size": 10, "axes.titlesize": 11, "axes.grid": True, "grid.color": GREY, "grid.alpha": 0.25},
    **{"axes.prop_cycle": cycler(color=COLOURS, linestyle=DASHES), "axes.axisbelow": True},
    **dict.fromkeys(("xtick.bottom", "ytick.left"), False),  # the grid shows where they are
    **{"axes.formatter.useoffset": False, "figure.dpi": 100, "lines.linewidth": 1.8},
    **{"svg.fonttype": "none", "svg.hashsalt": "nascore"},
    **{"font.family": "sans-serif", "font.sans-serif": ["Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"]},
}


def style() -> None:
    """Give a notebook's own matplotlib figures the course's look: SVG, transparent, without a date."""
    matplotlib.rcParams.update(STYLE)
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    if get_ipython() is not None:
        set_matplotlib_formats("svg", metadata={"Date": None})
        formatter = get_ipython().display_formatter.formatters["image/svg+xml"]
        formatter.for_type(Chart, lambda chart: chart.svg)  # else IPython's own for Figure wins, which has no words


class Chart(Figure):
    """A figure that shows itself in a notebook as SVG, with `words` as its alternative text."""

    words = ""

    @property
    def svg(self) -> str:
        file = io.StringIO()
        with matplotlib.rc_context(STYLE):
            self.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        short = re.sub(r'\bd="[^"]+"', lambda path: _DIGITS.sub("", path[0]).replace("\n", ""), file.getvalue())
        short = re.sub(r"font-family: [^;]*", "font-family: Helvetica, Arial, sans-serif", short)
        return accessible(short, self.words)

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"image/svg+xml": self.svg, "text/plain": self.words}

    def __repr__(self) -> str:
        return self.words


_styled = matplotlib.rc_context(STYLE)  # a decorator: the course's style, whatever the notebook has set


def _chart(columns: int = 1, height: float = 3.0, width: float = 9.0, **options):
    """A new figure and its axes side by side; `width` and `height` in inches (9 inches fill a notebook)."""
    chart = Chart(figsize=(width, height), layout="constrained")
    return chart, chart.subplots(1, columns, squeeze=False, **options)[0]


def _steps(history: Sequence[Mapping], name: str) -> tuple[np.ndarray, np.ndarray]:
    rows = [(row["step"], row[name]) for row in history if row.get(name) is not None]
    return np.array([step for step, _ in rows]), np.array([value for _, value in rows], dtype=float)


def _smooth(values: np.ndarray) -> np.ndarray:
    """The running mean over a twentieth of the run: single minibatches are noisy."""
    window = min(len(values), 1 + len(values) // 20)
    counts = np.minimum(np.arange(1, len(values) + 1), window)
    return np.convolve(values, np.ones(window))[: len(values)] / counts


def skip_connections(genotype: Mapping) -> dict[str, int]:
    """How many operations of each cell of a history row's genotype are skip connections."""
    cells = {name: genotype[name] for name in ("normal", "reduce") if genotype.get(name)}
    return {name: sum(node["ops"].count("skip_connect") for node in cell["nodes"]) for name, cell in cells.items()}


@_styled
def search_curves(history: Sequence[Mapping]) -> Chart:
    """A one-shot search from its history: loss, accuracy of the supernet, entropy of alpha, skip connections."""
    chart, (loss, accuracy, entropy, skips) = _chart(4, 2.6)
    lines = [(loss, "loss", "training"), (loss, "valid_loss", "validation"), (accuracy, "reward", "validation")]
    lines += [(entropy, "entropy_normal", "normal cell"), (entropy, "entropy_reduce", "reduction cell")]
    words = []
    for axes, name, label in lines:
        steps, values = _steps(history, name)
        if len(values):
            values = _smooth(values)
            axes.plot(steps, values, label=label)
            words.append(f"{name.replace('_', ' ')} from {values[0]:.3g} to {values[-1]:.3g}")
    counts = [skip_connections(row["genotype"]) for row in history]
    for name in counts[-1] if counts else ():
        steps, values = [row["step"] for row in history], [count[name] for count in counts]
        skips.step(steps, values, where="post", label=f"{CELLS[name]} cell")
        words.append(f"skip connections in the {CELLS[name]} cell from {counts[0][name]} to {counts[-1][name]}")
    titles = ("loss", "accuracy", "entropy of $\\alpha$ (nats)", "skip connections")
    for axes, title in zip((loss, accuracy, entropy, skips), titles):
        axes.set(title=title, xlabel="step")
        if len(axes.lines) > 1:
            axes.legend(fontsize=8)
    skips.set_ylim(bottom=-0.2)
    skips.yaxis.get_major_locator().set_params(integer=True)
    chart.words = f"Search curves over {len(history)} steps: {'; '.join(words)}."
    return chart


@_styled
def strengths(history: Sequence[Mapping]) -> Chart:
    """The mean over edges of softmax(alpha), operation by operation, as a search goes on: one area a cell."""
    cells = list(history[-1]["strengths"])
    chart, every = _chart(len(cells), 3.4, sharey=True)
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


@_styled
def heat_map(values, rows: Sequence[str], columns: Sequence[str], label: str, digits: int = 2) -> Chart:
    """A matrix (rows, columns) as shades, each field with its number; `label` says what the numbers are."""
    values = np.asarray(values, dtype=float)
    chart, (axes,) = _chart(1, 0.9 + 0.3 * len(rows), min(9.0, 2.0 + 0.95 * len(columns)))
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


def operation_worth(decisions, accuracies, operations: Sequence[str], edges: Sequence[str]) -> Chart:
    """Mean accuracy (percent) of all architectures that have an operation on an edge. `decisions` is (N, edges)."""
    decisions, accuracies = np.asarray(decisions), np.asarray(accuracies, dtype=float)
    means = [[accuracies[decisions[:, e] == k].mean() for k in range(len(operations))] for e in range(len(edges))]
    return heat_map(means, edges, operations, "mean accuracy (%) with this operation on this edge", 1)


@_styled
def histogram(values, label: str, marks: Mapping[str, float] = {}, bins: int = 60) -> Chart:  # noqa: B006 (not changed)
    """How `values` are distributed; `marks` names single values on the axis."""
    values = np.asarray(values, dtype=float)
    chart, (axes,) = _chart(1, 2.8)
    axes.hist(values, bins=bins, color=COLOURS[0], alpha=0.75)
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


@_styled
def anytime(curves: Mapping[str, Sequence], label: str, best: float | None = None) -> Chart:
    """What each method has found after so many queries: `curves[name]` is (seeds, queries). The line is the mean over
    seeds, the band holds the middle 90% of them, `best` is what nobody can beat."""
    chart, (axes,) = _chart(1, 3.4)
    words, tops = [], [] if best is None else [best]
    for k, (name, runs) in enumerate(curves.items()):
        runs = np.atleast_2d(np.asarray(runs, dtype=float))
        queries = np.arange(1, runs.shape[1] + 1)
        low, high = np.percentile(runs, (5, 95), axis=0)
        axes.plot(queries, runs.mean(0), label=f"{name} ({len(runs)} seeds)")
        axes.fill_between(queries, low, high, color=COLOURS[k % 6], alpha=0.18, linewidth=0)
        tops.append(high.max())
        words.append(f"{name} {runs[:, -1].mean():.2f} (middle 90%: {low[-1]:.2f} to {high[-1]:.2f})")
    if best is not None:
        axes.axhline(best, color=GREY, linestyle=":", linewidth=1.2, label=f"best there is: {best:.2f}")
    low, high = min(float(line.get_ydata()[:5][-1]) for line in axes.lines), max(tops)  # the first few are luck
    axes.set(xscale="log", xlabel="architectures evaluated", ylabel=label, xlim=(1, None))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_ylim(low - 0.1 * (high - low), high + 0.05 * (high - low))
    axes.legend(loc="lower right")
    chart.words = f"{label}, after {len(queries):,} queries: {'; '.join(words)}."
    return chart


@_styled
def compare(groups: Mapping[str, Sequence[float]], label: str) -> Chart:
    """Every value of every group as a point, over a box of its quartiles: a difference beside its spread."""
    chart, (axes,) = _chart(1, 0.9 + 0.55 * len(groups))
    names, values = list(groups), [np.asarray(list(group), dtype=float) for group in groups.values()]
    lines = {part: dict(color=GREY, linewidth=1.2) for part in ("boxprops", "medianprops", "whiskerprops", "capprops")}
    axes.boxplot(values, orientation="horizontal", widths=0.55, showfliers=False, **lines)
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


@_styled
def scatter(x, y, xlabel: str, ylabel: str, marks: Mapping[str, int] = {}) -> Chart:  # noqa: B006 (not changed)
    """One measurement against another over all architectures; `marks` names single ones by their index."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    chart, (axes,) = _chart(1, 4.2, 7.0)
    axes.plot(x, y, ".", markersize=2, alpha=0.25, rasterized=len(x) > 1000)  # thousands of circles would be megabytes
    for k, (name, i) in enumerate(marks.items(), 1):
        axes.plot(x[i], y[i], MARKERS[k % 6], color=COLOURS[k % 6], label=f"{name}: {x[i]:.2f}, {y[i]:.2f}")
    if marks:
        axes.legend(loc="lower right")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    rank = spearmanr(x, y).statistic
    chart.words = f"{len(x):,} architectures, {ylabel} against {xlabel}: rank correlation {rank:.3f}."
    return chart
