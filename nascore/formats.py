"""Genotypes as others write them, read without running anything, and written for them.

    quark0        Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=range(2, 6), reduce=...)
    nasbench201   |nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+|...|
    pnasnet       [(1, 1, 'sep_conv_5x5', 'max_pool_3x3'), ...], a block each: I1, I2, O1, O2;
                  operations = [...], used_hiddenstates = [...], hiddenstate_indices = [...]
    enas-micro: 0 2 0 0 ...   enas-macro: 0 3 0 ...   enas-rnn: 0 0 0 1 1 2 ...

The last are the token lists of its authors' scripts. Whatever is unknown ends in one line that says
where it stands.
"""

import ast
import json
import os
import re
import textwrap
import warnings
from collections.abc import Sequence
from functools import partial
from math import isqrt

from nascore import genotypes, published, spaces
from nascore.errors import UserError, one_of, require, shorten, whole
from nascore.files import check_format
from nascore.genotypes import (
    MAX_INPUTS,
    MAX_NODES,
    Cell,
    CellGenotype,
    Genotype,
    GenotypeError,
    Node,
    RecurrentGenotype,
)

FOLDERS = ("genotype.json", "model.json")  # of a search, of a training
IGNORED = ("connectN", "connects", "primitives", "source")  # what followers of quark0 add
# NASNet's and PNASNet's authors' words for our operations.
SLIM = {f"separable_{k}x{k}_2": f"sep_conv_{k}x{k}" for k in (3, 5, 7)} | {"none": "skip_connect"}
SLIM |= {"1x7_7x1": "conv_7x1_1x7", "1x3_3x1": "conv_3x1_1x3"}
ENAS_ACTIVATIONS = ("tanh", "relu", "identity", "sigmoid")
RECURRENT, MACRO, MICRO = "enas-rnn", "enas-macro", "enas-micro"


# --- wherever a genotype is asked for --------------------------------------------------------------


def read(name: str | os.PathLike | Genotype) -> Genotype:
    """The genotype of a published name, a file, the folder of a search or of a model, or a text in one
    of the formats above. Raises `UserError`, one line, for anything else."""
    if isinstance(name, tuple(genotypes.KINDS.values())):
        return name
    require(isinstance(name, str | os.PathLike), "genotype", name, "a name, a file or a genotype")
    name = os.fspath(name)
    if name in published.GENOTYPES:
        return published.GENOTYPES[name]
    if looks_written(name) and not os.path.exists(name):
        return parse(name)
    file = _file_in(name)
    try:
        with open(file, encoding="utf-8") as text:
            return parse(text.read(genotypes.MAX_TEXT + 1))
    except FileNotFoundError:
        known = ", ".join(published.GENOTYPES)
        others = "a text in another's format, a model's folder, or the folder of a search"
        allowed = f"a JSON file, or one of {known}, {others}"
        raise UserError(f"no genotype {shorten(name)}; allowed: {allowed}") from None
    except (ValueError, GenotypeError) as error:  # no UTF-8, a name that cannot be
        raise UserError(f"{file}: {error}") from None


def _file_in(name: str) -> str:
    """The file that holds a folder's genotype, or the file `name` itself."""
    if not os.path.isdir(name):
        return name
    held = [os.path.join(name, file) for file in FOLDERS]
    return next(filter(os.path.exists, held), held[0])


def looks_written(text: str) -> bool:
    """Whether `text` is a genotype itself, and no file's name."""
    text = text.strip()
    begins = text.startswith(("{", "[", "(", "|")) or "Genotype(" in text or "\n" in text
    return begins or re.match(r"[\w-]+:[\s\[]*\d|\d+[\s,]+\d", text) is not None


def parse(text: str) -> Genotype:
    """The genotype that `text` is, in JSON or one of the formats above. Raises `GenotypeError`."""
    if len(text) > genotypes.MAX_TEXT:
        return genotypes.from_json(text)  # which says how long one may be
    text = textwrap.dedent(text).strip().removeprefix("\ufeff")
    numbers = re.fullmatch(r"[\d\s,\[\]]*", text) and not re.match(r"\d", text)
    if text.startswith("{") or numbers:
        return genotypes.from_json(_inner(text))
    if text.startswith("|"):
        return nasbench201(text)
    if tokens := re.fullmatch(r"(?:([\w-]+)\s*:)?([\s\d,\[\]]*)", text):
        return enas(*tokens.groups())
    return _python(text)


def _inner(text: str) -> str:
    """The genotype of what has one, as a model and a row of a history do."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):  # said by whoever reads the genotype
        return text
    inner = data.get("genotype") if isinstance(data, dict) else None
    if isinstance(inner, dict):
        try:
            check_format(data, "the file")
        except UserError as error:
            raise GenotypeError(str(error)) from None
    return json.dumps(inner) if isinstance(inner, dict) and "kind" not in data else text


# --- ENAS's token lists ----------------------------------------------------------------------------


def enas(kind: str | None, text: str) -> Genotype:
    """The architecture of a fixed arc. `kind` may be left out where the number of tokens tells it."""
    kinds = {MICRO: _micro, MACRO: _macro, RECURRENT: _recurrent}
    tokens = [min(int(token[:9]), MAX_NODES) for token in re.findall(r"\d+", text)]
    allowed = f"a list of numbers after {', '.join(f'{name}:' for name in kinds)}"
    if kind is None:
        fits = [name for name in kinds if _count(name, len(tokens)) is not None]
        require(
            fits, "genotype", text, f"{allowed}; no kind has {len(tokens)} numbers", GenotypeError
        )
        several = f"{len(tokens)} numbers, which {' and '.join(fits)} may have"
        require(len(fits) == 1, "genotype", several, allowed, GenotypeError)
        kind = fits[0]
    one_of("kind of a list of numbers", kind, kinds, GenotypeError)
    count = _count(kind, len(tokens))
    lengths = {
        MICRO: "8 for each node, the normal cell's first",
        MACRO: "an operation for each layer, and a bit for each layer before it",
        RECURRENT: "an activation, then two for each further node",
    }
    found = f"{len(tokens)} numbers"
    require(count is not None, kind, found, lengths[kind], GenotypeError)
    require(count <= MAX_NODES, kind, found, f"at most {MAX_NODES} nodes or layers", GenotypeError)
    return kinds[kind](count, tokens)


def _count(kind: str, length: int) -> int | None:
    """How many nodes or layers a list of so many tokens has, if it can be one of that kind."""
    if length == 0:
        return None
    if kind == MICRO:
        return None if length % 8 else length // 8
    if kind == RECURRENT:
        return (length + 1) // 2 if length % 2 else None
    layers = (isqrt(8 * length + 1) - 1) // 2
    return layers if layers * (layers + 1) // 2 == length else None


def _micro(nodes: int, tokens: Sequence[int]) -> Genotype:
    return _decoded(spaces.get(MICRO, nodes=nodes), tokens)


def _macro(layers: int, tokens: Sequence[int]) -> Genotype:
    return _decoded(spaces.get(MACRO, layers=layers), tokens)


def _decoded(space: spaces.Space, tokens: Sequence[int]) -> Genotype:
    try:
        return space.decode(tokens)
    except UserError as error:
        raise GenotypeError(str(error)) from None


def _recurrent(count: int, tokens: Sequence[int]) -> Genotype:
    sources = [-1, *tokens[1::2]]
    activations = [tokens[0], *tokens[2::2]]
    nodes = []
    for i, (source, activation) in enumerate(zip(sources, activations)):
        field = f"{RECURRENT}: node {i}"
        whole(f"{field}, earlier node", source, min(0, i - 1), max(-1, i - 1), GenotypeError)
        whole(f"{field}, activation", activation, 0, 3, GenotypeError)
        nodes.append((source, ENAS_ACTIVATIONS[activation]))
    ends = [i for i in range(count) if i not in sources]
    return RecurrentGenotype(tuple(nodes), tuple(ends))


# --- NAS-Bench-201's strings -----------------------------------------------------------------------


def nasbench201(text: str) -> CellGenotype:
    """The cell of a string as `|op~0|+|op~0|op~1|+|...|`: a node between two `+`, an operation and the
    state that it reads between two `|`."""
    nodes = []
    for i, part in enumerate("".join(text.split()).split("+")):
        edges = part.strip("|").split("|")
        inputs, ops = [], []
        for k, edge in enumerate(edges):
            op, _, source = edge.rpartition("~")
            field = f"node {i + 1}, edge {k}"
            require(re.fullmatch(r"\d{1,3}", source), field, edge, "operation~state", GenotypeError)
            inputs.append(int(source))
            ops.append(operation(op, field))
        nodes.append(_node(inputs, ops, f"node {i + 1}"))
    return CellGenotype(_cell(nodes, (len(nodes),), n_inputs=1))


def to_nasbench201(genotype: Genotype) -> str:
    """Raises `GenotypeError` where that format has no word for it."""
    refuse_unless = partial(require, error=GenotypeError)
    kind = genotypes.kind(genotype)
    refuse_unless(isinstance(genotype, CellGenotype), "kind", kind, "a cell")
    cell, only = genotype.normal, "one cell: NAS-Bench-201's format has no other"
    refuse_unless(genotype.reduce is None, "reduce", "a cell", only)
    refuse_unless(cell.n_inputs == 1, "n_inputs", cell.n_inputs, "1")
    last = (len(cell.nodes),)
    refuse_unless(cell.concat == last, "concat", list(cell.concat), f"{list(last)}, the last node")
    for i, node in enumerate(cell.nodes):
        refuse_unless(node.combine == "add", f"nodes[{i}].combine", node.combine, "add")
    edges = (zip(node.ops, node.inputs) for node in cell.nodes)
    nodes = ("|".join(f"{op}~{j}" for op, j in of_node) for of_node in edges)
    return "+".join(f"|{node}|" for node in nodes)


# --- Python's notation: quark0's Genotype, PNASNet's tuples ----------------------------------------


def _python(text: str) -> Genotype:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(text).body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        place = f"line {error.lineno}, " if isinstance(error, SyntaxError) and error.lineno else ""
        reason = getattr(error, "msg", None) or "nested too deep"
        begins = shorten(text[:40])
        allowed = "JSON, Genotype(normal=...), |op~0|+..., a list of numbers or of tuples"
        raise GenotypeError(f"{place}{reason}: found {begins}, allowed: {allowed}") from None
    lists = {part.targets[0].id: part.value for part in body if _is_assigned(part)}
    if {"operations", "hiddenstate_indices"} <= lists.keys():
        return _slim(lists)
    values = [part.value for part in body if isinstance(part, ast.Assign | ast.Expr)]
    written = [value for value in values if isinstance(value, ast.Call | ast.List | ast.Tuple)]
    found = f"{len(written)} genotypes" if written else text[:40]
    require(len(written) == 1, "genotype", found, "one, Genotype(normal=...)", GenotypeError)
    (value,) = written
    return _genotype_call(value) if isinstance(value, ast.Call) else _tuples(value)


def _is_assigned(part: ast.stmt) -> bool:
    return isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name)


def _genotype_call(call: ast.Call) -> CellGenotype:
    """quark0's `Genotype(normal, normal_concat, reduce, reduce_concat)`, a node in every two pairs of
    (operation, state); its followers' with a list of pairs for every node too."""
    names = ("normal", "normal_concat", "reduce", "reduce_concat")
    function = getattr(call.func, "id", getattr(call.func, "attr", None))
    require(function == "Genotype", _place(call), function, "Genotype(...)", GenotypeError)
    fields = dict(zip(names, call.args))
    for keyword in call.keywords:
        if keyword.arg in IGNORED:
            continue
        one_of(f"{_place(keyword.value)}: field", keyword.arg, names, GenotypeError)
        fields[keyword.arg] = keyword.value
    cells = []
    for name in ("normal", "reduce"):
        for field in (name, f"{name}_concat"):
            require(field in fields, field, "nothing", "this field is required", GenotypeError)
        pairs = _literal(fields[name], name)
        concat = _literal(fields[f"{name}_concat"], f"{name}_concat")
        cells.append(_cell(_nodes(pairs, name), concat, field=name))
        _require_last_put_out(cells[-1], name)
    return CellGenotype(*cells)


def _require_last_put_out(cell: Cell, field: str) -> None:
    """Nothing can read the last node: where it is not put out, a node had not two pairs."""
    last = 1 + len(cell.nodes)
    allowed = f"one with the last node, {last}: two pairs are a node"
    require(last in cell.concat, f"{field}_concat", list(cell.concat), allowed, GenotypeError)


def _nodes(pairs, field: str) -> list[Node]:
    """The nodes of a list of pairs, two for each node, or of a list of pairs for each node."""
    require(isinstance(pairs, list) and pairs, field, pairs, "a list of pairs", GenotypeError)
    nested = all(isinstance(item, list) and not _is_pair(item) for item in pairs)
    if not nested:
        found = f"{len(pairs)} pairs"
        require(len(pairs) % 2 == 0, field, found, "two for each node", GenotypeError)
        pairs = [pairs[k : k + 2] for k in range(0, len(pairs), 2)]
    nodes = []
    for i, of_node in enumerate(pairs):
        inputs, ops = [], []
        for k, pair in enumerate(of_node):
            place = f"{field}[{i}][{k}]" if nested else f"{field}[{2 * i + k}]"
            require(_is_pair(pair), place, pair, "('operation', state)", GenotypeError)
            ops.append(operation(pair[0], place))
            inputs.append(whole(place, pair[1], 0, i + 1, GenotypeError))
        nodes.append(_node(inputs, ops, f"{field}, node {i}"))
    return nodes


def _is_pair(value) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def _tuples(value: ast.List | ast.Tuple) -> CellGenotype:
    """PNAS's blocks (I1, I2, O1, O2): two states and what is applied to each. All blocks are put out."""
    nodes = []
    for i, block in enumerate(_literal(value, "genotype")):
        field = f"block {i}"
        good = isinstance(block, list) and len(block) == 4
        require(good, field, block, "(state, state, 'operation', 'operation')", GenotypeError)
        inputs = [whole(field, j, 0, i + 1, GenotypeError) for j in block[:2]]
        ops = [operation(op, field) for op in block[2:]]
        nodes.append(_node(inputs, ops, field))
    return CellGenotype(_cell(nodes, range(2, 2 + len(nodes))))


def _slim(lists: dict[str, ast.expr]) -> CellGenotype:
    """A cell of slim's nets/nasnet: state 0 is the previous cell, 1 the one before; what is not used is
    put out."""
    ops, inputs = (_literal(lists[name], name) for name in ("operations", "hiddenstate_indices"))
    good = isinstance(ops, list) and isinstance(inputs, list) and len(ops) == len(inputs)
    found = f"{len(ops)} and {len(inputs)}" if isinstance(inputs, list) else inputs
    require(good, "operations and hiddenstate_indices", found, "as many of both", GenotypeError)
    nodes = []
    for i in range(len(ops) // 2):
        place = f"hiddenstate_indices[{2 * i}:{2 * i + 2}]"
        of_node = [whole(place, j, 0, i + 1, GenotypeError) for j in inputs[2 * i : 2 * i + 2]]
        names = [SLIM.get(str(op), op) for op in ops[2 * i : 2 * i + 2]]
        names = [operation(op, f"operations[{2 * i + k}]") for k, op in enumerate(names)]
        nodes.append(_node([1 - j if j < 2 else j for j in of_node], names, place))
    used = {j for node in nodes for j in node.inputs}
    if "used_hiddenstates" in lists:
        flags = _literal(lists["used_hiddenstates"], "used_hiddenstates")
        require(isinstance(flags, list), "used_hiddenstates", flags, "a list", GenotypeError)
        used = {1 - j if j < 2 else j for j, flag in enumerate(flags) if flag}
    return CellGenotype(_cell(nodes, [j for j in range(2 + len(nodes)) if j not in used]))


def _literal(node: ast.expr, field: str):
    """The value of lists, tuples (as lists), texts, whole numbers and ranges of them."""
    match node:
        case ast.Constant(value=str() | int() as value) if not isinstance(value, bool):
            return value
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_literal(item, f"{field}[{k}]") for k, item in enumerate(items)]
        case ast.Call(func=ast.Name(id="list" | "tuple"), args=[inner], keywords=[]):
            return _literal(inner, field)
        case ast.Call(func=ast.Name(id="range"), args=parts, keywords=[]) if 0 < len(parts) < 4:
            limits = [whole(field, _literal(p, field), 0, MAX_INPUTS, GenotypeError) for p in parts]
            require(limits[2:] != [0], field, "a range by steps of 0", "1 or more", GenotypeError)
            return list(range(*limits))
    try:
        found = ast.unparse(node)[:60]
    except RecursionError:
        found = "a long expression"
    allowed = "texts, whole numbers, lists, tuples, range(2, 6)"
    raise GenotypeError(f"{_place(node)}: {field}: found {found}, allowed: {allowed}")


def _place(node: ast.expr) -> str:
    return f"line {node.lineno}, column {node.col_offset + 1}"


def to_quark0(genotype: Genotype) -> str:
    """Raises `GenotypeError` where that format has no word for it."""
    is_cell = isinstance(genotype, CellGenotype)
    found = genotypes.kind(genotype)
    require(is_cell, "kind", found, "a cell, which quark0's format is made for", GenotypeError)
    fields = []
    for name in ("normal", "reduce"):
        cell = getattr(genotype, name)
        require(cell is not None, name, cell, "a cell: quark0's format has two", GenotypeError)
        require(cell.n_inputs == 2, name, f"{cell.n_inputs} input", "2 inputs", GenotypeError)
        pairs = []
        for i, node in enumerate(cell.nodes):
            fits = len(node.ops) == 2 and node.combine == "add"
            found = f"{len(node.ops)} operations, {node.combine}"
            require(fits, f"{name}.nodes[{i}]", found, "2 operations, add", GenotypeError)
            pairs += zip(node.ops, node.inputs)
        fields.append(f"{name}={pairs}, {name}_concat={list(cell.concat)}")
    return f"Genotype({', '.join(fields)})"


# --- what all share --------------------------------------------------------------------------------


def operation(name, field: str) -> str:
    """Our word for an operation. Raises `GenotypeError`, which names the field."""
    return one_of(field, name, genotypes.OPERATIONS, GenotypeError)


def _node(inputs: Sequence[int], ops: Sequence[str], field: str) -> Node:
    try:
        return Node(tuple(inputs), tuple(ops))
    except GenotypeError as error:
        raise GenotypeError(f"{field}: {error}") from None


def _cell(nodes: Sequence[Node], concat, n_inputs: int = 2, field: str = "cell") -> Cell:
    try:
        return Cell(tuple(nodes), concat if isinstance(concat, list) else tuple(concat), n_inputs)
    except (GenotypeError, TypeError) as error:
        raise GenotypeError(f"{field}: {error}") from None


WRITERS = {
    "quark0": to_quark0,
    "nasbench201": to_nasbench201,
    "json": lambda genotype: genotypes.to_json(genotype, indent=2),
}


def write(genotype: Genotype, to: str) -> str:
    """`genotype` in the format `to`, a key of `WRITERS`. Raises `UserError`."""
    return WRITERS[one_of("format", to, WRITERS)](genotype)
