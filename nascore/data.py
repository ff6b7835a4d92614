"""Images that live on the device: load, split, and augment a whole batch at once. No worker
processes to wait for."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import platformdirs
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from nascore import folders, pictures
from nascore.errors import UserError, require, shorten, whole
from nascore.loop import memory_errors
from nascore.seeding import generator
from nascore.threads import one_thread

TENSORS = ("train", "train_labels", "test", "test_labels")
# Mean and standard deviation of CIFAR-10 to the digits of the DARTS code; other sets are measured
# when they are loaded.
CIFAR10_STATISTICS = ((0.49139968, 0.48215827, 0.44653124), (0.24703233, 0.24348505, 0.26158768))


@dataclass(frozen=True)
class Images:
    """A set of labelled images: uint8 tensors (N, C, H, W) and int64 labels (N,), all on one
    device.

    `mean` and `std` per channel are of the training images in [0, 1]; `padding` (pixels) and `flip`
    say which random crops and mirror images leave a label true. `valid` is there where a user keeps
    images for validation apart.
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
    valid: Tensor | None = None
    valid_labels: Tensor | None = None

    @property
    def channels(self) -> int:
        return self.train.shape[1]

    @property
    def pixels(self) -> int:
        """Of one image."""
        return self.train.shape[2] * self.train.shape[3]

    def to(self, device: torch.device | str) -> "Images":
        held = {name: getattr(self, name) for name in (*TENSORS, "valid", "valid_labels")}
        return replace(self, **{k: x if x is None else x.to(device) for k, x in held.items()})

    def validation_split(self, portion: float) -> "Images":
        """A set whose `test` is for validation, for a search, which must not see the test images: the
        user's own where there are some, else the last `portion` of the training images. Loaders keep
        or make the order random, so a cut is a fair split."""
        if self.valid is not None:
            held_out = {"test": self.valid, "test_labels": self.valid_labels}
            return replace(self, **held_out, valid=None, valid_labels=None)
        least = next(n for n in count() if 2 <= round(portion * n) <= n - 2)
        if len(self.train) < least:
            found = f"{self.name}: {len(self.train)} training images"
            few = f"too few to hold {portion:.0%} of them out"
            raise UserError(f"{found}, {few}; allowed: at least {least}")
        cut = len(self.train) - round(portion * len(self.train))
        images, labels = self.train, self.train_labels
        parts = (images[:cut], labels[:cut], images[cut:], labels[cut:])
        return replace(self, **dict(zip(TENSORS, parts)))

    def fingerprint(self) -> dict:
        """What tells this set from others, for config.json: its content, whatever its name."""
        parts = [part for part in ("train", "valid", "test") if getattr(self, part) is not None]
        content = hashlib.blake2b(digest_size=16)
        for part in parts:
            for name in (part, f"{part}_labels"):
                content.update(getattr(self, name).numpy(force=True).data)
        counts = {part: len(getattr(self, part)) for part in parts}
        name = os.path.realpath(self.name) if os.path.isdir(self.name) else self.name
        about = {"name": name, "classes": list(self.classes)}
        about["image"] = list(self.train.shape[1:])
        about |= counts | {"flip": self.flip, "content": content.hexdigest()}
        return about | {"mean": list(self.mean), "std": list(self.std), "padding": self.padding}

    def normalise(self, batch: Tensor) -> Tensor:
        """uint8 (B, C, H, W) -> float, zero mean and unit variance per channel, channels_last."""
        return normalise(batch, self.mean, self.std)


def normalise(batch: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """uint8 (B, C, H, W) -> float, (x / 255 - mean) / std per channel, channels_last."""
    mean, std = (torch.tensor(v, device=batch.device).view(1, -1, 1, 1) for v in (mean, std))
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
        # channels_last. (N, H + 2 pad, W + 2 pad, C)
        self.pixels = F.pad(pixels, (pad,) * 4).permute(0, 2, 3, 1).contiguous()
        full, rest = divmod(len(pixels), batch_size)
        self.batch_size = batch_size
        self.per_epoch = full + (rest > 1 or full == 0)  # one image alone has no batch statistics
        self._order: tuple[int, Tensor] = (-1, self.labels)  # the epoch in hand and its order

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) and labels (B,); the last batch of an epoch may be smaller."""
        epoch, position = divmod(step, self.per_epoch)
        device = self.pixels.device
        if self._order[0] != epoch:
            random = generator(*self.place, "order", epoch)
            order = torch.randperm(len(self.labels), generator=random)
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
        columns = left + columns
        found = self.pixels[index[:, None, None], rows[:, :, None], columns[:, None]]
        return found.permute(0, 3, 1, 2)


def cut_out(batch: Tensor, length: int, random: torch.Generator) -> None:
    """Cutout (DeVries and Taylor 2017), in place: a square of `length` pixels, its centre
    uniform over the image and clipped at the border, set to 0 after normalisation."""
    n, _, height, width = batch.shape
    for_each = {"generator": random, "device": batch.device}
    y = torch.randint(0, height, (n, 1), **for_each)
    x = torch.randint(0, width, (n, 1), **for_each)
    rows = torch.arange(height, device=batch.device)
    columns = torch.arange(width, device=batch.device)
    inside_y = (rows >= y - length // 2) & (rows < y + length // 2)  # (n, height)
    inside_x = (columns >= x - length // 2) & (columns < x + length // 2)
    batch.masked_fill_((inside_y[:, :, None] & inside_x[:, None, :])[:, None], 0.0)


# --- loading --------------------------------------------------------------------------------------


def choose_device(name: str | torch.device) -> torch.device:
    """`auto` is a GPU where there is one. Raises `UserError` for a device that is not there."""
    if str(name) == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(str(name))
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UserError(f"unknown device {shorten(str(name))}; allowed: auto, cpu, cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "device 'cuda' was asked for and PyTorch sees no GPU here; allowed: auto, cpu"
        )
    return device


@one_thread()
def load(
    name: "str | Path | Images",
    device: torch.device | str = "cpu",
    *,
    image_size: int | None = None,
    flip: bool | None = None,
    quiet: bool = False,
) -> Images:
    """`digits` (inside the package), a torchvision set by name (downloaded once), a folder of images
    (`folders` says how it is laid out), or `Images`, as they are or `image_size` pixels large. `flip`
    says whether a mirrored image is one of its class (by default only digits are not); with
    `quiet` nothing is said of how a folder was read. Raises `UserError`, one line, for what cannot be
    loaded."""
    if image_size is not None:
        whole("--image-size", image_size, 4, 512)
    require(flip is None or isinstance(flip, bool), "flip", flip, "true or false")
    if isinstance(name, Images):
        images = _resized(name, image_size)
    elif isinstance(name, str) and name == "digits":
        images = _resized(_digits(), image_size)
    elif isinstance(name, str) and name in TORCHVISION:
        images = _resized(_torchvision(name), image_size)
    else:
        images = _folder(name, image_size, quiet)
    if flip is not None:
        images = replace(images, flip=flip)
    return images.to(device)


def _folder(name: str | Path, image_size: int | None, quiet: bool) -> Images:
    if name == "nasbench201":
        allowed = "digits, a torchvision set or a folder"
        raise UserError(f"'nasbench201' is a table, not images; allowed here: {allowed}")
    if not isinstance(name, str | Path) or not str(name) or not os.path.isdir(name):
        allowed = f"{', '.join(NAMES)}, or a folder: {folders.LAYOUT}"
        raise UserError(f"unknown data {shorten(str(name))}; allowed: {allowed}")
    with memory_errors("--image-size"):
        listing, arrays = folders.load(Path(name), image_size, quiet)
    parts = {part: torch.from_numpy(of_part) for part, of_part in arrays.items()}
    labels = {part: torch.from_numpy(listing.labels(part)) for part in arrays}
    tensors = (parts["train"], labels["train"], parts["test"], labels["test"])
    images = _images(str(name), tensors, listing.classes, flip=True)
    return replace(images, valid=parts.get("valid"), valid_labels=labels.get("valid"))


def _resized(images: Images, side: int | None) -> Images:
    if side is None or images.train.shape[2:] == (side, side):
        return images
    with memory_errors("--image-size"):
        parts = {k: _fitted(getattr(images, k), side) for k in ("train", "valid", "test")}
    return replace(images, **parts, padding=side // 8)


def _fitted(batch: Tensor | None, side: int) -> Tensor | None:
    """Each channel as a grey picture, since a user's own images may have any number of them."""
    if batch is None:
        return None
    fitted = torch.empty(*batch.shape[:2], side, side, dtype=torch.uint8)
    planes = batch.flatten(0, 1).numpy(force=True)
    for plane, place in zip(planes, fitted.flatten(0, 1).numpy()):
        place[:] = pictures.fit(Image.fromarray(plane), side, side)
    return fitted


def _images(
    name: str, tensors: Sequence[Tensor], classes: tuple[str, ...], flip: bool, statistics=None
) -> Images:
    """Images whose `statistics`, where none are given, are those of the first 5,000 of them, or of as
    many as are 50 million numbers."""
    if statistics is None:
        kept = min(5000, 1 + 50_000_000 // tensors[0][0].numel())
        pixels = tensors[0][:kept].double() / 255
        std = pixels.std((0, 2, 3)).clamp(min=1e-3)  # a constant channel would divide by 0
        statistics = (tuple(pixels.mean((0, 2, 3)).tolist()), tuple(std.tolist()))
    padding = tensors[0].shape[-1] // 8
    return Images(name, *tensors, classes, *statistics, padding=padding, flip=flip)


def _digits() -> Images:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)  # 1,797 scans of 8 x 8, values 0 to 16
    pixels = (pixels.reshape(-1, 1, 8, 8) * (255 / 16)).round().astype(np.uint8)
    parts = train_test_split(pixels, labels, test_size=360, stratify=labels, random_state=0)
    train, test, train_labels, test_labels = map(torch.from_numpy, parts)
    tensors = (train, train_labels, test, test_labels)
    return _images("digits", tensors, tuple("0123456789"), flip=False)


# name -> (class in torchvision.datasets, keyword of the two parts, may be mirrored)
TORCHVISION = {
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
