"""How a row is measured: each side in a process of its own (so that peak memory is its own too),
and one of them works at a time. On one thread the clock is process CPU seconds, which other work on
the machine disturbs little; on more it is wall seconds."""

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
from functools import lru_cache
from itertools import product
from pathlib import Path
from re import search
from statistics import median
from time import perf_counter, process_time
from typing import NamedTuple

import torch
from torch import set_num_threads

from nascore.bench.steps import Steps
from nascore.errors import UserError, reason
from nascore.workers import begin

STATUS = Path("/proc/self/status")
FORGET = Path("/proc/self/clear_refs")
Values = dict[str, list[list[float]]]  # of each side, and each step
Ratio = tuple[float, float, float]  # min, median, max


class Side(NamedTuple):
    """What makes the steps of one side, in its process."""

    make: Callable[..., Steps]
    arguments: tuple = ()


class Plan(NamedTuple):
    """What is measured of every step: a figure (memory, cpu or wall), so many times, on
    so many threads."""

    title: str
    figure: str
    times: int
    threads: int
    device: str = "cpu"


# --- in the process of one side -------------------------------------------------------------------


@lru_cache
def _begun(side: Side, device: str) -> tuple[Steps, float]:
    """The steps of one side, and the memory before the first."""
    torch.manual_seed(0)
    steps = side.make(*side.arguments)
    with suppress(OSError):  # what it took to make them counts no more; on Linux only
        FORGET.write_text("5")
    return steps, _peak_memory(device)


def _measure(side: Side, step: int, plan: Plan) -> float:
    """A figure of one step: MiB or seconds."""
    set_num_threads(plan.threads)
    steps, start = _begun(side, plan.device)
    run = steps[step]
    if plan.figure == "memory":
        run()
        # What grew by less than a MiB cannot be told from nothing, and nothing has no ratio.
        return max(1.0, _peak_memory(plan.device) - start)
    now = process_time if plan.figure == "cpu" else perf_counter
    wait = torch.cuda.synchronize if plan.device == "cuda" else int
    wait()
    began = now()
    run()
    wait()
    return now() - began


def _peak_memory(device: str) -> float:
    """The largest memory so far, MiB: resident, or on the GPU what PyTorch has allocated."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    # On Linux `getrusage` begins with the largest memory of the process that started this one.
    found = STATUS.exists() and search(r"VmHWM:\s*(\d+) kB", STATUS.read_text())
    if found:
        return int(found[1]) / 2**10
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


# --- the sides in turn ----------------------------------------------------------------------------


def clock(threads: int, device: str = "cpu") -> str:
    """The figure that is the time of a step."""
    return "wall" if device == "cuda" or threads > 1 else "cpu"


def measure(sides: dict[str, Side], steps: int, plans: Sequence[Plan]) -> dict[str, Values]:
    """What is found of each of so many steps, by the title of its plan: the sides in turn, in the
    order of the plans, the first of which is the warm-up. Raises `UserError` for a side that does
    not run."""
    measured = {}
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pools = {}
        for name in sides:
            pool = ProcessPoolExecutor(1, spawn, begin, (os.getpid(),))
            pools[name] = stack.enter_context(pool)
        for plan in plans:
            values: Values = {name: [[] for _ in range(steps)] for name in sides}
            for _, k, (name, side) in product(range(plan.times), range(steps), sides.items()):
                try:
                    work = pools[name].submit(_measure, side, k, plan)
                    values[name][k].append(work.result())
                except Exception as error:
                    why = reason(error)[:200]
                    raise UserError(f"bench: the {name} does not run: {why}") from None
            measured[plan.title] = values
    return measured


def ratios(sides: Values) -> list[Ratio]:
    """reference / ours, by round, of each step."""
    return list(map(_ratio, sides["reference"], sides["ours"]))


def _ratio(reference: list[float], ours: list[float]) -> Ratio:
    found = [a / b for a, b in zip(reference, ours)]
    return min(found), median(found), max(found)
