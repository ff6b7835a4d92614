"""How long things take on this machine: one step is timed, and scaled."""

import time
from collections.abc import Callable

import torch

from nascore import data, training
from nascore.genotypes import Genotype
from nascore.methods.enas import ENAS, MicroBudget
from nascore.methods.pnas import PNASBudget
from nascore.nets.convolutional import Network

CALLS = 4  # that are timed
CIFAR = 45_000  # training images of CIFAR-10 where 5,000 are kept for rewards


def seconds(call: Callable[[], object]) -> float:
    """Of CPU time for one call: the least of a few, once it was called before, since other work on the machine can only
    make it longer."""
    call()
    taken = []
    for _ in range(CALLS):
        began = time.process_time()
        call()
        taken.append(time.process_time() - began)
    return min(taken)


def noise(count: int) -> data.Images:
    """Images of CIFAR-10's size with nothing on them: a step takes as long."""
    pixels = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8)
    labels = torch.arange(count) % 10
    half = (0.5,) * 3
    return data.Images("noise", pixels, labels, pixels, labels, tuple("0123456789"), half, half, 4, True)


def child_hours(genotype: Genotype, budget: PNASBudget, seed: int, batch: int = 8) -> float:
    """Of CPU time, to train this cell as a child of PNAS on CIFAR-10."""
    network = Network(genotype, budget.channels, budget.cells, skeleton="pnasnet")
    child = training.Training(network, noise(batch), training.recipe_named("pnas-child", batch_size=batch), seed)
    return seconds(child.step) * CIFAR / batch * budget.child_epochs / 3600


def supernet_hours(space, budget: MicroBudget, seed: int, batch: int = 16) -> float:
    """Of CPU time, to search with ENAS on CIFAR-10: steps of the weights and samples of the controller."""
    small = MicroBudget.preset("full", batch_size=batch, samples=1, validation=0.5)
    probe = ENAS(space, noise(10 * batch), small, seed, torch.device("cpu"))
    places = iter(range(1 + CALLS))
    weights = seconds(lambda: probe.train_shared(0, next(places)))
    sample = seconds(lambda: probe.train_controller(0))
    minibatches = CIFAR // budget.batch_size
    epoch = minibatches * weights + budget.controller_steps * budget.samples * sample
    return budget.epochs * epoch * budget.batch_size / batch / 3600
