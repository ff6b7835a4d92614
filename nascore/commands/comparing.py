"""`nascore compare`: which optimiser?"""

from json import dumps
from pathlib import Path

from nascore import own
from nascore.commands.options import Parser
from nascore.errors import require


def add_compare(parser: Parser) -> None:
    """Methods, a data set, and how often."""
    add = parser.add_argument
    text = (
        "a method by its name, or a file that registers one or has propose(history, space, random)"
    )
    add("methods", nargs="+", metavar="METHOD-OR-FILE", help=text)
    text = "whose accuracies of NAS-Bench-201: cifar10 (default), cifar100 or imagenet16"
    add("--data", default="cifar10", metavar="NAME", help=text)
    add("--seeds", type=int, default=200, metavar="N", help="searches of each (default: 200)")
    add("--queries", type=int, default=300, metavar="N", help="of each search (default: 300)")
    text = "directory for what is done, which the same command does not do again, and curves.svg"
    add("--out", dest="directory", metavar="DIR", help=text)
    add("--workers", type=int, metavar="N", help="processes (default: one a core, at most 8)")
    add("--json", dest="as_json", action="store_true", help="as one JSON object")


def compare(
    methods: list[str],
    data: str,
    seeds: int,
    queries: int,
    directory: str | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Run searchers on the table, many seeds each, and say whether they differ."""
    from nascore import comparing

    named: dict = {}
    for word in methods:
        named |= _of_file(word) if word.endswith(".py") else {word: word}
    found = comparing.compare(
        named,
        data,
        seeds=seeds,
        queries=queries,
        directory=directory,
        workers=workers,
        progress=not as_json,
    )
    if as_json:
        print(dumps({"data": found.data, "rows": found.rows, "pairs": found.pairs}))
    else:
        print(found)
        for line in found.words(next(iter(named))):
            print(line)
    if directory:
        found.chart.save(Path(directory) / "curves.svg")


def _of_file(name: str) -> dict:
    """The searchers of a file, by what they are called."""
    from nascore.registry import methods_by_name

    before = methods_by_name()
    module = own.load(name)
    after = methods_by_name()
    named = {new: new for new in after if new not in before}
    if propose := getattr(module, "propose", None):
        named[Path(name).stem] = propose
    require(named, name, "no method", "@method(...), or propose(history, space, random)")
    return named
