"""What happens inside a network while images run through it, seen by PyTorch's hooks."""

from typing import NamedTuple

import torch
from torch import Tensor

from nascore.nets.convolutional import Network


class Read(NamedTuple):
    """An operation of a cell: the state that it reads, and the side of the map before and after it."""

    operation: str
    state: int
    before: int
    after: int


def reads(network: Network, cell: int, images: Tensor) -> list[Read]:
    """What every operation of a network's cell reads and makes of it."""
    seen = []
    hooks = []
    placed = network.cells[cell]
    for node, pair in zip(placed.cell.nodes, placed.nodes):
        for state, name, operation in zip(node.inputs, node.ops, pair):

            def watch(module, given, output, name=name, state=state) -> None:
                seen.append(Read(name, state, given[0].size(2), output.size(2)))

            hooks.append(operation.register_forward_hook(watch))
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    return seen


def drop_probabilities(network: Network, images: Tensor) -> list[float]:
    """With which probability each cell of a network in training drops a path."""
    seen = []

    def watch(module, given) -> None:
        seen.append(given[2].keywords["probability"])

    hooks = [cell.register_forward_pre_hook(watch) for cell in network.cells]
    network(images)
    for hook in hooks:
        hook.remove()
    return seen
