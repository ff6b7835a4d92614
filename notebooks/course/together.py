"""Several architectures in one picture: what they share, and how they grow out of one another."""

from collections.abc import Mapping, Sequence
from html import escape

from nascore.genotypes import Cell
from nascore.show.canvas import GREY, Drawing, page, subscripts
from nascore.show.drawing import INPUT, NODE, OUTPUT, look, plain, said, states

STROKES = {"solid": look("separable")[0], "dashed": look("max pool")[0], "dotted": look("convolution")[0]}
PAPER = "#f4f4f4"
SMALL = {"labelloc": "b", "fontsize": "12"}
PILL = {
    "style": "rounded,filled",
    "fillcolor": PAPER,
    "fontsize": "12",
    "height": "0.2",
    "margin": "0.06,0.03",
}


def draw_subgraphs(cells: Mapping[str, Cell], primitives: Sequence[str]) -> Drawing:
    """Up to three cells of one space, by their names, in its supergraph, whose edges (each of
    the `primitives` between every two states) are faint. A cell has a colour and a line style;
    an operation that several use stands once, in a heavy border where their lines meet: they use
    the same tensors (ENAS, section 2)."""
    graph = page()
    uses = {}
    legend = []
    first = next(iter(cells.values()))
    names = states(first)
    kept = [op for op in primitives if op != "none"]
    for j, name in enumerate(names):
        graph.node(str(j), subscripts(name), fillcolor=NODE if j >= first.n_inputs else INPUT)
    graph.node("out", subscripts("c_{k}"), fillcolor=OUTPUT)
    for (name, cell), (style, colour) in zip(cells.items(), STROKES.items()):
        line = {"color": colour, "style": style, "penwidth": "2"}
        legend.append(f'<FONT COLOR="{colour}">{escape(plain(name))}: {style}</FONT>')
        for i, node in enumerate(cell.nodes, cell.n_inputs):
            for side, (j, op) in enumerate(zip(node.inputs, node.ops)):
                if op != "none":
                    uses.setdefault((j, i, op, side), {})[name] = line
        for j in cell.concat:
            graph.edge(str(j), "out", color=colour, style=style, penwidth="1")
    legend += [
        "heavy border: shared",
        f"faint: what nobody uses of {len(kept)} operations between every two states",
    ]
    graph.attr(label=f"<{';  '.join(legend)}>", **SMALL)
    for i in range(first.n_inputs, len(names)):
        for j in range(i):
            for _ in {(j, i, op) for op in kept} - {use[:3] for use in uses}:
                graph.edge(str(j), str(i), color=f"{GREY}80", penwidth="0.6", arrowhead="none")
    words = {name: [] for name in ["shared", *cells]}
    for k, ((j, i, op, _), users) in enumerate(uses.items()):
        lines = list(users.values())
        shared = len(users) > 1
        border = {"color": GREY, "penwidth": "4"} if shared else {"color": lines[0]["color"]}
        graph.node(f"use {k}", plain(op), **PILL | border)
        for line in lines:
            graph.edge(str(j), f"use {k}", arrowhead="none", **line)
            graph.edge(f"use {k}", str(i), **line)
        use = f"{plain(op)} from {said(names[j])} to {said(names[i])}"
        words["shared" if shared else next(iter(users))].append(use)
    told = [f"{'' if name == 'shared' else 'only '}{name}: {', '.join(of) or 'none'}" for name, of in words.items()]
    return Drawing(graph.source, f"A supergraph with the subgraphs {' and '.join(cells)}; {'; '.join(told)}.")


def draw_beam(history: Sequence[Mapping], top: int = 3) -> Drawing:
    """A progressive search (PNAS, figure 2) from its history: the best `top` cells of the last
    level, those that they grew out of, and the next best of each level. A row of a cell is a
    node: its inputs, each with its operation; a cell and its parent have the same first nodes."""
    graph = page()
    words = []
    levels = {}
    shown = []
    graph.attr("node", shape="plain", style="")
    for row in sorted(history, key=lambda row: -row["reward"]):
        levels.setdefault(row["level"], []).append(row)
    for level in sorted(levels, reverse=True):
        rows = levels[level]
        children = shown
        parents = [k for k, row in enumerate(rows) if any(_nodes(row, level) == _nodes(c, level) for c in children)]
        chosen = sorted([*parents, *(k for k in range(len(rows)) if k not in parents)][:top])
        shown = [rows[k] for k in chosen]
        with graph.subgraph() as column:
            column.attr(rank="same")
            for place, k in enumerate(chosen):
                column.node(
                    f"{level} {place}",
                    _table(rows[k], level, f"level {level}: {k + 1} of {len(rows)}"),
                )
                if place:
                    column.edge(f"{level} {place - 1}", f"{level} {place}", style="invis")
        for place, row in enumerate(shown):
            for at, child in enumerate(children):
                if _nodes(row, level) == _nodes(child, level):
                    graph.edge(f"{level} {place}", f"{level + 1} {at}")
        words.insert(
            0,
            f"level {level}: {len(rows)} cells trained, the best has {rows[0]['reward']:.4f}, shown are those "
            f"in the places {', '.join(str(k + 1) for k in chosen)}",
        )
    graph.attr(
        label="a row is a node: what it reads (k-1 and k-2: the two cells before) and by which operation",
        **SMALL,
    )
    return Drawing(graph.source, f"A beam of cells that grow by a node a level; {'; '.join(words)}.")


def _nodes(row: Mapping, count: int) -> list:
    return row["genotype"]["normal"]["nodes"][:count]


def _table(row: Mapping, level: int, title: str) -> str:
    """A cell as an HTML-like label of Graphviz."""
    before = ["k-2", "k-1"][-row["genotype"]["normal"]["n_inputs"] :]
    guess = f", predicted {row['predicted']:.3f}" if "predicted" in row else ""  # level 1 is not predicted
    lines = [
        f'<TR><TD COLSPAN="3" BORDER="0"><FONT COLOR="{GREY}">{title}<BR/>{row["reward"]:.3f}{guess}</FONT></TD></TR>'
    ]
    for i, node in enumerate(_nodes(row, level)):
        new = i == level - 1
        fields = [f'<TD BGCOLOR="{OUTPUT if new else NODE}">{i}</TD>']
        for j, op in zip(node["inputs"], node["ops"]):
            source = before[j] if j < len(before) else j - len(before)
            short = op.replace("_connect", "").replace("conv_", "").replace("pool_", "").replace("_", " ")
            fields.append(f'<TD BGCOLOR="{look(op)[1]}">{source}  {escape(plain(short))}</TD>')
        lines.append(f"<TR>{''.join(fields)}</TR>")
    table = f'<TABLE BORDER="0" CELLBORDER="1" CELLSPACING="0" CELLPADDING="3" COLOR="{GREY}">{"".join(lines)}</TABLE>'
    return f'<<FONT POINT-SIZE="12">{table}</FONT>>'
