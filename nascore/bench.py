"""The timings that the README quotes: a step of each kind, ours and a DARTS reference checkout's in turn in one run.

Each side lives in a process of its own (so that peak memory is its own too), and one of them works at a time. On one
thread the clock is process CPU seconds, which other work on the machine disturbs little; on two it is wall seconds.
"""

import multiprocessing
import statistics
import sys
import time
import traceback
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from nascore import spaces
from nascore.data import Images
from nascore.errors import UserError, shorten
from nascore.methods.darts import DARTS, DARTSBudget

STEPS = ("weights", "alphas, first order", "alphas, second order")
RATE, CLIP = 0.025, 5.0
Step = Callable[[], object]


def our_steps(batch: int, channels: int, cells: int, device: str) -> list[Step]:
    """The steps of `methods.darts` on random images, in the order of `STEPS`."""
    pixels = torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8)
    labels, channel = torch.arange(8) % 10, (0.5, 0.5, 0.5)
    images = Images("random", pixels, labels, pixels, labels, tuple("0123456789"), channel, channel, 4, True)
    budget = DARTSBudget(channels=channels, cells=cells, batch_size=batch)
    search = DARTS(spaces.get("darts"), images, budget, 0, torch.device(device))
    train, valid = _batch(batch, device), _batch(batch, device)
    return [
        lambda: search.descend_weights(train),
        lambda: search.descend_architecture(train, valid, xi=0.0),
        lambda: search.descend_architecture(train, valid, xi=RATE),
    ]


def reference_steps(folder: str, batch: int, channels: int, cells: int, device: str) -> list[Step]:
    """The same steps by the code in FOLDER/cnn, unmodified. Its shims change this process: give it one of its own."""
    if device == "cpu":
        torch.Tensor.cuda = nn.Module.cuda = lambda self, *_, **__: self
    for name in ("add_", "sub_", "sub"):  # x.add_(scalar, tensor) is gone from PyTorch
        setattr(torch.Tensor, name, _old_signature(getattr(torch.Tensor, name)))
    sys.path.insert(0, str(Path(folder) / "cnn"))
    from architect import Architect
    from model_search import Network

    criterion = nn.CrossEntropyLoss()
    net = Network(channels, 10, cells, criterion).to(device)
    settings = dict(
        momentum=0.9, network_momentum=0.9, weight_decay=3e-4, arch_learning_rate=3e-4, arch_weight_decay=1e-3
    )
    architect = Architect(net, Namespace(**settings))
    sgd = torch.optim.SGD(net.parameters(), RATE, momentum=0.9, weight_decay=3e-4)
    (x, y), (x_valid, y_valid) = _batch(batch, device), _batch(batch, device)

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
        self.count += not (function.is_view or function.name().removeprefix("aten::").startswith(self.SKIPPED))
        return function(*arguments, **(keywords or {}))


class Side:
    """One of the two that are compared: a process that runs the step it is told and answers with the measurement."""

    def __init__(self, folder: str | None, sizes: tuple):
        self.pipe, end = multiprocessing.Pipe()
        self.name = "reference" if folder else "ours"
        process = multiprocessing.get_context("spawn").Process(target=_serve, args=(end, folder, sizes), daemon=True)
        process.start()
        end.close()
        self.process = process
        self.answer()

    def answer(self):
        try:
            answer = self.pipe.recv()
        except EOFError:
            answer = "its process ended"
        if isinstance(answer, str):
            raise UserError(f"bench: the {self.name} does not run: {answer}")
        return answer

    def __call__(self, what: str, step: int, threads: int = 1):
        self.pipe.send((what, step, threads))
        return self.answer()


def _serve(pipe, folder: str | None, sizes: tuple) -> None:
    try:
        torch.manual_seed(0)
        torch.set_num_threads(1)
        steps = reference_steps(folder, *sizes) if folder else our_steps(*sizes)
        pipe.send(True)
        start = _peak_memory(sizes[-1])
        while True:
            what, step, threads = pipe.recv()
            torch.set_num_threads(threads)
            if what == "operations":
                with Operations() as counter:
                    steps[step]()
                pipe.send(counter.count)
            else:
                pipe.send((*_time(steps[step], sizes[-1]), _peak_memory(sizes[-1]) - start))
    except (EOFError, KeyboardInterrupt):
        pass  # the parent has what it wanted
    except Exception:
        pipe.send(shorten(traceback.format_exc().strip().splitlines()[-1], 200))


def _time(step: Step, device: str) -> tuple[float, float]:
    """Process CPU seconds and wall seconds of one step."""
    synchronise = torch.cuda.synchronize if device == "cuda" else lambda: None
    synchronise()
    cpu, wall = time.process_time(), time.perf_counter()
    step()
    synchronise()
    return time.process_time() - cpu, time.perf_counter() - wall


def _peak_memory(device: str) -> float:
    """The largest memory so far, MiB: resident, or on the GPU what PyTorch has allocated."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def benchmark(
    against: str | None = None,
    batch: int = 16,
    rounds: int = 5,
    channels: int = 16,
    cells: int = 8,
    threads: tuple[int, ...] = (1, 2),
    device: str = "cpu",
) -> dict:
    """Time every step of `STEPS` `rounds` times, sides in turn, after one round of warm-up. With `against`, a checkout
    of quark0/darts, this RUNS the code in that folder. Ratios are (min, median, max) of reference / ours, by round."""
    if against is not None and not (Path(against) / "cnn" / "model_search.py").is_file():
        raise UserError(
            f"--against: found {shorten(str(against))}, allowed: a checkout of quark0/darts, with cnn/model_search.py"
        )
    for name, value, low in (("--batch", batch, 2), ("--rounds", rounds, 1)):
        if value < low:
            raise UserError(f"{name}: found {value}, allowed: a whole number of at least {low}")
    sizes = (batch, channels, cells, device)
    folders = [None] if against is None else [None, str(Path(against).resolve())]
    sides: list[Side] = []
    try:
        for folder in folders:
            sides.append(Side(folder, sizes))
        memory = {side.name: [side("time", k)[2] for k in range(3)] for side in sides}  # this is the warm-up
        operations = {side.name: [side("operations", k) for k in range(3)] for side in sides}
        seconds = {}
        for count in threads:
            clock = 1 if device == "cuda" or count > 1 else 0
            times = {side.name: [[] for _ in STEPS] for side in sides}
            for _ in range(rounds):
                for k in range(3):
                    for side in sides:
                        times[side.name][k].append(side("time", k, count)[clock])
            seconds[count] = times
    finally:
        for side in sides:
            side.process.terminate()
            side.process.join()
    setting = dict(batch=batch, channels=channels, cells=cells, rounds=rounds, device=device, torch=torch.__version__)
    result = dict(setting=setting, steps=list(STEPS), seconds=seconds, peak_memory_mib=memory, operations=operations)
    if against is not None:
        result["ratios"] = {count: [_ratio(*t) for t in zip(s["reference"], s["ours"])] for count, s in seconds.items()}
    return result


def _ratio(reference: list[float], ours: list[float]) -> tuple[float, float, float]:
    ratios = [a / b for a, b in zip(reference, ours)]
    return min(ratios), statistics.median(ratios), max(ratios)


def table(result: dict) -> str:
    """What `benchmark` found, as the lines that `nascore bench` prints."""
    setting, both = result["setting"], "ratios" in result
    lines = [
        "supernet of {cells} cells, {channels} channels, batch {batch}; {rounds} rounds; {device}, "
        "PyTorch {torch}".format(**setting)
    ]
    for count, times in result["seconds"].items():
        clock = "process CPU seconds" if count == 1 and setting["device"] == "cpu" else "wall seconds"
        lines += [
            "",
            f"{count} thread{'s' * (count > 1)}, {clock}, median" + both * "; reference / ours: min - median - max",
        ]
        for k, step in enumerate(result["steps"]):
            line = f"  {step:22}" + "".join(f"{name} {statistics.median(t[k]):7.3f}   " for name, t in times.items())
            lines.append(line + (both and "{:.2f} - {:.2f} - {:.2f}".format(*result["ratios"][count][k]) or ""))
    for title, key, form in (
        ("peak memory since the start, steps in this order, MiB", "peak_memory_mib", "7.0f"),
        ("operations of a step (views and allocations left out)", "operations", "7,d"),
    ):
        lines += ["", title]
        for k, step in enumerate(result["steps"]):
            values = {name: column[k] for name, column in result[key].items()}
            line = f"  {step:22}" + "".join(f"{name} {value:{form}}   " for name, value in values.items())
            lines.append(line + (f"{values['reference'] / values['ours']:.2f}" if both else ""))
    return "\n".join(line.rstrip() for line in lines)
