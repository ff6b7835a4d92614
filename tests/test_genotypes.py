"""Genotypes: exact JSON, errors of one line, canonical forms against brute force and published counts."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nascore.errors import UserError
from nascore.genotypes import (
    ACTIVATIONS,
    OPERATIONS,
    TREE_COMBINATIONS,
    Cell,
    CellGenotype,
    ChainGenotype,
    ChainLayer,
    GenotypeError,
    MacroGenotype,
    MacroLayer,
    Node,
    RecurrentGenotype,
    RecurrentTree,
    as_dict,
    canonical,
    from_dict,
    from_json,
    kind,
    to_json,
)
from nascore.published import GENOTYPES

OPS = st.sampled_from(sorted(OPERATIONS))
ACTIVATION = st.sampled_from(ACTIVATIONS)


def subsets(count: int, least: int = 0):
    return st.lists(st.integers(0, count - 1), min_size=least, unique=True) if count else st.just([])


@st.composite
def cells(draw, n_inputs: int, most: int = 4, ops=OPS):
    nodes = []
    for i in range(draw(st.integers(1, most))):
        pairs = draw(st.lists(st.tuples(st.integers(0, n_inputs + i - 1), ops), min_size=1, max_size=3))
        combine = draw(st.sampled_from(("add", "concat")))
        nodes.append(Node(tuple(j for j, _ in pairs), tuple(op for _, op in pairs), combine))
    return Cell(tuple(nodes), tuple(draw(subsets(n_inputs + len(nodes), 1))), n_inputs)


@st.composite
def genotypes(draw):
    which = draw(st.sampled_from(("cell", "chain", "macro", "recurrent", "recurrent-tree")))
    count = draw(st.integers(1, 6))
    if which == "cell":
        n = draw(st.sampled_from((1, 2)))
        return CellGenotype(draw(cells(n)), draw(st.none() | cells(n)))
    if which == "chain":
        pair = st.tuples(st.integers(1, 9), st.integers(1, 9))
        inputs = [tuple(k + 1 for k in draw(subsets(i))) for i in range(count)]
        return ChainGenotype(tuple(ChainLayer(draw(pair), draw(pair), draw(st.integers(1, 64)), x) for x in inputs))
    if which == "macro":
        return MacroGenotype(tuple(MacroLayer(draw(OPS), tuple(draw(subsets(i)))) for i in range(count)))
    if which == "recurrent":
        nodes = tuple((draw(st.integers(-1, i - 1)), draw(ACTIVATION)) for i in range(count))
        return RecurrentGenotype(nodes, tuple(draw(subsets(count, 1))))
    block = st.tuples(st.sampled_from(TREE_COMBINATIONS), ACTIVATION)
    index = st.integers(0, 2 * count - 2)
    tree = tuple(draw(block) for _ in range(2 * count - 1))
    return RecurrentTree(count, tree, draw(block), draw(index), draw(index))


@given(genotypes())
def test_json_gives_the_same_value_back(genotype):
    again = from_json(to_json(genotype))
    assert again == genotype and hash(again) == hash(genotype)
    assert to_json(again) == to_json(genotype)
    assert from_json(to_json(genotype, indent=1)) == genotype
    assert as_dict(genotype) == json.loads(to_json(genotype)) and from_dict(as_dict(genotype)) == genotype
    assert canonical(canonical(genotype)) == canonical(genotype)


@pytest.mark.parametrize("name", GENOTYPES)
def test_json_of_every_published_genotype_comes_back(name):
    assert from_json(to_json(GENOTYPES[name])) == GENOTYPES[name]


def test_json_is_the_contracts():
    text = """{"kind": "cell", "normal": {"nodes": [{"inputs": [0, 1], "ops": ["sep_conv_3x3", "skip_connect"]}],
               "concat": [2]}}"""
    genotype = from_json(text)
    assert genotype == CellGenotype(Cell((Node((0, 1), ("sep_conv_3x3", "skip_connect"), "add"),), (2,), 2), None)
    assert json.loads(to_json(genotype)) == {
        "kind": "cell",
        "normal": {
            "nodes": [{"inputs": [0, 1], "ops": ["sep_conv_3x3", "skip_connect"], "combine": "add"}],
            "concat": [2],
            "n_inputs": 2,
        },
        "reduce": None,
    }
    chain = '{"kind": "chain", "layers": [{"filter": [3, 5], "stride": [1, 2], "filters": 36, "inputs": []}]}'
    assert from_json(chain) == ChainGenotype((ChainLayer((3, 5), (1, 2), 36),))
    tree = {"kind": "recurrent-tree", "base": 1, "tree": [["add", "tanh"]], "inject": ["add", "relu"], "c_out": 0}
    assert from_json(json.dumps(tree | {"c_in": 0})).inject == ("add", "relu")


def cell_file(**changes) -> str:
    node = {"inputs": [0, 1], "ops": ["none", "none"]} | changes.pop("node", {})
    return json.dumps({"kind": "cell", "normal": {"nodes": [node], "concat": [2]} | changes})


MALFORMED = {
    "not JSON": ("{", "not JSON"),
    "empty": ("", "not JSON"),
    "a list": ("[1]", "one JSON object"),
    "no kind": ('{"nodes": []}', "kind: found None, allowed: cell, chain"),
    "unknown kind": ('{"kind": "graph"}', "kind: found 'graph', allowed: cell"),
    "kind of another type": ('{"kind": ["cell"]}', "kind: found ['cell']"),
    "unknown field": ('{"kind": "cell", "norml": 1}', "norml: found 'an unknown field', allowed: normal, reduce"),
    "missing field": ('{"kind": "cell"}', "normal: found 'nothing', allowed: this field is required"),
    "input that does not exist yet": (cell_file(node={"inputs": [0, 2]}), "normal.nodes[0].inputs[1]: found 2"),
    "negative input": (cell_file(node={"inputs": [0, -1]}), "inputs[1]: found -1"),
    "true as an input": (cell_file(node={"inputs": [0, True]}), "inputs[1]: found True"),
    "unknown op": (cell_file(node={"ops": ["none", "conv_9x9"]}), "normal.nodes[0].ops[1]: found 'conv_9x9', allowed"),
    "too few ops": (cell_file(node={"ops": ["none"]}), "normal.nodes[0].ops"),
    "unknown combine": (cell_file(node={"combine": "mean"}), "combine: found 'mean', allowed: add, concat"),
    "concat of a state that is not": (cell_file(concat=[3]), "normal.concat[0]: found 3"),
    "concat twice": (cell_file(concat=[2, 2]), "each state at most once"),
    "three inputs": (cell_file(n_inputs=3), "normal.n_inputs: found 3, allowed: a whole number from 1 to 2"),
    "no nodes": (cell_file(nodes=[]), "normal.nodes: found [], allowed: a list of 1 to 100"),
    "10,000 nodes": (cell_file(nodes=[{"inputs": [0], "ops": ["none"]}] * 10_000), "normal.nodes"),
    "nesting 10,000 deep": ("[" * 10_000 + "]" * 10_000, "nested too deep"),
    "objects 10,000 deep": ('{"kind":' * 10_000 + "1" + "}" * 10_000, "nested too deep"),
    "more than a megabyte": (" " * 1_000_001, "at most 1,000,000"),
    "a number of 5,000 digits": ('{"kind": "cell", "normal": ' + "9" * 5000 + "}", ""),
    "the skip of a predecessor": (
        '{"kind": "macro", "layers": [{"op": "none"}, {"op": "none", "skips": [1]}]}',
        "layers[1].skips[0]: found 1, allowed: 0 to 0",
    ),
    "a chain that reads ahead": (
        '{"kind": "chain", "layers": [{"filter": [1, 1], "stride": [1, 1], "filters": 4, "inputs": [1]}]}',
        "layers[0].inputs[0]: found 1",
    ),
    "a recurrent node that reads itself": (
        '{"kind": "recurrent", "nodes": [[0, "tanh"]], "concat": [0]}',
        "nodes[0][0]: found 0",
    ),
    "a tree of the wrong size": (
        '{"kind": "recurrent-tree", "base": 2, "tree": [["add", "tanh"]], "inject": ["add", "tanh"], "c_out": 0, '
        '"c_in": 0}',
        "tree: found (('add', 'tanh'),), allowed: a list of 3",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_is_refused_in_one_line(case):
    text, expected = MALFORMED[case]
    with pytest.raises(GenotypeError) as caught:
        from_json(text)
    line = str(caught.value)
    assert expected in line and "\n" not in line and len(line) < 600
    assert isinstance(caught.value, UserError)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.floats() | st.text(max_size=9) | OPS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


@settings(max_examples=150)
@given(st.data())
def test_a_damaged_file_is_read_or_refused_but_never_crashes(data):
    value = {"file": json.loads(to_json(data.draw(genotypes())))}
    *path, last = data.draw(st.sampled_from(list(places(value))[1:]))
    target = value
    for key in path:
        target = target[key]
    target[last] = data.draw(JSON)
    try:
        genotype = from_json(json.dumps(value["file"]))
    except GenotypeError as error:
        assert "\n" not in str(error)
    else:
        assert from_json(to_json(genotype)) == genotype


def test_genotypes_made_in_python_are_checked_too():
    node = Node([0, 1], ["none", "none"])
    assert node.inputs == (0, 1) and hash(node)
    with pytest.raises(GenotypeError, match="reduce.n_inputs"):
        CellGenotype(Cell((node,), (2,)), Cell((Node((0,), ("none",)),), (1,), n_inputs=1))
    with pytest.raises(GenotypeError, match=r"nodes\[0\]"):
        Cell((3,), (0,))


# --- canonical form ---


def renumberings(cell: Cell):
    """Every way to number the nodes of a cell so that inputs come first, each with its pairs reversed as well."""
    n = cell.n_inputs
    for order in itertools.permutations(range(len(cell.nodes))):
        place = {j: j for j in range(n)} | {n + i: n + new for new, i in enumerate(order)}
        if all(place[j] < place[n + i] for i in order for j in cell.nodes[i].inputs):
            nodes = tuple(
                Node(tuple(place[j] for j in node.inputs)[::-1], node.ops[::-1], node.combine)
                for node in (cell.nodes[i] for i in order)
            )
            yield Cell(nodes, tuple(place[j] for j in cell.concat)[::-1], n)


@settings(max_examples=60)
@given(st.sampled_from((1, 2)).flatmap(lambda n: cells(n, most=5, ops=st.sampled_from(("none", "conv_1x1")))))
def test_canonical_forms_of_all_renumberings_meet(cell):
    forms = {canonical(CellGenotype(c)) for c in renumberings(cell)}
    assert len(forms) == 1
    assert next(iter(forms)).normal in {sorted_pairs(c) for c in renumberings(cell)}  # and it is one of them


def sorted_pairs(cell: Cell) -> Cell:
    nodes = []
    for node in cell.nodes:
        pairs = sorted(zip(node.inputs, node.ops))
        nodes.append(Node(tuple(j for j, _ in pairs), tuple(op for _, op in pairs), node.combine))
    return Cell(tuple(nodes), tuple(sorted(cell.concat)), cell.n_inputs)


def darts_cells(nodes: int, ops: int):
    """All cells of DARTS's space: two different inputs a node, one of `ops` operations on each."""
    names = sorted(OPERATIONS)[:ops]
    choices = [
        [
            Node(pair, pick)
            for pair in itertools.combinations(range(2 + i), 2)
            for pick in itertools.product(names, repeat=2)
        ]
        for i in range(nodes)
    ]
    for combination in itertools.product(*choices):
        yield CellGenotype(Cell(combination, tuple(range(2, 2 + nodes))))


@pytest.mark.parametrize(
    ("nodes", "ops", "all_cells", "classes"),
    [(1, 7, 49, 49), (2, 7, 7_203, 6_027), (3, 2, 1_152, 712), (4, 1, 180, 79)],
)
def test_darts_cells_up_to_renumbering_are_as_many_as_burnside_counts(nodes, ops, all_cells, classes):
    found = list(darts_cells(nodes, ops))
    assert len(set(found)) == all_cells
    assert len(set(map(canonical, found))) == classes


def test_enas_micro_cells_of_two_nodes_are_5115():
    names = sorted(OPERATIONS)[:5]
    blocks = [list(itertools.combinations_with_replacement(itertools.product(range(2 + i), names), 2)) for i in (0, 1)]
    found = set()
    for first, second in itertools.product(*blocks):
        nodes = tuple(Node((a[0], b[0]), (a[1], b[1])) for a, b in (first, second))
        loose = tuple({0, 1, 2, 3} - {j for node in nodes for j in node.inputs})
        found.add(canonical(CellGenotype(Cell(nodes, loose))))
    assert [len(block) for block in blocks] == [55, 120] and len(found) == 5_115


@pytest.mark.parametrize(("nodes", "classes"), [(1, 4), (2, 26), (3, 188), (4, 1_499)])
def test_darts_recurrent_cells_are_coloured_rooted_trees(nodes, classes):
    choices = [[(j, activation) for j in range(i + 1) for activation in ACTIVATIONS] for i in range(nodes)]
    concat = tuple(range(1, nodes + 1))
    found = {
        canonical(RecurrentGenotype(((-1, "tanh"), *combination), concat))
        for combination in itertools.product(*choices)
    }
    assert len(found) == classes


@pytest.mark.parametrize(("nodes", "sequences", "classes"), [(1, 4, 4), (2, 16, 16), (3, 128, 104), (4, 1_536, 752)])
def test_enas_recurrent_cells_meet_as_published(nodes, sequences, classes):
    choices = [[(j, activation) for j in range(max(i, 1)) for activation in ACTIVATIONS] for i in range(nodes)]
    found = []
    for (_, first), *rest in itertools.product(*choices):
        loose = tuple(set(range(nodes)) - {j for j, _ in rest})
        found.append(RecurrentGenotype(((-1, first), *rest), loose))
    assert len(found) == sequences and len(set(map(canonical, found))) == classes


@pytest.mark.parametrize("name", GENOTYPES)
def test_equality_stays_exact_and_kinds_have_names(name):
    genotype = GENOTYPES[name]
    assert kind(genotype) == json.loads(to_json(genotype))["kind"]
    if isinstance(genotype, CellGenotype):
        turned = CellGenotype(next(renumberings(genotype.normal)), genotype.reduce)
        assert turned != genotype and canonical(turned) == canonical(genotype)
