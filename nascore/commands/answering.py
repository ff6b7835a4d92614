"""`nascore predict`, `evaluate` and `export`: what a trained model is for."""

from json import dumps
from typing import TYPE_CHECKING, Any

from nascore.commands.options import Parser, add_device, add_sizes
from nascore.errors import UserError, plain, say, whole

if TYPE_CHECKING:
    from nascore.evaluation import Evaluation

MOST_COLUMNS = 20  # classes of a confusion table that a terminal has room for


def add_model(parser: Parser) -> None:
    """The folder of a model."""
    parser.add_argument("folder", metavar="DIR", help="the folder of a model: train --out DIR")


# --- predict --------------------------------------------------------------------------------------


def add_predict(parser: Parser) -> None:
    """A model, and images."""
    add = parser.add_argument
    add_model(parser)
    add("images", nargs="+", metavar="IMAGE", help="image files, or folders of them")
    text = "how many classes are named, the most probable first (default: 3)"
    add("--top", type=int, default=3, metavar="N", help=text)
    add_device(parser)
    add("--json", dest="as_json", action="store_true", help="as one JSON list")


def predict(folder: str, images: list[str], top: int, device: str, as_json: bool) -> int:
    """Say what is on images: the class of each and its probability."""
    from nascore.models import answers, load

    whole("--top", top, 1, 1_000_000)
    model = load(folder, device)
    classes = model.classes
    found = []
    status = 0
    for image, answer in answers(model, images):
        if isinstance(answer, UserError):
            say(answer)
            status = 2
            continue
        values, places = answer.topk(min(top, len(classes)))
        ranked = [(classes[k], p) for k, p in zip(places.tolist(), values.tolist())]
        if not as_json:
            shown = ", ".join(f"{plain(name)} {p:.4f}" for name, p in ranked)
            print(f"{plain(image)}: {shown}", flush=True)
        name, p = ranked[0]
        found.append({"image": image, "class": name, "probability": p, "top": ranked})
    if as_json:
        print(dumps(found))
    return status


# --- evaluate -------------------------------------------------------------------------------------


def add_evaluate(parser: Parser) -> None:
    """A model, and images whose classes are known."""
    add = parser.add_argument
    add_model(parser)
    text = "images whose classes are known: the test part of a folder or of a set by name"
    add("--data", required=True, metavar="NAME-OR-FOLDER", help=text)
    text = "draw the table of what was taken for what: table.svg, .png or .pdf"
    add("--out", metavar="FILE", help=text)
    add_device(parser)
    add("--json", dest="as_json", action="store_true", help="as one JSON object")


def evaluate(folder: str, data: str, out: str | None, device: str, as_json: bool) -> None:
    """Test a model: accuracy, what is taken for what, which classes are mixed up most."""
    from nascore import evaluation, models
    from nascore.show import chart, looks

    if out is not None:
        chart.check_suffix(out)
    found = evaluation.evaluate(models.load(folder, device), data)
    accuracy = found.accuracy
    images = len(found.labels)
    classes = found.classes
    mixed = found.mixed_up()
    if as_json:
        about = {
            "accuracy": accuracy,
            "images": images,
            "classes": classes,
            "confusion": found.confusion.tolist(),
            "mixed_up": mixed,
        }
        print(dumps(about))
    else:
        print(f"accuracy: {accuracy:.4f} of {images:,} images")
        if len(classes) <= MOST_COLUMNS:
            _print_table(found)
        for name, taken_for, times in mixed:
            print(f"{plain(name)} taken for {plain(taken_for)}: {times}")
    if out is not None:  # at last: a folder that is not there loses nothing
        looks.confusion(found).save(out)


def _print_table(found: "Evaluation") -> None:
    """A row for every class, a column for what its images were taken for."""
    names = [plain(name)[:12] for name in found.classes]
    rows = [["", *names]]
    for name, counts in zip(names, found.confusion.tolist()):
        rows.append([name, *map(str, counts)])
    first, *widths = [max(map(len, column)) for column in zip(*rows)]
    for name, *cells in rows:
        print(name.ljust(first), *(cell.rjust(w) for cell, w in zip(cells, widths)))


# --- export ---------------------------------------------------------------------------------------


def add_export(parser: Parser) -> None:
    """A model or a genotype, a format, and a file."""
    add = parser.add_argument
    text = "the folder of a model; for python also a genotype, at the sizes of `nascore describe`"
    add("model", metavar="DIR", help=text)
    text = "python: one file of plain PyTorch; torch: torch.export's .pt2; onnx"
    add("--to", required=True, metavar="FORMAT", help=text)
    add("-o", "--out", required=True, metavar="FILE", help="the file to write")
    add_sizes(parser)


def export(model: str, to: str, out: str, **sizes: Any) -> None:
    """Write a model for other programs: ONNX, torch.export, or one file of plain PyTorch."""
    from nascore import exports

    difference = exports.export(model, to, out, **sizes)
    if difference is not None:
        print(f"largest difference of a logit: {difference:.2g}")
