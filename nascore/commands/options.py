"""What the commands share: a parser whose errors are a `UserError`, and options that several
have."""

import argparse
import dataclasses
from collections.abc import Callable

from nascore import genotypes, published
from nascore.errors import UserError
from nascore.knobs import bounds_of
from nascore.nets.sizes import HOMES, NETWORKS


class Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise UserError(message)

    def parse_known_args(self, args=None, namespace=None):
        found, left = super().parse_known_args(args, namespace)
        for action in self._actions:
            one = action.nargs is None
            if one and isinstance(getattr(found, action.dest, None), list):  # of --out=--
                raise UserError(f"{action.option_strings[0]}: found '--', allowed: a value")
        return found, left


class Stopped(Exception):
    """A run was interrupted: `Stopped(steps, directory)`; with a directory it can go on."""


def command(commands, run) -> argparse.ArgumentParser:
    """A command is a function: its name, its docstring as the help, its parameters from the
    options."""
    parser = commands.add_parser(
        run.__name__, help=run.__doc__, description=run.__doc__, allow_abbrev=False
    )
    parser.set_defaults(run=run)
    return parser


def add_run_options(parser: argparse.ArgumentParser, seconds: float) -> None:
    """What a search and a training share; `seconds` between checkpoints."""
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
    add("--quiet", dest="progress", action="store_false", help="no progress")
    text = f"time between checkpoints (default: {seconds:.0f})"
    add("--checkpoint-seconds", type=float, default=seconds, help=text)


def add_knobs(group, cls: type, default_of: Callable[[str], str]) -> None:
    """An option for every field of a budget or a recipe, with its help and bounds."""
    for f in dataclasses.fields(cls):
        names = dict.fromkeys([f"--{f.name.replace('_', '-')}", f"--{f.name}"])
        text = f"{f.metadata['help']} ({bounds_of(f)}{default_of(f.name)})".replace("%", "%%")
        how = {"dest": f.name, "metavar": "VALUE", "default": argparse.SUPPRESS, "help": text}
        group.add_argument(*names, **how)


NETWORK_KINDS = ("cell", "chain", "macro")  # of genotypes that are made networks of images


def add_genotype(parser: argparse.ArgumentParser, *kinds: str) -> None:
    known = [n for n, g in published.GENOTYPES.items() if not kinds or genotypes.kind(g) in kinds]
    text = f"a file, the folder of a search or of a model, a text, or {', '.join(known)}"
    parser.add_argument("genotype", metavar="GENOTYPE", help=text)


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")


def add_sizes(parser: argparse.ArgumentParser) -> None:
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
