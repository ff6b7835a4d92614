"""How the cost of DARTS's steps grows with their sizes."""

import math
import os
import statistics
from collections.abc import Callable, Sequence

from nascore.bench.harness import Plan, Side, clock, measure
from nascore.bench.steps import STEPS, Workload, our_steps
from nascore.show.chart import MARKERS, Chart, panels, styled

START = Workload(batch=16, channels=8, cells=5, side=16)
RANGES = {"batch": (16, 64, 256), "channels": (8, 16, 32), "cells": (5, 10, 20)}
Cost = Callable[[Workload, int, int], list[float]]
Growth = dict[str, dict]


def seconds(workload: Workload, threads: int, rounds: int) -> list[float]:
    """The median of each step, after one that is not counted."""
    how = (clock(threads, workload.device), rounds + 1, threads, workload.device)
    found = measure({"ours": Side(our_steps, (workload,))}, len(STEPS), [Plan("", *how)])
    return [statistics.median(values[1:]) for values in found[""]["ours"]]


def grow(rounds: int = 3, start: Workload = START, cost: Cost = seconds) -> Growth:
    """By what grows: its sizes, the seconds of each step at each of them, and the slope of each
    step: 1 where twice the size costs twice as much. The other sizes are those of the `start`;
    threads, 1 to all, have the largest minibatch."""
    found = {}
    for name, sizes in RANGES.items():
        grown = [Workload(**start._asdict() | {name: size}) for size in sizes]
        found[name] = _slopes(sizes, [cost(workload, 1, rounds) for workload in grown])
    large = start._replace(batch=RANGES["batch"][-1])
    cores = os.cpu_count() or 1
    threads = sorted({1, (cores + 1) // 2, cores})
    if cores > 1:
        found["threads"] = _slopes(threads, [cost(large, count, rounds) for count in threads])
    return found


def _slopes(sizes: Sequence[int], costs: list[list[float]]) -> dict:
    by_step = dict(zip(STEPS, zip(*costs)))
    slopes = {step: slope(sizes, values) for step, values in by_step.items()}
    return {"sizes": sizes, "seconds": by_step, "slopes": slopes}


def slope(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Of log cost over log size, by least squares."""
    logs = [list(map(math.log, numbers)) for numbers in (sizes, costs)]
    return statistics.linear_regression(*logs).slope


def lines(found: Growth) -> list[str]:
    """Of each size that grows, the slopes."""
    text = ["slopes of log seconds over log size, by least squares"]
    for name, grown in found.items():
        sizes = f"{name} {', '.join(map(str, grown['sizes']))}:"
        slopes = ", ".join(f"{step} {value:.2f}" for step, value in grown["slopes"].items())
        text.append(f"  {sizes:24}{slopes}")
    return text


@styled
def chart(found: Growth) -> Chart:
    """Seconds over sizes, both logarithmic: a panel for what grows, a line for a step."""
    figure, columns = panels(len(found), sharey=True)
    for axes, (name, grown) in zip(columns, found.items()):
        for (step, values), marker in zip(grown["seconds"].items(), MARKERS):
            axes.loglog(grown["sizes"], values, marker=marker, label=step)
        axes.set(xlabel=name, ylabel="seconds of a step")
        axes.label_outer()
    columns[0].legend(fontsize=8)
    figure.words = "; ".join(lines(found))
    return figure
