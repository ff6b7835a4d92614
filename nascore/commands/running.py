"""`nascore search` and `nascore train`."""

from pathlib import Path
from typing import Any

from nascore.commands.options import (
    NETWORK_KINDS,
    Parser,
    Stopped,
    add_genotype,
    add_knobs,
    add_run_options,
)
from nascore.errors import UserError, plain
from nascore.genotypes import to_json


def add_search(parser: Parser) -> None:
    """A method, and of each method its fields."""
    from nascore.search import methods_by_name

    known = methods_by_name()
    names = ", ".join(known)
    methods = parser.add_subparsers(dest="method", required=True, metavar="METHOD", help=names)
    for name, method in known.items():
        # A field of the method's own takes the place of an option that has its name.
        parser = methods.add_parser(name, allow_abbrev=False, conflict_handler="resolve")
        add_run_options(parser, seconds=10.0)
        text = "smoke, reduced or full (default: reduced)"
        parser.add_argument("--budget", default="reduced", help=text)
        text = "search space (default: the method's own)"
        parser.add_argument("--space", metavar="NAME", help=text)
        if not method.one_shot:
            text = "processes that train children at the same time (default: one a core, at most 8)"
            parser.add_argument("--workers", type=int, metavar="N", help=text)
        title = f"fields of {name} (default: the budget's)"
        budget = method.budget
        add_knobs(parser, title, budget, budget.preset("full"))


def search(method: str, directory: str | None, **options: Any) -> None:
    """Search for an architecture. METHOD --help lists the method's fields."""
    from nascore.search import run

    result = run(method, directory=directory, **options)
    history = result.history
    genotype = result.genotype
    if not result.finished or genotype is None:
        raise Stopped(len(history), directory)
    errors = [row["error"] for row in history if "error" in row]
    if len(errors) == len(history):
        what = f"all {len(history)} architectures failed, the first with: {errors[0]}"
        raise UserError(f"nothing was found: {what}")
    if directory:
        from nascore.show.drawing import draw

        draw(genotype).save(Path(directory) / "genotype.svg")
        where = plain(directory)
        files = f"{where}/genotype.json, drawn in {where}/genotype.svg"
        print(f"found in {result.seconds:.1f} s: {files}")
    else:
        print(to_json(genotype))
    for name, value in result.details.items():
        if isinstance(value, float):
            print(f"{plain(name)}: {value:.4f}")
    print(f"best reward: {result.reward:.4f}")


def add_train(parser: Parser) -> None:
    """A genotype, and a recipe with its fields."""
    from nascore.nets.convolutional import SKELETONS
    from nascore.training import RECIPES, Recipe

    add = parser.add_argument
    add_genotype(parser, *NETWORK_KINDS)
    add_run_options(parser, seconds=30.0)
    text = f"how it is trained: {', '.join(RECIPES)} (default: small)"
    add("--recipe", default="small", help=text)
    text = f"how it is stacked: {', '.join(SKELETONS)} (default: the genotype's home)"
    add("--skeleton", help=text)
    add("--no-auxiliary", action="store_true", help="without the auxiliary head")
    add_knobs(parser, "fields of the recipe (default: the recipe's)", Recipe)


def train(genotype: str, no_auxiliary: bool, **options: Any) -> None:
    """Train a genotype's network from scratch and report its test accuracy."""
    from nascore import from_scratch

    trained = from_scratch.train(genotype, auxiliary=not no_auxiliary, **options)
    if not trained.finished:
        raise Stopped(trained.steps, trained.directory)
    print(f"test accuracy: {trained.accuracy:.4f}")


def add_watch(parser: Parser) -> None:
    """A directory."""
    parser.add_argument("directory", metavar="DIR", help="of a run, wherever it runs: its --out")


def watch(directory: str) -> None:
    """Follow a search or a training that runs elsewhere, from its files."""
    from nascore.watching import watch

    watched = watch(directory)
    print(watched.ending())
