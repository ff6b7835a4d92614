"""The five kinds of genotype, each checked as it is made, and JSON."""

from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import partial
from itertools import repeat
from json import dumps, loads
from types import NoneType
from typing import Annotated, Any, get_args

from nascore.errors import UserError, one_of, require, shorten, whole
from nascore.files import check_format
from nascore.genotypes.operations import OPERATIONS

MAX_NODES = 100
MAX_INPUTS = 1_000  # of all nodes of a cell
MAX_TEXT = 1_000_000

ACTIVATIONS = ("tanh", "relu", "sigmoid", "identity")
COMBINATIONS = ("add", "concat")
TREE_COMBINATIONS = ("add", "elem_mult")

# The fields' types below are also their checks: names from a list, whole numbers from a range.
OperationName = Annotated[str, OPERATIONS]
Activation = Annotated[str, ACTIVATIONS]
Index = Annotated[int, range(2 * MAX_NODES)]
Indices = tuple[Index, ...]
Side = Annotated[int, range(1, 100)]
Step = Annotated[int, range(1, 10)]


class GenotypeError(UserError):
    """A genotype that cannot be: the line names the field, what was found and what is allowed."""


_require = partial(require, error=GenotypeError)


def _read(kind: Any, value: Any, field: str, least: int = 1) -> Any:
    """`value` in the form that the type `kind` names: a list as a tuple, a JSON object as one of
    the classes below."""
    if is_dataclass(kind):
        cls: Any = kind
        return value if isinstance(value, cls) else _build(cls, value, field)
    kinds: Iterable[Any]
    match get_args(kind):
        case (_, range() as numbers):
            return whole(field, value, numbers[0], numbers[-1], GenotypeError)
        case (_, set() | tuple() as names):
            return one_of(field, value, names, GenotypeError)
        case (part, last) if last is NoneType:  # a Cell or None
            return None if value is None else _read(part, value, field)
        case (part, last) if last is ...:
            low, high = least, MAX_NODES
            kinds = repeat(part)
        case parts:
            low = high = len(parts)
            kinds = parts
    good = isinstance(value, list | tuple) and low <= len(value) <= high
    _require(good, field, value, f"a list of {low} to {high}")
    items = enumerate(zip(kinds, value))
    return tuple(_read(part, item, f"{field}[{k}]") for k, (part, item) in items)


def _build(cls: Any, data: Any, field: str) -> Any:
    """A `cls` from a JSON object; errors name the field by its whole path
    (`normal.nodes[1].inputs[0]`)."""
    required = {f.name: f.default is MISSING for f in fields(cls)}
    known = ", ".join(required)
    _require(isinstance(data, dict), field, data, f"an object with {known}")
    prefix = f"{field}." if field else ""
    for name in data:
        _require(name in required, f"{prefix}{name[:40]}", "an unknown field", known)
    for name, needed in required.items():
        there = name in data or not needed
        _require(there, f"{prefix}{name}", "nothing", "this field is required")
    try:
        return cls(**data)
    except GenotypeError as error:
        raise GenotypeError(f"{prefix}{error}") from None


def _within(field: str, found: Indices, low: int, end: int, distinct: str = "") -> None:
    """All of `found` from `low` on and below `end`; each `distinct` (a layer, a node) at most
    once."""
    allowed = f"{low} to {end - 1}" if low < end else "none"
    for k, index in enumerate(found):
        _require(low <= index < end, f"{field}[{k}]", index, allowed)
    once = not distinct or len(set(found)) == len(found)
    _require(once, field, list(found), f"each {distinct} at most once")


class _Value:
    """What is in the form that its fields' types name, and then what its class asks of them."""

    def __post_init__(self) -> None:
        value: Any = self
        for field in fields(value):
            name = field.name
            least = 0 if field.default == () else 1
            found = _read(field.type, getattr(self, name), name, least)
            object.__setattr__(self, name, found)
        self._check()

    def _check(self) -> None:
        """Raises `GenotypeError` where fields do not fit each other."""


@dataclass(frozen=True)
class Node(_Value):
    """Operation k is applied to input k; the results are combined. Inputs may repeat."""

    inputs: Indices
    ops: tuple[OperationName, ...]
    combine: Annotated[str, COMBINATIONS] = "add"

    def _check(self) -> None:
        count = len(self.inputs)
        _require(len(self.ops) == count, "ops", self.ops, f"a list of {count}, one for each input")


@dataclass(frozen=True)
class Cell(_Value):
    """A directed acyclic graph: inputs 0 .. n_inputs-1 are the outputs of the previous cells (0
    the one before the previous, 1 the previous; with n_inputs=1, 0 is the previous), node i is
    input n_inputs + i, and the states named by `concat` are concatenated into the cell's output."""

    nodes: tuple[Node, ...]
    concat: Indices
    n_inputs: Annotated[int, range(1, 3)] = 2

    def _check(self) -> None:
        nodes = self.nodes
        n = self.n_inputs
        inputs = sum(len(node.inputs) for node in nodes)
        allowed = f"at most {MAX_INPUTS:,} inputs of all nodes"
        _require(inputs <= MAX_INPUTS, "nodes", f"{inputs:,} inputs", allowed)
        for i, node in enumerate(nodes):  # a node reads only states that exist already
            _within(f"nodes[{i}].inputs", node.inputs, 0, n + i)
        _within("concat", self.concat, 0, n + len(nodes), "state")


@dataclass(frozen=True)
class CellGenotype(_Value):
    """A normal and a reduction cell. `reduce=None`: the skeleton reduces in its own way, or
    refuses."""

    normal: Cell
    reduce: Cell | None = None

    def _check(self) -> None:
        n, found = self.normal.n_inputs, (self.reduce or self.normal).n_inputs
        _require(n == found, "reduce.n_inputs", found, f"{n}, as in the normal cell")


@dataclass(frozen=True)
class ChainLayer(_Value):
    """A convolution of NAS-RL: filter and stride as (height, width); inputs k >= 1 = layer k; ()
    = the image."""

    filter: tuple[Side, Side]
    stride: tuple[Step, Step]
    filters: Annotated[int, range(1, 4097)]
    inputs: Indices = ()


@dataclass(frozen=True)
class ChainGenotype(_Value):
    """A whole network, layer by layer, with skip connections (NAS-RL, section 3)."""

    layers: tuple[ChainLayer, ...]

    def _check(self) -> None:
        for i, layer in enumerate(self.layers):  # earlier layers only
            _within(f"layers[{i}].inputs", layer.inputs, 1, i + 1, "layer")


@dataclass(frozen=True)
class MacroLayer(_Value):
    """One operation; `skips`: 0 = stem, k = layer k. The direct predecessor always feeds and is
    never listed."""

    op: OperationName
    skips: Indices = ()


@dataclass(frozen=True)
class MacroGenotype(_Value):
    """A whole network of ENAS's macro space."""

    layers: tuple[MacroLayer, ...]

    def _check(self) -> None:
        for i, layer in enumerate(self.layers):  # the stem and layers before the direct predecessor
            _within(f"layers[{i}].skips", layer.skips, 0, i, "layer")


@dataclass(frozen=True)
class RecurrentGenotype(_Value):
    """A recurrent cell: node i is (earlier node, activation), -1 = the cell's (x, h); output =
    mean of `concat`."""

    nodes: tuple[tuple[Annotated[int, range(-1, MAX_NODES)], Activation], ...]
    concat: Indices

    def _check(self) -> None:
        for i, (source, _) in enumerate(self.nodes):
            _within(f"nodes[{i}]", (source,), -1, i)
        _within("concat", self.concat, 0, len(self.nodes), "node")


Block = tuple[Annotated[str, TREE_COMBINATIONS], Activation]


@dataclass(frozen=True)
class RecurrentTree(_Value):
    """NAS-RL's recurrent cell: a binary tree over `base` leaves (2 base - 1 nodes, leaves
    first), each node a (combination, activation); `inject` puts the memory in at node `c_in`,
    node `c_out` puts it out."""

    base: Annotated[int, range(1, MAX_NODES // 2 + 1)]
    tree: tuple[Block, ...]
    inject: Block
    c_out: Index
    c_in: Index

    def _check(self) -> None:
        count = 2 * self.base - 1
        allowed = f"a list of {count} for a base of {self.base}"
        _require(len(self.tree) == count, "tree", self.tree, allowed)
        for name, node in (("c_out", self.c_out), ("c_in", self.c_in)):
            whole(name, node, 0, count - 1, GenotypeError)


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


# --- JSON -----------------------------------------------------------------------------------------


def as_dict(genotype: Genotype) -> dict[str, Any]:
    """JSON's object as plain data; `from_dict` gives the same value back."""
    return {"kind": kind(genotype), **_plain(genotype)}


def _plain(value: Any) -> Any:
    match value:
        case str() | int() | None:
            return value
        case tuple():
            return [_plain(part) for part in value]
    return {name: _plain(part) for name, part in vars(value).items()}


def to_json(genotype: Genotype, indent: int | None = None) -> str:
    """One JSON object; `from_json` gives the same value back."""
    return dumps(as_dict(genotype), indent=indent)


def from_json(text: str) -> Genotype:
    """Read a genotype. Raises `GenotypeError`, one line, for anything that is not one."""
    return from_dict(loaded(text))


def loaded(text: str) -> Any:
    """What a text of JSON holds. Raises `GenotypeError`, one line, where it is none."""
    if len(text) > MAX_TEXT:
        allowed = f"allowed: at most {MAX_TEXT:,}"
        raise GenotypeError(f"a genotype file of {len(text):,} characters; {allowed}")
    try:
        return loads(text, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else error
        wanted = "a genotype is one JSON object with a field 'kind'"
        raise GenotypeError(f"not JSON: {reason}; {wanted}") from None


def from_dict(data: Any) -> Genotype:
    """The genotype that JSON's object is, as plain data. Raises `GenotypeError`, one line."""
    _require(isinstance(data, dict), "the file", data, "one JSON object with a field 'kind'")
    check_format(data, "genotype", GenotypeError)
    found = one_of("kind", data.get("kind"), KINDS, GenotypeError)
    rest = {name: value for name, value in data.items() if name not in ("kind", "format")}
    return _build(KINDS[found], rest, "")


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object of which nothing is lost: Python's own reader keeps the last of two fields."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"a field stands twice in {shorten(names)}")
    return found
