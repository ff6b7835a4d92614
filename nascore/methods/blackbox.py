"""Optimisers that know of an architecture no more than its decisions, which every method must face:
random search and brute force; regularized evolution (Real, Aggarwal, Huang and Le, "Regularized
Evolution for Image Classifier Architecture Search", AAAI 2019); local search (White, Nolen and
Savani, "Exploring the Loss Landscape in Neural Architecture Search", UAI 2021); and Bayesian
optimisation, by Optuna."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice, product
from math import inf
from random import Random
from typing import Any

from nascore import search, spaces
from nascore.errors import UserError, require
from nascore.replayed import Replayed, Told, Walk
from nascore.search import knob
from nascore.seeding import seed_of
from nascore.spaces.guards import drawn, name_of
from nascore.trials import Decisions, MultiTrial, TrialBudget, merit

MOST = 1_000_000  # architectures that brute force may try
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


# --- brute force ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ExhaustiveBudget(TrialBudget):
    """What brute force may spend."""

    trials: int = knob(0, "trials", "architectures evaluated; 0: all", low=0, high=1_000_000)
    PRESETS = {"smoke": _PRESETS["smoke"], "reduced": {"child_epochs": 4}, "full": {}}


@search.method("exhaustive", budget=ExhaustiveBudget)
class Exhaustive(Walk):
    """Every architecture of the space, in the order of its decisions."""

    def __init__(self, space, estimate, budget: ExhaustiveBudget, seed: int):
        size = space.size()
        trials = budget.trials or size
        field = f"space {name_of(space)}"
        allowed = f"at most {MOST:,}, or --trials N for the first N"
        require(trials <= MOST, field, f"{size:,} architectures", allowed)
        super().__init__(space, estimate, replace(budget, trials=min(size, trials)), seed)

    def walk(self) -> Iterator[list[Decisions]]:
        every = product(*map(range, spaces.of(self.space).choices))
        while together := list(islice(every, self.budget.children)):
            yield together


# --- local search ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class LocalBudget(TrialBudget):
    """What local search may spend."""

    improvement: str = knob(
        "first",
        "improvement",
        "first: on to the first better neighbour; best: all are looked at, and the best is next",
        choices=("first", "best"),
    )
    PRESETS = _PRESETS


@search.method("local-search", budget=LocalBudget)
class LocalSearch(Walk):
    """On to a neighbour that is better, and from a local maximum anew from a random architecture.
    What was evaluated before is known, and costs no trial."""

    budget: LocalBudget

    @property
    def done(self) -> bool:
        return super().done or len(self.worth) >= self.space.size()

    def walk(self) -> Iterator[list[Decisions]]:
        random = Random(self.seed)
        while True:
            here = drawn(self.space, "sample", random)
            yield from self.unknown([here])
            climbs = True
            while climbs:
                around = neighbours(self.space, here)
                random.shuffle(around)
                best = here
                for together in self.looks(around):
                    yield from self.unknown(together)
                    best = max([here, *together], key=lambda there: self.worth[there])
                    if best != here:
                        break
                climbs = best != here
                here = best

    def looks(self, around: list[Decisions]) -> list[list[Decisions]]:
        """The neighbours that are looked at together: all, or one by one."""
        if self.budget.improvement == "best":
            return [around]
        return [[there] for there in around]

    def unknown(self, together: list[Decisions]) -> Iterator[list[Decisions]]:
        """Those that are not known yet, where there are any."""
        new = [there for there in together if there not in self.worth]
        if new:
            yield new


def neighbours(space, here: Decisions) -> list[Decisions]:
    """All architectures that differ from `here` in exactly one decision."""
    return [
        (*here[:at], option, *here[at + 1 :])
        for at, count in enumerate(spaces.of(space).choices)
        for option in range(count)
        if option != here[at]
    ]


# --- Bayesian optimisation ------------------------------------------------------------------------


@dataclass(frozen=True)
class OptunaBudget(TrialBudget):
    """What Optuna may spend."""

    children: int = knob(1, "children", "asked for before any is known", low=1, high=10_000)
    sampler: str = knob(
        "tpe",
        "sampler",
        "tpe: a tree of Parzen estimators; gp: a Gaussian process, slower",
        choices=("tpe", "gp"),
    )
    PRESETS = _PRESETS


@search.method("optuna", budget=OptunaBudget)
class BayesianOptimisation(Replayed):
    """Optuna's samplers: every decision is a categorical choice."""

    budget: OptunaBudget

    def begin(self) -> None:
        try:
            import optuna
        except ImportError:
            allowed = "the package optuna: pip install 'nascore[optimisers]'"
            raise UserError(f"optuna: not installed, allowed: {allowed}") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        samplers = {"tpe": optuna.samplers.TPESampler, "gp": optuna.samplers.GPSampler}
        sampler = samplers[self.budget.sampler](seed=seed_of(self.seed, "optuna") % 2**32)
        self.study = optuna.create_study(direction="maximize", sampler=sampler)
        self.waiting: list[Any] = []  # Optuna's trials

    def ask(self, count: int) -> list[Decisions]:
        choices = list(enumerate(spaces.of(self.space).choices))
        self.waiting = [self.study.ask() for _ in range(count)]
        return [
            tuple(trial.suggest_categorical(str(at), range(options)) for at, options in choices)
            for trial in self.waiting
        ]

    def tell(self, told: Told) -> None:
        from optuna.trial import TrialState

        for trial, (_, worth) in zip(self.waiting, told):
            if worth == -inf:
                self.study.tell(trial, state=TrialState.FAIL)
            else:
                self.study.tell(trial, worth)
