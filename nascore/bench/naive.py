"""The DARTS supernet as it is written down: what ours is timed against where there is no other."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, cat
from torch.nn import BatchNorm2d, Conv2d, Module, ModuleList, Sequential

from nascore.methods.darts import DARTS
from nascore.nets.depthwise import DepthwiseConv
from nascore.nets.edges import Activation
from nascore.nets.operations import build, on_batch_statistics
from nascore.nets.supernet import Supernet


class NaiveEdges(Module):
    """What `nets.edges.MixedEdges` computes, one operation of one edge after another: a module for
    each, in PyTorch's own convolutions and layout. Its activation is ReLU."""

    def __init__(
        self,
        names: Sequence[str],
        channels: int,
        edges: int,
        stride: int,
        norm_pools: bool,
        activation: Activation,
    ):
        super().__init__()
        self.channels = channels
        self.edges = edges
        how = (channels, stride, norm_pools)
        made = (_operation(name, *how) for _ in range(edges) for name in names)
        self.operations = ModuleList(made)

    def forward(self, x: Tensor, probabilities: Tensor) -> Tensor:
        x = x.contiguous()  # the stem's map is in channels_last
        operations = iter(self.operations)
        return cat([sum(p * next(operations)(x) for p in edge) for edge in probabilities], 1)


def _operation(name: str, channels: int, stride: int, norm_pools: bool) -> Module:
    operation = build(name, channels, channels, stride, affine=False)
    if norm_pools and "pool" in name:
        operation = Sequential(operation, BatchNorm2d(channels, affine=False))
    for module in operation.modules():
        if isinstance(module, DepthwiseConv):
            slow: Any = partial(Conv2d.forward, module)
            module.forward = slow  # type: ignore[method-assign]
    return on_batch_statistics(operation)


class NaiveSupernet(Supernet):
    """Without any trick in its edges."""

    mixed = NaiveEdges


class NaiveDARTS(DARTS):
    """The same search with the naive supernet, in PyTorch's own layout (NCHW)."""

    NETWORK = NaiveSupernet

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.supernet.to(memory_format=torch.contiguous_format)
