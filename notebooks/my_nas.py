"""Parts of your own: a copy of this file is where to begin. The README says how it is used."""

from dataclasses import dataclass
from random import Random

from torch import nn

import nascore
from nascore import spaces
from nascore.answers import Estimate
from nascore.estimators import Table
from nascore.genotypes import Cell, CellGenotype, Node
from nascore.search import knob, method
from nascore.show.pareto import front
from nascore.trials import MultiTrial, TrialBudget

# An operation: a name and what builds it. It serves every method, genotype and network; a space too.


class Squeeze(nn.Module):
    """Weighs every channel by what its whole map holds (Hu et al. 2018)."""

    def __init__(self, channels):
        super().__init__()
        mix = nn.Conv2d(channels, channels, 1)
        self.weigh = nn.Sequential(nn.AdaptiveAvgPool2d(1), mix, nn.Sigmoid())

    def forward(self, x):
        return x * self.weigh(x)


def se_conv(channels_in, channels_out, stride, affine):
    convolution = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
    norm = nn.BatchNorm2d(channels_out, affine=affine)
    return nn.Sequential(nn.ReLU(), convolution, norm, Squeeze(channels_out))


nascore.register("se_conv", se_conv)
primitives = ("none", "skip_connect", "sep_conv_3x3", "se_conv")
spaces.register("squeezed", lambda: spaces.get("darts", nodes=2, primitives=primitives))


# A space: any object that says what is decided and what decisions mean.


OPS = ("skip_connect", "sep_conv_3x3", "se_conv")


class Rows:
    """Cells of four operations in a row, the same for both kinds."""

    name, skeleton, primitives = "rows", "darts", OPS

    def choices_at(self, prefix):
        return len(OPS) if len(prefix) < 4 else 0  # 0: complete

    def size(self):
        return len(OPS) ** 4

    def sample(self, random):
        return [random.randrange(len(OPS)) for _ in range(4)]

    def mutate(self, decisions, random):
        place = random.randrange(4)
        return [*decisions[:place], random.randrange(len(OPS)), *decisions[place + 1 :]]

    def decode(self, decisions):
        cell = Cell(tuple(Node((k + 1,), (OPS[d],)) for k, d in enumerate(decisions)), (5,))
        return CellGenotype(cell, cell)


spaces.register("rows", Rows)


# An estimator: any function from genotypes to rewards in [0, 1]. Its `details` go into the history.


table = Table()


def cheap_and_good(genotypes):
    def cost(genotype):
        return sum(op.startswith("nor_conv") for node in genotype.normal.nodes for op in node.ops)

    costs = [{"convolutions": cost(genotype)} for genotype in genotypes]
    return [Estimate(answer.reward, details=d) for answer, d in zip(table(genotypes), costs)]


def search_both():
    how = {"estimate": cheap_and_good, "trials": 200, "progress": False}
    result = nascore.run("evolution", space="nasbench201", **how)
    found = [(row["details"]["convolutions"], row["reward"]) for row in result.history]
    return dict(front(found))  # {convolutions: the best validation accuracy with so many}


# A method: what it proposes, and perhaps what it learns. Budget, widgets, `--resume` come with it.


@dataclass(frozen=True)
class ClimbBudget(TrialBudget):
    restart: float = knob(0.1, "restart", "probability of a new start", low=0.0, high=1.0)
    PRESETS = {"smoke": dict(trials=3), "reduced": {}, "full": dict(trials=1000)}


@method("climb", budget=ClimbBudget)
class Climb(MultiTrial):
    """Goes on from the best so far, one decision away."""

    def propose(self, count):
        random = Random(f"{self.seed} {len(self.trials)} {self.infeasible}")
        return [self.propose_one(random) for _ in range(count)]

    def propose_one(self, random):
        if self.best is None or random.random() < self.budget.restart:
            return self.space.sample(random)
        return self.space.mutate(self.best.decisions, random)
