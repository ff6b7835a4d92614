"""Python's notation: quark0's `Genotype(normal=[...], ...)`, PNAS's tuples and the lists of
slim."""

import ast
import re
from ast import (
    AST,
    Assign,
    Attribute,
    Call,
    Constant,
    Expr,
    Import,
    ImportFrom,
    List,
    Name,
    Tuple,
    expr,
    stmt,
)
from collections.abc import Iterable
from typing import Any
from warnings import catch_warnings

from nascore.errors import one_of, refuse, require, whole
from nascore.formats.words import Fields, cells, require_sums, with_cells
from nascore.genotypes import MAX_INPUTS, Genotype, GenotypeError
from nascore.spaces import DARTS_PRIMITIVES

ALLOWED = "JSON, Genotype(normal=...), |op~0|+..., a list of numbers or of tuples"
FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")
IGNORED = ("connectN", "connects", "primitives", "source")  # what followers of quark0 add
NAMEDTUPLE = (
    r"(collections\.)?namedtuple\('\w+', \W*normal\W+normal_concat\W+reduce\W+reduce_concat\b"
)
BESIDE = (
    "one Genotype(...) or list of tuples, each name once; "
    "beside it imports, texts, second names, quark0's namedtuple"
)
Values = list[Any]  # of a text: words, whole numbers, and lists of them
SLIM_LISTS = ("operations", "hiddenstate_indices", "used_hiddenstates")
# NASNet's and PNASNet's authors' words for our operations, and their numbers for our states: 0 is
# the previous cell, 1 the one before.
SLIM = {f"separable_{k}x{k}_2": f"sep_conv_{k}x{k}" for k in (3, 5, 7)} | {"none": "skip_connect"}
SLIM |= {"1x7_7x1": "conv_7x1_1x7", "1x3_3x1": "conv_3x1_1x3"}
STATES = {"0": 1, "1": 0}
QUARK0 = {*DARTS_PRIMITIVES, "sep_conv_7x7", "conv_7x1_1x7"}  # its words


def python(text: str) -> Genotype:
    """The one genotype in a text of Python's notation. Raises `GenotypeError`."""
    found: dict[str, Any] = {}
    lists: dict[str, Any] = {}  # of slim, which together are one genotype
    for part in _statements(text):
        name, value = _named(part)
        is_list = name in SLIM_LISTS
        if not is_list and _says_nothing(value):
            continue
        values = lists if is_list else found
        good = (is_list or _may_be_genotype(value)) and name not in values
        require(good, _place(part), _source(part), BESIDE, GenotypeError)
        values[name] = value
    if lists:
        found["operations"] = lists
    require(found, "genotype", text[:40], ALLOWED, GenotypeError)
    allowed = f"one of {', '.join(found)}"[:300]
    require(len(found) == 1, "genotype", f"{len(found)} genotypes", allowed, GenotypeError)
    (value,) = found.values()
    match value:
        case dict():
            return _slim(value)
        case Call():
            return _genotype_call(value)
    return _tuples(value)


def _statements(text: str) -> list[stmt]:
    try:
        with catch_warnings(action="ignore"):
            return ast.parse(text, "the text").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        refuse(str(error) or "nested too deep", text[:40], ALLOWED, GenotypeError)


def _named(part: stmt) -> tuple[str, AST]:
    """The name that a value is given, or its line, and the value; of another statement itself."""
    match part:
        case Assign(targets=[Name(id=name)], value=value):
            return name, value
        case Expr(value=value):
            return _place(part), value
    return "", part


def _may_be_genotype(value: AST) -> bool:
    match value:
        case Call(func=Name(id="Genotype") | Attribute(attr="Genotype")) | List() | Tuple():
            return True
    return False


def _says_nothing(value: AST) -> bool:
    """Whether no genotype is another one for what stands here."""
    match value:
        case Import() | ImportFrom() | Name() | Constant(value=str() | None):
            return True
        case List(elts=items) | Tuple(elts=items):
            return all(map(_says_nothing, items))
        case Call():
            return re.match(NAMEDTUPLE, _source(value)) is not None
    return False


def _genotype_call(call: Call) -> Genotype:
    """quark0's `Genotype(normal, normal_concat, reduce, reduce_concat)`, a node in every two pairs
    of (operation, state); its followers' with a list of pairs for every node too."""
    fields = dict(zip(FIELDS, call.args))
    for value in call.args[len(FIELDS) :]:
        refuse(_place(value), _source(value), "4 values at most", GenotypeError)
    for keyword in call.keywords:
        name: Any = keyword.arg  # None: **
        value = keyword.value
        if name in IGNORED and _says_nothing(value):
            continue
        place = _place(value)
        one_of(f"{place}: field", name, FIELDS, GenotypeError)
        require(name not in fields, place, f"a second {name}", "each field once", GenotypeError)
        fields[name] = value
    both = {}
    for name in ("normal", "reduce"):
        nodes = _nodes(_listed(fields, name), name)
        both[name] = {"nodes": nodes, "concat": _listed(fields, f"{name}_concat")}
    genotype = cells(**both)
    _require_last_put_out(genotype)
    return genotype


def _require_last_put_out(genotype: Genotype) -> None:
    """Nothing can read the last node: where it is not put out, a node had not two pairs."""
    for name, cell in vars(genotype).items():
        last = 1 + len(cell.nodes)
        allowed = f"one with the last node, {last}: two pairs are a node"
        require(last in cell.concat, f"{name}_concat", list(cell.concat), allowed, GenotypeError)


def _nodes(pairs: Values, field: str) -> list[Fields]:
    """The nodes of a list of pairs, two for each node, or of a list of pairs for each node."""
    if any(map(_is_pair, pairs)):
        count = len(pairs)
        require(count % 2 == 0, field, f"{count} pairs", "two for each node", GenotypeError)
        pairs = list(_twos(pairs))
    nodes: list[Fields] = []
    for i, of_node in enumerate(pairs):
        good = isinstance(of_node, list) and all(map(_is_pair, of_node))
        require(good, f"{field}, node {i}", of_node, "pairs ('operation', state)", GenotypeError)
        nodes.append({"inputs": [j for _, j in of_node], "ops": [op for op, _ in of_node]})
    return nodes


def _is_pair(value: Any) -> bool:
    match value:
        case [str(), _]:
            return True
    return False


def _twos(items: Values) -> Iterable[Values]:
    return map(list, zip(items[::2], items[1::2]))


def _tuples(value: expr) -> Genotype:
    """PNAS's blocks (I1, I2, O1, O2): two states and what is applied to each. All blocks are put
    out."""
    nodes = []
    for i, block in enumerate(_literal(value, "genotype")):
        match block:
            case [first, second, op, other]:
                nodes.append({"inputs": [first, second], "ops": [op, other]})
            case _:
                allowed = "(state, state, 'operation', 'operation')"
                refuse(f"block {i}", block, allowed, GenotypeError)
    return cells(normal={"nodes": nodes, "concat": [*range(2, 2 + len(nodes))]})


def _slim(lists: dict[str, Any]) -> Genotype:
    """A cell of slim's nets/nasnet; what is not used is put out."""
    ops = [SLIM.get(str(op), op) for op in _listed(lists, "operations")]
    inputs = [STATES.get(str(j), j) for j in _listed(lists, "hiddenstate_indices")]
    count = len(ops)
    read = len(inputs)
    field = "operations and hiddenstate_indices"
    good = count == read and count % 2 == 0
    require(good, field, f"{count} and {read}", "two of both for each block", GenotypeError)
    nodes = [{"inputs": j, "ops": names} for j, names in zip(_twos(inputs), _twos(ops))]
    states = [1, 0, *range(2, 2 + len(nodes))]  # in slim's order
    flags = [j in inputs for j in states]
    if "used_hiddenstates" in lists:
        flags = _listed(lists, "used_hiddenstates")
        good = len(flags) == len(states) and all(flag in (0, 1) for flag in flags)
        allowed = f"{len(states)} of 0 or 1, one for each state"
        require(good, "used_hiddenstates", flags, allowed, GenotypeError)
    left = sorted(j for j, used in zip(states, flags) if not used)
    return cells(normal={"nodes": nodes, "concat": left})


def _listed(values: dict[str, expr], field: str) -> Values:
    require(field in values, field, "nothing", "this field is required", GenotypeError)
    value = _literal(values[field], field)
    require(isinstance(value, list), field, value, "a list", GenotypeError)
    return value


def _literal(node: expr, field: str) -> Any:
    """The value of lists, tuples (as lists), texts, whole numbers and ranges of them."""
    match node:
        case Constant(value=str() | int() as value) if not isinstance(value, bool):
            return value
        case List(elts=items) | Tuple(elts=items):
            return [_literal(item, field) for item in items]
        case Call(func=Name(id="list" | "tuple"), args=[inner], keywords=[]):
            return _literal(inner, field)
        case Call(func=Name(id="range"), args=[_] | [_, _] as parts, keywords=[]):
            limits = [whole(field, _literal(p, field), 0, MAX_INPUTS, GenotypeError) for p in parts]
            return list(range(*limits))
    found = _source(node)[:60]
    allowed = "texts, whole numbers, lists, tuples, range(2, 6)"
    raise GenotypeError(f"{_place(node)}: {field}: found {found}, allowed: {allowed}")


def _place(node: expr | stmt) -> str:
    return f"line {node.lineno}"


def _source(node: AST) -> str:
    try:
        return ast.unparse(node)
    except (RecursionError, ValueError):  # ValueError: a number of thousands of digits
        return "a long expression"


def to_quark0(genotype: Genotype) -> str:
    """Raises `GenotypeError` where that format has no word for it."""
    both = with_cells(genotype, "a cell, which quark0's format is made for")
    fields = []
    for name, cell in vars(both).items():
        require(cell is not None, name, cell, "a cell: quark0's format has two", GenotypeError)
        require_sums(cell, name, 2, QUARK0)
        pairs: list[tuple[str, int]] = []
        for i, node in enumerate(cell.nodes):
            two = len(node.ops) == 2
            require(two, f"{name}.nodes[{i}].ops", node.ops, "2 operations", GenotypeError)
            pairs += zip(node.ops, node.inputs)
        fields.append(f"{name}={pairs}, {name}_concat={list(cell.concat)}")
    _require_last_put_out(both)
    return f"Genotype({', '.join(fields)})"
