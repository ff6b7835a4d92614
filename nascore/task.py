"""What there is to learn, and how well it was learned: all that methods, `Training` and estimators
know of data. `images.Images` is one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from math import prod
from typing import Any, Protocol, Self

from numpy import ndarray
from torch import Tensor
from torch import device as Device
from torch.nn.functional import cross_entropy

from nascore.errors import number


class Minibatches(Protocol):
    """Minibatches of one part, by the step of training: the same whenever they are asked for."""

    per_epoch: int

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """The inputs and targets of a step; every `per_epoch` steps see each example once, but for
        one that would be alone in its minibatch."""


@dataclass(frozen=True)
class Task(ABC):
    """Examples, inputs with their targets, in up to three parts. In a search weights learn from
    `train`, and what decides on architectures (alphas, controllers, rewards) from `valid`; `test`
    is for what was found.

    The loss, the score and the reward are those of classification unless a task has others."""

    name: str
    measure = "accuracy"  # what a reward is called in a history

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Of all training inputs, (N, channels, height, width) for the networks of `nets`."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """How many logits a network puts out for an example."""

    @property
    @abstractmethod
    def device(self) -> Device:
        """Where the examples are."""

    @abstractmethod
    def count(self, part: str) -> int:
        """How many examples a part has."""

    @abstractmethod
    def fingerprint(self) -> dict:
        """What tells this task from others, for config.json: its content, whatever its name."""

    @property
    def _arrays(self) -> dict[str, Any]:
        """Its fields that are tensors or arrays, by name."""
        held = {}
        for field in fields(self):
            match getattr(self, field.name):
                case Tensor() | ndarray() as array:
                    held[field.name] = array
        return held

    @property
    def nbytes(self) -> int:
        """Of all its tensors."""
        return sum(x.nbytes for x in self._arrays.values())

    def mapped(self, function: Callable) -> Self:
        """The same task, with `function` of each of its fields that is a tensor or an array."""
        return replace(self, **{name: function(x) for name, x in self._arrays.items()})

    @abstractmethod
    def validation_split(self, portion: float) -> Self:
        """The task of a search, which sees nothing of `test`: its `valid` is the user's own where
        there is one, else the last `portion` of `train`. Raises `UserError` where that is too
        little."""

    @abstractmethod
    def batches(
        self, part: str, size: int, *place: int | str, augment: bool = True, cutout: int = 0
    ) -> Minibatches:
        """Minibatches of `size`, in an order that is drawn anew each epoch. Whatever is random
        follows from `place`, the seed first. `augment` and `cutout` (pixels) change images."""

    @abstractmethod
    def in_order(self, part: str, size: int, even: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
        """Each example of a part once, not augmented, in minibatches of `size` and a smaller last
        one; or `even`, all about equal, from `size` to nearly twice that."""

    @property
    def channels(self) -> int:
        """Of an input."""
        return self.shape[1]

    @property
    def positions(self) -> int:
        """Of an input: the pixels of an image."""
        return prod(self.shape[2:])

    def to(self, device: Device | str) -> Self:
        """The same task on a device."""
        return self.mapped(lambda tensor: tensor.to(device))

    def loss(self, logits: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
        """What training lowers, in nats: the "mean" or the "sum" over the examples."""
        return cross_entropy(logits, targets, reduction=reduction)

    def score(self, logits: Tensor, targets: Tensor) -> Tensor:
        """What a reward is made of, added up over the examples: how many are right."""
        return (logits.argmax(1) == targets).sum()

    def reward(self, score: float, count: int) -> float:
        """In [0, 1], of the score of `count` examples."""
        return score / count

    def checked_reward(self, score: float, count: int) -> float:
        """`reward`. Raises `UserError` where it is none."""
        return number(f"task {self.name}: reward()", self.reward(score, count), 0.0, 1.0)
