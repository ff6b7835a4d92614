"""A folder of the user's own images: what is in it, which part is what, and what they show.

    FOLDER/train/CLASS/*.jpg, FOLDER/test/CLASS/*.jpg, and FOLDER/val/CLASS/*.jpg if you like
    FOLDER/CLASS/*.jpg: of each class four fifths are trained on, the rest is the test

Sub-folders of a class belong to it. Nothing is left out in silence, but for what a Mac, Windows or
an archive puts beside the images: hidden files and folders, empty files.
"""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from os.path import join, splitext
from pathlib import Path
from re import split
from stat import S_ISREG
from typing import NamedTuple, NoReturn

import numpy as np
import torch
from numpy import ndarray
from PIL.Image import Image
from torch import Tensor

from nascore import cache
from nascore.errors import UserError, refuse, require, say
from nascore.files import digest
from nascore.pictures import SUFFIXES, fit, quietly, read
from nascore.seeding import generator

LAYOUT = "FOLDER/train/CLASS/*.jpg and FOLDER/test/CLASS/*.jpg, or FOLDER/CLASS/*.jpg"
PARTS = {
    "train": ("train", "training"),
    "valid": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
JUNK = ("__MACOSX", "Thumbs.db", "desktop.ini", "Icon\r")
# What differs where a file was changed, or is another one of that name.
STAMPED = attrgetter("st_size", "st_mtime_ns", "st_ctime_ns", "st_ino", "st_dev")
EMPTY = (0,)  # the stamp of an empty file
SIDE = 32  # pixels, of images that are not alike
Stamp = tuple[int, ...]
Found = tuple[str, Stamp]  # an image's path, and what tells whether it is the same as before
Classes = dict[str, list[Found]]
Tally = Counter[str]  # how many files are left out, by the reason
Tell = Callable[[str], None]  # what is done with a line that the user should read


class File(NamedTuple):
    """An image; `stamp` tells whether it is still the same."""

    path: str
    stamp: Stamp
    label: int


Files = dict[str, list[File]]  # by the name of the part


@dataclass(frozen=True)
class Listing:
    """What a folder holds: its classes, in natural order, and the images of each part."""

    folder: Path
    classes: tuple[str, ...]
    parts: Files

    def stamp(self) -> str:
        """Of the names, sizes, times and places on the disk of all images."""
        start = len(str(self.folder))  # however the folder was named
        rows = [
            (part, path[start:], stamp, label)
            for part, files in self.parts.items()
            for path, stamp, label in files
        ]
        return digest(repr((self.classes, rows)))

    def labels(self, part: str) -> Tensor:
        """(N,) int64, in the order of the images."""
        return torch.tensor([file.label for file in self.parts[part]])


def load(folder: Path, side: int | None = None, quiet: bool = False) -> tuple[Listing, cache.Parts]:
    """What there is in `folder`, and the images of each part, uint8 (N, 3, H, W), from the cache
    where they did not change; `side` pixels large, or as they are, if they are alike. What is left
    out, split or resized is said, unless `quiet`. Raises `UserError`, one line."""
    tell = _nobody if quiet else say
    listing = listing_of(folder, tell)
    stamp = listing.stamp()
    kept = cache.file_of(folder, side)
    images = cache.load(kept, stamp, {part: len(files) for part, files in listing.parts.items()})
    if images is None:
        images = _read(listing, side, tell)
        cache.store(kept, stamp, images, tell)
    return listing, images


def _nobody(line: str) -> None:
    """Whom a line is told that was said before."""


# --- what there is --------------------------------------------------------------------------------


@contextmanager
def _listing(folder: str | Path, tell: Tell = say) -> Iterator[Tally]:
    """What is left out is counted in the block, and told after it."""
    left_out = Tally()
    try:
        yield left_out
    except OSError as error:
        raise UserError(f"{error.filename or folder}: {error.strerror}") from None
    count = left_out.total()
    if count:
        files = f"{count} files" if count > 1 else "1 file"
        reasons = _reasons(left_out)
        tell(f"{folder}: {files} left out: {reasons}; read are {' '.join(SUFFIXES)}")


def natural(name: str) -> tuple[list, str]:
    """A key that puts 2 before 10, and 02 beside 2."""
    parts: list = split(r"([0-9]+)", name)  # at every other place digits
    parts[1::2] = map(int, parts[1::2])
    return parts, name


def listing_of(folder: Path, tell: Tell = say) -> Listing:
    """List the images of `folder`. Raises `UserError` for a layout that is none of those above."""
    with _listing(folder, tell) as left_out:
        places = _parts(folder)
        found = {part: _classes(place, left_out) for part, place in places.items()}
        classes = tuple(found["train"])
        several = len(classes) > 1
        require(several, f"classes in {places['train']}", classes, f"at least 2 ({LAYOUT})")
        known = "those in train/"
        parts = {part: _labelled(found[part], places[part], classes, known) for part in places}
        if places == {"train": folder}:
            parts = _split(folder, parts["train"], tell)
        else:
            _count_beside(folder, places.values(), left_out)
    # Files lie class by class; every later split is a cut, so the order is made random here.
    train = parts["train"]
    parts["train"] = _shuffled(train, "folder", len(train))
    return Listing(folder, classes, parts)


def _labelled(found: Classes, part: Path, classes: Sequence[str], known: str) -> list[File]:
    """The images of a part, each with the place of its class among `classes`, which are `known`."""
    files = []
    for name, images in found.items():
        require(name in classes, f"class in {part}", name, f"{known}: {', '.join(classes)}")
        label = classes.index(name)
        files += [File(path, stamp, label) for path, stamp in images]
    return files


def _reasons(left_out: Tally) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in left_out.most_common() if count)


def to_test(folder: Path, classes: Sequence[str]) -> tuple[list[File], bool]:
    """The images of the test part of `folder`, whose classes are some of `classes`; and whether
    those are all that it holds, since it has no parts. Raises `UserError`, one line."""
    with _listing(folder) as left_out:
        part = _parts(folder, ["test"]).get("test", folder)
        files = _labelled(_classes(part, left_out), part, classes, "the model's")
    return files, part == folder


def images_in(folder: str) -> list[str]:
    """The images in `folder` and its sub-folders, in natural order, readable or not. Raises
    `UserError` for a folder that cannot be listed."""
    with _listing(folder) as left_out:
        found = [path for path, _ in _images(folder, left_out)]
    return sorted(found, key=natural)


def _parts(folder: Path, needed: Sequence[str] = ("train", "test")) -> dict[str, Path]:
    """The folders of train, valid and test images; that of train is `folder` itself where the
    classes lie there. What is for validation is the test where there is no other."""
    places: dict[str, Path] = {}
    inside = _folders(folder)
    for part, names in PARTS.items():
        found = [name for name in inside if name.lower() in names]
        require(len(found) < 2, f"the {part} part of {folder}", found, "one of them")
        if found:
            places[part] = folder / found[0]
    if len(places) < 2 and not any(map(_folders, places.values())):  # none, or a class named so
        return {"train": folder}
    if "test" not in places and "valid" in places:
        places["test"] = places.pop("valid")
    if not set(needed) <= places.keys():
        alone = ", ".join(f"{place.name}/" for place in places.values())
        raise UserError(f"{folder}: found {alone} alone, allowed: {LAYOUT}")
    return places


def _count_beside(folder: Path, parts: Collection[Path], left_out: Tally) -> None:
    """The images that lie in no part."""
    _, names, files = next(_walk(folder))
    left_out["beside train/ and test/"] += sum(map(_is_image, files))
    for name in names:
        if folder / name not in parts:
            for _, _, files in os.walk(folder / name):
                left_out[f"in {name}/"] += sum(map(_is_image, files))


def _folders(place: Path) -> list[str]:
    _, names, _ = next(_walk(place))
    return names


def _walk(folder: str | Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each folder, by links too, with the names of the folders, in natural order, and of the files
    in it, but for what a system puts there, and for links that lead in a circle."""
    for place, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
        entered = [
            name for name in folders if not _junk(name) and not _leads_back(Path(place, name))
        ]
        folders[:] = sorted(entered, key=natural)
        yield place, folders, [name for name in files if not _junk(name)]


def _raise(error: OSError) -> NoReturn:
    raise error


def _leads_back(folder: Path) -> bool:
    """Whether it is one of those that it lies in."""
    return any(map(folder.samefile, folder.absolute().parents))


def _junk(name: str) -> bool:
    return name.startswith(".") or name in JUNK


def _is_image(name: str) -> bool:
    """By its name; what is in it, is seen when it is read."""
    return name.lower().endswith(SUFFIXES) and not _junk(name)


def _classes(part: Path, left_out: Tally) -> Classes:
    """The images of each class."""
    _, names, files = next(_walk(part))
    if not names:
        raise UserError(f"{part} holds no folder of a class, allowed: {LAYOUT}")
    left_out["beside the classes"] += sum(map(_is_image, files))
    classes = {}
    for name in names:
        others = Tally()
        images = sorted(_images(part / name, others))
        if not images:
            but = " but " * bool(others) + _reasons(others)
            refuse(f"{part / name}", f"no images{but}", SUFFIXES)
        left_out.update(others)
        classes[name] = images
    return classes


def _images(folder: str | Path, left_out: Tally) -> Iterator[Found]:
    for place, _, files in _walk(folder):
        for name in files:
            path = join(place, name)
            suffix = splitext(name)[1].lower()
            if suffix not in SUFFIXES:
                left_out[suffix or "without a suffix"] += 1
            elif (stamp := _stamp(path)) != EMPTY:
                yield path, stamp


def _stamp(path: str) -> Stamp:
    """Of a file, or of that which a link points to; none of what is no file, which says so when it
    is read."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    if not S_ISREG(found.st_mode):
        return ()
    return STAMPED(found) if found.st_size else EMPTY


def _split(folder: Path, files: list[File], tell: Tell) -> Files:
    """Four fifths of each class to train on, the rest to test on, whatever the seed of a run."""
    train: list[File] = []
    test: list[File] = []
    for label, of_class in groupby(files, attrgetter("label")):
        order = _shuffled(list(of_class), "split", label)
        count = len(order)
        require(count > 1, f"images of class {label} in {folder}", count, "at least 2")
        fifth = max(1, round(count / 5))
        test += order[:fifth]
        train += order[fifth:]
    share = f"{len(train)} images to train on, {len(test)} to test on"
    tell(f"{folder} has no train/ and test/: of each class a fifth is the test ({share})")
    return {"train": train, "test": test}


def _shuffled(files: list[File], *place: int | str) -> list[File]:
    order = torch.randperm(len(files), generator=generator(*place))
    return [files[k] for k in order.tolist()]


# --- reading --------------------------------------------------------------------------------------


def _read(listing: Listing, side: int | None, tell: Tell) -> cache.Parts:
    parts = listing.parts
    paths = [file.path for files in parts.values() for file in files]
    left = _pictures(listing.folder, paths, side, tell)
    images = {}
    for part, files in parts.items():
        images[part], left = np.split(left, [len(files)])
    return images


def _pictures(folder: Path, paths: Sequence[str], side: int | None, tell: Tell) -> ndarray:
    """(N, 3, H, W), uint8."""

    fitted = side or SIDE

    def shown(path: str) -> tuple[tuple[int, int], Image]:
        image = read(path)
        size = image.size
        if side is not None or not taken_as_it_is(*size):  # photographs fit in memory
            image = fit(image, fitted, fitted)
        return size, image

    with quietly(), ThreadPoolExecutor() as pool:  # decoding releases Python's lock
        sizes, images = zip(*pool.map(shown, paths))
    smallest = min(sizes)
    largest = max(sizes)
    if side is None and not (smallest == largest and taken_as_it_is(*largest)):
        found = " to ".join(f"{w}x{h}" for w, h in dict.fromkeys((smallest, largest)))
        how = f"resized to {SIDE}x{SIDE} (the shorter side, then the centre)"
        which = "images of one size, square, a multiple of 4 and at most 256 are taken as they are"
        other = "--image-size chooses another"
        tell(f"{folder} has images of {found} pixels: all are {how}; {which}, {other}")
        images = tuple(fit(image, SIDE, SIDE) for image in images)
    return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))


def taken_as_it_is(width: int, height: int) -> bool:
    """Whether pictures of that size, if all have it, are not resized."""
    return width == height <= 256 and width % 4 == 0
