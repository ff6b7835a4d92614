"""The command line: nascore search | train | watch | predict | evaluate | export | describe |
draw | convert | bench. Whatever a user can get wrong ends in one plain line on standard error and
exit status 2."""

import os
import shlex
import sys
from argparse import SUPPRESS
from collections.abc import Callable

from nascore import __version__, own
from nascore.commands.answering import (
    add_evaluate,
    add_export,
    add_predict,
    evaluate,
    export,
    predict,
)
from nascore.commands.options import Parser, Stopped
from nascore.commands.running import add_search, add_train, add_watch, search, train, watch
from nascore.commands.showing import (
    add_bench,
    add_convert,
    add_describe,
    add_draw,
    bench,
    convert,
    describe,
    draw,
)
from nascore.errors import UserError, require, say

# A command is a function: its name is the word, its docstring the help, its parameters the options
# that the function beside it declares.
COMMANDS: dict[Callable[..., int | None], Callable[[Parser], None]] = {
    search: add_search,
    train: add_train,
    watch: add_watch,
    predict: add_predict,
    evaluate: add_evaluate,
    export: add_export,
    describe: add_describe,
    draw: add_draw,
    convert: add_convert,
    bench: add_bench,
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status is 0, 2 for a user's error, 130 for a run that was
    interrupted."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        return _run(words)
    except UserError as error:
        line = str(error)
        status = 2
    except Stopped as run:
        line = _how_to_go_on(run, words)
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


def _run(words: list[str]) -> int:
    """What the words say; what they import comes first, since it may bring a method."""
    words, imports = _without_imports(words)
    for name in imports:
        own.load(name)
    options = vars(_parser(words).parse_args(words))
    command = options.pop("run")
    return command(**options) or 0


def _how_to_go_on(run: Stopped, words: list[str]) -> str:
    again = shlex.join([*(word for word in words if word != "--resume"), "--resume"])
    kept = f"go on with: nascore {again}" if run.directory else "without --out nothing was kept"
    return f"stopped after {run.steps} steps; {kept}"


def _without_imports(arguments: list[str]) -> tuple[list[str], list[str]]:
    words = []
    imports = []
    left = iter(arguments)
    for word in left:
        option, has_value, name = word.partition("=")
        if option != "--import":
            words.append(word)
            continue
        if not has_value:
            name = next(left, "")
            require(name not in ("", "--"), option, name, "a file or a module of yours")
        imports.append(name)
    return words, imports


def _parser(words: list[str]) -> Parser:
    """Knows every command by its name, and of the one that is asked for the options too."""
    about = "Neural Architecture Search: five papers, each complete."
    parser = Parser(prog="nascore", description=about, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"nascore {__version__}")
    text = "your own methods, spaces, operations: this RUNS a file, or imports a dotted module"
    parser.add_argument("--import", metavar="FILE-OR-MODULE", default=SUPPRESS, help=text)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    asked = next((word for word in words if not word.startswith("-")), None)
    for run, add_options in COMMANDS.items():
        name = run.__name__
        help = run.__doc__
        command = commands.add_parser(name, help=help, description=help, allow_abbrev=False)
        command.set_defaults(run=run)
        if name == asked:
            add_options(command)
    return parser
