"""How large a network is: parameters, multiply-adds, depth. Nothing is computed: all tensors are
on `meta`."""

import torch
from torch import nn
from torch.autograd.graph import Node
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from nascore import genotypes, published
from nascore.errors import whole
from nascore.genotypes import Genotype
from nascore.nets.convolutional import LIMITS, Network, home

_WEIGHTED = ("Convolution", "Addmm", "Mm")  # autograd's names for convolutions and linear layers


def parameters(network: nn.Module) -> int:
    """Weights and biases, an auxiliary head's included where there is one, ENAS's too, which
    does not learn."""
    return sum(p.numel() for p in network.parameters())


def _trace(network: nn.Module, input_shape: tuple[int, ...]) -> tuple[int, Node]:
    """Multiply-adds of one forward pass in evaluation, and the autograd node of its logits."""
    state = {name: p.detach().to("meta").requires_grad_() for name, p in network.named_parameters()}
    state |= {name: b.to("meta") for name, b in network.named_buffers()}
    training = network.training
    try:
        with torch.enable_grad(), FlopCounterMode(display=False) as counter:
            logits = functional_call(
                network.eval(), state, (torch.empty(input_shape, device="meta"),)
            )
    finally:
        network.train(training)
    return counter.get_total_flops() // 2, logits.grad_fn


def multiply_adds(network: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Multiply-adds of convolutions and linear layers in one forward pass of `input_shape`,
    without auxiliary head."""
    return _trace(network, input_shape)[0]


def depth(network: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Convolutions and linear layers on the longest path from image to logits (a separable
    convolution has four)."""
    return _longest(_trace(network, input_shape)[1])


def _longest(root: Node) -> int:
    depths, stack = {}, [root]
    while stack:
        node = stack[-1]
        parents = [parent for parent, _ in node.next_functions if parent is not None]
        waiting = [parent for parent in parents if parent not in depths]
        if waiting:
            stack += waiting
        else:
            stack.pop()
            depths[node] = max((depths[p] for p in parents), default=0) + node.name().startswith(
                _WEIGHTED
            )
    return depths[root]


def describe(
    genotype: Genotype | str, network: str | None = None, skeleton: str | None = None, **sizes
) -> dict:
    """Sizes of the network of a genotype or a published name, as `nascore describe --json` prints
    them.

    `network` (a key of `NETWORKS`) sets all sizes at once, else the genotype's home does;
    `sizes` (stem, channels, cells, classes, input, in_channels, auxiliary) that are not None
    override it."""
    sizes = home(genotype, skeleton, network, **sizes)
    side = whole("input", sizes.pop("input"), 1, LIMITS["input"])
    genotype = published.get(genotype).genotype if isinstance(genotype, str) else genotype
    with torch.device("meta"):
        built = Network(genotype, **sizes)
    total, logits = _trace(built, (1, sizes["in_channels"], side, side))
    counts = {"parameters": parameters(built), "multiply_adds": total, "depth": _longest(logits)}
    return {"kind": genotypes.kind(genotype), **sizes, "input": side, **counts}
