"""NAS-RL: Neural Architecture Search with Reinforcement Learning. Zoph and Le; ICLR 2017; arXiv
1611.01578v2.

In the order of the paper: the controller (section 3.1) and its skip connections (3.3) are
`controllers`, the space and its repairs `spaces.chains` and `nets`; here are REINFORCE (3.2), the
schedule of depths and the reward (4.1). The paper trains 100 replicas of the controller, each on
its own 8 children, against shared parameters; here is one, and its updates wait for no other. What
the paper does not say is a field of the budget whose help says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from nascore import spaces
from nascore.policies import PolicySearch
from nascore.search import knob, method
from nascore.trials import Decisions, TrialBudget

FILTERS = {"v1": (24, 36, 48, 64), "v3": (6, 12, 24, 36)}
_SMALL = {"first_layers": 2, "filters": "v3", "validation": 0.2}


# --- Section 3.2: training with REINFORCE ---------------------------------------------------------


def reinforce(log_probs: Tensor, advantages: Tensor) -> Tensor:
    """The scalar whose gradient is the paper's estimate 1/m sum_k sum_t grad log P(a_t |
    a_{(t-1):1}; theta) (R_k - b): from the log-probabilities (m, T) of m architectures and their
    R_k - b, (m,)."""
    return (log_probs.sum(1) * advantages).mean()


# --- Section 4.1: how deep the children are, and what they earn -----------------------------------


def depth(k: int, first: int = 6, added: int = 2, every: int = 1600) -> int:
    """Layers of the k-th child (from 0): 6 at first, and 2 more every 1,600 children."""
    return first + added * (k // every)


@dataclass(frozen=True)
class NASRLBudget(TrialBudget):
    """What NAS-RL may spend, and the paper's settings. The defaults are the paper's: the preset
    `full`."""

    trials: int = knob(12_800, "trials", "architectures evaluated", low=1, high=1_000_000)
    recipe: str = knob(
        "nas-rl-child", "recipe", "how a child is trained", choices=("nas-rl-child", "child")
    )
    child_epochs: int = knob(
        50, "child epochs", "epochs each child is trained", unit="epochs", low=1, high=600
    )
    last_epochs: int = knob(
        5, "last epochs", "the reward is the best validation accuracy of so many", low=1, high=600
    )
    validation: float = knob(
        0.1, "validation", "share of the training images that rewards use", low=0.02, high=0.9
    )
    first_layers: int = knob(6, "first layers", "depth of the first children", low=1, high=100)
    added_layers: int = knob(2, "added layers", "by which the depth grows", low=0, high=100)
    stage: int = knob(1600, "children of a depth", "before it grows", low=1, high=1_000_000)
    strides: int = knob(
        0, "strides", "1: strides are predicted too (the paper's second experiment)", choices=(0, 1)
    )
    filters: str = knob("v1", "filters", "v1: 24 36 48 64; v3: 6 12 24 36", choices=tuple(FILTERS))
    power: float = knob(
        3.0,
        "power of the reward",
        "the controller sees the reward to this power",
        low=0.1,
        high=10.0,
    )
    learning_rate: float = knob(6e-4, "learning rate", "Adam on the controller", low=0.0, high=1.0)
    decay: float = knob(
        0.95,
        "baseline decay",
        "of the moving average; not given in the paper",
        low=0.0,
        high=0.9999,
    )
    hidden: int = knob(
        35, "LSTM units", "of each of the controller's two LSTM layers", low=1, high=1000
    )
    PRESETS = {
        "smoke": {
            **_SMALL,
            "trials": 4,
            "children": 2,
            "child_epochs": 2,
            "added_layers": 1,
            "stage": 2,
        },
        "reduced": {
            **_SMALL,
            "trials": 36,
            "children": 4,
            "child_epochs": 3,
            "stage": 12,
            "learning_rate": 0.01,
        },
        "full": {},
    }


@method("nas-rl", budget=NASRLBudget, space="nas-rl")
class NASRL(PolicySearch):
    """A batch is m children, written together and trained at the same time; then the controller
    takes one step. Only chains grow: in a space of cells, all decisions are written from the
    start."""

    budget: NASRLBudget

    def __init__(self, space, estimate, budget: NASRLBudget, seed: int):
        super().__init__(space, estimate, budget, seed, layers=2, scale=0.08)

    @staticmethod
    def own_space(budget: NASRLBudget) -> spaces.Space:
        """The space that holds the deepest children of the schedule."""
        layers = depth(budget.trials - 1, budget.first_layers, budget.added_layers, budget.stage)
        return spaces.get(
            "nas-rl", layers=layers, strides=bool(budget.strides), filters=FILTERS[budget.filters]
        )

    def depth(self, born: int) -> int:
        """Of the child after so many."""
        budget = self.budget
        return depth(born, budget.first_layers, budget.added_layers, budget.stage)

    def cost(self, steps: int) -> float:
        """A child of d layers reads d maps and half of the d (d - 1) / 2 that skips may bring: d (d
        + 3) / 4 in all."""
        if not isinstance(self.space, spaces.Chains):
            return steps
        return sum(d * (d + 3) for d in map(self.depth, range(steps)))

    def propose(self, count: int) -> list[Decisions]:
        """Children of one depth: those of the next stage are deeper."""
        space = self.space
        if not isinstance(space, spaces.Chains):
            return self.write(count)
        born = len(self.trials)
        budget = self.budget
        layers = self.depth(born)
        length = space.levels[min(layers, space.layers) - 1]
        return self.write(min(count, budget.stage - born % budget.stage), length)

    def signal(self, rewards: Tensor) -> Tensor:
        return rewards**self.budget.power

    def improve(self, decisions: Sequence[Decisions], advantages: Tensor) -> None:
        """One ascent of the expected reward for the m children."""
        self.ascend(reinforce(self.controller(decisions).log_probs, advantages))
