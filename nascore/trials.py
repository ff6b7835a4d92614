"""What multi-trial methods share: propose architectures, have them evaluated, learn from their
rewards."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from operator import index
from typing import ClassVar

from nascore.answers import Estimate, checked, evaluate
from nascore.constraints import IN_A_ROW, Constraint
from nascore.cuda import ran_out_of_memory
from nascore.errors import UserError, reason, require, say, shorten
from nascore.genotypes import as_dict
from nascore.knobs import knob
from nascore.loop import Loop, Progress, StepFailed
from nascore.nets.sizes import skeleton_of_space
from nascore.registry import Budget, Trial
from nascore.spaces.examine import decode, example
from nascore.threads import with_its_threads
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
        "accuracy, or tradeoff: MnasNet's accuracy (cost / T)^-0.07, T the most multiply-adds or"
        " parameters",
        choices=("accuracy", "tradeoff"),
    )


class TooCostly(Exception):
    """A thousand architectures in a row cost more than they may."""


class MultiTrial(Loop):
    """A search that is built from (space, estimate, budget, seed). A subclass's `propose(count)`
    says which architectures come next, and `learn` gets them with their rewards once all of them
    are in.

    Each is a `Trial` in `trials`, in the order of proposals: proposed, answered (in any order, late
    or early), recorded as a row of the history and learned from (in the order of proposals). A step
    records one trial; under a bound it may be a look at what one costs, which is no row. The
    estimator is asked for all that were proposed together in one call, or for as many as it takes
    `at_once`.
    """

    STATE: ClassVar[tuple[str, ...]] = (
        "history",
        "batch_start",
        "infeasible",
        "in_a_row",
        "allowed",
        "rejected",
    )

    def __init__(self, space, estimate: Callable, budget: TrialBudget, seed: int):
        super().__init__()
        self.space = space
        self.estimate = estimate
        self.budget = budget
        self.seed = seed
        self.constraint = _constraint(space, budget)
        self.trials: list[Trial] = []  # the first ones, one a row of the history, are recorded
        self.rewards: list[float] = []  # the objectives of these
        self.batch_start = 0  # where those begin that were proposed together last
        self.best: Trial | None = None
        self.best_at = 0
        self.total = budget.trials  # what the progress counts to
        # Under a bound: what costs too much is rejected, and no trial.
        self.allowed = 0  # trials[:allowed] were looked at
        self.infeasible = 0  # how many were rejected
        self.in_a_row = 0  # how many since the last one that was not
        self.rejected: list[Decisions] = []  # those since the last `learn`

    def propose(self, count: int) -> list[Decisions]:
        """At most `count` architectures to evaluate next, and at least one."""
        raise NotImplementedError

    def learn(self, decisions: Sequence[Decisions], rewards: Sequence[float]) -> None:
        """Learn from what was proposed together and its objectives: the rewards in [0, 1], or their
        tradeoff with the cost. What cost too much is in `rejected`; the batch is empty where all of
        it did. Random search and evolution do not learn: they look back at `trials` as they
        propose."""

    def metrics(self) -> dict[str, float]:
        """What the method says about the batch in hand, in each row of the history."""
        return {}

    @property
    def decisions(self) -> list[Decisions]:
        """The decisions of every trial, answered or not."""
        return [trial.decisions for trial in self.trials]

    @property
    def recorded(self) -> int:
        """How many trials are rows of the history."""
        return len(self.rewards)

    @property
    def reached(self) -> int:
        """How many trials have their answer, recorded or not."""
        return self.recorded + sum(t.is_answered for t in self.trials[self.recorded :])

    @property
    def left(self) -> float | None:
        """By the seconds that the children took which are trained."""
        reached = self.reached
        if not reached or not hasattr(self.estimate, "pace"):
            return None
        spent = sum(trial.seconds for trial in self.trials[:reached])
        rest = self.cost(self.total) / self.cost(reached) - 1
        return self.estimate.pace(spent * rest, self.budget.children)

    @property
    def done(self) -> bool:
        given_up = self.in_a_row >= IN_A_ROW and 0 < self.recorded == len(self.trials)
        return given_up or self.recorded >= self.budget.trials

    @with_its_threads
    def step(self) -> Progress:
        if self.recorded == len(self.trials):
            self.propose_batch()
        if self.constraint and self.allowed < len(self.trials):
            self._look()
            return Progress(self.recorded, self.total)
        if not self.trials[self.recorded].is_answered:
            self._ask()
        progress = self._record()
        self._learn()
        return progress

    def answer(self, at: int, answer: Estimate | float) -> None:
        """What became of trial `at`: it is recorded once all before it are. Raises `StepFailed` for
        an answer that cannot be, and for a second one."""
        trial = self.trials[at]
        require(not trial.is_answered, f"trial {at}", "a second answer", "one", StepFailed)
        self.trials[at] = trial.answered(checked(answer, f"trial {at}"))

    def _ask(self) -> None:
        """The estimator, for as many trials that have no answer as it takes in a call."""
        proposed = range(self.recorded, len(self.trials))
        waiting = [at for at in proposed if not self.trials[at].is_answered]
        together = waiting[: getattr(self.estimate, "at_once", None) or len(waiting)]
        answers = evaluate(self.estimate, [self.trials[at].genotype for at in together])
        for at, answer in zip(together, answers):
            self.trials[at] = self.trials[at].answered(answer)

    def _record(self) -> Progress:
        """The next trial as a row of the history."""
        at = self.recorded
        costs = self._priced(at)
        trial = self.trials[at]
        if self.best is None or merit(trial) > merit(self.best):
            self.best = trial
            self.best_at = at
        self.rewards.append(trial.objective)  # first: a method's metrics are of all up to this one
        metrics = {"best": self.best.reward, **self.metrics(), **costs, "details": trial.details}
        if trial.error:
            metrics["error"] = trial.error
        progress = Progress(at + 1, self.total, trial.genotype, trial.reward, metrics)
        self.history.append(progress.row())
        return progress

    def _learn(self) -> None:
        """From what was proposed together, once all of it is recorded or was not allowed."""
        if self.recorded == len(self.trials):
            batch = self.trials[self.batch_start :]
            with suppress(TooCostly):  # of a method that asks for costs before it proposes
                self.learn([t.decisions for t in batch], [t.objective for t in batch])
            self.rejected = []

    def propose_batch(self) -> None:
        """Ask the method for the next batch. Raises `StepFailed`, one line, where it fails: rows
        before are kept."""
        self.batch_start = len(self.trials)
        count = min(self.budget.children, self.budget.trials - self.batch_start)
        name = f"{type(self).__name__}.propose({count})"
        try:
            found = [tuple(map(index, decisions)) for decisions in self.propose(count)]
        except UserError as error:
            raise StepFailed(str(error)) from error
        except Exception as error:
            if ran_out_of_memory(error):
                raise
            raise StepFailed(f"{name} raised {shorten(reason(error), 200)}") from error
        some = "at least one architecture, a list of decisions each"
        require(len(found) > 0, name, found, some, StepFailed)
        self.trials += [self._trial(decisions) for decisions in found]

    def _trial(self, decisions: Decisions) -> Trial:
        return Trial(decode(self.space, decisions), decisions=decisions)

    # --- under a bound ----------------------------------------------------------------------------

    def _look(self) -> None:
        """Whether the next one of what was proposed is allowed: if not, it was no trial. One a
        step, so that a stop does not wait for a thousand."""
        with suppress(TooCostly):
            if self.admits(self.trials[self.allowed].decisions):
                self.allowed += 1
            else:
                del self.trials[self.allowed]
        self._learn()
        if self.done and not self.history:
            found = f"all {self.infeasible:,} architectures cost more than {self.constraint}"
            raise UserError(f"{found}: begin anew in another directory and allow more")

    def admits(self, decisions: Decisions) -> bool:
        """Whether the network of `decisions` may cost what it does. Raises `TooCostly` where a
        thousand in a row may not, and the search ends with what it has found; where that is
        nothing, `UserError`."""
        if not self.constraint:
            return True
        if self.constraint.allows(self.constraint.costs(decode(self.space, decisions))):
            self.in_a_row = 0
            return True
        self.rejected.append(decisions)
        self.infeasible += 1
        self.in_a_row += 1
        if self.in_a_row >= IN_A_ROW:
            del self.trials[self.allowed :]
            found = f"{IN_A_ROW:,} architectures in a row cost more than {self.constraint}"
            if not self.allowed:  # a bound is part of the run: it cannot be resumed with another
                raise UserError(f"{found}: begin anew in another directory and allow more")
            say(f"{found}: the search ends with what it has found")
            raise TooCostly
        return False

    def _priced(self, at: int) -> dict:
        """What a constrained search says of trial `at` beside its reward; the objective counts the
        costs."""
        if not self.constraint:
            return {}
        trial = self.trials[at]
        costs = self.constraint.costs(trial.genotype)
        objective = self.constraint.objective(trial.reward, costs)
        self.trials[at] = replace(trial, objective=objective)
        return costs | {"objective": objective, "infeasible": self.infeasible}

    # --- checkpoints ------------------------------------------------------------------------------

    def state_dict(self) -> dict:
        """Trials that are recorded are in the history; the answers are of those after them."""
        waiting = self.trials[self.recorded :]
        while waiting and not waiting[-1].is_answered:
            waiting.pop()
        return super().state_dict() | {
            "decisions": self.decisions,
            "seconds": [trial.seconds for trial in self.trials],
            "answers": [trial.answer for trial in waiting],
            "best": self.best and self.best_at,
        }

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self.trials = [self._trial(decisions) for decisions in state["decisions"]]
        self.allowed = state.get("allowed", len(self.trials))
        seconds = state.get("seconds", [0.0] * len(self.trials))
        for at, row in enumerate(self.history):
            self.trials[at] = _recorded(self.trials[at], row, seconds[at])
        self.rewards = [trial.objective for trial in self.trials[: len(self.history)]]
        for at, answer in enumerate(state["answers"], self.recorded):
            if answer:
                self.answer(at, Estimate(**answer))
        if state["best"] is not None:
            self.best_at = state["best"]
            self.best = self.trials[self.best_at]


def merit(trial: Trial) -> tuple[bool, float]:
    """By which the better one of two trials is known: what failed never beats what worked."""
    return not trial.error, trial.objective


def _recorded(trial: Trial, row: dict, seconds: float) -> Trial:
    """A trial with what its row of the history says."""
    if as_dict(trial.genotype) != row["genotype"]:  # another space of the same name
        raise UserError(f"step {row['step']}: its decisions mean another architecture now")
    answer = Estimate(row["reward"], seconds, row["details"], row.get("error"))
    return replace(trial.answered(answer), objective=row.get("objective", row["reward"]))


def _constraint(space, budget: TrialBudget) -> Constraint | None:
    """None where a budget bounds nothing."""
    bounds = (budget.max_parameters, budget.max_multiply_adds, budget.objective)
    if bounds == (0, 0, "accuracy"):
        return None
    constraint = Constraint(skeleton_of_space(space), *bounds)
    constraint.costs(example(space))  # its architectures must be networks
    return constraint
