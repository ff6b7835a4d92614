"""How large a network is: parameters, multiply-adds, depth. Nothing is computed: a minibatch of no
images goes through the network, and of convolutions and linear layers only the sizes are looked at."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from nascore import genotypes, published
from nascore.errors import whole
from nascore.genotypes import Genotype
from nascore.nets.convolutional import LIMITS, Network, home


def parameters(network: nn.Module) -> int:
    """Weights and biases, an auxiliary head's included where there is one, ENAS's too, which does not
    learn."""
    return sum(p.numel() for p in network.parameters())


def multiply_adds(network: nn.Module, input_shape: Sequence[int]) -> int:
    """Multiply-adds of convolutions and linear layers in one forward pass of `input_shape`, without
    auxiliary head."""
    return _walk(network, input_shape).multiply_adds


def depth(network: nn.Module, input_shape: Sequence[int]) -> int:
    """Convolutions and linear layers on the longest path from image to logits (a separable convolution
    has four)."""
    return _walk(network, input_shape).depth


class _Walk(TorchFunctionMode):
    """Counts while a minibatch of no images passes. Every tensor remembers how many convolutions and
    linear layers lie on the longest way to it."""

    def __init__(self):
        super().__init__()
        self.multiply_adds, self.depth = 0, 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        before = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        depth = max((getattr(x, "depth", 0) for x in before), default=0)
        if function is F.batch_norm:
            return args[0]
        if function is F.conv2d:
            found, depth = self._convolution(*args, **kwargs or {}), depth + 1
        elif function is F.linear:
            found, depth = self._product(*args, **kwargs or {}), depth + 1
        else:
            found = function(*args, **kwargs or {})
        for x in tree_leaves(found):
            if isinstance(x, Tensor):
                x.depth = depth
        self.depth = max(self.depth, depth)
        return found

    def _convolution(self, x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        stride, padding, dilation = map(_pair, (stride, padding, dilation))
        sides = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation)
        sides = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sides]
        return self._count(x, weight, sides)

    def _product(self, x, weight, bias=None):
        return self._count(x, weight, [])

    def _count(self, x: Tensor, weight: Tensor, sides: list[int]) -> Tensor:
        self.multiply_adds += weight.numel() * math.prod(sides)
        return x.new_empty(len(x), len(weight), *sides)


def _pair(value) -> Sequence[int]:
    return value if isinstance(value, list | tuple) else (value, value)


@torch.no_grad()
def _walk(network: nn.Module, input_shape: Sequence[int]) -> _Walk:
    """Through the network in evaluation. Its weights are stand-ins that take no memory."""
    named = [*network.named_parameters(), *network.named_buffers()]
    state = {name: torch.empty((), dtype=x.dtype).expand(x.shape) for name, x in named}
    count, *rest = input_shape
    training = network.training
    try:
        with _Walk() as walk:
            functional_call(network.eval(), state, (torch.empty(0, *rest),))
    finally:
        network.train(training)
    walk.multiply_adds *= count
    return walk


def describe(
    genotype: Genotype | str, network: str | None = None, skeleton: str | None = None, **sizes
) -> dict:
    """Sizes of the network of a genotype or a published name, as `nascore describe --json` prints
    them.

    `network` (a key of `NETWORKS`) sets all sizes at once, else the genotype's home does; `sizes`
    (stem, channels, cells, classes, input, in_channels, auxiliary) that are not None override it."""
    sizes = home(genotype, skeleton, network, **sizes)
    side = whole("input", sizes.pop("input"), 1, LIMITS["input"])
    if isinstance(genotype, str):
        genotype = published.get(genotype).genotype
    with torch.device("meta"):
        built = Network(genotype, **sizes)
    shape = (1, sizes["in_channels"], side, side)
    built.check(shape)
    walk = _walk(built, shape)
    counts = {"parameters": parameters(built), "multiply_adds": walk.multiply_adds}
    about = {"kind": genotypes.kind(genotype), **sizes, "input": side}
    return about | counts | {"depth": walk.depth}
