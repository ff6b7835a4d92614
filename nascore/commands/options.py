"""What the commands share: a parser whose errors are a `UserError`, and options that several
have."""

from argparse import SUPPRESS, ArgumentParser
from dataclasses import fields
from typing import Any, NoReturn

from nascore.errors import UserError
from nascore.files import PathName
from nascore.genotypes import kind
from nascore.knobs import bounds_of
from nascore.nets.sizes import HOMES, NETWORKS
from nascore.published import GENOTYPES


class Parser(ArgumentParser):
    """A parser that raises `UserError`, one line, for words that it does not understand."""

    def error(self, message: str) -> NoReturn:
        """Called by argparse, whose own prints the usage and ends the process."""
        raise UserError(message)

    # Arguments and result as argparse has them, which overloads them.
    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's own, without the list that it makes of `--out=--`."""
        found, left = super().parse_known_args(args, namespace)
        for action in self._actions:
            one = action.nargs is None
            if one and isinstance(getattr(found, action.dest, None), list):
                raise UserError(f"{action.option_strings[0]}: found '--', allowed: a value")
        return found, left


class Stopped(Exception):
    """A run was interrupted after so many steps; with a directory it can go on."""

    def __init__(self, steps: int, directory: PathName | None) -> None:
        self.steps = steps
        self.directory = directory


def add_run_options(parser: Parser, seconds: float) -> None:
    """What a search and a training have in common; `seconds` lie between two checkpoints."""
    add = parser.add_argument
    text = "images (default: digits); a folder: train/CLASS/*.jpg, test/CLASS/*.jpg, or CLASS/*.jpg"
    add("--data", default="digits", metavar="NAME-OR-FOLDER", help=text)
    text = "resize images to N x N pixels (default: as they are, or 32 if they are not alike)"
    add("--image-size", type=int, metavar="N", help=text)
    text = "mirrored images are no images of their class (letters, traffic signs)"
    add("--no-flip", dest="flip", action="store_const", const=False, help=text)
    text = "whatever is random follows from it (default: 0)"
    add("--seed", type=int, default=0, help=text)
    text = "directory for what is found and for the checkpoint"
    add("--out", dest="directory", metavar="DIR", help=text)
    add("--resume", action="store_true", help="go on with the run that DIR holds")
    add_device(parser)
    text = "that PyTorch computes with, part of the run (default: 1, or 2 where its maps are large)"
    add("--threads", type=int, metavar="N", help=text)
    text = "whether a GPU records a step and plays it: auto, on or off (default: auto)"
    add("--graphs", default="auto", help=text)
    text = "a limit, such as 8G (of darts, of a training): cells are computed again, or"
    text += " minibatches are smaller"
    add("--memory", metavar="SIZE", help=text)
    add("--quiet", dest="progress", action="store_false", help="no progress")
    text = f"time between checkpoints (default: {seconds:.0f})"
    add("--checkpoint-seconds", type=float, default=seconds, help=text)


def add_knobs(parser: Parser, title: str, cls: type, full: object = None) -> None:
    """Under a title an option for every field of a budget or a recipe, with its help and bounds; of
    a budget the value in its preset `full` too."""
    group = parser.add_argument_group(title)
    for f in fields(cls):
        name = f.name
        bounds = bounds_of(f)
        if full is not None:
            bounds += f"; full: {getattr(full, name)}"
        text = f"{f.metadata['help']} ({bounds})".replace("%", "%%")
        names = dict.fromkeys([f"--{name.replace('_', '-')}", f"--{name}"])
        group.add_argument(*names, dest=name, metavar="VALUE", default=SUPPRESS, help=text)


NETWORK_KINDS = ("cell", "chain", "macro")  # of genotypes that are made networks of images


def add_genotype(parser: Parser, *kinds: str) -> None:
    """A genotype in any form; the published ones of these kinds, or all, are named."""
    known = [name for name, found in GENOTYPES.items() if not kinds or kind(found) in kinds]
    text = f"a file, the folder of a search or of a model, a text, or {', '.join(known)}"
    parser.add_argument("genotype", metavar="GENOTYPE", help=text)


def add_device(parser: Parser) -> None:
    """Where it is computed."""
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")


def add_sizes(parser: Parser) -> None:
    """The sizes of a network."""
    add = parser.add_argument
    stems = dict.fromkeys(sizes.stem for sizes in NETWORKS.values())
    add("--network", help=f"sets all sizes at once: {', '.join(NETWORKS)}")
    add("--skeleton", help=f"how it is stacked: {', '.join(HOMES)}")
    add("--stem", help=f"what comes before the cells: {', '.join(stems)}")
    cells = "depth, reductions included, ImageNet's two stem cells not"
    add("--channels", type=int, help="width")
    add("--cells", type=int, help=cells)
    add("--classes", type=int, help="classes")
    add("--input", type=int, help="image side, pixels")
    text = "with the auxiliary head"
    add("--auxiliary", action="store_const", const=True, help=text)
