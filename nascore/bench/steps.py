"""DARTS's steps: ours, by the naive supernet, and those of a checkout of quark0/darts."""

import sys
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, arange, get_num_threads, randint, randn, uint8
from torch import device as Device
from torch.nn import CrossEntropyLoss, Module
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD

from nascore import spaces
from nascore.data import Images
from nascore.methods.darts import DARTS, DARTSBudget

STEPS = ("weights", "alphas, first order", "alphas, second order")
RATE = 0.025
CLIP = 5.0
MOMENTUM = 0.9
DECAY = 3e-4
Steps = list[Callable[[], object]]  # those of one side


class Workload(NamedTuple):
    """The sizes of a supernet and of its minibatches, where they are, and on how many threads."""

    batch: int
    channels: int
    cells: int
    device: str = "cpu"
    side: int = 32  # of an image, pixels
    threads: int = 1


def random_images(count: int, side: int = 32) -> Images:
    """`count` images of noise that may be cropped and mirrored, as those of CIFAR-10."""
    pixels = randint(256, (count, 3, side, side), dtype=uint8)
    labels = arange(count) % 10
    half = (0.5, 0.5, 0.5)
    classes = tuple("0123456789")
    return Images("random", pixels, labels, pixels, labels, classes, half, half, side // 8, True)


def our_steps(workload: Workload, method: type[DARTS] = DARTS) -> Steps:
    """The steps of `methods.darts` on random images, in the order of `STEPS`."""
    batch, channels, cells, device, side, _ = workload
    budget = DARTSBudget(channels=channels, cells=cells, batch_size=batch)
    images = random_images(8, side)
    search = method(spaces.get("darts"), images, budget, 0, Device(device))
    train = random_batch(workload)
    valid = random_batch(workload)

    def step(name: str, *arguments: object) -> None:
        search.threads = get_num_threads()  # here it is not the sizes that decide
        getattr(search, name)(*arguments)

    return [
        partial(step, "descend_weights", train),
        partial(step, "descend_architecture", train, valid, 0.0),
        partial(step, "descend_architecture", train, valid, RATE),
    ]


def reference_steps(folder: str, workload: Workload) -> Steps:
    """The same steps by the code in FOLDER/cnn, unmodified. Its shims change this process: give
    it one of its own."""
    _, channels, cells, device, *_ = workload
    if device == "cpu":  # mypy takes no shim for what it replaces
        Tensor.cuda = Module.cuda = _stays  # type: ignore[method-assign,assignment]
    for name in ("add_", "sub_", "sub"):
        setattr(Tensor, name, _old_signature(getattr(Tensor, name)))
    sys.path.insert(0, str(Path(folder) / "cnn"))
    from architect import Architect
    from model_search import Network

    criterion = CrossEntropyLoss()
    net = Network(channels, 10, cells, criterion).to(device)
    sgd = SGD(net.parameters(), RATE, momentum=MOMENTUM, weight_decay=DECAY)
    settings = Namespace(
        momentum=MOMENTUM,
        network_momentum=MOMENTUM,
        weight_decay=DECAY,
        arch_learning_rate=3e-4,
        arch_weight_decay=1e-3,
    )
    architect = Architect(net, settings)
    x, y = random_batch(workload)
    x_valid, y_valid = random_batch(workload)

    def weights() -> None:
        sgd.zero_grad()
        criterion(net(x), y).backward()
        clip_grad_norm_(net.parameters(), CLIP)
        sgd.step()

    return [
        weights,
        lambda: architect.step(x, y, x_valid, y_valid, RATE, sgd, unrolled=False),
        lambda: architect.step(x, y, x_valid, y_valid, RATE, sgd, unrolled=True),
    ]


def _stays(self: Any, *_: object, **__: object) -> Any:
    return self


def _old_signature(new: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`x.add_(scalar, tensor)`, which is gone from PyTorch."""
    return lambda self, a, *b, **c: new(self, b[0], alpha=float(a)) if b else new(self, a, **c)


def random_batch(workload: Workload) -> tuple[Tensor, Tensor]:
    """A minibatch of noise: images (B, 3, side, side) and labels (B,)."""
    batch, _, _, device, side, _ = workload
    x = randn(batch, 3, side, side, device=device)
    return x, randint(10, (batch,), device=device)
