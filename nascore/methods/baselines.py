"""What every method must face: random search, and regularized evolution (Real, Aggarwal, Huang and Le, "Regularized
Evolution for Image Classifier Architecture Search", AAAI 2019)."""

from dataclasses import dataclass
from random import Random

from nascore import search
from nascore.estimators import evaluate
from nascore.search import Progress, Trial, TrialBudget, knob

_PRESETS = {
    "smoke": {"trials": 3, "child_epochs": 2, "channels": 4},
    "reduced": {"trials": 24, "child_epochs": 4},
    # The scale of Real et al.: 20,000 children of 3 x 3 + 2 cells, width 24, 25 epochs each.
    "full": {"trials": 20_000, "child_epochs": 25, "channels": 24, "cells": 11, "batch_size": 128},
}


@dataclass(frozen=True)
class RandomBudget(TrialBudget):
    PRESETS = _PRESETS


@dataclass(frozen=True)
class EvolutionBudget(TrialBudget):
    PRESETS = {
        "smoke": {**_PRESETS["smoke"], "population_size": 2, "sample_size": 2},
        "reduced": _PRESETS["reduced"],
        "full": {**_PRESETS["full"], "population_size": 100, "sample_size": 25},
    }
    population_size: int = knob(10, "population", "the latest architectures: they have children", low=1, high=10_000)
    sample_size: int = knob(10, "sample", "candidates drawn, with replacement, to be the parent", low=1, high=10_000)


class Baseline:
    """Evaluates one architecture a step: a subclass's `propose()` says which."""

    def __init__(self, space, estimate, budget: TrialBudget, seed: int):
        self.space, self.estimate, self.budget = space, estimate, budget
        self.generator = Random(seed)
        self.decisions: list[tuple[int, ...]] = []
        self.rewards: list[float] = []
        self.history: list[dict] = []
        self.best: Trial | None = None

    @property
    def done(self) -> bool:
        return len(self.history) >= self.budget.trials

    def step(self) -> Progress:
        """Evaluate one architecture; the metrics hold the best reward so far."""
        decisions = tuple(map(int, self.propose()))
        genotype = self.space.decode(decisions)
        (answer,) = evaluate(self.estimate, [genotype])
        error = {"error": answer.error} if answer.error else {}
        if self.best is None or answer.reward > self.best.reward:
            self.best = Trial(genotype, answer.reward, {**answer.details, **error})
        self.decisions.append(decisions)
        self.rewards.append(answer.reward)
        metrics = {"best": self.best.reward, **error}
        progress = Progress(len(self.rewards), self.budget.trials, genotype, answer.reward, metrics)
        self.history.append(progress.row())
        return progress

    def state_dict(self) -> dict:
        best = self.best and {"at": self.rewards.index(self.best.reward), "details": self.best.details}
        state = {"generator": self.generator.getstate(), "decisions": list(self.decisions)}
        return state | {"history": list(self.history), "best": best}

    def load_state_dict(self, state: dict) -> None:
        self.generator.setstate(state["generator"])
        self.decisions, self.history = list(state["decisions"]), list(state["history"])
        self.rewards = [row["reward"] for row in self.history]
        if best := state["best"]:
            at = best["at"]
            self.best = Trial(self.space.decode(self.decisions[at]), self.rewards[at], best["details"])


@search.method("random", budget=RandomBudget)
class RandomSearch(Baseline):
    """Uniform over the space, nothing twice until everything was seen."""

    def __init__(self, space, estimate, budget: RandomBudget, seed: int):
        super().__init__(space, estimate, budget, seed)
        self.size, self.seen = space.size(), set()

    def propose(self) -> tuple[int, ...]:
        decisions = tuple(self.space.sample(self.generator))
        while decisions in self.seen and len(self.seen) < self.size:
            decisions = tuple(self.space.sample(self.generator))
        self.seen.add(decisions)
        return decisions

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self.seen = set(self.decisions)


@search.method("evolution", budget=EvolutionBudget)
class RegularizedEvolution(Baseline):
    """A child a step: the best of a sample of the population, mutated in one decision. The oldest dies, however good
    it is, so the population is simply the latest `population_size` architectures; the first are drawn at random."""

    def propose(self) -> tuple[int, ...]:
        born, alive = len(self.rewards), self.budget.population_size
        if born < alive:
            return tuple(self.space.sample(self.generator))
        candidates = self.generator.choices(range(born - alive, born), k=self.budget.sample_size)
        parent = max(candidates, key=self.rewards.__getitem__)
        return tuple(self.space.mutate(self.decisions[parent], self.generator))
