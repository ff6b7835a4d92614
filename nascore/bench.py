"""The timings that the README quotes: a step of each kind, ours and a DARTS reference checkout's in
turn in one run.

Each side lives in a process of its own (so that peak memory is its own too), and one of them works
at a time. On one thread the clock is process CPU seconds, which other work on the machine disturbs
little; on two it is wall seconds.
"""

import multiprocessing
import os
import statistics
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from nascore import spaces
from nascore.data import Images
from nascore.errors import UserError, reason, require, whole
from nascore.methods.darts import DARTS, DARTSBudget
from nascore.workers import begin

STEPS = ("weights", "alphas, first order", "alphas, second order")
RATE = 0.025
CLIP = 5.0
MOMENTUM = 0.9
DECAY = 3e-4
Step = Callable[[], object]
Folders = dict[str, str | None]  # the reference's code by the name of its side; None: ours
Values = dict[str, list[list[float]]]  # of each side, and each step
Result = dict  # what is printed as JSON


class Sizes(NamedTuple):
    """Of a supernet and its minibatches, and where they are."""

    batch: int
    channels: int
    cells: int
    device: str


class Plan(NamedTuple):
    """What is measured of every step: a figure (memory, operations, cpu or wall), so many times, on
    so many threads."""

    title: str
    figure: str
    times: int
    threads: int


def our_steps(sizes: Sizes) -> list[Step]:
    """The steps of `methods.darts` on random images, in the order of `STEPS`."""
    batch, channels, cells, device = sizes
    pixels = torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8)
    labels = torch.arange(8) % 10
    channel = (0.5, 0.5, 0.5)
    images = Images(
        "random", pixels, labels, pixels, labels, tuple("0123456789"), channel, channel, 4, True
    )
    budget = DARTSBudget(channels=channels, cells=cells, batch_size=batch)
    search = DARTS(spaces.get("darts"), images, budget, 0, torch.device(device))
    train = _batch(batch, device)
    valid = _batch(batch, device)

    def step(name: str, *arguments: object) -> None:
        search.threads = torch.get_num_threads()  # here it is not the sizes that decide
        getattr(search, name)(*arguments)

    return [
        partial(step, "descend_weights", train),
        partial(step, "descend_architecture", train, valid, 0.0),
        partial(step, "descend_architecture", train, valid, RATE),
    ]


def reference_steps(folder: str, sizes: Sizes) -> list[Step]:
    """The same steps by the code in FOLDER/cnn, unmodified. Its shims change this process: give
    it one of its own."""
    batch, channels, cells, device = sizes
    if device == "cpu":  # mypy takes no shim for what it replaces
        Tensor.cuda = nn.Module.cuda = _stays  # type: ignore[method-assign,assignment]
    for name in ("add_", "sub_", "sub"):
        setattr(Tensor, name, _old_signature(getattr(Tensor, name)))
    sys.path.insert(0, str(Path(folder) / "cnn"))
    from architect import Architect
    from model_search import Network

    criterion = nn.CrossEntropyLoss()
    net = Network(channels, 10, cells, criterion).to(device)
    sgd = torch.optim.SGD(net.parameters(), RATE, momentum=MOMENTUM, weight_decay=DECAY)
    settings = Namespace(
        momentum=MOMENTUM,
        network_momentum=MOMENTUM,
        weight_decay=DECAY,
        arch_learning_rate=3e-4,
        arch_weight_decay=1e-3,
    )
    architect = Architect(net, settings)
    x, y = _batch(batch, device)
    x_valid, y_valid = _batch(batch, device)

    def weights() -> None:
        sgd.zero_grad()
        criterion(net(x), y).backward()
        nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        sgd.step()

    return [
        weights,
        lambda: architect.step(x, y, x_valid, y_valid, RATE, sgd, unrolled=False),
        lambda: architect.step(x, y, x_valid, y_valid, RATE, sgd, unrolled=True),
    ]


def _stays(self: Any, *_: object, **__: object) -> Any:
    return self


def _old_signature(new: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`x.add_(scalar, tensor)`, which is gone from PyTorch."""
    return lambda self, a, *b, **c: new(self, b[0], alpha=float(a)) if b else new(self, a, **c)


def _batch(size: int, device: str) -> tuple[Tensor, Tensor]:
    x = torch.randn(size, 3, 32, 32, device=device)
    return x, torch.randint(10, (size,), device=device)


class Operations(TorchDispatchMode):
    """Counts what is run; views and allocations do no arithmetic and are left out."""

    SKIPPED = ("empty", "detach", "lift", "_local_scalar_dense", "alias", "is_")

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), keywords: Any = None
    ) -> Any:
        name = function.name().removeprefix("aten::")
        self.count += not (function.is_view or name.startswith(self.SKIPPED))
        return function(*arguments, **(keywords or {}))


# --- in the process of one side -------------------------------------------------------------------


@lru_cache
def _side(folder: str | None, sizes: Sizes) -> tuple[list[Step], float]:
    """The steps of one side, and the memory before the first."""
    torch.manual_seed(0)
    steps = reference_steps(folder, sizes) if folder else our_steps(sizes)
    return steps, _peak_memory(sizes.device)


def _measure(folder: str | None, sizes: Sizes, step: int, figure: str, threads: int) -> float:
    """A figure of one step: MiB, operations or seconds."""
    torch.set_num_threads(threads)
    steps, start = _side(folder, sizes)
    run = steps[step]
    if figure == "operations":
        with Operations() as counter:
            run()
        return counter.count
    if figure == "memory":
        run()
        # What grew by less than a MiB cannot be told from nothing, and nothing has no ratio.
        return max(1.0, _peak_memory(sizes.device) - start)
    clock = time.process_time if figure == "cpu" else time.perf_counter
    wait = torch.cuda.synchronize if sizes.device == "cuda" else int
    wait()
    began = clock()
    run()
    wait()
    return clock() - began


def _peak_memory(device: str) -> float:
    """The largest memory so far, MiB: resident, or on the GPU what PyTorch has allocated."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


# --- both sides in turn ---------------------------------------------------------------------------


def benchmark(
    against: str | None = None,
    batch: int = 16,
    rounds: int = 5,
    channels: int = 16,
    cells: int = 8,
    threads: tuple[int, ...] = (1, 2),
    device: str = "cpu",
) -> Result:
    """Time every step of `STEPS` `rounds` times, sides in turn, after one round of warm-up. With
    `against`, a checkout of quark0/darts, this RUNS the code in that folder. Ratios are (min,
    median, max) of reference / ours, by round."""
    folders: Folders = {"ours": None}
    if against is not None:
        code = Path(against, "cnn", "model_search.py")
        allowed = "a checkout of quark0/darts, with cnn/model_search.py"
        require(code.is_file(), "--against", str(against), allowed)
        folders["reference"] = str(Path(against).resolve())
    sizes = Sizes(whole("--batch", batch, 2, 4096), channels, cells, device)
    plans = _plans(whole("--rounds", rounds, 1, 1000), threads, device)
    measured = _measured(folders, sizes, plans)
    setting = {
        "batch": batch,
        "channels": channels,
        "cells": cells,
        "rounds": rounds,
        "device": device,
        "torch": torch.__version__,
    }
    result: Result = {"setting": setting, "steps": list(STEPS), "measured": measured}
    if against is not None:
        result["ratios"] = {
            title: list(map(_ratio, sides["reference"], sides["ours"]))
            for title, sides in measured.items()
        }
    return result


def _plans(rounds: int, threads: tuple[int, ...], device: str) -> list[Plan]:
    """The peak memory comes first: it is the warm-up."""
    plans = [
        Plan("peak memory since the start, steps in this order, MiB", "memory", 1, 1),
        Plan("operations of a step (views and allocations left out)", "operations", 1, 1),
    ]
    for count in threads:
        clock = "wall" if device == "cuda" or count > 1 else "cpu"
        plans.append(Plan(f"{clock} seconds on {count} threads", clock, rounds, count))
    return plans


def _measured(folders: Folders, sizes: Sizes, plans: list[Plan]) -> dict[str, Values]:
    """What was found, by the title of its plan."""
    measured = {}
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pools = {}
        for name in folders:
            pool = ProcessPoolExecutor(1, spawn, begin, (os.getpid(),))
            pools[name] = stack.enter_context(pool)
        for title, figure, times, threads in plans:
            values: Values = {name: [[] for _ in STEPS] for name in folders}
            for _, k, (name, folder) in product(range(times), range(len(STEPS)), folders.items()):
                try:
                    work = pools[name].submit(_measure, folder, sizes, k, figure, threads)
                    values[name][k].append(work.result())
                except Exception as error:
                    why = reason(error)[:200]
                    raise UserError(f"bench: the {name} does not run: {why}") from None
            measured[title] = values
    return measured


def _ratio(reference: list[float], ours: list[float]) -> tuple[float, float, float]:
    ratios = [a / b for a, b in zip(reference, ours)]
    return min(ratios), statistics.median(ratios), max(ratios)


def table(result: Result) -> str:
    """What `benchmark` found, as the lines that `nascore bench` prints."""
    size = (
        "supernet of {cells} cells, {channels} channels, batch {batch}; {rounds} rounds; "
        "{device}, PyTorch {torch}"
    )
    lines = [size.format_map(result["setting"])]
    ratios = result.get("ratios", {})
    if ratios:
        lines.append("medians, and reference / ours: min - median - max")
    for title, sides in result["measured"].items():
        lines += ["", title]
        for k, step in enumerate(result["steps"]):
            line = f"  {step:22}"
            for name, values in sides.items():
                line += f"{name} {statistics.median(values[k]):<12,.5g}"
            if ratios:
                line += " - ".join(f"{ratio:.2f}" for ratio in ratios[title][k])
            lines.append(line.rstrip())
    return "\n".join(lines)
