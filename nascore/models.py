"""A trained network as a folder that stands alone: `model.safetensors` holds its weights and
running statistics, `model.json` all else that an answer needs. Nothing in them can run code."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from json import loads
from math import inf, nan
from os.path import exists, isdir, join
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor, cat, channels_last, from_numpy, inference_mode, stack, uint8
from torch import device as Device

from nascore import folders
from nascore.data import Images, choose_device
from nascore.errors import UserError, number, plain, require, shorten, whole
from nascore.files import check_format, write_bytes, write_json
from nascore.genotypes import Genotype, as_dict, from_dict
from nascore.images import normalise
from nascore.nets.convolutional import Network
from nascore.nets.sizes import LIMITS, Sizes
from nascore.pictures import fit, quietly, read
from nascore.threads import fitting, using_threads

WEIGHTS, ABOUT = "model.safetensors", "model.json"
RESIZE = "the shorter side, then the centre, bicubic"
RESIZES = (RESIZE, "the shorter side, then the centre")  # which did not name its filter at first
PICTURE_MODES = {1: "L", 3: "RGB"}
Place = str | os.PathLike  # of a file or a folder
Picture = Place | Image.Image
SIZES = ("skeleton", "stem", "channels", "cells", "classes", "in_channels")  # of a Network
MAX_BATCH = 1_000_000
MAX_ABOUT = 4_000_000  # characters of model.json


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes what a network reads: `channels` of `height` x `width` pixels, as
    `RESIZE` says, in [0, 1], less the training images' `mean` and in units of their `std`."""

    channels: int
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, images: Images) -> "Preprocessing":
        """That of these images."""
        channels, height, width = images.train.shape[1:]
        return cls(channels, height, width, images.mean, images.std)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""
        return (self.channels, self.height, self.width)

    def pixels(self, image: Any) -> Tensor:
        """uint8 (channels, height, width) of a picture or a file. Raises `UserError` for what is
        neither, and where no picture has so many channels."""
        good = isinstance(image, Picture)
        require(good, "image", image, "a file, a PIL image, or uint8 tensors (N, C, H, W)")
        channels, height, width = self.shape
        picture = fit(read(image), width, height)
        mode = PICTURE_MODES.get(channels)
        allowed = "tensors, for a network that reads neither grey nor RGB"
        require(mode, "images", f"{channels} channels", allowed)
        array = np.array(picture.convert(mode))
        return from_numpy(array).reshape(height, width, channels).permute(2, 0, 1)

    def batch(self, images: Sequence | Tensor) -> Tensor:
        """uint8 (N, channels, height, width) of pictures, files, or a tensor of such a shape.
        Raises `UserError`, one line, for what is none of these."""
        if isinstance(images, Tensor):
            good = images.dtype == uint8 and images.shape[1:] == self.shape
            allowed = f"torch.uint8 (N, {', '.join(map(str, self.shape))})"
            require(good, "images", f"{images.dtype} {tuple(images.shape)}", allowed)
            return images
        with quietly(), ThreadPoolExecutor() as pool:
            return stack(list(pool.map(self.pixels, images)))


class Model:
    """A trained network that can be asked. `network` is a plain `nn.Module` in evaluation,
    `classes` are the names of its logits in order, `about` what else its folder says: genotype,
    recipe, data, accuracy, date."""

    def __init__(
        self, network: Network, classes: Sequence[str], preprocessing: Preprocessing, about: dict
    ):
        self.network = network.eval()
        self.classes = tuple(classes)
        self.preprocessing = preprocessing
        self.about = about

    @property
    def genotype(self) -> Genotype:
        """What the network was made from."""
        return self.network.genotype

    @property
    def device(self) -> Device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def predict(self, images: Any, batch_size: int = 100) -> Tensor:
        """Probabilities (N, classes) for a file, a PIL image, a list of either, or uint8 tensors
        (N, C, H, W), each treated as the test images were. Raises `UserError`, one line, for an
        image that cannot be read."""
        whole("batch_size", batch_size, 1, MAX_BATCH)
        if isinstance(images, Picture):
            images = [images]
        several = isinstance(images, Sequence) or isinstance(images, Tensor) and images.shape
        some = several and len(images)
        require(some, "images", images, "a file, a PIL image, or a list or tensor of some")
        view = self.preprocessing
        found = []
        threads = fitting(self.network, batch_size, view.height * view.width)
        with using_threads(threads), inference_mode():
            for start in range(0, len(images), batch_size):
                batch = view.batch(images[start : start + batch_size]).to(self.device)
                logits = self.network(normalise(batch, view.mean, view.std))
                found.append(logits.float().softmax(1).cpu())
        probabilities = cat(found)
        allowed = "numbers; the network's weights are too large, or none: train it again"
        require(probabilities.isfinite().all(), "probabilities", nan, allowed)
        return probabilities.clone()

    def save(self, folder: Place) -> None:
        """Write `model.safetensors` and `model.json`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = self.network.state_dict().items()
        weights = {name: tensor.cpu().contiguous() for name, tensor in state}
        write_bytes(folder / WEIGHTS, safetensors.torch.save(weights))
        write_json(folder / ABOUT, self.description())

    def description(self) -> dict[str, Any]:
        """All that `model.json` says."""
        return {
            "task": "images",
            "genotype": as_dict(self.genotype),
            "classes": list(self.classes),
            "image": {**vars(self.preprocessing), "resize": RESIZE},
            **self.about,
        }


# --- the folder -----------------------------------------------------------------------------------


def load(folder: Place, device: str | Device = "auto") -> Model:
    """The model in `folder`. Raises `UserError`, one line, for a folder that holds none, or a
    damaged one."""
    good = isinstance(folder, Place) and str(folder)
    require(good, "model", folder, "the folder that `nascore train --out` has made")
    chosen = choose_device(device)
    file = Path(folder, ABOUT)
    about = _read_about(file)
    try:
        model = _rebuilt(about)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    _load_weights(model.network, Path(folder, WEIGHTS))
    model.network.to(chosen).to(memory_format=channels_last)
    return model


def is_model(folder: object) -> bool:
    """Whether there is a model in `folder`, whole or not."""
    return isinstance(folder, Place) and exists(join(folder, ABOUT))


def answers(
    model: Model, names: Sequence[str], batch_size: int = 100
) -> Iterator[tuple[str, Tensor | UserError]]:
    """Each image that `names` means, in their order and of a folder all in natural order, and the
    probabilities of its classes, or the `UserError` that says why it cannot be read."""
    files = list(_files(names))
    for start in range(0, len(files), batch_size):
        read = [(file, _read(model, file)) for file in files[start : start + batch_size]]
        pixels = [found for _, found in read if isinstance(found, Tensor)]
        found = iter(model.predict(cat(pixels)) if pixels else ())
        for file, answer in read:
            yield str(file), next(found) if isinstance(answer, Tensor) else answer


def _files(names: Sequence[str]) -> Iterator[str | UserError]:
    """The images that are meant, of a folder all in it; for one that cannot be listed, why not."""
    for name in names:
        if not isdir(name):
            yield name
            continue
        try:
            yield from folders.images_in(name) or [name]  # which is then no image
        except UserError as error:
            yield error


def _read(model: Model, file: str | UserError) -> Tensor | UserError:
    if isinstance(file, UserError):
        return file
    try:
        return model.preprocessing.batch([file])
    except UserError as error:
        return error


def _read_about(file: Path) -> dict[str, Any]:
    _require_regular(file)
    try:
        with open(file, encoding="utf-8") as text:
            about = loads(text.read(MAX_ABOUT))
    except FileNotFoundError:
        allowed = "a folder that `nascore train --out` has made, with model.json"
        raise UserError(f"no model in {file.parent}; allowed: {allowed}") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{file} cannot be read ({reason})") from None
    require(isinstance(about, dict), f"{file}", about, "one JSON object")
    return dict(check_format(about, file))


def _rebuilt(about: dict[str, Any]) -> Model:
    """The model, whose weights are still any; what makes it is taken out of `about`. Raises
    `UserError`, which names the field."""
    about.pop("format", None)
    task = about.pop("task", None)
    require(task == "images", "task", task, "images")
    found: Any = about.get("network")
    good = isinstance(found, dict) and set(found) == set(SIZES)
    require(good, "network", found, f"an object with {', '.join(SIZES)}")
    sizes = Sizes(**found)
    classes = about.pop("classes", None)
    of_texts = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    good = of_texts and len(classes) == sizes.classes
    require(good, "classes", classes, f"a list of {shorten(sizes.classes)} names")
    view = _preprocessing(about.pop("image", None))
    same = f"{shorten(sizes.in_channels)}, as in network.in_channels"
    require(view.channels == sizes.in_channels, "image.channels", view.channels, same)
    network = network_to_fill(from_dict(about.pop("genotype", None)), sizes)
    network.check((1, *view.shape))
    return Model(network, classes, view, about)


def network_to_fill(genotype: Genotype, sizes: Sizes) -> Network:
    """The network, whose weights are to be replaced: what is drawn for them is no one's
    business."""
    with torch.random.fork_rng(devices=[]):
        return Network.of(genotype, sizes)


def _preprocessing(image: Any) -> Preprocessing:
    names = Preprocessing.__match_args__
    good = isinstance(image, dict) and set(names) <= set(image)
    require(good, "image", image, f"an object with {', '.join(names)}")
    resize = image.get("resize")
    require(resize in RESIZES, "image.resize", resize, RESIZE)
    channels = whole("image.channels", image["channels"], 1, LIMITS["in_channels"])
    height, width = (whole(f"image.{n}", image[n], 1, LIMITS["input"]) for n in ("height", "width"))
    mean = _statistic("image.mean", image["mean"], channels, -1e6)
    std = _statistic("image.std", image["std"], channels, 1e-9)
    return Preprocessing(channels, height, width, mean, std)


def _statistic(field: str, values: Any, channels: int, least: float) -> tuple[float, ...]:
    good = isinstance(values, list) and len(values) == channels
    require(good, field, values, f"a list of {channels} numbers")
    return tuple(number(field, value, least, 1e6) for value in values)


def _require_regular(file: Path) -> None:
    """A pipe would be waited for."""
    good = not file.exists() or file.is_file()
    require(good, str(file), "no regular file", "the file of a model")


def _load_weights(network: Network, file: Path) -> None:
    _require_regular(file)
    try:
        weights = safetensors.torch.load_file(file)
    except FileNotFoundError:
        raise UserError(f"no weights at {file}: the model is not whole") from None
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or [""])[0][:80]
        raise UserError(f"{file} is damaged ({reason})") from None
    wanted = _kinds(network.state_dict())
    found = _kinds(weights)
    for name in wanted | found:
        allowed = wanted.get(name, "no such tensor")
        known = found.get(name, "nothing")
        require(known == allowed, f"{file}: {plain(name)[:100]}", known, allowed)
    for name, tensor in weights.items():
        least = 0 if name.endswith("running_var") else -inf
        wrong = tensor[~(tensor.isfinite() & (tensor >= least))].tolist()
        require(not wrong, f"{file}: {name}", wrong, "finite numbers, for a variance from 0")
    network.load_state_dict(weights)


def _kinds(state: Mapping[str, Tensor]) -> dict[str, str]:
    """The type and shape of each tensor, as an error says them."""
    return {name: f"{tensor.dtype} {list(tensor.shape)}" for name, tensor in state.items()}
