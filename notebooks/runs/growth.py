"""How the cost of DARTS's steps grows with batch, width, depth and threads: `python notebooks/runs/growth.py`.

Each size is measured in a process of its own, the others as `START` has them; the slope of log seconds over log size is
1 where twice the size costs twice as much. The picture is `python figures/draw.py growth`."""

import argparse
import json
import math
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import torch

from nascore.bench import STEPS, Workload, our_steps
from nascore.bench.harness import Plan, Side, clock, measure

START = Workload(batch=32, channels=8, cells=5, side=16)
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
    """By what grows: its sizes, and of each step its seconds at each of them, and their slope."""
    found = {}
    for name, sizes in RANGES.items():
        if len(sizes) > 1:  # threads, where there is one core
            costs = [cost(start._replace(**{name: size}), rounds) for size in sizes]
            by_step = dict(zip(STEPS, zip(*costs)))
            slopes = {step: slope(sizes, values) for step, values in by_step.items()}
            found[name] = {"sizes": list(sizes), "seconds": by_step, "slopes": slopes}
            print(name, sizes, slopes, flush=True)
    return found


def slope(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Of log cost over log size, by least squares, in hundredths."""
    x, y = ([math.log(value) for value in values] for values in (sizes, costs))
    return round(statistics.linear_regression(x, y).slope, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    about = {
        "command": "python notebooks/runs/growth.py",
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {CORES} cores, PyTorch {torch.__version__}",
        "start": START._asdict(),
        "growth": grow(options.rounds),
    }
    options.out.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
