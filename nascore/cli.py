"""The command line: nascore search | train | predict | evaluate | export | describe | draw | convert |
bench. Whatever a user can get wrong ends in one plain line on standard error and exit status 2."""

import argparse
import os
import shlex
import sys

from nascore import __version__, own
from nascore.commands import answering, running, showing
from nascore.commands.options import Parser, Stopped
from nascore.errors import UserError, require, say

COMMANDS = (
    running.add_search,
    running.add_train,
    answering.add_predict,
    answering.add_evaluate,
    answering.add_export,
    showing.add_describe,
    showing.add_draw,
    showing.add_convert,
    showing.add_bench,
)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status is 0, 2 for a user's error, 130 for a run that was
    interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options = vars(_parsed(arguments))
        return options.pop("run")(**options) or 0
    except UserError as error:
        line = str(error)
        status = 2
    except Stopped as run:
        steps, directory = run.args
        again = shlex.join([*(word for word in arguments if word != "--resume"), "--resume"])
        kept = f"go on with: nascore {again}" if directory else "without --out nothing was kept"
        line = f"stopped after {steps} steps; {kept}"
        status = 130
    except KeyboardInterrupt:
        line = "interrupted"
        status = 130
    except BrokenPipeError:  # the reader of our output went away: nothing to say to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a file that cannot be read or written, a full disk
        file = str(error.filename2 or error.filename or "cannot read or write")[:200]
        line = f"{file}: {error.strerror or error}"
        status = 2
    say(line)
    return status


def _parsed(arguments: list[str]) -> argparse.Namespace:
    """What the words mean; what they import comes first, since it may bring a method."""
    words, imports = _without_imports(arguments)
    for name in imports:
        own.load(name)
    return _parser(words).parse_args(words)


def _without_imports(arguments: list[str]) -> tuple[list[str], list[str]]:
    words = []
    imports = []
    left = iter(arguments)
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
    for add in COMMANDS:
        add(commands, arguments)
    return parser
