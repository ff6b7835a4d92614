"""What is timed beside DARTS's steps: each row against the plainest other way to the same result."""

import runpy
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from nascore import data, formats, models, spaces
from nascore.bench.harness import Side
from nascore.bench.steps import Step, Workload, random_batch, random_images
from nascore.controllers import Controller
from nascore.estimators import Table, TrainChildren
from nascore.exports import export
from nascore.genotypes import Genotype
from nascore.nets.convolutional import Network
from nascore.nets.shared import shared_network
from nascore.nets.sizes import Sizes
from nascore.seeding import generator
from nascore.training import RECIPES, evaluate

CHILD = replace(RECIPES["child"], epochs=1)
SHARED = ("enas-micro", "enas-macro", "nasbench201")
PREDICTED = 100  # images in a minibatch


class Row(NamedTuple):
    """A comparison: what is compared, and in a sentence why that is fair. Shown are seconds, or
    where there is an `amount`, that over seconds. `threads` above 1 have the wall's clock."""

    title: str
    fair: str
    ours: Side
    reference: Side
    amount: float = 0
    threads: int = 1


def rows(workload: Workload, many: int = 1000, threads: int = 1) -> list[Row]:
    """All of them, at the sizes of a supernet; `many` images, queries, architectures, and a child
    for each 250."""
    children = -(-many // 250)
    found = [
        Row(
            "augmentation: images a second",
            "torchvision's RandomCrop, RandomHorizontalFlip, ToTensor and Normalize of PIL images, "
            "by a DataLoader without workers",
            Side(our_augmentation, (many, workload.batch)),
            Side(their_augmentation, (many, workload.batch)),
            many,
        ),
        Row(
            "NAS-Bench-201's table: queries a second",
            "a dict of the same answers by genotype: the least that a query can cost",
            Side(our_queries, (many,)),
            Side(queries_of_a_dict, (many,)),
            many,
        ),
        Row(
            "sampling of NASNet's cells: architectures a second",
            "the same controller, one architecture after another",
            Side(sampling, (many, many)),
            Side(sampling, (many, 1)),
            many,
        ),
    ]
    for workers in sorted({1, threads}):
        found.append(
            Row(
                f"children a minute, {workers} at once",
                "the same cells as plain PyTorch, an epoch of digits each, one after another in "
                "the obvious loop, on as many threads",
                Side(our_children, (children, workers)),
                Side(plain_children, (children,)),
                60 * children,
                workers,
            )
        )
    for name in SHARED:
        found.append(
            Row(
                f"a step with shared weights, {name}: seconds",
                "the path that is trained, alone: no other operation is in that network",
                Side(shared_step, (workload, name, False)),
                Side(shared_step, (workload, name, True)),
            )
        )
    exported = "the file that `nascore export --to python` writes: plain PyTorch, no checks"
    found += [
        Row(
            "load a network: seconds",
            exported,
            Side(our_load, (workload,)),
            Side(plain_load, (workload,)),
        ),
        Row(
            "predict: images a second",
            exported,
            Side(our_predictions, (workload, many)),
            Side(plain_predictions, (workload, many)),
            many,
        ),
    ]
    return found


# --- images ---------------------------------------------------------------------------------------


def our_augmentation(count: int, batch: int) -> list[Step]:
    """An epoch of minibatches that are cropped and mirrored."""
    batches = random_images(count).batches("train", batch, 0)
    return [lambda: [len(batches[step][1]) for step in range(batches.per_epoch)]]


class Pictures(Dataset):
    """PIL images by index, each transformed as it is asked for."""

    def __init__(self, count: int):
        from torchvision import transforms

        images = random_images(count)
        self.labels = images.train_labels.tolist()
        arrays = images.train.permute(0, 2, 3, 1).numpy()
        self.pictures = [Image.fromarray(array) for array in arrays]
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(images.mean, images.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.pictures[index]), self.labels[index]


def their_augmentation(count: int, batch: int) -> list[Step]:
    """The same by torchvision."""
    loader: DataLoader = DataLoader(Pictures(count), batch, shuffle=True)
    return [lambda: [len(labels) for _, labels in loader]]


# --- architectures --------------------------------------------------------------------------------


def genotypes(space: str, count: int) -> list[Genotype]:
    """Some of a space, at random but always the same."""
    found = spaces.get(space)
    random = Random(0)
    return [found.decode(found.sample(random)) for _ in range(count)]


def our_queries(count: int) -> list[Step]:
    """Cells of NAS-Bench-201, looked up."""
    table = Table()
    cells: Any = genotypes("nasbench201", count)
    return [lambda: table(cells)]


def queries_of_a_dict(count: int) -> list[Step]:
    """The same, found before."""
    cells: Any = genotypes("nasbench201", count)
    answers = dict(zip(cells, Table()(cells)))
    return [lambda: [answers[cell] for cell in cells]]


def sampling(count: int, together: int) -> list[Step]:
    """A controller that writes `count` architectures, so many together."""
    controller = Controller(spaces.get("nasnet"))
    random = generator(0)
    return [lambda: [controller.sample(together, random) for _ in range(count // together)]]


# --- children, and shared weights -----------------------------------------------------------------


def our_children(count: int, workers: int) -> list[Step]:
    """Children as the searches train them."""
    images = data.load("digits")
    cells = genotypes("darts", count)

    def train() -> object:
        children = TrainChildren(images, CHILD, CHILD.channels, CHILD.cells, workers=workers)
        return children(cells)  # a new one each time: it remembers what it trained

    return [train]


def plain_children(count: int) -> list[Step]:
    """The same, in the obvious loop."""
    images = data.load("digits").validation_split(0.2)
    sizes = {"channels": CHILD.channels, "cells": CHILD.cells, "input": 8, "in_channels": 1}
    networks = [plain(cell, **sizes)["Network"] for cell in genotypes("darts", count)]

    def train() -> None:
        for network in networks:
            train_plainly(network(), images)

    return [train]


def train_plainly(network: nn.Module, images: data.Images) -> None:
    """An epoch of SGD as a tutorial writes it, and the validation."""
    batches = images.batches("train", CHILD.batch_size, 0)
    rates = {"momentum": CHILD.momentum, "weight_decay": CHILD.weight_decay}
    optimizer = torch.optim.SGD(network.parameters(), CHILD.learning_rate, **rates)
    for step in range(batches.per_epoch):
        pixels, labels = batches[step]
        optimizer.zero_grad()
        F.cross_entropy(network(pixels.contiguous()), labels).backward()
        nn.utils.clip_grad_norm_(network.parameters(), CHILD.clip)
        optimizer.step()
    evaluate(network, images, "valid", threads=torch.get_num_threads())


def shared_step(workload: Workload, space: str, alone: bool) -> list[Step]:
    """A step of SGD on one path of the supernet of a space, or on it `alone`."""
    images, labels = random_batch(workload)
    (genotype,) = genotypes(space, 1)
    network = shared_network(spaces.get(space), workload.channels, workload.cells, 10, 3)
    network.to(memory_format=torch.channels_last)

    def backward() -> None:
        F.cross_entropy(network(images, genotype), labels).backward()

    if alone:
        backward()
        _keep_path(network)
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        backward()
        optimizer.step()

    return [step]


def _keep_path(network: nn.Module) -> None:
    """Delete the operations whose weights the last step did not reach."""
    for operations in list(network.modules()):
        if isinstance(operations, nn.ModuleDict):
            for name, operation in list(operations.items()):
                gradients = [weight.grad for weight in operation.parameters()]
                if gradients and all(gradient is None for gradient in gradients):
                    del operations[name]


# --- a trained network ----------------------------------------------------------------------------


def plain(network: models.Model | Genotype, **sizes: int) -> dict[str, Any]:
    """The names in the file of plain PyTorch that `network` is exported to."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "plain.py")
        export(network, "python", file, **sizes)
        return runpy.run_path(str(file))


def _model(workload: Workload) -> models.Model:
    """DARTS's network, untrained: that costs the same."""
    sizes = Sizes(channels=workload.channels, cells=workload.cells)
    network = Network.of(formats.read("darts-v2"), sizes)
    images = random_images(10)
    about = {"network": {name: getattr(sizes, name) for name in models.SIZES}}
    return models.Model(network, images.classes, models.Preprocessing.of(images), about)


def our_load(workload: Workload) -> list[Step]:
    """A folder's network."""
    folder = TemporaryDirectory()
    _model(workload).save(folder.name)
    return [lambda: models.load(folder.name, "cpu")]


def plain_load(workload: Workload) -> list[Step]:
    """The same weights into plain PyTorch."""
    folder = TemporaryDirectory()
    model = _model(workload)
    model.save(folder.name)
    names = plain(model)
    return [lambda: names["load"](folder.name)]


def our_predictions(workload: Workload, count: int) -> list[Step]:
    """Probabilities of images."""
    model = _model(workload)
    model.network.to(memory_format=torch.channels_last)  # as it is loaded
    pixels = random_images(count).train
    return [lambda: model.predict(pixels, PREDICTED)]


def plain_predictions(workload: Workload, count: int) -> list[Step]:
    """The same in plain PyTorch."""
    names = plain(_model(workload))
    network = names["Network"]().eval()
    mean, std = (torch.tensor(names[name]).view(-1, 1, 1) for name in ("MEAN", "STD"))

    pixels = random_images(count).train

    @torch.no_grad()
    def predict() -> Tensor:
        batches = pixels.split(PREDICTED)
        return torch.cat([network((x / 255 - mean) / std).softmax(1) for x in batches])

    return [predict]
