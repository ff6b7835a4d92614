"""How the cost of DARTS's steps grows with their sizes: seconds, and the slopes of their logarithms
over those of the sizes."""

import math
import os
import statistics
from collections.abc import Callable, Sequence

from nascore.bench.harness import Plan, Side, measure
from nascore.bench.steps import STEPS, Workload, our_steps
from nascore.show.chart import MARKERS, Chart, panels, styled

START = Workload(batch=16, channels=8, cells=5, side=16)
RANGES = {"batch": (16, 64, 256), "channels": (8, 16, 32), "cells": (5, 10, 20)}
Cost = Callable[[Workload, int, int], list[float]]


def seconds(workload: Workload, threads: int, rounds: int) -> list[float]:
    """The median of each step, after one that is not counted: of CPU time, or of the wall's where
    there are several threads or a GPU."""
    device = workload.device
    clock = "wall" if threads > 1 or device == "cuda" else "cpu"
    plans = [
        Plan("first", clock, 1, threads, device),
        Plan("seconds", clock, rounds, threads, device),
    ]
    found = measure({"ours": Side(our_steps, (workload,))}, len(STEPS), plans)
    return [statistics.median(values) for values in found["seconds"]["ours"]]


def growth(rounds: int = 3, start: Workload = START, cost: Cost = seconds) -> dict[str, dict]:
    """By what grows: its sizes, the seconds of each step at each of them, and the slope of each
    step: 1 where twice the size costs twice as much. One size at a time, the others as at the
    `start`; threads, 1 to all, with the largest minibatch."""
    found = {}
    for name, sizes in RANGES.items():
        costs = [cost(start._replace(**{name: size}), 1, rounds) for size in sizes]
        found[name] = _grown(sizes, costs)
    cores = os.cpu_count() or 1
    if cores > 1:
        threads = sorted({*(2**k for k in range(cores.bit_length())), cores})
        large = start._replace(batch=max(RANGES["batch"]))
        found["threads"] = _grown(threads, [cost(large, count, rounds) for count in threads])
    return found


def _grown(sizes: Sequence[int], costs: list[list[float]]) -> dict:
    by_step = dict(zip(STEPS, zip(*costs)))
    slopes = {step: slope(sizes, values) for step, values in by_step.items()}
    return {"sizes": list(sizes), "seconds": by_step, "slopes": slopes}


def slope(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Of log cost over log size, by least squares."""
    logs = [list(map(math.log, numbers)) for numbers in (sizes, costs)]
    return statistics.linear_regression(*logs).slope


@styled
def chart(found: dict[str, dict]) -> Chart:
    """Seconds over sizes, both logarithmic: a panel for what grows, a line for a step."""
    figure, columns = panels(len(found), 2.6, sharey=True)
    words = []
    for axes, (name, grown) in zip(columns, found.items()):
        for (step, values), marker in zip(grown["seconds"].items(), MARKERS):
            axes.loglog(grown["sizes"], values, marker=marker, label=step)
        axes.set_xticks(grown["sizes"], map(str, grown["sizes"]), minor=False)
        axes.minorticks_off()
        axes.set_xlabel(name)
        words += [f"{name}, {step}: {value:.2f}" for step, value in grown["slopes"].items()]
    columns[0].set_ylabel("seconds")
    columns[0].legend(fontsize=8)
    figure.words = (
        f"Seconds of a step over its sizes; slopes of the logarithms: {'; '.join(words)}."
    )
    return figure
