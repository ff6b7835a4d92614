"""What a step of DARTS takes of memory, as `nascore.memory` expects it and as the system counts it (largest resident
set of a process of its own): `python notebooks/runs/memory.py`, about ten minutes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import torch

from nascore import spaces
from nascore.images import Images
from nascore.memory import need
from nascore.methods.darts import DARTS, DARTSBudget

CPU = torch.device("cpu")
SIZES = [(2, 4, 3, 1), (64, 8, 5, 1), (16, 16, 8, 1), (16, 16, 8, 2), (64, 16, 8, 1), (16, 32, 8, 1), (8, 16, 20, 1)]


def make(batch: int, channels: int, cells: int, order: int) -> DARTS:
    pixels, labels = torch.randint(256, (512, 3, 32, 32), dtype=torch.uint8), torch.arange(512) % 10
    images = Images("random", pixels, labels, pixels, labels, tuple("0123456789"), (0.5,) * 3, (0.5,) * 3, 4, True)
    budget = DARTSBudget(batch_size=batch, channels=channels, cells=cells, order=order)
    return DARTS(spaces.get("darts"), images, budget, 0, CPU)


def measured(again: bool, batch: int, *sizes: int) -> float:
    """The largest resident set of this process, MiB. On Linux alone: `getrusage` would begin with its parent's."""
    loop = make(batch, *sizes)
    if again:
        loop.recompute()
    for _ in range(2):
        loop.step()
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 2**10


def main() -> None:
    rows = []
    for batch, *sizes in SIZES:
        for again in (False, True):
            expected = need(lambda b, s=sizes: make(b, *s), again, 512 * 3 * 32**2, CPU).of(batch) / 2**20
            words = map(str, (int(again), batch, *sizes))
            found = float(subprocess.run([sys.executable, __file__, *words], capture_output=True, check=True).stdout)
            setting = dict(zip(("batch", "channels", "cells", "order"), (batch, *sizes)))
            rows.append(setting | {"recomputed": again, "expected": expected, "measured": found})
            print(f"{rows[-1]} {expected / found:.3f}")
    file = Path(__file__).with_suffix(".json")
    about = {"command": f"python notebooks/runs/{Path(__file__).name}", "rows": rows}
    file.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        again, *sizes = map(int, sys.argv[1:])
        print(measured(bool(again), *sizes))
    else:
        main()
