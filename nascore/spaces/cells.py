"""Spaces of cells: DARTS's pairs of edges, the blocks of NASNet and its kin, NAS-Bench-201's
complete graph."""

from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Any

from nascore.errors import require, whole
from nascore.genotypes import COMBINATIONS, MAX_NODES, Cell, CellGenotype, Node
from nascore.spaces.space import (
    Indices,
    Names,
    PaperSpace,
    Placed,
    Positions,
    Token,
    Values,
    Words,
    operations,
)

Nodes = Sequence[Node]


class CellSpace(PaperSpace):
    """A space of cells. Decisions list the cells in the order of `cell_types`, and of each its
    nodes; the first nodes of a single cell are themselves one (`levels`). Subclasses say what the
    decisions of node i are about (`_about`; `ends` are the last decisions of the nodes before),
    which `Node` the next of the values that are `left` mean (`_node`) and the inverse
    (`_values_of`), and which states a cell puts out (`_concat`, by the `_rule`)."""

    genotype = CellGenotype
    primitives: Words
    _rule = "all nodes"

    def __init__(
        self,
        name: str,
        skeleton: str,
        primitives: Names,
        nodes: int,
        cell_types: Words,
    ):
        self.name = name
        self.nodes = whole(f"space {name}: size", nodes, 1, MAX_NODES)
        self.cell_types = cell_types
        self.primitives = operations(name, primitives)
        layout: Positions = []
        for _ in cell_types:
            ends: list[int] = []
            for i in range(nodes):
                layout += self._about(i, tuple(ends))
                ends.append(len(layout) - 1)
        if "reduce" not in cell_types:
            self.levels = tuple(end + 1 for end in ends)
        super().__init__(name, skeleton, layout)

    def _about(self, i: int, ends: Indices) -> Positions:
        raise NotImplementedError

    def _node(self, i: int, left: Iterator[Any]) -> Node:
        raise NotImplementedError

    def _values_of(self, node: Node, i: int, field: str) -> Values:
        raise NotImplementedError

    def _concat(self, nodes: Nodes) -> Indices:
        return tuple(range(self.n_inputs, self.n_inputs + len(nodes)))

    def _genotype(self, values: Values) -> CellGenotype:
        left = iter(values)
        count = self.levels.index(len(values)) + 1 if self.levels else self.nodes
        return CellGenotype(*(self._cell(count, left) for _ in self.cell_types))

    def _cell(self, count: int, left: Iterator[Any]) -> Cell:
        nodes = tuple(self._node(i, left) for i in range(count))
        return Cell(nodes, self._concat(nodes), self.n_inputs)

    def _values(self, genotype: CellGenotype) -> Placed:
        if (genotype.reduce is None) == ("reduce" in self.cell_types):
            allowed = "null: this space has one cell" if genotype.reduce else "a cell"
            self._refuse("reduce", genotype.reduce, allowed)
        for name in self.cell_types:
            cell: Cell = getattr(genotype, name)
            size = f"{len(cell.nodes)} nodes, {cell.n_inputs} inputs"
            allowed = f"{self.nodes} nodes, {self.n_inputs} inputs"
            if size != allowed:
                self._refuse(name, size, allowed)
            for i, node in enumerate(cell.nodes):
                field = f"{name}.nodes[{i}]"
                for value in self._values_of(node, i, field):
                    yield value, f"{field}.ops"  # the others fit
            concat = self._concat(cell.nodes)
            if set(cell.concat) != set(concat):
                allowed = f"{list(concat)}, {self._rule}"
                self._refuse(f"{name}.concat", list(cell.concat), allowed)

    def _summed(
        self, node: Node, field: str, possible: Sequence[Indices], allowed: str
    ) -> tuple[Indices, Words]:
        """The inputs of a node and the operations on them, in the order of the inputs. It must be a
        sum, and the inputs one of `possible`."""
        inputs, ops = zip(*sorted(zip(node.inputs, node.ops)))
        if node.combine != "add" or inputs not in possible:
            self._refuse(field, (node.combine, node.inputs), allowed)
        return inputs, ops


class Pairs(CellSpace):
    """DARTS's derived cells: a node takes two different states, an operation on each, and all
    nodes are put out. Pairs run (0,1), (0,2), (1,2), (0,3), ..., so that an option means the
    same pair at every node."""

    def _about(self, i: int, ends: Indices) -> Positions:
        # `none` is for the supernet only.
        ops = [op for op in self.primitives if op != "none"]
        allowed = "two or more besides 'none'"
        require(len(ops) > 1, f"space {self.name}: primitives", self.primitives, allowed)
        op = Token("op"), ops
        return [(Token("pair"), pairs(i)), op, op]

    def _node(self, i: int, left: Iterator[Any]) -> Node:
        return Node(next(left), (next(left), next(left)))

    def _values_of(self, node: Node, i: int, field: str) -> Values:
        allowed = "the sum of two different inputs"
        pair, ops = self._summed(node, field, pairs(i), allowed)
        return [pair, *ops]


class Blocks(CellSpace):
    """NASNet's blocks and their kin: a node takes any two states, an operation on each. `order`
    lists a block's decisions, some of `PARTS`; `puts_out` is the rule for the concat: "all" blocks,
    the "unused" ones, or all "loose ends", the cell's unused inputs among them."""

    PARTS = ("input 1", "input 2", "op 1", "op 2", "combine")
    RULES = {
        "all": "all blocks",
        "unused": "the blocks that no other reads (and never a cell input)",
        "loose ends": "the states that no node reads",
    }

    def __init__(
        self,
        name: str,
        skeleton: str,
        primitives: Names,
        nodes: int,
        cell_types: Words,
        order: Words,
        puts_out: str,
    ):
        self.order = order
        self._puts_out = puts_out
        self._rule = self.RULES[puts_out]
        super().__init__(name, skeleton, primitives, nodes, cell_types)

    def _about(self, i: int, ends: Indices) -> Positions:
        state = Token("input", ends), range(i + 2)
        op = Token("op"), self.primitives
        return self._ordered([state, state, op, op, (Token("combine"), COMBINATIONS)])

    def _ordered(self, of_parts: Sequence[Any]) -> list[Any]:
        """What belongs to each of the `PARTS`, in the order of the decisions."""
        by_part = dict(zip(self.PARTS, of_parts))
        return [by_part[part] for part in self.order]

    def _node(self, i: int, left: Iterator[Any]) -> Node:
        block = dict(zip(self.order, left))
        first, second, op, other, *combine = (block[part] for part in self.PARTS if part in block)
        return Node((first, second), (op, other), *combine)

    def _concat(self, nodes: Nodes) -> Indices:
        used = set() if self._puts_out == "all" else {j for node in nodes for j in node.inputs}
        first = 0 if self._puts_out == "loose ends" else 2
        return tuple(j for j in range(first, 2 + len(nodes)) if j not in used)

    def _values_of(self, node: Node, i: int, field: str) -> Values:
        match node:
            case Node((first, second), (op, other), way) if way == "add" or "combine" in self.order:
                return self._ordered([first, second, op, other, way])
        allowed = "two inputs, added unless the space decides how they are combined"
        self._refuse(field, (node.combine, node.inputs), allowed)


class Edges(CellSpace):
    """NAS-Bench-201: an operation, `none` included, on each edge 0-1, 0-2, 1-2, 0-3, 1-3, 2-3 of
    the complete graph; state 0 is the cell's input and state 3 its output. Of 1 or 3 decisions the
    smaller cell is meant whose last node goes to the output by `skip_connect`."""

    n_inputs = 1
    keeps_every_edge = True
    REST: dict[int, Words] = {  # of the edges of a smaller cell, by its length
        1: ("none", "none", "none", "skip_connect", "none"),
        3: ("none", "none", "skip_connect"),
        6: (),
    }
    _rule = "the last node"

    def _about(self, i: int, ends: Indices) -> Positions:
        return [(Token("op"), self.primitives)] * (i + 1)

    @lru_cache(maxsize=2**14)  # noqa: B019 - all cells, so that a search on the table only looks up
    def _genotype(self, values: Values) -> CellGenotype:
        return super()._genotype((*values, *self.REST[len(values)]))

    def _node(self, i: int, left: Iterator[Any]) -> Node:
        inputs = tuple(range(i + 1))
        return Node(inputs, tuple(next(left) for _ in inputs))

    def _concat(self, nodes: Nodes) -> Indices:
        return (len(nodes),)

    def _values_of(self, node: Node, i: int, field: str) -> Values:
        allowed = f"the sum of inputs 0 to {i}, each once"
        _, ops = self._summed(node, field, [tuple(range(i + 1))], allowed)
        return ops


@cache
def pairs(i: int) -> list[Indices]:
    """Of two different states that node i may read."""
    return [(first, second) for second in range(1, i + 2) for first in range(second)]
