"""NASNet's training: `clipped_objective` against Schulman et al.'s equation 7 one ratio at a time
and its derivative by hand, `drop_path` and `Network`'s ScheduledDropPath against the rule of the
authors' code in TensorFlow's slim (1 - keep = (cell + 1) / cells x (1 - final keep), ImageNet's
stem cells counted). Within 2e-15, the objective within 3e-14."""

import math
from itertools import groupby

import pytest
import torch
from comparing import BITS, agree
from torch import Tensor

from nascore import published
from nascore.methods.nas_rl import reinforce
from nascore.methods.nasnet import clipped_objective
from nascore.nets import convolutional
from nascore.nets.convolutional import Network, drop_path

EPSILON = 0.2


def by_hand(new: Tensor, old: Tensor, advantages: Tensor) -> tuple[float, Tensor]:
    """The objective, and its slope by each new log-probability: r A where the clipped term is not
    the smaller one, else 0."""
    m = len(advantages)
    total = 0.0
    slope = torch.zeros_like(new)
    for k, advantage in enumerate(advantages.tolist()):
        for t in range(new.size(1)):
            ratio = math.exp(new[k, t].item() - old[k, t].item())
            clipped = min(max(ratio, 1 - EPSILON), 1 + EPSILON)
            total += min(ratio * advantage, clipped * advantage) / m
            if ratio * advantage <= clipped * advantage:
                slope[k, t] = ratio * advantage / m
    return total, slope


@pytest.mark.parametrize("seed", range(20))
def test_clipped_objective_and_its_gradient(seed):
    torch.manual_seed(seed)
    new = (torch.randn(6, 9) * 0.3 - 1).requires_grad_()
    old = torch.randn(6, 9) * 0.3 - 1
    advantages = torch.randn(6)
    value = clipped_objective(new, old, advantages, EPSILON)
    value.backward()
    objective, slope = by_hand(new, old, advantages)
    agree(value.item(), objective, 3e-14)
    agree(new.grad, slope, BITS)
    assert 0 < (slope == 0).sum() < slope.numel()  # some ratios are clipped, some are not


def test_the_first_pass_is_reinforce():
    """Where the policy has not moved yet, all ratios are 1."""
    new = torch.randn(6, 9, requires_grad=True)
    advantages = torch.randn(6)
    ours = torch.autograd.grad(clipped_objective(new, new.detach(), advantages, EPSILON), new)
    agree(ours, torch.autograd.grad(reinforce(new, advantages), new), BITS)


def test_drop_path_drops_whole_samples_and_scales_the_others():
    count = 200_000
    kept = drop_path(torch.ones(count, 2, 3, 3), 0.3, torch.Generator().manual_seed(1))
    samples = kept[:, 0, 0, 0]
    agree(kept, samples[:, None, None, None].expand_as(kept), 0)
    agree(sorted(set(samples.tolist())), [0.0, 1 / 0.7], BITS)
    standard_error = (0.3 * 0.7 / count) ** 0.5
    agree((samples == 0).double().mean().item(), 0.3, 4 * standard_error)


@pytest.mark.parametrize("name, stem, side, stems", [("nasnet-a", "cifar", 8, 0), ("pnasnet-5", "imagenet", 64, 2)])
def test_scheduled_drop_path_grows_with_depth(monkeypatch, name, stem, side, stems):
    """Cell k of n, the two stem cells counted, drops with (k + 1) / n of the probability."""
    seen = []

    def note(x, probability, generator=None):
        seen.append(probability)
        return x

    monkeypatch.setattr(convolutional, "drop_path", note)
    found = published.PUBLISHED[name]
    network = Network(found.genotype, 8, 5, skeleton=found.skeleton, stem=stem).train()
    network.drop_path = 0.25
    network(torch.randn(2, 3, side, side))
    n = 5 + stems
    agree([p for p, _ in groupby(seen)], [0.25 * (k + 1) / n for k in range(n)], BITS)
