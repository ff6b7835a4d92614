"""What the tests of NAS-RL and of NASNet share: a space small enough to enumerate, with exact gradients."""

from itertools import product

import torch
from torch import Tensor

from nascore import spaces
from nascore.controllers import Controller
from nascore.seeding import generator, seeded

TINY = spaces.get("nas-rl", layers=2, sides=(1, 3), filters=(24, 36))
ALL = [list(decisions) for decisions in product(range(2), repeat=7)]  # its 128 architectures
REWARDS = 0.88 + 0.04 * torch.rand(128, generator=generator("rewards"), dtype=torch.float64)


def policy() -> Controller:
    with seeded("policy"):
        return Controller(TINY, hidden=6, layers=2, scale=0.8).double()


def flat_gradient(value: Tensor, of: Controller) -> Tensor:
    """The gradient of a scalar with respect to all weights, as one vector."""
    gradients = torch.autograd.grad(value, list(of.parameters()), allow_unused=True, retain_graph=True)
    return torch.cat([torch.zeros(p.numel()) if g is None else g.flatten() for g, p in zip(gradients, of.parameters())])


def expected_reward(of: Controller) -> Tensor:
    """J(theta), the expected reward, by enumeration."""
    return (of(ALL).log_probs.sum(1).exp() * REWARDS).sum()
