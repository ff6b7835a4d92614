"""`nascore describe`, `draw`, `convert` and `bench`."""

from json import dumps
from typing import Any

from nascore.commands.options import NETWORK_KINDS, Parser, add_genotype, add_sizes
from nascore.files import named, write_bytes
from nascore.formats import WRITERS, read, write


def add_describe(parser: Parser) -> None:
    """A genotype, and the sizes of its network."""
    add_genotype(parser, *NETWORK_KINDS)
    add_sizes(parser)
    text = "run the network here too, and say how long it takes"
    parser.add_argument("--latency", action="store_true", help=text)
    parser.add_argument("--json", dest="as_json", action="store_true", help="as one JSON object")


def describe(genotype: str, as_json: bool, **sizes: Any) -> None:
    """Count a network's parameters and multiply-adds, and its depth."""
    from nascore.nets import measure

    found = measure.describe(genotype, **sizes)
    if as_json:
        print(dumps(found))
    else:
        rows = found.pop("latency", [])
        for name, value in found.items():
            shown = f"{value:,}" if type(value) is int else value
            print(f"{name.replace('_', '-')}: {shown}")
        for row in rows:
            print(_latency(row))


def _latency(row: dict) -> str:
    """The line of a batch."""
    images = "1 image" if row["batch"] == 1 else f"{row['batch']} images"
    threads = "1 thread" if row["threads"] == 1 else f"{row['threads']} threads"
    half = f"{row['low_ms']:.2f} to {row['high_ms']:.2f} ms"
    spread = f"half of {row['passes']} passes {half}"
    return f"latency of {images}, {threads}: {row['median_ms']:.2f} ms ({spread})"


def add_draw(parser: Parser) -> None:
    """A genotype, and the picture's file."""
    add_genotype(parser)
    parser.add_argument(
        "-o", "--out", required=True, metavar="FILE", help="cell.svg, .png, .pdf or .dot"
    )


def draw(genotype: str, out: str) -> None:
    """Draw a genotype as a graph."""
    from nascore.show import drawing

    drawing.draw(genotype).save(out)


def add_convert(parser: Parser) -> None:
    """A genotype, a format, and a file."""
    add_genotype(parser)
    text = f"the format: {', '.join(WRITERS)} (default: json)"
    parser.add_argument("--to", default="json", metavar="FORMAT", help=text)
    text = "the file to write (default: standard output)"
    parser.add_argument("-o", "--out", metavar="FILE", help=text)


def convert(genotype: str, to: str, out: str | None) -> None:
    """Write a genotype as others do, or as we do."""
    text = write(read(genotype), to) + "\n"
    if out is None:
        print(text, end="")
    else:
        write_bytes(named(out, "-o"), text.encode())


def add_bench(parser: Parser) -> None:
    """What is timed, how often, and beside what."""
    add = parser.add_argument
    text = "a checkout of quark0/darts; its code is run, in turn with ours"
    add("--against", metavar="FOLDER", help=text)
    text = "all other rows too: images, table, controller, children, shared weights, a model"
    add("--all", dest="others", action="store_true", help=text)
    add("--batch", type=int, default=16, help="images in a minibatch (default: 16)")
    add("--rounds", type=int, default=5, help="interleaved rounds (default: 5)")
    add("--json", dest="as_json", action="store_true", help="as one JSON object")


def bench(as_json: bool, **options: Any) -> None:
    """Time the steps of DARTS. With --against this RUNS the code in that checkout of
    quark0/darts."""
    from nascore import bench

    result = bench.benchmark(**options)
    print(dumps(result) if as_json else bench.table(result))
