"""What a paper's own search would take on this machine: one step timed, and scaled."""

import time
from collections.abc import Callable
from random import Random

import torch
from torch.nn import Module

from nascore import describe, spaces
from nascore.genotypes import ChainGenotype
from nascore.methods.nas_rl import FILTERS, NASRLBudget, depth
from nascore.methods.nasnet import NASNetBudget
from nascore.nets.convolutional import Network
from nascore.published import GENOTYPES

YEAR = 365 * 86_400  # seconds
TRAINING_IMAGES = 45_000  # of CIFAR-10, where 5,000 validate


def seconds_of(work: Callable[[], object]) -> float:
    """Of the second time: the first one prepares."""
    work()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def seconds_per_image(network: Module, batch_size: int = 2, side: int = 32) -> float:
    """Of the forward and backward pass through a network that is trained on batches of images."""
    images = torch.randn(batch_size, 3, side, side)

    def step() -> None:
        network(images).sum().backward()

    return seconds_of(step) / batch_size


def nas_rl_years(budget: NASRLBudget, timed: ChainGenotype, one: float | None = None) -> float:
    """Years that the children of `budget` would train here, one after another: `timed` is timed (`one` image of it
    takes so many seconds), and a random child of each depth scales it by its multiply-adds."""
    if one is None:
        one = seconds_per_image(Network(timed, skeleton="nas-rl"))
    work = []
    for born in range(0, budget.trials, budget.stage):
        layers = depth(born, budget.first_layers, budget.added_layers, budget.stage)
        space = spaces.get("nas-rl", layers=layers, filters=FILTERS[budget.filters])
        child = space.decode(space.sample(Random(born)))
        work.append(describe(child)["multiply_adds"])
    share = sum(work) / len(work) / describe(timed)["multiply_adds"]
    return one * share * TRAINING_IMAGES * budget.child_epochs * budget.trials / YEAR


def nasnet_years(budget: NASNetBudget, one: float | None = None) -> float:
    """Years that the children of `budget` would train here, one after another, if all were NASNet-A (`one` image of it
    takes so many seconds)."""
    if one is None:
        child = Network(GENOTYPES["nasnet-a"], budget.channels, budget.cells, skeleton="nasnet")
        one = seconds_per_image(child, batch_size=4)
    return one * TRAINING_IMAGES * budget.child_epochs * budget.trials / YEAR
