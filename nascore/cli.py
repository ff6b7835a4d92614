"""The command line: nascore search | train | describe | draw | bench. Whatever a user can get
wrong ends in one plain line on standard error and exit status 2."""

import argparse
import dataclasses
import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from nascore import __version__, genotypes, own, published
from nascore.errors import UserError, plain, require, say, shorten, whole
from nascore.files import write_json
from nascore.genotypes import Genotype
from nascore.knobs import bounds_of


class Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise UserError(message)

    def parse_known_args(self, args=None, namespace=None):
        found, left = super().parse_known_args(args, namespace)
        for action in self._actions:
            if isinstance(getattr(found, action.dest, None), list):  # argparse makes it of --out=--
                raise UserError(f"{action.option_strings[0]}: found '--', allowed: a value")
        return found, left


class Stopped(Exception):
    """A run was interrupted: `Stopped(steps, directory)`; with a directory it can go on."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status is 0, 2 for a user's error, 130 for a run that was
    interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options = vars(_parsed(arguments))
        options.pop("run")(**options)
        return 0
    except UserError as error:
        line, status = str(error), 2
    except Stopped as run:
        steps, directory = run.args
        again = shlex.join([*(word for word in arguments if word != "--resume"), "--resume"])
        kept = f"go on with: nascore {again}" if directory else "without --out nothing was kept"
        line, status = f"stopped after {steps} steps; {kept}", 130
    except KeyboardInterrupt:
        line, status = "interrupted", 130
    except BrokenPipeError:  # the reader of our output went away: nothing to say to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a file that cannot be read or written, a full disk
        file = str(error.filename2 or error.filename or "cannot read or write")[:200]
        line, status = f"{file}: {error.strerror or error}", 2
    say(line)
    return status


def _parsed(arguments: list[str]) -> argparse.Namespace:
    """What the words mean; what they import comes first, since it may bring a method."""
    words, imports = _without_imports(arguments)
    for name in imports:
        own.load(name)
    return _parser(words).parse_args(words)


def _without_imports(arguments: list[str]) -> tuple[list[str], list[str]]:
    words, imports, left = [], [], iter(arguments)
    for word in left:
        if word == "--import":
            name = next(left, "")
            require(name not in ("", "--"), "--import", name, "a file or a module of yours")
            imports.append(name)
        elif word.startswith("--import="):
            imports.append(word.removeprefix("--import="))
        else:
            words.append(word)
    return words, imports


def _parser(arguments: list[str]) -> argparse.ArgumentParser:
    about = "Neural Architecture Search: five papers, each complete."
    parser = Parser(prog="nascore", description=about, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"nascore {__version__}")
    text = "your own methods, spaces, operations: this RUNS a file, or imports a dotted module"
    parser.add_argument("--import", metavar="FILE-OR-MODULE", default=argparse.SUPPRESS, help=text)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    for add in (_add_search, _add_train, _add_describe, _add_draw, _add_bench):
        add(commands, arguments)
    return parser


def _command(commands, run) -> argparse.ArgumentParser:
    """A command is a function: its name, its docstring as the help, its parameters from the
    options."""
    parser = commands.add_parser(
        run.__name__, help=run.__doc__, description=run.__doc__, allow_abbrev=False
    )
    parser.set_defaults(run=run)
    return parser


def _add_run_options(parser: argparse.ArgumentParser, seconds: float) -> None:
    text = "images (default: digits); a folder: train/CLASS/*.jpg, test/CLASS/*.jpg, or CLASS/*.jpg"
    parser.add_argument("--data", default="digits", metavar="NAME-OR-FOLDER", help=text)
    text = "resize images to N x N pixels (default: as they are, or 32 if they are not alike)"
    parser.add_argument("--image-size", type=int, metavar="N", help=text)
    text = "mirrored images are no images of their class (letters, traffic signs)"
    parser.add_argument("--no-flip", dest="flip", action="store_const", const=False, help=text)
    text = "whatever is random follows from it (default: 0)"
    parser.add_argument("--seed", type=int, default=0, help=text)
    text = "directory for what is found and for the checkpoint"
    parser.add_argument("--out", dest="directory", metavar="DIR", help=text)
    parser.add_argument("--resume", action="store_true", help="go on with the run that DIR holds")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    text = "that PyTorch computes with, part of the run (default: 1, or 2 where its maps are large)"
    parser.add_argument("--threads", type=int, metavar="N", help=text)
    parser.add_argument("--quiet", dest="progress", action="store_false", help="no progress")
    text = f"time between checkpoints (default: {seconds:.0f})"
    parser.add_argument("--checkpoint-seconds", type=float, default=seconds, help=text)


def _add_knobs(group, cls: type, default_of: Callable[[str], str]) -> None:
    """An option for every field of a budget or a recipe, with its help and bounds."""
    for f in dataclasses.fields(cls):
        names = dict.fromkeys([f"--{f.name.replace('_', '-')}", f"--{f.name}"])
        text = f"{f.metadata['help']} ({bounds_of(f)}{default_of(f.name)})".replace("%", "%%")
        how = {"dest": f.name, "metavar": "VALUE", "default": argparse.SUPPRESS, "help": text}
        group.add_argument(*names, **how)


# --- search ---------------------------------------------------------------------------------------


def _add_search(commands, arguments: list[str]) -> None:
    parser = _command(commands, search)
    if arguments[:1] != ["search"]:  # only a search needs the methods, and with them PyTorch
        return
    from nascore.search import methods_by_name

    known = methods_by_name()
    methods = parser.add_subparsers(
        dest="method", required=True, metavar="METHOD", help=", ".join(known)
    )
    for name, method in known.items():
        parser = methods.add_parser(name, allow_abbrev=False)
        _add_run_options(parser, seconds=10.0)
        text = "smoke, reduced or full (default: reduced)"
        parser.add_argument("--budget", default="reduced", help=text)
        text = "search space (default: the method's own)"
        parser.add_argument("--space", metavar="NAME", help=text)
        group = parser.add_argument_group(f"fields of {name} (default: the budget's)")
        full = method.budget.preset("full")
        _add_knobs(group, method.budget, lambda field, full=full: f"; full: {getattr(full, field)}")


def search(method: str, directory: str | None, **options) -> None:
    """Search for an architecture. METHOD --help lists the method's fields."""
    from nascore.search import run

    result = run(method, directory=directory, **options)
    if not result.finished:
        raise Stopped(len(result.history), directory)
    if all("error" in row for row in result.history):
        failed, first = len(result.history), result.history[0]["error"]
        what = f"all {failed} architectures failed, the first with: {first}"
        raise UserError(f"nothing was found: {what}")
    if directory:
        from nascore.show.drawing import draw

        draw(result.genotype).save(Path(directory) / "genotype.svg")
        where = plain(directory)
        files = f"{where}/genotype.json, drawn in {where}/genotype.svg"
        print(f"found in {result.seconds:.1f} s: {files}")
    else:
        print(genotypes.to_json(result.genotype))
    for name, value in result.details.items():
        if isinstance(value, float):
            print(f"{plain(name)}: {value:.4f}")
    print(f"best reward: {result.reward:.4f}")


# --- train ----------------------------------------------------------------------------------------


def _add_train(commands, arguments: list[str]) -> None:
    parser = _command(commands, train)
    _add_genotype(parser, *NETWORK_KINDS)
    _add_run_options(parser, seconds=30.0)
    if arguments[:1] != ["train"]:
        return
    from nascore.nets.convolutional import SKELETONS
    from nascore.training import RECIPES, Recipe

    text = f"how it is trained: {', '.join(RECIPES)} (default: small)"
    parser.add_argument("--recipe", default="small", help=text)
    text = f"how it is stacked: {', '.join(SKELETONS)} (default: the genotype's home)"
    parser.add_argument("--skeleton", help=text)
    parser.add_argument("--no-auxiliary", action="store_true", help="without the auxiliary head")
    group = parser.add_argument_group("fields of the recipe (default: the recipe's)")
    _add_knobs(group, Recipe, lambda field: "")


def train(
    genotype: str,
    recipe: str,
    skeleton: str | None,
    no_auxiliary: bool,
    data: str,
    image_size: int | None,
    flip: bool | None,
    seed: int,
    device: str,
    directory: str | None,
    resume: bool,
    progress: bool,
    checkpoint_seconds: float,
    threads: int | None,
    **fields,
) -> None:
    """Train a genotype's network from scratch and report its test accuracy."""
    from nascore import data as sets
    from nascore import training
    from nascore.loop import directory_named, drive, memory_errors, require_free
    from nascore.nets.convolutional import Network, home
    from nascore.nets.measure import parameters
    from nascore.search import choose_device
    from nascore.seeding import seeded
    from nascore.threads import one_thread

    whole("seed", seed, 0, 2**32 - 1)
    sizes = {name: fields.get(name) for name in ("channels", "cells")}
    recipe = training.recipe_named(recipe, **fields)
    if no_auxiliary:
        recipe = dataclasses.replace(recipe, auxiliary_weight=0.0)
    skeleton = home(_home(genotype), skeleton, **sizes)["skeleton"]
    genotype, out = read_genotype(genotype), directory_named(directory)
    if out and not resume:
        require_free(out)
    images = sets.load(data, choose_device(device), image_size=image_size, flip=flip)
    with memory_errors(), one_thread():
        with seeded(seed, "network"):
            network = Network(
                genotype,
                channels=recipe.channels,
                cells=recipe.cells,
                classes=len(images.classes),
                in_channels=images.channels,
                skeleton=skeleton,
                auxiliary=recipe.auxiliary_weight > 0,
            )
        network.check(images.train.shape)
        loop = training.Training(network, images, recipe, seed)
        config = {"command": "train", "genotype": json.loads(genotypes.to_json(genotype))}
        config |= {"data": images.fingerprint(), "seed": seed}
        config |= {"recipe": dataclasses.asdict(recipe), "skeleton": skeleton}
        finished = drive(
            loop,
            directory=directory,
            config=config,
            resume=resume,
            progress=progress,
            checkpoint_seconds=checkpoint_seconds,
            threads=threads,
            defaults=training.DEFAULTS,
        )
        if not finished:
            raise Stopped(loop.steps, directory)
        loss, accuracy = training.evaluate(network, images, threads=loop.threads)
    if out:
        result = {"test_accuracy": accuracy, "test_loss": loss, "parameters": parameters(network)}
        write_json(out / "result.json", result)
    print(f"test accuracy: {accuracy:.4f}")


# --- describe, draw, bench ------------------------------------------------------------------------


NETWORK_KINDS = ("cell", "chain", "macro")  # of genotypes that are made networks of images


def _add_genotype(parser: argparse.ArgumentParser, *kinds: str) -> None:
    known = [n for n, g in published.GENOTYPES.items() if not kinds or genotypes.kind(g) in kinds]
    text = f"a JSON file, the folder of a search, or {', '.join(known)}"
    parser.add_argument("genotype", metavar="GENOTYPE", help=text)


def read_genotype(name: str) -> Genotype:
    """A published name, a JSON file, or the folder of a search. Raises `UserError`, one line, for
    anything else."""
    if name in published.GENOTYPES:
        return published.GENOTYPES[name]
    file = os.path.join(name, "genotype.json") if os.path.isdir(name) else name
    try:
        with open(file, encoding="utf-8") as text:
            return genotypes.from_json(text.read(genotypes.MAX_TEXT + 1))
    except FileNotFoundError:
        known = ", ".join(published.GENOTYPES)
        allowed = f"a JSON file, or one of {known}, or the folder of a search"
        raise UserError(f"no genotype {shorten(file)}; allowed: {allowed}") from None
    except (ValueError, genotypes.GenotypeError) as error:  # no UTF-8, a name that cannot be
        raise UserError(f"{file}: {error}") from None


def _home(name: str) -> Genotype | str:
    return name if name in published.GENOTYPES else read_genotype(name)


def _networks(command: str, arguments: list[str]) -> tuple[dict, dict]:
    """`NETWORKS` and `SKELETONS`, whose names the help of `command` lists. No other command
    loads PyTorch for that."""
    if arguments[:1] != [command]:
        return {}, {}
    from nascore.nets.convolutional import NETWORKS, SKELETONS

    return NETWORKS, SKELETONS


def _add_describe(commands, arguments: list[str]) -> None:
    parser = _command(commands, describe)
    _add_genotype(parser, *NETWORK_KINDS)
    networks, skeletons = _networks("describe", arguments)
    stems = dict.fromkeys(sizes["stem"] for sizes in networks.values() if "stem" in sizes)
    parser.add_argument("--network", help=f"sets all sizes at once: {', '.join(networks)}")
    parser.add_argument("--skeleton", help=f"how it is stacked: {', '.join(skeletons)}")
    parser.add_argument("--stem", help=f"what comes before the cells: {', '.join(stems)}")
    cells = "depth, reductions included, ImageNet's two stem cells not"
    sizes = {
        "channels": "width",
        "cells": cells,
        "classes": "classes",
        "input": "image side, pixels",
    }
    for name, text in sizes.items():
        parser.add_argument(f"--{name}", type=int, help=text)
    parser.add_argument(
        "--auxiliary", action="store_const", const=True, help="with the auxiliary head"
    )
    parser.add_argument("--json", dest="as_json", action="store_true", help="as one JSON object")


def describe(genotype: str, as_json: bool, **sizes) -> None:
    """Count a network's parameters and multiply-adds, and its depth."""
    from nascore.nets import measure

    found = measure.describe(_home(genotype), **sizes)
    if as_json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(
                f"{name.replace('_', '-')}: {value:,}" if type(value) is int else f"{name}: {value}"
            )


def _add_draw(commands, arguments: list[str]) -> None:
    parser = _command(commands, draw)
    _add_genotype(parser)
    parser.add_argument(
        "-o", "--out", required=True, metavar="FILE", help="cell.svg, .png, .pdf or .dot"
    )


def draw(genotype: str, out: str) -> None:
    """Draw a genotype as a graph."""
    from nascore.show import drawing

    drawing.draw(read_genotype(genotype)).save(out)


def _add_bench(commands, arguments: list[str]) -> None:
    parser = _command(commands, bench)
    text = "a checkout of quark0/darts; its code is run, in turn with ours"
    parser.add_argument("--against", metavar="FOLDER", help=text)
    parser.add_argument("--batch", type=int, default=16, help="images in a minibatch (default: 16)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: 5)")
    parser.add_argument("--json", dest="as_json", action="store_true", help="as one JSON object")


def bench(as_json: bool, **options) -> None:
    """Time the steps of DARTS. With --against this RUNS the code in that checkout of
    quark0/darts."""
    from nascore import bench

    result = bench.benchmark(**options)
    print(json.dumps(result) if as_json else bench.table(result))
