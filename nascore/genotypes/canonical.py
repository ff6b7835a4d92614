"""Genotypes of the same network meet in one form."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from nascore.genotypes.values import (
    MAX_NODES,
    Cell,
    CellGenotype,
    ChainGenotype,
    Genotype,
    MacroGenotype,
    Node,
    RecurrentGenotype,
)


def canonical(genotype: Genotype) -> Genotype:
    """The representative of all genotypes of the same network: the (input, op) pairs of a node
    sorted, nodes renumbered. `==` on genotypes stays exact; compare canonical forms to compare
    networks."""
    match genotype:
        case CellGenotype(normal, reduce):
            return CellGenotype(_canonical_cell(normal), reduce and _canonical_cell(reduce))
        case ChainGenotype(layers):
            return ChainGenotype(tuple(replace(x, inputs=tuple(sorted(x.inputs))) for x in layers))
        case MacroGenotype(layers):
            return MacroGenotype(tuple(replace(x, skips=tuple(sorted(x.skips))) for x in layers))
        case RecurrentGenotype(nodes, concat):
            reads = tuple(Node((j + 1,), ("none",)) for j, _ in nodes)
            cell = Cell(reads, tuple(j + 1 for j in concat), n_inputs=1)
            order = _canonical_order(cell, labels=[activation for _, activation in nodes])
            place = {-1: -1} | {i: new for new, i in enumerate(order)}
            ordered = map(nodes.__getitem__, order)
            renumbered = tuple((place[j], activation) for j, activation in ordered)
            return RecurrentGenotype(renumbered, _places(concat, place))
        case _:
            return genotype


def _canonical_cell(cell: Cell) -> Cell:
    n = cell.n_inputs
    order = _canonical_order(cell, labels=[node.combine for node in cell.nodes])
    place = {j: j for j in range(n)} | {n + i: n + new for new, i in enumerate(order)}
    nodes = []
    for node in map(cell.nodes.__getitem__, order):
        pairs = sorted((place[j], op) for j, op in zip(node.inputs, node.ops))
        inputs, ops = zip(*pairs)
        nodes.append(Node(inputs, ops, node.combine))
    return Cell(tuple(nodes), _places(cell.concat, place), n)


def _places(states: Iterable[int], place: Mapping[int, int]) -> tuple[int, ...]:
    return tuple(sorted(place[j] for j in states))


def _canonical_order(cell: Cell, labels: list[str]) -> list[int]:
    """The nodes in an order that does not depend on how they were numbered: always the least
    node whose inputs are placed, by colours refined over both directions of the graph
    (Weisfeiler and Leman). A node once placed keeps its place as its colour, which tells
    equal-looking nodes apart. Exact for every cell of up to seven nodes."""
    n = cell.n_inputs
    placed: dict[int, int] = {}
    for _ in cell.nodes:
        colours = _refine(cell, labels, placed)
        left = [(i, node) for i, node in enumerate(cell.nodes, n) if i not in placed]
        ready = [i for i, node in left if all(j < n or j in placed for j in node.inputs)]
        placed[min(ready, key=lambda i: (colours[i], i))] = len(placed)
    return [j - n for j in placed]


def _refine(cell: Cell, labels: list[str], placed: dict[int, int]) -> list[int]:
    """The colours of all states, inputs first: equal ones look alike to every neighbour."""
    n = cell.n_inputs
    states = range(n + len(labels))
    edges = []
    for i, node in enumerate(cell.nodes, n):
        edges += [(j, op, i) for j, op in zip(node.inputs, node.ops)]
    marks = [("", j) for j in range(n)]
    marks += [(label, placed.get(i, MAX_NODES) + n) for i, label in enumerate(labels, n)]
    keys: list[tuple] = [(label, i in cell.concat, at) for i, (label, at) in enumerate(marks)]
    colours: list[int] = []
    while True:
        ranks = {key: rank for rank, key in enumerate(sorted(set(keys)))}
        before = colours
        colours = [ranks[key] for key in keys]
        if colours == before:  # no class was split: stable
            return colours
        into = [sorted((colours[j], op) for j, op, i in edges if i == v) for v in states]
        out = [sorted((colours[i], op) for j, op, i in edges if j == v) for v in states]
        keys = list(zip(colours, map(tuple, into), map(tuple, out)))
