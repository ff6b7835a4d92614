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
    pile.hist(accuracies, bins, weights=chances, color=COLOURS[0])
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
