"""Genotypes of the same network meet in one form."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

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

Edges = list[tuple[int, str, int]]  # from a state, by an operation, to another


def canonical(genotype: Genotype) -> Genotype:
    """The representative of all genotypes of the same network: the (input, op) pairs of a node
    sorted, nodes renumbered. `==` on genotypes stays exact; compare canonical forms to compare
    networks."""
    match genotype:
        case CellGenotype(normal, reduce):
            return CellGenotype(_canonical_cell(normal), reduce and _canonical_cell(reduce))
        case ChainGenotype():
            return _with_sorted(genotype, "inputs")
        case MacroGenotype():
            return _with_sorted(genotype, "skips")
        case RecurrentGenotype(nodes, concat):
            reads = tuple(Node((j + 1,), ("none",)) for j, _ in nodes)
            cell = Cell(reads, tuple(j + 1 for j in concat), n_inputs=1)
            cell, labels = _canonical(cell, [activation for _, activation in nodes])
            sources = [node.inputs[0] - 1 for node in cell.nodes]
            return RecurrentGenotype(tuple(zip(sources, labels)), tuple(j - 1 for j in cell.concat))
        case _:
            return genotype


def _with_sorted(network: Any, reads: str) -> Any:
    """A network of layers, with what each `reads` sorted."""
    layers = [replace(layer, **{reads: sorted(getattr(layer, reads))}) for layer in network.layers]
    return replace(network, layers=layers)


def _canonical_cell(cell: Cell) -> Cell:
    found, _ = _canonical(cell, [node.combine for node in cell.nodes])
    return found


def _canonical(cell: Cell, labels: Sequence[str]) -> tuple[Cell, list[str]]:
    """The cell with its nodes in an order that does not depend on how they were numbered, and the
    nodes' `labels` in that order: always the least node whose inputs are placed, by colours refined
    over both directions of the graph (Weisfeiler and Leman). A node once placed keeps its place as
    its colour, which tells equal-looking nodes apart. Exact for every cell of up to seven nodes."""
    n = cell.n_inputs
    place = {j: j for j in range(n)}  # of a state: where it comes
    nodes = []
    for _ in cell.nodes:
        colours = _refine(cell, labels, place)
        ready = [
            (colours[i], i, node)
            for i, node in enumerate(cell.nodes, n)
            if i not in place and all(j in place for j in node.inputs)
        ]
        _, least, node = min(ready)
        inputs, ops = zip(*sorted((place[j], op) for j, op in zip(node.inputs, node.ops)))
        nodes.append(replace(node, inputs=inputs, ops=ops))
        place[least] = len(place)
    concat = tuple(sorted(place[j] for j in cell.concat))
    return Cell(tuple(nodes), concat, n), [labels[i - n] for i in place if i >= n]


def _refine(cell: Cell, labels: Sequence[str], place: dict[int, int]) -> list[int]:
    """The colours of all states, inputs first: equal ones look alike to every neighbour."""
    n = cell.n_inputs
    ahead: Edges = []
    for i, node in enumerate(cell.nodes, n):
        ahead += [(j, op, i) for j, op in zip(node.inputs, node.ops)]
    back = [(i, op, j) for j, op, i in ahead]
    last = 2 * MAX_NODES  # of what has no place yet
    marks = enumerate([*[""] * n, *labels])
    keys: list[tuple] = [(label, i in cell.concat, place.get(i, last)) for i, label in marks]
    colours: list[int] = []
    while True:
        ranks = {key: rank for rank, key in enumerate(sorted(set(keys)))}
        before = colours
        colours = [ranks[key] for key in keys]
        if colours == before:  # no class was split: stable
            return colours
        keys = [
            (colour, _seen(v, back, colours), _seen(v, ahead, colours))
            for v, colour in enumerate(colours)
        ]


def _seen(state: int, edges: Edges, colours: Sequence[int]) -> tuple:
    """What a state sees at the ends of its edges."""
    return tuple(sorted((colours[end], op) for start, op, end in edges if start == state))
