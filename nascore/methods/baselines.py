"""What every method must face: random search, and regularized evolution (Real, Aggarwal, Huang
and Le, "Regularized Evolution for Image Classifier Architecture Search", AAAI 2019)."""

from dataclasses import dataclass
from random import Random

from nascore import search, spaces
from nascore.errors import UserError
from nascore.search import knob
from nascore.spaces.guards import drawn, name_of
from nascore.trials import Decisions, MultiTrial, TrialBudget, merit

_PRESETS: dict[str, dict] = {
    "smoke": {"trials": 3, "child_epochs": 2, "channels": 4},
    "reduced": {"trials": 24, "child_epochs": 4},
    # The scale of Real et al.: 20,000 children of 3 x 3 + 2 cells, width 24, 25 epochs each.
    "full": {
        "trials": 20_000,
        "child_epochs": 25,
        "channels": 24,
        "cells": 11,
        "batch_size": 128,
        "validation": 0.1,
    },
}


@dataclass(frozen=True)
class RandomBudget(TrialBudget):
    """What random search may spend."""

    PRESETS = _PRESETS


@dataclass(frozen=True)
class EvolutionBudget(TrialBudget):
    """What regularized evolution may spend; the scale of Real et al. is the preset `full`."""

    PRESETS = {
        "smoke": {**_PRESETS["smoke"], "population_size": 2, "sample_size": 2},
        "reduced": _PRESETS["reduced"],
        "full": {**_PRESETS["full"], "population_size": 100, "sample_size": 25},
    }
    children: int = knob(
        1,
        "children",
        "born of the same population; several are trained at the same time, 1 keeps workers idle",
        low=1,
        high=10_000,
    )
    population_size: int = knob(
        10, "population", "the latest architectures: they have children", low=1, high=10_000
    )
    sample_size: int = knob(
        10, "candidates", "candidates drawn, with replacement, to be the parent", low=1, high=10_000
    )


class Baseline(MultiTrial):
    """Draws from one random generator, whose state goes with the checkpoint."""

    def __init__(self, space, estimate, budget: TrialBudget, seed: int):
        super().__init__(space, estimate, budget, seed)
        self.generator = Random(seed)

    def propose(self, count: int) -> list[Decisions]:
        return [self.propose_one() for _ in range(count)]

    def propose_one(self) -> Decisions:
        """The next architecture, after those that were proposed before it."""
        raise NotImplementedError

    def state_dict(self) -> dict:
        return super().state_dict() | {"generator": self.generator.getstate()}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self.generator.setstate(state["generator"])


@search.method("random", budget=RandomBudget)
class RandomSearch(Baseline):
    """Uniform over the space, nothing twice until everything was seen."""

    def __init__(self, space, estimate, budget: RandomBudget, seed: int):
        super().__init__(space, estimate, budget, seed)
        self.size = space.size()
        self.seen: set[Decisions] = set()

    def propose_one(self) -> Decisions:
        space = self.space
        seen = self.seen
        left = self.size - len(seen)
        # A uniform sample needs size / left draws for a new one; fifty times as many it never
        # needs.
        draws = 1_000 + 50 * self.size // max(left, 1)
        for _ in range(draws):
            decisions = drawn(space, "sample", self.generator)
            if left <= 0 or decisions not in seen:
                seen.add(decisions)
                return decisions
        found = f"nothing new in {draws:,} draws after {len(seen):,} different ones"
        said = f"size() says {self.size:,}"
        raise UserError(f"space {name_of(space)}: sample() gave {found}, and {said}")

    def state_dict(self) -> dict:
        return super().state_dict() | {"seen": sorted(self.seen)}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self.seen = set(state.get("seen", self.decisions))


@search.method("evolution", budget=EvolutionBudget)
class RegularizedEvolution(Baseline):
    """The best of a sample of the population, mutated in one decision. The oldest dies, however
    good it is, so the population is the latest `population_size` architectures; the first are
    drawn at random."""

    budget: EvolutionBudget

    def __init__(self, space, estimate, budget: EvolutionBudget, seed: int):
        super().__init__(space, estimate, budget, seed)
        if not spaces.of(space).can_mutate:
            raise UserError(f"evolution: space {name_of(space)} has no method mutate")

    def propose_one(self) -> Decisions:
        random = self.generator
        born = self.recorded
        alive = self.budget.population_size
        if born < alive:
            return drawn(self.space, "sample", random)
        population = self.trials[born - alive : born]
        sample = random.choices(population, k=self.budget.sample_size)
        return drawn(self.space, "mutate", max(sample, key=merit).decisions, random)
