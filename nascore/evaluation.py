"""How good a model is: its answers for images whose class is known, and what it takes for what."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from os.path import isdir, realpath
from pathlib import Path

from torch import Tensor, tensor

from nascore import data as sets
from nascore import folders, models
from nascore.data import Images
from nascore.errors import require, say
from nascore.files import PathName
from nascore.models import Model


@dataclass(frozen=True)
class Evaluation:
    """A model's answers for images whose class is known: `images` (files, or a tensor), `labels`
    (N,) and `probabilities` (N, classes)."""

    classes: tuple[str, ...]
    images: Sequence[str] | Tensor
    labels: Tensor
    probabilities: Tensor

    @property
    def predicted(self) -> Tensor:
        """(N,) the most probable class of each image."""
        return self.probabilities.argmax(1)

    @property
    def accuracy(self) -> float:
        """The share of the images whose class was the most probable one."""
        return (self.predicted == self.labels).double().mean().item()

    @property
    def confusion(self) -> Tensor:
        """(classes, classes): how many images of the class of a row were taken for that of a
        column."""
        count = len(self.classes)
        cells = self.labels * count + self.predicted
        return cells.bincount(minlength=count**2).view(count, count)

    def mixed_up(self, most: int = 5) -> list[tuple[str, str, int]]:
        """(class, taken for, how often), the most frequent first."""
        table = self.confusion.tolist()
        found = [
            (name, taken_for, times)
            for name, row in zip(self.classes, table)
            for taken_for, times in zip(self.classes, row)
            if times and name != taken_for
        ]
        return sorted(found, key=itemgetter(2), reverse=True)[:most]


def evaluate(
    model: Model | PathName, data: PathName | Images = "digits", batch_size: int = 100
) -> Evaluation:
    """Ask `model`, or the one in a folder, about the test images of `data`, a name, `Images`, or a
    folder whose classes are the model's: of one without a part for tests all images, or if they are
    those of the training, the ones that were held out. Raises `UserError`."""
    model = model if isinstance(model, Model) else models.load(model)
    images, labels = _to_test(model, data)
    probabilities = model.predict(images, batch_size)
    return Evaluation(model.classes, images, labels, probabilities)


def _to_test(model: Model, data: PathName | Images) -> tuple[Sequence[str] | Tensor, Tensor]:
    """The test images, in files or a tensor, and their labels as the model counts its classes."""
    known = model.classes
    if isinstance(data, str | Path) and data not in sets.NAMES and isdir(data):
        files, whole_folder = folders.to_test(Path(data), known)
        images = _trained_on(model, data, len(files)) if whole_folder else None
        if images is None:
            return [file.path for file in files], tensor([file.label for file in files])
    else:
        view = model.preprocessing
        square = view.height == view.width and not isinstance(data, Images)
        images = sets.load(data, image_size=view.height if square else None)
    for name in images.classes:
        require(name in known, "class", name, f"those of the model: {', '.join(known)}")
    tests, labels = images.some("test")
    place = tensor([known.index(name) for name in images.classes])
    return tests, place[labels]


def _trained_on(model: Model, folder: PathName, count: int) -> Images | None:
    """What `folder` holds, if that is the very images that the model was trained and tested on."""
    before = model.about.get("data")
    if not isinstance(before, dict):
        return None
    match before:
        case {"train": int(trained), "test": int(tested)} if trained + tested == count:
            images = sets.load(folder, image_size=model.preprocessing.height, quiet=True)
            if images.fingerprint()["content"] == before.get("content"):
                held_out = f"only the {tested} that were held out are tested"
                say(f"{folder} holds the images that the model was trained on: {held_out}")
                return images
    name = before.get("name")
    place = realpath(folder)
    whole, part = os.path.split(place)
    its_part = name == whole and part.lower() in folders.PARTS["train"]
    if its_part or name == place:
        doubt = f"all {count} are tested, some of which it may have been trained on"
        say(f"{folder} is where the model's training images were: {doubt}")
    return None
