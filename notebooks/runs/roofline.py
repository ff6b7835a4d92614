"""What bounds a step of the DARTS supernet on this machine: `python notebooks/runs/roofline.py`, a minute, one thread.

Every operation that PyTorch runs in a weights step is timed, and its arithmetic and the bytes of what it reads and puts
out are counted. The roof is measured too: a large matrix product, and a copy that fits into no cache."""

import json
import math
import platform
import sys
import time
from collections import defaultdict
from datetime import date
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nascore import bench

BATCH, ROUNDS = 16, 3


def kind_of(name: str, arguments: tuple) -> str:
    """What a reader would call an operation; convolutions by what they mix."""
    if "convolution" in name:
        backward = "backward" in name
        weight = arguments[2 if backward else 1]
        groups = arguments[9 if backward else 8]
        mixes = "depthwise" if groups > 1 and weight.size(1) == 1 else "1x1" if weight.size(2) == 1 else "dense 3x3"
        return f"{mixes}{', gradients' if backward else ''}"
    for word, kind in KINDS.items():
        if word in name:
            return kind
    return "other"


KINDS = {
    "batch_norm_backward": "batch norm, gradients",
    "batch_norm": "batch norm",
    "pool": "pools",
    "threshold_backward": "relu",
    "relu": "relu",
    "cat": "copies",
    "clone": "copies",
    "copy": "copies",
    "contiguous": "copies",
    "slice_backward": "copies",
    "add": "sums",
    "mul": "sums",
    "sum": "sums",
}


def arithmetic(name: str, arguments: tuple, found: object) -> float:
    """Multiplications and additions."""
    if "convolution" in name:
        backward = "backward" in name
        weight = arguments[2 if backward else 1]
        out = arguments[0] if backward else found
        once = 2.0 * out.numel() * weight[0].numel()
        return once * sum(arguments[10][:2]) if backward else once
    tensors = [x for x in tree_leaves(found) if isinstance(x, torch.Tensor)]
    passes = {"native_batch_norm": 8, "batch_norm_backward": 11, "pool": 9}
    each = next((count for word, count in passes.items() if word in name), 1)
    return each * float(sum(x.numel() for x in tensors))


class Timed(TorchDispatchMode):
    """Seconds, arithmetic, bytes and calls of each kind of operation."""

    def __init__(self):
        super().__init__()
        self.seen = defaultdict(lambda: [0.0, 0.0, 0.0, 0])

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name()
        began = time.perf_counter()
        found = function(*args, **kwargs or {})
        seconds = time.perf_counter() - began
        if not function.is_view and "empty" not in name and "detach" not in name:
            held = [x for x in tree_leaves((args, kwargs, found)) if isinstance(x, torch.Tensor)]
            row = self.seen[kind_of(name, args)]
            row[0] += seconds
            row[1] += arithmetic(name, args, found)
            row[2] += sum(x.nbytes for x in held)
            row[3] += 1
        return found


def best(call, times: int = 7) -> float:
    """Seconds of the quickest of so many."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def main() -> None:
    torch.set_num_threads(1)
    x, large = torch.randn(2048, 2048), torch.empty(2**27)  # half a GB
    other = torch.empty_like(large)
    peak = 2 * 2048**3 / best(lambda: x @ x) / 1e9
    bandwidth = 2 * large.nbytes / best(lambda: other.copy_(large)) / 1e9
    step, *_ = bench.our_steps(bench.Workload(BATCH, 16, 8, "cpu"))
    step()
    rounds = []
    for _ in range(ROUNDS):
        with Timed() as timed:
            step()
        rounds.append(timed.seen)
    kinds = []
    for kind, (_, flops, held, calls) in rounds[0].items():
        seconds = sorted(seen[kind][0] for seen in rounds)[ROUNDS // 2]
        kinds.append({"kind": kind, "seconds": seconds, "flops": flops, "bytes": held, "calls": calls})
    kinds.sort(key=lambda row: -row["seconds"])
    about = {
        "command": "python notebooks/runs/roofline.py",
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, one thread, PyTorch {torch.__version__}",
        "step": f"weights, batch {BATCH}, 16 channels, 8 cells, median of {ROUNDS}",
        "peak": peak,  # GFLOP/s
        "bandwidth": bandwidth,  # GB/s
        "kinds": kinds,
    }
    name = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_suffix(".json")
    Path(name).write_text(json.dumps(about, indent=1) + "\n")
    whole = math.fsum(row["seconds"] for row in kinds)
    print(f"roof: {peak:.0f} GFLOP/s, {bandwidth:.1f} GB/s; step {whole:.2f} s")
    for row in kinds:
        rate = row["flops"] / row["seconds"] / 1e9
        intensity = row["flops"] / row["bytes"]
        roof = min(peak, intensity * bandwidth)
        print(f"{row['kind']:24}{row['seconds'] / whole:6.1%}  {row['calls']:5} calls  {intensity:6.2f} flop/byte  "
              f"{rate:6.1f} GFLOP/s of {roof:6.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
