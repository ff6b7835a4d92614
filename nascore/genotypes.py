"""What a search finds: an architecture as a small frozen value.

Five kinds, one for each family of search space: `CellGenotype` (NASNet, PNAS, ENAS micro, DARTS, NAS-Bench-201),
`ChainGenotype` (NAS-RL), `MacroGenotype` (ENAS macro), `RecurrentGenotype` (ENAS, DARTS) and `RecurrentTree` (NAS-RL).
Values are hashable and equal by value; `to_json` and `from_json` are exact inverses; nothing here knows of torch.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

from nascore.errors import UserError, shorten

MAX_NODES = 100
MAX_TEXT = 1_000_000

# Names as published; `nets.operations.register` adds a user's own.
OPERATIONS: set[str] = {
    "none", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "dil_conv_3x3", "dil_conv_5x5",
    "full_dil_conv_3x3", "avg_pool_3x3", "max_pool_3x3", "max_pool_5x5", "max_pool_7x7", "conv_1x1", "conv_3x3",
    "conv_5x5", "conv_3x1_1x3", "conv_7x1_1x7", "nor_conv_1x1", "nor_conv_3x3",
}  # fmt: skip
ACTIVATIONS = ("tanh", "relu", "sigmoid", "identity")
COMBINATIONS = ("add", "concat")
TREE_COMBINATIONS = ("add", "elem_mult")


class GenotypeError(UserError):
    """A genotype that cannot be: the line names the field, what was found and what is allowed."""


def _require(condition: bool, field: str, found, allowed: str) -> None:
    if not condition:
        raise GenotypeError(f"{field}: found {shorten(found)}, allowed: {allowed}")


def _integer(value, field: str, low: int, high: int) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool)
    _require(whole and low <= value <= high, field, value, f"a whole number from {low} to {high}")
    return value


def _one_of(value, field: str, names: Sequence[str]) -> str:
    _require(isinstance(value, str) and value in names, field, value, ", ".join(sorted(names)))
    return value


def _sequence(value, field: str, low: int, high: int) -> tuple:
    _require(isinstance(value, (list, tuple)) and low <= len(value) <= high, field, value, f"a list of {low} to {high}")
    return tuple(value)


def _freeze(value, **fields) -> None:
    """Store validated (tuple) forms of a frozen dataclass's fields."""
    for name, field in fields.items():
        object.__setattr__(value, name, field)


@dataclass(frozen=True)
class Node:
    """Operation k is applied to input k; the results are combined. Inputs may repeat."""

    inputs: tuple[int, ...]
    ops: tuple[str, ...]
    combine: str = "add"

    def __post_init__(self):
        inputs = _sequence(self.inputs, "inputs", 1, MAX_NODES)
        ops = _sequence(self.ops, "ops", len(inputs), len(inputs))
        inputs = tuple(_integer(j, f"inputs[{k}]", 0, 2 * MAX_NODES) for k, j in enumerate(inputs))
        _freeze(self, inputs=inputs, ops=tuple(_one_of(op, f"ops[{k}]", OPERATIONS) for k, op in enumerate(ops)))
        _one_of(self.combine, "combine", COMBINATIONS)


@dataclass(frozen=True)
class Cell:
    """A directed acyclic graph: inputs 0 .. n_inputs-1 are the outputs of the previous cells (0 the one before the
    previous, 1 the previous; with n_inputs=1, 0 is the previous), node i is input n_inputs + i, and the states named
    by `concat` are concatenated into the cell's output."""

    nodes: tuple[Node, ...]
    concat: tuple[int, ...]
    n_inputs: int = 2

    def __post_init__(self):
        _integer(self.n_inputs, "n_inputs", 1, 2)
        nodes = _sequence(self.nodes, "nodes", 1, MAX_NODES)
        for i, node in enumerate(nodes):
            _require(isinstance(node, Node), f"nodes[{i}]", node, "a Node")
            for k, j in enumerate(node.inputs):  # a node reads only states that exist already
                _integer(j, f"nodes[{i}].inputs[{k}]", 0, self.n_inputs + i - 1)
        concat = _sequence(self.concat, "concat", 1, self.n_inputs + len(nodes))
        for k, j in enumerate(concat):
            _integer(j, f"concat[{k}]", 0, self.n_inputs + len(nodes) - 1)
        _require(len(set(concat)) == len(concat), "concat", list(concat), "each state at most once")
        _freeze(self, nodes=nodes, concat=concat)


@dataclass(frozen=True)
class CellGenotype:
    """A normal and a reduction cell. `reduce=None`: the skeleton reduces in its own way, or refuses."""

    normal: Cell
    reduce: Cell | None = None

    def __post_init__(self):
        _require(isinstance(self.normal, Cell), "normal", self.normal, "a Cell")
        _require(self.reduce is None or isinstance(self.reduce, Cell), "reduce", self.reduce, "a Cell or None")
        if self.reduce is not None:
            same = self.normal.n_inputs == self.reduce.n_inputs
            _require(same, "reduce.n_inputs", self.reduce.n_inputs, f"{self.normal.n_inputs}, as in the normal cell")


@dataclass(frozen=True)
class ChainLayer:
    """A convolution of NAS-RL: filter and stride as (height, width); inputs k >= 1 = layer k; () = the image."""

    filter: tuple[int, int]
    stride: tuple[int, int]
    filters: int
    inputs: tuple[int, ...] = ()

    def __post_init__(self):
        for name, high in (("filter", 99), ("stride", 9)):
            pair = _sequence(getattr(self, name), name, 2, 2)
            _freeze(self, **{name: tuple(_integer(v, f"{name}[{k}]", 1, high) for k, v in enumerate(pair))})
        _integer(self.filters, "filters", 1, 4096)
        inputs = _sequence(self.inputs, "inputs", 0, MAX_NODES)
        _freeze(self, inputs=tuple(_integer(v, f"inputs[{k}]", 1, MAX_NODES) for k, v in enumerate(inputs)))
        _require(len(set(inputs)) == len(inputs), "inputs", list(inputs), "each layer at most once")


@dataclass(frozen=True)
class ChainGenotype:
    """A whole network, layer by layer, with skip connections (NAS-RL, section 3)."""

    layers: tuple[ChainLayer, ...]

    def __post_init__(self):
        _freeze(self, layers=_sequence(self.layers, "layers", 1, MAX_NODES))
        for i, layer in enumerate(self.layers):
            _require(isinstance(layer, ChainLayer), f"layers[{i}]", layer, "a ChainLayer")
            for k, j in enumerate(layer.inputs):
                _require(j <= i, f"layers[{i}].inputs[{k}]", j, f"an earlier layer, 1 to {i}" if i else "none")


@dataclass(frozen=True)
class MacroLayer:
    """One operation; `skips`: 0 = stem, k = layer k. The direct predecessor always feeds and is never listed."""

    op: str
    skips: tuple[int, ...] = ()

    def __post_init__(self):
        _one_of(self.op, "op", OPERATIONS)
        skips = _sequence(self.skips, "skips", 0, MAX_NODES)
        _freeze(self, skips=tuple(_integer(v, f"skips[{k}]", 0, MAX_NODES) for k, v in enumerate(skips)))
        _require(len(set(skips)) == len(skips), "skips", list(skips), "each layer at most once")


@dataclass(frozen=True)
class MacroGenotype:
    """A whole network of ENAS's macro space."""

    layers: tuple[MacroLayer, ...]

    def __post_init__(self):
        _freeze(self, layers=_sequence(self.layers, "layers", 1, MAX_NODES))
        for i, layer in enumerate(self.layers):
            _require(isinstance(layer, MacroLayer), f"layers[{i}]", layer, "a MacroLayer")
            for k, j in enumerate(layer.skips):
                allowed = f"0 to {i - 1}: the stem or a layer before the direct predecessor" if i else "none"
                _require(j < i, f"layers[{i}].skips[{k}]", j, allowed)


@dataclass(frozen=True)
class RecurrentGenotype:
    """A recurrent cell: node i is (earlier node, activation), -1 = the cell's (x, h); output = mean of `concat`."""

    nodes: tuple[tuple[int, str], ...]
    concat: tuple[int, ...]

    def __post_init__(self):
        nodes = []
        for i, node in enumerate(_sequence(self.nodes, "nodes", 1, MAX_NODES)):
            source, activation = _sequence(node, f"nodes[{i}]", 2, 2)
            activation = _one_of(activation, f"nodes[{i}][1]", ACTIVATIONS)
            nodes.append((_integer(source, f"nodes[{i}][0]", -1, i - 1), activation))
        concat = _sequence(self.concat, "concat", 1, len(nodes))
        concat = tuple(_integer(j, f"concat[{k}]", 0, len(nodes) - 1) for k, j in enumerate(concat))
        _require(len(set(concat)) == len(concat), "concat", list(concat), "each node at most once")
        _freeze(self, nodes=tuple(nodes), concat=concat)


@dataclass(frozen=True)
class RecurrentTree:
    """NAS-RL's recurrent cell: a binary tree over `base` leaves (2 base - 1 nodes, leaves first), each node a
    (combination, activation); `inject` puts the memory in at node `c_in`, node `c_out` puts it out."""

    base: int
    tree: tuple[tuple[str, str], ...]
    inject: tuple[str, str]
    c_out: int
    c_in: int

    def __post_init__(self):
        count = 2 * _integer(self.base, "base", 1, MAX_NODES // 2) - 1
        tree = _sequence(self.tree, "tree", count, count)
        _freeze(self, tree=tuple(self._block(block, f"tree[{i}]") for i, block in enumerate(tree)))
        _freeze(self, inject=self._block(self.inject, "inject"))
        _integer(self.c_out, "c_out", 0, count - 1)
        _integer(self.c_in, "c_in", 0, count - 1)

    @staticmethod
    def _block(block, field: str) -> tuple[str, str]:
        combination, activation = _sequence(block, field, 2, 2)
        return _one_of(combination, f"{field}[0]", TREE_COMBINATIONS), _one_of(activation, f"{field}[1]", ACTIVATIONS)


Genotype = CellGenotype | ChainGenotype | MacroGenotype | RecurrentGenotype | RecurrentTree
KINDS = {
    "cell": CellGenotype,
    "chain": ChainGenotype,
    "macro": MacroGenotype,
    "recurrent": RecurrentGenotype,
    "recurrent-tree": RecurrentTree,
}


def kind(genotype: Genotype) -> str:
    """The name under which JSON knows this type of genotype."""
    return next(name for name, cls in KINDS.items() if isinstance(genotype, cls))


# --- JSON -----------------------------------------------------------------------------------------------------------


def to_json(genotype: Genotype, indent: int | None = None) -> str:
    """One JSON object; `from_json` gives the same value back."""
    return json.dumps({"kind": kind(genotype), **dataclasses.asdict(genotype)}, indent=indent)


def from_json(text: str) -> Genotype:
    """Read a genotype. Raises `GenotypeError`, one line, for anything that is not one."""
    if len(text) > MAX_TEXT:
        raise GenotypeError(f"a genotype file of {len(text):,} characters; allowed: at most {MAX_TEXT:,}")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else error
        raise GenotypeError(f"not JSON: {reason}; a genotype is one JSON object with a field 'kind'") from None
    _require(isinstance(data, dict), "the file", data, "one JSON object with a field 'kind'")
    fields = dict(data)
    cls = KINDS[_one_of(fields.pop("kind", None), "kind", tuple(KINDS))]
    return _build(cls, fields, "")


# Fields that hold values of our own types: for each, the type, and whether it is a list of them.
_NESTED = {
    (CellGenotype, "normal"): (Cell, False),
    (CellGenotype, "reduce"): (Cell, False),
    (Cell, "nodes"): (Node, True),
    (ChainGenotype, "layers"): (ChainLayer, True),
    (MacroGenotype, "layers"): (MacroLayer, True),
}


def _build(cls, data, path: str):
    """Build `cls` from a JSON object; errors name the field by its whole path (`normal.nodes[1].inputs[0]`)."""
    _require(isinstance(data, dict), path or "the file", data, f"an object with {', '.join(_names(cls))}")
    prefix = f"{path}." if path else ""
    unknown = [name for name in data if name not in _names(cls)]
    _require(
        not unknown, f"{prefix}{str(unknown[0])[:40]}" if unknown else "", "an unknown field", ", ".join(_names(cls))
    )
    missing = [f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING and f.name not in data]
    _require(not missing, f"{prefix}{missing[0]}" if missing else "", "nothing", "this field is required")
    values = {}
    for name, value in data.items():
        nested, many = _NESTED.get((cls, name), (None, False))
        if nested and many:
            items = _sequence(value, f"{prefix}{name}", 1, MAX_NODES)
            value = tuple(_build(nested, item, f"{prefix}{name}[{i}]") for i, item in enumerate(items))
        elif nested and value is not None:
            value = _build(nested, value, f"{prefix}{name}")
        values[name] = value
    try:
        return cls(**values)
    except GenotypeError as error:
        raise GenotypeError(f"{prefix}{error}") from None


def _names(cls) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


# --- canonical form -------------------------------------------------------------------------------------------------


def canonical(genotype: Genotype) -> Genotype:
    """The representative of all genotypes of the same network: the (input, op) pairs of a node sorted, nodes
    renumbered. `==` on genotypes stays exact; compare canonical forms to compare networks."""
    match genotype:
        case CellGenotype(normal, reduce):
            return CellGenotype(_canonical_cell(normal), reduce and _canonical_cell(reduce))
        case ChainGenotype(layers):
            return ChainGenotype(tuple(dataclasses.replace(x, inputs=tuple(sorted(x.inputs))) for x in layers))
        case MacroGenotype(layers):
            return MacroGenotype(tuple(dataclasses.replace(x, skips=tuple(sorted(x.skips))) for x in layers))
        case RecurrentGenotype(nodes, concat):
            cell = Cell(tuple(Node((j + 1,), ("none",)) for j, _ in nodes), tuple(j + 1 for j in concat), n_inputs=1)
            order = _canonical_order(cell, labels=[activation for _, activation in nodes])
            place = {-1: -1} | {i: new for new, i in enumerate(order)}
            renumbered = tuple((place[nodes[i][0]], nodes[i][1]) for i in order)
            return RecurrentGenotype(renumbered, tuple(sorted(place[j] for j in concat)))
        case _:
            return genotype


def _canonical_cell(cell: Cell) -> Cell:
    order = _canonical_order(cell, labels=[node.combine for node in cell.nodes])
    n = cell.n_inputs
    place = {j: j for j in range(n)} | {n + i: n + new for new, i in enumerate(order)}
    nodes = []
    for i in order:
        pairs = sorted((place[j], op) for j, op in zip(cell.nodes[i].inputs, cell.nodes[i].ops))
        nodes.append(Node(tuple(j for j, _ in pairs), tuple(op for _, op in pairs), cell.nodes[i].combine))
    return Cell(tuple(nodes), tuple(sorted(place[j] for j in cell.concat)), n)


def _canonical_order(cell: Cell, labels: list[str]) -> list[int]:
    """The nodes in an order that does not depend on how they were numbered: always the least node whose inputs are
    placed, by colours refined over both directions of the graph (Weisfeiler and Leman). A node once placed keeps its
    place as its colour, which tells equal-looking nodes apart. Exact for every cell of up to seven nodes."""
    n, placed = cell.n_inputs, {}
    for _ in cell.nodes:
        colours = _refine(cell, labels, placed)
        ready = [
            i
            for i, node in enumerate(cell.nodes)
            if n + i not in placed and all(j < n or j in placed for j in node.inputs)
        ]
        placed[n + min(ready, key=lambda i: (colours[n + i], i))] = len(placed)
    return [j - n for j in placed]


def _refine(cell: Cell, labels: list[str], placed: dict[int, int]) -> list[int]:
    n = cell.n_inputs
    edges = [(j, op, n + i) for i, node in enumerate(cell.nodes) for j, op in zip(node.inputs, node.ops)]
    keys: list = [("", j in cell.concat, j) for j in range(n)]
    keys += [(label, n + i in cell.concat, placed.get(n + i, MAX_NODES) + n) for i, label in enumerate(labels)]
    count = 0
    while True:
        ranks = {key: rank for rank, key in enumerate(sorted(set(keys)))}
        colours = [ranks[key] for key in keys]
        if len(ranks) == count:  # no class was split: stable
            return colours
        count = len(ranks)
        into = [sorted((colours[j], op) for j, op, i in edges if i == v) for v in range(len(keys))]
        out = [sorted((colours[i], op) for j, op, i in edges if j == v) for v in range(len(keys))]
        keys = [(colours[v], into[v], out[v]) for v in range(len(keys))]
        keys = [(c, tuple(a), tuple(b)) for c, a, b in keys]
