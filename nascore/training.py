"""Recipes, and the one loop that trains a network from scratch."""

from dataclasses import MISSING, dataclass, fields, replace
from math import cos, isfinite, pi
from typing import Any

from torch import Generator, Tensor, channels_last, float64, no_grad, zeros
from torch.nn import Module, Parameter
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD

from nascore.cuda import Played, plays
from nascore.errors import UserError, look_up, one_of
from nascore.files import FORMAT
from nascore.knobs import check_field, knob
from nascore.loop import Loop, Progress
from nascore.seeding import seed_of
from nascore.task import Task
from nascore.threads import fitting, using_threads, with_its_threads


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: its size, SGD with a cosine schedule (per epoch, to
    `final_learning_rate`; with a `period` it begins again after so many epochs, then after twice
    as many), and the regularisation. `drop_path` grows linearly from 0 over the epochs (DARTS,
    appendix A.2.1)."""

    channels: int = knob(MISSING, "channels", "width of the first cell", low=1, high=4096)
    cells: int = knob(MISSING, "cells", "depth, reductions included", low=1, high=200)
    epochs: int = knob(MISSING, "epochs", "passes over the images", low=1, high=100_000)
    batch_size: int = knob(MISSING, "batch size", "images in a minibatch", low=2, high=100_000)
    learning_rate: float = knob(
        0.025, "learning rate", "at the start of the cosine", low=0, high=10
    )
    final_learning_rate: float = knob(0.0, "last learning rate", "of the cosine", low=0, high=10)
    momentum: float = knob(0.9, "momentum", "of SGD", low=0, high=0.999)
    nesterov: bool = knob(False, "Nesterov", "momentum looks ahead")
    weight_decay: float = knob(3e-4, "weight decay", "of SGD", low=0, high=1)
    clip: float = knob(5.0, "clip", "largest norm of the gradient; 0: none", low=0, high=1e6)
    cutout: int = knob(0, "cutout", "side of the square that is cut out, pixels", low=0, high=512)
    auxiliary_weight: float = knob(
        0.0, "auxiliary weight", "of the auxiliary head's loss; 0: no head", low=0, high=10
    )
    drop_path: float = knob(0.0, "drop path", "probability at the end", low=0, high=0.99)
    period: int = knob(
        0, "period", "epochs of the first cosine; 0: one for all", low=0, high=100_000
    )
    decay_all: bool = knob(True, "decay all", "weight decay of batch norm and biases too")


DEFAULTS = {f.name: f.default for f in fields(Recipe) if f.default is not MISSING}
RECIPES = {
    # DARTS, appendix A.2.1 and cnn/train.py: 20 cells of width 36 for 600 epochs.
    "darts-cifar": Recipe(
        channels=36,
        cells=20,
        epochs=600,
        batch_size=96,
        cutout=16,
        auxiliary_weight=0.4,
        drop_path=0.2,
    ),
    # NASNet (the authors' cifar_config): 6 @ 768, which is 18 normal and 2 reduction cells of width
    # 32. Their l2 is of the weights of convolutions and linear layers alone.
    "nasnet-cifar": Recipe(
        channels=32,
        cells=20,
        epochs=600,
        batch_size=32,
        weight_decay=5e-4,
        decay_all=False,
        auxiliary_weight=0.4,
        drop_path=0.4,
    ),
    # A child of NASNet's search: N = 2, momentum, 20 epochs, one period of the cosine. The paper
    # does not state width, batch size, learning rate and decay: these are of the final training.
    "nasnet-child": Recipe(
        channels=32, cells=8, epochs=20, batch_size=32, weight_decay=5e-4, decay_all=False
    ),
    # A child of NAS-RL's search (section 4.1): Nesterov's momentum, 0.1, 1e-4, 50 epochs. The paper
    # does not state the batch size (here DenseNet's, whose settings it names), the schedule and
    # clipping; a chain has its own sizes.
    "nas-rl-child": Recipe(
        channels=32,
        cells=8,
        epochs=50,
        batch_size=64,
        learning_rate=0.1,
        weight_decay=1e-4,
        nesterov=True,
    ),
    # A child of PNAS's search: N = 2, F = 24, 20 epochs, 0.01 and a cosine. The paper does not
    # state the batch size and the decay: these are NASNet's.
    "pnas-child": Recipe(
        channels=24,
        cells=6,
        epochs=20,
        batch_size=32,
        learning_rate=0.01,
        weight_decay=5e-4,
        decay_all=False,
    ),
    # ENAS's cells, N = 15, F = 36, and its whole networks (the authors' scripts cifar10_micro_final
    # and _macro_final: their l2 of 2e-4 has no 1/2, their clipping no effect). Theirs drop out
    # before the classifier.
    "enas-cifar": Recipe(
        channels=36,
        cells=17,
        epochs=630,
        batch_size=144,
        learning_rate=0.05,
        final_learning_rate=1e-4,
        nesterov=True,
        weight_decay=4e-4,
        clip=0.0,
        auxiliary_weight=0.4,
        drop_path=0.4,
        period=10,
    ),
    "enas-macro-cifar": Recipe(
        channels=96,
        cells=24,
        epochs=310,
        batch_size=100,
        learning_rate=0.05,
        final_learning_rate=1e-3,
        nesterov=True,
        weight_decay=4e-4,
        clip=0.0,
        period=10,
    ),
    # What a laptop can do: minutes on digits, half an hour on CIFAR-10.
    "small": Recipe(channels=16, cells=5, epochs=20, batch_size=64, learning_rate=0.05),
    # A child of a multi-trial search: just enough to rank it.
    "child": Recipe(channels=8, cells=3, epochs=10, batch_size=64, learning_rate=0.05),
}


def recipe_named(name: str | Recipe, **changes) -> Recipe:
    """The recipe `name`, or a `Recipe`, with the given fields, where they are not None. Raises
    `UserError`."""
    recipe = name if isinstance(name, Recipe) else look_up(RECIPES, name, "recipe")
    known = {f.name: f for f in fields(Recipe)}
    kept = {key: value for key, value in changes.items() if value is not None}
    for key in kept:
        one_of("field of a recipe", key, known)
    return replace(recipe, **{key: check_field(known[key], v) for key, v in kept.items()})


def cosine(start: float, end: float, epoch: int, epochs: int) -> float:
    """The cosine schedule of Loshchilov and Hutter, one period, constant within an epoch."""
    return end + (start - end) * (1 + cos(pi * epoch / epochs)) / 2


def warm_restarts(start: float, end: float, epoch: int, period: int, factor: int = 2) -> float:
    """Cosines of `period`, factor * period, ... epochs, one after another (Loshchilov and
    Hutter)."""
    while epoch >= period:
        epoch = epoch - period
        period = period * factor
    return cosine(start, end, epoch, period)


def parameter_groups(parameters: list[Parameter], recipe: Recipe) -> list[dict]:
    """All parameters with the recipe's weight decay; or, as TensorFlow's regularizers do it, the
    weights of convolutions and linear layers with it and the vectors (batch norm, biases)
    without."""
    if recipe.decay_all:
        return [{"params": parameters, "weight_decay": recipe.weight_decay}]
    weights = [p for p in parameters if p.dim() > 1]
    vectors = [p for p in parameters if p.dim() <= 1]
    return [
        {"params": weights, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]


class Training(Loop):
    """Trains `network` on the training part of a task; a step is a minibatch, a row of the history
    an epoch. What it does at a step depends on the seed and the step number alone, so a resumed
    training ends in the same bits."""

    PARTS = ("network", "optimizer")
    STATE = ("steps", "history", "epoch_so_far")
    steps_are_alike = True

    def __init__(self, network: Module, task: Task, recipe: Recipe, seed: int):
        super().__init__()
        self.task = task
        self.recipe = recipe
        self.seed = seed
        self.device = task.device
        self.network: Any = network.to(self.device).to(memory_format=channels_last)
        self.batches = task.batches(
            "train", recipe.batch_size, seed, "training", cutout=recipe.cutout
        )
        self.total = recipe.epochs * self.batches.per_epoch
        # Once: finding them takes a small network long, at every step.
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.optimizer = SGD(
            parameter_groups(self.parameters, recipe),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            foreach=True,
        )
        self.threads = fitting(network, recipe.batch_size, task.positions)
        # Of this epoch: loss, score, examples.
        self.epoch_so_far = zeros(3, device=self.device, dtype=float64)
        self.generator = Generator(self.device)  # of drop path, seeded at each step
        self.played = Played(self.generator if recipe.drop_path else None)

    @with_its_threads
    def step(self) -> Progress:
        """One minibatch; at the end of an epoch a row with the mean loss and the reward on what was
        trained on, as it was augmented."""
        recipe = self.recipe
        epoch = self.steps // self.batches.per_epoch
        inputs, targets = self.batches[self.steps]
        rates = (recipe.learning_rate, recipe.final_learning_rate)
        rate = warm_restarts(*rates, epoch, recipe.period or recipe.epochs)
        if not self.network.training:  # as after an evaluation
            self.network.train()
        drop_path = recipe.drop_path * epoch / recipe.epochs
        if recipe.drop_path:
            self.generator.manual_seed(seed_of(self.seed, "drop path", self.steps))
        on = plays(self.graphs, self.device, self.batches.per_epoch)
        self.played(self.learn, (rate, drop_path), inputs, targets, on=on)
        self.steps += 1
        metrics = self._end_of_epoch(epoch) if self.steps % self.batches.per_epoch == 0 else {}
        return Progress(self.steps, self.total, metrics=metrics)

    def learn(self, rate: float, drop_path: float, inputs: Tensor, targets: Tensor) -> None:
        """One step of SGD on a minibatch. Nothing waits for the device: a graph can hold it."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.drop_path = drop_path
        self.network.generator = self.generator
        self.optimizer.zero_grad()
        logits, loss = self._loss(inputs, targets)
        loss.backward()
        if self.recipe.clip:
            clip_grad_norm_(self.parameters, self.recipe.clip, foreach=True)
        self.optimizer.step()
        self.epoch_so_far[0] += loss.detach() * len(targets)
        self.epoch_so_far[1] += self.task.score(logits, targets)
        self.epoch_so_far[2] += len(targets)

    def _loss(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        output = self.network(inputs)
        if not isinstance(output, tuple):
            return output, self.task.loss(output, targets)
        logits, auxiliary = output
        loss = self.task.loss(logits, targets)
        weight = self.recipe.auxiliary_weight
        return logits, loss + weight * self.task.loss(auxiliary, targets)

    def _end_of_epoch(self, epoch: int) -> dict[str, float]:
        loss, score, count = self.epoch_so_far.tolist()
        loss = loss / count
        if not isfinite(loss):
            raise UserError(
                f"the training loss became {loss} in epoch {epoch + 1}: lower the learning rate"
            )
        self.epoch_so_far.zero_()
        reward = self.task.checked_reward(score, count)
        metrics = {"epoch": epoch + 1, "loss": loss, f"train_{self.task.measure}": reward}
        self.history.append({"format": FORMAT, "step": self.steps, **metrics})
        return metrics

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self.epoch_so_far = self.epoch_so_far.to(self.device)
        self.played.forget()


@no_grad()
def evaluate(
    network: Module,
    task: Task,
    part: str = "test",
    batch_size: int = 500,
    threads: int | None = None,
) -> tuple[float, float]:
    """Mean loss (nats) and reward in [0, 1] on a part of the task, not augmented."""
    network.eval()
    sums = zeros(2, device=task.device, dtype=float64)  # read once, at the end
    with using_threads(threads or fitting(network, batch_size, task.positions)):
        for inputs, targets in task.in_order(part, batch_size):
            logits = network(inputs)
            sums[0] += task.loss(logits, targets, reduction="sum")
            sums[1] += task.score(logits, targets)
    loss, score = sums.tolist()
    count = task.count(part)
    return loss / count, task.checked_reward(score, count)
