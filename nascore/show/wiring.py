"""Networks as wiring diagrams: NAS-RL's chains and ENAS's macro networks, whose layers each read
any of those before them."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from graphviz import Digraph, escape

from nascore.genotypes import ChainGenotype, MacroGenotype
from nascore.show.canvas import PAGE
from nascore.show.parts import INPUT, NODE, OUTPUT, look, plain, thin


class Row(NamedTuple):
    """A layer in a wiring diagram: what it says, in which tint, the rows that it reads, and the
    height and width of its filter, in points."""

    text: str
    tint: str
    reads: Collection[int] = ()
    filter: tuple[float, float] | None = None


def chain(graph: Digraph, genotype: ChainGenotype) -> str:
    """Draw NAS-RL's network into `graph`; returns it in words."""
    layers = genotype.layers
    longest = max(side for layer in layers for side in layer.filter)
    scale = 28 / max(7, longest)  # points to a pixel
    rows = [Row("image", INPUT)]
    unread: set[int] = set()
    words = []
    for i, layer in enumerate(layers, 1):
        height, width = layer.filter
        text = f"{height}x{width}, {layer.filters}"
        if layer.stride != (1, 1):
            text += ", stride {}x{}".format(*layer.stride)
        inputs = layer.inputs
        rows.append(Row(text, NODE, inputs or (0,), (height * scale, width * scale)))
        words.append(f"layer {i} ({text}) reads {listed(inputs) or 'the image'}")
        unread = unread.difference(inputs) | {i}
    legend = "filter height x width (its shape beside it), filters\n"
    legend += "a row's circles: the outputs it concatenates"
    _wires(graph, [*rows, Row("classifier", OUTPUT, unread)], 34, legend)  # NAS-RL, section 3.3
    words.append(f"the classifier reads {listed(sorted(unread))}")
    about = "(filter height x width, filters)"
    return f"A network of {len(layers)} convolutions {about}: {'; '.join(words)}."


def listed(numbers: Iterable[int]) -> str:
    """As words have them."""
    return ", ".join(map(str, numbers))


def macro(graph: Digraph, genotype: MacroGenotype) -> str:
    """Draw ENAS's network of layers into `graph`; returns it in words."""
    rows = [Row("stem", INPUT)]
    words = []
    for i, layer in enumerate(genotype.layers, 1):
        op = layer.op
        skips = layer.skips
        _, tint, _ = look(op)
        text = plain(op)
        rows.append(Row(text, tint, {*skips, i - 1}))
        said = f"layer {i} {text}"
        if skips:
            said += f" with skips from {', '.join(str(j) if j else 'stem' for j in skips)}"
        words.append(said)
    rows.append(Row("classifier", OUTPUT, {len(words)}))
    _wires(graph, rows, 26, "a row's circles: the outputs it reads")
    return f"A network of {len(words)} layers: {'; '.join(words)}."


def _wires(graph: Digraph, rows: list[Row], pitch: int, legend: str) -> None:
    """A network as a wiring diagram: its layers step down the diagonal, an output is a vertical
    line, and a circle with the layer's number is where a later row reads it. Places are in points,
    `pitch` from row to row; the layout engine nop2 keeps them."""
    graph.attr(layout="nop2", splines="line", outputorder="edgesfirst", fontsize="12")
    # A line without a character crashes Graphviz 14.1.
    graph.attr(label=f" \n{legend};  pink: skip connections")
    graph.attr("node", fontsize="12", margin="0")
    step = min(46.0, (PAGE - 190) / len(rows))
    names = [*map(str, range(len(rows) - 1)), "out"]
    ends: dict[int, str] = {}
    for i, (name, row) in enumerate(zip(names, rows)):
        text, tint, reads, filter = row
        low = -i * pitch
        left = i * step - 10
        width = 6.2 * len(text) + 12
        _box(graph, name, name, (left, low), 20, 18, tint)
        _box(graph, f"{name} text", text, (left + 21, low), width, 18, tint)
        if filter:
            tall, wide = filter
            _box(graph, f"{name} filter", "", (left + 26 + width, low), wide, tall, tint)
        for j in sorted(reads):
            ends[j] = f"{j}->{name}"  # its name counts as a line of the picture
            skip = 0 < j < i - 1 and name != "out"
            _circle(graph, ends[j], names[j], (j * step - 7, low), "" if skip else rows[j].tint)
        if reads:
            thin(graph, f"{min(reads)}->{name}", name)
    for j, end in ends.items():
        thin(graph, names[j], end, arrowhead="none")


def _box(
    graph: Digraph,
    name: str,
    label: str,
    corner: tuple[float, int],
    width: float,
    height: float,
    tint: str,
    **options: str,
) -> None:
    """A node of a wiring diagram, from its left side and its middle."""
    left, middle = corner
    graph.node(
        name,
        escape(label),
        pos=f"{left + width / 2:.1f},{middle}",
        width=f"{width / 72:.3f}",
        height=f"{height / 72:.3f}",
        **options,
        fillcolor=tint,
    )


def _circle(graph: Digraph, name: str, label: str, corner: tuple[float, int], tint: str) -> None:
    """Where an output is read; a skip connection, without a tint of its own, is pink."""
    options = {"shape": "circle", "fontsize": "10", "fixedsize": "true"}
    if not tint:
        options["color"], tint, _ = look("skip")
    _box(graph, name, label, corner, 14, 14, tint, **options)
