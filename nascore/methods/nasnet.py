"""NASNet: Learning Transferable Architectures for Scalable Image Recognition. Zoph, Vasudevan,
Shlens, Le; CVPR 2018; arXiv 1707.07012v4.

In the order of the paper: the space of two cells (section 3) is `spaces.cells.Blocks`, the networks
that stack them are `nets.skeletons`; here is the training of the controller by proximal policy
optimization, with the settings of appendix A.2 and A.3. The text's controller has a softmax for
every decision, 10 B of them in the two cells; ours has a pointer for all inputs and a head a kind
of decision, shared by all blocks and both cells. The paper's last step, training the best 250
children to convergence, is `nascore train`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nascore.policies import PolicySearch
from nascore.search import knob, method
from nascore.trials import Decisions, TrialBudget

_SMALL = {"cells": 3, "batch_size": 64, "validation": 0.2}


def clipped_objective(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, epsilon: float
) -> Tensor:
    """PPO (Schulman et al. 2017, equation 7): the mean over architectures of sum_t min(r_t A,
    clip(r_t, 1 - eps, 1 + eps) A), where r_t = P(a_t) / P_old(a_t) is the ratio of one decision.
    Shapes (m, T), (m, T), (m,)."""
    ratios = (log_probs - old_log_probs).exp()
    advantages = advantages[:, None]
    clipped = ratios.clamp(1 - epsilon, 1 + epsilon)
    return torch.minimum(ratios * advantages, clipped * advantages).sum(1).mean()


@dataclass(frozen=True)
class NASNetBudget(TrialBudget):
    """What NASNet may spend, and the paper's settings. The defaults are the paper's: the preset
    `full`."""

    trials: int = knob(20_000, "trials", "architectures evaluated", low=1, high=1_000_000)
    children: int = knob(
        20, "children", "proposed together, and learned from together", low=1, high=10_000
    )
    recipe: str = knob(
        "nasnet-child", "recipe", "how a child is trained", choices=("nasnet-child", "child")
    )
    child_epochs: int = knob(
        20, "child epochs", "epochs each child is trained", unit="epochs", low=1, high=600
    )
    channels: int = knob(
        32, "channels", "F, width of a child's first cell; not given in the paper", low=2, high=256
    )
    cells: int = knob(8, "cells", "depth of a child: 3 N + 2, N = 2", low=1, high=40)
    batch_size: int = knob(
        32, "batch size", "not given in the paper", unit="images", low=2, high=4096
    )
    validation: float = knob(
        0.1, "validation", "share of the training images that rewards use", low=0.02, high=0.9
    )
    learning_rate: float = knob(
        3.5e-4, "learning rate", "Adam on the controller", low=0.0, high=1.0
    )
    entropy_weight: float = knob(
        1e-5, "entropy weight", "of the policy, in the objective", low=0.0, high=10.0
    )
    decay: float = knob(
        0.95, "baseline decay", "of the moving average of rewards", low=0.0, high=0.9999
    )
    epsilon: float = knob(
        0.2,
        "clip of the ratio",
        "how far a ratio may leave 1; not given in the paper",
        low=0.0,
        high=10.0,
    )
    passes: int = knob(
        4, "passes a batch", "over each batch of children; not given in the paper", low=1, high=1000
    )
    hidden: int = knob(100, "LSTM units", "of the controller's one LSTM layer", low=1, high=1000)
    PRESETS = {
        "smoke": {**_SMALL, "trials": 4, "children": 2, "child_epochs": 2, "channels": 4},
        "reduced": {
            **_SMALL,
            "trials": 24,
            "children": 4,
            "child_epochs": 3,
            "channels": 8,
            "learning_rate": 0.001,
        },
        "full": {},
    }


@method("nasnet", budget=NASNetBudget, space="nasnet")
class NASNet(PolicySearch):
    """A batch is the children of one update, trained at the same time; then the controller
    passes over them several times, each time held near the policy that wrote them."""

    budget: NASNetBudget

    def __init__(self, space, estimate, budget: NASNetBudget, seed: int):
        super().__init__(space, estimate, budget, seed, layers=1, scale=0.1)

    def improve(self, decisions: Sequence[Decisions], advantages: Tensor) -> None:
        """`passes` ascents of the clipped objective and the entropy."""
        budget = self.budget
        old: Tensor | None = None
        for _ in range(budget.passes):
            written = self.controller(decisions)
            if old is None:  # the policy has not moved since it wrote them
                old = written.log_probs.detach()
            objective = clipped_objective(written.log_probs, old, advantages, budget.epsilon)
            self.ascend(objective + budget.entropy_weight * written.entropies.sum(1).mean())
