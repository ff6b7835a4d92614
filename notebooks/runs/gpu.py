"""One command for the day a GPU is there:

    python notebooks/runs/gpu.py --data cifar10-jpeg.tar.xz [--minutes 9.5] [--reference FOLDER]

A call ends by itself, after 9.5 minutes at most, and the next one goes on where it stopped, in the middle of the long
search too. It needs nascore's core packages and no network. What fails is one line in the results, and the next thing
is measured. Into `notebooks/runs/gpu-CARD-DATE/` go six small files: results.json (written as soon as there is one),
table.md (made of it), profile.json, tests.xml, and of the search genotype.json and history.jsonl. `work/` beside them
(the images, checkpoints) goes at the end.

`STEPS` has the steps in their order: what steps of training take is in `gpu_kernels`, whole searches in `gpu_searches`.
"""

import argparse
import json
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import fields
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import torch
from gpu_kernels import kernels, profiles, steps
from gpu_searches import OutOfTime, cell, children, darts, enas, noise, read, smoke

from nascore.cuda import is_lost
from nascore.errors import reason, shorten
from nascore.files import write_bytes, write_json
from nascore.images import Images

RUNS = Path(__file__).parent
LONGEST = 9.5  # minutes of a call

# How much of everything: for a card, and to rehearse.
FULL = dict(
    methods=None,  # all
    workload=dict(batch=64, channels=16, cells=8),
    maps=((16, 32), (32, 16), (64, 8)),  # channels of an edge, and the side of its map
    kernel_seconds=0.05,
    rounds=5,
    times=10,
    child=dict(epochs=1, channels=8, cells=3),
    children=16,
    child_images=10_000,
    workers=(2, 4, 8),
    enas=dict(epochs=2),
    darts=dict(epochs=50, order=1),
    cell=dict(epochs=20),  # of the recipe's 600
)
TOY = dict(
    methods=("enas-macro",),
    workload=dict(batch=2, channels=2, cells=3),
    maps=((2, 8),),
    kernel_seconds=1e-4,
    rounds=2,
    times=1,
    child=dict(epochs=1, channels=4, cells=3),
    children=2,
    child_images=40,
    workers=(),
    enas=dict(epochs=2, batch_size=8, channels=4, cells=3, controller_steps=1, samples=2, layers=3, nodes=2),
    darts=dict(epochs=2, order=1, batch_size=8, channels=2, cells=3),
    cell=dict(epochs=2, batch_size=16, channels=4, cells=5, cutout=4, auxiliary_weight=0.0),
)


class Run:
    """The results so far, and the time that this call has left."""

    def __init__(self, options: argparse.Namespace):
        self.device: str = options.device
        self.sizes = TOY if options.toy else FULL
        self.data = options.data
        self.reference = options.reference and str(options.reference.resolve())
        self.out = options.out or place(self.device)
        self.work = self.out / "work"
        self.work.mkdir(parents=True, exist_ok=True)
        self.file = self.out / "results.json"
        self.results = {"about": about(self.device, options.data), "done": [], "steps": {}}
        if self.file.exists():
            self.results = json.loads(self.file.read_text())
        self.deadline = time.monotonic() + 60 * min(options.minutes, LONGEST)
        self.patient = not options.toy  # begins nothing that it has no time for
        self.measured = 0  # items, in this call
        self.lost = False  # the card, to this process

    def left(self) -> float:
        """Seconds."""
        return self.deadline - time.monotonic()

    def stopped(self) -> bool:
        return self.left() <= 0

    def save(self) -> None:
        write_json(self.file, self.results)
        write_bytes(self.out / "table.md", table(self.results).encode())

    def each(self, step: str, need: float, items: Iterable[tuple[str, Callable[[], dict]]]) -> None:
        """Measure what of a step is not there yet, each item if there is time for it: `need`, in seconds."""
        found = self.results["steps"].setdefault(step, {})
        for name, measure in items:
            if name in found and "lost" not in found[name]:
                continue
            short = self.left() < need and self.patient and self.measured > 0
            if self.stopped() or short:
                raise OutOfTime
            began = time.monotonic()
            try:
                value = measure()
            except OutOfTime:
                raise
            except Exception as error:
                again = is_lost(error) and name not in found  # once more, in the next call's process
                value = {"lost" if again else "error": shorten(" ".join(reason(error).split()), 300)}
                self.lost = is_lost(error)
            found[name] = value
            self.measured += 1
            self.save()
            print(f"{step}: {name}, {time.monotonic() - began:.1f} s: {in_short(value)}", flush=True)
            if self.lost:
                raise OutOfTime

    def images(self) -> Images:
        """Those of --data, read once and kept as tensors; at toy size without it, noise."""
        kept = self.work / "images.pt"
        if not kept.exists():
            images = noise() if self.data is None else read(self.data)
            held = {f.name: getattr(images, f.name) for f in fields(images)}
            torch.save(held, kept.with_suffix(".tmp"))
            kept.with_suffix(".tmp").rename(kept)
        return Images(**torch.load(kept, weights_only=True))


def place(device: str) -> Path:
    """The folder of an unfinished run on this card, or a new one."""
    name = re.sub(r"\W+", "-", card(device)).strip("-").lower()
    unfinished = sorted(RUNS.glob(f"gpu-{name}-*/work"))
    return unfinished[-1].parent if unfinished else RUNS / f"gpu-{name}-{date.today()}"


def card(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else platform.machine()


def about(device: str, source: Path | None) -> dict:
    """Where and with what it is measured."""
    return {
        "card": card(device),
        "date": str(date.today()),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "data": "noise" if source is None else source.name,
        "command": " ".join(["python notebooks/runs/gpu.py", *(Path(word).name for word in sys.argv[1:])]),
    }


# --- the steps --------------------------------------------------------------------------------------------------------


def gpu_tests(run: Run, need: float) -> None:
    """`pytest -m gpu`, without the other tests' plugins."""

    def tested() -> dict:
        root = RUNS.parents[1]
        report = run.out / "tests.xml"
        how = ["-m", "gpu", "-q", "-o", "addopts=", "--noconftest", "-p", "no:cacheprovider", f"--junitxml={report}"]
        command = [sys.executable, "-m", "pytest", str(root / "tests" / "test_gpu.py"), *how]
        seconds = max(60.0, run.left())
        ended = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=seconds)
        if not report.exists():
            raise RuntimeError((ended.stdout + ended.stderr)[-300:])
        return counted(ElementTree.parse(report).getroot())

    run.each("tests", need, [("gpu", tested)])


def counted(report: ElementTree.Element) -> dict:
    """How many tests there were, what became of them, and what was measured in them."""
    cases = list(report.iter("testcase"))
    failed = {}
    for case in cases:
        for problem in (*case.findall("failure"), *case.findall("error")):
            failed[case.get("name")] = shorten(" ".join((problem.get("message") or "").split()), 200)
    skipped = sum(case.find("skipped") is not None for case in cases)
    measured = {}
    for case in cases:
        for found in case.iter("property"):
            measured[f"{found.get('name')}, {case.get('name')}"] = found.get("value")
    passed = len(cases) - skipped - len(failed)
    return {"passed": passed, "skipped": skipped, "failed": failed, "measured": measured}


# The steps in their order, and how many seconds an item of each may need: without them it is left to the next call.
STEPS: list[tuple[str, Callable[[Run, float], None], float]] = [
    ("smoke", smoke, 20),
    ("tests", gpu_tests, 180),
    ("kernels", kernels, 10),
    ("profile", profiles, 60),
    ("steps", steps, 60),
    ("children", children, 90),
    ("ENAS", enas, 30),
    ("DARTS", darts, 30),
    ("cell", cell, 30),
]


# --- what was found ---------------------------------------------------------------------------------------------------


def in_short(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {in_short(part)}" for name, part in value.items()) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def totals(found: dict) -> dict:
    """Of the convolutions that were timed: milliseconds of all together, by layout and precision."""
    rows: dict = {}
    for times in found.values():
        for way, parts in times.items():
            if isinstance(parts, dict):
                rows.setdefault(way, []).append(sum(parts.values()) / 1e3)
    errors = {name: times for name, times in found.items() if "error" in times}
    return {way: {"ms of all": sum(values)} for way, values in rows.items()} | errors


def table(results: dict) -> str:
    """A line an item, with what it is measured on; of the convolutions their sums."""
    setting = ", ".join(f"{name} {value}" for name, value in results["about"].items())
    lines = [setting, "", "| step | of | found |", "| --- | --- | --- |"]
    for step, found in results["steps"].items():
        for name, value in (totals(found) if step == "kernels" else found).items():
            lines.append(f"| {step} | {name} | {in_short(value).replace('|', '/')} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=LONGEST, help="of this call, at most 9.5")
    parser.add_argument("--data", type=Path, help="a folder of images, or an archive of one")
    parser.add_argument("--reference", type=Path, help="a checkout of quark0/darts, whose code is run")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--toy", action="store_true", help="small sizes, to rehearse")
    options = parser.parse_args()
    if options.data is None and not options.toy:
        parser.error("--data: found none, allowed: a folder of images, or an archive of one")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device: PyTorch sees no GPU here")
    run = Run(options)
    if run.results["about"]["card"] != card(options.device):
        parser.error(f"--out: found results of {run.results['about']['card']}, allowed: {card(options.device)}")
    try:
        for name, step, need in STEPS:
            if name not in run.results["done"]:
                step(run, need)
                run.results["done"].append(name)
                run.save()
    except OutOfTime:
        why = "the card was lost" if run.lost else "out of time"
        print(f"{why} at {name}: go on with the same command and --out {run.out}")
        return
    shutil.rmtree(run.work)
    print(f"done: {run.out / 'table.md'}")


if __name__ == "__main__":
    main()
