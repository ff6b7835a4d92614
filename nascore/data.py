"""Images that live on the device: load, split, and augment a whole batch at once. No worker
processes to wait for."""

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from nascore.errors import UserError, require, shorten
from nascore.loop import load_checkpoint, save_checkpoint
from nascore.seeding import generator

TENSORS = ("train", "train_labels", "test", "test_labels")
SUFFIXES = (".jpg", ".jpeg", ".png")
CACHE = ".nascore-cache.pt"
# Mean and standard deviation of CIFAR-10 to the digits of the DARTS code; other sets are measured
# when they are loaded.
CIFAR10_STATISTICS = ((0.49139968, 0.48215827, 0.44653124), (0.24703233, 0.24348505, 0.26158768))


@dataclass(frozen=True)
class Images:
    """A set of labelled images: uint8 tensors (N, C, H, W) and int64 labels (N,), all on one
    device.

    `mean` and `std` per channel are of the training images in [0, 1]; `padding` (pixels) and `flip`
    say which random crops and mirror images leave a label true.
    """

    name: str
    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    padding: int
    flip: bool

    @property
    def channels(self) -> int:
        return self.train.shape[1]

    def to(self, device: torch.device | str) -> "Images":
        return replace(self, **{name: getattr(self, name).to(device) for name in TENSORS})

    def validation_split(self, portion: float) -> "Images":
        """The training images alone, as a set whose `test` is the last `portion` of them: for a
        search, which must not see the test images. Loaders keep or make the order random, so a
        cut is a fair split."""
        least = next(n for n in count() if 2 <= round(portion * n) <= n - 2)
        if len(self.train) < least:
            found = f"{len(self.train)} training images"
            raise UserError(
                f"{self.name}: {found}, too few to hold {portion:.0%} of them out; allowed: at least {least}"
            )
        cut = len(self.train) - round(portion * len(self.train))
        parts = (
            self.train[:cut],
            self.train_labels[:cut],
            self.train[cut:],
            self.train_labels[cut:],
        )
        return replace(self, **dict(zip(TENSORS, parts)))

    def normalise(self, batch: Tensor) -> Tensor:
        """uint8 (B, C, H, W) -> float, zero mean and unit variance per channel, channels_last."""
        mean, std = (
            torch.tensor(v, device=batch.device).view(1, -1, 1, 1) for v in (self.mean, self.std)
        )
        return ((batch.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


class Batches:
    """Minibatches of the training images, indexed by the step of training: `batches[step]` is
    the same whenever it is asked for, and every `per_epoch` steps see each image once.
    `which="test"` draws them from the other half of a split. They are augmented, in DARTS's
    architecture step too, or plain, as for ENAS's rewards."""

    def __init__(
        self,
        images: Images,
        batch_size: int,
        *place: int | str,
        cutout: int = 0,
        which: str = "train",
        augment: bool = True,
    ):
        self.images, self.place, self.cutout = images, (*place, which), cutout
        pixels, self.labels = getattr(images, which), getattr(images, f"{which}_labels")
        self.padding, self.flip = (images.padding, images.flip) if augment else (0, False)
        pad = self.padding
        # Padded once, channels innermost: one gather then crops, mirrors and leaves the batch in
        # channels_last.
        self.pixels = (
            F.pad(pixels, (pad,) * 4).permute(0, 2, 3, 1).contiguous()
        )  # (N, H + 2 pad, W + 2 pad, C)
        full, rest = divmod(len(pixels), batch_size)
        self.batch_size = batch_size
        self.per_epoch = full + (rest > 1 or full == 0)  # one image alone has no batch statistics
        self._order: tuple[int, Tensor] = (-1, self.labels)  # the epoch in hand and its order

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) and labels (B,); the last batch of an epoch may be smaller."""
        epoch, position = divmod(step, self.per_epoch)
        device = self.pixels.device
        if self._order[0] != epoch:
            order = torch.randperm(
                len(self.labels), generator=generator(*self.place, "order", epoch)
            )
            self._order = (epoch, order.to(device))
        index = self._order[1][position * self.batch_size : (position + 1) * self.batch_size]
        random = generator(*self.place, "augment", step, device=device)
        batch = self.images.normalise(self.crop(index, random))
        if self.cutout:
            cut_out(batch, self.cutout, random)
        return batch, self.labels[index]

    def crop(self, index: Tensor, random: torch.Generator) -> Tensor:
        """The images `index`, each shifted at random within the padding and, where that is
        allowed, mirrored."""
        n, pad, device = len(index), self.padding, index.device
        height, width = self.images.train.shape[2:]
        top, left = torch.randint(0, 2 * pad + 1, (2, n, 1), generator=random, device=device)
        rows = top + torch.arange(height, device=device)  # (n, height)
        columns = torch.arange(width, device=device).expand(n, width)
        if self.flip:
            mirrored = torch.rand(n, 1, generator=random, device=device) < 0.5
            columns = torch.where(mirrored, width - 1 - columns, columns)
        return self.pixels[
            index[:, None, None], rows[:, :, None], (left + columns)[:, None]
        ].permute(0, 3, 1, 2)


def cut_out(batch: Tensor, length: int, random: torch.Generator) -> None:
    """Cutout (DeVries and Taylor 2017), in place: a square of `length` pixels, its centre
    uniform over the image and clipped at the border, set to 0 after normalisation."""
    n, _, height, width = batch.shape
    for_each = {"generator": random, "device": batch.device}
    y, x = torch.randint(0, height, (n, 1), **for_each), torch.randint(0, width, (n, 1), **for_each)
    rows, columns = (
        torch.arange(height, device=batch.device),
        torch.arange(width, device=batch.device),
    )
    inside_y = (rows >= y - length // 2) & (rows < y + length // 2)  # (n, height)
    inside_x = (columns >= x - length // 2) & (columns < x + length // 2)
    batch.masked_fill_((inside_y[:, :, None] & inside_x[:, None, :])[:, None], 0.0)


# --- loading --------------------------------------------------------------------------------------


def load(name: str | Path, device: torch.device | str = "cpu") -> Images:
    """`digits` (inside the package), a torchvision set by name (downloaded once), or a folder of
    images (`train/CLASS/*.jpg|png`, `test/CLASS/*`). Raises `UserError`, one line, for what
    cannot be loaded."""
    if name == "digits":
        return _digits().to(device)
    if name in TORCHVISION:
        return _torchvision(str(name)).to(device)
    if name == "nasbench201":
        raise UserError(
            "'nasbench201' is a table, not images; allowed here: digits, a torchvision set or a folder"
        )
    if not Path(name).is_dir():
        allowed = ", ".join(("digits", *TORCHVISION))
        raise UserError(
            f"unknown data {shorten(str(name))}; allowed: {allowed}, or a folder with train/CLASS/ and test/CLASS/"
        )
    return _folder(Path(name)).to(device)


def _images(
    name: str, tensors: Sequence[Tensor], classes: tuple[str, ...], flip: bool, statistics=None
) -> Images:
    """Images whose `statistics`, where none are given, are those of the first 5,000 of them."""
    if statistics is None:
        pixels = tensors[0][:5000].double() / 255
        std = pixels.std((0, 2, 3)).clamp(min=1e-3)  # a constant channel would divide by 0
        statistics = (tuple(pixels.mean((0, 2, 3)).tolist()), tuple(std.tolist()))
    return Images(
        name, *tensors, classes, *statistics, padding=tensors[0].shape[-1] // 8, flip=flip
    )


def _digits() -> Images:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)  # 1,797 scans of 8 x 8, values 0 to 16
    pixels = (pixels.reshape(-1, 1, 8, 8) * (255 / 16)).round().astype(np.uint8)
    parts = train_test_split(pixels, labels, test_size=360, stratify=labels, random_state=0)
    train, test, train_labels, test_labels = map(torch.from_numpy, parts)
    return _images(
        "digits", (train, train_labels, test, test_labels), tuple("0123456789"), flip=False
    )


# name -> (class in torchvision.datasets, keyword of the two parts, may be mirrored)
TORCHVISION = {
    "cifar10": ("CIFAR10", ({"train": True}, {"train": False}), True),
    "cifar100": ("CIFAR100", ({"train": True}, {"train": False}), True),
    "svhn": ("SVHN", ({"split": "train"}, {"split": "test"}), False),
    "fashion-mnist": ("FashionMNIST", ({"train": True}, {"train": False}), True),
}


def _torchvision(name: str) -> Images:
    import torchvision

    cls, parts, flip = TORCHVISION[name]
    root = Path(os.environ.get("NASCORE_DATA", Path.home() / ".cache" / "nascore")) / name
    try:
        sets = [getattr(torchvision.datasets, cls)(root, download=True, **part) for part in parts]
    except (OSError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise UserError(
            f"cannot download {name} to {root} ({reason}); try again, or give --data FOLDER"
        ) from None
    tensors = []
    for part in sets:
        pixels = torch.as_tensor(part.data)
        if pixels.dim() == 3:  # grey
            pixels = pixels.unsqueeze(1)
        elif pixels.shape[-1] == 3:
            pixels = pixels.permute(0, 3, 1, 2)
        labels = part.labels if name == "svhn" else part.targets
        tensors += [pixels.contiguous(), torch.as_tensor(labels).long()]
    classes = tuple(map(str, getattr(sets[0], "classes", range(10))))
    return _images(name, tensors, classes, flip, CIFAR10_STATISTICS if name == "cifar10" else None)


def _folder(folder: Path) -> Images:
    listing = {part: _list(folder / part) for part in ("train", "test")}
    classes = tuple(listing["train"])
    require(len(classes) > 1, f"classes in {folder / 'train'}", classes, "at least 2")
    for name in listing["test"]:
        require(
            name in classes,
            f"class in {folder / 'test'}",
            name,
            f"those in train/: {', '.join(classes)}",
        )
    cache, stamp = folder / CACHE, repr(listing)
    try:
        stored = load_checkpoint(cache)
        if stored["stamp"] == stamp:
            return Images(**stored["images"] | {"name": str(folder)})
    except (UserError, LookupError, TypeError):
        pass  # there is no cache, or it is damaged: it is made anew
    images = _images(str(folder), _read_folder(folder, listing), classes, flip=True)
    try:
        save_checkpoint(cache, {"stamp": stamp, "images": vars(images)})
    except (OSError, RuntimeError):
        print(
            f"nascore: cannot write {cache}: the images will be read again next time",
            file=sys.stderr,
        )
    return images


def _list(part: Path) -> dict[str, dict[str, int]]:
    """class -> image -> when it was changed, which tells whether a cache is still true."""
    listing = {}
    for folder in sorted(part.glob("[!.]*/")) or [part / "CLASS"]:
        found = os.scandir(folder) if folder.exists() else ()
        images = sorted(
            (e for e in found if e.name.lower().endswith(SUFFIXES)), key=lambda e: e.name
        )
        if not images:
            raise UserError(f"{folder} holds no images; allowed: {', '.join(SUFFIXES)}")
        listing[folder.name] = {e.name: e.stat(follow_symlinks=False).st_mtime_ns for e in images}
    return listing


def _read_folder(folder: Path, listing: dict) -> list[Tensor]:
    label_of = {name: label for label, name in enumerate(listing["train"])}
    train, test = (
        [
            (folder / part / name / image, label_of[name])
            for name in classes
            for image in classes[name]
        ]
        for part, classes in listing.items()
    )
    # Files lie class by class; every later split is a cut, so the order is made random here.
    files = [
        train[k]
        for k in torch.randperm(len(train), generator=generator("folder", len(train))).tolist()
    ] + test
    with ThreadPoolExecutor() as pool:  # decoding releases the interpreter's lock
        sizes, images = zip(*pool.map(_read_image, [path for path, _ in files]))
    first, last = min(sizes), max(sizes)
    if first != last or not _taken_as_it_is(*first):
        found = " to ".join(f"{width}x{height}" for width, height in dict.fromkeys((first, last)))
        print(
            f"nascore: {folder} has images of {found} pixels: all are resized to 32x32 (the shorter side, then the "
            "centre); images of one size, square, a multiple of 4 and at most 256 are taken as they are",
            file=sys.stderr,
        )
        images = [ImageOps.fit(image, (32, 32)) for image in images]
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    labels = torch.tensor([label for _, label in files])
    return [pixels[: len(train)], labels[: len(train)], pixels[len(train) :], labels[len(train) :]]


def _read_image(path: Path) -> tuple[tuple[int, int], Image.Image]:
    """(width, height), and the image in three channels, resized at once where it must be:
    photographs fit in memory."""
    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = shorten(str(error).removesuffix(repr(str(path))), 60)
        raise UserError(
            f"{path} is not an image that can be read ({reason}): mend or remove it"
        ) from None
    return image.size, image if _taken_as_it_is(*image.size) else ImageOps.fit(image, (32, 32))


def _taken_as_it_is(width: int, height: int) -> bool:
    return width == height <= 256 and width % 4 == 0
