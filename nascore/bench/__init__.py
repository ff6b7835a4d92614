"""The timings that the README quotes, ours and a reference's in turn in one run: DARTS's steps, the
other rows, and how cost grows."""

import os
import statistics
from pathlib import Path
from typing import Any

import torch

from nascore.bench.growth import START, growth
from nascore.bench.harness import Operations, Plan, Side, measure, ratios
from nascore.bench.naive import NaiveDARTS
from nascore.bench.rows import Row, rows
from nascore.bench.steps import STEPS, Workload, our_steps, reference_steps
from nascore.errors import require, whole

__all__ = [
    "STEPS",
    "Operations",
    "Workload",
    "benchmark",
    "our_steps",
    "reference_steps",
    "table",
]

MEMORY = "peak memory since the start, steps in this order, MiB"
NAIVE = "the naive supernet, a module for each edge and operation, in steps of ours"
Result = dict[str, Any]  # what is printed as JSON


def benchmark(
    against: str | None = None,
    batch: int = 16,
    rounds: int = 5,
    channels: int = 16,
    cells: int = 8,
    threads: tuple[int, ...] = (1, 2),
    device: str = "cpu",
    *,
    others: bool = False,
    grows: bool = False,
    many: int = 1000,
) -> Result:
    """Time every step of `STEPS` `rounds` times, sides in turn, after one round of warm-up. With
    `against`, a checkout of quark0/darts, this RUNS the code in that folder; without, the reference
    is the naive supernet. `others` adds all other rows, with `many` images, queries and
    architectures each, and `grows` how the cost of a step grows. Ratios are (min, median, max) of
    reference / ours, by round. Raises `UserError`."""
    workload = Workload(whole("--batch", batch, 2, 4096), channels, cells, device)
    whole("--rounds", rounds, 1, 1000)
    sides = {"ours": Side(our_steps, (workload,)), "reference": _reference(against, workload)}
    measured = measure(sides, len(STEPS), _plans(rounds, threads, device))
    setting = {
        "batch": batch,
        "channels": channels,
        "cells": cells,
        "rounds": rounds,
        "device": device,
        "torch": torch.__version__,
        "reference": NAIVE if against is None else against,
    }
    result: Result = {"setting": setting, "steps": list(STEPS), "measured": measured}
    result["ratios"] = {title: ratios(values) for title, values in measured.items()}
    if others:
        on_cpu = workload._replace(device="cpu")
        result["rows"] = {}
        for row in rows(on_cpu, many, max(threads)):
            result["rows"][row.title] = found = _row(row, rounds)
            result["ratios"][row.title] = ratios(found["seconds"])
    if grows:
        result["growth"] = growth(rounds, START._replace(device=device))
    return result


def _reference(against: str | None, workload: Workload) -> Side:
    if against is None:
        return Side(our_steps, (workload, NaiveDARTS))
    code = Path(against, "cnn", "model_search.py")
    allowed = "a checkout of quark0/darts, with cnn/model_search.py"
    require(code.is_file(), "--against", str(against), allowed)
    return Side(reference_steps, (os.path.realpath(against), workload))


def _plans(rounds: int, threads: tuple[int, ...], device: str) -> list[Plan]:
    """The peak memory comes first: it is the warm-up."""
    operations = "operations of a step (views and allocations left out)"
    plans = [
        Plan(MEMORY, "memory", 1, 1, device),
        Plan(operations, "operations", 1, 1, device),
    ]
    for count in threads:
        clock = "wall" if device == "cuda" or count > 1 else "cpu"
        title = f"{clock} seconds on {count} threads"
        plans.append(Plan(title, clock, rounds, count, device))
    return plans


def _row(row: Row, rounds: int) -> Result:
    """Seconds and MiB of both sides."""
    clock = "wall" if row.threads > 1 else "cpu"
    plans = [Plan("memory", "memory", 1, row.threads), Plan("seconds", clock, rounds, row.threads)]
    measured = measure({"ours": row.ours, "reference": row.reference}, 1, plans)
    return {"fair": row.fair, "amount": row.amount, "clock": clock, **measured}


# --- as a table -----------------------------------------------------------------------------------


def table(result: Result) -> str:
    """What `benchmark` found, as the lines that `nascore bench` prints."""
    size = (
        "supernet of {cells} cells, {channels} channels, batch {batch}; {rounds} rounds; "
        "{device}, PyTorch {torch}\nreference: {reference}\n"
    )
    lines = [size.format_map(result["setting"])]
    lines.append(f"{'':54}{'reference / ours:':24}peak memory, MiB")
    names = f"{'medians':30}{'ours':<12}{'reference':<12}"
    lines.append(f"{names}{'min - median - max':24}{'ours':<8}{'reference':<11}ratio")
    memory = result["measured"][MEMORY]
    for title, sides in result["measured"].items():
        if title != MEMORY:
            lines += ["", title]
            for k, step in enumerate(result["steps"]):
                lines.append(_line(step, k, sides, memory))
    for title, row in result.get("rows", {}).items():
        lines += ["", f"{title} ({row['clock']} seconds)"]
        lines.append(_line("", 0, row["seconds"], row["memory"], row["amount"]))
        lines.append(f"  against {row['fair']}")
    return "\n".join(lines + _growth(result.get("growth", {})))


def _line(step: str, k: int, sides: dict, memory: dict, amount: float = 0) -> str:
    line = f"  {step:28}"
    for values in sides.values():
        median = statistics.median(values[k])
        line += f"{amount / median if amount else median:<12,.5g}"
    spread = " - ".join(f"{ratio:.2f}" for ratio in ratios(sides)[k])
    ours, reference = (values[k][0] for values in memory.values())
    return f"{line}{spread:24}{ours:<8,.0f}{reference:<11,.0f}{reference / ours:.2f}"


def _growth(found: dict) -> list[str]:
    """A line for each size that grows."""
    if not found:
        return []
    lines = ["", "slopes of log seconds over log size, least squares"]
    for name, grown in found.items():
        slopes = ", ".join(f"{step} {value:.2f}" for step, value in grown["slopes"].items())
        sizes = ", ".join(map(str, grown["sizes"]))
        lines.append(f"  {name + ' ' + sizes:28}{slopes}")
    return lines
