"""Decisions and genotypes: exact sizes, round trips, the papers' own architectures, uniform samples."""

import dataclasses
import math
from collections import Counter
from itertools import product
from math import comb
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nascore import spaces
from nascore.errors import UserError
from nascore.genotypes import (
    Cell,
    CellGenotype,
    GenotypeError,
    MacroGenotype,
    MacroLayer,
    Node,
    canonical,
)
from nascore.published import GENOTYPES

SIZES = {  # as the papers' files derive them
    "nas-rl": 2**195,
    "darts": 1_076_746_950_455_072_400,
    "nasnet": 5_229_943_396_058_757_337_940_161_399_357_440_000,
    "pnas": 556_627_761_561_600,
    "enas-macro": 160_618_186_625_454_535_808_756_219_904,
    "enas-micro": 25_628_906_250_000_000_000_000_000,
    "nasbench201": 15_625,
}
TWO_OPS = ("none", "skip_connect", "sep_conv_3x3")


def complete(space, prefix=()):
    """All decision lists, by asking the space alone."""
    count = space.choices_at(prefix)
    if count == 0:
        yield list(prefix)
    for decision in range(count):
        yield from complete(space, (*prefix, decision))


def cells_up_to_renaming(space, lists):
    """Distinct canonical normal cells of these decision lists for one cell."""
    rest = [0] * (len(space.sample(Random(0))) - len(lists[0]))
    return {canonical(CellGenotype(space.decode([*one, *rest]).normal)) for one in lists}


def test_the_spaces_have_the_published_sizes():
    assert {name: spaces.get(name).size() for name in spaces.SPACES} == SIZES


@pytest.mark.parametrize("n", range(1, 6))
def test_sizes_follow_the_formulas_for_every_number_of_nodes(n):
    def formula(options):
        value = 1
        for k in range(2, n + 2):
            value *= options(k)
        return value

    assert spaces.get("darts", nodes=n).size() == formula(lambda k: comb(k, 2) * 7**2) ** 2
    assert spaces.get("nas-rl", layers=n).size() == 64**n * 2 ** comb(n, 2)
    assert spaces.get("nas-rl", layers=n, strides=True).size() == (64 * 9) ** n * 2 ** comb(n, 2)
    assert spaces.get("enas-macro", layers=n).size() == 6**n * 2 ** comb(n, 2)
    assert spaces.get("nasnet", blocks=n).size() == formula(lambda k: k**2 * 13**2 * 2) ** 2
    assert spaces.get("pnas", blocks=n).size() == formula(lambda k: k**2 * 8**2)
    assert spaces.get("enas-micro", nodes=n).size() == formula(lambda k: (5 * k) ** 2) ** 2


@pytest.mark.parametrize(
    "space",
    [
        spaces.get("nas-rl", layers=1),
        spaces.get("nas-rl", layers=2, sides=(1, 3), filters=(24, 36)),
        spaces.get("nas-rl", layers=3, sides=(3,), filters=(24,)),
        spaces.get("nas-rl", layers=1, strides=True),
        *(spaces.get("enas-macro", layers=n) for n in (1, 2, 3)),
        spaces.get("nasnet", blocks=1, primitives=("skip_connect", "sep_conv_3x3")),
        spaces.get("darts", nodes=1),
        spaces.get("darts", nodes=2, primitives=TWO_OPS),
        spaces.get("pnas", blocks=1),
        spaces.get("enas-micro", nodes=1),
        spaces.get("nasbench201"),
    ],
    ids=lambda space: f"{space.name}-{space.size()}",
)
def test_size_counts_what_choices_at_lets_through_and_each_list_means_another_genotype(space):
    genotypes = [space.decode(decisions) for decisions in complete(space)]
    assert len(genotypes) == len(set(genotypes)) == space.size()


def test_darts_cells_up_to_renaming_are_as_many_as_burnside_says():
    two = spaces.get("darts", nodes=2)
    pairs = [product(range(count), range(7), range(7)) for count in (1, 3)]
    lists = [[*first, *second] for first, second in product(*map(list, pairs))]
    assert len(lists) == 7_203 and len(cells_up_to_renaming(two, lists)) == 6_027

    three = spaces.get("darts", nodes=3, primitives=TWO_OPS)
    lists = [list(one) for one in product(*[range(n) for node in (1, 3, 6) for n in (node, 2, 2)])]
    assert len(cells_up_to_renaming(three, lists)) == 712


def test_one_block_of_pnas_is_one_of_136_and_two_nodes_of_enas_one_of_5115():
    pnas = spaces.get("pnas", blocks=1)
    assert len({canonical(pnas.decode(decisions)) for decisions in complete(pnas)}) == 136

    enas = spaces.get("enas-micro", nodes=2)
    nodes = [
        [p + q for p in pairs for q in pairs if p <= q]
        for pairs in map(list, (product(range(k), range(5)) for k in (2, 3)))
    ]
    lists = [[*first, *second] for first, second in product(*nodes)]
    assert len(lists) == 6_600 and len(cells_up_to_renaming(enas, lists)) == 5_115


@pytest.mark.parametrize("name", SIZES)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_decode_and_encode_are_inverse_and_a_mutation_changes_one_decision(name, seed):
    space, generator = spaces.get(name), Random(seed)
    decisions = space.sample(generator)
    genotype = space.decode(decisions)
    assert canonical(space.decode(space.encode(genotype))) == canonical(genotype)
    again = canonical(genotype)
    assert canonical(space.decode(space.encode(again))) == again

    mutated = space.mutate(decisions, generator)
    assert sum(a != b for a, b in zip(decisions, mutated)) == 1 and len(mutated) == len(decisions)
    assert all(0 <= d < space.choices_at(mutated[:i]) for i, d in enumerate(mutated))
    assert space.decode(mutated) != genotype


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_darts_node_may_list_its_inputs_in_any_order(seed):
    space, generator = spaces.get("darts"), Random(seed)
    genotype = space.decode(space.sample(generator))

    def turned(cell):
        nodes = [Node(n.inputs[::-1], n.ops[::-1]) if generator.random() < 0.5 else n for n in cell.nodes]
        return dataclasses.replace(cell, nodes=tuple(nodes), concat=cell.concat[::-1])

    other = CellGenotype(turned(genotype.normal), turned(genotype.reduce))
    assert space.decode(space.encode(other)) == genotype


def test_sizes_printed_in_the_papers_files():
    chains = [
        spaces.get("nas-rl", layers=n, strides=s).size() for n, s in ((2, False), (3, False), (2, True), (3, True))
    ]
    assert chains == [8192, 2097152, 663552, 1528823808]
    assert spaces.get("nas-rl", layers=6).size() == 2251799813685248
    assert [spaces.get("enas-macro", layers=n).size() for n in (1, 2, 3, 4)] == [6, 72, 1_728, 82_944]
    assert spaces.get("nas-rl", layers=2, sides=(1, 3), filters=(24, 36)).size() == 128
    cells = [math.isqrt(spaces.get("nasnet", blocks=n).size()) for n in (1, 2, 5)]
    assert cells == [1352, 4112784, 2286906949584691200]


def test_the_first_layers_of_a_chain_are_a_chain():
    space, short = spaces.get("nas-rl", layers=20), spaces.get("nas-rl", layers=6)
    assert space.levels[5] == len(short.choices) == 6 * 3 + 15
    decisions = space.sample(Random(0))
    assert space.decode(decisions[: space.levels[5]]) == short.decode(decisions[: space.levels[5]])
    assert space.decode(decisions).layers[:6] == short.decode(decisions[: space.levels[5]]).layers


def test_a_chain_lists_height_width_strides_filters_and_then_its_skips():
    space = spaces.get("nas-rl", layers=3, strides=True)
    kinds = [space.token_at(i).kind for i in range(len(space.choices))]
    layer = ["filter height", "filter width", "stride height", "stride width", "filters"]
    assert kinds == [*layer, *layer, "skip", *layer, "skip", "skip"]
    assert [space.token_at(i).refers_to for i in (10, 16, 17)] == [(4,), (4,), (9,)]  # where layers 1, 1, 2 are written
    chain = space.decode([0, 3, 0, 2, 1, *(1, 2, 1, 0, 3), 0, *(3, 0, 0, 0, 0), 0, 1])
    assert [(x.filter, x.stride, x.filters, x.inputs) for x in chain.layers] == [
        ((1, 7), (1, 3), 36, ()),
        ((3, 5), (2, 1), 64, ()),
        ((7, 1), (1, 1), 24, (2,)),
    ]


def test_the_published_chain_lies_in_its_space_and_others_are_told_why_they_do_not():
    space, chain = spaces.get("nas-rl"), GENOTYPES["nas-rl-15"]
    decisions = space.encode(chain)
    assert space.decode(decisions) == chain
    skips = [d for i, d in enumerate(decisions) if space.token_at(i).kind == "skip"]
    assert (sum(skips), len(skips)) == (65, 105)
    with pytest.raises(GenotypeError, match=r"layers: found 15, allowed: 6 layers"):
        spaces.get("nas-rl", layers=6).encode(chain)
    with pytest.raises(GenotypeError, match=r"layers\[1\], filters: found 48, allowed: 6, 12, 24, 36"):
        spaces.get("nas-rl", filters=(6, 12, 24, 36)).encode(chain)
    strided = dataclasses.replace(
        chain, layers=(dataclasses.replace(chain.layers[0], stride=(2, 2)), *chain.layers[1:])
    )
    with pytest.raises(GenotypeError, match=r"layers\[0\].stride: found \(2, 2\)"):
        space.encode(strided)
    assert spaces.get("nas-rl", strides=True).decode(spaces.get("nas-rl", strides=True).encode(strided)) == strided
    with pytest.raises(GenotypeError, match="kind: found 'CellGenotype', allowed: ChainGenotype"):
        space.encode(GENOTYPES["darts-v1"])


# The authors' 24 layers (scripts/cifar10_macro_final.sh): operation, then skips from the stem on.
ENAS_MACRO = """
0 3 0 0 1 0 2 0 0 1 2 0 0 0 0 3 1 1 0 1 0 2 0 0 0 0 0 1 2 0 1 1 0 1 1 1 1 0 1 1 1 0 1 0 1 0 0 0 0 0 0 0 0 0 0 2 0 0 0
0 0 1 0 0 0 0 0 1 0 0 1 1 0 0 0 0 1 1 2 0 1 0 0 0 0 0 1 0 1 1 0 1 0 0 1 0 0 0 1 1 1 0 1 0 1 0 1 1 0 1 0 1 0 0 0 0 0 1
0 0 2 0 0 1 0 0 0 0 0 0 0 1 0 1 0 1 2 0 1 0 0 0 1 0 0 1 1 1 1 0 0 1 0 2 0 0 0 0 1 0 1 0 1 0 0 1 0 1 0 0 1 3 0 1 1 0 1
0 0 0 0 0 1 0 1 0 1 0 0 0 3 0 1 1 0 0 0 0 0 0 0 0 0 1 1 0 0 0 0 1 0 1 0 0 1 0 1 1 0 0 0 1 0 0 0 0 0 1 1 0 0 3 0 1 0 1
1 0 0 1 0 1 1 0 1 1 0 1 0 0 1 0 0 0 1 0 1 0 1 0 0 0 0 0 0 0 0 1 0 1 0 0 1 0 0 0 0 1 1 0 0 0 1 1 1 0 1 0 0 0 1 0 1 0 0
1 1 0 0 0
"""


def test_the_published_enas_network_encodes_to_the_authors_own_string():
    space, arc = spaces.get("enas-macro", layers=24), [int(token) for token in ENAS_MACRO.split()]
    genotype = space.decode(arc)
    assert genotype == GENOTYPES["enas-macro"] and space.encode(genotype) == arc
    skips = [arc[i] for i in range(len(arc)) if space.token_at(i).kind == "skip"]
    assert (len(arc), sum(skips), len(skips)) == (300, 98, 276)


def test_a_skip_of_enas_is_scored_against_the_layer_after_the_one_it_adds():
    space = spaces.get("enas-macro", layers=4)
    kinds = [space.token_at(i).kind for i in range(10)]
    assert kinds == ["op", "op", "skip", "op", "skip", "skip", "op", "skip", "skip", "skip"]
    assert [space.token_at(i).refers_to for i in (2, 4, 5, 7, 8, 9)] == [(0,), (0,), (1,), (0,), (1,), (3,)]
    layers = space.decode([0, 1, 1, 4, 0, 1, 5, 1, 1, 0]).layers
    assert [(layer.op, layer.skips) for layer in layers] == [
        ("conv_3x3", ()), ("sep_conv_3x3", (0,)), ("avg_pool_3x3", (1,)), ("max_pool_3x3", (0, 1)),
    ]  # fmt: skip
    assert space.levels == (1, 3, 6, 10) and space.decode([0, 1, 1]).layers == layers[:2]
    with pytest.raises(GenotypeError, match=r"layers\[2\], op: found 'skip_connect', allowed: conv_3x3, sep_conv_3x3"):
        other = MacroLayer("skip_connect", (1,))
        space.encode(MacroGenotype((*layers[:2], other, layers[3])))
    with pytest.raises(GenotypeError, match="kind: found 'ChainGenotype', allowed: MacroGenotype"):
        space.encode(GENOTYPES["nas-rl-15"])


def test_published_cells_lie_in_their_spaces():
    homes = [("darts-v1", "darts"), ("darts-v2", "darts"), ("nasnet-a-darts", "nasnet"), ("amoebanet-a", "nasnet")]
    homes += [("enas-micro", "enas-micro"), ("enas-micro", "nasnet"), ("pnasnet-5", "pnas")]
    for genotype, space in homes:
        space, genotype = spaces.get(space), GENOTYPES[genotype]
        assert canonical(space.decode(space.encode(genotype))) == canonical(genotype)


def test_the_published_enas_cells_encode_to_the_authors_own_strings():
    normal, reduce = "0 2 0 0 0 4 0 1 0 4 1 1 1 0 0 1 0 2 1 1", "1 0 1 0 0 3 0 2 1 1 3 1 1 0 0 4 0 3 1 1"
    space, arc = spaces.get("enas-micro"), [int(token) for token in f"{normal} {reduce}".split()]
    genotype = space.decode(arc)
    assert genotype == GENOTYPES["enas-micro"] and space.encode(genotype) == arc
    assert (genotype.normal.concat, genotype.reduce.concat) == ((2, 3, 4, 5, 6), (2, 4, 5, 6))  # the loose ends


def test_nasnet_a_as_its_authors_stack_it_is_refused_with_the_reason():
    with pytest.raises(GenotypeError, match=r"normal\.concat: .*never a cell input"):
        spaces.get("nasnet").encode(GENOTYPES["nasnet-a"])


def test_loose_ends_of_enas_include_the_inputs_and_those_of_nasnet_do_not():
    first_only = Node((0, 0), ("skip_connect", "sep_conv_3x3"))
    enas = spaces.get("enas-micro", nodes=1)
    normal = enas.decode(enas.encode(CellGenotype(*[Cell((first_only,), (1, 2))] * 2))).normal
    assert normal.concat == (1, 2)
    nasnet = spaces.get("nasnet", blocks=1)
    assert nasnet.encode(CellGenotype(*[Cell((first_only,), (2,))] * 2)) == [0, 0, 0, 10, 0] * 2


@pytest.mark.parametrize(
    "cell, field",
    [
        (Cell((Node((0,), ("sep_conv_3x3",)),), (2,)), r"normal\.nodes\[0\]"),
        (Cell((Node((0, 0), ("sep_conv_3x3",) * 2),), (2,)), r"normal\.nodes\[0\]"),
        (Cell((Node((0, 1), ("none", "sep_conv_3x3")),), (2,)), r"normal\.nodes\[0\]\.ops: found 'none'"),
        (Cell((Node((0, 1), ("sep_conv_3x3",) * 2, "concat"),), (2,)), r"normal\.nodes\[0\]"),
        (Cell((Node((0, 1), ("sep_conv_3x3",) * 2),), (1, 2)), r"normal\.concat: found \[1, 2\], allowed: \[2\]"),
        (Cell((Node((0, 1), ("sep_conv_3x3",) * 2),) * 2, (2, 3)), "normal: found '2 nodes"),
    ],
)
def test_a_genotype_outside_the_space_is_refused_by_the_field_that_puts_it_there(cell, field):
    with pytest.raises(GenotypeError, match=field) as error:
        spaces.get("darts", nodes=1).encode(CellGenotype(cell, cell))
    assert "\n" not in str(error.value) and "allowed" in str(error.value)


def test_the_number_of_cells_must_be_the_spaces():
    two, one = GENOTYPES["darts-v1"], GENOTYPES["pnasnet-5"]
    with pytest.raises(GenotypeError, match="reduce: found None"):
        spaces.get("darts").encode(CellGenotype(two.normal))
    with pytest.raises(GenotypeError, match="allowed: null"):
        spaces.get("pnas").encode(CellGenotype(one.normal, one.normal))
    with pytest.raises(GenotypeError, match="kind: found 'RecurrentGenotype'"):
        spaces.get("darts").encode(GENOTYPES["darts-rnn-v1"])


def chi_square(counts: Counter, options: int) -> float:
    expected = counts.total() / options
    return sum((counts[key] - expected) ** 2 for key in counts) / expected + (options - len(counts)) * expected


def test_samples_and_mutations_are_uniform():
    space, generator = (
        spaces.get("darts", nodes=1, primitives=("none", "skip_connect", "sep_conv_3x3", "dil_conv_3x3")),
        Random(1),
    )
    counts = Counter(tuple(space.sample(generator)) for _ in range(20_000))
    assert space.size() == 81 and chi_square(counts, 81) < 124.8  # chi-square with 80 degrees, 0.1 %

    bench = spaces.get("nasbench201")
    counts = Counter(tuple(bench.mutate([0, 1, 2, 3, 4, 0], generator)) for _ in range(20_000))
    assert len(counts) == 24 and chi_square(counts, 24) < 49.7  # 6 edges, 4 other operations; 23 degrees, 0.1 %


def test_the_edges_of_nasbench201_run_01_02_12_03_13_23():
    genotype = spaces.get("nasbench201").decode([0, 1, 2, 3, 4, 0])
    assert genotype == CellGenotype(
        Cell(
            (
                Node((0,), ("none",)),
                Node((0, 1), ("skip_connect", "nor_conv_1x1")),
                Node((0, 1, 2), ("nor_conv_3x3", "avg_pool_3x3", "none")),
            ),
            (3,),
            n_inputs=1,
        )
    )


def test_levels_are_architectures_of_their_own():
    bench = spaces.get("nasbench201")
    assert bench.levels == (1, 3, 6)
    assert bench.encode(bench.decode([3])) == [3, 0, 0, 0, 1, 0]
    assert bench.encode(bench.decode([3, 2, 4])) == [3, 2, 4, 0, 0, 1]
    pnas, small = spaces.get("pnas"), spaces.get("pnas", blocks=2)
    assert pnas.levels == (4, 8, 12, 16, 20)
    decisions = pnas.sample(Random(0))
    assert pnas.decode(decisions[:8]) == small.decode(decisions[:8])
    assert spaces.get("darts").levels == ()  # it does not grow


def test_tokens_name_the_kind_and_the_last_decision_of_every_block_that_may_be_read():
    space = spaces.get("nasnet")
    kinds = [space.token_at(i).kind for i in range(50)]
    assert kinds == ["input", "input", "op", "op", "combine"] * 10
    assert space.token_at(11).refers_to == (4, 9)  # block 2 may read blocks 0 and 1
    assert space.token_at(36).refers_to == (29, 34)  # and so may that of the reduction cell, in its own cell
    for name in set(SIZES) - {"nas-rl", "enas-macro"}:
        space, options = spaces.get(name), {}
        decisions = space.sample(Random(0))
        for i in range(len(decisions)):
            token = space.token_at(i)
            assert all(earlier < i for earlier in token.refers_to)
            assert len(token.refers_to) in (0, space.choices_at(decisions[:i]) - 2)
            options.setdefault(token.kind, set()).add(space.choices_at(decisions[:i]))
        assert len(options["op"]) == 1


def test_one_shot_methods_find_what_they_need():
    darts, bench = spaces.get("darts"), spaces.get("nasbench201")
    assert (darts.nodes, darts.n_inputs, darts.cell_types, darts.skeleton) == (4, 2, ("normal", "reduce"), "darts")
    assert darts.primitives == spaces.DARTS_PRIMITIVES and len(darts.primitives) == 8
    assert (bench.nodes, bench.n_inputs, bench.cell_types, bench.skeleton) == (3, 1, ("normal",), "nasbench201")
    assert bench.primitives == spaces.NASBENCH201_PRIMITIVES
    every = {name: spaces.get(name) for name in SIZES}
    assert [name for name, space in every.items() if space.keeps_every_edge] == ["nasbench201"]
    assert [name for name, space in every.items() if space.tabulated] == ["nasbench201"]
    assert {name for name, space in every.items() if not space.has_edges} == {"nas-rl", "enas-macro"}


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: spaces.get("dart"),
            "space: found 'dart', allowed: nas-rl, nasnet, pnas, enas-macro, enas-micro, darts, nasbench201",
        ),
        (lambda: spaces.get("darts", blocks=3), "size of the space darts: found 'blocks', allowed: nodes, primitives"),
        (lambda: spaces.get("nasbench201", nodes=3), "size of the space nasbench201: found 'nodes', allowed: none"),
        (
            lambda: spaces.get("enas-macro", layers=0),
            "space enas-macro: layers: found 0, allowed: a whole number from 1 to 100",
        ),
        (lambda: spaces.get("pnas", blocks=0), "space pnas: size: found 0, allowed: a whole number from 1 to 100"),
        (lambda: spaces.get("darts", nodes="4"), "space darts: size: found '4', allowed: a whole number from 1 to 100"),
        (lambda: spaces.get("darts").decode([0] * 23), "space darts: number of decisions: found 23, allowed: 24"),
        (lambda: spaces.get("darts").decode([0] * 23 + [7]), "space darts: decision 23: found 7, allowed: 0 to 6"),
        (
            lambda: spaces.get("nasbench201").decode([0, -1, 0]),
            "space nasbench201: decision 1: found -1, allowed: 0 to 4",
        ),
    ],
)
def test_what_a_user_gets_wrong_is_one_line_with_what_is_allowed(call, message):
    with pytest.raises(UserError) as error:
        call()
    assert str(error.value) == message
