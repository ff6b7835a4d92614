"""Searches whose checkpoint is what they asked and were told: a resumed one asks again, is told the
same, and is where it was. That takes as long as its proposals took, and needs no other state."""

from collections.abc import Iterator, Sequence
from math import inf
from typing import ClassVar

from nascore.errors import require
from nascore.trials import Decisions, MultiTrial, TrialBudget

Told = list[tuple[Decisions, float]]  # architectures and what they are worth; -inf: too costly


class Replayed(MultiTrial):
    """A subclass says how it begins, asks and is told."""

    STATE: ClassVar[tuple[str, ...]] = (*MultiTrial.STATE, "asked", "log")

    def __init__(self, space, estimate, budget: TrialBudget, seed: int):
        super().__init__(space, estimate, budget, seed)
        self.asked: list[Decisions] = []  # what it waits to be told
        self.log: list[Told] = []
        self.begin()

    def begin(self) -> None:
        """As if nothing had been asked."""
        raise NotImplementedError

    def ask(self, count: int) -> list[Decisions]:
        """At most `count` architectures to evaluate next, and at least one."""
        raise NotImplementedError

    def tell(self, told: Told) -> None:
        """What those are worth that were asked together."""
        raise NotImplementedError

    def propose(self, count: int) -> list[Decisions]:
        self.asked = self.ask(count)
        return self.asked

    def learn(self, decisions: Sequence[Decisions], rewards: Sequence[float]) -> None:
        worth = dict(zip(decisions, rewards))
        told = [(asked, worth.get(asked, -inf)) for asked in self.asked]
        self.asked = []
        self.log.append(told)
        self.tell(told)

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self.begin()
        for told in self.log:
            self._ask_again([asked for asked, _ in told])
            self.tell(told)
        if self.asked:
            self._ask_again(self.asked)

    def _ask_again(self, before: list[Decisions]) -> None:
        allowed = f"{before}, as the run was: another version of a library may ask otherwise"
        asked = self.ask(len(before))
        require(asked == before, "--resume: asked again", asked, allowed)


class Walk(Replayed):
    """A search that is told in one piece: `walk` yields what is evaluated together, and finds what
    each was worth in `worth` when it goes on."""

    def begin(self) -> None:
        self.worth: dict[Decisions, float] = {}
        self.queue: list[Decisions] = []
        self.steps_ahead = self.walk()

    def walk(self) -> Iterator[list[Decisions]]:
        """The whole search; it may be without end."""
        raise NotImplementedError

    def ask(self, count: int) -> list[Decisions]:
        if not self.queue:
            self.queue = [*next(self.steps_ahead)]  # its own: what is asked is taken from it
        asked = self.queue[:count]
        del self.queue[:count]
        return asked

    def tell(self, told: Told) -> None:
        self.worth.update(told)
