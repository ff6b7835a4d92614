"""Deep Q-learning over decisions, as MetaQNN (Baker, Gupta, Naik and Raskar, "Designing Neural
Network Architectures using Reinforcement Learning", ICLR 2017) did it with a table: an episode is
an architecture, a state the decisions so far, an action the next one, and the only reward comes at
the end. A network stands for the table, and as in DQN (Mnih et al. 2015) an older copy of it gives
the targets; episodes are replayed."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch import Tensor, arange, no_grad, rand, randint, tensor
from torch.nn.functional import one_hot, smooth_l1_loss
from torch.optim import Adam
from torchvision.ops import MLP

from nascore import spaces
from nascore.search import knob, method
from nascore.seeding import generator, seeded
from nascore.threads import one_thread
from nascore.trials import Decisions, MultiTrial, TrialBudget


@dataclass(frozen=True)
class QLearningBudget(TrialBudget):
    """What Q-learning may spend, and how it explores and learns."""

    children: int = knob(1, "children", "episodes proposed together", low=1, high=10_000)
    exploring: float = knob(0.5, "exploring", "till which share of the trials", low=0.0, high=1.0)
    epsilon: float = knob(0.1, "epsilon", "share of random decisions after it", low=0.0, high=1.0)
    learning_rate: float = knob(1e-3, "learning rate", "Adam on the network", low=0.0, high=1.0)
    replayed: int = knob(32, "replayed", "episodes in a minibatch", low=1, high=10_000)
    updates: int = knob(4, "updates", "of the network after each episode", low=1, high=1000)
    renewed: int = knob(20, "renewed", "updates between copies for targets", low=1, high=100_000)
    hidden: int = knob(64, "hidden units", "of each of the two layers", low=1, high=10_000)
    PRESETS: ClassVar[dict[str, dict]] = {
        "smoke": {"trials": 3, "child_epochs": 2, "channels": 4},
        "reduced": {"trials": 24, "child_epochs": 4},
        "full": {"trials": 2_700, "child_epochs": 20, "batch_size": 128},  # Baker et al.
    }


@method("q-learning", budget=QLearningBudget)
class QLearning(MultiTrial):
    """Epsilon-greedy episodes; after each, some minibatches of all episodes so far."""

    PARTS: ClassVar[tuple[str, ...]] = ("network", "target", "optimizer")
    STATE: ClassVar[tuple[str, ...]] = (*MultiTrial.STATE, "updates", "episodes")
    budget: QLearningBudget

    def __init__(self, space, estimate, budget: QLearningBudget, seed: int):
        super().__init__(space, estimate, budget, seed)
        choices = tensor(spaces.of(space).choices)
        self.length = len(choices)
        self.most = int(choices.max())
        self.closed = arange(self.most) >= choices[:, None]  # (T, options): none of the decision's
        inputs = self.length * self.most
        hidden = budget.hidden
        with seeded(seed, "Q"):
            self.network = MLP(inputs, [hidden, hidden, self.most])
        self.target = deepcopy(self.network)
        self.optimizer = Adam(self.network.parameters(), lr=budget.learning_rate)
        self.updates = 0
        self.episodes: list[tuple[Decisions, float]] = []

    def states(self, decisions: Tensor) -> Tensor:
        """Decisions (B, T) as the states before each: (B, T, T * options), one-hot up to there."""
        steps = one_hot(decisions, self.most).float().flatten(1)  # (B, T * options)
        before = arange(self.length).repeat_interleave(self.most) < arange(self.length)[:, None]
        return steps[:, None] * before

    @one_thread()
    @no_grad()
    def propose(self, count: int) -> list[Decisions]:
        """Episodes, decision by decision; epsilon falls from 1 as long as they explore."""
        budget = self.budget
        born = len(self.trials) + self.infeasible
        random = generator(self.seed, "episodes", born)
        left = max(0.0, 1 - born / max(1.0, budget.exploring * budget.trials))
        epsilon = budget.epsilon + left * (1 - budget.epsilon)
        explores = rand(count, self.length, generator=random) < epsilon
        decisions = torch.zeros(count, self.length, dtype=torch.int64)
        for at in range(self.length):
            values = self.network(self.states(decisions)[:, at])
            drawn = rand(count, self.most, generator=random)
            values = torch.where(explores[:, at, None], drawn, values)
            decisions[:, at] = values.masked_fill(self.closed[at], -inf).argmax(1)
        return [tuple(row) for row in decisions.tolist()]

    @one_thread()
    def learn(self, decisions: Sequence[Decisions], rewards: Sequence[float]) -> None:
        """What cost too much was worth nothing."""
        self.episodes += [*zip(decisions, rewards), *((d, 0.0) for d in self.rejected)]
        for _ in range(self.budget.updates * len(decisions)):
            if self.updates % self.budget.renewed == 0:
                self.target.load_state_dict(self.network.state_dict())
            random = generator(self.seed, "replay", self.updates)
            chosen = randint(len(self.episodes), (self.budget.replayed,), generator=random).tolist()
            loss = self.error([self.episodes[k] for k in chosen])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.updates += 1

    def error(self, episodes: Sequence[tuple[Decisions, float]]) -> Tensor:
        """Of Bellman's equation: a decision is worth what the best next one is, the last one the
        reward."""
        decisions = tensor([episode for episode, _ in episodes])
        rewards = tensor([reward for _, reward in episodes])
        states = self.states(decisions)
        values = self.network(states).gather(2, decisions[:, :, None])[:, :, 0]  # (B, T)
        with no_grad():
            after = self.target(states[:, 1:]).masked_fill(self.closed[1:], -inf).amax(2)
        wanted = torch.cat([after, rewards[:, None]], 1)
        return smooth_l1_loss(values, wanted)
