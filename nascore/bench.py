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
from contextlib import ExitStack, nullcontext
from functools import lru_cache, partial
from itertools import product
from pathlib import Path

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
Step = Callable[[], object]


def our_steps(batch: int, channels: int, cells: int, device: str) -> list[Step]:
    """The steps of `methods.darts` on random images, in the order of `STEPS`."""
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


def reference_steps(folder: str, batch: int, channels: int, cells: int, device: str) -> list[Step]:
    """The same steps by the code in FOLDER/cnn, unmodified. Its shims change this process: give
    it one of its own."""
    if device == "cpu":
        torch.Tensor.cuda = nn.Module.cuda = lambda self, *_, **__: self
    for name in ("add_", "sub_", "sub"):  # x.add_(scalar, tensor) is gone from PyTorch
        setattr(torch.Tensor, name, _old_signature(getattr(torch.Tensor, name)))
    sys.path.insert(0, str(Path(folder) / "cnn"))
    from architect import Architect
    from model_search import Network

    criterion = nn.CrossEntropyLoss()
    net = Network(channels, 10, cells, criterion).to(device)
    settings = dict(momentum=0.9, weight_decay=3e-4)
    sgd = torch.optim.SGD(net.parameters(), RATE, **settings)
    alphas = dict(network_momentum=0.9, arch_learning_rate=3e-4, arch_weight_decay=1e-3)
    architect = Architect(net, Namespace(**settings, **alphas))
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


def _old_signature(new: Callable) -> Callable:
    return lambda self, a, *b, **c: new(self, b[0], alpha=float(a)) if b else new(self, a, **c)


def _batch(size: int, device: str) -> tuple[Tensor, Tensor]:
    x = torch.randn(size, 3, 32, 32, device=device)
    return x, torch.randint(10, (size,), device=device)


class Operations(TorchDispatchMode):
    """Counts what is run; views and allocations do no arithmetic and are left out."""

    SKIPPED = ("empty", "detach", "lift", "_local_scalar_dense", "alias", "is_")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        self.count += not (
            function.is_view or function.name().removeprefix("aten::").startswith(self.SKIPPED)
        )
        return function(*arguments, **(keywords or {}))


# --- in the process of one side -------------------------------------------------------------------


@lru_cache
def _side(folder: str | None, *sizes) -> tuple[list[Step], float]:
    """The steps of one side, and the memory before the first."""
    torch.manual_seed(0)
    steps = reference_steps(folder, *sizes) if folder else our_steps(*sizes)
    return steps, _peak_memory(sizes[-1])


def _measure(
    folder: str | None, sizes: tuple, step: int, threads: int, counted: bool
) -> dict[str, float]:
    torch.set_num_threads(threads)
    steps, start = _side(folder, *sizes)
    synchronise = torch.cuda.synchronize if sizes[-1] == "cuda" else lambda: None
    counter = Operations() if counted else nullcontext()
    synchronise()
    cpu = time.process_time()
    wall = time.perf_counter()
    with counter:
        steps[step]()
    synchronise()
    found = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    # What grew by less than a MiB cannot be told from nothing, and nothing has no ratio.
    return found | {
        "memory": max(1.0, _peak_memory(sizes[-1]) - start),
        "operations": getattr(counter, "count", 0),
    }


def _peak_memory(device: str) -> float:
    """The largest memory so far, MiB: resident, or on the GPU what PyTorch has allocated."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        2**20 if sys.platform == "darwin" else 2**10
    )


# --- both sides in turn ---------------------------------------------------------------------------


def benchmark(
    against: str | None = None,
    batch: int = 16,
    rounds: int = 5,
    channels: int = 16,
    cells: int = 8,
    threads: tuple[int, ...] = (1, 2),
    device: str = "cpu",
) -> dict:
    """Time every step of `STEPS` `rounds` times, sides in turn, after one round of warm-up. With
    `against`, a checkout of quark0/darts, this RUNS the code in that folder. Ratios are (min,
    median, max) of reference / ours, by round."""
    folders: dict[str, str | None] = {"ours": None}
    if against is not None:
        code = Path(against, "cnn", "model_search.py")
        allowed = "a checkout of quark0/darts, with cnn/model_search.py"
        require(code.is_file(), "--against", str(against), allowed)
        folders["reference"] = str(Path(against).resolve())
    sizes = (whole("--batch", batch, 2, 4096), channels, cells, device)
    whole("--rounds", rounds, 1, 1000)
    with ExitStack() as stack:
        spawn = multiprocessing.get_context("spawn")
        pools = {
            name: stack.enter_context(ProcessPoolExecutor(1, spawn, begin, (os.getpid(),)))
            for name in folders
        }

        def measure(name: str, step: int, threads: int, counted: bool) -> dict[str, float]:
            try:
                return (
                    pools[name]
                    .submit(_measure, folders[name], sizes, step, threads, counted)
                    .result()
                )
            except Exception as error:
                why = reason(error)[:200]
                raise UserError(f"bench: the {name} does not run: {why}") from None

        # title -> which figure, how often, on how many threads. The peak memory comes first: it is
        # the warm-up.
        plans = {"peak memory since the start, steps in this order, MiB": ("memory", 1, 1)}
        plans["operations of a step (views and allocations left out)"] = ("operations", 1, 1)
        for count in threads:
            clock = "wall" if device == "cuda" or count > 1 else "cpu"
            plans[f"{clock} seconds on {count} threads"] = (clock, rounds, count)
        measured = {title: {name: [[] for _ in STEPS] for name in folders} for title in plans}
        for title, (figure, times, count) in plans.items():
            for _, k, name in product(range(times), range(len(STEPS)), folders):
                measured[title][name][k].append(
                    measure(name, k, count, figure == "operations")[figure]
                )
    setting = dict(
        batch=batch,
        channels=channels,
        cells=cells,
        rounds=rounds,
        device=device,
        torch=torch.__version__,
    )
    result = {"setting": setting, "steps": list(STEPS), "measured": measured}
    if against is not None:
        pairs = {title: zip(sides["reference"], sides["ours"]) for title, sides in measured.items()}
        result["ratios"] = {
            title: [_ratio(*pair) for pair in steps] for title, steps in pairs.items()
        }
    return result


def _ratio(reference: list[float], ours: list[float]) -> tuple[float, float, float]:
    ratios = [a / b for a, b in zip(reference, ours)]
    return min(ratios), statistics.median(ratios), max(ratios)


def table(result: dict) -> str:
    """What `benchmark` found, as the lines that `nascore bench` prints."""
    size = "supernet of {cells} cells, {channels} channels, batch {batch}; {rounds} rounds; {device}, PyTorch {torch}"
    lines = [size.format(**result["setting"])]
    if "ratios" in result:
        lines.append("medians, and reference / ours: min - median - max")
    for title, sides in result["measured"].items():
        lines += ["", title]
        for k, step in enumerate(result["steps"]):
            values = "".join(
                f"{name} {statistics.median(steps[k]):<12,.5g}" for name, steps in sides.items()
            )
            ratio = result["ratios"][title][k] if "ratios" in result else ()
            lines.append(f"  {step:22}{values}{' - '.join(f'{r:.2f}' for r in ratio)}".rstrip())
    return "\n".join(lines)
