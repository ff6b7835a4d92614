"""What a search finds: an architecture as a small frozen value.

Five kinds, one for each family of search space: `CellGenotype` (NASNet, PNAS, ENAS micro, DARTS, NAS-Bench-201),
`ChainGenotype` (NAS-RL), `MacroGenotype` (ENAS macro), `RecurrentGenotype` (ENAS, DARTS) and `RecurrentTree` (NAS-RL).
Values are hashable and equal by value; `to_json` and `from_json` are exact inverses; nothing here knows of torch.
"""

import dataclasses
import json
from dataclasses import dataclass
from functools import partial

from nascore.errors import UserError, one_of, require, whole

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


_require = partial(require, error=GenotypeError)
_whole = partial(whole, error=GenotypeError)


def _one_of(field: str, found, names) -> str:
    return one_of(field, found, sorted(names), GenotypeError)


def _sequence(value, field: str, low: int, high: int) -> tuple:
    _require(isinstance(value, (list, tuple)) and low <= len(value) <= high, field, value, f"a list of {low} to {high}")
    return tuple(value)


def _indices(value, field: str, lengths: tuple[int, int], low: int, high: int, distinct: str = "") -> tuple[int, ...]:
    """A list of whole numbers from `low` to `high`; each `distinct` (a layer, a node) at most once."""
    found = tuple(_whole(f"{field}[{k}]", v, low, high) for k, v in enumerate(_sequence(value, field, *lengths)))
    _require(not distinct or len(set(found)) == len(found), field, list(found), f"each {distinct} at most once")
    return found


def _instances(value, field: str, cls: type) -> tuple:
    found = _sequence(value, field, 1, MAX_NODES)
    for k, item in enumerate(found):
        _require(isinstance(item, cls), f"{field}[{k}]", item, f"a {cls.__name__}")
    return found


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
        inputs = _indices(self.inputs, "inputs", (1, MAX_NODES), 0, 2 * MAX_NODES)
        ops = _sequence(self.ops, "ops", len(inputs), len(inputs))
        _freeze(self, inputs=inputs, ops=tuple(_one_of(f"ops[{k}]", op, OPERATIONS) for k, op in enumerate(ops)))
        _one_of("combine", self.combine, COMBINATIONS)


@dataclass(frozen=True)
class Cell:
    """A directed acyclic graph: inputs 0 .. n_inputs-1 are the outputs of the previous cells (0 the one before the
    previous, 1 the previous; with n_inputs=1, 0 is the previous), node i is input n_inputs + i, and the states named
    by `concat` are concatenated into the cell's output."""

    nodes: tuple[Node, ...]
    concat: tuple[int, ...]
    n_inputs: int = 2

    def __post_init__(self):
        _whole("n_inputs", self.n_inputs, 1, 2)
        nodes = _instances(self.nodes, "nodes", Node)
        for i, node in enumerate(nodes):  # a node reads only states that exist already
            _indices(node.inputs, f"nodes[{i}].inputs", (1, MAX_NODES), 0, self.n_inputs + i - 1)
        states = self.n_inputs + len(nodes)
        _freeze(self, nodes=nodes, concat=_indices(self.concat, "concat", (1, states), 0, states - 1, "state"))


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
            _freeze(self, **{name: _indices(getattr(self, name), name, (2, 2), 1, high)})
        _whole("filters", self.filters, 1, 4096)
        _freeze(self, inputs=_indices(self.inputs, "inputs", (0, MAX_NODES), 1, MAX_NODES, "layer"))


@dataclass(frozen=True)
class ChainGenotype:
    """A whole network, layer by layer, with skip connections (NAS-RL, section 3)."""

    layers: tuple[ChainLayer, ...]

    def __post_init__(self):
        _freeze(self, layers=_instances(self.layers, "layers", ChainLayer))
        for i, layer in enumerate(self.layers):
            for k, j in enumerate(layer.inputs):
                _require(j <= i, f"layers[{i}].inputs[{k}]", j, f"an earlier layer, 1 to {i}" if i else "none")


@dataclass(frozen=True)
class MacroLayer:
    """One operation; `skips`: 0 = stem, k = layer k. The direct predecessor always feeds and is never listed."""

    op: str
    skips: tuple[int, ...] = ()

    def __post_init__(self):
        _one_of("op", self.op, OPERATIONS)
        _freeze(self, skips=_indices(self.skips, "skips", (0, MAX_NODES), 0, MAX_NODES, "layer"))


@dataclass(frozen=True)
class MacroGenotype:
    """A whole network of ENAS's macro space."""

    layers: tuple[MacroLayer, ...]

    def __post_init__(self):
        _freeze(self, layers=_instances(self.layers, "layers", MacroLayer))
        for i, layer in enumerate(self.layers):
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
            activation = _one_of(f"nodes[{i}][1]", activation, ACTIVATIONS)
            nodes.append((_whole(f"nodes[{i}][0]", source, -1, i - 1), activation))
        concat = _indices(self.concat, "concat", (1, len(nodes)), 0, len(nodes) - 1, "node")
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
        count = 2 * _whole("base", self.base, 1, MAX_NODES // 2) - 1
        tree = _sequence(self.tree, "tree", count, count)
        _freeze(self, tree=tuple(self._block(block, f"tree[{i}]") for i, block in enumerate(tree)))
        _freeze(self, inject=self._block(self.inject, "inject"))
        _whole("c_out", self.c_out, 0, count - 1)
        _whole("c_in", self.c_in, 0, count - 1)

    @staticmethod
    def _block(block, field: str) -> tuple[str, str]:
        combination, activation = _sequence(block, field, 2, 2)
        return _one_of(f"{field}[0]", combination, TREE_COMBINATIONS), _one_of(f"{field}[1]", activation, ACTIVATIONS)


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
    return _build(KINDS[_one_of("kind", data.pop("kind", None), KINDS)], data, "")


# Fields that hold values of our own types: a Cell, or a list of the others.
_NESTED = {
    CellGenotype: {"normal": Cell, "reduce": Cell},
    Cell: {"nodes": Node},
    ChainGenotype: {"layers": ChainLayer},
    MacroGenotype: {"layers": MacroLayer},
}


def _build(cls, data, path: str):
    """Build `cls` from a JSON object; errors name the field by its whole path (`normal.nodes[1].inputs[0]`)."""
    names = [field.name for field in dataclasses.fields(cls)]
    _require(isinstance(data, dict), path, data, f"an object with {', '.join(names)}")
    prefix = f"{path}." if path else ""
    for name in data:
        _require(name in names, f"{prefix}{name[:40]}", "an unknown field", ", ".join(names))
    for field in dataclasses.fields(cls):
        given = field.name in data or field.default is not dataclasses.MISSING
        _require(given, f"{prefix}{field.name}", "nothing", "this field is required")
    values = dict(data)
    for name, nested in _NESTED.get(cls, {}).items():
        value, field = values.get(name), f"{prefix}{name}"
        if nested is not Cell:
            items = enumerate(_sequence(value, field, 1, MAX_NODES))
            values[name] = tuple(_build(nested, item, f"{field}[{i}]") for i, item in items)
        elif value is not None:
            values[name] = _build(nested, value, field)
    try:
        return cls(**values)
    except GenotypeError as error:
        raise GenotypeError(f"{prefix}{error}") from None


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
        open_nodes = [i for i in range(len(cell.nodes)) if n + i not in placed]
        ready = [i for i in open_nodes if all(j < n or j in placed for j in cell.nodes[i].inputs)]
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
        into = [tuple(sorted((colours[j], op) for j, op, i in edges if i == v)) for v in range(len(keys))]
        out = [tuple(sorted((colours[i], op) for j, op, i in edges if j == v)) for v in range(len(keys))]
        keys = list(zip(colours, into, out))
