"""Searches whose architectures a controller writes: NAS-RL's and NASNet's."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from torch import Tensor, tensor
from torch.optim import Adam

from nascore.controllers import Controller
from nascore.seeding import generator, seeded
from nascore.threads import one_thread
from nascore.trials import Decisions, MultiTrial


def moving_average(average: float | None, value: float, decay: float) -> float:
    """The exponential moving average after one more value; the first of all begins it."""
    return value if average is None else decay * average + (1 - decay) * value


class PolicySearch(MultiTrial):
    """A controller writes the architectures; a subclass's `improve` moves it towards those with
    more reward than the baseline, the moving average of the rewards that came before."""

    PARTS: ClassVar[tuple[str, ...]] = ("controller", "optimizer")
    STATE: ClassVar[tuple[str, ...]] = (*MultiTrial.STATE, "baseline", "entropy")

    def __init__(
        self, space, estimate: Callable, budget: Any, seed: int, layers: int, scale: float
    ):
        super().__init__(space, estimate, budget, seed)
        self.decay: float = budget.decay  # of the baseline
        with seeded(seed, "controller"):
            self.controller = Controller(space, budget.hidden, layers, scale)
        self.optimizer = Adam(self.controller.parameters(), lr=budget.learning_rate)
        self.baseline: float | None = None
        self.entropy = 0.0  # of the policy that wrote the batch in hand, in nats

    def propose(self, count: int) -> list[Decisions]:
        """What the controller writes."""
        return self.write(count)

    @one_thread()
    def write(self, count: int, length: int | None = None) -> list[Decisions]:
        """Architectures of `length` decisions, or of all."""
        proposed = len(self.trials) + self.infeasible
        random = generator(self.seed, "architectures", proposed)
        written = self.controller.sample(count, random, length)
        self.entropy = written.entropies.sum(1).mean().item()
        return [tuple(decisions) for decisions in written.lists()]

    def metrics(self) -> dict[str, float]:
        return {"baseline": self.baseline or 0.0, "entropy": self.entropy}

    @one_thread()
    def learn(self, decisions: Sequence[Decisions], rewards: Sequence[float]) -> None:
        """What cost too much was worth nothing."""
        decisions = [*decisions, *self.rejected]
        rewards = [*rewards, *(0.0 for _ in self.rejected)]
        seen = self.signal(tensor(rewards))
        # Before there is an average, the batch's own mean stands in: Adam would long remember a
        # gradient so large.
        baseline = seen.mean().item() if self.baseline is None else self.baseline
        self.improve(decisions, seen - baseline)
        for value in seen.tolist():  # after its use, so no bias
            self.baseline = moving_average(self.baseline, value, self.decay)

    def improve(self, decisions: Sequence[Decisions], advantages: Tensor) -> None:
        """Move the controller: `advantages` (m,) are what was seen of the rewards less the
        baseline."""
        raise NotImplementedError

    def signal(self, rewards: Tensor) -> Tensor:
        """What the controller is shown of the rewards."""
        return rewards

    def ascend(self, objective: Tensor) -> None:
        """One step of the controller's optimizer towards more of `objective`."""
        self.optimizer.zero_grad()
        (-objective).backward()
        self.optimizer.step()
