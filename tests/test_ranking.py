"""Rank correlations: what the course says of shared weights and of predictors."""

import math

import pytest
import torch

from course import ranking
from course.ranking import agreement, rank_correlations
from nascore import spaces
from nascore.estimators import Table

BENCH = spaces.get("nasbench201")


def test_rank_correlations_are_of_the_seen_and_of_the_unseen_larger(monkeypatch):
    rates, own = [], ranking.fit
    monkeypatch.setattr(
        ranking, "fit", lambda *data, **how: rates.append(how["learning_rate"]) or own(*data, **how)
    )
    pairs = rank_correlations(BENCH, Table(), "lstm", count=100, steps=50)
    assert len(pairs) == 2 and all(-1 <= rho <= 1 for pair in pairs for rho in pair)
    assert pairs[1][0] > 0.6 and pairs[1][0] > pairs[0][1]
    assert pairs == rank_correlations(BENCH, Table(), "lstm", count=100, steps=50)
    assert rates == [0.01, 0.002] * 2


def test_agreement_is_kendall_s_tau_b_with_its_interval():
    alone = [0.1, 0.2, 0.2, 0.3]
    assert agreement([1, 2, 3, 4], alone, 50).tau == pytest.approx(
        5 / math.sqrt(6 * 5)
    )  # one tie: tau-b
    assert agreement([4, 3, 2, 1], [1, 2, 3, 4], 50).tau == -1
    random = torch.randn(2, 100, generator=torch.Generator().manual_seed(0)).tolist()
    found = agreement(*random, resamples=500)
    spread = math.sqrt(2 * (2 * 100 + 5) / (9 * 100 * 99))  # of tau where nothing agrees: 0.068
    assert found.low < found.tau < found.high and abs(found.tau) < 4 * spread
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(spread, rel=0.35)
