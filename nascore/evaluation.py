"""How good a model is: its answers for images whose class is known, and what it takes for what."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nascore import data as sets
from nascore import folders
from nascore.data import Images
from nascore.errors import require
from nascore.models import Model


@dataclass(frozen=True)
class Evaluation:
    """A model's answers for images whose class is known: `images` (files, or a tensor), `labels` (N,)
    and `probabilities` (N, classes)."""

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
        return (self.predicted == self.labels).double().mean().item()

    @property
    def confusion(self) -> Tensor:
        """(classes, classes): how many images of the class of a row were taken for that of a column."""
        count = len(self.classes)
        cells = self.labels * count + self.predicted
        return cells.bincount(minlength=count**2).view(count, count)

    def mixed_up(self, most: int = 5) -> list[tuple[str, str, int]]:
        """(class, taken for, how often), the most frequent first."""
        table = self.confusion.clone()
        table.fill_diagonal_(0)
        order = table.flatten().argsort(descending=True, stable=True)[:most].tolist()
        pairs = [(*divmod(at, len(self.classes)), table.flatten()[at].item()) for at in order]
        return [(self.classes[i], self.classes[j], times) for i, j, times in pairs if times]


def evaluate(
    model: Model, data: str | Path | Images = "digits", batch_size: int = 100
) -> Evaluation:
    """Ask `model` about the test images of `data`, a name, `Images`, or a folder whose classes are the
    model's: of a folder without a part for tests all images, but for those that the model was trained
    on. Raises `UserError`."""
    images, labels = _to_test(model, data)
    probabilities = model.predict(images, batch_size)
    return Evaluation(model.classes, images, labels, probabilities)


def _to_test(model: Model, data: str | Path | Images) -> tuple[Sequence[str] | Tensor, Tensor]:
    view = model.preprocessing
    is_folder = isinstance(data, str | Path) and os.path.isdir(data)
    if is_folder and data not in sets.NAMES:
        files, whole_folder = folders.to_test(Path(data), model.classes)
        if not whole_folder or not _trained_on(model, data, len(files)):
            return [file.path for file in files], torch.tensor([file.label for file in files])
    side = view.height if view.height == view.width else None
    known = isinstance(data, Images)
    images = sets.load(data, image_size=None if known else side)
    for name in images.classes:
        require(
            name in model.classes, "class", name, f"those of the model: {', '.join(model.classes)}"
        )
    place = torch.tensor([model.classes.index(name) for name in images.classes])
    return images.test.cpu(), place[images.test_labels.cpu()]


def _trained_on(model: Model, folder: str | Path, count: int) -> bool:
    """Whether `folder` holds the very images that the model was trained and tested on."""
    before = model.about.get("data")
    counts = [before.get(part) for part in ("train", "test")] if isinstance(before, dict) else []
    if not all(isinstance(n, int) for n in counts) or count != sum(counts):
        return False
    images = sets.load(folder, image_size=model.preprocessing.height)
    return images.fingerprint()["content"] == before.get("content")
