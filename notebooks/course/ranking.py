"""Does a cheap signal rank architectures as training does: shared weights (ENAS), a predictor
(PNAS)?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random

import numpy as np

from nascore.answers import evaluate
from nascore.methods.pnas import PNASBudget, distinct, next_blocks
from nascore.predictors import fit, make, rank_correlation


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau-b of two rankings, and the middle 95% of it over resamples of the
    architectures."""

    tau: float
    low: float
    high: float


def agreement(shared: Sequence[float], alone: Sequence[float], resamples: int = 2000, seed: int = 0) -> Agreement:
    """Does sharing rank? Accuracies of the same architectures with shared weights and trained
    alone."""
    from scipy.stats import kendalltau  # it takes a second to import

    pairs = np.array([shared, alone])
    random = np.random.default_rng(seed)
    draws = random.integers(pairs.shape[1], size=(resamples, pairs.shape[1]))
    # Ties, of which resampling makes many: tau-b.
    taus = [kendalltau(*pairs[:, draw]).statistic for draw in draws]
    return Agreement(kendalltau(*pairs).statistic, *np.nanpercentile(taus, (2.5, 97.5)))


def rank_correlations(
    space,
    estimate: Callable,
    name: str,
    *,
    count: int = 256,
    levels: int = 5,
    seed: int = 0,
    drawn: int = 0,
    **how,
) -> list[tuple[float, float]]:
    """The paper's table, a pair for every level b but the last: Spearman's rank correlation of
    the predictor `name`, fitted on `count` random distinct architectures of b blocks, or all, on
    those and on such of b + 1 blocks. `seed` is the predictor's, `drawn` of the architectures.
    `how` goes to `fit`; the learning rate is the paper's, or given."""
    random = Random(drawn)
    samples = []
    for level, length in enumerate(space.levels[:levels], 1):
        blocks = next_blocks(space)
        lists = random.sample(blocks, len(blocks))
        if level > 1:
            lists = dict.fromkeys(tuple(space.sample(random))[:length] for _ in range(20 * count))
        lists = list(islice(distinct(space, lists), count))
        answers = evaluate(estimate, [space.decode(decisions) for decisions in lists])
        samples.append((lists, [answer.reward for answer in answers]))
    pairs = []
    for level, (here, above) in enumerate(zip(samples, samples[1:]), 1):
        rate = {"learning_rate": PNASBudget().rate(level)}
        predictor = fit(make(name, space, seed), *here, seed=seed, **rate | how)
        of_both = []
        for lists, rewards in (here, above):
            of_both.append(rank_correlation(predictor.predict(lists).tolist(), rewards))
        pairs.append(tuple(of_both))
    return pairs
