"""Labelled images that live on the device: a whole batch is augmented at once. No worker processes
to wait for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from os.path import isdir, realpath
from typing import Self

import torch
from torch import Generator, Tensor, arange, channels_last, inference_mode, randint, randperm
from torch import device as Device
from torch.nn.functional import pad

from nascore.errors import UserError, require
from nascore.seeding import generator
from nascore.task import Task

PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Images(Task):
    """A set of labelled images: uint8 tensors (N, C, H, W) and int64 labels (N,), all on one
    device.

    `mean` and `std` per channel are of the training images in [0, 1]; `padding` (pixels) and `flip`
    say which random crops and mirror images leave a label true. `valid` is there where a user keeps
    images for validation apart, and in the task of a search.
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
    def shape(self) -> tuple[int, ...]:
        return tuple(self.train.shape)

    @property
    def outputs(self) -> int:
        return len(self.classes)

    @property
    def device(self) -> Device:
        return self.train.device

    def part(self, name: str) -> tuple[Tensor, Tensor]:
        """The images and labels of "train", "valid" or "test"; none where it has no such part."""
        images = getattr(self, name)
        if images is None:
            return self.train[:0], self.train_labels[:0]
        return images, getattr(self, f"{name}_labels")

    def some(self, name: str) -> tuple[Tensor, Tensor]:
        """Those of a part that must have some. Raises `UserError`."""
        images, labels = self.part(name)
        require(len(images) > 0, f"{self.name}: {name} images", 0, "at least one")
        return images, labels

    def count(self, part: str) -> int:
        return len(self.part(part)[0])

    def validation_split(self, portion: float) -> Self:
        """The last images of `train` are cut off, which is a fair split: those of a folder, and
        digits, were put into a random order as they were read, and torchvision's are in one."""
        unseen = replace(self, test=self.test[:0], test_labels=self.test_labels[:0])
        if self.valid is not None:
            return unseen
        found = len(self.train)
        least = next(n for n in count() if 2 <= round(portion * n) <= n - 2)
        if found < least:
            few = f"{found} training images, too few to hold {portion:.0%} of them out"
            raise UserError(f"{self.name}: {few}; allowed: at least {least}")
        cut = found - round(portion * found)
        return replace(
            unseen,
            train=self.train[:cut],
            train_labels=self.train_labels[:cut],
            valid=self.train[cut:],
            valid_labels=self.train_labels[cut:],
        )

    def fingerprint(self) -> dict:
        parts = [part for part in PARTS if getattr(self, part) is not None]
        content = blake2b(digest_size=16)
        for part in parts:
            for tensor in self.part(part):
                content.update(tensor.numpy(force=True).data)
        return {
            "name": realpath(self.name) if isdir(self.name) else self.name,
            "classes": list(self.classes),
            "image": list(self.shape[1:]),
            **{part: self.count(part) for part in parts},
            "flip": self.flip,
            "content": content.hexdigest(),
            "mean": list(self.mean),
            "std": list(self.std),
            "padding": self.padding,
        }

    def batches(
        self, part: str, size: int, *place: int | str, augment: bool = True, cutout: int = 0
    ) -> "Batches":
        return Batches(self, size, *place, part=part, augment=augment, cutout=cutout)

    def in_order(self, part: str, size: int, even: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
        found = self.some(part)
        parts = max(1, self.count(part) // size)
        cut = [x.tensor_split(parts) if even else x.split(size) for x in found]
        for batch, labels in zip(*cut):
            yield self.normalise(batch), labels

    def normalise(self, batch: Tensor) -> Tensor:
        """uint8 (B, C, H, W) -> float, zero mean and unit variance per channel, channels_last."""
        return normalise(batch, self.mean, self.std)


def normalise(batch: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """uint8 (B, C, H, W) -> float, (x / 255 - mean) / std per channel, channels_last."""
    center = _channels(tuple(mean), batch.device)
    scale = _channels(tuple(std), batch.device)
    return ((batch.float() / 255 - center) / scale).contiguous(memory_format=channels_last)


@lru_cache(maxsize=64)  # a copy to the device makes it wait
@inference_mode(False)
def _channels(values: tuple[float, ...], device: Device) -> Tensor:
    """(1, C, 1, 1) on the device."""
    return torch.tensor(values, device=device).view(1, -1, 1, 1)


class Batches:
    """Minibatches of images, indexed by the step of training: `batches[step]` is the same whenever
    it is asked for, and every `per_epoch` steps see each image of the `part` once. They are
    augmented, in DARTS's architecture step too, or plain, as for ENAS's rewards."""

    def __init__(
        self,
        images: Images,
        size: int,
        *place: int | str,
        part: str = "train",
        augment: bool = True,
        cutout: int = 0,
    ):
        self.images = images
        self.size = size
        # The name under which a search's held-out images were drawn from the first: seeds keep
        # their meaning.
        self.place = (*place, "train" if part == "train" else "test")
        self.cutout = cutout
        self.padding = images.padding if augment else 0
        self.flip = images.flip and augment
        pixels, self.labels = images.some(part)
        # Padded once, channels innermost: one gather then crops, mirrors and leaves the batch in
        # channels_last. (N, H + 2 padding, W + 2 padding, C)
        padded = pad(pixels, (self.padding,) * 4)
        self.pixels = padded.permute(0, 2, 3, 1).contiguous()
        full, rest = divmod(len(pixels), size)
        self.per_epoch = full + (rest > 1 or full == 0)  # one image alone has no batch statistics
        self._order: tuple[int, Sequence[Tensor]] = (-1, ())  # the epoch in hand, its minibatches

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) and labels (B,); the last batch of an epoch may be smaller."""
        epoch, position = divmod(step, self.per_epoch)
        device = self.pixels.device
        if self._order[0] != epoch:
            random = generator(*self.place, "order", epoch)
            order = randperm(len(self.labels), generator=random)
            self._order = (epoch, order.to(device, non_blocking=True).split(self.size))
        index = self._order[1][position]
        random = generator(*self.place, "augment", step)  # on the CPU: the same on every device
        batch = self.images.normalise(self.crop(index, random))
        if self.cutout:
            cut_out(batch, self.cutout, random)
        return batch, self.labels[index]

    def crop(self, index: Tensor, random: Generator) -> Tensor:
        """The images `index`, each shifted at random within the padding and, where that is
        allowed, mirrored."""
        n = len(index)
        device = index.device
        height, width = self.images.shape[2:]
        shifts = randint(0, 2 * self.padding + 1, (2, n, 1), generator=random)
        top, left = shifts.to(device, non_blocking=True)
        rows = top + arange(height, device=device)  # (n, height)
        columns = arange(width, device=device)
        if self.flip:
            mirrored = torch.rand(n, 1, generator=random).to(device, non_blocking=True) < 0.5
            columns = torch.where(mirrored, width - 1 - columns, columns)
        columns = left + columns  # (n, width)
        found = self.pixels[index[:, None, None], rows[:, :, None], columns[:, None]]
        return found.permute(0, 3, 1, 2)


def cut_out(batch: Tensor, length: int, random: Generator) -> None:
    """Cutout (DeVries and Taylor 2017), in place: a square of `length` pixels, its centre
    uniform over the image and clipped at the border, set to 0 after normalisation."""
    n, _, height, width = batch.shape
    device = batch.device
    half = length // 2
    inside = []
    for side in (height, width):
        centre = randint(0, side, (n, 1), generator=random).to(device, non_blocking=True)
        offset = arange(side, device=device) - centre  # (n, side)
        inside.append((offset >= -half) & (offset < half))
    rows, columns = inside
    batch.masked_fill_((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)
