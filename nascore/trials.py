"""What multi-trial methods share: propose architectures, have them evaluated, learn from their
rewards; and what those share whose architectures a controller writes."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from operator import index

import torch

from nascore import spaces
from nascore.answers import Estimate, evaluate
from nascore.constraints import IN_A_ROW, Constraint
from nascore.controllers import Controller
from nascore.errors import UserError, reason, require, say, shorten
from nascore.genotypes import Genotype, to_json
from nascore.loop import Loop, StepFailed
from nascore.search import Budget, Progress, Trial, example, knob, skeleton_of
from nascore.seeding import generator, seeded
from nascore.spaces.examine import decode
from nascore.threads import one_thread, with_its_threads
from nascore.training import RECIPES

Decisions = tuple[int, ...]


FULL_SIZE = (
    "of the network at full size, as `nascore describe --skeleton` counts it in the space's own"
    " (nasbench201-cifar for the table); 0: any"
)


@dataclass(frozen=True)
class TrialBudget(Budget):
    """How many architectures, and how each is trained when no table is asked."""

    trials: int = knob(100, "trials", "architectures evaluated", low=1, high=1_000_000)
    children: int = knob(
        8, "children", "proposed together, and learned from together", low=1, high=10_000
    )
    recipe: str = knob("child", "recipe", "how a child is trained", choices=tuple(RECIPES))
    child_epochs: int = knob(
        10, "child epochs", "epochs each child is trained", unit="epochs", low=1, high=600
    )
    last_epochs: int = knob(
        1, "last epochs", "the reward is the best validation accuracy of so many", low=1, high=600
    )
    child_seconds: float = knob(
        0.0, "time limit", "of a child, 0: none", unit="seconds", low=0.0, high=1e6
    )
    channels: int = knob(8, "channels", "width of a child's first cell", low=2, high=256)
    cells: int = knob(3, "cells", "depth of a child, reduction cells included", low=1, high=40)
    batch_size: int = knob(
        64, "batch size", "images in a minibatch", unit="images", low=2, high=4096
    )
    validation: float = knob(
        0.2, "validation", "share of the training images that rewards use", low=0.02, high=0.9
    )
    max_parameters: int = knob(0, "most parameters", FULL_SIZE, low=0, high=10**12)
    max_multiply_adds: int = knob(0, "most multiply-adds", FULL_SIZE, low=0, high=10**15)
    objective: str = knob(
        "accuracy",
        "objective",
        "accuracy, or tradeoff: MnasNet's accuracy (cost / T)^-0.07, T the most multiply-adds or parameters",
        choices=("accuracy", "tradeoff"),
    )


class TooCostly(Exception):
    """A thousand architectures in a row cost more than they may."""


class MultiTrial(Loop):
    """A search that is built from (space, estimate, budget, seed). A subclass's `propose(count)` says
    which architectures come next, and `learn` gets them with their rewards once all of them are in.

    A step is one architecture, and a row of the history; under a bound also a look at what one costs,
    which is no row. The estimator is asked for all that were proposed together in one call, or for as
    many as it takes `at_once`; its answers wait their turn.
    """

    STATE = ("history", "decisions", "batch_start", "infeasible", "in_a_row", "allowed", "rejected")

    def __init__(self, space, estimate, budget: TrialBudget, seed: int):
        super().__init__()
        self.space = spaces.of(space)
        self.estimate = estimate
        self.budget = budget
        self.seed = seed
        self.constraint = _constraint(space, budget)
        self.infeasible = 0  # proposals that cost too much: they are no trials
        self.in_a_row = 0  # of them, those since the last one that did not
        self.rejected: list[Decisions] = []  # of them, those since the last `learn`
        self.decisions: list[Decisions] = []  # of everything proposed; the last may await rewards
        self.allowed = 0  # of them, those whose costs were looked at
        self.rewards: list[float] = []  # or what the objective makes of them
        self.failed: list[bool] = []  # of those with a reward: whether it stands for an error
        self.answers: list[Estimate] = []  # of the next ones
        self.total = budget.trials  # what the progress counts to
        self.best: Trial | None = None
        self.best_at = 0
        self.batch_start = 0  # of what was proposed together last

    def propose(self, count: int) -> list[Decisions]:
        raise NotImplementedError

    def learn(self, decisions: Sequence[Decisions], rewards: Sequence[float]) -> None:
        """Learn from a batch of rewards in [0, 1], or what the objective makes of them; the batch is empty
        where all that was proposed cost too much. A method that only looks back at what there is needs
        nothing."""

    def metrics(self) -> dict[str, float]:
        """What the method says about the batch in hand, in each row of the history."""
        return {}

    @property
    def done(self) -> bool:
        given_up = self.in_a_row >= IN_A_ROW and 0 < len(self.rewards) == len(self.decisions)
        return given_up or len(self.rewards) >= self.budget.trials

    @with_its_threads
    def step(self) -> Progress:
        if len(self.rewards) == len(self.decisions):
            self.batch_start = len(self.decisions)
            count = min(self.budget.children, self.budget.trials - self.batch_start)
            self.decisions += self._proposed(count)
        if self.constraint and self.allowed < len(self.decisions):
            self._look()
            return Progress(len(self.rewards), self.total)
        if not self.answers:
            self.answers = self.evaluate(self.decisions[len(self.rewards) :])
        progress = self._record(self.answers.pop(0))
        self._learn()
        return progress

    def _look(self) -> None:
        """Whether the next one of what was proposed is allowed: if not, it was no trial. One a step, so
        that a stop does not wait for a thousand."""
        with suppress(TooCostly):
            if self.admits(self.decisions[self.allowed]):
                self.allowed += 1
            else:
                del self.decisions[self.allowed]
        self._learn()
        if self.done and not self.rewards:
            found = f"all {self.infeasible:,} architectures cost more than {self.constraint}"
            raise UserError(f"{found}: begin anew in another directory and allow more")

    def _learn(self) -> None:
        """From what was proposed together, once all of it has its reward or was not allowed."""
        if len(self.rewards) == len(self.decisions):
            with suppress(TooCostly):  # of a method that asks for costs before it proposes
                self.learn(self.decisions[self.batch_start :], self.rewards[self.batch_start :])
            self.rejected = []

    def admits(self, decisions: Decisions) -> bool:
        """Whether the network of `decisions` may cost what it does. Raises `TooCostly` where a thousand in
        a row may not, and the search ends with what it has found; where that is nothing, `UserError`."""
        if not self.constraint:
            return True
        if self.constraint.allows(self.constraint.costs(decode(self.space, decisions))):
            self.in_a_row = 0
            return True
        self.rejected.append(decisions)
        self.infeasible += 1
        self.in_a_row += 1
        if self.in_a_row >= IN_A_ROW:
            del self.decisions[self.allowed :]
            found = f"{IN_A_ROW:,} architectures in a row cost more than {self.constraint}"
            if not self.allowed:  # a bound is part of the run: it cannot be resumed with another
                raise UserError(f"{found}: begin anew in another directory and allow more")
            say(f"{found}: the search ends with what it has found")
            raise TooCostly
        return False

    def _proposed(self, count: int) -> list[Decisions]:
        """What the method proposes. Raises `StepFailed`, one line, where it fails: rows before are kept."""
        name = f"{type(self).__name__}.propose({count})"
        try:
            found = [tuple(map(index, decisions)) for decisions in self.propose(count)]
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except UserError as error:
            raise StepFailed(str(error)) from error
        except Exception as error:
            raise StepFailed(f"{name} raised {shorten(reason(error), 200)}") from error
        require(
            found, name, found, "at least one architecture, a list of decisions each", StepFailed
        )
        return found

    def evaluate(self, decisions: Sequence[Decisions]) -> list[Estimate]:
        """The answers for as many of `decisions` as the estimator takes in a call."""
        together = getattr(self.estimate, "at_once", None) or len(decisions)
        return evaluate(self.estimate, [decode(self.space, one) for one in decisions[:together]])

    def _record(self, answer: Estimate) -> Progress:
        at = len(self.rewards)
        genotype = decode(self.space, self.decisions[at])
        error = {"error": answer.error} if answer.error else {}
        costs, merit = self._priced(genotype, answer.reward)
        self.rewards.append(merit)
        self.failed.append(bool(answer.error))
        if self.best is None or self._merit(at) > self._merit(self.best_at):
            self.best = Trial(genotype, answer.reward, answer.details | error)
            self.best_at = at
        metrics = {"best": self.best.reward, **self.metrics(), **costs, "details": answer.details}
        metrics |= error
        progress = Progress(len(self.rewards), self.total, genotype, answer.reward, metrics)
        self.history.append(progress.row())
        return progress

    def _merit(self, at: int) -> tuple[bool, float]:
        """What failed never beats what worked."""
        return not self.failed[at], self.rewards[at]

    def _priced(self, genotype: Genotype, reward: float) -> tuple[dict, float]:
        """What a constrained search says of an architecture beside its reward, and what that counts."""
        if not self.constraint:
            return {}, reward
        costs = self.constraint.costs(genotype)
        merit = self.constraint.objective(reward, costs)
        return costs | {"objective": merit, "infeasible": self.infeasible}, merit

    def state_dict(self) -> dict:
        answers = [asdict(answer) for answer in self.answers]
        return super().state_dict() | {"answers": answers, "best": self.best and self.best_at}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self.allowed = state.get("allowed", len(self.decisions))
        self.rewards = [row.get("objective", row["reward"]) for row in self.history]
        self.failed = ["error" in row for row in self.history]
        self.answers = [Estimate(**answer) for answer in state["answers"]]
        if state["best"] is not None:
            self.best_at = state["best"]
            self.best = self._trial(self.best_at)

    def _trial(self, at: int) -> Trial:
        row = self.history[at]
        genotype = decode(self.space, self.decisions[at])
        if json.loads(to_json(genotype)) != row["genotype"]:  # another space under the same name
            raise UserError(f"step {at + 1}: its decisions mean another architecture now")
        error = {"error": row["error"]} if "error" in row else {}
        return Trial(genotype, row["reward"], row["details"] | error)


def _constraint(space, budget: TrialBudget) -> Constraint | None:
    """None where a budget bounds nothing."""
    bounds = (budget.max_parameters, budget.max_multiply_adds, budget.objective)
    if bounds == (0, 0, "accuracy"):
        return None
    constraint = Constraint(skeleton_of(space), *bounds)
    constraint.costs(example(space))  # its architectures must be networks
    return constraint


def moving_average(average: float | None, values: Sequence[float], decay: float) -> float:
    """The exponential moving average, after `values` one by one; the first value of all begins
    it."""
    for value in values:
        average = value if average is None else decay * average + (1 - decay) * value
    return average


class PolicySearch(MultiTrial):
    """A controller writes the architectures; a subclass's `improve` moves it towards those with
    more reward than the baseline, the moving average of the rewards that came before."""

    PARTS = ("controller", "optimizer")
    STATE = (*MultiTrial.STATE, "baseline", "entropy")

    def __init__(self, space, estimate, budget, seed: int, layers: int, scale: float):
        super().__init__(space, estimate, budget, seed)
        with seeded(seed, "controller"):
            self.controller = Controller(space, budget.hidden, layers, scale)
        self.optimizer = torch.optim.Adam(self.controller.parameters(), lr=budget.learning_rate)
        self.baseline: float | None = None
        self.entropy = 0.0  # of the policy that wrote the batch in hand, in nats

    @one_thread()
    def propose(self, count: int, length: int | None = None) -> list[Decisions]:
        written = self.controller.sample(
            count,
            generator(self.seed, "architectures", len(self.decisions) + self.infeasible),
            length,
        )
        self.entropy = written.entropies.sum(1).mean().item()
        return written.lists()

    def metrics(self) -> dict[str, float]:
        return {"baseline": self.baseline or 0.0, "entropy": self.entropy}

    @one_thread()
    def learn(self, decisions: Sequence[Decisions], rewards: Sequence[float]) -> None:
        """What cost too much was worth nothing."""
        decisions, rewards = [*decisions, *self.rejected], [*rewards, *(0.0 for _ in self.rejected)]
        seen = self.signal(torch.tensor(rewards))
        # Before there is an average, the batch's own mean stands in: Adam would long remember a
        # gradient so large.
        baseline = seen.mean().item() if self.baseline is None else self.baseline
        self.improve(decisions, seen - baseline)
        self.baseline = moving_average(
            self.baseline, seen.tolist(), self.budget.decay
        )  # after its use, so no bias

    def signal(self, rewards: torch.Tensor) -> torch.Tensor:
        """What the controller is shown of the rewards."""
        return rewards

    def ascend(self, objective: torch.Tensor) -> None:
        """One step of the controller's optimizer towards more of `objective`."""
        self.optimizer.zero_grad()
        (-objective).backward()
        self.optimizer.step()
