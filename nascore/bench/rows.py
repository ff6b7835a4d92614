"""What is timed beside DARTS's steps, each against the plainest other way to the same result."""

import runpy
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from torch import Tensor, cat, channels_last, get_num_threads, no_grad
from torch.nn import Module, ModuleDict
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD
from torch.utils.data import DataLoader, default_collate

from nascore import data, spaces
from nascore.bench.harness import Side
from nascore.bench.steps import CLIP, DECAY, MOMENTUM, Steps, Workload, random_batch, random_images
from nascore.controllers import Controller
from nascore.estimators import Table, TrainChildren
from nascore.exports import export
from nascore.from_scratch import train
from nascore.genotypes import Genotype
from nascore.models import load as load_model
from nascore.nets.shared import shared_network
from nascore.seeding import generator
from nascore.training import RECIPES, evaluate

REPEATED = 10  # steps that are timed together, since one is short
CHILD = replace(RECIPES["child"], epochs=1)
PREDICTED = 16  # images in a minibatch: of many more `predict` takes a second thread


class Row(NamedTuple):
    """A comparison: of what, with what, and the steps of both sides by what is shown of them, each
    with an amount: that over seconds is shown, or for 0 seconds. More than one of the `threads` has
    the wall's clock."""

    title: str
    against: str
    ours: Side
    reference: Side
    steps: dict[str, float]
    threads: int = 1


def other_rows(workload: Workload, many: int = 1000, threads: int = 1) -> list[Row]:
    """All of them, at the sizes of a supernet: `many` images, queries and architectures, and a
    child for each 250."""
    images = (workload, many)
    found = [
        Row(
            "augmentation",
            "torchvision's transforms of PIL images, in a DataLoader without workers",
            Side(our_augmentation, images),
            Side(their_augmentation, images),
            {"images a second": many},
        ),
        Row(
            "the table of NAS-Bench-201",
            "a dict of the same answers by genotype: the least that a query can cost",
            Side(our_queries, (many,)),
            Side(queries_of_a_dict, (many,)),
            {"queries a second": many},
        ),
        Row(
            f"sampling of {many:,} of NASNet's architectures by a controller",
            "the same controller, one architecture at a time",
            Side(sampling, (many, many)),
            Side(sampling, (many, 1)),
            {"architectures a second": many},
        ),
        Row(
            "a network of DARTS-V2",
            "the file that `nascore export --to python` writes: plain PyTorch, without checks",
            Side(our_answers, images),
            Side(plain_answers, images),
            {"load, seconds": 0, "predict, images a second": many},
        ),
    ]
    children = -(-many // 250)
    for workers in sorted({1, threads}):
        title = f"DARTS's cells trained for an epoch of digits, {workers} at once"
        against = (
            "the same networks as plain PyTorch (NCHW) in the obvious loop, on as many threads"
        )
        ours = Side(our_children, (children, workers))
        plain = Side(plain_children, (children,))
        steps: dict[str, float] = {"children a minute": 60 * children}
        found.append(Row(title, against, ours, plain, steps, workers))
    for space in ("enas-micro", "enas-macro", "nasbench201"):
        title = f"ENAS's step of shared weights, {space}"
        against = "the same path in a network that has no other"
        ours = Side(shared_step, (workload, space, False))
        plain = Side(shared_step, (workload, space, True))
        found.append(Row(title, against, ours, plain, {"steps a second": REPEATED}))
    return found


# --- images ---------------------------------------------------------------------------------------


def our_augmentation(workload: Workload, count: int) -> Steps:
    """An epoch of minibatches of images that are cropped and mirrored."""
    batches = random_images(count).batches("train", workload.batch, 0)
    return [lambda: [batches[step] for step in range(batches.per_epoch)]]


def their_augmentation(workload: Workload, count: int) -> Steps:
    """The same by torchvision."""
    from torchvision.transforms import (
        Compose,
        Normalize,
        RandomCrop,
        RandomHorizontalFlip,
        ToPILImage,
        ToTensor,
    )

    images = random_images(count)
    crop = RandomCrop(32, padding=4)
    normalise = Normalize(images.mean, images.std)
    transform = Compose([crop, RandomHorizontalFlip(), ToTensor(), normalise])
    examples: Any = list(zip(map(ToPILImage(), images.train), images.train_labels))

    def collate(chosen: list) -> Any:
        return default_collate([(transform(image), label) for image, label in chosen])

    loader = DataLoader(examples, workload.batch, shuffle=True, collate_fn=collate)
    return [lambda: list(loader)]


# --- architectures --------------------------------------------------------------------------------


def genotypes(space: str, count: int) -> list[Any]:
    """Some of a space, at random but always the same."""
    found = spaces.get(space)
    random = Random(0)
    return [found.decode(found.sample(random)) for _ in range(count)]


def our_queries(count: int) -> Steps:
    """Cells of NAS-Bench-201, looked up."""
    table = Table()
    cells = genotypes("nasbench201", count)
    return [lambda: table(cells)]


def queries_of_a_dict(count: int) -> Steps:
    """The same, found before."""
    cells = genotypes("nasbench201", count)
    answers = dict(zip(cells, Table()(cells)))
    return [lambda: [answers[cell] for cell in cells]]


def sampling(count: int, together: int) -> Steps:
    """A controller that writes `count` architectures, so many together."""
    controller = Controller(spaces.get("nasnet"))
    random = generator(0)
    return [lambda: [controller.sample(together, random) for _ in range(count // together)]]


# --- networks -------------------------------------------------------------------------------------


def plain(network: str | Genotype, **sizes: Any) -> dict[str, Any]:
    """The names in the file of plain PyTorch that `network` is exported to."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "plain.py")
        export(network, "python", file, **sizes)
        return runpy.run_path(str(file))


def our_children(count: int, workers: int) -> Steps:
    """Cells trained for an epoch of digits, as searches do it."""
    images = data.load("digits")
    cells = genotypes("darts", count)
    how = (images, CHILD, CHILD.channels, CHILD.cells)
    # A new one each time: it remembers what it has trained.
    return [lambda: TrainChildren(*how, workers=workers)(cells)]


def plain_children(count: int) -> Steps:
    """The same as a tutorial writes it."""
    images = data.load("digits").validation_split(0.2)
    sizes = {"channels": CHILD.channels, "cells": CHILD.cells, "input": 8, "in_channels": 1}
    networks = [plain(cell, **sizes)["Network"] for cell in genotypes("darts", count)]
    batches = images.batches("train", CHILD.batch_size, 0)

    def train_one(network: Module) -> None:
        weights = list(network.parameters())
        optimizer = SGD(weights, 0.05, MOMENTUM, weight_decay=DECAY)
        for step in range(batches.per_epoch):
            pixels, labels = batches[step]
            optimizer.zero_grad()
            cross_entropy(network(pixels.contiguous()), labels).backward()
            clip_grad_norm_(weights, CLIP)
            optimizer.step()
        evaluate(network, images, "valid", threads=get_num_threads())

    def train_all() -> None:
        for network in networks:
            train_one(network())

    return [train_all]


def shared_step(workload: Workload, space: str, alone: bool) -> Steps:
    """Steps of one path of the supernet of a space, of which that path can be left `alone`."""
    images, labels = random_batch(workload)
    (genotype,) = genotypes(space, 1)
    network = shared_network(spaces.get(space), workload.channels, workload.cells, 10, 3)
    network.to(memory_format=channels_last)

    def backward(count: int) -> None:
        cross_entropy(network(images[:count], genotype), labels[:count]).backward()

    backward(2)  # of few images: their memory is no part of the step
    if alone:
        _leave_path(network)
    path = [weight for weight in network.parameters() if weight.grad is not None]
    optimizer = SGD(network.parameters(), 0.01, MOMENTUM)

    def steps() -> None:
        for _ in range(REPEATED):
            for weight in path:  # as `methods.enas` does
                weight.grad = None
            backward(workload.batch)
            optimizer.step()

    return [steps]


def _leave_path(network: Module) -> None:
    """Delete the operations whose weights the last step did not reach."""
    for operations in list(network.modules()):
        if isinstance(operations, ModuleDict):
            for name, operation in list(operations.items()):
                gradients = [weight.grad for weight in operation.parameters()]
                if gradients and all(gradient is None for gradient in gradients):
                    del operations[name]


def _trained(workload: Workload) -> TemporaryDirectory:
    """The folder of a network that has hardly begun to learn, which costs the same."""
    folder = TemporaryDirectory()
    how = replace(CHILD, channels=workload.channels, cells=workload.cells)
    few = random_images(10)
    train("darts-v2", few, recipe=how, directory=folder.name, progress=False, device="cpu")
    return folder


def our_answers(workload: Workload, count: int) -> Steps:
    """A network is loaded, and says what it takes images for."""
    folder = _trained(workload)
    model = load_model(folder.name, "cpu")
    pixels = random_images(count).train
    return [lambda: load_model(folder.name, "cpu"), lambda: model.predict(pixels, PREDICTED)]


def plain_answers(workload: Workload, count: int) -> Steps:
    """The same in plain PyTorch."""
    folder = _trained(workload)
    load = plain(folder.name)["load"]
    network = load(folder.name)
    pixels = random_images(count).train

    @no_grad()
    def predict() -> Tensor:
        batches = [network((x / 255 - 0.5) / 0.5) for x in pixels.split(PREDICTED)]
        return cat(batches).softmax(1)

    return [lambda: load(folder.name), predict]
