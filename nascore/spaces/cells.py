"""Spaces of cells: DARTS's pairs of edges, the blocks of NASNet and its kin, NAS-Bench-201's
complete graph."""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations

from nascore.errors import UserError, shorten
from nascore.genotypes import COMBINATIONS, MAX_NODES, Cell, CellGenotype, Node
from nascore.spaces.space import Space, Token, operations


class CellSpace(Space):
    """A space of cells. Decisions list the cells in the order of `cell_types`. Subclasses say
    what one cell's decisions are (`_layout`), which `Cell` they mean (`_cell`) and which of them
    mean a `Node` (`_decisions`)."""

    n_inputs = 2

    def __init__(
        self,
        name: str,
        skeleton: str,
        primitives: Sequence[str],
        nodes: int,
        cell_types: tuple[str, ...],
    ):
        if not isinstance(nodes, int) or not 1 <= nodes <= MAX_NODES:
            raise UserError(
                f"space {name}: size {shorten(nodes)}, allowed: a whole number from 1 to {MAX_NODES}"
            )
        self.nodes = nodes
        self.cell_types = cell_types
        self.primitives = operations(name, primitives)
        self.name, layout = (
            name,
            self._layout(),
        )  # one cell's (token, number of options), position by position
        self._length = len(layout)
        places = [
            (Token(token.kind, tuple(cell * len(layout) + p for p in token.refers_to)), count)
            for cell in range(len(cell_types))
            for token, count in layout
        ]
        super().__init__(name, skeleton, places)

    def _genotype(self, decisions: tuple[int, ...]) -> CellGenotype:
        return CellGenotype(
            *(
                self._cell(decisions[i : i + self._length])
                for i in range(0, len(decisions), self._length)
            )
        )

    def encode(self, genotype: CellGenotype) -> list[int]:
        """Decisions that mean this network. Raises `GenotypeError` where the space does not hold
        it."""
        self._require_kind(genotype, CellGenotype)
        if (genotype.reduce is None) == ("reduce" in self.cell_types):
            self._refuse(
                "reduce",
                genotype.reduce,
                "null: this space has one cell" if genotype.reduce else "a cell",
            )
        decisions = []
        for name in self.cell_types:
            cell = getattr(genotype, name)
            if cell.n_inputs != self.n_inputs or len(cell.nodes) != self.nodes:
                found = f"{len(cell.nodes)} nodes, {cell.n_inputs} inputs"
                self._refuse(name, found, f"{self.nodes} nodes, {self.n_inputs} inputs")
            for i, node in enumerate(cell.nodes):
                decisions += self._decisions(node, i, f"{name}.nodes[{i}]")
            if set(cell.concat) != set(self._concat(cell.nodes)):
                self._refuse(
                    f"{name}.concat",
                    list(cell.concat),
                    f"{list(self._concat(cell.nodes))}, {self._rule}",
                )
        return decisions

    _rule = "all nodes"

    def _concat(self, nodes: Sequence[Node]) -> tuple[int, ...]:
        return tuple(range(self.n_inputs, self.n_inputs + len(nodes)))


class Pairs(CellSpace):
    """DARTS's derived cells: a node takes two different states, an operation on each, and all
    nodes are put out. Pairs run (0,1), (0,2), (1,2), (0,3), ..., so that an option means the
    same pair at every node."""

    def _layout(self):
        self._pairs = sorted(combinations(range(self.nodes + 1), 2), key=lambda pair: pair[::-1])
        self._ops = tuple(
            op for op in self.primitives if op != "none"
        )  # `none` is for the supernet only
        if len(self._ops) < 2:
            raise UserError(
                f"space {self.name}: primitives {self.primitives}, allowed: two or more besides 'none'"
            )
        op = (Token("op"), len(self._ops))
        return [
            choice
            for i in range(self.nodes)
            for choice in ((Token("pair"), math.comb(i + 2, 2)), op, op)
        ]

    def _cell(self, decisions):
        choices = zip(decisions[::3], decisions[1::3], decisions[2::3])
        nodes = tuple(
            Node(self._pairs[pair], (self._ops[op_1], self._ops[op_2]))
            for pair, op_1, op_2 in choices
        )
        return Cell(nodes, self._concat(nodes))

    def _decisions(self, node, i, field):
        pair = tuple(sorted(node.inputs))
        if node.combine != "add" or pair not in self._pairs:
            self._refuse(field, (node.combine, node.inputs), "the sum of two different inputs")
        ops = [op for _, op in sorted(zip(node.inputs, node.ops))]
        return [self._pairs.index(pair)] + [
            self._option(op, f"{field}.ops", self._ops) for op in ops
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
        self, name, skeleton, primitives, nodes, cell_types, order: tuple[str, ...], puts_out: str
    ):
        self.order = order
        self._puts_out = puts_out
        self._rule = self.RULES[puts_out]
        super().__init__(name, skeleton, primitives, nodes, cell_types)
        if len(cell_types) == 1:  # PNAS: a list of fewer blocks is a smaller architecture
            self.levels = tuple(len(order) * b for b in range(1, nodes + 1))

    def _layout(self):
        layout = []
        width = len(self.order)
        for b in range(self.nodes):
            ends = tuple(
                width * earlier - 1 for earlier in range(1, b + 1)
            )  # a block is its last decision
            options = {"op": len(self.primitives), "combine": len(COMBINATIONS), "input": b + 2}
            layout += [
                (Token(kind, ends if kind == "input" else ()), options[kind]) for kind in self.order
            ]
        return layout

    def _cell(self, decisions):
        nodes = []
        for at in range(0, len(decisions), len(self.order)):
            block: dict[str, list[int]] = {"input": [], "op": [], "combine": []}
            for kind, decision in zip(self.order, decisions[at:]):
                block[kind].append(decision)
            ops = [self.primitives[op] for op in block["op"]]
            nodes.append(Node(block["input"], ops, COMBINATIONS[sum(block["combine"])]))
        return Cell(tuple(nodes), self._concat(nodes))

    def _concat(self, nodes):
        used = set() if self._puts_out == "all" else {j for node in nodes for j in node.inputs}
        first = 0 if self._puts_out == "loose ends" else 2
        return tuple(j for j in range(first, 2 + len(nodes)) if j not in used)

    def _decisions(self, node, i, field):
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
    the complete graph; state 0 is the cell's input and state 3 its output."""

    n_inputs = 1
    levels = (1, 3, 6)
    _rule = "the last node"

    def _layout(self):
        return [(Token("op"), len(self.primitives))] * (self.nodes * (self.nodes + 1) // 2)

    @lru_cache(maxsize=2**14)  # noqa: B019 - all 15,625 cells, so that a search on the table only looks up
    def _decode(self, decisions: tuple[int, ...]) -> CellGenotype:
        return super().decode(decisions)

    def decode(self, decisions: Sequence[int]) -> CellGenotype:
        """The genotype that `decisions` mean; of 1 or 3 decisions, that of the smaller cell
        whose last node goes to the output by `skip_connect`."""
        return self._decode(tuple(decisions))

    def _cell(self, decisions):
        ops = [self.primitives[d] for d in decisions] + ["none"] * (6 - len(decisions))
        if len(decisions) < 6:
            ops[{1: 4, 3: 5}[len(decisions)]] = "skip_connect"
        nodes = (Node((0,), ops[:1]), Node((0, 1), ops[1:3]), Node((0, 1, 2), ops[3:]))
        return Cell(nodes, self._concat(nodes), n_inputs=1)

    def _concat(self, nodes):
        return (len(nodes),)

    def _decisions(self, node, i, field):
        ops = dict(zip(node.inputs, node.ops))
        if node.combine != "add" or len(node.inputs) != i + 1 or len(ops) != i + 1:
            self._refuse(
                field, (node.combine, node.inputs), f"the sum of inputs 0 to {i}, each once"
            )
        return [self._option(ops[j], f"{field}.ops", self.primitives) for j in range(i + 1)]
