"""DARTS: Differentiable Architecture Search. Liu, Simonyan, Yang; ICLR 2019; arXiv 1806.09055v2.

In the order of the paper: the continuous relaxation (section 2.2) is `nets.supernet`; the
approximate architecture gradient (2.3) `bilevel`; here are the discrete architecture (2.4) and
Algorithm 1 with the settings of section 3.1 and appendix A.1.1. Text and authors' code differ in
three places, each a field of the budget: the last learning rate, the initial alphas, and the order
of approximation. One difference is ours: the validation minibatches pass over their half of the
data epoch by epoch, where the code draws a fresh random one at each step.
"""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import torch
from torch import Tensor, cat, channels_last, no_grad
from torch import device as Device
from torch.nn.functional import softmax
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, Adam

from nascore.bilevel import (
    PRODUCTS,
    Tensors,
    architecture_gradient,
    exact_product,
    finite_difference,
    unrolled_weights,
)
from nascore.cuda import Played, plays
from nascore.errors import UserError
from nascore.estimators import Table
from nascore.genotypes import Cell, CellGenotype, Node
from nascore.knobs import knob
from nascore.loop import Loop, Progress
from nascore.nets.supernet import Supernet, initial_alphas
from nascore.registry import Budget, Trial, method
from nascore.seeding import generator, seeded
from nascore.spaces import Space, of
from nascore.task import Task
from nascore.threads import fitting, with_its_threads
from nascore.training import cosine

__all__ = [
    "DARTS",
    "DARTSBudget",
    "architecture_gradient",
    "derive",
    "exact_product",
    "finite_difference",
    "unrolled_weights",
]

Batch = tuple[Tensor, ...]  # inputs and targets


# --- Section 2.4: deriving the discrete architecture ----------------------------------------------


def derive(alphas: Tensors, space: Space) -> CellGenotype:
    """In the DARTS space: each node keeps its two strongest incoming edges, an edge being as
    strong as its strongest operation other than `none`, and on each that operation; ties go to
    the earlier edge, the earlier operation. In a space that `keeps_every_edge`, as
    NAS-Bench-201's, each keeps its strongest operation, `none` included."""
    cells = [_derive_cell(softmax(a.detach().double(), -1).tolist(), space) for a in alphas]
    return CellGenotype(*cells)


def _derive_cell(strengths: list[list[float]], space: Space) -> Cell:
    every_edge = space.keeps_every_edge
    allowed = [k for k, op in enumerate(space.primitives) if every_edge or op != "none"]
    rows = iter(strengths)  # one of the operations' strengths for each edge, node by node
    nodes = []
    for i in range(space.nodes):
        edges = []  # (strength, source, operation)
        for source, row in zip(range(space.n_inputs + i), rows):
            best = max(allowed, key=row.__getitem__)
            edges.append((row[best], source, space.primitives[best]))
        if not every_edge:  # a stable sort, as in the authors' code
            edges = sorted(edges, key=lambda edge: -edge[0])[:2]
        nodes.append(Node(tuple(source for _, source, _ in edges), tuple(op for *_, op in edges)))
    states = tuple(range(space.n_inputs, space.n_inputs + space.nodes))
    return Cell(tuple(nodes), states[-1:] if every_edge else states, space.n_inputs)


# --- Algorithm 1 and section 3.1 ------------------------------------------------------------------


@dataclass(frozen=True)
class DARTSBudget(Budget):
    """What a DARTS search may spend, and the paper's settings. The defaults are the paper's: the
    preset `full`."""

    epochs: int = knob(
        50, "epochs", "passes over the half of the images that trains the weights", low=1, high=1000
    )
    batch_size: int = knob(
        64, "batch size", "images in a minibatch, of each half", unit="images", low=2, high=4096
    )
    channels: int = knob(16, "channels", "width of the supernet's first cell", low=2, high=256)
    cells: int = knob(8, "cells", "depth of the supernet, reduction cells included", low=3, high=40)
    order: int = knob(
        2, "order", "1: xi = 0; 2: equation 7, as published (the code's default: 1)", choices=(1, 2)
    )
    hessian: str = knob(
        "finite-difference",
        "second-order term",
        "of order 2: equation 8, or exact",
        choices=tuple(PRODUCTS),
    )
    learning_rate: float = knob(
        0.025, "weight learning rate", "SGD at the start of the cosine", low=0.0, high=10.0
    )
    final_learning_rate: float = knob(
        0.001, "last learning rate", "0.001 in the code, text: 0", low=0.0, high=10.0
    )
    momentum: float = knob(0.9, "momentum", "of the weights' SGD", low=0.0, high=0.999)
    weight_decay: float = knob(3e-4, "weight decay", "of the weights", low=0.0, high=1.0)
    clip: float = knob(5.0, "clip", "largest norm of the weights' gradient", low=1e-6, high=1e6)
    alpha_learning_rate: float = knob(
        3e-4, "alpha learning rate", "Adam on the alphas", low=0.0, high=10.0
    )
    alpha_weight_decay: float = knob(1e-3, "alpha weight decay", "of the alphas", low=0.0, high=1.0)
    alpha_scale: float = knob(
        1e-3,
        "scale of the first alphas",
        "of the first: 0.001 in the code, text: 0",
        low=0.0,
        high=10.0,
    )
    PRESETS: ClassVar[dict[str, dict]] = {
        "smoke": dict(
            epochs=2, channels=4, cells=3, order=1, learning_rate=0.1, alpha_learning_rate=0.03
        ),
        "reduced": dict(
            epochs=10, channels=8, cells=5, order=1, learning_rate=0.1, alpha_learning_rate=0.03
        ),
        "full": {},
    }


class LossOn:
    """The loss on one minibatch as a function of weights and alphas. `loss` and `score` are what it
    last saw."""

    def __init__(self, supernet: Supernet, task: Task, batch: Batch):
        self.supernet = supernet
        self.task = task
        self.inputs, self.targets = batch
        self.names = [name for name, _ in supernet.named_parameters()]

    def __call__(self, weights: Tensors, alphas: Tensors) -> Tensor:
        state = dict(zip(self.names, weights))
        logits = torch.func.functional_call(self.supernet, state, (self.inputs, alphas))
        value = self.task.loss(logits, self.targets)
        self.loss = value.detach()
        self.score = self.task.score(logits.detach(), self.targets)
        return value


@method("darts", budget=DARTSBudget, space="darts", one_shot=True)
class DARTS(Loop):
    """One step is one pass through the loop of Algorithm 1: a step of the alphas on a validation
    minibatch, then a step of the weights on a training minibatch. The reward of a step is the
    supernet's on that validation minibatch before the weights move; of the search, its mean over
    the last epoch."""

    PARTS = ("supernet", "weight_optimizer", "alpha_optimizer")
    steps_are_alike = True
    NETWORK: ClassVar[type[Supernet]] = Supernet

    def __init__(self, space, data: Task, budget: DARTSBudget, seed: int, device: Device):
        super().__init__()
        self.space = space = of(space)
        if not space.has_edges or space.skeleton not in ("darts", "nasbench201"):
            allowed = "darts, nasbench201 (with any primitives and nodes)"
            found = f"found {space.name!r}"
            raise UserError(
                f"darts needs a space with primitives on edges: {found}, allowed: {allowed}"
            )
        self.budget = budget
        self.task = data.to(device).validation_split(0.5)
        self.train_batches = self.task.batches("train", budget.batch_size, seed, "darts")
        self.valid_batches = self.task.batches("valid", budget.batch_size, seed, "darts")
        self.total = budget.epochs * self.train_batches.per_epoch
        with seeded(seed, "supernet"):
            self.supernet = self.NETWORK(
                space.primitives,
                nodes=space.nodes,
                n_inputs=space.n_inputs,
                channels=budget.channels,
                cells=budget.cells,
                classes=data.outputs,
                in_channels=data.channels,
                skeleton=space.skeleton,
                cell_types=space.cell_types,
            )
        self.supernet.check(data.shape)
        self.supernet.to(device).to(memory_format=channels_last)
        start = initial_alphas(self.supernet, generator(seed, "alphas"), device)
        self.alphas = tuple((budget.alpha_scale * a).requires_grad_() for a in start)
        self.threads = fitting(self.supernet, budget.batch_size, data.positions)
        self.weights: list[Tensor] = list(self.supernet.parameters())  # not the alphas
        self.weight_optimizer = SGD(
            self.weights, momentum=budget.momentum, weight_decay=budget.weight_decay, foreach=True
        )
        self.alpha_optimizer = Adam(
            self.alphas,
            lr=budget.alpha_learning_rate,
            betas=(0.5, 0.999),
            weight_decay=budget.alpha_weight_decay,
            capturable=device.type == "cuda",
        )
        self.played_alphas = Played()
        self.played_weights = Played()

    @with_its_threads
    def step(self) -> Progress:
        budget = self.budget
        epoch = self.steps // self.train_batches.per_epoch
        rate = cosine(budget.learning_rate, budget.final_learning_rate, epoch, budget.epochs)
        xi = rate if budget.order == 2 else 0.0
        train = self.train_batches[self.steps]
        valid = self.valid_batches[self.steps]
        on = plays(self.graphs, self.task.device, self.train_batches.per_epoch)
        both = (*train, *valid)
        valid_seen = self.played_alphas(self._descend_architecture, (xi,), *both, on=on)
        train_seen = self.played_weights(self._descend_weights, (rate,), *train, on=on)
        self.steps += 1
        alphas, (valid_loss, score, train_loss) = self.read(*valid_seen, train_seen)
        losses = {"valid_loss": valid_loss, "loss": train_loss}
        for name in ("loss", "valid_loss"):
            if not isfinite(losses[name]):
                where = f"at step {self.steps} of {self.total} (epoch {epoch + 1})"
                lower = "lower --learning-rate or --alpha-learning-rate"
                raise UserError(f"{name} became {losses[name]} {where}; {lower}")
        genotype = derive(alphas, self.space)
        reward = self.task.checked_reward(score, len(valid[1]))
        metrics = {"epoch": epoch + 1, **losses, **self.strengths(alphas)}
        progress = Progress(self.steps, self.total, genotype, reward, metrics)
        self.history.append(progress.row())
        return progress

    def _descend_architecture(self, xi: float, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.descend_architecture(tensors[:2], tensors[2:], xi)
        return seen.loss, seen.score

    def _descend_weights(self, rate: float, *train: Tensor) -> Tensor:
        self.weight_optimizer.param_groups[0]["lr"] = rate
        return self.descend_weights(train)

    @with_its_threads
    def descend_architecture(self, train: Batch, valid: Batch, xi: float) -> "LossOn":
        """Step (a) of Algorithm 1: alpha by Adam on equation 7. Returns the validation loss, which
        has seen its value."""
        budget = self.budget
        seen = self.loss_on(valid)
        state = self.weight_optimizer.state  # empty before the first step: velocities are 0
        gradients = architecture_gradient(
            self.loss_on(train),
            seen,
            self.weights,
            self.alphas,
            xi,
            PRODUCTS[budget.hessian],
            velocities=[state[w]["momentum_buffer"] for w in self.weights] if state else None,
            momentum=budget.momentum,
            weight_decay=budget.weight_decay,
        )
        for alpha, gradient in zip(self.alphas, gradients):
            alpha.grad = gradient
        self.alpha_optimizer.step()
        return seen

    def loss_on(self, batch: Batch) -> "LossOn":
        """The loss on a minibatch as a function of weights and alphas."""
        return LossOn(self.supernet, self.task, batch)

    @with_its_threads
    def descend_weights(self, train: Batch) -> Tensor:
        """Step (b) of Algorithm 1: w by SGD on the training loss."""
        inputs, targets = train
        self.weight_optimizer.zero_grad()
        logits = self.supernet(inputs, [alpha.detach() for alpha in self.alphas])
        loss = self.task.loss(logits, targets)
        loss.backward()
        clip_grad_norm_(self.weights, self.budget.clip, foreach=True)
        self.weight_optimizer.step()
        return loss.detach()

    def read(self, *scalars: Tensor) -> tuple[list[Tensor], list[float]]:
        """The alphas, in float64, and some scalars, all in one copy from the device."""
        tensors = [tensor.detach().double().flatten() for tensor in (*self.alphas, *scalars)]
        parts = cat(tensors).cpu().split([len(tensor) for tensor in tensors])
        alphas = [part.view(alpha.shape) for part, alpha in zip(parts, self.alphas)]
        return alphas, [part.item() for part in parts[len(alphas) :]]

    def strengths(self, alphas: Tensors) -> dict:
        """For each cell type: the mean entropy over edges (nats), and the mean strength of each
        operation."""
        entropies = {}
        means = {}
        for cell, alpha in zip(self.space.cell_types, alphas):
            p = softmax(alpha, -1)
            entropies[f"entropy_{cell}"] = -(p * p.log()).sum(-1).mean().item()
            means[cell] = dict(zip(self.space.primitives, p.mean(0).tolist()))
        return entropies | {"strengths": means}

    @property
    def best(self) -> Trial:
        """The architecture read off the alphas as they are; DARTS does not choose by the
        supernet's accuracy."""
        genotype = derive(self.alphas, self.space)
        last = self.history[-self.train_batches.per_epoch :]
        reward = sum(row["reward"] for row in last) / len(last)
        details = {name: last[-1][name] for name in ("loss", "valid_loss", "strengths")}
        if self.space.tabulated:
            details |= Table().row(genotype)
        return Trial(genotype, reward, details)

    def state_dict(self) -> dict:
        return super().state_dict() | {"alphas": [a.detach().clone() for a in self.alphas]}

    def load_state_dict(self, state: dict) -> None:
        """From a checkpoint of any device."""
        adam = state["alpha_optimizer"]
        capturable = {"capturable": self.task.device.type == "cuda"}
        adam = adam | {"param_groups": [group | capturable for group in adam["param_groups"]]}
        super().load_state_dict(state | {"alpha_optimizer": adam})
        with no_grad():
            for alpha, stored in zip(self.alphas, state["alphas"], strict=True):
                alpha.copy_(stored)
        self.played_alphas.forget()
        self.played_weights.forget()
