"""Images by name, from a folder, or as they are: what `--data` may be."""

import os
from dataclasses import replace
from os.path import isdir
from pathlib import Path
from re import fullmatch

import numpy as np
import platformdirs
import torch
from PIL import Image
from torch import Tensor, as_tensor, empty, from_numpy, uint8
from torch import device as Device

from nascore import folders, pictures
from nascore.errors import UserError, reason, require, whole
from nascore.files import PathName
from nascore.images import Images
from nascore.loop import memory_errors
from nascore.threads import one_thread

__all__ = ["Images", "choose_device", "load"]

Statistics = tuple[tuple[float, ...], tuple[float, ...]]  # mean and standard deviation a channel
# Of CIFAR-10 to the digits of the DARTS code; other sets are measured when they are loaded.
STATISTICS: dict[str, Statistics] = {
    "cifar10": (
        (0.49139968, 0.48215827, 0.44653124),
        (0.24703233, 0.24348505, 0.26158768),
    )
}


# --- devices --------------------------------------------------------------------------------------


def choose_device(name: str | Device) -> Device:
    """`auto` is a GPU where there is one. Raises `UserError` for a device that is not there."""
    name = str(name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    known = fullmatch(r"(cpu|cuda)(:\d{1,2})?", name)
    require(known, "device", name, "auto, cpu, cuda")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(
            "device 'cuda' was asked for and PyTorch sees no GPU here; allowed: auto, cpu"
        )
    return Device(name)


# --- loading --------------------------------------------------------------------------------------


@one_thread()
def load(
    name: "PathName | Images",
    device: Device | str = "cpu",
    *,
    image_size: int | None = None,
    flip: bool | None = None,
    quiet: bool = False,
) -> Images:
    """`digits` (inside the package), a torchvision set by name (downloaded once), a folder of
    images (`folders` says how it is laid out), or `Images`, as they are or `image_size` pixels
    large. `flip` says whether a mirrored image is one of its class (by default only digits are
    not); with `quiet` nothing is said of how a folder was read. Raises `UserError`, one line, for
    what cannot be loaded."""
    if image_size is not None:
        whole("--image-size", image_size, 4, 512)
    require(flip is None or isinstance(flip, bool), "flip", flip, "true or false")
    match name:
        case Images():
            images = _resized(name, image_size)
        case str("digits"):
            images = _resized(_digits(), image_size)
        case str() if name in TORCHVISION:
            images = _resized(_torchvision(name), image_size)
        case _:
            images = _folder(name, image_size, quiet)
    if flip is not None:
        images = replace(images, flip=flip)
    return images.to(device)


def _folder(name: PathName, image_size: int | None, quiet: bool) -> Images:
    if name == "nasbench201":
        allowed = "digits, a torchvision set or a folder"
        raise UserError(f"'nasbench201' is a table, not images; allowed here: {allowed}")
    good = isinstance(name, str | Path) and isdir(name)
    require(good, "data", str(name), f"{', '.join(NAMES)}, or a folder: {folders.LAYOUT}")
    with memory_errors("--image-size"):
        listing, arrays = folders.load(Path(name), image_size, quiet)
    parts = {part: (from_numpy(array), listing.labels(part)) for part, array in arrays.items()}
    valid, valid_labels = parts.get("valid", (None, None))
    images = _images(str(name), parts["train"], parts["test"], listing.classes, flip=True)
    return replace(images, valid=valid, valid_labels=valid_labels)


def _resized(images: Images, side: int | None) -> Images:
    if side is None or images.train.shape[2:] == (side, side):
        return images
    with memory_errors("--image-size"):
        fitted = images.mapped(lambda held: _fitted(held, side))
        return replace(fitted, padding=side // 8)


def _fitted(batch: Tensor, side: int) -> Tensor:
    """Each channel as a grey picture, since a user's own images may have any number of them;
    labels as they are."""
    if batch.dim() == 1:
        return batch
    fitted = empty(*batch.shape[:2], side, side, dtype=uint8)
    planes = batch.flatten(0, 1).numpy(force=True)
    for plane, place in zip(planes, fitted.flatten(0, 1).numpy()):
        place[:] = pictures.fit(Image.fromarray(plane), side, side)
    return fitted


def _images(
    name: str,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    classes: tuple[str, ...],
    flip: bool,
    statistics: Statistics | None = None,
) -> Images:
    """Images and labels of two parts, with their mean and standard deviation a channel: where none
    are given, of the first 5,000 of the training images, or of as many as are 50 million
    numbers."""
    padding = train[0].shape[-1] // 8
    mean, std = statistics or _statistics(train[0])
    return Images(name, *train, *test, classes, mean, std, padding, flip)


def _statistics(images: Tensor) -> Statistics:
    kept = min(5000, 1 + 50_000_000 // images[0].numel())
    pixels = images[:kept].double() / 255
    std = pixels.std((0, 2, 3)).clamp(min=1e-3)  # a constant channel would divide by 0
    return tuple(pixels.mean((0, 2, 3)).tolist()), tuple(std.tolist())


def _digits() -> Images:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)  # 1,797 scans of 8 x 8, values 0 to 16
    pixels = (pixels.reshape(-1, 1, 8, 8) * (255 / 16)).round().astype(np.uint8)
    parts = train_test_split(pixels, labels, test_size=360, stratify=labels, random_state=0)
    train, test, train_labels, test_labels = map(from_numpy, parts)
    classes = tuple("0123456789")
    return _images("digits", (train, train_labels), (test, test_labels), classes, flip=False)


# name -> (class in torchvision.datasets, keyword of the two parts, may be mirrored)
TORCHVISION: dict[str, tuple[str, tuple[dict, dict], bool]] = {
    "cifar10": ("CIFAR10", ({"train": True}, {"train": False}), True),
    "cifar100": ("CIFAR100", ({"train": True}, {"train": False}), True),
    "svhn": ("SVHN", ({"split": "train"}, {"split": "test"}), False),
    "fashion-mnist": ("FashionMNIST", ({"train": True}, {"train": False}), True),
}
NAMES = ("digits", *TORCHVISION)


def _torchvision(name: str) -> Images:
    import torchvision

    cls, parts, flip = TORCHVISION[name]
    root = Path(os.environ.get("NASCORE_DATA") or platformdirs.user_cache_path("nascore")) / name
    try:
        sets = [getattr(torchvision.datasets, cls)(root, download=True, **part) for part in parts]
    except (OSError, RuntimeError) as error:
        said = reason(error)[:100]
        again = "try again, or give --data FOLDER"
        raise UserError(f"cannot download {name} to {root} ({said}); {again}") from None
    train, test = map(_tensors, sets)
    classes = tuple(map(str, getattr(sets[0], "classes", range(10))))
    return _images(name, train, test, classes, flip, STATISTICS.get(name))


def _tensors(part) -> tuple[Tensor, Tensor]:
    """The images, channels first, and labels of a set of torchvision's."""
    pixels = as_tensor(part.data)
    if pixels.dim() == 3:  # grey
        pixels = pixels.unsqueeze(1)
    elif pixels.shape[-1] == 3:
        pixels = pixels.permute(0, 3, 1, 2)
    labels = part.targets if hasattr(part, "targets") else part.labels  # as SVHN calls them
    return pixels.contiguous(), as_tensor(labels).long()
