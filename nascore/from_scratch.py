"""Train the network of a genotype from scratch: what `nascore train` does."""

import dataclasses
import datetime
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from nascore import data as sets
from nascore import formats, genotypes, training
from nascore.data import Images, choose_device
from nascore.errors import whole
from nascore.files import write_json
from nascore.genotypes import Genotype
from nascore.loop import Progress, drive, memory_errors
from nascore.models import Model, Preprocessing
from nascore.nets.convolutional import Network
from nascore.nets.measure import parameters
from nascore.nets.sizes import home
from nascore.record import directory_named, require_free
from nascore.seeding import seeded
from nascore.threads import one_thread
from nascore.training import Recipe, Training, recipe_named


@dataclass(frozen=True)
class Trained:
    """What `train` made: `accuracy` and `loss` (nats) on the test images. `finished` is False, and there
    is no accuracy, where it was stopped before its epochs were over."""

    model: Model
    accuracy: float | None
    loss: float | None
    history: list[dict]
    steps: int
    seconds: float
    directory: Path | None
    finished: bool


def train(
    genotype: str | Path | Genotype,
    data: str | Path | Images = "digits",
    *,
    recipe: str | Recipe = "small",
    skeleton: str | None = None,
    auxiliary: bool = True,
    seed: int = 0,
    directory: str | Path | None = None,
    resume: bool = False,
    device: str = "auto",
    progress: bool | Callable[[Progress], None] = True,
    stop: Callable[[], bool] | None = None,
    checkpoint_seconds: float = 30.0,
    threads: int | None = None,
    image_size: int | None = None,
    flip: bool | None = None,
    **fields,
) -> Trained:
    """Train the network of `genotype` (whatever `formats.read` takes) from scratch and test it.

    `recipe` is a name or a `Recipe`, and `fields` replace some of its; without `auxiliary` its auxiliary
    head is left out. With a `directory` the training can be stopped and resumed, and the model is saved
    there. The rest is as in `search.run`. Raises `UserError`.
    """
    whole("seed", seed, 0, 2**32 - 1)
    value = formats.read(genotype)
    at_home = home(genotype, skeleton, **{name: fields.get(name) for name in ("channels", "cells")})
    recipe = recipe_named(recipe, **fields)
    if not auxiliary:
        recipe = dataclasses.replace(recipe, auxiliary_weight=0.0)
    out = directory_named(directory)
    if out and not resume:
        require_free(out)
    images = sets.load(data, choose_device(device), image_size=image_size, flip=flip)
    how = {"resume": resume, "progress": progress, "stop": stop, "threads": threads}
    how["checkpoint_seconds"] = checkpoint_seconds
    with memory_errors(), one_thread():
        return _trained(value, at_home.skeleton, images, recipe, seed, out, how)


def _trained(
    genotype: Genotype,
    skeleton: str,
    images: Images,
    recipe: Recipe,
    seed: int,
    out: Path | None,
    how: dict,
) -> Trained:
    """What `train` does, once what it was asked for is known to be there."""
    loop = Training(_network(genotype, images, recipe, skeleton, seed), images, recipe, seed)
    config = {"command": "train", "genotype": json.loads(genotypes.to_json(genotype))}
    config |= {"data": images.fingerprint(), "seed": seed}
    config |= {"recipe": dataclasses.asdict(recipe), "skeleton": skeleton}
    began = time.monotonic()
    finished = drive(loop, directory=out, config=config, defaults=training.DEFAULTS, **how)
    seconds = time.monotonic() - began
    model, loss, accuracy = _model(loop, skeleton), None, None
    if finished:
        loss, accuracy = training.evaluate(loop.network, images, threads=loop.threads)
        model.about["accuracy"] = accuracy
    if finished and out:
        model.save(out)
        counted = {"parameters": parameters(loop.network)}
        write_json(out / "result.json", {"test_accuracy": accuracy, "test_loss": loss, **counted})
    return Trained(model, accuracy, loss, loop.history, loop.steps, seconds, out, finished)


def _network(
    genotype: Genotype, images: Images, recipe: Recipe, skeleton: str, seed: int
) -> Network:
    with seeded(seed, "network"):
        network = Network(
            genotype,
            channels=recipe.channels,
            cells=recipe.cells,
            classes=len(images.classes),
            in_channels=images.channels,
            skeleton=skeleton,
            auxiliary=recipe.auxiliary_weight > 0,
        )
    network.check(images.train.shape)
    return network


def _model(loop: Training, skeleton: str) -> Model:
    """The network of a training, as it is now, without the auxiliary head, which only learns."""
    images, recipe = loop.images, loop.recipe
    sizes = {
        "skeleton": skeleton,
        "stem": "cifar",
        "channels": recipe.channels,
        "cells": recipe.cells,
        "classes": len(images.classes),
        "in_channels": images.channels,
    }
    with torch.random.fork_rng(devices=[]):  # what is drawn here is no one's business
        network = Network(loop.network.genotype, **sizes)
    state = loop.network.state_dict().items()
    kept = {name: x for name, x in state if not name.startswith("auxiliary.")}
    network.load_state_dict(kept)
    network.to(loop.device, memory_format=torch.channels_last)
    about = {"network": sizes, "recipe": dataclasses.asdict(recipe), "seed": loop.seed}
    about |= {"data": images.fingerprint(), "date": datetime.date.today().isoformat()}
    return Model(network, images.classes, Preprocessing.of(images), about)
