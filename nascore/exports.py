"""A trained network for other programs: one file of plain PyTorch, torch.export's .pt2, or ONNX.

What goes out reads normalised images (N, channels, height, width), of any number, and gives logits.
"""

import copy
import io
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nascore import formats, models, published
from nascore.errors import UserError, one_of, require
from nascore.files import named, write_bytes
from nascore.genotypes import Genotype
from nascore.models import Model
from nascore.nets import source
from nascore.nets.convolutional import Network
from nascore.nets.sizes import Sizes, home
from nascore.seeding import generator

FORMATS = ("onnx", "torch", "python")
EXAMPLES = (2, 5)  # images in the minibatch that is traced, and in that which is compared


def export(
    model: Model | Genotype | str | os.PathLike, to: str, file: str | os.PathLike, **sizes: Any
) -> float | None:
    """Write `model`, or the one in a folder, to `file` as `python`, `torch` or `onnx`; the largest
    difference of its logits from the model's, where a program was there to compute them. As
    `python` a genotype too (whatever `formats.read` takes), untrained, at the `sizes` that
    `nets.measure.describe` gives it. Raises `UserError`."""
    one_of("format", to, FORMATS)
    path = named(file, "file")
    given = {name: value for name, value in sizes.items() if value is not None}
    if to == "python" and not isinstance(model, Model) and not models.is_model(model):
        write_bytes(path, _untrained(model, home(model, **given)).encode())
        return None
    allowed = "none: a model has its own"
    require(not given, f"sizes ({', '.join(given)})", list(given.values()), allowed)
    found: Any = model  # a genotype, too, which `load` refuses
    trained = found if isinstance(found, Model) else models.load(found, "cpu")
    if to == "python":
        write_bytes(path, _trained(trained).encode())
        return None
    return _torch(trained, path) if to == "torch" else _onnx(trained, path)


def _trained(model: Model) -> str:
    view = model.preprocessing
    constants = {"CLASSES": list(model.classes), "MEAN": list(view.mean), "STD": list(view.std)}
    title = f"A network of nascore, in its skeleton {model.network.skeleton}, trained"
    return source.python(model.network, title, (view.height, view.width), constants)


def _untrained(genotype: Genotype | str | os.PathLike, sizes: Sizes) -> str:
    side = sizes.input
    with torch.device("meta"):
        network = Network.of(formats.read(genotype), sizes)
    network.check((1, sizes.in_channels, side, side))
    title = "A network of nascore"
    if isinstance(genotype, str) and genotype in published.PUBLISHED:
        title = published.PUBLISHED[genotype].source
    return source.python(network, title, (side, side))


# --- by PyTorch's exporters -----------------------------------------------------------------------


def _example(model: Model, count: int) -> Tensor:
    """Normalised images (count, channels, height, width), drawn at random."""
    view = model.preprocessing
    shape = (count, view.channels, view.height, view.width)
    return torch.randn(shape, generator=generator("export", count))


def _traced(model: Model) -> torch.export.ExportedProgram:
    """What the network computes, of a minibatch of any size."""
    network = copy.deepcopy(model.network).cpu()
    free = {"images": {0: torch.export.Dim("batch", min=1)}}
    return torch.export.export(network, (_example(model, EXAMPLES[0]),), dynamic_shapes=free)


def _torch(model: Model, file: Path) -> float:
    about = {"about.json": json.dumps(model.description())}
    content = io.BytesIO()
    with _quietly(), torch.no_grad():
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
    with _quietly(), torch.no_grad():
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
        proto.metadata_props.add(key=name, value=json.dumps(value))
    content = proto.SerializeToString()
    write_bytes(file, content)
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def logits(images: Tensor) -> Tensor:
        (found,) = session.run(None, {"images": images.numpy()})
        return torch.from_numpy(found)

    return _difference(model, logits)


@torch.no_grad()
def _difference(model: Model, other: Callable[[Tensor], Tensor]) -> float:
    """The largest between two programs' logits for the same images."""
    images = _example(model, EXAMPLES[1])
    ours = model.network(images.to(model.device)).cpu()
    return (ours - other(images)).abs().max().item()


@contextmanager
def _quietly() -> Iterator[None]:
    """The exporters say on several lines what they are doing."""
    silent = io.StringIO()
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(silent), redirect_stderr(silent):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
