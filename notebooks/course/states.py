"""Cells of NAS-Bench-201 with their states named as its equation names them: s_0 comes in, s_3 goes out."""

from collections.abc import Mapping

from nascore.genotypes import Cell
from nascore.show.canvas import Drawing, page
from nascore.show.parts import INPUT, NODE, OUTPUT, look, operation

SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def draw_states(cells: Mapping[str, Cell]) -> Drawing:
    """Cells one below the other, each under its title."""
    graph = page()
    legend = "a state adds its inputs"
    if any("none" in node.ops for cell in cells.values() for node in cell.nodes):
        legend += ";  dotted: nothing comes through"
    graph.attr(label=legend, fontsize="12")
    words = []
    for place, (title, cell) in reversed(list(enumerate(cells.items()))):  # Graphviz begins at the bottom
        with graph.subgraph(name=f"cluster_{place}") as part:
            part.attr(label=title, labelloc="t", labeljust="l", fontsize="14", color="transparent")
            part.node(f"{place} 0", named(0), fillcolor=INPUT)
            said = []
            for i, node in enumerate(cell.nodes, 1):
                last = i == len(cell.nodes)
                part.node(f"{place} {i}", named(i), fillcolor=OUTPUT if last else NODE)
                read = []
                for k, (j, op) in enumerate(zip(node.inputs, node.ops)):
                    operation(part, [f"{place} {j}"], op, look(op), f"{place} {i}", k)
                    read.append(f"{op} of s{j}")
                said.append(f"s{i} adds {', '.join(read)}")
        words.append(f"{title}: {'; '.join(said)}.")
    return Drawing(graph.source, " ".join(reversed(words)))


def named(state: int) -> str:
    return "s" + str(state).translate(SUBSCRIPTS)
