"""Genotypes as pictures, in the manner of the papers' own figures (DARTS, figures 4 and 5).

The package `graphviz` writes the DOT text, `pygraphviz` renders it inside this process (no `dot`
program is needed). Every picture has a transparent background, and text that stands on its own tint
or is mid-grey, so that it reads on light and on dark pages; colours are Okabe and Ito's, and never
the only sign: each edge carries its operation's name.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from graphviz import Digraph, escape

from nascore import formats
from nascore.errors import UserError
from nascore.genotypes import (
    TABLE,
    Cell,
    CellGenotype,
    ChainGenotype,
    Genotype,
    MacroGenotype,
    RecurrentGenotype,
    RecurrentTree,
)
from nascore.show.canvas import PAGE, Drawing, page

MAX_EDGES = 600  # dot takes many seconds from here on, and nobody could read the picture
# Of an operation's family, or an activation: stroke, tint, line style.
Look = tuple[str, str, str]
BLUE: Look = ("#0072B2", "#CFE5F3", "solid")
LIGHT_BLUE: Look = ("#3A96CE", "#E3F3FC", "solid")
GREEN: Look = ("#009E73", "#CFEDE4", "solid")
RED: Look = ("#D55E00", "#F9E0CF", "solid")
PINK: Look = ("#B5619A", "#F5E3EE", "dashed")
FAMILIES: dict[str, Look] = {
    "separable": BLUE,
    "dilated separable": LIGHT_BLUE,
    "dilated convolution": LIGHT_BLUE,
    "convolution": GREEN,
    "factorized convolution": GREEN,
    "max pool": RED,
    "average pool": ("#C48200", "#FBEDCB", "solid"),
    "skip": PINK,
    "none": ("#9a9a9a", "#E8E8E8", "dotted"),
    "own": ("#666666", "#DDDDDD", "solid"),
    "identity": PINK,
    "tanh": BLUE,
    "relu": RED,
    "sigmoid": GREEN,
}
INPUT, NODE, OUTPUT = "#CBE6CB", "#C6DCF1", "#F3E6B3"


def look(name: str) -> Look:
    """The stroke, tint and line style of an operation, a family of them or an activation: the same
    has the same colour everywhere."""
    if known := TABLE.get(name):
        name = known.family
    return FAMILIES.get(name, FAMILIES["own"])


def draw(genotype: formats.Source) -> Drawing:
    """Draw an architecture, whatever `formats.read` takes. A cell: inputs c_{k-2} and c_{k-1} on
    the left, numbered nodes, output c_{k} on the right; normal and reduction cell side by side, or
    one above the other when they are deep. Edges of `none` stay, faint."""
    graph = page()
    words = _drawn(graph, formats.read(genotype))
    edges = sum("->" in line for line in graph.body)
    if edges > MAX_EDGES:
        raise UserError(f"draw: found a picture of {edges:,} lines, allowed: at most {MAX_EDGES:,}")
    return Drawing(graph.source, words)


def _drawn(graph: Digraph, genotype: Genotype) -> str:
    match genotype:
        case CellGenotype():
            return _cells(graph, genotype)
        case ChainGenotype():
            return _chain(graph, genotype)
        case MacroGenotype():
            return _macro(graph, genotype)
        case RecurrentGenotype():
            return _recurrent(graph, genotype)
        case RecurrentTree():
            return _tree(graph, genotype)


# --- one function a kind of genotype; each returns the picture in words ---------------------------


def _cells(graph: Digraph, genotype: CellGenotype) -> str:
    normal = genotype.normal
    cells = {"cell": normal}
    if reduce := genotype.reduce:
        cells = {"normal cell": normal, "reduction cell": reduce}
    beside = sum(map(_depth, cells.values())) <= 8
    # Rows and columns change places under rankdir=LR: an array one wide is a row. `u` keeps our
    # order (sortv).
    graph.attr(pack="20", packmode="array_ur1" if beside else "array_u2")
    order = 1 if beside else -1  # one above the other, the first is the lowest
    stacked = enumerate(list(cells.items())[::order], 1)
    words = [_cell(graph, title, cell, place) for place, (title, cell) in stacked]
    nodes = [node for cell in cells.values() for node in cell.nodes]
    legend = "a node adds its inputs"
    if any(node.combine == "concat" for node in nodes):
        legend += " (or concatenates them, where it says so)"
    legend += ";  thin grey: concatenated into c_{k}"
    if any("none" in node.ops for node in nodes):
        legend += ";  dotted: no connection"
    graph.attr(label=legend, labelloc="b", fontsize="11")
    return " ".join(words[::order])


def _cell(graph: Digraph, title: str, cell: Cell, order: int) -> str:
    inputs = cell.n_inputs
    names = states(cell)
    say = [f"node {name}" if name.isdigit() else name for name in names]
    words = []
    with graph.subgraph(name=f"cluster_{order}") as part:
        part.attr(label=title, labelloc="t", fontsize="16", color="transparent", sortv=str(order))
        with part.subgraph() as left:
            left.attr(rank="same")
            for j in range(inputs):
                left.node(f"{order}_{j}", names[j], fillcolor=INPUT)
        for i, node in enumerate(cell.nodes, inputs):
            concat = "\nconcat" * (node.combine == "concat")
            part.node(f"{order}_{i}", names[i] + concat, fillcolor=NODE)
            read = []
            for k, (j, op) in enumerate(zip(node.inputs, node.ops)):
                _operation(part, [f"{order}_{j}"], op, look(op), f"{order}_{i}", k)
                read.append(f"{plain(op)} of {say[j]}")
            parts = " and ".join(read)
            words.append(f"{say[i]} {'concatenates' if concat else 'adds'} {parts}")
        part.node(f"{order}_out", "c_{k}", fillcolor=OUTPUT)
        for j in cell.concat:
            _thin(part, f"{order}_{j}", f"{order}_out")
    words.append(f"the output c_{{k}} concatenates {', '.join(say[j] for j in cell.concat)}")
    return f"{title.capitalize()}: {'; '.join(words)}."


def states(cell: Cell) -> list[str]:
    """The name of each state in a picture."""
    return ["c_{k-2}", "c_{k-1}"][-cell.n_inputs :] + [str(i) for i in range(len(cell.nodes))]


def _depth(cell: Cell) -> int:
    """Edges on the longest way from an input to the output."""
    depth = [0] * cell.n_inputs
    for node in cell.nodes:
        depth.append(1 + max(depth[j] for j in node.inputs))
    return 1 + max(depth[j] for j in cell.concat)


class _Row(NamedTuple):
    """A layer in a wiring diagram: what it says, in which tint, the rows that it reads, and the
    height and width of its filter, in points."""

    text: str
    tint: str
    reads: Collection[int] = ()
    filter: tuple[float, float] | None = None


def _chain(graph: Digraph, genotype: ChainGenotype) -> str:
    layers = genotype.layers
    longest = max(side for layer in layers for side in layer.filter)
    scale = 28 / max(7, longest)  # points to a pixel
    rows = [_Row("image", INPUT)]
    unread: set[int] = set()
    words = []
    for i, layer in enumerate(layers, 1):
        height, width = layer.filter
        text = f"{height}x{width}, {layer.filters}"
        if layer.stride != (1, 1):
            text += ", stride {}x{}".format(*layer.stride)
        inputs = layer.inputs
        rows.append(_Row(text, NODE, inputs or (0,), (height * scale, width * scale)))
        words.append(f"layer {i} ({text}) reads {_listed(inputs) or 'the image'}")
        unread = unread.difference(inputs) | {i}
    legend = "filter height x width (its shape beside it), filters\n"
    legend += "a row's circles: the outputs it concatenates"
    _wires(graph, [*rows, _Row("classifier", OUTPUT, unread)], 34, legend)  # NAS-RL, section 3.3
    words.append(f"the classifier reads {_listed(sorted(unread))}")
    about = "(filter height x width, filters)"
    return f"A network of {len(layers)} convolutions {about}: {'; '.join(words)}."


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _macro(graph: Digraph, genotype: MacroGenotype) -> str:
    rows = [_Row("stem", INPUT)]
    words = []
    for i, layer in enumerate(genotype.layers, 1):
        op = layer.op
        skips = layer.skips
        _, tint, _ = look(op)
        text = plain(op)
        rows.append(_Row(text, tint, {*skips, i - 1}))
        said = f"layer {i} {text}"
        if skips:
            said += f" with skips from {', '.join(str(j) if j else 'stem' for j in skips)}"
        words.append(said)
    rows.append(_Row("classifier", OUTPUT, {len(words)}))
    _wires(graph, rows, 26, "a row's circles: the outputs it reads")
    return f"A network of {len(words)} layers: {'; '.join(words)}."


def _wires(graph: Digraph, rows: list[_Row], pitch: int, legend: str) -> None:
    """A network as a wiring diagram: its layers step down the diagonal, an output is a vertical
    line, and a circle with the layer's number is where a later row reads it. Places are in points,
    `pitch` from row to row; the layout engine nop2 keeps them."""
    graph.attr(layout="nop2", splines="line", outputorder="edgesfirst", fontsize="11")
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
            _thin(graph, f"{min(reads)}->{name}", name)
    for j, end in ends.items():
        _thin(graph, names[j], end, arrowhead="none")


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
    options = {"shape": "circle", "fontsize": "9", "fixedsize": "true"}
    if not tint:
        options["color"], tint, _ = look("skip")
    _box(graph, name, label, corner, 14, 14, tint, **options)


def _recurrent(graph: Digraph, genotype: RecurrentGenotype) -> str:
    _column(graph, "x_{t}", "h_{t-1}")
    graph.node("h_{t}", fillcolor=OUTPUT)
    words = []
    for i, (j, activation) in enumerate(genotype.nodes):
        name = str(i)
        graph.node(name, fillcolor=NODE)
        sources = [str(j)]
        read = f"node {j}"
        if j < 0:
            sources = ["x_{t}", "h_{t-1}"]
            read = "x and h"
        _operation(graph, sources, activation, look(activation), name)
        words.append(f"node {i} is {activation} of {read}")
    for j in genotype.concat:
        _thin(graph, str(j), "h_{t}")
    output = f"the mean of nodes {_listed(genotype.concat)}"
    return f"A recurrent cell: {'; '.join(words)}; output: {output}."


def _tree(graph: Digraph, genotype: RecurrentTree) -> str:
    _column(graph, "x_{t}", "h_{t-1}", "c_{t-1}")
    words = []
    base = genotype.base
    for i, (combine, activation) in enumerate(genotype.tree):
        said = f"{combine}, {activation}"
        name = str(i)
        stroke, tint, _ = look(activation)
        graph.node(name, f"{i}\n{said}", fillcolor=tint, color=stroke)
        left = 2 * (i - base)  # leaves first, then level by level
        sources = ["x_{t}", "h_{t-1}"] if left < 0 else [str(left), str(left + 1)]
        graph.edges((source, name) for source in sources)
        words.append(f"node {i} {said}")
    combine, activation = genotype.inject
    c_in = str(genotype.c_in)
    c_out = str(genotype.c_out)
    _operation(graph, ["c_{t-1}"], f"{combine}, {activation}", look(activation), c_in)
    graph.node("h_{t}", fillcolor=OUTPUT)
    graph.edge(str(len(words) - 1), "h_{t}", style="solid")
    graph.node("c_{t}", fillcolor=OUTPUT)
    graph.edge(c_out, "c_{t}", style="dashed")
    memory = f"the memory enters node {c_in} and leaves from node {c_out}"
    leaves = f"a binary tree over {base} leaves"
    return f"A recurrent cell, {leaves}: {'; '.join(words)}; {memory}."


# --- what they share ------------------------------------------------------------------------------


def plain(name: str) -> str:
    """A user may register an operation under any name; a picture holds only what XML can."""
    return "".join(c if c.isprintable() else "?" for c in name)[:40]


def _column(graph: Digraph, *names: str) -> None:
    with graph.subgraph() as left:
        left.attr(rank="same")
        for name in names:
            left.node(name, fillcolor=INPUT)


def _thin(graph: Digraph, source: str, target: str, **options: str) -> None:
    """An edge without an operation."""
    graph.edge(source, target, **options, penwidth="0.9", arrowsize="0.6")


def _operation(
    graph: Digraph, sources: list[str], text: str, looks: Look, target: str, k: int = 0
) -> None:
    """An edge that carries its operation's name on it: drawn in two pieces, so that no label
    strays from its edge and two edges between the same nodes stay two."""
    stroke, tint, style = looks
    label = f"{target}_{k}_op"
    graph.node(
        label,
        escape(plain(text)),
        fontsize="12",
        style="rounded,filled",
        fillcolor=tint,
        color=stroke,
        height="0.2",
        width="0.2",
        margin="0.06,0.03",
    )
    for source in sources:
        graph.edge(source, label, color=stroke, style=style, arrowhead="none", headport="w")
    graph.edge(label, target, color=stroke, style=style, tailport="e")
