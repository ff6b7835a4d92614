"""The command line: nascore search | train | describe | draw | bench. Whatever a user can get
wrong ends in one plain line on standard error and exit status 2."""

import argparse
import dataclasses
import json
import os
import shlex
import sys
from pathlib import Path

from nascore import __version__, genotypes, published
from nascore.errors import UserError, shorten
from nascore.genotypes import Genotype


class Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise UserError(message)


class Stopped(Exception):
    """A run was interrupted: `Stopped(steps, directory)`; with a directory it can go on."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status is 0, 2 for a user's error, 130 for a run that was
    interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options = vars(_parser(arguments).parse_args(arguments))
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
        line, status = (
            f"{str(error.filename2 or error.filename or 'cannot write')[:200]}: {error.strerror or error}",
            2,
        )
    print(f"nascore: {line}", file=sys.stderr)
    return status


def _parser(arguments: list[str]) -> argparse.ArgumentParser:
    about = "Neural Architecture Search: five papers, each complete."
    parser = Parser(prog="nascore", description=about, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"nascore {__version__}")
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
    parser.add_argument(
        "--data", default="digits", metavar="NAME-OR-FOLDER", help="images (default: digits)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="whatever is random follows from it (default: 0)"
    )
    text = "directory for what is found and for the checkpoint"
    parser.add_argument("--out", dest="directory", metavar="DIR", help=text)
    parser.add_argument("--resume", action="store_true", help="go on with the run that DIR holds")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--quiet", dest="progress", action="store_false", help="no progress bar")
    text = f"time between checkpoints (default: {seconds:.0f})"
    parser.add_argument("--checkpoint-seconds", type=float, default=seconds, help=text)


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
        parser.add_argument(
            "--budget", default="reduced", help="smoke, reduced or full (default: reduced)"
        )
        parser.add_argument(
            "--space", metavar="NAME", help="search space (default: the method's own)"
        )
        group = parser.add_argument_group(f"fields of {name} (default: the budget's)")
        full = method.budget.preset("full")
        for field in dataclasses.fields(full):
            meta = field.metadata
            bounds = " or ".join(map(str, meta["choices"])) or f"{meta['low']} to {meta['high']}"
            names = dict.fromkeys([f"--{field.name.replace('_', '-')}", f"--{field.name}"])
            text = f"{meta['help']} ({bounds}; full: {getattr(full, field.name)})".replace(
                "%", "%%"
            )
            group.add_argument(
                *names, dest=field.name, metavar="VALUE", default=argparse.SUPPRESS, help=text
            )


def search(method: str, directory: str | None, **options) -> None:
    """Search for an architecture. METHOD --help lists the method's fields."""
    from nascore.search import run

    result = run(method, directory=directory, **options)
    if not result.finished:
        raise Stopped(len(result.history), directory)
    if all("error" in row for row in result.history):
        failed, first = len(result.history), result.history[0]["error"]
        raise UserError(
            f"nothing was found: all {failed} architectures failed, the first with: {first}"
        )
    if directory:
        from nascore.show.drawing import draw

        draw(result.genotype).save(Path(directory) / "genotype.svg")
        print(
            f"found in {result.seconds:.1f} s: {directory}/genotype.json, drawn in {directory}/genotype.svg"
        )
    else:
        print(genotypes.to_json(result.genotype))
    for name, value in result.details.items():
        if isinstance(value, float):
            print(f"{name}: {value:.4f}")
    print(f"best reward: {result.reward:.4f}")


# --- train ----------------------------------------------------------------------------------------


def _add_train(commands, arguments: list[str]) -> None:
    parser = _command(commands, train)
    _add_genotype(parser)
    _add_run_options(parser, seconds=30.0)
    names = "small (the default), child, or a paper's: darts-cifar, nasnet-cifar, enas-cifar, enas-macro-cifar, ..."
    parser.add_argument("--recipe", default="small", help=names)
    _, skeletons = _networks("train", arguments)
    parser.add_argument(
        "--skeleton",
        help=f"how it is stacked: {', '.join(skeletons)} (default: the genotype's home)",
    )
    for name in ("channels", "cells", "epochs", "batch-size"):
        parser.add_argument(f"--{name}", type=int, help="replaces the recipe's")


def train(
    genotype: str, recipe: str, skeleton: str | None, data: str, seed: int, device: str, **how
) -> None:
    """Train a genotype's network from scratch and report its test accuracy."""
    from nascore import data as sets
    from nascore import training
    from nascore.loop import drive, memory_errors, write_json
    from nascore.nets.convolutional import Network, home
    from nascore.nets.measure import parameters
    from nascore.search import choose_device
    from nascore.seeding import seeded

    sizes = {name: how.pop(name) for name in ("channels", "cells", "epochs", "batch_size")}
    recipe = training.recipe_named(recipe, **sizes)
    skeleton = home(_home(genotype), skeleton, channels=sizes["channels"], cells=sizes["cells"])[
        "skeleton"
    ]
    genotype, images = read_genotype(genotype), sets.load(data, choose_device(device))
    sizes = {
        "channels": recipe.channels,
        "cells": recipe.cells,
        "auxiliary": recipe.auxiliary_weight > 0,
    }
    sizes |= {"classes": len(images.classes), "in_channels": images.channels, "skeleton": skeleton}
    config = {
        "command": "train",
        "genotype": genotypes.to_json(genotype),
        "data": images.name,
        "seed": seed,
    }
    config |= {"recipe": dataclasses.asdict(recipe), "skeleton": skeleton}
    with memory_errors():
        with seeded(seed, "network"):
            network = Network(genotype, **sizes)
        loop = training.Training(network, images, recipe, seed)
        if not drive(loop, config=config, **how):
            raise Stopped(loop.steps, how["directory"])
        loss, accuracy = training.evaluate(network, images)
    if how["directory"]:
        result = {"test_accuracy": accuracy, "test_loss": loss, "parameters": parameters(network)}
        write_json(Path(how["directory"], "result.json"), result)
    print(f"test accuracy: {accuracy:.4f}")


# --- describe, draw, bench ------------------------------------------------------------------------


def _add_genotype(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "genotype", metavar="GENOTYPE", help=f"a JSON file, or {', '.join(published.GENOTYPES)}"
    )


def read_genotype(name: str) -> Genotype:
    """A published name or a JSON file. Raises `UserError`, one line, for anything else."""
    if name in published.GENOTYPES:
        return published.GENOTYPES[name]
    try:
        with open(name, encoding="utf-8") as file:
            return genotypes.from_json(file.read(genotypes.MAX_TEXT + 1))
    except FileNotFoundError:
        names = ", ".join(published.GENOTYPES)
        raise UserError(
            f"no genotype {shorten(name)}; allowed: a JSON file, or one of {names}"
        ) from None
    except (UnicodeDecodeError, genotypes.GenotypeError) as error:
        raise UserError(f"{name}: {error}") from None


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
    _add_genotype(parser)
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
