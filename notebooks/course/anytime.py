"""Curves of many searches: how good the best architecture is after so many evaluations."""

from collections.abc import Mapping

import numpy as np
from numpy import ndarray

from nascore.show.chart import Chart, panels, styled

BAND = 1.96  # standard errors either side of a mean


@styled
def anytime(found: Mapping[str, ndarray], label: str, best: float) -> Chart:
    """By name (seeds, queries), in percent: the mean over seeds of what is missing to the `best`
    there is, with the interval of 95 % of that mean."""
    chart, (axes,) = panels(1, 3.6)
    words = []
    for name, values in found.items():
        seeds, queries = values.shape
        steps = np.arange(1, queries + 1)
        mean = best - values.mean(0)
        half = BAND * values.std(0) / np.sqrt(seeds)
        (line,) = axes.plot(steps, mean, label=name)
        axes.fill_between(steps, mean - half, mean + half, alpha=0.2, color=line.get_color())
        words.append(f"{name} {best - mean[-1]:.2f}")
    axes.set(xscale="log", yscale="log", xlabel="architectures evaluated", ylabel=label)
    axes.legend(fontsize=8)
    chart.words = f"{label}, against architectures evaluated; reached at the end: {', '.join(words)} %."
    return chart
