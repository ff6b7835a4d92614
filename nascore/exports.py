"""A trained network for other programs: one file of plain PyTorch, torch.export's .pt2, or ONNX.

What goes out reads normalised images (N, channels, height, width), of any number, and gives logits.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from copy import deepcopy
from io import BytesIO, StringIO
from json import dumps
from pathlib import Path
from typing import Any
from warnings import catch_warnings

import torch
from torch import Tensor, from_numpy, no_grad, randn
from torch import device as Device

from nascore import formats, models
from nascore.errors import UserError, one_of, require
from nascore.files import named, write_bytes
from nascore.formats import Source
from nascore.models import Model, Place
from nascore.nets import source
from nascore.nets.convolutional import Network
from nascore.nets.sizes import Sizes, home
from nascore.published import PUBLISHED
from nascore.seeding import generator

TRACED = 2  # images in the minibatch that is traced
COMPARED = 5  # in that which is compared


def export(model: Model | Source, to: str, file: Place, **sizes: Any) -> float | None:
    """Write `model`, or the one in a folder, to `file` as `python`, `torch` or `onnx`; the largest
    difference of its logits from the model's, where a program was there to compute them. As
    `python` a genotype too (whatever `formats.read` takes), untrained, at the `sizes` that
    `nets.measure.describe` gives it. Raises `UserError`."""
    one_of("format", to, WRITERS)
    path = named(file, "file")
    if to == "python" and not isinstance(model, Model) and not models.is_model(model):
        write_bytes(path, _untrained(model, home(model, **sizes)).encode())
        return None
    given = {name: value for name, value in sizes.items() if value is not None}
    allowed = "none: a model has its own"
    require(not given, f"sizes ({', '.join(given)})", list(given.values()), allowed)
    found: Any = model  # a genotype, too, which `load` refuses
    trained = found if isinstance(found, Model) else models.load(found, "cpu")
    return WRITERS[to](trained, path)


def _python(model: Model, file: Path) -> None:
    view = model.preprocessing
    network = model.network
    constants = {"CLASSES": list(model.classes), "MEAN": list(view.mean), "STD": list(view.std)}
    title = f"A network of nascore, in its skeleton {network.skeleton}, trained"
    write_bytes(file, source.python(network, title, view.shape[1:], constants).encode())


def _untrained(genotype: Source, sizes: Sizes) -> str:
    side = sizes.input
    with Device("meta"):
        network = Network.of(formats.read(genotype), sizes)
    network.check((1, sizes.in_channels, side, side))
    title = "A network of nascore"
    if isinstance(genotype, str) and genotype in PUBLISHED:
        title = PUBLISHED[genotype].source
    return source.python(network, title, (side, side))


# --- by PyTorch's exporters -----------------------------------------------------------------------


def _example(model: Model, count: int) -> Tensor:
    """Normalised images (count, channels, height, width), drawn at random."""
    shape = (count, *model.preprocessing.shape)
    return randn(shape, generator=generator("export", count))


def _traced(model: Model) -> torch.export.ExportedProgram:
    """What the network computes, of a minibatch of any size."""
    network = deepcopy(model.network).cpu()
    free = {"images": {0: torch.export.Dim("batch", min=1)}}
    return torch.export.export(network, (_example(model, TRACED),), dynamic_shapes=free)


def _torch(model: Model, file: Path) -> float:
    about = {"about.json": dumps(model.description())}
    content = BytesIO()
    with _quietly(), no_grad():
        torch.export.save(_traced(model), content, extra_files=about)
        loaded = torch.export.load(content).module()
    write_bytes(file, content.getbuffer())
    return _difference(model, loaded)


def _onnx(model: Model, file: Path) -> float | None:
    try:
        import onnx  # noqa: F401 - what torch.onnx needs
        import onnxscript  # noqa: F401
    except ImportError as error:
        need = "pip install 'nascore[export]'"
        raise UserError(
            f"onnx: the package {error.name} is not installed; allowed: {need}"
        ) from None
    with _quietly(), no_grad():
        program: Any = torch.onnx.export(  # an ONNXProgram, since `dynamo`
            _traced(model),
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=["logits"],
        )
    proto = program.model_proto
    view = model.preprocessing
    about = {"classes": model.classes, "mean": view.mean, "std": view.std}
    for name, value in about.items():
        proto.metadata_props.add(key=name, value=dumps(value))
    content = proto.SerializeToString()
    write_bytes(file, content)
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def logits(images: Tensor) -> Tensor:
        (found,) = session.run(None, {"images": images.numpy()})
        return from_numpy(found)

    return _difference(model, logits)


@no_grad()
def _difference(model: Model, other: Callable[[Tensor], Tensor]) -> float:
    """The largest between two programs' logits for the same images."""
    images = _example(model, COMPARED)
    ours = model.network(images.to(model.device)).cpu()
    return (ours - other(images)).abs().max().item()


@contextmanager
def _quietly() -> Iterator[None]:
    """The exporters say on several lines what they are doing."""
    silent = StringIO()
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        ignored = catch_warnings(action="ignore")
        with ignored, redirect_stdout(silent), redirect_stderr(silent):
            yield
    finally:
        logging.disable(before)


WRITERS: dict[str, Callable[[Model, Path], float | None]] = {
    "onnx": _onnx,
    "torch": _torch,
    "python": _python,
}
