"""How many threads PyTorch computes with: part of a run, decided by the size of its work and not by
the machine, since the order of sums, and with it every bit, depends on it.

Threads that wait for work spin: beside another busy process they take the cores from each other,
and a step of small tensors takes ten to thirty times as long. Small work gains nothing from a
second thread (the measurements: `notebooks/runs/threads.json`), so it has one.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from threading import Lock
from typing import Any

from torch import get_num_threads, set_num_threads
from torch.nn import Conv2d, Module

LARGE = 1_000_000  # numbers in the first map of a minibatch from which a second thread pays

_lock = Lock()
_depth = 0  # blocks that are open, of all of Python's threads
_own = 0  # PyTorch's number outside of them
_local = threading.local()  # the number in the block that a thread is in


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """PyTorch computes with `count` threads in the block; then the process has its own number back.
    (PyTorch keeps a number for each of Python's threads, and one that new ones begin with.)"""
    global _depth, _own
    with _lock:
        if _depth == 0:
            _own = get_num_threads()
        _depth += 1
    before = getattr(_local, "count", None)
    _use(count)
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            _use(_own if before is None else before)
            _local.count = before


def _use(count: int) -> None:
    _local.count = count
    if get_num_threads() != count:
        set_num_threads(count)


@contextmanager
def one_thread() -> Iterator[None]:
    """For what is always small: a controller, a predictor, a child."""
    with using_threads(1):
        yield


def with_its_threads(method: Callable) -> Callable:
    """A method that computes with as many threads as its object says (`self.threads`)."""

    @wraps(method)
    def wrapped(self: Any, *arguments: Any, **options: Any) -> Any:
        with using_threads(self.threads):
            return method(self, *arguments, **options)

    return wrapped


def fitting(network: Module | Callable, batch_size: int, pixels: int) -> int:
    """How many threads the work on minibatches of `batch_size` images of so many pixels has."""
    return 2 if size(network, batch_size, pixels) >= LARGE else 1


def size(network: Module | Callable, batch_size: int, pixels: int) -> int:
    """Of the work on a minibatch: the numbers in the map of the network's first convolution, which
    is the largest there is."""
    modules = network.modules() if isinstance(network, Module) else ()
    convolutions = (m.out_channels for m in modules if isinstance(m, Conv2d))
    return batch_size * pixels * next(convolutions, 1)
