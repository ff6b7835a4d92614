"""ENAS: Efficient Neural Architecture Search via Parameter Sharing. Pham, Guan, Zoph, Le, Dean;
ICML 2018; arXiv 1802.03268v2. The supernet that all children share is `nets.shared`, the controller
and its logits `controllers`; here are the two phases that alternate (section 2.2).

Where the authors' code leaves their text, `full` follows the code that made the numbers, and a
field of the budget says so: the controller's steps, no clipping, weight decay of 2 l2, Adam without
first moment, tanh constants, biases towards separable convolutions, the entropy of the sampled
action, the probability inside the skip prior, and TensorFlow's Adam (`adam_epsilon`). As in the
code, macro layers add their skips, reduction cells halve first, rates are constant within an epoch,
rewards see plain images.

Choices of ours, with their reasons. Rewards: batch statistics, in the macro space too (running
averages over different paths mean nothing); no dropout (the micro code leaves it on). Supernet: no
auxiliary head, whose own weights the code never trains; a macro layer's operations are
ReLU-conv-BN, the text's rule (the code: conv-BN-ReLU); a reduction cell reads both cells before it,
as in the network trained at last (the code: the previous one, twice); weights off the sampled path
stay, where the code decays all and lets their momentum move them, at the cost of the whole graph a
step. Those of the controller, `controllers.Squashed` says.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from math import isfinite
from typing import Any, ClassVar

import torch
from torch import Tensor, channels_last, no_grad, randint, sigmoid, stack, tensor, zeros
from torch import device as Device
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, Adam

from nascore import spaces
from nascore.controllers import Controller, Squashed, Written, adam_epsilon, skip_prior, squash
from nascore.errors import UserError
from nascore.estimators import SharedWeights, Table
from nascore.genotypes import Genotype
from nascore.knobs import knob
from nascore.loop import Loop, Progress
from nascore.nets.shared import shared_network
from nascore.policies import moving_average
from nascore.registry import Budget, Trial, method
from nascore.seeding import generator, seeded
from nascore.task import Task
from nascore.threads import fitting, one_thread, with_its_threads
from nascore.training import warm_restarts

__all__ = ["ENAS", "MacroBudget", "MicroBudget", "adam_epsilon", "skip_prior", "squash"]


@dataclass(frozen=True)
class MicroBudget(Budget):
    """What a search for cells may spend; `full` is the authors' cifar10_micro_search."""

    epochs: int = knob(
        150, "epochs", "passes over the images that train the shared weights", low=1, high=2000
    )
    batch_size: int = knob(
        160, "batch size", "images in a minibatch, of each phase", unit="images", low=2, high=4096
    )
    nodes: int = knob(5, "nodes", "of a cell in ENAS's own space", low=1, high=20)
    channels: int = knob(20, "channels", "width of the supernet's first cell", low=2, high=256)
    cells: int = knob(
        8, "cells", "depth of the supernet, N + 2, reductions included", low=3, high=40
    )
    validation: float = knob(
        0.1, "validation", "share of the training images that rewards use", low=0.02, high=0.9
    )
    learning_rate: float = knob(
        0.05, "weight learning rate", "SGD at the start of a cosine", low=0.0, high=10.0
    )
    final_learning_rate: float = knob(
        0.0005, "last learning rate", "of a cosine; text: 0.001", low=0.0, high=10.0
    )
    period: int = knob(
        10, "first cosine", "in epochs; each is twice the one before", low=1, high=2000
    )
    momentum: float = knob(0.9, "momentum", "Nesterov's", low=0.0, high=0.999)
    weight_decay: float = knob(
        2e-4, "weight decay", "twice the code's l2; text: 1e-4", low=0.0, high=1.0
    )
    clip: float = knob(0.0, "gradient clip", "0: none, as the code does", low=0.0, high=1e6)
    controller_steps: int = knob(
        30, "controller steps", "after each epoch; text: 2,000; 0: none", low=0, high=10_000
    )
    samples: int = knob(10, "samples a step", "of the controller, M", low=1, high=1000)
    sampler: str = knob(
        "controller", "who samples", "uniform: random search", choices=("controller", "uniform")
    )
    controller_learning_rate: float = knob(
        0.0035, "controller learning rate", "Adam; text: 0.00035", low=0.0, high=1.0
    )
    beta1: float = knob(
        0.0, "beta 1", "of the controller's Adam; text: Adam's own 0.9", low=0.0, high=0.999
    )
    epsilon: float = knob(
        1e-3, "epsilon", "of TensorFlow's Adam; text: its own 1e-8", low=0.0, high=1.0
    )
    tanh_constant: float = knob(
        1.1, "bound of the logits", "tanh constant; text: 2.5; 0: none", low=0.0, high=100.0
    )
    op_tanh_reduce: float = knob(
        2.5, "its divisor", "for operations (op tanh reduce); not in the text", low=0.01, high=100.0
    )
    temperature: float = knob(0.0, "temperature", "text: 5; 0: none", low=0.0, high=100.0)
    operation_bias: float = knob(
        10.0, "convolutions' bias", "start for separable convolutions", low=0.0, high=100.0
    )
    normal_bonus: float = knob(0.25, "bonus in normal cells", "fixed", low=0.0, high=10.0)
    entropy_weight: float = knob(
        1e-4, "entropy weight", "in the reward; first revision: 0.1", low=0.0, high=10.0
    )
    entropy: str = knob(
        "full", "entropy", "sampled: p log 1/p of the action only", choices=("full", "sampled")
    )
    decay: float = knob(0.99, "baseline decay", "of the moving average", low=0.0, high=0.9999)
    skip_weight: float = knob(0.0, "weight of skip prior", "macro only", low=0.0, high=100.0)
    skip_target: float = knob(0.4, "target of skip prior", "share of skips", low=0.01, high=0.99)
    skip_probability: str = knob(
        "code", "skips in the prior", "code: sigmoid(q)", choices=("code", "sampled")
    )
    hidden: int = knob(
        64, "LSTM units", "of the controller's one layer; text: 100", low=1, high=1000
    )
    derived: int = knob(
        10, "cells derived", "of which the best by a minibatch is kept", low=1, high=10_000
    )
    PRESETS: ClassVar[dict[str, dict]] = {
        "smoke": dict(epochs=2, batch_size=64, validation=0.3, channels=4, cells=3)
        | dict(controller_steps=2, samples=2),
        "reduced": dict(epochs=150, period=150, learning_rate=0.1, batch_size=32, validation=0.3)
        | dict(nodes=3, channels=8, cells=3, controller_steps=4, samples=4),
        "full": {},
    }


# What cifar10_macro_search has otherwise; its controller ignores the divisor for operations.
MACRO: dict[str, Any] = dict(epochs=310, batch_size=128, channels=36, weight_decay=2 * 2.5e-4)
MACRO |= dict(controller_steps=50, samples=20, controller_learning_rate=0.001)
MACRO |= dict(tanh_constant=1.5, op_tanh_reduce=1.0, operation_bias=0.0, normal_bonus=0.0)
MACRO |= dict(entropy="sampled", skip_weight=0.8)


@dataclass(frozen=True)
class MacroBudget(MicroBudget):
    """What a search for whole networks may spend; `full` is the authors' cifar10_macro_search."""

    layers: int = knob(12, "layers", "of the network", low=1, high=100)
    PRESETS: ClassVar[dict[str, dict]] = {
        "smoke": MACRO | MicroBudget.PRESETS["smoke"] | dict(layers=3),
        "reduced": MACRO | MicroBudget.PRESETS["reduced"] | dict(layers=6),
        "full": MACRO,
    }


# --- Section 2.2: the two phases ------------------------------------------------------------------


@method("enas-micro", budget=MicroBudget, space="enas-micro", one_shot=True)
@method("enas-macro", budget=MacroBudget, space="enas-macro", one_shot=True)
class ENAS(Loop):
    """One epoch: `train_shared` for every minibatch of the training images, a new architecture
    each; then `train_controller` `controller_steps` times, on validation images. A step is one of
    either; its reward is that of the architectures on their minibatch."""

    PARTS = ("supernet", "weight_optimizer", "controller", "controller_optimizer")
    STATE = ("steps", "history", "baseline")

    def __init__(self, space, data: Task, budget: MicroBudget, seed: int, device: Device):
        super().__init__()
        self.space = spaces.of(space)
        self.budget = budget
        self.seed = seed
        self.task = data.to(device).validation_split(budget.validation)
        how = (budget.batch_size, seed, "enas")
        self.train_batches = self.task.batches("train", *how)
        self.valid_batches = self.task.batches("valid", *how, augment=False)
        steps = budget.controller_steps if budget.sampler == "controller" else 0
        self.per_epoch = self.train_batches.per_epoch + steps
        self.total = budget.epochs * self.per_epoch
        sizes = (budget.channels, budget.cells, data.outputs, data.channels)
        with seeded(seed, "supernet"):
            self.supernet = shared_network(space, *sizes)
        self.supernet.check(data.shape)
        self.supernet.to(device).to(memory_format=channels_last)
        self.threads = fitting(self.supernet, budget.batch_size, data.positions)
        self.weights = list(self.supernet.parameters())
        self.path: list[Tensor] = []  # of these, what the last architecture used
        self.weight_optimizer = SGD(
            self.weights,
            budget.learning_rate,
            momentum=budget.momentum,
            nesterov=budget.momentum > 0,
            weight_decay=budget.weight_decay,
        )
        self.skips = [at for at, token in enumerate(self.space.tokens) if token.kind == "skip"]
        self.controller = self.new_controller()
        betas = (budget.beta1, 0.999)
        self.controller_optimizer = Adam(
            self.controller.parameters(), budget.controller_learning_rate, betas, budget.epsilon
        )
        self.baseline = 0.0
        self._written: tuple[int, list[list[int]]] = (-1, [])  # an epoch and its architectures

    def cost(self, steps: int) -> float:
        """A step of the controller takes `samples` architectures forward, which is a third each of
        a step of the shared weights."""
        epochs, k = divmod(steps, self.per_epoch)
        batches = self.train_batches.per_epoch
        shared = epochs * batches + min(k, batches)
        return shared + (steps - shared) * self.budget.samples / 3

    @staticmethod
    def own_space(budget: MicroBudget) -> spaces.Space:
        """Macro: networks of so many layers; micro: cells of so many nodes."""
        if isinstance(budget, MacroBudget):
            return spaces.get("enas-macro", layers=budget.layers)
        return spaces.get("enas-micro", nodes=budget.nodes)

    def new_controller(self) -> Controller:
        """The policy before it has learned anything; in the micro space it prefers separable
        convolutions already."""
        budget = self.budget
        logits = Squashed(self.space, budget)
        biases = {"op": budget.operation_bias * logits.likes} if budget.operation_bias else {}
        with seeded(self.seed, "controller"):
            return Controller(
                self.space, budget.hidden, 1, 0.1, bias=False, more=1, adjust=logits, biases=biases
            )

    @with_its_threads
    def step(self) -> Progress:
        epoch, k = divmod(self.steps, self.per_epoch)
        shared = k < self.train_batches.per_epoch
        if shared:
            genotype, reward, metrics = self.train_shared(epoch, k)
        else:
            step = epoch * self.budget.controller_steps + k - self.train_batches.per_epoch
            genotype, reward, metrics = self.train_controller(step)
        self.steps += 1
        about = {"phase": "shared" if shared else "controller", "epoch": epoch + 1}
        progress = Progress(self.steps, self.total, genotype, reward, about | metrics)
        self.history.append(progress.row())
        return progress

    @one_thread()
    def sample(self, count: int, *place: int | str) -> Written:
        """`count` architectures m ~ pi(m; theta)."""
        random = generator(self.seed, *place)
        if self.budget.sampler == "controller":
            return self.controller.sample(count, random)
        drawn = [randint(n, (count,), generator=random) for n in self.space.choices]
        return Written(stack(drawn, 1), *zeros(2, count, len(drawn)))

    @with_its_threads
    def train_shared(self, epoch: int, k: int) -> tuple[Genotype, float, dict]:
        """One step of omega on the k-th minibatch of an epoch, theta fixed, by one architecture
        drawn for it (M = 1). What the architecture does not use has no gradient and stays."""
        if self._written[0] != epoch:  # theta is fixed for an epoch: all are written at once
            written = self.sample(self.train_batches.per_epoch, "shared", epoch)
            self._written = (epoch, written.lists())
        budget = self.budget
        genotype = self.space.decode(self._written[1][k])
        inputs, targets = self.train_batches[epoch * self.train_batches.per_epoch + k]
        rate = warm_restarts(budget.learning_rate, budget.final_learning_rate, epoch, budget.period)
        self.weight_optimizer.param_groups[0]["lr"] = rate
        for weight in self.path:  # all others have no gradient: they are many
            weight.grad = None
        logits = self.supernet(inputs, genotype)
        loss = self.task.loss(logits, targets)
        loss.backward()
        self.path = [weight for weight in self.weights if weight.grad is not None]
        if budget.clip:
            clip_grad_norm_(self.path, budget.clip)
        self.weight_optimizer.step()
        score = self.task.score(logits.detach(), targets)
        found, right = stack([loss.detach().double(), score.double()]).tolist()  # one read
        if not isfinite(found):
            raise UserError(f"loss became {found} in epoch {epoch + 1}: lower --learning-rate")
        return genotype, self.task.checked_reward(right, len(targets)), {"loss": found}

    def train_controller(self, step: int) -> tuple[Genotype, float, dict]:
        """One step of theta, omega fixed: REINFORCE on M architectures, each with its own
        validation minibatch. The baseline takes a reward in before it is subtracted: R - b_new =
        decay (R - b_old)."""
        budget = self.budget
        count = budget.samples
        decisions = self.sample(count, "controller", step).decisions
        genotypes = [self.space.decode(row) for row in decisions.tolist()]
        rewards = self.rewards(genotypes, range(step * count, (step + 1) * count))
        with one_thread():
            written = self.controller(decisions)
            p = written.log_probs.exp()
            entropies = written.entropies if budget.entropy == "full" else -p * written.log_probs
            bonus = budget.entropy_weight * entropies.detach().sum(1)
            seen = (tensor(rewards) + bonus).tolist()
            advantages = tensor([reward - self.average(reward) for reward in seen])
            loss = -(written.log_probs.sum(1) * advantages).mean()
            metrics = {"baseline": self.baseline, "entropy": written.entropies.sum(1).mean().item()}
            if self.skips:
                metrics["skip_rate"] = decisions[:, self.skips].double().mean().item()
                loss = loss + budget.skip_weight * self.prior(written)
            if not loss.isfinite():
                found = f"the controller's loss became {loss.item()}"
                raise UserError(f"{found}: lower --controller-learning-rate")
            epsilon = adam_epsilon(budget.epsilon, step + 1)
            self.controller_optimizer.param_groups[0]["eps"] = epsilon
            self.controller_optimizer.zero_grad()
            loss.backward()
            self.controller_optimizer.step()
        best = genotypes[rewards.index(max(rewards))]
        return best, sum(rewards) / count, metrics

    def average(self, reward: float) -> float:
        """The baseline, once it has taken the reward in."""
        self.baseline = moving_average(self.baseline, reward, self.budget.decay)
        return self.baseline

    def prior(self, written: Written) -> Tensor:
        """The skip prior, summed over a layer's skips and averaged over the layers that have
        any. A skip is sampled with sigmoid(2 q); the code's prior looks at sigmoid(q)."""
        log_odds = torch.logit(written.log_probs[:, self.skips].exp(), 1e-6)  # of what was decided
        twice_q = torch.where(written.decisions[:, self.skips] == 1, log_odds, -log_odds)
        p = sigmoid(twice_q / 2 if self.budget.skip_probability == "code" else twice_q)
        layers = sum(token.kind == "op" for token in self.space.tokens)
        return skip_prior(p, self.budget.skip_target).sum(1).mean() / (layers - 1)

    @with_its_threads
    @no_grad()
    def rewards(self, genotypes: Sequence[Genotype], minibatches: Iterable[int]) -> list[float]:
        """With the shared weights, each on one minibatch of validation images."""
        scores, counts = [], []
        for genotype, minibatch in zip(genotypes, minibatches):
            inputs, targets = self.valid_batches[minibatch]
            scores.append(self.task.score(self.supernet(inputs, genotype), targets))
            counts.append(len(targets))
        return list(map(self.task.checked_reward, stack(scores).tolist(), counts))

    def derive(self) -> Genotype:
        """Sample some architectures, score each on the same validation minibatch, keep the best, to
        be trained from scratch (section 2.2): shared weights are no result."""
        written = self.sample(self.budget.derived, "derive", self.steps)
        genotypes = [self.space.decode(row) for row in written.lists()]
        rewards = self.rewards(genotypes, repeat(0))
        return genotypes[rewards.index(max(rewards))]

    @property
    def best(self) -> Trial:
        """What was derived; its reward is the shared weights' accuracy on all validation images."""
        genotype = self.derive()
        estimate = SharedWeights(self.supernet, self.task, self.budget.batch_size)
        estimate.threads = self.threads
        (reward,) = estimate([genotype])
        details = Table().row(genotype) if self.space.tabulated else {}
        return Trial(genotype, reward, details)

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self._written = (-1, [])
