"""Genotypes as pictures, in the manner of the papers' own figures (DARTS, figures 4 and 5).

The package `graphviz` writes the DOT text, `pygraphviz` renders it inside this process (no `dot`
program is needed). Every picture has a transparent background, and text that stands on its own tint
or is mid-grey, so that it reads on light and on dark pages; colours are Okabe and Ito's, and never
the only sign: each edge carries its operation's name.
"""

import os

import graphviz

from nascore import formats
from nascore.errors import UserError
from nascore.genotypes import (
    Cell,
    CellGenotype,
    ChainGenotype,
    Genotype,
    MacroGenotype,
    RecurrentGenotype,
    kind,
)
from nascore.genotypes import RecurrentTree as Tree
from nascore.show.canvas import PAGE, Drawing, page

MAX_EDGES = 600  # dot takes many seconds from here on, and nobody could read the picture
# The first key that occurs in an operation's name decides: stroke, tint, line style.
FAMILIES = {
    "sep_conv": ("#0072B2", "#CFE5F3", "solid"),
    "dil_conv": ("#3A96CE", "#E3F3FC", "solid"),
    "conv": ("#009E73", "#CFEDE4", "solid"),
    "max_pool": ("#D55E00", "#F9E0CF", "solid"),
    "avg_pool": ("#C48200", "#FBEDCB", "solid"),
    "skip": ("#B5619A", "#F5E3EE", "dashed"),
    "identity": ("#B5619A", "#F5E3EE", "dashed"),
    "none": ("#9a9a9a", "#E8E8E8", "dotted"),
    "tanh": ("#0072B2", "#CFE5F3", "solid"),
    "relu": ("#D55E00", "#F9E0CF", "solid"),
    "sigmoid": ("#009E73", "#CFEDE4", "solid"),
}
INPUT, NODE, OUTPUT = "#CBE6CB", "#C6DCF1", "#F3E6B3"
THIN = dict(penwidth="0.9", arrowsize="0.6")


def look(operation: str) -> tuple[str, str, str]:
    """The stroke, tint and line style of an operation's family: the same operation has the same
    colour everywhere."""
    return next(
        (value for key, value in FAMILIES.items() if key in operation),
        ("#666666", "#DDDDDD", "solid"),
    )


def draw(genotype: Genotype | str | os.PathLike) -> Drawing:
    """Draw an architecture, whatever `formats.read` takes. A cell: inputs c_{k-2} and c_{k-1} on
    the left, numbered nodes, output c_{k} on the right; normal and reduction cell side by side, or
    one above the other when they are deep. Edges of `none` stay, faint."""
    genotype = formats.read(genotype)
    graph = page()
    drawn = {
        "cell": _cells,
        "chain": _chain,
        "macro": _macro,
        "recurrent": _recurrent,
        "recurrent-tree": _tree,
    }
    words = drawn[kind(genotype)](graph, genotype)
    edges = sum("->" in line for line in graph.body)
    if edges > MAX_EDGES:
        raise UserError(f"draw: found a picture of {edges:,} lines, allowed: at most {MAX_EDGES:,}")
    return Drawing(graph.source, words)


# --- one function a kind of genotype; each returns the picture in words ---------------------------


def _cells(graph: graphviz.Digraph, genotype: CellGenotype) -> str:
    both = {"normal cell": genotype.normal, "reduction cell": genotype.reduce}
    cells = both if genotype.reduce else {"cell": genotype.normal}
    beside = sum(_depth(cell) for cell in cells.values()) <= 8
    # Rows and columns change places under rankdir=LR: an array one wide is a row. `u` keeps our
    # order (sortv).
    graph.attr(pack="20", packmode="array_ur1" if beside else "array_u2")
    stacked = list(cells.items())[
        :: 1 if beside else -1
    ]  # one above the other, the first is the lowest
    words = [_cell(graph, title, cell, order) for order, (title, cell) in enumerate(stacked, 1)]
    used = {op for cell in cells.values() for node in cell.nodes for op in node.ops}
    concat = any(node.combine == "concat" for cell in cells.values() for node in cell.nodes)
    legend = [
        "a node adds its inputs" + (" (or concatenates them, where it says so)" if concat else "")
    ]
    legend += ["thin grey: concatenated into c_{k}"] + ["dotted: no connection"] * ("none" in used)
    graph.attr(label=";  ".join(legend), labelloc="b", fontsize="11")
    return " ".join(words if beside else words[::-1])


def _cell(graph: graphviz.Digraph, title: str, cell: Cell, order: int) -> str:
    names = states(cell)
    say = [f"node {name}" if name.isdigit() else name for name in names]
    words = []
    with graph.subgraph(name=f"cluster_{order}") as part:
        part.attr(label=title, labelloc="t", fontsize="16", color="transparent", sortv=str(order))
        with part.subgraph() as left:
            left.attr(rank="same")
            for j in range(cell.n_inputs):
                left.node(f"{order}_{j}", names[j], fillcolor=INPUT)
        for i, node in enumerate(cell.nodes, cell.n_inputs):
            part.node(
                f"{order}_{i}", names[i] + "\nconcat" * (node.combine == "concat"), fillcolor=NODE
            )
            for k, (j, op) in enumerate(zip(node.inputs, node.ops)):
                _operation(part, [f"{order}_{j}"], op, f"{order}_{i}", k)
            parts = " and ".join(f"{plain(op)} of {say[j]}" for j, op in zip(node.inputs, node.ops))
            words.append(f"{say[i]} {'adds' if node.combine == 'add' else 'concatenates'} {parts}")
        part.node(f"{order}_out", "c_{k}", fillcolor=OUTPUT)
        for j in cell.concat:
            part.edge(f"{order}_{j}", f"{order}_out", **THIN)
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


def _chain(graph: graphviz.Digraph, genotype: ChainGenotype) -> str:
    scale = 28 / max(
        7, *(side for layer in genotype.layers for side in layer.filter)
    )  # points to a pixel
    rows, words, unread = [("image", INPUT, (), ())], [], set(range(1, len(genotype.layers) + 1))
    for i, layer in enumerate(genotype.layers, 1):
        text = "{}x{}".format(*layer.filter) + f", {layer.filters}"
        text += ", stride {}x{}".format(*layer.stride) * (layer.stride != (1, 1))
        rows.append((text, NODE, layer.inputs or (0,), [side * scale for side in layer.filter]))
        unread.difference_update(layer.inputs)
        words.append(f"layer {i} ({text}) reads {', '.join(map(str, layer.inputs)) or 'the image'}")
    legend = "filter height x width (its shape beside it), filters\na row's circles: the outputs it concatenates"
    _wires(graph, [*rows, ("classifier", OUTPUT, unread, ())], 34, legend)  # NAS-RL, section 3.3
    words.append(f"the classifier reads {', '.join(map(str, sorted(unread)))}")
    return f"A network of {len(rows) - 1} convolutions (filter height x width, filters): {'; '.join(words)}."


def _macro(graph: graphviz.Digraph, genotype: MacroGenotype) -> str:
    rows, words = [("stem", INPUT, (), ())], []
    for i, layer in enumerate(genotype.layers, 1):
        rows.append((plain(layer.op), look(layer.op)[1], {*layer.skips, i - 1}, ()))
        skips = ", ".join(str(j) if j else "stem" for j in layer.skips)
        words.append(f"layer {i} {plain(layer.op)}" + f" with skips from {skips}" * bool(skips))
    _wires(
        graph,
        [*rows, ("classifier", OUTPUT, {len(words)}, ())],
        26,
        "a row's circles: the outputs it reads",
    )
    return f"A network of {len(words)} layers: {'; '.join(words)}."


def _wires(graph: graphviz.Digraph, rows: list[tuple], pitch: int, legend: str) -> None:
    """A network as a wiring diagram: its layers step down the diagonal, an output is a vertical
    line, and a circle with the layer's number is where a later row reads it. A row is (text,
    tint, the rows it reads, height and width of the filter or nothing). Places are in points,
    `pitch` from row to row; the layout engine nop2 keeps them."""
    graph.attr(layout="nop2", splines="line", outputorder="edgesfirst", fontsize="11")
    graph.attr(
        label=f" \n{legend};  pink: skip connections"
    )  # a line without a character crashes Graphviz 14.1
    graph.attr("node", fontsize="12", margin="0")
    step, names, ends = (
        min(46.0, (PAGE - 190) / len(rows)),
        [*map(str, range(len(rows) - 1)), "out"],
        {},
    )
    dot = dict(shape="circle", fontsize="9", fixedsize="true")

    def box(
        name: str, label: str, left: float, width: float, height: float, **options: str
    ) -> None:
        place = dict(
            pos=f"{left + width / 2:.1f},{-i * pitch}",
            width=f"{width / 72:.3f}",
            height=f"{height / 72:.3f}",
        )
        graph.node(name, graphviz.escape(label), **place, **options)

    for i, (name, (text, tint, reads, size)) in enumerate(zip(names, rows)):
        left, width = i * step - 10, 6.2 * len(text) + 12
        box(name, name, left, 20, 18, fillcolor=tint)
        box(f"{name} text", text, left + 21, width, 18, fillcolor=tint)
        if size:
            box(f"{name} filter", "", left + 26 + width, size[1], size[0], fillcolor=tint)
        for j in sorted(reads):
            ends[j] = f"{j}->{name}"  # its name counts as a line of the picture
            skip = 0 < j < i - 1 and name != "out"
            colours = (
                dict(color=look("skip")[0], fillcolor=look("skip")[1])
                if skip
                else dict(fillcolor=rows[j][1])
            )
            box(ends[j], names[j], j * step - 7, 14, 14, **dot, **colours)
        if reads:
            graph.edge(f"{min(reads)}->{name}", name, **THIN)
    for j, end in ends.items():
        graph.edge(names[j], end, arrowhead="none", **THIN)


def _recurrent(graph: graphviz.Digraph, genotype: RecurrentGenotype) -> str:
    _column(graph, "x_{t}", "h_{t-1}")
    graph.node("h_{t}", fillcolor=OUTPUT)
    words = []
    for i, (j, activation) in enumerate(genotype.nodes):
        graph.node(str(i), fillcolor=NODE)
        _operation(graph, [str(j)] if j >= 0 else ["x_{t}", "h_{t-1}"], activation, str(i))
        words.append(f"node {i} is {activation} of {f'node {j}' if j >= 0 else 'x and h'}")
    for j in genotype.concat:
        graph.edge(str(j), "h_{t}", **THIN)
    return f"A recurrent cell: {'; '.join(words)}; output: the mean of nodes {', '.join(map(str, genotype.concat))}."


def _tree(graph: graphviz.Digraph, genotype: Tree) -> str:
    _column(graph, "x_{t}", "h_{t-1}", "c_{t-1}")
    words = []
    for i, block in enumerate(genotype.tree):
        stroke, tint, _ = look(block[1])
        graph.node(str(i), f"{i}\n{', '.join(block)}", fillcolor=tint, color=stroke)
        left = 2 * (i - genotype.base)  # leaves first, then level by level
        graph.edges(
            (source, str(i))
            for source in (["x_{t}", "h_{t-1}"] if left < 0 else [str(left), str(left + 1)])
        )
        words.append(f"node {i} {', '.join(block)}")
    _operation(graph, ["c_{t-1}"], ", ".join(genotype.inject), str(genotype.c_in))
    for i, name, style in ((len(words) - 1, "h_{t}", "solid"), (genotype.c_out, "c_{t}", "dashed")):
        graph.node(name, fillcolor=OUTPUT)
        graph.edge(str(i), name, style=style)
    memory = f"the memory enters node {genotype.c_in} and leaves from node {genotype.c_out}"
    return f"A recurrent cell, a binary tree over {genotype.base} leaves: {'; '.join(words)}; {memory}."


# --- what they share ------------------------------------------------------------------------------


def plain(name: str) -> str:
    """A user may register an operation under any name; a picture holds only what XML can."""
    return "".join(c if c.isprintable() else "?" for c in name)[:40]


def _column(graph: graphviz.Digraph, *names: str) -> None:
    with graph.subgraph() as left:
        left.attr(rank="same")
        for name in names:
            left.node(name, fillcolor=INPUT)


def _operation(
    graph: graphviz.Digraph, sources: list[str], name: str, target: str, k: int = 0
) -> None:
    """An edge that carries its operation's name on it: drawn in two pieces, so that no label
    strays from its edge and two edges between the same nodes stay two."""
    stroke, tint, style = look(name)
    label, text = f"{target}_{k}_op", graphviz.escape(plain(name))
    pill = dict(
        style="rounded,filled",
        fillcolor=tint,
        color=stroke,
        height="0.2",
        width="0.2",
        margin="0.06,0.03",
    )
    graph.node(label, text, fontsize="12", **pill)
    for source in sources:
        graph.edge(source, label, color=stroke, style=style, arrowhead="none", headport="w")
    graph.edge(label, target, color=stroke, style=style, tailport="e")
