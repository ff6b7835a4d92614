"""Scores without training, each against its formula written out another way, and against facts of its paper."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nascore
from course.zero_cost import SCORES, ZeroCost, of_gradients, of_sizes
from nascore import data, spaces
from nascore.errors import UserError
from nascore.nets.measure import describe

SPACE = spaces.get("nasbench201")
CELL = SPACE.decode([3, 1, 3, 2, 4, 3])


@pytest.fixture(scope="module")
def images():
    return data.load("digits")


def small():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3, bias=False), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(5 * 4 * 4, 10))


def batch(count=6):
    torch.manual_seed(1)
    return torch.randn(count, 3, 8, 8), torch.arange(count) % 10


def test_gradient_norm_and_snip_are_those_of_backward():
    network, (x, y) = small(), batch()
    found = of_gradients(network, x, y)
    F.cross_entropy(network(x), y).backward()
    weights = [m.weight for m in network if isinstance(m, nn.Conv2d | nn.Linear)]
    assert found["grad_norm"] == pytest.approx(sum(w.grad.norm().item() for w in weights), rel=1e-5)
    assert found["snip"] == pytest.approx(sum((w * w.grad).abs().sum().item() for w in weights), rel=1e-5)


def test_naswot_counts_the_relus_in_which_two_images_agree():
    network, (x, y) = small(), batch()
    codes, hooks = [], []
    for module in network:
        if isinstance(module, nn.ReLU):
            hooks.append(module.register_forward_hook(lambda m, i, o: codes.append((o > 0).flatten(1))))
    network(x)
    codes = torch.cat(codes, 1)
    agree = [[(a == b).sum().item() for b in codes] for a in codes]  # N_A less the Hamming distance
    [hook.remove() for hook in hooks]
    assert of_gradients(network, x, y)["naswot"] == pytest.approx(
        np.linalg.slogdet(np.array(agree, float))[1], rel=1e-5
    )


def test_images_that_are_alike_are_worth_nothing_to_naswot():
    network, (x, y) = small(), batch()
    x[1] = x[0]
    assert of_gradients(network, x, y)["naswot"] == -math.inf


def test_the_score_of_jacobians_without_correlation_is_minus_their_number():
    """Eigenvalues of 1: -(log(1 + k) + 1 / (1 + k)) each, which is -1 to k's first order."""
    from course.zero_cost import _correlation

    assert _correlation(_orthogonal(8)) == pytest.approx(-8, abs=1e-3)
    alike = torch.arange(64.0) + 1e-3 * torch.randn(8, 64)
    assert _correlation(alike) < -1e3


def _orthogonal(count):
    """Rows with mean 0 and no correlation: of Hadamard's matrix, but the first."""
    h = torch.tensor([[1.0]])
    while len(h) <= count:
        h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)])
    return h[1 : count + 1]


def test_synflow_is_conserved_from_layer_to_layer():
    """Tanaka et al., theorem 2: the scores of every layer's weights have the same sum, what is put out (no biases)."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3, bias=False)]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(80, 10, bias=False))
    x = torch.ones(1, 3, 8, 8, dtype=torch.double)
    for layer in (network[0], network[3], network[5]):
        weight = layer.weight.detach().abs().double()
        x = F.conv2d(x, weight) if weight.ndim == 4 else F.linear(x.flatten(1), weight)
    assert of_sizes(network, *batch())["synflow"] == pytest.approx(3 * x.sum().item(), rel=1e-9)


@pytest.mark.parametrize("score", SCORES)
def test_it_is_an_estimator_with_the_order_of_its_score(score, images):
    estimate = ZeroCost(images, score, channels=4, cells=5, batch_size=16)
    cells = [CELL, SPACE.decode([3] * 6), SPACE.decode([1, 0, 0, 2, 1, 4])]
    answers = estimate(cells)
    assert all(0 < a.reward < 1 for a in answers)
    order = [a.details[score] for a in answers]
    assert np.argsort(order).tolist() == np.argsort([a.reward for a in answers]).tolist()
    assert estimate(cells)[0].details == answers[0].details  # the same each time


def test_counts_are_those_of_describe(images):
    found = ZeroCost(images, "parameters")([CELL])[0].details
    known = describe(CELL, in_channels=1, input=8)
    assert found == {name: known[name] for name in ("parameters", "multiply_adds")}


def test_a_search_without_any_training(images):
    estimate = ZeroCost(images, "parameters", channels=4, cells=5)
    how = dict(space="nasbench201", data=images, progress=False)
    found = nascore.run("local-search", estimate=estimate, trials=200, **how)
    assert found.details["parameters"] == estimate([SPACE.decode([3] * 6)])[0].details["parameters"]


def test_an_unknown_score_is_one_line(images):
    with pytest.raises(UserError, match="score: found 'magic', allowed: grad_norm"):
        ZeroCost(images, "magic")


def test_a_cell_that_lets_nothing_through_has_no_correlations_and_is_searched_past(images):
    nothing = SPACE.decode([0] * 6)
    (answer,) = ZeroCost(images, "jacob_cov", channels=4, cells=5, batch_size=8)([nothing])
    assert math.isnan(answer.details["jacob_cov"]) and math.isnan(answer.reward)
    estimate = ZeroCost(images, "jacob_cov", channels=4, cells=5, batch_size=8)
    how = dict(space="nasbench201", data=images, estimate=estimate, progress=False)
    assert "error" in nascore.run("exhaustive", trials=1, **how).history[0]
    assert nascore.run("random", trials=5, **how).reward > 0
