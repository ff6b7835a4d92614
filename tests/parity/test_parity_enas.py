"""ENAS's controllers and their training against melodyguan/enas (TensorFlow 1: read, not run),
written out one decision at a time.

`Controller` as `ENAS` makes it, `ENAS.prior`, `ENAS.train_controller` (reward, baseline, loss)
stand against the samplers and trainers of micro_controller.py and general_controller.py, with the
four differences that `nascore.methods.enas` states: one state a decision in stored order, learned
vectors for a cell's inputs, no start anew, no state for the empty skips of the first macro layer.
Log-probabilities within 3e-12, entropies 6e-13, the skip penalty 9e-15, gradients and the baseline
2e-15.
"""

import random
from collections.abc import Sequence

import pytest
import torch
from comparing import BITS, agree, blank_images, leaves
from one_by_one import OneByOne
from torch import Tensor

from nascore.methods.enas import ENAS, MacroBudget, MicroBudget
from nascore.spaces.space import Space

Weights = dict[str, Tensor]


def enas_micro(nodes: int, samples: int = 6) -> ENAS:
    budget = MicroBudget(nodes=nodes, channels=4, cells=3, samples=samples, batch_size=4)
    return search(budget)


def enas_macro(layers: int, samples: int = 6) -> ENAS:
    budget = MacroBudget.preset("full", layers=layers, channels=4, samples=samples, batch_size=4)
    return search(budget)


def search(budget: MicroBudget) -> ENAS:
    return ENAS(ENAS.own_space(budget), blank_images(40, 8, 10), budget, 0, torch.device("cpu"))


def far_from_uniform(controller: torch.nn.Module, vectors: bool) -> None:
    """Weights near 1, so that no probability is near uniform."""
    with torch.no_grad():
        for p in controller.parameters():
            if vectors or p.dim() > 1:
                p.mul_(12)


# --- the micro controller -------------------------------------------------------------------------

LIKES = torch.tensor([0.25, 0.25, -0.25, -0.25, -0.25])  # separable convolutions, normal cell


def micro(weights: Weights, space: Space, arc: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Of each decision of both cells (input, operation, input, operation a node): its log-
    probability, and the entropy of what it was drawn from."""
    policy = OneByOne(weights, space, layers=1)
    decisions = list(arc)
    logs = []
    entropies = []
    for cell in ("normal", "reduce"):
        anchors = list(policy.of("input", "inputs"))
        for node in range(space.nodes):
            for kind in ("input", "op", "input", "op"):
                h = policy.advance()
                if len(anchors) < 2 + node:  # it reads the last operation of the node before
                    anchors.append(h)
                decision = decisions.pop(0)
                if kind == "input":
                    logits = 1.1 * torch.tanh(policy.scores("input", anchors, h))
                    policy.x = anchors[decision]
                else:
                    logits = 1.1 / 2.5 * torch.tanh(policy.logits("op", h))
                    logits = logits + LIKES if cell == "normal" else logits
                    policy.x = policy.embedded("op", decision)
                log_p = logits.log_softmax(0)
                logs.append(log_p[decision])
                entropies.append(-(log_p.exp() * log_p).sum())
    return torch.stack(logs), torch.stack(entropies)


@pytest.mark.parametrize("nodes", [2, 5, pytest.param(7, marks=pytest.mark.long)])
def test_micro_log_probabilities_and_entropies(nodes):
    ours = enas_micro(nodes)
    far_from_uniform(ours.controller, vectors=False)
    rng = random.Random(3)
    arcs = [ours.space.sample(rng) for _ in range(10)]
    written = ours.controller(arcs)
    weights = leaves(ours.controller)
    for k, arc in enumerate(arcs):
        logs, entropies = micro(weights, ours.space, arc)
        agree(written.log_probs[k], logs, 3e-12)
        agree(written.entropies[k], entropies, 6e-13)


# --- the macro controller -------------------------------------------------------------------------


def macro(weights: Weights, space: Space, arc: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Of each decision (an operation a layer, then its skips) the log-probability; and the skip
    penalty, the mean over the layers with skips of KL(sigmoid of the logits || 0.6 out, 0.4 in)."""
    policy = OneByOne(weights, space, layers=1)
    decisions = list(arc)
    anchors: list[Tensor] = []
    logs = []
    penalties = []
    for layer in range(space.layers):
        h = policy.advance()
        if layer == 1:  # the first layer has no skips: the state that reads its operation
            anchors.append(h)
        op = decisions.pop(0)
        logits = 1.5 * torch.tanh(policy.logits("op", h))
        logs.append(logits.log_softmax(0)[op])
        policy.x = policy.embedded("op", op)
        if layer == 0:
            continue
        h = policy.advance()
        bits = [decisions.pop(0) for _ in anchors]
        q = policy.scores("skip", anchors, h)
        logits = 1.5 * torch.tanh(torch.stack([-q, q], 1))  # out, in
        logs += [row.log_softmax(0)[bit] for row, bit in zip(logits, bits)]
        p = logits.sigmoid()
        penalties.append((p * torch.log(p / torch.tensor([0.6, 0.4]))).sum())
        chosen = sum(bit * anchor for bit, anchor in zip(bits, anchors))
        policy.x = chosen / (1 + sum(bits))
        anchors.append(h)
    penalty = torch.stack(penalties).mean() if penalties else torch.zeros(())
    return torch.stack(logs), penalty


@pytest.mark.parametrize("layers", [1, 2, 3, 6, pytest.param(12, marks=pytest.mark.long)])
def test_macro_log_probabilities_and_skip_penalty(layers):
    ours = enas_macro(layers)
    far_from_uniform(ours.controller, vectors=True)
    rng = random.Random(3)
    arcs = [ours.space.sample(rng) for _ in range(10)]
    written = ours.controller(arcs)
    weights = leaves(ours.controller)
    penalties = []
    for k, arc in enumerate(arcs):
        logs, penalty = macro(weights, ours.space, arc)
        agree(written.log_probs[k], logs, 3e-12)
        penalties.append(penalty)
    if layers > 1:
        agree(ours.prior(written), torch.stack(penalties).mean(), 9e-15)


# --- steps of the controller ----------------------------------------------------------------------


def micro_terms(weights: Weights, space: Space, arc: Sequence[int]) -> tuple[Tensor, ...]:
    """Of an architecture: its log-probability, the entropy in its reward, its skip penalty."""
    logs, entropies = micro(weights, space, arc)
    return logs.sum(), entropies.sum(), torch.zeros(())


def macro_terms(weights: Weights, space: Space, arc: Sequence[int]) -> tuple[Tensor, ...]:
    """The macro code's entropy is of the sampled decision alone: p log 1/p."""
    logs, penalty = macro(weights, space, arc)
    return logs.sum(), -(logs.exp() * logs).sum(), penalty


@pytest.mark.parametrize("make, size, terms", [(enas_micro, 3, micro_terms), (enas_macro, 4, macro_terms)])
def test_steps_of_the_controller(monkeypatch, make, size, terms):
    """Three steps: reward = accuracy + 1e-4 entropy; the baseline moves by 1 % of its distance to
    each reward, before it is subtracted; loss = -log p (reward - baseline) + 0.8 skip penalty."""
    ours = make(size, samples=5)
    accuracies: list[float] = []

    def accuracy(genotype, minibatch):
        accuracies.append(torch.rand(()).item())
        return accuracies[-1]

    monkeypatch.setattr(ours, "rewards", lambda genotypes, minibatches: list(map(accuracy, genotypes, minibatches)))
    baseline = 0.0
    for step in range(3):
        weights = leaves(ours.controller)
        arcs = ours.sample(5, "controller", step).lists()  # what this step will draw
        accuracies.clear()
        ours.train_controller(step)
        loss = torch.zeros(())
        for arc, accuracy_seen in zip(arcs, accuracies, strict=True):
            log_p, entropy, penalty = terms(weights, ours.space, arc)
            reward = accuracy_seen + 1e-4 * entropy.item()
            baseline -= (1 - 0.99) * (baseline - reward)
            loss = loss - log_p * (reward - baseline) + 0.8 * penalty
        theirs = torch.autograd.grad(loss / len(arcs), list(weights.values()))
        agree([p.grad for p in ours.controller.parameters()], list(theirs), BITS)
        agree(ours.baseline, baseline, BITS)
