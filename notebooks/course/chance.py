"""What luck alone brings, drawn: random search, and numbers with their intervals along an axis."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from nascore.show.chart import COLOURS, DASHES, GREY, MARKERS, Chart, panels, styled

SIZES = (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000)  # of a search, in queries


@styled
def random_search(n: int, chances: ArrayLike, accuracies: ArrayLike, expected: Mapping[int, float]) -> Chart:
    """What random search hands in after n queries. `chances` are the probabilities that it ends with the cell of rank
    1, 2, ..., whose accuracies (percent) are `accuracies`; `expected` has its mean for every n."""
    chances = np.asarray(chances, dtype=float)
    accuracies = np.asarray(accuracies, dtype=float)
    mean = expected[n]
    chart, (curve, pile) = panels(2, 2.9, width_ratios=(1, 1.3))
    curve.plot(list(expected), list(expected.values()), color=COLOURS[0], linestyle="-")
    curve.plot(n, mean, "o", color=COLOURS[1], markersize=8)
    curve.set(xscale="log", xlabel="n, architectures evaluated", ylabel="expected test accuracy (%)")
    curve.xaxis.set_major_formatter("{x:g}")

    low = 90.0
    inside = chances[accuracies >= low].sum()
    bins = np.linspace(low, accuracies.max(), 45)
    pile.hist(accuracies, bins, weights=chances, color=COLOURS[0], histtype="stepfilled")
    pile.axvline(mean, color=COLOURS[1], linestyle="--", label=f"expected: {mean:.2f}")
    pile.axvline(accuracies.max(), color=GREY, linestyle=":", label=f"best there is: {accuracies.max():.2f}")
    pile.set(xlim=(low, accuracies.max() + 0.1), xlabel="test accuracy (%)", ylabel="probability")
    pile.set_title(f"n = {n}: {1 - inside:.0%} lie below {low:g}%")
    pile.legend(loc="upper left", fontsize=9)
    order = np.argsort(accuracies)
    reached = accuracies[order][np.searchsorted(chances[order].cumsum(), [0.05, 0.95])]
    chart.words = (
        f"Random search over {n:,} of {len(accuracies):,} cells hands in {mean:.2f}% test accuracy on average, in nine "
        f"cases of ten between {reached[0]:.2f}% and {reached[1]:.2f}%; the best there is has {accuracies.max():.2f}%."
    )
    return chart


@styled
def lead(behind: ArrayLike, ahead: ArrayLike) -> Chart:
    """How far one method's runs, (seeds, queries), are above another's: the difference of the means with its 95%
    interval, and in which share of all pairs of one run each it is ahead (half, where both are equal)."""
    behind = np.asarray(behind, dtype=float)
    ahead = np.asarray(ahead, dtype=float)
    queries = np.array([n for n in (10, 30, 100, 300, 1000) if n <= behind.shape[1]])
    a, b = behind[:, queries - 1], ahead[:, queries - 1]
    gap = b.mean(0) - a.mean(0)
    error = 1.96 * np.sqrt(a.var(0, ddof=1) / len(a) + b.var(0, ddof=1) / len(b))
    wins = (b[:, None] > a).mean((0, 1)) + (b[:, None] == a).mean((0, 1)) / 2
    chart, (left, right) = panels(2, 2.6)
    left.errorbar(queries, gap, error, color=COLOURS[0], linestyle="-", marker="o", markersize=5, capsize=3)
    left.axhline(0, color=GREY, linestyle=":")
    left.set(ylabel="lead of the mean (points)")
    right.plot(queries, 100 * wins, color=COLOURS[1], linestyle="-", marker="s", markersize=5)
    right.axhline(50, color=GREY, linestyle=":")
    right.set(ylabel="pairs in which it is ahead (%)", ylim=(40, 100), yticks=(50, 75, 100))
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xticks(queries, [str(n) for n in queries])
        axes.minorticks_off()
        axes.set_xlabel("architectures evaluated")
    said = [f"{n}: {g:.2f} ± {e:.2f} and {w:.0%}" for n, g, e, w in zip(queries, gap, error, wins)]
    chart.words = f"Lead of the mean in points, and the share of pairs in which it is ahead, after {'; '.join(said)}."
    return chart


@styled
def lines(
    x: Sequence[float],
    series: Mapping[str, ArrayLike],
    xlabel: str,
    ylabel: str,
    errors: Mapping[str, ArrayLike] | None = None,
    level: tuple[str, float] | None = None,
    log: bool = True,
) -> Chart:
    """Numbers along an axis, each series a line with markers; `errors` are half the lengths of its intervals, `level`
    is a named number to hold them against."""
    chart, (axes,) = panels(1, 3.0)
    words = []
    for k, (name, values) in enumerate(series.items()):
        values = np.asarray(values, dtype=float)
        half = (errors or {}).get(name)
        look = dict(color=COLOURS[k % 6], linestyle=DASHES[k % 6], marker=MARKERS[k % 6], markersize=5)
        axes.errorbar(x, values, half, label=name, capsize=3, elinewidth=1.2, **look)
        said = [f"{value:.4g}" for value in values]
        if half is not None:
            said = [f"{value} ± {error:.2g}" for value, error in zip(said, half)]
        words.append(f"{name} {', '.join(said)}")
    if level is not None:
        axes.axhline(level[1], color=GREY, linestyle=":", label=f"{level[0]}: {level[1]:.2f}")
        words.append(f"{level[0]} {level[1]:.2f}")
    if log:
        axes.set_xscale("log")
    axes.set_xticks(x, [f"{value:g}" for value in x], minor=False)
    axes.minorticks_off()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.legend(fontsize=9)
    chart.words = f"{ylabel} against {xlabel} {', '.join(f'{value:g}' for value in x)}: {'; '.join(words)}."
    return chart
