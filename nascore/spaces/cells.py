"""Spaces of cells: DARTS's pairs of edges, the blocks of NASNet and its kin, NAS-Bench-201's
complete graph."""

import math
from collections.abc import Sequence
from functools import lru_cache

from nascore.errors import UserError
from nascore.genotypes import COMBINATIONS, Cell, CellGenotype, Genotype, Node
from nascore.spaces.guards import Decisions
from nascore.spaces.space import Indices, Layout, Names, PaperSpace, Token, Words, depth, operations

Nodes = Sequence[Node]


class CellSpace(PaperSpace):
    """A space of cells. Decisions list the cells in the order of `cell_types`. Subclasses say
    what one cell's decisions are (`_add_cell`), which `Cell` they mean (`_cell`), which of them
    mean its node i (`_decisions`), and which states a cell puts out (`_concat`, by the `_rule`)."""

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
        self.nodes = depth(name, "size", nodes)
        self.cell_types = cell_types
        self.primitives = operations(name, primitives)
        layout: Layout = []
        for _ in cell_types:
            self._add_cell(layout)
        self._length = len(layout) // len(cell_types)
        super().__init__(name, skeleton, layout)

    def _add_cell(self, layout: Layout) -> None:
        raise NotImplementedError

    def _cell(self, decisions: Decisions) -> Cell:
        raise NotImplementedError

    def _decisions(self, node: Node, i: int, field: str) -> list[int]:
        raise NotImplementedError

    def _concat(self, nodes: Nodes) -> Indices:
        return tuple(range(self.n_inputs, self.n_inputs + len(nodes)))

    def _genotype(self, decisions: Indices) -> CellGenotype:
        starts = range(0, len(decisions), self._length)
        return CellGenotype(*(self._cell(decisions[at : at + self._length]) for at in starts))

    def encode(self, genotype: Genotype) -> list[int]:
        """Decisions that mean this network. Raises `GenotypeError` where the space does not hold
        it."""
        if not isinstance(genotype, CellGenotype):
            self._refuse("kind", type(genotype).__name__, "CellGenotype")
        if (genotype.reduce is None) == ("reduce" in self.cell_types):
            allowed = "null: this space has one cell" if genotype.reduce else "a cell"
            self._refuse("reduce", genotype.reduce, allowed)
        decisions = []
        for name in self.cell_types:
            decisions += self._encoded(getattr(genotype, name), name)
        return decisions

    def _encoded(self, cell: Cell, name: str) -> list[int]:
        if cell.n_inputs != self.n_inputs or len(cell.nodes) != self.nodes:
            found = f"{len(cell.nodes)} nodes, {cell.n_inputs} inputs"
            self._refuse(name, found, f"{self.nodes} nodes, {self.n_inputs} inputs")
        decisions = []
        for i, node in enumerate(cell.nodes):
            decisions += self._decisions(node, i, f"{name}.nodes[{i}]")
        concat = list(self._concat(cell.nodes))
        if set(cell.concat) != set(concat):
            self._refuse(f"{name}.concat", list(cell.concat), f"{concat}, {self._rule}")
        return decisions


class Pairs(CellSpace):
    """DARTS's derived cells: a node takes two different states, an operation on each, and all
    nodes are put out. Pairs run (0,1), (0,2), (1,2), (0,3), ..., so that an option means the
    same pair at every node."""

    def _add_cell(self, layout: Layout) -> None:
        self._pairs = [(i, j) for j in range(1, self.nodes + 1) for i in range(j)]
        # `none` is for the supernet only.
        self._ops = [op for op in self.primitives if op != "none"]
        if len(self._ops) < 2:
            found = f"primitives {self.primitives}"
            raise UserError(f"space {self.name}: {found}, allowed: two or more besides 'none'")
        op = (Token("op"), len(self._ops))
        for i in range(self.nodes):
            layout += [(Token("pair"), math.comb(i + 2, 2)), op, op]

    def _cell(self, decisions: Decisions) -> Cell:
        nodes = []
        for at in range(0, len(decisions), 3):
            pair, *ops = decisions[at : at + 3]
            nodes.append(Node(self._pairs[pair], tuple(self._ops[op] for op in ops)))
        return Cell(tuple(nodes), self._concat(nodes))

    def _decisions(self, node: Node, i: int, field: str) -> list[int]:
        pair = tuple(sorted(node.inputs))
        if node.combine != "add" or pair not in self._pairs:
            self._refuse(field, (node.combine, node.inputs), "the sum of two different inputs")
        ops = [op for _, op in sorted(zip(node.inputs, node.ops))]
        return [
            self._pairs.index(pair),
            *(self._option(op, f"{field}.ops", self._ops) for op in ops),
        ]


class Blocks(CellSpace):
    """NASNet's blocks and their kin: a node takes any two states, an operation on each. `order`
    lists a block's decisions; `puts_out` is the rule for the concat: "all" blocks, the "unused"
    ones, or all "loose ends", the cell's unused inputs among them."""

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
        if len(cell_types) == 1:  # PNAS: a list of fewer blocks is a smaller architecture
            self.levels = tuple(len(order) * b for b in range(1, nodes + 1))

    def _add_cell(self, layout: Layout) -> None:
        ends: Indices = ()  # of the blocks before: a block is its last decision
        options = {"op": len(self.primitives), "combine": len(COMBINATIONS)}
        for b in range(self.nodes):
            options["input"] = b + 2
            for kind in self.order:
                layout.append((Token(kind, ends if kind == "input" else ()), options[kind]))
            ends += (len(layout) - 1,)

    def _cell(self, decisions: Decisions) -> Cell:
        nodes: list[Node] = []
        for at in range(0, len(decisions), len(self.order)):
            block: dict[str, list[int]] = {"input": [], "op": [], "combine": []}
            for kind, decision in zip(self.order, decisions[at:]):
                block[kind].append(decision)
            ops = tuple(self.primitives[op] for op in block["op"])
            nodes.append(Node(tuple(block["input"]), ops, COMBINATIONS[sum(block["combine"])]))
        return Cell(tuple(nodes), self._concat(nodes))

    def _concat(self, nodes: Nodes) -> Indices:
        used = set() if self._puts_out == "all" else {j for node in nodes for j in node.inputs}
        first = 0 if self._puts_out == "loose ends" else 2
        return tuple(j for j in range(first, 2 + len(nodes)) if j not in used)

    def _decisions(self, node: Node, i: int, field: str) -> list[int]:
        if len(node.inputs) != 2:
            self._refuse(field, node.inputs, "two inputs")
        if node.combine != "add" and "combine" not in self.order:
            self._refuse(f"{field}.combine", node.combine, "add")
        block = {
            "input": list(node.inputs),
            "op": [self._option(op, f"{field}.ops", self.primitives) for op in node.ops],
            "combine": [COMBINATIONS.index(node.combine)],
        }
        return [block[kind].pop(0) for kind in self.order]


class Edges(CellSpace):
    """NAS-Bench-201: an operation, `none` included, on each edge 0-1, 0-2, 1-2, 0-3, 1-3, 2-3 of
    the complete graph; state 0 is the cell's input and state 3 its output. Of 1 or 3 decisions the
    smaller cell is meant whose last node goes to the output by `skip_connect`."""

    n_inputs = 1
    keeps_every_edge = True
    levels = (1, 3, 6)
    REST: dict[int, Words] = {  # of the edges of a smaller cell, by its length
        1: ("none", "none", "none", "skip_connect", "none"),
        3: ("none", "none", "skip_connect"),
        6: (),
    }
    _rule = "the last node"

    def _add_cell(self, layout: Layout) -> None:
        layout += [(Token("op"), len(self.primitives))] * math.comb(self.nodes + 1, 2)

    @lru_cache(maxsize=2**14)  # noqa: B019 - all cells, so that a search on the table only looks up
    def _genotype(self, decisions: Indices) -> CellGenotype:
        return super()._genotype(decisions)

    def _cell(self, decisions: Decisions) -> Cell:
        ops = tuple(self.primitives[d] for d in decisions) + self.REST[len(decisions)]
        nodes = (Node((0,), ops[:1]), Node((0, 1), ops[1:3]), Node((0, 1, 2), ops[3:]))
        return Cell(nodes, self._concat(nodes), n_inputs=1)

    def _concat(self, nodes: Nodes) -> Indices:
        return (len(nodes),)

    def _decisions(self, node: Node, i: int, field: str) -> list[int]:
        ops = dict(zip(node.inputs, node.ops))
        if node.combine != "add" or len(node.inputs) != i + 1 or len(ops) != i + 1:
            allowed = f"the sum of inputs 0 to {i}, each once"
            self._refuse(field, (node.combine, node.inputs), allowed)
        return [self._option(ops[j], f"{field}.ops", self.primitives) for j in range(i + 1)]
