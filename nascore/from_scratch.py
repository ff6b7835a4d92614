"""Train the network of a genotype from scratch: what `nascore train` does."""

import datetime
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic

from torch import channels_last

from nascore import data as sets
from nascore import formats, training
from nascore import memory as memory_of
from nascore.data import Images, choose_device
from nascore.errors import require, whole
from nascore.files import PathName, write_json
from nascore.genotypes import Genotype, as_dict
from nascore.loop import Progress, drive, memory_errors
from nascore.models import SIZES, Model, Preprocessing, network_to_fill
from nascore.nets.convolutional import Network
from nascore.nets.measure import parameters
from nascore.nets.sizes import Sizes, home
from nascore.record import directory_named, require_free
from nascore.seeding import seeded
from nascore.threads import one_thread
from nascore.training import Recipe, Training, recipe_named


@dataclass(frozen=True)
class Trained:
    """What `train` made: `accuracy` and `loss` (nats) on the test images. `finished` is False, and
    there is no accuracy, where it was stopped before its epochs were over."""

    model: Model
    accuracy: float | None
    loss: float | None
    history: list[dict]
    steps: int
    seconds: float
    directory: Path | None
    finished: bool


def train(
    genotype: PathName | Genotype,
    data: PathName | Images = "digits",
    *,
    recipe: str | Recipe = "small",
    skeleton: str | None = None,
    auxiliary: bool = True,
    seed: int = 0,
    directory: PathName | None = None,
    resume: bool = False,
    device: str = "auto",
    progress: bool | Callable[[Progress], None] = True,
    stop: Callable[[], bool] | None = None,
    checkpoint_seconds: float = 30.0,
    threads: int | None = None,
    graphs: str = "auto",
    memory: str | int | None = None,
    image_size: int | None = None,
    flip: bool | None = None,
    **fields,
) -> Trained:
    """Train the network of `genotype` (whatever `formats.read` takes) from scratch and test it.

    `recipe` is a name or a `Recipe`, and `fields` replace some of its; without `auxiliary` its
    auxiliary head is left out. With a `directory` the training can be stopped and resumed, and the
    model is saved there. The rest is as in `search.run`. Raises `UserError`.
    """
    whole("seed", seed, 0, 2**32 - 1)
    value = formats.read(genotype)
    at_home = home(genotype, skeleton, **{name: fields.get(name) for name in ("channels", "cells")})
    recipe = recipe_named(recipe, **fields)
    if not auxiliary:
        recipe = replace(recipe, auxiliary_weight=0.0)
    out = directory_named(directory)
    if out and not resume:
        require_free(out)
    images = sets.load(data, choose_device(device), image_size=image_size, flip=flip)
    sizes = replace(
        at_home,
        channels=recipe.channels,
        cells=recipe.cells,
        classes=images.outputs,
        in_channels=images.channels,
        auxiliary=recipe.auxiliary_weight > 0,
    )
    again = False
    if memory is not None:
        require(graphs != "on", "--graphs", graphs, "auto or off, beside --memory")
        recipe, again = _fitting(value, sizes, images, recipe, seed, memory)
    config = {
        "command": "train",
        "genotype": as_dict(value),
        "data": images.fingerprint(),
        "seed": seed,
        "recipe": asdict(recipe),
        "skeleton": sizes.skeleton,
    }
    with memory_errors(), one_thread():
        images.some("test")  # for the end
        with seeded(seed, "network"):
            network = Network.of(value, sizes)
        network.check(images.shape)
        loop = Training(network, images, recipe, seed)
        if again:
            loop.recompute()
        began = monotonic()
        drive(
            loop,
            directory=out,
            config=config,
            resume=resume,
            progress=progress,
            stop=stop,
            checkpoint_seconds=checkpoint_seconds,
            threads=threads,
            graphs=graphs,
            defaults=training.DEFAULTS,
        )
        together = 500 if memory is None else recipe.batch_size
        return _tested(loop, _model(loop, images, sizes), out, monotonic() - began, together)


def _fitting(
    value: Genotype, sizes: Sizes, images: Images, recipe: Recipe, seed: int, limit: str | int
) -> tuple[Recipe, bool]:
    """The recipe with a minibatch that fits, and whether cells are computed again."""

    def make(batch: int) -> Training:
        network = Network.of(value, sizes)
        return Training(network, images, replace(recipe, batch_size=batch), seed)

    with one_thread(), seeded(seed, "network"):
        batch, again = memory_of.fitting(
            limit, recipe.batch_size, make, images.nbytes, images.device
        )
    return replace(recipe, batch_size=batch), again


def _tested(
    loop: Training, model: Model, out: Path | None, seconds: float, together: int
) -> Trained:
    """The end of a training: test the model, so many images together, and save it, if all its
    epochs are over."""
    trained = Trained(model, None, None, loop.history, loop.steps, seconds, out, loop.done)
    if not trained.finished:
        return trained
    loss, accuracy = training.evaluate(
        loop.network, loop.task, batch_size=together, threads=loop.threads
    )
    model.about["accuracy"] = accuracy
    if out:
        model.save(out)
        counted = parameters(loop.network)
        found = {"test_accuracy": accuracy, "test_loss": loss, "parameters": counted}
        write_json(out / "result.json", found)
    return replace(trained, accuracy=accuracy, loss=loss)


def _model(loop: Training, images: Images, sizes: Sizes) -> Model:
    """The network of a training, as it is now, without the auxiliary head, which only learns."""
    network = network_to_fill(loop.network.genotype, replace(sizes, auxiliary=False))
    network.load_state_dict(loop.network.state_dict(), strict=False)  # less the auxiliary head's
    network.to(loop.device).to(memory_format=channels_last)
    about = {
        "network": {name: getattr(sizes, name) for name in SIZES},
        "recipe": asdict(loop.recipe),
        "seed": loop.seed,
        "data": images.fingerprint(),
        "date": datetime.date.today().isoformat(),
    }
    return Model(network, images.classes, Preprocessing.of(images), about)
