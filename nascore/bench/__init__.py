"""The timings that the README quotes, ours and a reference's in turn in one run: DARTS's steps, and
the other rows."""

import statistics
from os.path import realpath
from pathlib import Path
from typing import Any

import torch

from nascore.bench.harness import Plan, Side, clock, measure, ratios
from nascore.bench.naive import NaiveDARTS
from nascore.bench.rows import Row, other_rows
from nascore.bench.steps import STEPS, Workload, our_steps, reference_steps
from nascore.errors import require, whole

__all__ = [
    "STEPS",
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
    many: int = 1000,
) -> Result:
    """Time every step of `STEPS` `rounds` times, sides in turn, after one round of warm-up. With
    `against`, a checkout of quark0/darts, this RUNS the code in that folder; without, the reference
    is the naive supernet. `others` adds all other rows, with `many` images, queries and
    architectures each. Ratios are (min, median, max) of reference / ours, by round. Raises
    `UserError`."""
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
        for row in other_rows(on_cpu, many, max(threads)):
            result["rows"][row.title] = found = _row(row, rounds)
            result["ratios"][row.title] = ratios(found["seconds"])
    return result


def _reference(against: str | None, workload: Workload) -> Side:
    if against is None:
        return Side(our_steps, (workload, NaiveDARTS))
    code = Path(against, "cnn", "model_search.py")
    allowed = "a checkout of quark0/darts, with cnn/model_search.py"
    require(code.is_file(), "--against", str(against), allowed)
    return Side(reference_steps, (realpath(against), workload))


def _plans(rounds: int, threads: tuple[int, ...], device: str) -> list[Plan]:
    """The peak memory comes first: it is the warm-up."""
    plans = [Plan(MEMORY, "memory", 1, 1, device)]
    for count in threads:
        which = clock(count, device)
        plans.append(Plan(f"{which} seconds on {count} threads", which, rounds, count, device))
    return plans


def _row(row: Row, rounds: int) -> Result:
    """Both sides' seconds, and MiB."""
    seconds = Plan("seconds", clock(row.threads), rounds, row.threads)
    plans = [Plan("memory", "memory", 1, row.threads), seconds]
    sides = {"ours": row.ours, "reference": row.reference}
    measured = measure(sides, len(row.steps), plans)
    return {"against": row.against, "steps": row.steps, "clock": seconds.figure, **measured}


# --- as a table -----------------------------------------------------------------------------------


def table(result: Result) -> str:
    """What `benchmark` found, as the lines that `nascore bench` prints."""
    size = (
        "supernet of {cells} cells, {channels} channels, batch {batch}; {rounds} rounds; "
        "{device}, PyTorch {torch}\nagainst {reference}\n"
    )
    text = [
        size.format_map(result["setting"]),
        f"{'':54}{'reference / ours:':24}peak memory, MiB (not of workers)",
        f"{'medians':30}{'ours':12}{'reference':12}{'min - median - max':24}ours, reference, ratio",
    ]
    memory = result["measured"][MEMORY]
    for title, sides in result["measured"].items():
        if title != MEMORY:
            text += ["", title]
            for k, step in enumerate(result["steps"]):
                text.append(_line(step, k, sides, memory))
    for title, row in result.get("rows", {}).items():
        text += ["", f"{title} ({row['clock']} seconds), against {row['against']}"]
        for k, (step, amount) in enumerate(row["steps"].items()):
            text.append(_line(step, k, row["seconds"], row["memory"], amount))
    return "\n".join(text)


def _line(name: str, k: int, sides: dict, memory: dict, amount: float = 0) -> str:
    line = f"  {name:28}"
    for values in sides.values():
        median = statistics.median(values[k])
        line += f"{amount / median if amount else median:<12,.5g}"
    spread = " - ".join(f"{ratio:.2f}" for ratio in ratios(sides)[k])
    ours, reference = (values[k][0] for values in memory.values())
    return f"{line}{spread:24}{ours:,.0f}, {reference:,.0f}, {reference / ours:.2f}"
