"""Randomness as a function of a seed and a place: a loop that knows its step number knows its
random numbers, so a checkpoint needs no generator's state and a resumed run equals an
uninterrupted one."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from threading import RLock

import torch
from torch import Generator
from torch import device as Device

_one_at_a_time = RLock()


def seed_of(*place: int | str) -> int:
    """A 63-bit seed for a place such as `(seed, "crop", step)`; places that differ get unrelated
    seeds."""
    return int.from_bytes(blake2b(repr(place).encode(), digest_size=8).digest(), "big") >> 1


def generator(*place: int | str, device: Device | str = "cpu") -> Generator:
    """A fresh generator on `device` for this place."""
    return Generator(device).manual_seed(seed_of(*place))


@contextmanager
def seeded(*place: int | str) -> Iterator[None]:
    """PyTorch's initialisers know only the global generator: seed it for the block and put it
    back after. One of Python's threads at a time: they share it."""
    with _one_at_a_time, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_of(*place))
        yield
