"""A particle swarm: Kennedy and Eberhart, "A Discrete Binary Version of the Particle Swarm Algorithm", 1997, for
decisions of any number of options. Importing this file registers the method."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import numpy as np

from nascore import search, spaces
from nascore.replayed import Walk
from nascore.search import knob
from nascore.seeding import seed_of
from nascore.trials import Decisions, TrialBudget


@dataclass(frozen=True)
class SwarmBudget(TrialBudget):
    """What a particle swarm may spend, and how its particles move."""

    particles: int = knob(10, "particles", "of the swarm", low=1, high=10_000)
    inertia: float = knob(0.7, "inertia", "share of a velocity that stays", low=0.0, high=1.0)
    own: float = knob(1.5, "own pull", "towards the best of a particle", low=0.0, high=100.0)
    social: float = knob(1.5, "social pull", "towards the best of all", low=0.0, high=100.0)
    limit: float = knob(4.0, "velocity limit", "of a velocity's size", low=0.0, high=100.0)
    PRESETS: ClassVar[dict[str, dict]] = {
        "smoke": {"trials": 3, "child_epochs": 2, "channels": 4},
        "reduced": {"trials": 24, "child_epochs": 4},
        "full": {"trials": 20_000, "child_epochs": 25, "channels": 24, "cells": 11, "batch_size": 128},
    }


@search.method("particle-swarm", budget=SwarmBudget)
class ParticleSwarm(Walk):
    """A particle has a velocity for every option of every decision, and its place is drawn from
    their softmax: where the two options of a bit have opposite velocities, that is the sigmoid of
    Kennedy and Eberhart."""

    budget: SwarmBudget

    def walk(self) -> Iterator[list[Decisions]]:
        budget = self.budget
        choices = np.array(spaces.of(self.space).choices)
        most = choices.max()
        closed = np.where(np.arange(most) < choices[:, None], 0.0, -inf)  # (T, options)
        one_hot = np.eye(most)
        random = np.random.default_rng(seed_of(self.seed, "swarm"))
        velocity = np.zeros((budget.particles, *closed.shape))
        best = np.zeros(velocity.shape)  # of each particle, one-hot
        worth = np.full(budget.particles, -inf)
        while True:
            noise = random.gumbel(size=velocity.shape)  # its argmax is a draw from the softmax
            places = (velocity + noise + closed).argmax(-1)  # (particles, T)
            swarm = [tuple(place) for place in places.tolist()]
            yield swarm
            here = one_hot[places]
            found = np.array([self.worth[place] for place in swarm])
            better = found > worth
            best[better] = here[better]
            worth = np.maximum(found, worth)
            leader = best[worth.argmax()]
            own, social = random.random((2, budget.particles, 1, 1))
            pull = budget.own * own * (best - here) + budget.social * social * (leader - here)
            velocity = (budget.inertia * velocity + pull).clip(-budget.limit, budget.limit)
