"""What all pictures of genotypes are made of: the look of an operation, and an edge that carries
its name."""

from graphviz import Digraph, escape

from nascore.genotypes import TABLE
from nascore.show.canvas import subscripts

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


def plain(name: str) -> str:
    """A user may register an operation under any name; a picture holds only what XML can."""
    return "".join(c if c.isprintable() else "?" for c in name)[:40]


def column(graph: Digraph, *names: str) -> None:
    """The inputs of a cell, one below the other."""
    with graph.subgraph() as left:
        left.attr(rank="same")
        for name in names:
            left.node(name, subscripts(name), fillcolor=INPUT)


def thin(graph: Digraph, source: str, target: str, **options: str) -> None:
    """An edge without an operation."""
    graph.edge(source, target, **options, penwidth="0.9", arrowsize="0.6")


def operation(
    graph: Digraph,
    sources: list[str],
    text: str,
    looks: Look,
    target: str,
    k: int = 0,
    ports: str = "we",
) -> None:
    """An edge that carries its operation's name on it: drawn in two pieces, so that no label
    strays from its edge and two edges between the same nodes stay two. `ports` are the sides of the
    label where they meet it."""
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
        graph.edge(source, label, color=stroke, style=style, arrowhead="none", headport=ports[0])
    graph.edge(label, target, color=stroke, style=style, tailport=ports[1])
