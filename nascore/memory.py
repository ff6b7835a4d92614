"""What a step takes of memory, and how a run is made to fit into less.

Two steps on very small minibatches tell it: the bytes of all tensors that are there at the same
time grow by the same number with every image. The bits of a run do not change where cells are
computed again (`nets.recompute`); they do where the minibatch has to be smaller.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from re import fullmatch
from typing import Any
from weakref import finalize

import torch
from torch import Tensor
from torch import device as Device
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nascore.errors import UserError, require, say

TRIED = (8, 32)  # images in the minibatches of the trials
STEPS = 2  # the first one makes what stays: momentum
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# A process takes more than its tensors: on the CPU Python, PyTorch and its compiled kernels, and
# everywhere what kernels and allocators keep beside (notebooks/runs/memory.py measures it there).
PROCESS = 750 * 2**20
BESIDE = 1.10


def bytes_of(text: Any) -> int:
    """8G, 512M or a number of bytes. Raises `UserError`."""
    found = fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([KMGT]?)(?:i?B)?", str(text).strip(), re.I)
    if not found or not float(found[1]):
        raise UserError(f"--memory: found {text!r}, allowed: a size, such as 8G or 2G")
    return int(float(found[1]) * UNITS[found[2].upper()])


class Held(TorchDispatchMode):
    """The bytes of all tensors that are there at the same time: `now`, and the most, `peak`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **kwargs or {})
        for leaf in tree_leaves(found):
            if isinstance(leaf, Tensor):
                self._hold(leaf.untyped_storage())
        return found

    def _hold(self, storage: torch.UntypedStorage) -> None:
        place = storage._cdata
        if place not in self.known:
            size = storage.nbytes()
            self.known.add(place)
            self.now += size
            self.peak = max(self.peak, self.now)
            finalize(storage, self._release, place, size)

    def _release(self, place: int, size: int) -> None:
        self.known.discard(place)
        self.now -= size


def peak(make: Callable[[], Any], again: bool) -> int:
    """The most bytes that the loop `make()` holds while it is made and takes two steps; `again`:
    with cells computed again."""
    with Held() as held:
        loop = make()
        if again:
            loop.recompute()
        for _ in range(STEPS):
            loop.step()
    return held.peak


@dataclass(frozen=True)
class Need:
    """Bytes of a process at its peak: for anything, and for an image of the minibatch."""

    fixed: float
    image: float

    def of(self, batch: int) -> float:
        """With minibatches of so many images."""
        return self.fixed + batch * self.image

    def batch(self, limit: int, most: int) -> int:
        """The largest minibatch that a limit allows, up to `most`."""
        return min(most, int((limit - self.fixed) // max(self.image, 1)))


def need(make: Callable[[int], Any], again: bool, task: int, device: Device) -> Need:
    """Of the loops `make(batch)`, beside the `task`'s bytes."""
    few, more = (peak(partial(make, batch), again) for batch in TRIED)
    image = (more - few) / (TRIED[1] - TRIED[0])
    fixed = few - TRIED[0] * image + task
    process = PROCESS if device.type == "cpu" else 0
    return Need(process + BESIDE * fixed, BESIDE * image)


def fitting(
    size: Any, batch: int, make: Callable[[int], Any], task: int, device: Device
) -> tuple[int, bool]:
    """The minibatch, and whether cells are computed again, with which a run stays under a `size`;
    it is said. Cells first: that changes no bit. Raises `UserError` where nothing helps."""
    limit = bytes_of(size)
    kept = need(make, False, task, device)
    found = f"{batch} images a step take {_shown(kept.of(batch))}"
    if kept.of(batch) <= limit:
        say(f"--memory {_shown(limit)}: {found}")
        return batch, False
    again = need(make, True, task, device)
    less = f"{found}, with cells computed again {_shown(again.of(batch))}"
    if again.of(batch) <= limit:
        say(f"--memory {_shown(limit)}: {less}, which changes no bit: so it is done")
        return batch, True
    fits = again.batch(limit, batch)
    least = f"{_shown(again.of(2))} or more, for minibatches of 2"
    require(fits >= 2, "--memory", _shown(limit), least)
    say(f"--memory {_shown(limit)}: {less}: cells are computed again, with {fits} images a step")
    return fits, True


def _shown(size: float) -> str:
    return f"{size / 2**30:.2f}G"
