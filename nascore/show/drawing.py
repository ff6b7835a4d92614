"""Genotypes as pictures, in the manner of the papers' own figures (DARTS, figures 4 and 5).

The package `graphviz` writes the DOT text, `pygraphviz` renders it inside this process (no `dot`
program is needed). Every picture has a transparent background, and text that stands on its own tint
or is mid-grey, so that it reads on light and on dark pages; colours are Okabe and Ito's, and never
the only sign: each edge carries its operation's name.
"""

from graphviz import Digraph

from nascore import formats
from nascore.errors import UserError
from nascore.genotypes import (
    Cell,
    CellGenotype,
    ChainGenotype,
    Genotype,
    MacroGenotype,
    RecurrentGenotype,
    RecurrentTree,
)
from nascore.show.canvas import PAGE, Drawing, page, subscripts
from nascore.show.parts import FAMILIES, INPUT, NODE, OUTPUT, column, look, operation, plain, thin
from nascore.show.wiring import chain, listed, macro

__all__ = ["FAMILIES", "INPUT", "NODE", "OUTPUT", "draw", "look", "plain", "said", "states"]

MAX_EDGES = 600  # dot takes many seconds from here on, and nobody could read the picture
WIDEST = PAGE / 0.87  # points: the smallest text is then 10 pixels high
# Of two cells, by which they are drawn until they are not too wide. Graphviz's rows and columns
# change places under rankdir=LR: an array one wide is a row. `u` keeps our order (sortv).
LAYOUTS = {
    "beside": {"packmode": "array_ur1"},
    "stacked": {"packmode": "array_u2"},
    "upright": {"packmode": "array_u", "rankdir": "TB"},
}
# The inputs of a cell, as pictures and as words have them.
BEFORE = {"c_{k-2}": "the cell before that", "c_{k-1}": "the previous cell"}


def draw(genotype: formats.Source) -> Drawing:
    """Draw an architecture, whatever `formats.read` takes. A cell: its inputs, the outputs of the
    two cells before it, on the left, numbered nodes, its output on the right; normal and reduction
    cell side by side, or one above the other where that would be too wide, or from top to bottom
    where one alone is. Edges of `none` stay, faint."""
    value = formats.read(genotype)
    for layout in LAYOUTS:
        drawn = _draw(value, layout)
        if not isinstance(value, CellGenotype) or _fits(drawn):
            break
    return drawn


def _fits(drawn: Drawing) -> bool:
    try:
        return drawn.width <= WIDEST
    except UserError:  # nothing here renders it: what is left is its text
        return True


def _draw(genotype: Genotype, layout: str) -> Drawing:
    graph = page()
    words = _words(graph, genotype, layout)
    edges = sum("->" in line for line in graph.body)
    if edges > MAX_EDGES:
        raise UserError(f"draw: found a picture of {edges:,} lines, allowed: at most {MAX_EDGES:,}")
    return Drawing(graph.source, words)


def _words(graph: Digraph, genotype: Genotype, layout: str) -> str:
    match genotype:
        case CellGenotype():
            return _cells(graph, genotype, layout)
        case ChainGenotype():
            return chain(graph, genotype)
        case MacroGenotype():
            return macro(graph, genotype)
        case RecurrentGenotype():
            return _recurrent(graph, genotype)
        case RecurrentTree():
            return _tree(graph, genotype)


# --- one function a kind of genotype; each returns the picture in words ---------------------------


def _cells(graph: Digraph, genotype: CellGenotype, layout: str) -> str:
    normal = genotype.normal
    cells = {"cell": normal}
    if reduce := genotype.reduce:
        cells = {"normal cell": normal, "reduction cell": reduce}
    graph.attr(pack="20", **LAYOUTS[layout])
    order = -1 if layout == "stacked" else 1  # one above the other, the first is the lowest
    ports = "ns" if layout == "upright" else "we"
    placed = enumerate(list(cells.items())[::order], 1)
    words = [_cell(graph, title, cell, place, ports) for place, (title, cell) in placed]
    nodes = [node for cell in cells.values() for node in cell.nodes]
    legend = "a node adds its inputs"
    if any(node.combine == "concat" for node in nodes):
        legend += " (or concatenates them, where it says so)"
    legend += ";  thin grey: concatenated into the output"
    if any("none" in node.ops for node in nodes):
        legend += ";  dotted: no connection"
    graph.attr(label=legend, labelloc="b", fontsize="12")
    return " ".join(words[::order])


def _cell(graph: Digraph, title: str, cell: Cell, order: int, ports: str) -> str:
    inputs = cell.n_inputs
    names = states(cell)
    say = list(map(said, names))
    words = []
    with graph.subgraph(name=f"cluster_{order}") as part:
        part.attr(label=title, labelloc="t", fontsize="16", color="transparent", sortv=str(order))
        with part.subgraph() as left:
            left.attr(rank="same")
            for j in range(inputs):
                left.node(f"{order}_{j}", subscripts(names[j]), fillcolor=INPUT)
        for i, node in enumerate(cell.nodes, inputs):
            concat = "\nconcat" * (node.combine == "concat")
            part.node(f"{order}_{i}", names[i] + concat, fillcolor=NODE)
            read = []
            for k, (j, op) in enumerate(zip(node.inputs, node.ops)):
                operation(part, [f"{order}_{j}"], op, look(op), f"{order}_{i}", k, ports)
                read.append(f"{plain(op)} of {say[j]}")
            parts = " and ".join(read)
            words.append(f"{say[i]} {'concatenates' if concat else 'adds'} {parts}")
        part.node(f"{order}_out", subscripts("c_{k}"), fillcolor=OUTPUT)
        for j in cell.concat:
            thin(part, f"{order}_{j}", f"{order}_out")
    words.append(f"the output concatenates {', '.join(say[j] for j in cell.concat)}")
    return f"{title.capitalize()}: {'; '.join(words)}."


def states(cell: Cell) -> list[str]:
    """The name of each state in a picture."""
    return [*BEFORE][-cell.n_inputs :] + [str(i) for i in range(len(cell.nodes))]


def said(state: str) -> str:
    """The name of a state in words."""
    return BEFORE.get(state, f"node {state}")


def _recurrent(graph: Digraph, genotype: RecurrentGenotype) -> str:
    column(graph, "x_{t}", "h_{t-1}")
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
        operation(graph, sources, activation, look(activation), name)
        words.append(f"node {i} is {activation} of {read}")
    for j in genotype.concat:
        thin(graph, str(j), "h_{t}")
    output = f"the mean of nodes {listed(genotype.concat)}"
    return f"A recurrent cell: {'; '.join(words)}; output: {output}."


def _tree(graph: Digraph, genotype: RecurrentTree) -> str:
    column(graph, "x_{t}", "h_{t-1}", "c_{t-1}")
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
    operation(graph, ["c_{t-1}"], f"{combine}, {activation}", look(activation), c_in)
    graph.node("h_{t}", subscripts("h_{t}"), fillcolor=OUTPUT)
    graph.edge(str(len(words) - 1), "h_{t}", style="solid")
    graph.node("c_{t}", subscripts("c_{t}"), fillcolor=OUTPUT)
    graph.edge(c_out, "c_{t}", style="dashed")
    memory = f"the memory enters node {c_in} and leaves from node {c_out}"
    leaves = f"a binary tree over {base} leaves"
    return f"A recurrent cell, {leaves}: {'; '.join(words)}; {memory}."
