"""PNAS: Progressive Neural Architecture Search. Liu, Zoph, Neumann, Shlens, Hua, Li, Fei-Fei,
Yuille, Huang, Murphy; ECCV 2018; arXiv 1712.00559v3.

Section 3, the space of cells, is `spaces.cells.Blocks`, and the networks of 3 N cells
`nets.skeletons`; 4.1, Algorithm 1, is here; 4.2, the surrogates, `predictors`. Any space with
`levels` grows: a level is a length at which a list of decisions is a whole architecture, a block
the decisions from one level to the next.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import prod
from random import Random

from torch import Tensor

from nascore import spaces
from nascore.genotypes import Genotype, canonical
from nascore.loop import memory_errors
from nascore.predictors import (
    PREDICTORS,
    Predictor,
    fit,
    growing,
    make,
    next_block,
    options,
    rank_correlation,
)
from nascore.search import Progress, knob, method
from nascore.seeding import seed_of
from nascore.trials import Decisions, MultiTrial, TrialBudget

Scored = tuple[Decisions, float | None]  # an architecture and what is predicted of it

# --- Algorithm 1: its steps -----------------------------------------------------------------------


def next_blocks(space, length: int = 0) -> list[Decisions]:
    """All blocks that can follow `length` decisions; from 0 on, all architectures of one block.
    A parent with each of them is expand-by-one-block, in the order of
    `Predictor.score_children`."""
    block = next_block(spaces.of(space).levels, length)
    return list(product(*(range(options(space, position)) for position in block)))


def meaning(space, architecture: Decisions) -> Genotype:
    """The same for all architectures that mean the same network."""
    return canonical(space.decode(architecture))


def distinct(space, architectures: Iterable[Decisions]) -> Iterator[Decisions]:
    """`architectures` without those that mean a network that came before."""
    seen = set()
    for a in architectures:
        form = meaning(space, a)
        if form not in seen:
            seen.add(form)
            yield a


def top_k(
    space,
    parents: Sequence[Decisions],
    scores: Tensor,
    k: int,
    known=(),
    admits: Callable[[Decisions], bool] = lambda child: True,
) -> list[Scored]:
    """The K best distinct children and their scores, best first, from scores (parents, blocks);
    networks among `known` are left out, and those that `admits` says no to. Children are built only
    as they are looked at, from the top, until there are K."""
    blocks = next_blocks(space, len(parents[0]))
    scores = scores.flatten()
    forms = {meaning(space, a) for a in known}
    kept: list[Scored] = []
    parts = scores.argsort(descending=True, stable=True).split(10_000)
    for at in (at for part in parts for at in part.tolist()):
        if len(kept) >= k:
            break
        parent, block = divmod(at, len(blocks))
        child = (*parents[parent], *blocks[block])
        form = meaning(space, child)
        if form not in forms and admits(child):
            forms.add(form)
            kept.append((child, scores[at].item()))
    return kept


# --- the search -----------------------------------------------------------------------------------

_SMALL = {
    "recipe": "child",
    "child_epochs": 2,
    "cells": 3,
    "batch_size": 64,
    "validation": 0.2,
    "beam": 0,
    "predictor": "lstm-ensemble",
}


@dataclass(frozen=True)
class PNASBudget(TrialBudget):
    """What PNAS may spend, and the paper's settings. The defaults are the paper's: the preset
    `full`."""

    trials: int = knob(
        1160,
        "trials",
        "architectures evaluated; none grow if level 1 takes all",
        low=1,
        high=1_000_000,
    )
    blocks: int = knob(
        5, "blocks", "B, of the largest architectures: how many levels are climbed", low=1, high=100
    )
    beam: int = knob(
        256,
        "beam",
        "K, kept at a level; 0: an even share of the trials left",
        low=0,
        high=1_000_000,
    )
    first: int = knob(
        0,
        "first cells",
        "architectures of one block that are evaluated; 0: all",
        low=0,
        high=1_000_000,
    )
    predictor: str = knob(
        "mlp-ensemble", "surrogate", "what ranks the children", choices=tuple(PREDICTORS)
    )
    first_learning_rate: float = knob(
        0.01, "first learning rate", "Adam, on one block", low=0.0, high=1.0
    )
    learning_rate: float = knob(0.002, "learning rate", "Adam, on more blocks", low=0.0, high=1.0)
    steps: int = knob(
        50,
        "predictor steps",
        "of Adam, each on all data; not given in the paper",
        low=1,
        high=1_000_000,
    )
    recipe: str = knob(
        "pnas-child", "recipe", "how a child is trained", choices=("pnas-child", "child")
    )
    child_epochs: int = knob(
        20, "child epochs", "epochs each child is trained", unit="epochs", low=1, high=600
    )
    batch_size: int = knob(
        32, "batch size", "not given in the paper", unit="images", low=2, high=4096
    )
    validation: float = knob(
        0.1, "validation", "share of the training images that rewards use", low=0.02, high=0.9
    )
    channels: int = knob(24, "channels", "F, width of a child's first cell", low=2, high=256)
    cells: int = knob(6, "cells", "depth of a child: 3 N, N = 2", low=1, high=40)
    PRESETS = {
        "smoke": {**_SMALL, "trials": 6, "blocks": 2, "first": 4, "channels": 4},
        "reduced": {**_SMALL, "trials": 26, "blocks": 3, "first": 10, "channels": 8},
        "full": {},
    }

    def rate(self, level: int) -> float:
        """Adam's learning rate when the largest architectures seen have `level` blocks."""
        return self.first_learning_rate if level == 1 else self.learning_rate


@method("pnas", budget=PNASBudget, space="pnas")
class PNAS(MultiTrial):
    """Algorithm 1. The architectures of a level wait in a queue; when all are evaluated, `grow`
    fills it with the next level's. Where the loop of Algorithm 1 ends by updating the predictor on
    the new level, `grow` begins by fitting a new one on all levels so far; so none follows the last
    level, of which nothing would come.

    `best` is the best of the largest level so far, as Algorithm 1 returns it: smaller cells,
    evaluated on the way, only teach the predictor. So it may fall when a level begins; the
    history has every reward."""

    STATE = (*MultiTrial.STATE, "queue", "fit_correlation")
    budget: PNASBudget

    def __init__(self, space, estimate, budget: PNASBudget, seed: int):
        super().__init__(space, estimate, budget, seed)
        space = growing(space)
        self.levels = tuple(space.levels[: budget.blocks])  # the lengths that this search climbs
        self.predicted: dict[Decisions, float | None] = {}  # of what was proposed; level 1: none
        # Of the predictor that chose the level in hand, on what it was fitted on.
        self.fit_correlation = 0.0
        first = list(distinct(space, next_blocks(space)))  # S_1
        count = min(budget.first or len(first), budget.trials)
        if count < len(first):  # in order they would be cells of the same first inputs
            first = Random(seed).sample(first, count)
        self.queue: list[Scored] = [(architecture, None) for architecture in first]
        self.total = self.reachable()

    @staticmethod
    def own_space(budget: PNASBudget) -> spaces.Space:
        """The space of B blocks."""
        return spaces.get("pnas", blocks=budget.blocks)

    def share(self, spent: int, level: int) -> int:
        """K: how many of the next level are kept, when `level` levels have taken `spent` trials."""
        budget = self.budget
        left = budget.trials - spent
        return min(left, budget.beam or -(-left // (len(self.levels) - level)))

    def reachable(self) -> int:
        """How many architectures are evaluated in the end, if all children are distinct."""
        lengths = [len(a) for a in (*self.decisions, *dict(self.queue))]
        spent = len(lengths)
        here = lengths.count(lengths[-1])
        for level, (start, end) in enumerate(pairwise(self.levels), 1):
            if start >= lengths[-1]:
                children = here * prod(options(self.space, at) for at in range(start, end))
                here = min(children, self.share(spent, level))
                spent += here
        return spent

    @property
    def done(self) -> bool:
        return super().done or (not self.queue and self.recorded == len(self.trials))

    def propose(self, count: int) -> list[Decisions]:
        taken = self.queue[:count]
        del self.queue[:count]
        self.predicted |= dict(taken)
        return [architecture for architecture, _ in taken]

    def learn(self, decisions: Sequence[Decisions], rewards: Sequence[float]) -> None:
        """Once a level is evaluated, `grow` learns from all levels so far."""
        # Not `self.done`, which an empty queue makes true.
        level_over = self.trials and not self.queue and not super().done
        if level_over and len(self.decisions[-1]) < self.levels[-1]:
            self.grow()

    def grow(self) -> None:
        """The body of Algorithm 1's loop: fit the predictor on everything so far, expand the
        level in hand by one block, predict, keep the K best."""
        seen = self.decisions
        length = len(seen[-1])
        level = self.levels.index(length) + 1
        parents = [architecture for architecture in seen if len(architecture) == length]
        with memory_errors("--beam"):
            predictor = self.fitted(level)
            scores = predictor.score_children(parents)
            k = self.share(self.recorded, level)
            self.queue = top_k(self.space, parents, scores, k, known=seen, admits=self.admits)
        self.fit_correlation = rank_correlation(predictor.predict(seen).tolist(), self.rewards)
        self.total = self.reachable()

    def fitted(self, level: int) -> Predictor:
        """A new predictor, fitted on all architectures evaluated so far, the largest of which
        have `level` blocks."""
        budget = self.budget
        seed = seed_of(self.seed, "level", level)
        rewards = self.rewards
        largest = max(1.0, *rewards)  # a tradeoff may be more, and the predictor's head is not
        return fit(
            make(budget.predictor, self.space, seed),
            self.decisions,
            [reward / largest for reward in rewards],
            learning_rate=budget.rate(level),
            steps=budget.steps,
            seed=seed,
        )

    def metrics(self) -> dict[str, float]:
        """The level; from level 2 on also the predicted objective, and the predictor's rank
        correlation on what it was fitted on."""
        decisions = self.trials[self.recorded - 1].decisions
        row: dict[str, float] = {"level": self.levels.index(len(decisions)) + 1}
        predicted = self.predicted[decisions]
        if predicted is not None:
            row |= {"predicted": predicted, "fit_correlation": self.fit_correlation}
        return row

    def _record(self) -> Progress:
        trial = self.trials[self.recorded]
        if self.best and len(self.best.decisions) < len(trial.decisions):
            self.best = None  # a new level
        return super()._record()

    def state_dict(self) -> dict:
        predicted = [self.predicted[decisions] for decisions in self.decisions]
        return super().state_dict() | {"predicted": predicted}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self.predicted = dict(zip(self.decisions, state["predicted"]))
        self.total = self.reachable()
