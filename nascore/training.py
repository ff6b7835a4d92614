"""Recipes, and the one loop that trains a network from scratch."""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nascore.data import Batches, Images
from nascore.errors import UserError, look_up, whole
from nascore.loop import Progress
from nascore.seeding import generator


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: its size, SGD with a cosine schedule (per epoch, to
    `final_learning_rate`; with a `period` it begins again after so many epochs, then after twice
    as many), and the regularisation. `drop_path` grows linearly from 0 over the epochs (DARTS,
    appendix A.2.1)."""

    channels: int
    cells: int
    epochs: int
    batch_size: int
    learning_rate: float = 0.025
    final_learning_rate: float = 0.0
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 3e-4
    clip: float = 5.0
    cutout: int = 0
    auxiliary_weight: float = 0.0
    drop_path: float = 0.0
    period: int = 0


RECIPES = {
    # DARTS, appendix A.2.1 and cnn/train.py: 20 cells of width 36 for 600 epochs.
    "darts-cifar": Recipe(36, 20, 600, 96, cutout=16, auxiliary_weight=0.4, drop_path=0.2),
    # NASNet (the authors' cifar_config): 6 @ 768, which is 18 normal and 2 reduction cells of width
    # 32.
    "nasnet-cifar": Recipe(32, 20, 600, 32, weight_decay=5e-4, auxiliary_weight=0.4, drop_path=0.4),
    # A child of NASNet's search: N = 2, momentum, 20 epochs, one period of the cosine. The paper
    # does not state width, batch size, learning rate and decay: these are of the final training.
    "nasnet-child": Recipe(32, 8, 20, 32, weight_decay=5e-4),
    # A child of NAS-RL's search (section 4.1): Nesterov's momentum, 0.1, 1e-4, 50 epochs. The paper
    # does not state the batch size (here DenseNet's, whose settings it names), the schedule and
    # clipping; a chain has its own sizes.
    "nas-rl-child": Recipe(32, 8, 50, 64, learning_rate=0.1, weight_decay=1e-4, nesterov=True),
    # A child of PNAS's search: N = 2, F = 24, 20 epochs, 0.01 and a cosine. The paper does not
    # state the batch size and the decay: these are NASNet's.
    "pnas-child": Recipe(24, 6, 20, 32, learning_rate=0.01, weight_decay=5e-4),
    # ENAS's cells, N = 15, F = 36, and its whole networks (the authors' scripts cifar10_micro_final
    # and _macro_final: their l2 of 2e-4 has no 1/2, their clipping no effect). Theirs drop out
    # before the classifier.
    "enas-cifar": Recipe(36, 17, 630, 144, 0.05, 1e-4, 0.9, True, 4e-4, 0.0, 0, 0.4, 0.4, 10),
    "enas-macro-cifar": Recipe(96, 24, 310, 100, 0.05, 1e-3, 0.9, True, 4e-4, 0.0, period=10),
    # What a laptop can do: minutes on digits, half an hour on CIFAR-10.
    "small": Recipe(16, 5, 20, 64, learning_rate=0.05),
    # A child of a multi-trial search: just enough to rank it.
    "child": Recipe(8, 3, 10, 64, learning_rate=0.05),
}


def recipe_named(name: str, **sizes) -> Recipe:
    """The recipe `name` with the given sizes (channels, cells, epochs, batch_size) where they
    are not None. Raises `UserError`."""
    recipe, sizes = (
        look_up(RECIPES, name, "recipe"),
        {key: v for key, v in sizes.items() if v is not None},
    )
    for key, value in sizes.items():
        whole(
            key, value, 2 if key == "batch_size" else 1, 100_000
        )  # one image alone has no batch statistics
    return replace(recipe, **sizes)


def cosine(start: float, end: float, epoch: int, epochs: int) -> float:
    """The cosine schedule of Loshchilov and Hutter, one period, constant within an epoch."""
    return end + (start - end) * (1 + math.cos(math.pi * epoch / epochs)) / 2


def warm_restarts(start: float, end: float, epoch: int, period: int, factor: int = 2) -> float:
    """Cosines of `period`, factor * period, ... epochs, one after another (Loshchilov and
    Hutter)."""
    while epoch >= period:
        epoch, period = epoch - period, period * factor
    return cosine(start, end, epoch, period)


class Training:
    """Trains `network` on `images.train`; a step is a minibatch, a row of the history an epoch.
    What it does at a step depends on the seed and the step number alone, so a resumed training
    ends in the same bits."""

    def __init__(self, network: nn.Module, images: Images, recipe: Recipe, seed: int):
        self.images, self.recipe, self.seed = images, recipe, seed
        self.device = images.train.device
        self.network = network.to(self.device, memory_format=torch.channels_last)
        self.batches = Batches(images, recipe.batch_size, seed, "training", cutout=recipe.cutout)
        self.parameters = [
            p for p in network.parameters() if p.requires_grad
        ]  # finding them takes a small network long, at every step
        how = {
            "momentum": recipe.momentum,
            "nesterov": recipe.nesterov,
            "weight_decay": recipe.weight_decay,
        }
        self.optimizer = torch.optim.SGD(
            self.parameters, lr=recipe.learning_rate, **how, foreach=True
        )
        self.steps, self.history = 0, []
        self.sums = torch.zeros(
            3, device=self.device, dtype=torch.float64
        )  # of this epoch: loss, correct, images

    @property
    def total(self) -> int:
        return self.recipe.epochs * self.batches.per_epoch

    @property
    def done(self) -> bool:
        return self.steps >= self.total

    def step(self) -> Progress:
        """One minibatch; at the end of an epoch a row with the mean loss and accuracy on the
        augmented images."""
        recipe, epoch = self.recipe, self.steps // self.batches.per_epoch
        images, labels = self.batches[self.steps]
        rates = (recipe.learning_rate, recipe.final_learning_rate)
        rate = warm_restarts(*rates, epoch, recipe.period or recipe.epochs)
        self.optimizer.param_groups[0]["lr"] = rate
        if not self.network.training:  # as after an evaluation
            self.network.train()
        self.network.drop_path = recipe.drop_path * epoch / recipe.epochs
        self.network.generator = generator(self.seed, "drop path", self.steps, device=self.device)
        self.optimizer.zero_grad()
        logits, loss = self._loss(images, labels)
        loss.backward()
        if recipe.clip:
            nn.utils.clip_grad_norm_(self.parameters, recipe.clip, foreach=True)
        self.optimizer.step()
        self.steps += 1
        self.sums[0] += loss.detach() * len(labels)
        self.sums[1] += (logits.argmax(1) == labels).sum()
        self.sums[2] += len(labels)
        metrics = self._end_of_epoch(epoch) if self.steps % self.batches.per_epoch == 0 else {}
        return Progress(self.steps, self.total, metrics=metrics)

    def _loss(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        output = self.network(images)
        if not isinstance(output, tuple):
            return output, F.cross_entropy(output, labels)
        losses = [F.cross_entropy(logits, labels) for logits in output]
        return output[0], losses[0] + self.recipe.auxiliary_weight * losses[1]

    def _end_of_epoch(self, epoch: int) -> dict[str, float]:
        loss, accuracy = (self.sums[:2] / self.sums[2]).tolist()
        if not math.isfinite(loss):
            raise UserError(
                f"the training loss became {loss} in epoch {epoch + 1}: lower the learning rate"
            )
        self.sums.zero_()
        metrics = {"epoch": epoch + 1, "loss": loss, "train_accuracy": accuracy}
        self.history.append({"step": self.steps, **metrics})
        return metrics

    def state_dict(self) -> dict:
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps,
            "history": self.history,
            "epoch_so_far": self.sums,
        }

    def load_state_dict(self, state: dict) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps, self.history = state["steps"], list(state["history"])
        self.sums = state["epoch_so_far"].to(self.device)


@torch.no_grad()
def evaluate(network: nn.Module, images: Images, batch_size: int = 500) -> tuple[float, float]:
    """Mean cross-entropy (nats) and accuracy in [0, 1] on `images.test`, not augmented."""
    network.eval()
    loss = correct = 0.0
    for pixels, labels in zip(images.test.split(batch_size), images.test_labels.split(batch_size)):
        logits = network(images.normalise(pixels))
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
        correct += (logits.argmax(1) == labels).sum().item()
    return loss / len(images.test), correct / len(images.test)
