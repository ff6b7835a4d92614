"""What a network may cost: parameters and multiply-adds, counted at full size, bound what a search
evaluates, and may count beside its accuracy."""

from functools import lru_cache, partial

from nascore.errors import require
from nascore.nets.measure import costs

WEIGHT = -0.07  # w of MnasNet (Tan et al., CVPR 2019): twice as cheap is worth 5% accuracy
IN_A_ROW = 1000  # proposals that cost too much before a search gives up
KEPT = 4096  # architectures whose costs are remembered: to count them takes a fifth of a second


class Constraint:
    """Between proposal and estimate: `bounds` are the most that the network of an architecture may
    have, in the skeleton that it is at home in and at that one's full size."""

    def __init__(self, skeleton: str, max_parameters: int, max_multiply_adds: int, objective: str):
        bounds = {"multiply_adds": max_multiply_adds, "parameters": max_parameters}
        self.bounds = {name: most for name, most in bounds.items() if most}
        self.tradeoff = objective == "tradeoff"
        allowed = "accuracy, or with --max-multiply-adds or --max-parameters, its target T"
        require(self.bounds or not self.tradeoff, "objective", objective, allowed)
        self.costs = lru_cache(KEPT)(partial(costs, skeleton=skeleton))

    def allows(self, costs: dict[str, int]) -> bool:
        """Whether these costs are within all bounds."""
        return all(costs[name] <= most for name, most in self.bounds.items())

    def objective(self, reward: float, costs: dict[str, int]) -> float:
        """The accuracy, or MnasNet's tradeoff: accuracy (cost / T)^w, of multiply-adds where they
        have a bound."""
        if not self.tradeoff:
            return reward
        name, target = next(iter(self.bounds.items()))
        return reward * (costs[name] / target) ** WEIGHT

    def __str__(self) -> str:
        return ", ".join(f"{name.replace('_', '-')} {most:,}" for name, most in self.bounds.items())
