"""Searches and trainings on a device, for `gpu.py`: the images, every method once, children, two epochs of ENAS, and
the whole search of DARTS with its cell. What is long goes on from its checkpoint."""

import dataclasses
import json
import random
import shutil
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from thin import rounded

from nascore import cache, data, genotypes, registry, search, spaces
from nascore.estimators import TrainChildren
from nascore.files import read_rows, write_bytes
from nascore.genotypes import canonical
from nascore.images import Images
from nascore.loop import drive
from nascore.nets.convolutional import Network
from nascore.seeding import seeded
from nascore.training import Training, evaluate, recipe_named


class OutOfTime(Exception):
    """This call has no time for more."""


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


def smoke(run, need: float) -> None:
    """Every method's smallest search, on digits."""

    def searched(name: str) -> dict:
        began = time.monotonic()
        workers = {} if registry.get(name).one_shot else {"workers": 1}
        result = search.run(name, budget="smoke", device=run.device, progress=False, **workers)
        return {"reward": result.reward, "seconds": time.monotonic() - began}

    names = run.sizes["methods"] or registry.methods_by_name()
    run.each("smoke", need, ((name, lambda name=name: searched(name)) for name in names))


def children(run, need: float) -> None:
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
        cells = different(space, count + workers)
        estimate(cells[count:])
        began = time.monotonic()
        answers = estimate(cells[:count])
        minutes = (time.monotonic() - began) / 60
        failed = [answer.error for answer in answers if answer.error]
        return {"a minute": count / minutes, "failed": len(failed)} | ({"first": failed[0]} if failed else {})

    ways = {"one process, eager": (1, "off"), "one process, graph": (1, "on")}
    ways |= {f"{n} workers, graph": (n, "on") for n in run.sizes["workers"]}
    run.each("children", need, ((name, lambda how=how: trained(*how)) for name, how in ways.items()))


def different(space, count: int) -> list:
    """Cells of which no two are trained as one."""
    drawn = random.Random(0)
    found: dict = {}
    while len(found) < count:
        genotype = space.decode(space.sample(drawn))
        found.setdefault(canonical(genotype), genotype)
    return list(found.values())


def searched(run, method: str, budget: dict) -> tuple[search.Result, Path]:
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


def enas(run, need: float) -> None:
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


def darts(run, need: float) -> None:
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


def cell(run, need: float) -> None:
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
