"""Cells of NAS-Bench-201 with their states named as its equation names them: s_0 comes in, s_3 goes out. And what every
search is made of."""

from collections.abc import Mapping

from nascore.genotypes import Cell
from nascore.show.canvas import FONT, GREY, Drawing, page
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
        words.append(f"{title or 'cell'}: {'; '.join(said)}.")
    return Drawing(graph.source, " ".join(reversed(words)))


def named(state: int) -> str:
    return "s" + str(state).translate(SUBSCRIPTS)


def draw_loop() -> Drawing:
    """The three parts of a search, and what they tell each other."""
    graph = page()
    graph.attr(nodesep="0.3")
    graph.attr("node", style="filled,rounded", margin="0.2,0.12")
    graph.attr("edge", **FONT | {"fontcolor": GREY, "fontsize": "12"})
    graph.node("space", "space\nwhich are there?", fillcolor=INPUT)
    graph.node("strategy", "strategy\nwhich one next?", fillcolor=NODE)
    graph.node("estimate", "estimate\nhow good is it?", fillcolor=OUTPUT)
    graph.edge("space", "strategy", label="choices")
    graph.edge("strategy", "estimate", label="genotype")
    graph.edge("estimate", "strategy", label="reward")
    words = "The space gives the strategy its choices; the strategy sends a genotype to the estimate; "
    return Drawing(graph.source, words + "the estimate sends a reward back to the strategy.")
