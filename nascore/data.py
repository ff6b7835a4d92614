"""Images that live on the device: load, split, and augment a whole batch at once. No worker processes to wait for."""

import os
import sys
import tarfile
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from nascore.errors import UserError, shorten
from nascore.loop import load_checkpoint, save_checkpoint
from nascore.seeding import generator

TENSORS = ("train", "train_labels", "test", "test_labels")
SUFFIXES = (".jpg", ".jpeg", ".png")
CACHE = ".nascore-cache.pt"
# Mean and standard deviation of CIFAR-10 to the digits of the DARTS code; other sets are measured when they are loaded.
CIFAR10_STATISTICS = ((0.49139968, 0.48215827, 0.44653124), (0.24703233, 0.24348505, 0.26158768))


@dataclass(frozen=True)
class Images:
    """A set of labelled images: uint8 tensors (N, C, H, W) and int64 labels (N,), all on one device.

    `mean` and `std` per channel are of the training images in [0, 1]; `padding` (pixels) and `flip` say which random
    crops and mirror images leave a label true.
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

    @property
    def size(self) -> int:
        return self.train.shape[-1]

    def to(self, device: torch.device | str) -> "Images":
        return replace(self, **{name: getattr(self, name).to(device) for name in TENSORS})

    def validation_split(self, portion: float) -> "Images":
        """The training images alone, as a set whose `test` is the last `portion` of them: for a search, which must
        not see the test images. Loaders keep or make the order random, so a cut is a fair split."""
        cut = len(self.train) - round(portion * len(self.train))
        if not 2 <= cut <= len(self.train) - 2:
            found = f"{len(self.train)} training images"
            raise UserError(f"{self.name}: {found}, too few to hold {portion:.0%} of them out; allowed: at least 8")
        parts = (self.train[:cut], self.train_labels[:cut], self.train[cut:], self.train_labels[cut:])
        return replace(self, **dict(zip(TENSORS, parts)))

    def normalise(self, batch: Tensor) -> Tensor:
        """uint8 (B, C, H, W) -> float, zero mean and unit variance per channel, channels_last."""
        mean, std = (torch.tensor(v, device=batch.device).view(1, -1, 1, 1) for v in (self.mean, self.std))
        return ((batch.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


class Batches:
    """Augmented minibatches of the training images, indexed by the step of training: `batches[step]` is the same
    whenever it is asked for, and every `per_epoch` steps see each image once. `which="test"` draws the augmented
    batches from the other half of a split, as DARTS does for the architecture step."""

    def __init__(self, images: Images, batch_size: int, *place: int | str, cutout: int = 0, which: str = "train"):
        self.images, self.place, self.cutout = images, (*place, which), cutout
        pixels, self.labels = getattr(images, which), getattr(images, f"{which}_labels")
        pad = images.padding
        # Padded once, channels innermost: one gather then crops, mirrors and leaves the batch in channels_last.
        self.pixels = F.pad(pixels, (pad,) * 4).permute(0, 2, 3, 1).contiguous()  # (N, H + 2 pad, W + 2 pad, C)
        full, rest = divmod(len(pixels), batch_size)
        self.batch_size = batch_size
        self.per_epoch = full + (rest > 1 or full == 0)  # one image alone has no batch statistics
        self._order: tuple[int, Tensor] | None = None

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) and labels (B,); the last batch of an epoch may be smaller."""
        epoch, position = divmod(step, self.per_epoch)
        device = self.pixels.device
        if self._order is None or self._order[0] != epoch:
            order = torch.randperm(len(self.labels), generator=generator(*self.place, "order", epoch))
            self._order = (epoch, order.to(device))
        index = self._order[1][position * self.batch_size : (position + 1) * self.batch_size]
        random = generator(*self.place, "augment", step, device=device)
        batch = self.images.normalise(self.crop(index, random))
        if self.cutout:
            cut_out(batch, self.cutout, random)
        return batch, self.labels[index]

    def crop(self, index: Tensor, random: torch.Generator) -> Tensor:
        """The images `index`, each shifted at random within the padding and, where that is allowed, mirrored."""
        n, size, pad, device = len(index), self.images.size, self.images.padding, index.device
        height, width = (edge - 2 * pad for edge in self.pixels.shape[1:3])
        top, left = torch.randint(0, 2 * pad + 1, (2, n, 1), generator=random, device=device)
        rows = top + torch.arange(height, device=device)  # (n, height)
        columns = torch.arange(width, device=device).expand(n, size)
        if self.images.flip:
            mirrored = torch.rand(n, 1, generator=random, device=device) < 0.5
            columns = torch.where(mirrored, width - 1 - columns, columns)
        columns = left + columns
        return self.pixels[index[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cut_out(batch: Tensor, length: int, random: torch.Generator) -> None:
    """Cutout (DeVries and Taylor 2017), in place: a square of `length` pixels, its centre uniform over the image and
    clipped at the border, set to 0 after normalisation."""
    n, _, height, width = batch.shape
    for_each = {"generator": random, "device": batch.device}
    y, x = torch.randint(0, height, (n, 1), **for_each), torch.randint(0, width, (n, 1), **for_each)
    rows, columns = torch.arange(height, device=batch.device), torch.arange(width, device=batch.device)
    inside_y = (rows >= y - length // 2) & (rows < y + length // 2)  # (n, height)
    inside_x = (columns >= x - length // 2) & (columns < x + length // 2)
    batch.masked_fill_((inside_y[:, :, None] & inside_x[:, None, :])[:, None], 0.0)


# --- loading --------------------------------------------------------------------------------------------------------


def load(name: str | Path, device: torch.device | str = "cpu") -> Images:
    """`digits` (inside the package), a torchvision set by name (downloaded once), or a folder of images
    (`train/CLASS/*.jpg|png`, `test/CLASS/*`). Raises `UserError`, one line, for what cannot be loaded."""
    if name == "digits":
        return _digits().to(device)
    if name in TORCHVISION:
        return _torchvision(str(name)).to(device)
    if name == "nasbench201":
        raise UserError("'nasbench201' is a table, not images; allowed here: digits, a torchvision set or a folder")
    if not Path(name).is_dir():
        allowed = ", ".join(("digits", *TORCHVISION))
        raise UserError(
            f"unknown data {shorten(str(name))}; allowed: {allowed}, or a folder with train/CLASS/ and test/CLASS/"
        )
    return _folder(Path(name)).to(device)


def _digits() -> Images:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)  # 1,797 scans of 8 x 8, values 0 to 16
    pixels = (pixels.reshape(-1, 1, 8, 8) * (255 / 16)).round().astype(np.uint8)
    parts = train_test_split(pixels, labels, test_size=360, stratify=labels, random_state=0)
    train, test, train_labels, test_labels = (torch.from_numpy(part) for part in parts)
    return _images("digits", (train, train_labels, test, test_labels), tuple("0123456789"), padding=1, flip=False)


def _images(name: str, tensors: tuple, classes: tuple, padding: int, flip: bool, statistics=None) -> Images:
    return Images(name, *tensors, classes, *(statistics or _statistics(tensors[0])), padding, flip)


def _statistics(train: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of (the first 5,000 of) the training images in [0, 1]."""
    pixels = train[:5000].double() / 255
    std = pixels.std((0, 2, 3)).clamp(min=1e-3)  # a constant channel would divide by 0
    return tuple(pixels.mean((0, 2, 3)).tolist()), tuple(std.tolist())


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
    root = Path(os.environ.get("NASCORE_DATA", Path.home() / ".cache" / "nascore"))
    try:
        sets = [getattr(torchvision.datasets, cls)(root / name, download=True, **part) for part in parts]
    except (urllib.error.URLError, RuntimeError, OSError, tarfile.TarError, EOFError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise UserError(
            f"cannot download {name} to {root / name} ({reason}); try again, or give a folder: --data FOLDER"
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
    statistics = CIFAR10_STATISTICS if name == "cifar10" else None
    return _images(name, tuple(tensors), classes, tensors[0].shape[-1] // 8, flip, statistics)


def _folder(folder: Path) -> Images:
    listing = {part: _classes(folder, part) for part in ("train", "test")}
    classes = tuple(sorted(listing["train"]))
    if len(classes) < 2:
        raise UserError(f"{folder / 'train'}: found {len(classes)} class ({', '.join(classes)}), allowed: at least 2")
    strange = sorted(set(listing["test"]) - set(classes))
    if strange:
        raise UserError(
            f"{folder / 'test'}: class {strange[0]!r} has no folder in train/; allowed: {', '.join(classes)}"
        )
    # The folders' times tell whether files came or went; a file changed in place is not noticed (delete the cache).
    stamp = [[part, c, (folder / part / c).stat().st_mtime_ns] for part in listing for c in sorted(listing[part])]
    cache = folder / CACHE
    if cache.exists():
        try:
            stored = load_checkpoint(cache)
            if stored["stamp"] == stamp:
                return _images(str(folder), tuple(stored["tensors"]), classes, *stored["rest"])
        except (UserError, LookupError, TypeError):
            pass  # a damaged cache is made anew
    tensors = _read_folder(folder, listing, classes)
    rest = (tensors[0].shape[-1] // 8, True, _statistics(tensors[0]))  # padding, flip, statistics
    try:
        save_checkpoint(cache, {"stamp": stamp, "tensors": list(tensors), "rest": rest})
    except (OSError, RuntimeError):
        print(f"nascore: cannot write {cache}: the images will be read again next time", file=sys.stderr)
    return _images(str(folder), tensors, classes, *rest)


def _classes(folder: Path, part: str) -> dict[str, list[str]]:
    """class -> its folder's path, for the classes of one part that hold files."""
    root = folder / part
    if not root.is_dir():
        raise UserError(f"{folder}: found no folder {part}/, allowed: train/CLASS/*.jpg|png and test/CLASS/*.jpg|png")
    found = {entry.name: entry.path for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")}
    if not found:
        raise UserError(f"{root} holds no class folders; allowed: {part}/CLASS/*.jpg|png")
    return found


def _read_folder(folder: Path, listing: dict, classes: tuple[str, ...]) -> tuple[Tensor, ...]:
    files: list[tuple[str, int, str]] = []
    for part in listing:
        for name, path in sorted(listing[part].items()):
            images = sorted(e.path for e in os.scandir(path) if e.name.lower().endswith(SUFFIXES))
            if not images:
                raise UserError(f"{path} holds no images; allowed: {', '.join(SUFFIXES)}")
            files += [(part, classes.index(name), image) for image in images]
    with ThreadPoolExecutor() as pool:  # decoding releases the interpreter's lock
        read = list(pool.map(_read_image, [path for _, _, path in files]))
    sizes, pixels = sorted({size for size, _ in read}), [image for _, image in read]
    if len(sizes) > 1 or not _taken_as_it_is(*sizes[0]):
        found = " to ".join(f"{w}x{h}" for w, h in dict.fromkeys((sizes[0], sizes[-1])))
        print(
            f"nascore: {folder} has images of {found} pixels: all are resized to 32x32 (the shorter side, then the "
            "centre); images of one size, square, a multiple of 4 and at most 256 are taken as they are",
            file=sys.stderr,
        )
        pixels = [np.asarray(_resize(Image.fromarray(p))) for p in pixels]
    tensors = []
    for part in ("train", "test"):
        chosen = [k for k, (p, _, _) in enumerate(files) if p == part]
        if part == "train":  # files lie class by class; every later split is a cut, so the order is made random here
            order = torch.randperm(len(chosen), generator=generator("folder", len(chosen)))
            chosen = [chosen[k] for k in order.tolist()]
        tensors.append(torch.from_numpy(np.stack([pixels[k] for k in chosen]).transpose(0, 3, 1, 2).copy()))
        tensors.append(torch.tensor([files[k][1] for k in chosen]))
    return tuple(tensors)


def _taken_as_it_is(width: int, height: int) -> bool:
    return width == height <= 256 and width % 4 == 0


def _read_image(path: str) -> tuple[tuple[int, int], np.ndarray]:
    """(width, height), and uint8 (H, W, 3): resized at once where it must be, so that photographs fit in memory."""
    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = shorten(str(error).removesuffix(repr(path)), 60)
        raise UserError(f"{path} is not an image that can be read ({reason}): mend or remove it") from None
    return image.size, np.asarray(image if _taken_as_it_is(*image.size) else _resize(image))


def _resize(image: Image.Image) -> Image.Image:
    return image if image.size == (32, 32) else ImageOps.fit(image, (32, 32))
