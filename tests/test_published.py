"""The published genotypes against the papers' and repositories' own notations, decoded here a second time."""

from nascore.genotypes import ChainGenotype, RecurrentGenotype, canonical
from nascore.published import GENOTYPES, PUBLISHED

NAMES = """nas-rl-15 nas-rl-rnn nasnet-a nasnet-a-darts amoebanet-a pnasnet-5 enas-macro enas-micro enas-rnn darts-v1
           darts-v2 darts-rnn-v1 darts-rnn-v2""".split()


def pairs(cell) -> list[tuple[str, int]]:
    return [(op, j) for node in cell.nodes for op, j in zip(node.ops, node.inputs)]


def loose_ends(cell) -> list[int]:
    used = {j for node in cell.nodes for j in node.inputs}
    return [j for j in range(cell.n_inputs + len(cell.nodes)) if j not in used]


def test_all_names_are_there_with_source_and_home():
    assert list(GENOTYPES) == NAMES
    homes = {"darts", "nasnet", "pnasnet", "enas", "enas-macro", "nas-rl", "recurrent"}
    for name, entry in PUBLISHED.items():
        assert entry.genotype is GENOTYPES[name] and entry.skeleton in homes
        assert "arXiv" in entry.source or "/" in entry.source


def test_darts_v2_is_as_its_authors_print_it():
    normal = [("sep_conv_3x3", 0), ("sep_conv_3x3", 1), ("sep_conv_3x3", 0), ("sep_conv_3x3", 1),
              ("sep_conv_3x3", 1), ("skip_connect", 0), ("skip_connect", 0), ("dil_conv_3x3", 2)]  # fmt: skip
    reduce = [("max_pool_3x3", 0), ("max_pool_3x3", 1), ("skip_connect", 2), ("max_pool_3x3", 1),
              ("max_pool_3x3", 0), ("skip_connect", 2), ("skip_connect", 2), ("max_pool_3x3", 1)]  # fmt: skip
    assert pairs(GENOTYPES["darts-v2"].normal) == normal and pairs(GENOTYPES["darts-v2"].reduce) == reduce
    for name in ("darts-v1", "darts-v2"):
        for cell in (GENOTYPES[name].normal, GENOTYPES[name].reduce):
            assert cell.concat == (2, 3, 4, 5) and all(len(set(node.inputs)) == 2 for node in cell.nodes)


def test_nasnet_a_decodes_from_slim_whose_inputs_are_the_other_way_round():
    names = {"id": "skip_connect", "avg3": "avg_pool_3x3", "max3": "max_pool_3x3"}
    names |= {f"sep{k}": f"sep_conv_{k}x{k}" for k in (3, 5, 7)}
    normal = "sep5 0 sep3 1 sep5 1 sep3 1 avg3 0 id 1 avg3 1 avg3 1 sep3 0 id 0".split()
    reduce = "sep5 0 sep7 1 max3 0 sep7 1 avg3 0 sep5 1 id 3 avg3 2 sep3 2 max3 0".split()
    for raw, cell in ((normal, GENOTYPES["nasnet-a"].normal), (reduce, GENOTYPES["nasnet-a"].reduce)):
        swapped = [(names[op], {0: 1, 1: 0}.get(int(j), int(j))) for op, j in zip(raw[::2], raw[1::2])]
        assert pairs(cell) == swapped
    assert GENOTYPES["nasnet-a"].normal.concat == (0, 2, 3, 4, 5, 6)  # 6F: a cell input as well
    assert GENOTYPES["nasnet-a"].reduce.concat == (3, 4, 5, 6)  # 4F: a used state as well
    rewritten = GENOTYPES["nasnet-a-darts"]
    assert rewritten.normal.nodes == GENOTYPES["nasnet-a"].normal.nodes
    assert list(rewritten.normal.concat) == loose_ends(rewritten.normal) == [2, 3, 4, 5, 6]
    assert list(rewritten.reduce.concat) == loose_ends(rewritten.reduce) == [4, 5, 6]


def test_pnasnet_decodes_from_slim_too_and_has_one_cell():
    ops = {"sep5": "sep_conv_5x5", "sep7": "sep_conv_7x7", "sep3": "sep_conv_3x3", "max": "max_pool_3x3"}
    ops["none"] = "skip_connect"  # there, none means identity
    raw = "sep5 max sep7 max sep5 sep3 sep3 max sep3 none".split()
    indices = [1, 1, 0, 0, 0, 0, 4, 0, 1, 0]
    cell = GENOTYPES["pnasnet-5"].normal
    assert pairs(cell) == [(ops[op], {0: 1, 1: 0}.get(j, j)) for op, j in zip(raw, indices)]
    assert cell.concat == (2, 3, 4, 5, 6) and GENOTYPES["pnasnet-5"].reduce is None


def test_enas_micro_decodes_from_the_authors_script():
    ops = ("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "skip_connect")
    arcs = {"normal": "0 2 0 0 0 4 0 1 0 4 1 1 1 0 0 1 0 2 1 1", "reduce": "1 0 1 0 0 3 0 2 1 1 3 1 1 0 0 4 0 3 1 1"}
    for part, arc in arcs.items():
        tokens = [int(token) for token in arc.split()]
        cell = getattr(GENOTYPES["enas-micro"], part)
        assert pairs(cell) == [(ops[op], j) for j, op in zip(tokens[::2], tokens[1::2])]
        assert list(cell.concat) == loose_ends(cell)
    assert GENOTYPES["enas-micro"].reduce.concat == (2, 4, 5, 6)


def test_enas_macro_has_the_facts_of_its_24_layers():
    layers = GENOTYPES["enas-macro"].layers
    names = ("conv_3x3", "sep_conv_3x3", "conv_5x5", "sep_conv_5x5")
    ops = [int(token) for token in "0 3 0 2 2 3 2 2 1 0 2 0 2 1 0 2 2 2 3 3 0 3 0 0".split()]
    assert [layer.op for layer in layers] == [names[op] for op in ops]
    assert sum(len(layer.skips) for layer in layers) == 98
    assert layers[2].skips == (0,) and layers[5].skips == (0, 1, 3)


def test_enas_recurrent_cell_is_the_same_in_three_numberings():
    enas = GENOTYPES["enas-rnn"]
    arc = [int(token) for token in "0 0 0 1 1 2 1 2 0 2 0 5 1 1 0 6 1 8 1 8 1 8 1".split()]
    names = ("tanh", "relu", "identity", "sigmoid")
    decoded = [(-1, names[arc[0]])] + [(j, names[a]) for j, a in zip(arc[1::2], arc[2::2])]
    assert list(enas.nodes) == decoded
    assert set(enas.concat) == set(range(12)) - {j for j, _ in decoded}

    def cell(text: str) -> RecurrentGenotype:  # "activation source" a node, after node 0
        nodes = [(-1, "tanh")] + [(int(row.split()[1]), row.split()[0]) for row in text.split(";")]
        loose = tuple(i for i in range(12) if i not in {j for j, _ in nodes})
        return RecurrentGenotype(tuple(nodes), loose)

    figure = cell("tanh 0;relu 1;tanh 1;relu 2;tanh 2;tanh 2;relu 6;relu 7;relu 8;relu 8;relu 8")
    darts = cell("tanh 0;tanh 1;relu 1;tanh 3;tanh 3;relu 3;relu 4;relu 7;relu 8;relu 8;relu 8")
    assert darts.concat == (2, 5, 6, 9, 10, 11)  # printed in rnn/genotypes.py
    assert len({enas, figure, darts}) == 3 and len({canonical(g) for g in (enas, figure, darts)}) == 1


def test_darts_recurrent_cells_write_their_fixed_first_state_out():
    for name in ("darts-rnn-v1", "darts-rnn-v2"):
        genotype = GENOTYPES[name]
        assert genotype.nodes[0] == (-1, "tanh") and len(genotype.nodes) == 9 and genotype.concat == tuple(range(1, 9))
    assert [
        a for _, a in GENOTYPES["darts-rnn-v2"].nodes[1:]
    ] == "sigmoid relu relu identity tanh sigmoid tanh relu".split()
    assert [j for j, _ in GENOTYPES["darts-rnn-v2"].nodes[1:]] == [0, 1, 1, 1, 2, 5, 3, 5]


def test_nas_rl_has_the_weights_of_its_table():
    genotype = GENOTYPES["nas-rl-15"]
    assert isinstance(genotype, ChainGenotype) and len(genotype.layers) == 15
    width = {0: 3} | {k + 1: layer.filters for k, layer in enumerate(genotype.layers)}
    weights = norms = 0
    for layer in genotype.layers:
        height, breadth = layer.filter
        weights += height * breadth * layer.filters * sum(width[k] for k in layer.inputs or (0,))
        norms += 2 * layer.filters
    assert (weights, norms, weights + norms + 48 * 10 + 10) == (4_199_868, 1_272, 4_201_630)
    assert sum(len(layer.inputs) for layer in genotype.layers) == 65
    assert all(k in layer.inputs for k, layer in enumerate(genotype.layers) if k)
    assert set(range(1, 16)) - {j for layer in genotype.layers for j in layer.inputs} == {15}


def test_nas_rl_recurrent_cell_has_eight_leaves():
    tree = GENOTYPES["nas-rl-rnn"]
    assert tree.base == 8 and len(tree.tree) == 15 and tree.inject == ("add", "tanh")
    assert (tree.c_out, tree.c_in) == (12, 8) and tree.tree[3] == ("elem_mult", "relu")
    assert tree.tree[12] == ("elem_mult", "identity") and tree.tree[14] == ("elem_mult", "tanh")
