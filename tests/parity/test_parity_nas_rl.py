"""NAS-RL against its paper's words, written out one step at a time (its authors published no code).

`Controller.forward` and `reinforce` stand against section 3.1 to 3.3 by matrix products,
`Network(skeleton="nas-rl")` against section 3.3's rules one convolution at a time, `depth` and
`NASRL` against section 4.1. Log-probabilities and logits within 1e-14, gradients within 2e-15.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from comparing import BITS, agree, leaves
from one_by_one import OneByOne
from torch import Tensor

from nascore import published, spaces
from nascore.controllers import Controller
from nascore.genotypes import ChainGenotype, ChainLayer
from nascore.methods.nas_rl import NASRL, NASRLBudget, depth, reinforce
from nascore.nets.convolutional import Network

LAYERS = 4

# --- the policy -----------------------------------------------------------------------------------


def log_probs(weights: dict[str, Tensor], space: spaces.Chains, arc: Sequence[int]) -> Tensor:
    """log P(a_t | a_(t-1), ...) of each decision of an architecture, (T,)."""
    policy = OneByOne(weights, space, layers=2)
    asked = [kind for kind in policy.kinds if kind != "skip"]
    decisions = list(arc)
    anchors: list[Tensor] = []
    found = []
    layer = 0
    while decisions:
        for kind in asked:
            h = policy.advance()
            if layer == 1 and kind == asked[0]:
                # The first layer has no skips: the state that reads its filters stands for it.
                anchors.append(h)
            decision = decisions.pop(0)
            found.append(policy.logits(kind, h).log_softmax(0)[decision])
            policy.x = policy.embedded(kind, decision)
        if layer:
            h = policy.advance()
            bits = [decisions.pop(0) for _ in anchors]
            p = policy.scores("skip", anchors, h).sigmoid()
            found += [torch.log(q if bit else 1 - q) for q, bit in zip(p, bits)]
            inputs = [anchor for anchor, bit in zip(anchors, bits) if bit]
            policy.x = sum(inputs) / len(inputs) if inputs else torch.zeros_like(h)
            anchors.append(h)
        layer += 1
    return torch.stack(found)


def policy_and_arcs(strides: bool) -> tuple[spaces.Chains, Controller, list[list[int]]]:
    space = spaces.get("nas-rl", layers=LAYERS, strides=strides)
    rng = random.Random(11)
    return space, Controller(space, 7, 2, 0.9), [space.sample(rng) for _ in range(12)]


@pytest.mark.parametrize("strides", [False, True])
@pytest.mark.parametrize("depth", [2, LAYERS])
def test_log_probabilities(strides, depth):
    space, controller, arcs = policy_and_arcs(strides)
    arcs = [arc[: space.levels[depth - 1]] for arc in arcs]
    weights = leaves(controller)
    theirs = torch.stack([log_probs(weights, space, arc) for arc in arcs])
    agree(controller(arcs).log_probs, theirs, 1e-14)


@pytest.mark.parametrize("strides", [False, True])
def test_gradient_of_reinforce(strides):
    """1/m sum over k and t of grad log P(a_t) (R_k - b), of every weight."""
    space, controller, arcs = policy_and_arcs(strides)
    advantages = torch.rand(12) ** 3 - 0.4
    reinforce(controller(arcs).log_probs, advantages).backward()
    weights = leaves(controller)
    total = sum(a * log_probs(weights, space, arc).sum() for a, arc in zip(advantages, arcs))
    theirs = torch.autograd.grad(total / 12, list(weights.values()))
    agree([p.grad for p in controller.parameters()], list(theirs), BITS)


# --- section 4.1: depths and the baseline ---------------------------------------------------------


def test_depths_of_12_800_children():
    assert [depth(k) for k in range(12_800)] == [6 + 2 * (k // 1600) for k in range(12_800)]


def test_depths_and_baseline_of_a_search():
    """The depth grows between children, also within a batch; the baseline is the exponential moving
    average of cubed rewards."""
    depths = []

    def estimate(genotypes):
        depths.extend(len(genotype.layers) for genotype in genotypes)
        return [0.5 + 0.01 * len(genotype.layers) for genotype in genotypes]

    budget = NASRLBudget(trials=23, children=4, first_layers=2, added_layers=1, stage=6, learning_rate=0.01)
    search = NASRL(NASRL.own_space(budget), estimate, budget, 0)
    while not search.done:
        search.step()
    assert depths == [2 + k // 6 for k in range(23)]
    average = (0.5 + 0.01 * 2) ** 3
    for layers in depths[1:]:
        average = 0.95 * average + 0.05 * (0.5 + 0.01 * layers) ** 3
    agree(search.baseline, average, BITS)


# --- section 3.3: chains --------------------------------------------------------------------------


def side_by_side(maps: Sequence[Tensor]) -> Tensor:
    """Concatenated in depth, smaller maps padded with zeros, at the bottom and the right."""
    height = max(x.size(2) for x in maps)
    width = max(x.size(3) for x in maps)
    padded = []
    for x in maps:
        zeros = torch.zeros(x.size(0), x.size(1), height, width)
        zeros[:, :, : x.size(2), : x.size(3)] = x
        padded.append(zeros)
    return torch.cat(padded, 1)


def convolve(x: Tensor, weight: Tensor, stride: tuple[int, int]) -> Tensor:
    """TensorFlow's SAME padding by hand: what is odd goes to the bottom and the right."""
    first = []
    total = []
    for side, kernel, step in zip(x.shape[2:], weight.shape[2:], stride):
        pad = max((math.ceil(side / step) - 1) * step + kernel - side, 0)
        first.append(pad // 2)
        total.append(side + pad)
    padded = torch.zeros(*x.shape[:2], *total)
    padded[:, :, first[0] : first[0] + x.size(2), first[1] : first[1] + x.size(3)] = x
    return F.conv2d(padded, weight, None, stride)


def chain(weights: dict[str, Tensor], layers: Sequence[ChainLayer], images: Tensor) -> Tensor:
    """The logits of a chain: a layer without inputs reads the image, and what no layer reads goes
    to the classifier."""
    maps = [images]
    unread = set(range(1, len(layers) + 1))
    for k, layer in enumerate(layers):
        inputs = layer.inputs or (0,)
        unread -= set(inputs)
        x = side_by_side([maps[j] for j in inputs])
        own = f"stems.0.layers.{k}"
        x = convolve(x, weights[f"{own}.0.weight"], layer.stride)
        norm = ("running_mean", "running_var", "weight", "bias")
        maps.append(F.relu(F.batch_norm(x, *(weights[f"{own}.1.{name}"] for name in norm))))
    last = side_by_side([maps[k] for k in sorted(unread)]).mean((2, 3))
    return last @ weights["head.2.weight"].T + weights["head.2.bias"]


@pytest.mark.parametrize("strides", [False, True])
@pytest.mark.parametrize("layers", [1, 3, 7])
@torch.no_grad()
def test_logits_of_chains(strides, layers):
    rng = random.Random(layers)
    space = spaces.get("nas-rl", layers=layers, strides=strides, filters=(3, 5))
    for _ in range(6):
        genotype = space.decode(space.sample(rng))
        network = Network(genotype, skeleton="nas-rl").eval()
        for name, values in network.state_dict().items():
            if name.endswith(("1.weight", "running_var")):
                values.uniform_(0.5, 1.5)
            elif name.endswith(("1.bias", "running_mean")):
                values.uniform_(-0.5, 0.5)  # so that no ReLU silences a whole map
        images = torch.randn(2, 3, rng.choice((32, 17)), rng.choice((32, 23)))
        logits = chain(network.state_dict(), genotype.layers, images)
        agree(network(images), logits, 1e-14)
        assert (logits[0] != logits[1]).all()  # of two images


def rewired(genotype: ChainGenotype, inputs: Callable[[int], tuple[int, ...]]) -> ChainGenotype:
    """Its layers, layer k (from 0) with the inputs `inputs(k)`."""
    layers = enumerate(genotype.layers)
    return ChainGenotype(tuple(replace(layer, inputs=inputs(k)) for k, layer in layers))


BASE = published.PUBLISHED["nas-rl-15"].genotype
SIZES = {
    "as published": (BASE, 4_201_630),
    "all skips": (rewired(BASE, lambda k: tuple(range(1, k + 1))), 6_630_910),
    "no skips": (rewired(BASE, lambda k: (k,) if k else ()), 809_134),
}


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("name", SIZES)
def test_sizes_of_the_network_of_fifteen_layers(name, classes):
    """Convolutions, batch norms, and a classifier of the one layer that no other reads; of ten
    classes the count is also here as a number."""
    genotype, of_ten = SIZES[name]
    widths = [3, *(layer.filters for layer in genotype.layers)]
    count = (widths[-1] + 1) * classes
    for layer in genotype.layers:
        inputs = sum(widths[j] for j in layer.inputs or (0,))
        count += layer.filter[0] * layer.filter[1] * inputs * layer.filters + 2 * layer.filters
    network = Network(genotype, classes=classes, skeleton="nas-rl")
    assert sum(p.numel() for p in network.parameters()) == count
    assert classes != 10 or count == of_ten
