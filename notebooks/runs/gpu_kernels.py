"""What steps and their kernels take on a device, for `gpu.py`: convolutions by themselves, and whole steps, ours and
those of a reference checkout, each side in a process of its own.

`bf16` is `torch.autocast` around a step, and for a convolution by itself the type of its tensors.
"""

import json
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.benchmark import Timer

from nascore import bench
from nascore.cuda import Played
from nascore.errors import reason
from nascore.files import write_json

WAYS = {"cuda": ("eager", "graph", "bf16"), "cpu": ("eager", "bf16")}


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


# --- convolutions by themselves ---------------------------------------------------------------------------------------


class Convolution(NamedTuple):
    """One of a supernet, padded to keep the size. Where `mixes`, each edge's channels are mixed; else each channel has
    its own kernel."""

    kernel: int
    stride: int
    dilation: int
    mixes: bool = False

    @property
    def name(self) -> str:
        if self.mixes:
            return "grouped 1x1"
        return f"depthwise {self.kernel}, stride {self.stride}, dilation {self.dilation}"


CONVOLUTIONS = [Convolution(kernel, *how) for kernel in (3, 5) for how in ((1, 1), (2, 1), (1, 2))]
CONVOLUTIONS.append(Convolution(1, 1, 1, mixes=True))
LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
PRECISIONS = ("fp32", "TF32", "bf16")
EDGES = 4  # that leave a cell's input, their channels side by side


@contextmanager
def precision(name: str) -> Iterator[None]:
    """float32 as IEEE has it, or rounded to TF32 where a card can."""
    places = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "tf32" if name == "TF32" else "ieee"
        yield
    finally:
        for place, was in zip(places, before):
            place.fp32_precision = was


def convolution_times(how: Convolution, width: int, side: int, workload, seconds: float) -> dict:
    """Microseconds of the forward pass and both gradients, by "layout, precision": medians over `seconds` each."""
    found = {}
    for layout, memory_format in LAYOUTS.items():
        for name in PRECISIONS:
            dtype = torch.bfloat16 if name == "bf16" else torch.float32
            channels = EDGES * width
            x = torch.randn(workload.batch, channels, side, side, device=workload.device, dtype=dtype)
            weight = torch.randn(channels, width if how.mixes else 1, how.kernel, how.kernel, device=x.device)
            x = x.contiguous(memory_format=memory_format)
            weight = weight.to(dtype).contiguous(memory_format=memory_format)
            with precision(name):
                found[f"{layout}, {name}"] = _three_times(how, x, weight, seconds)
    return found


def _three_times(how: Convolution, x: Tensor, weight: Tensor, seconds: float) -> dict[str, float]:
    padding = how.dilation * (how.kernel // 2)
    groups = x.size(1) // weight.size(1)
    gradient = torch.randn_like(F.conv2d(x, weight, None, how.stride, padding, how.dilation, groups))
    sizes = ([0], [how.stride] * 2, [padding] * 2, [how.dilation] * 2, False, [0, 0], groups)

    def backward(*needed: bool) -> object:
        return torch.ops.aten.convolution_backward(gradient, x, weight, *sizes, [*needed, False])

    calls = {
        "forward": lambda: F.conv2d(x, weight, None, how.stride, padding, how.dilation, groups),
        "to input": lambda: backward(True, False),
        "to weight": lambda: backward(False, True),
    }
    return {name: round(_microseconds(call, seconds), 2) for name, call in calls.items()}


def _microseconds(call, seconds: float) -> float:
    """PyTorch's own timer, which waits for the card."""
    call()
    return 1e6 * Timer("call()", globals={"call": call}).blocked_autorange(min_run_time=seconds).median


# --- whole steps ------------------------------------------------------------------------------------------------------


class Sides:
    """Ours and, where there is one, the reference's: its shims change a process, so each has its own. One works at a
    time."""

    def __init__(self, reference: str | None, workload):
        self.workload = workload
        self.folders = {"ours": None} | ({"reference": reference} if reference else {})
        spawn = multiprocessing.get_context("spawn")
        self.processes = {name: ProcessPoolExecutor(1, spawn) for name in self.folders}

    def ask(self, side: str, function, *arguments):
        """What `function` says in the process of a side."""
        return self.processes[side].submit(function, self.folders[side], self.workload, *arguments).result()

    def __enter__(self) -> "Sides":
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.processes.values():
            process.shutdown(cancel_futures=True)


@lru_cache
def _steps(folder: str | None, workload) -> list:
    """Of one side, in its process."""
    torch.manual_seed(0)
    return bench.reference_steps(folder, workload) if folder else bench.our_steps(workload)


@lru_cache
def _ready(folder: str | None, workload, step: int, way: str):
    """A call of a step in one way, which has been made three times: the second records a graph."""
    run = _steps(folder, workload)[step]
    call = run
    if way == "graph":
        played = Played()
        here = torch.zeros((), device=workload.device)

        def call() -> object:
            return played(lambda _: run(), (), here)

    def made() -> None:
        with torch.autocast(workload.device, torch.bfloat16) if way == "bf16" else nullcontext():
            call()

    for _ in range(3):
        made()
    return made


def _milliseconds(folder: str | None, workload, step: int, way: str, times: int) -> float:
    call = _ready(folder, workload, step, way)
    synchronize(workload.device)
    began = time.perf_counter()
    for _ in range(times):
        call()
    synchronize(workload.device)
    return 1e3 * (time.perf_counter() - began) / times


def step_times(sides: Sides, step: int, rounds: int, times: int) -> dict:
    """Milliseconds of one step by way: median, least and most of `rounds`, all ways in turn."""
    ways = [("ours", way) for way in WAYS[sides.workload.device]]
    ways += [("reference", "eager")] if "reference" in sides.folders else []
    values: dict = {way: [] for way in ways}
    failed: dict = {}
    for _ in range(rounds):
        for side, way in [way for way in ways if way not in failed]:
            try:
                values[side, way].append(sides.ask(side, _milliseconds, step, way, times))
            except Exception as error:
                failed[side, way] = reason(error).splitlines()[0][:200]
    return {
        f"{side}, {way}": {"error": failed[side, way]}
        if (side, way) in failed
        else {"median": statistics.median(found), "least": min(found), "most": max(found)}
        for (side, way), found in values.items()
    }


# --- a profile --------------------------------------------------------------------------------------------------------


def _profile(folder: str | None, workload, rows: int) -> dict:
    """One weights step: its wall time, what the device was busy for, and the kernels that took longest. On the CPU,
    which has no kernels, its operations."""
    call = _ready(folder, workload, 0, "eager")
    card = workload.device == "cuda"
    wall = _milliseconds(folder, workload, 0, "eager", 3)
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if card else [])]) as profiled:
        call()
        synchronize(workload.device)
    kind = torch.autograd.DeviceType.CUDA if card else torch.autograd.DeviceType.CPU
    events = [event for event in profiled.key_averages() if event.device_type == kind]

    def milliseconds(event) -> float:
        return (event.self_device_time_total if card else event.self_cpu_time_total) / 1e3

    events.sort(key=milliseconds, reverse=True)
    longest = [
        {"name": event.key[:90], "calls": event.count, "ms": round(milliseconds(event), 4)} for event in events[:rows]
    ]
    busy = sum(map(milliseconds, events))
    return {"wall ms": wall, "busy ms": busy, "kernels": sum(event.count for event in events), "longest": longest}


def profile_of(sides: Sides, side: str, rows: int = 15) -> dict:
    return sides.ask(side, _profile, rows)


# --- as steps of gpu.py -----------------------------------------------------------------------------------------------


def workload(run):
    return bench.Workload(**run.sizes["workload"], device=run.device)


def kernels(run, need: float) -> None:
    """Convolutions by themselves, in both layouts and three precisions: this chooses the layout."""
    for width, side in run.sizes["maps"]:
        how = (width, side, workload(run), run.sizes["kernel_seconds"])
        items = [(f"{c.name}, {width} x {side} x {side}", c) for c in CONVOLUTIONS]
        run.each("kernels", need, ((name, lambda c=c, how=how: convolution_times(c, *how)) for name, c in items))


def profiles(run, need: float) -> None:
    """Of one weights step; the longest kernels go into a file of their own."""
    file = run.out / "profile.json"

    def profiled(side: str) -> dict:
        found = profile_of(sides, side)
        stored = json.loads(file.read_text()) if file.exists() else {}
        write_json(file, stored | {side: found})
        return {name: value for name, value in found.items() if name != "longest"}

    with Sides(run.reference, workload(run)) as sides:
        run.each("profile", need, ((side, lambda side=side: profiled(side)) for side in sides.folders))


def steps(run, need: float) -> None:
    """A step of each kind: eager, as a graph, in bf16 and the reference's, in turn."""
    rounds, times = run.sizes["rounds"], run.sizes["times"]
    with Sides(run.reference, workload(run)) as sides:
        items = ((name, lambda k=k: step_times(sides, k, rounds, times)) for k, name in enumerate(bench.STEPS))
        run.each("steps", need, items)
