"""A model's answers as pictures: what it takes for what, and images that it is right and wrong
about."""

from typing import Any

import numpy as np
from numpy import ndarray
from PIL.Image import Image
from torch import Tensor

from nascore.data import Images
from nascore.errors import plain
from nascore.evaluation import Evaluation, evaluate
from nascore.files import PathName
from nascore.models import Model
from nascore.pictures import quietly, read
from nascore.show.chart import GREY, SHADES, Chart, styled

MOST_CLASSES = 40  # whose names have room beside a table
WRITTEN = 15  # classes of a table whose counts are written


class Look(Chart):
    """A chart with names of classes, in any script: a line for each glyph that its fonts lack would
    help no one, and in SVG the reader's own fonts have them."""

    @quietly()
    def savefig(self, *arguments: Any, **options: Any) -> None:
        """As any figure's, without a word of missing glyphs."""
        super().savefig(*arguments, **options)


@styled
def confusion(found: Evaluation) -> Look:
    """The table of what was taken for what: a row a class, a column what its images were taken for,
    the share of the row as its shade."""
    table = found.confusion.numpy()
    classes = found.classes
    count = len(classes)
    accuracy = f"accuracy {found.accuracy:.2%}"
    shares = table / table.sum(1, keepdims=True).clip(min=1)
    side = min(9.0, 1.5 + 0.45 * count)
    chart = Look(figsize=(side, side), layout="constrained")
    axes = chart.subplots()
    axes.imshow(shares, cmap=SHADES, vmin=0, vmax=1)
    axes.grid(False)
    axes.set(xlabel="taken for", ylabel="is", title=accuracy)
    if count <= MOST_CLASSES:
        names = list(map(_label, classes))
        axes.set_xticks(range(count), names, rotation=90 if count > 6 else 0)
        axes.set_yticks(range(count), names)
    if count <= WRITTEN:
        for i, j in np.argwhere(table):
            colour = "white" if shares[i, j] > 0.5 else "black"
            axes.text(j, i, str(table[i, j]), ha="center", va="center", color=colour, fontsize=9)
    mixed = [f"{a} taken for {b} {n} times" for a, b, n in found.mixed_up(3)]
    said = plain("; ".join(mixed)) or "nothing mixed up"
    chart.words = f"Confusion of {count} classes, {accuracy}: {said}."
    return chart


@styled
def examples(found: Evaluation, most: int = 8) -> Look:
    """Images that the model is surest about: a row of those where it is right, and one of those
    where it is wrong, each with its class, and what it was taken for."""
    sure, predicted = found.probabilities.max(1)
    classes = found.classes
    labels = found.labels
    right = predicted == labels
    chart = Look(figsize=(9.0, 3.2), layout="constrained")
    rows = chart.subplots(2, most, squeeze=False)
    words = []
    for axes, wanted, name in zip(rows, (right, ~right), ("right", "wrong")):
        order = sure.where(wanted, -1.0).argsort(descending=True, stable=True)
        count = int(wanted.sum())
        for place, k in zip(axes, order[:count].tolist()):
            title = _label(classes[labels[k]])
            if wanted is not right:
                title += f": {_label(classes[predicted[k]])}?"
            place.imshow(_shown(found.images[k]), cmap="gray")
            place.set_title(f"{title}\n{sure[k]:.2f}", fontsize=8)
        for place in axes:
            place.axis("off")
        first = axes[0]
        first.text(
            -0.1,
            0.5,
            name,
            color=GREY,
            transform=first.transAxes,
            rotation=90,
            va="center",
            ha="right",
        )
        words.append(f"{count} {name}")
    chart.words = f"Images the model is surest about: {', '.join(words)}."
    return chart


def _label(name: str) -> str:
    """A class's name as matplotlib writes it: no formula between two dollars."""
    return plain(name).replace("$", r"\$")


def _shown(image: str | Tensor) -> ndarray | Image:
    if isinstance(image, Tensor):
        return image.permute(1, 2, 0).numpy()
    with quietly():
        return read(image)


def look(model: Model, data: PathName | Images = "digits") -> Evaluation:
    """Test `model`, and in a notebook show what it takes for what and examples of both."""
    from IPython.display import display

    found = evaluate(model, data)
    display(confusion(found), examples(found))
    return found
