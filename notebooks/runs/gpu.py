"""One command for the day a GPU is there:

    python notebooks/runs/gpu.py --data cifar10-jpeg.tar.xz [--minutes 9.5] [--reference FOLDER]

A call ends by itself, after 9.5 minutes at most, and the next one goes on where it stopped, in the middle of the long
search too. It needs nascore's core packages and no network. Into `notebooks/runs/gpu-CARD-DATE/` go at most eight small
files: results.json (every step's, written as soon as it is there), table.md made of it, profile.json, tests.xml, and of
the search genotype.json and history.jsonl; `work/` in it (checkpoints, the images) goes at the end. What fails is one line
in the results, and the next thing is measured.

The steps, in their order, are in `STEPS`; a later one is a function more.
"""

import argparse
import dataclasses
import json
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import torch
from gpu_kernels import CONVOLUTIONS, Sides, Workload, convolution_times, profile_of, step_times
from thin import rounded

from nascore import bench, cache, data, genotypes, registry, search, spaces
from nascore.cuda import is_lost
from nascore.errors import reason, shorten
from nascore.estimators import TrainChildren
from nascore.files import read_rows, write_bytes, write_json
from nascore.images import Images
from nascore.loop import drive
from nascore.nets.convolutional import Network
from nascore.seeding import seeded
from nascore.training import Training, evaluate, recipe_named

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
    workers=(2,),
    enas=dict(epochs=2, batch_size=8, channels=4, cells=3, controller_steps=1, samples=2, layers=3, nodes=2),
    darts=dict(epochs=2, order=1, batch_size=8, channels=2, cells=3),
    cell=dict(epochs=2, batch_size=16, channels=4, cells=5, cutout=4, auxiliary_weight=0.0),
)


class OutOfTime(Exception):
    """This call has no time for more."""


class Run:
    """The results so far, and the time that this call has left."""

    def __init__(self, options: argparse.Namespace):
        self.device = options.device
        self.sizes = TOY if options.toy else FULL
        self.data = options.data
        self.reference = options.reference and str(options.reference.resolve())
        self.out = options.out or place(self.device)
        self.work = self.out / "work"
        self.work.mkdir(parents=True, exist_ok=True)
        self.file = self.out / "results.json"
        began = {"about": about(self.device, options.data), "done": [], "steps": {}}
        self.results = json.loads(self.file.read_text()) if self.file.exists() else began
        self.deadline = time.monotonic() + 60 * min(options.minutes, LONGEST)
        self.patient = not options.toy  # begins nothing that it has no time for
        self.measured = 0  # items, in this call

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
            if name in found:
                continue
            short = self.left() < need and self.patient and self.measured > 0
            if self.stopped() or short:
                raise OutOfTime
            began = time.monotonic()
            lost = False
            try:
                found[name] = measure()
            except OutOfTime:
                raise
            except Exception as error:
                found[name] = {"error": shorten(" ".join(reason(error).split()), 300)}
                lost = is_lost(error)
            self.measured += 1
            self.save()
            print(f"{step}: {name}, {time.monotonic() - began:.1f} s: {in_short(found[name])}", flush=True)
            if lost:
                sys.exit("the card is lost to this process: go on with the same command")

    def images(self) -> Images:
        """Those of --data, read once and kept as tensors; at toy size without it, noise."""
        kept = self.work / "images.pt"
        if not kept.exists():
            images = noise() if self.data is None else read(self.data)
            held = {f.name: getattr(images, f.name) for f in dataclasses.fields(images)}
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
    name = "noise" if source is None else source.name
    command = "python notebooks/runs/gpu.py " + " ".join(a for a in sys.argv[1:] if not a.startswith("/"))
    return {"card": card(device), "date": str(date.today()), "torch": torch.__version__, "data": name} | {
        "device": device,
        "command": command,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def read(source: Path) -> Images:
    """From a folder, or an archive of one."""
    if source.is_dir():
        return data.load(source, quiet=True)
    with TemporaryDirectory() as folder:
        with tarfile.open(source) as archive:
            archive.extractall(folder, filter="data")
        images = data.load(folder, quiet=True)
        cache.file_of(Path(folder), None).unlink(missing_ok=True)
    return dataclasses.replace(images, name=source.name.split(".")[0])


def noise() -> Images:
    drawn = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (64, 3, 16, 16), dtype=torch.uint8, generator=drawn)
    labels = torch.arange(64) % 10
    return Images("noise", pixels, labels, pixels, labels, tuple("0123456789"), (0.5,) * 3, (0.5,) * 3, 2, True)


# --- the steps --------------------------------------------------------------------------------------------------------


def smoke(run: Run, need: float) -> None:
    """Every method's smallest search, on digits."""

    def searched(name: str) -> dict:
        began = time.monotonic()
        workers = {} if registry.get(name).one_shot else {"workers": 1}
        result = search.run(name, budget="smoke", device=run.device, progress=False, **workers)
        return {"reward": result.reward, "seconds": time.monotonic() - began}

    names = run.sizes["methods"] or registry.methods_by_name()
    run.each("smoke", need, ((name, lambda name=name: searched(name)) for name in names))


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
    measured = {f"{p.get('name')} ({case.get('name')})": p.get("value") for case in cases for p in case.iter("property")}
    passed = len(cases) - skipped - len(failed)
    return {"passed": passed, "skipped": skipped, "failed": failed, "measured": measured}


def workload(run: Run):
    return Workload(**run.sizes["workload"], device=run.device)


def kernels(run: Run, need: float) -> None:
    """Convolutions by themselves, in both layouts and three precisions: this chooses the layout."""
    for width, side in run.sizes["maps"]:
        how = (width, side, workload(run), run.sizes["kernel_seconds"])
        items = [(f"{c.name}, {width} x {side} x {side}", c) for c in CONVOLUTIONS]
        run.each("kernels", need, ((name, lambda c=c, how=how: convolution_times(c, *how)) for name, c in items))


def profiles(run: Run, need: float) -> None:
    """Of one weights step; the longest kernels go into a file of their own."""
    file = run.out / "profile.json"

    def profiled(side: str) -> dict:
        found = profile_of(sides, side)
        stored = json.loads(file.read_text()) if file.exists() else {}
        write_json(file, stored | {side: found})
        return {name: value for name, value in found.items() if name != "longest"}

    with Sides(run.reference, workload(run)) as sides:
        run.each("profile", need, ((side, lambda side=side: profiled(side)) for side in sides.folders))


def steps(run: Run, need: float) -> None:
    """A step of each kind: eager, as a graph, in bf16 and the reference's, in turn."""
    rounds, times = run.sizes["rounds"], run.sizes["times"]
    with Sides(run.reference, workload(run)) as sides:
        items = ((name, lambda k=k: step_times(sides, k, rounds, times)) for k, name in enumerate(bench.STEPS))
        run.each("steps", need, items)


def children(run: Run, need: float) -> None:
    """How many are trained in a minute. Workers have started, and trained a child each, before the clock does."""
    space = spaces.get("nasbench201")
    count = run.sizes["children"]
    recipe = recipe_named("child", **run.sizes["child"])

    def trained(workers: int, graphs: str) -> dict:
        images = run.images()
        most = run.sizes["child_images"]
        images = dataclasses.replace(images, train=images.train[:most], train_labels=images.train_labels[:most])
        sizes = (recipe.channels, recipe.cells, space.skeleton)
        how = dict(device=run.device, workers=workers, graphs=graphs)
        estimate = TrainChildren(images, recipe, *sizes, **how)
        cells = [space.decode([3, k % 5, k // 5 % 5, k // 25, 1, 3]) for k in range(count + workers)]
        estimate(cells[count:])
        began = time.monotonic()
        answers = estimate(cells[:count])
        minutes = (time.monotonic() - began) / 60
        failed = [answer.error for answer in answers if answer.error]
        return {"a minute": count / minutes, "failed": len(failed)} | ({"first": failed[0]} if failed else {})

    ways = {"one process, eager": (1, "off"), "one process, graph": (1, "on")}
    ways |= {f"{n} workers, graph": (n, "on") for n in run.sizes["workers"]}
    run.each("children", need, ((name, lambda how=how: trained(*how)) for name, how in ways.items()))


def searched(run: Run, method: str, budget: dict) -> tuple[search.Result, Path]:
    """A search of the preset `full` that goes on from call to call. Raises `OutOfTime` where it has to."""
    folder = run.work / method
    known = {f.name for f in dataclasses.fields(registry.get(method).budget)}
    fields = {name: value for name, value in budget.items() if name in known}
    resume = (folder / "checkpoint.pt").exists()
    how = dict(device=run.device, directory=folder, resume=resume, stop=run.stopped, progress=False)
    result = search.run(method, data=run.images(), budget="full", **how, **fields)
    if not result.finished:
        raise OutOfTime
    return result, folder


def seconds_in(folder: Path, rows: Callable[[int], bool] = lambda row: True) -> float:
    """What those rows of a run took, over all its calls."""
    return sum(row["seconds"] for at, row in enumerate(read_rows(folder / "timing.jsonl")) if rows(at))


def enas(run: Run, need: float) -> None:
    """Two epochs of each space, the second of which says how long all of them would take."""

    def two_epochs(method: str) -> dict:
        result, folder = searched(run, method, run.sizes["enas"])
        of_second = [row["epoch"] == 2 for row in result.history]
        seconds = seconds_in(folder, lambda at: of_second[at])
        all_epochs = registry.get(method).budget.preset("full").epochs
        hours = all_epochs * seconds / 3600
        return {"seconds an epoch": seconds, "epochs": all_epochs, "hours, extrapolated": hours}

    methods = ("enas-micro", "enas-macro")
    run.each("ENAS", need, ((method, lambda method=method: two_epochs(method)) for method in methods))


def darts(run: Run, need: float) -> None:
    """The whole first-order search."""

    def found() -> dict:
        result, folder = searched(run, "darts", run.sizes["darts"])
        shutil.copy(folder / "genotype.json", run.out / "genotype.json")
        every = 1 + len(result.history) // 200
        kept = [*result.history[:-1:every], result.history[-1]]
        lines = "".join(json.dumps(rounded(row)) + "\n" for row in kept)
        write_bytes(run.out / "history.jsonl", lines.encode())
        return {"reward": result.reward, "steps": len(result.history), "seconds": seconds_in(folder)}

    run.each("DARTS", need, [("first order", found)])


class Half(Training):
    """Forward pass and loss in bf16, where autocast has it."""

    def _loss(self, inputs, targets):
        with torch.autocast(self.device.type, torch.bfloat16):
            return super()._loss(inputs, targets)


def cell(run: Run, need: float) -> None:
    """The cell that was found, trained from scratch in bf16."""

    def trained() -> dict:
        genotype = genotypes.from_dict(json.loads((run.out / "genotype.json").read_text()))
        recipe = recipe_named("darts-cifar", **run.sizes["cell"])
        images = run.images().to(run.device)
        sizes = (recipe.channels, recipe.cells, images.outputs, images.channels)
        with seeded(0, "cell"):
            network = Network(genotype, *sizes, auxiliary=recipe.auxiliary_weight > 0)
        folder = run.work / "cell"
        config = {"recipe": dataclasses.asdict(recipe), "device": run.device}
        how = dict(config=config, resume=(folder / "checkpoint.pt").exists(), stop=run.stopped, progress=False)
        if not drive(Half(network, images, recipe, 0), directory=folder, **how):
            raise OutOfTime
        loss, accuracy = evaluate(network, images)
        seconds = seconds_in(folder)
        return {"accuracy": accuracy, "loss": loss, "epochs": recipe.epochs, "seconds": seconds}

    run.each("cell", need, [("bf16", trained)])


# The steps in their order, and how many seconds one of their items may need: without them it is left to the next call.
STEPS: list[tuple[Callable[[Run, float], None], float]] = [
    (smoke, 20),
    (gpu_tests, 180),
    (kernels, 10),
    (profiles, 60),
    (steps, 60),
    (children, 90),
    (enas, 30),
    (darts, 30),
    (cell, 30),
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
    try:
        for step, need in STEPS:
            if step.__name__ not in run.results["done"]:
                step(run, need)
                run.results["done"].append(step.__name__)
                run.save()
    except OutOfTime:
        print(f"stopped in {step.__name__}: go on with the same command and --out {run.out}")
        return
    shutil.rmtree(run.work)
    print(f"done: {run.out / 'table.md'}")


if __name__ == "__main__":
    main()
