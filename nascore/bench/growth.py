"""How the cost of DARTS's steps grows with their sizes."""

import math
import os
import statistics
from collections.abc import Callable, Sequence

from nascore.bench.harness import Plan, Side, clock, measure
from nascore.bench.steps import STEPS, Workload, our_steps

START = Workload(batch=64, channels=8, cells=5, side=16)
CORES = os.cpu_count() or 1
RANGES = {
    "batch": (16, 64, 256),
    "channels": (8, 16, 32),
    "cells": (5, 10, 20),
    "threads": sorted({1, (CORES + 1) // 2, CORES}),
}
Growth = dict[str, dict]


def seconds(workload: Workload, rounds: int) -> list[float]:
    """The median of each step, after one that is not counted."""
    *_, device, _, threads = workload
    plan = Plan("seconds", clock(threads, device), rounds + 1, threads, device)
    found = measure({"ours": Side(our_steps, (workload,))}, len(STEPS), [plan])
    return [statistics.median(values[1:]) for values in found["seconds"]["ours"]]


def grow(
    rounds: int = 3,
    start: Workload = START,
    cost: Callable[[Workload, int], list[float]] = seconds,
) -> Growth:
    """By what grows: its sizes, the seconds of each step at each of them, and the slope of each
    step: 1 where twice the size costs twice as much. The other sizes are those of the `start`."""
    found = {}
    for name, sizes in RANGES.items():
        if len(sizes) > 1:  # threads, where there is one core
            grown = [Workload(**start._asdict() | {name: size}) for size in sizes]
            found[name] = _slopes(sizes, [cost(workload, rounds) for workload in grown])
    return found


def _slopes(sizes: Sequence[int], costs: list[list[float]]) -> dict:
    by_step = dict(zip(STEPS, zip(*costs)))
    slopes = {step: slope(sizes, values) for step, values in by_step.items()}
    return {"sizes": sizes, "seconds": by_step, "slopes": slopes}


def slope(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Of log cost over log size, by least squares, in hundredths."""
    x = list(map(math.log, sizes))
    y = list(map(math.log, costs))
    return round(statistics.linear_regression(x, y).slope, 2)


def lines(found: Growth) -> list[str]:
    """Of each size that grows, the slopes."""
    rows = [f"  {name} {grown['sizes']}: {grown['slopes']}" for name, grown in found.items()]
    return ["slopes of log seconds over log size, by least squares", *rows]
