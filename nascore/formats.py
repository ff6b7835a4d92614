"""Genotypes as others write them, read without running anything, and written for them.

    quark0        Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=range(2, 6), reduce=...)
    nasbench201   |nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+|...|
    pnasnet       [(1, 1, 'sep_conv_5x5', 'max_pool_3x3'), ...], a block each: I1, I2, O1, O2;
                  operations = [...], used_hiddenstates = [...], hiddenstate_indices = [...]
    enas-micro: 0 2 0 0 ...   enas-macro: 0 3 0 ...   enas-rnn: 0 0 0 1 1 2 ...

The last are the token lists of its authors' scripts. In Python's notation a text holds one
genotype; beside it may stand what cannot change it: imports, texts and lists of them, second names,
and quark0's namedtuple. Whatever else is there, or is unknown, ends in one line that says where it
stands.
"""

import ast
import json
import os
import re
import textwrap
import warnings
from collections.abc import Iterable, Sequence
from functools import partial
from math import isqrt

from nascore import genotypes, published, spaces
from nascore.errors import UserError, one_of, refuse, require, shorten, whole
from nascore.files import check_format
from nascore.genotypes import (
    MAX_INPUTS,
    MAX_NODES,
    Cell,
    CellGenotype,
    Genotype,
    GenotypeError,
    RecurrentGenotype,
)

FOLDERS = ("genotype.json", "model.json")  # of a search, of a training
FORMATS = "JSON, Genotype(normal=...), |op~0|+..., a list of numbers or of tuples"
FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")
IGNORED = ("connectN", "connects", "primitives", "source")  # what followers of quark0 add
NAMEDTUPLE = (
    r"(collections\.)?namedtuple\('\w+', \W*normal\W+normal_concat\W+reduce\W+reduce_concat\b"
)
BESIDE = (
    "one Genotype(...) or list of tuples, each name once; "
    "beside it imports, texts, second names, quark0's namedtuple"
)
SLIM_LISTS = ("operations", "hiddenstate_indices", "used_hiddenstates")
# NASNet's and PNASNet's authors' words for our operations.
SLIM = {f"separable_{k}x{k}_2": f"sep_conv_{k}x{k}" for k in (3, 5, 7)} | {"none": "skip_connect"}
SLIM |= {"1x7_7x1": "conv_7x1_1x7", "1x3_3x1": "conv_3x1_1x3"}
QUARK0 = {*spaces.DARTS_PRIMITIVES, "sep_conv_7x7", "conv_7x1_1x7"}  # its words
ENAS_ACTIVATIONS = ("tanh", "relu", "identity", "sigmoid")
MICRO = "enas-micro"
MACRO = "enas-macro"
RECURRENT = "enas-rnn"
KINDS = (MICRO, MACRO, RECURRENT)
PREFIXED = "a list of numbers after enas-micro:, enas-macro: or enas-rnn:"


# --- wherever a genotype is asked for --------------------------------------------------------------


def read(name: str | os.PathLike | Genotype) -> Genotype:
    """The genotype of a published name, a file, the folder of a search or of a model, or a text in one
    of the formats above. Raises `UserError`, one line, for anything else."""
    if isinstance(name, Genotype):
        return name
    require(isinstance(name, str | os.PathLike), "genotype", name, "a name, a file or a genotype")
    name = os.fsdecode(name)
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
    except (OSError, ValueError) as error:  # a folder, no UTF-8, what is no genotype
        said = getattr(error, "strerror", None) or error
        raise UserError(f"{file[:200]}: {said}") from None


def at_home(name: str | os.PathLike | Genotype) -> Genotype | str:
    """What `read` gives, but a published name as it is: its authors had a skeleton for it."""
    is_name = isinstance(name, str) and name in published.GENOTYPES
    return name if is_name else read(name)


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
    """The genotype that `text` is, in JSON or one of the formats above. Raises `UserError`."""
    if len(text) > genotypes.MAX_TEXT or re.fullmatch(r"[\s,\[\]]*", text):
        return genotypes.from_json(text)  # which says what is wrong with it
    text = textwrap.dedent(text).strip().removeprefix("\ufeff")
    if text.startswith("{"):
        return genotypes.from_json(_inner(text))
    if text.startswith("|"):
        return nasbench201(text)
    if tokens := re.fullmatch(r"(?:([\w-]+)\s*:)?([\s\d,\[\]]+)", text):
        return enas(*tokens.groups())
    return _python(text)


def _inner(text: str) -> str:
    """The genotype of what has one, as a model and a row of a history do."""
    try:
        data = json.loads(text, object_pairs_hook=genotypes.distinct)
    except (ValueError, RecursionError):  # said by whoever reads the genotype
        return text
    inner = data.get("genotype")
    if "kind" in data or not isinstance(inner, dict):
        return text
    check_format(data, "the file")
    return json.dumps(inner)


# --- ENAS's token lists ----------------------------------------------------------------------------


def enas(kind: str | None, text: str) -> Genotype:
    """The architecture of a fixed arc, with or without NumPy's brackets. `kind` may be left out where
    the number of tokens tells it."""
    tokens = [min(int(token[:9]), MAX_NODES) for token in re.findall(r"0*(\d+)", text)]
    found = f"{len(tokens)} numbers"
    closed = text.count("[") == text.count("]")  # else a part of it is missing
    require(closed, "list of numbers", text, "as many [ as ]", GenotypeError)
    if kind is None:
        fits = [name for name in KINDS if _count(name, len(tokens)) is not None]
        which = f"{found}, which {' and '.join(fits) or 'no kind'} may have"
        require(len(fits) == 1, "genotype", which, PREFIXED, GenotypeError)
        kind = fits[0]
    one_of("kind of a list of numbers", kind, KINDS, GenotypeError)
    count = _count(kind, len(tokens))
    lengths = {
        MICRO: "8 for each node, the normal cell's first",
        MACRO: "an operation for each layer, and a bit for each layer before it",
        RECURRENT: "an activation, then two for each further node",
    }
    require(count is not None, kind, found, lengths[kind], GenotypeError)
    require(count <= MAX_NODES, kind, found, f"at most {MAX_NODES} nodes or layers", GenotypeError)
    if kind == RECURRENT:
        return _recurrent(count, tokens)
    sizes = {"nodes": count} if kind == MICRO else {"layers": count}
    try:
        return spaces.get(kind, **sizes).decode(tokens)
    except UserError as error:
        raise GenotypeError(str(error)) from None


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
        closed = re.fullmatch(r"\|.*\|", part)
        require(closed, f"node {i + 1}", part, "|operation~state|...|", GenotypeError)
        inputs = []
        ops = []
        for k, edge in enumerate(part[1:-1].split("|")):
            op, _, source = edge.rpartition("~")
            field = f"node {i + 1}, edge {k}"
            require(re.fullmatch(r"\d{1,3}", source), field, edge, "operation~state", GenotypeError)
            inputs.append(int(source))
            ops.append(operation(op, field))
        nodes.append({"inputs": inputs, "ops": ops})
    return CellGenotype(_cell(nodes, (len(nodes),), n_inputs=1))


def to_nasbench201(genotype: Genotype) -> str:
    """Raises `GenotypeError` where that format has no word for it."""
    refuse_unless = partial(require, error=GenotypeError)
    kind = genotypes.kind(genotype)
    refuse_unless(isinstance(genotype, CellGenotype), "kind", kind, "a cell")
    cell = genotype.normal
    only = "one cell: NAS-Bench-201's format has no other"
    refuse_unless(genotype.reduce is None, "reduce", "a cell", only)
    refuse_unless(cell.n_inputs == 1, "n_inputs", cell.n_inputs, "1")
    last = (len(cell.nodes),)
    refuse_unless(cell.concat == last, "concat", list(cell.concat), f"{list(last)}, the last node")
    for i, node in enumerate(cell.nodes):
        refuse_unless(node.combine == "add", f"nodes[{i}].combine", node.combine, "add")
        for op in node.ops:
            one_of(f"nodes[{i}].ops", op, spaces.NASBENCH201_PRIMITIVES, GenotypeError)
    edges = (zip(node.ops, node.inputs) for node in cell.nodes)
    nodes = ("|".join(f"{op}~{j}" for op, j in of_node) for of_node in edges)
    return "+".join(f"|{node}|" for node in nodes)


# --- Python's notation: quark0's Genotype, PNASNet's tuples ----------------------------------------


def _python(text: str) -> Genotype:
    found = {}
    for part in _statements(text):
        name, value = _named(part)
        if name not in SLIM_LISTS and _says_nothing(value):
            continue
        good = (name in SLIM_LISTS or _may_be_genotype(value)) and name not in found
        require(good, _place(part), _source(part), BESIDE, GenotypeError)
        found[name] = value
    slim = {name: found.pop(name) for name in SLIM_LISTS if name in found}
    if slim:
        found["operations"] = slim
    require(found, "genotype", text[:40], FORMATS, GenotypeError)
    allowed = f"one of {', '.join(found)}"[:300]
    require(len(found) == 1, "genotype", f"{len(found)} genotypes", allowed, GenotypeError)
    (value,) = found.values()
    match value:
        case dict():
            return _slim(value)
        case ast.Call():
            return _genotype_call(value)
    return _tuples(value)


def _statements(text: str) -> list[ast.stmt]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text).body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        place = f"line {error.lineno}, " if isinstance(error, SyntaxError) and error.lineno else ""
        deep = isinstance(error, MemoryError | RecursionError)
        reason = "nested too deep" if deep else getattr(error, "msg", error)
        begins = shorten(text[:40])
        raise GenotypeError(f"{place}{reason}: found {begins}, allowed: {FORMATS}") from None


def _named(part: ast.stmt) -> tuple[str, ast.AST]:
    """The name that a value is given, or its line, and the value; of another statement itself."""
    match part:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return name, value
        case ast.Expr(value=value):
            return f"line {part.lineno}", value
    return "", part


def _may_be_genotype(value: ast.AST) -> bool:
    match value:
        case ast.Call(func=ast.Name(id="Genotype") | ast.Attribute(attr="Genotype")):
            return True
    return isinstance(value, ast.List | ast.Tuple)


def _says_nothing(value: ast.AST) -> bool:
    """Whether no genotype is another one for what stands here."""
    match value:
        case ast.Import() | ast.ImportFrom() | ast.Name() | ast.Constant(value=str() | None):
            return True
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return all(map(_says_nothing, items))
        case ast.Call():
            return re.match(NAMEDTUPLE, _source(value)) is not None
    return False


def _genotype_call(call: ast.Call) -> CellGenotype:
    """quark0's `Genotype(normal, normal_concat, reduce, reduce_concat)`, a node in every two pairs of
    (operation, state); its followers' with a list of pairs for every node too."""
    fields = dict(zip(FIELDS, call.args))
    for value in call.args[len(FIELDS) :]:
        refuse(_place(value), _source(value), "4 values at most", GenotypeError)
    for keyword in call.keywords:
        if keyword.arg in IGNORED and _says_nothing(keyword.value):
            continue
        name = keyword.arg
        place = _place(keyword.value)
        one_of(f"{place}: field", name, FIELDS, GenotypeError)
        require(name not in fields, place, f"a second {name}", "each field once", GenotypeError)
        fields[name] = keyword.value
    cells = []
    for name in ("normal", "reduce"):
        nodes = _nodes(_listed(fields, name), name)
        cells.append(_cell(nodes, _listed(fields, f"{name}_concat"), field=name))
        _require_last_put_out(cells[-1], name)
    return CellGenotype(*cells)


def _require_last_put_out(cell: Cell, field: str) -> None:
    """Nothing can read the last node: where it is not put out, a node had not two pairs."""
    last = 1 + len(cell.nodes)
    allowed = f"one with the last node, {last}: two pairs are a node"
    require(last in cell.concat, f"{field}_concat", list(cell.concat), allowed, GenotypeError)


def _nodes(pairs: list, field: str) -> list[dict]:
    """The nodes of a list of pairs, two for each node, or of a list of pairs for each node."""
    nested = all(isinstance(item, list) and not _is_pair(item) for item in pairs)
    if not nested:
        found = f"{len(pairs)} pairs"
        require(len(pairs) % 2 == 0, field, found, "two for each node", GenotypeError)
        pairs = [pairs[k : k + 2] for k in range(0, len(pairs), 2)]
    nodes = []
    for i, of_node in enumerate(pairs):
        inputs = []
        ops = []
        for k, pair in enumerate(of_node):
            place = f"{field}[{i}][{k}]" if nested else f"{field}[{2 * i + k}]"
            require(_is_pair(pair), place, pair, "('operation', state)", GenotypeError)
            ops.append(operation(pair[0], place))
            inputs.append(whole(place, pair[1], 0, i + 1, GenotypeError))
        nodes.append({"inputs": inputs, "ops": ops})
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
        nodes.append({"inputs": inputs, "ops": ops})
    return CellGenotype(_cell(nodes, range(2, 2 + len(nodes))))


def _slim(lists: dict[str, ast.expr]) -> CellGenotype:
    """A cell of slim's nets/nasnet: state 0 is the previous cell, 1 the one before; what is not used is
    put out."""
    ops, inputs = (_listed(lists, name) for name in SLIM_LISTS[:2])
    good = len(ops) == len(inputs) and len(ops) % 2 == 0
    field = "operations and hiddenstate_indices"
    found = f"{len(ops)} and {len(inputs)}"
    require(good, field, found, "two of both for each block", GenotypeError)
    nodes = []
    for i in range(len(ops) // 2):
        place = f"hiddenstate_indices[{2 * i}:{2 * i + 2}]"
        of_node = [whole(place, j, 0, i + 1, GenotypeError) for j in inputs[2 * i : 2 * i + 2]]
        names = [SLIM.get(str(op), op) for op in ops[2 * i : 2 * i + 2]]
        names = [operation(op, f"operations[{2 * i + k}]") for k, op in enumerate(names)]
        nodes.append({"inputs": [1 - j if j < 2 else j for j in of_node], "ops": names})
    used = {j for node in nodes for j in node["inputs"]}
    states = range(2 + len(nodes))
    if "used_hiddenstates" in lists:
        flags = _listed(lists, "used_hiddenstates")
        good = len(flags) == len(states) and all(flag in (0, 1) for flag in flags)
        allowed = f"{len(states)} of 0 or 1, one for each state"
        require(good, "used_hiddenstates", flags, allowed, GenotypeError)
        used = {1 - j if j < 2 else j for j, flag in enumerate(flags) if flag}
    return CellGenotype(_cell(nodes, [j for j in states if j not in used]))


def _listed(values: dict[str, ast.expr], field: str) -> list:
    require(field in values, field, "nothing", "this field is required", GenotypeError)
    value = _literal(values[field], field)
    require(isinstance(value, list), field, value, "a list", GenotypeError)
    return value


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
    found = _source(node)[:60]
    allowed = "texts, whole numbers, lists, tuples, range(2, 6)"
    raise GenotypeError(f"{_place(node)}: {field}: found {found}, allowed: {allowed}")


def _place(node: ast.expr | ast.stmt) -> str:
    return f"line {node.lineno}, column {node.col_offset + 1}"


def _source(node: ast.AST) -> str:
    try:
        return ast.unparse(node)
    except (RecursionError, ValueError):  # ValueError: a number of thousands of digits
        return "a long expression"


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
            for op in node.ops:
                one_of(f"{name}.nodes[{i}].ops", op, QUARK0, GenotypeError)
            pairs += zip(node.ops, node.inputs)
        _require_last_put_out(cell, name)
        fields.append(f"{name}={pairs}, {name}_concat={list(cell.concat)}")
    return f"Genotype({', '.join(fields)})"


# --- what all share --------------------------------------------------------------------------------


def operation(name, field: str) -> str:
    """Our word for an operation. Raises `GenotypeError`, which names the field."""
    return one_of(field, name, genotypes.OPERATIONS, GenotypeError)


def _cell(nodes: list[dict], concat: Iterable[int], n_inputs: int = 2, field: str = "cell") -> Cell:
    try:
        return Cell(nodes, list(concat), n_inputs)
    except GenotypeError as error:
        raise GenotypeError(f"{field}: {error}") from None


WRITERS = {
    "quark0": to_quark0,
    "nasbench201": to_nasbench201,
    "json": lambda genotype: genotypes.to_json(genotype, indent=2),
}


def write(genotype: Genotype, to: str) -> str:
    """`genotype` in the format `to`, a key of `WRITERS`. Raises `UserError`."""
    return WRITERS[one_of("format", to, WRITERS)](genotype)
