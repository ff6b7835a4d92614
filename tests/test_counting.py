"""How many cells there are: the published counts, Burnside against enumeration, the two ways to number inputs."""

from random import Random

import pytest

from course import counting
from course.counting import enumerate_unique, smallest, swap_reduced, unique_cells
from nascore import spaces
from nascore.genotypes import canonical
from nascore.published import GENOTYPES
from nascore.spaces.cells import Blocks

RAW = [256, 147_456, 150_994_944, 241_591_910_400, 556_627_761_561_600]
SWAPPED = [136, 40_800, 21_542_400, 17_664_768_000, 20_773_767_168_000]
UNIQUE = [136, 31_620, 10_979_688, 5_194_395_866, 3_147_356_952_080]


def test_the_counts_are_the_published_ones():
    assert [spaces.get("pnas", blocks=b).size() for b in range(1, 6)] == RAW
    assert [swap_reduced(b) for b in range(1, 6)] == SWAPPED
    assert [unique_cells(b) for b in range(1, 6)] == UNIQUE


def test_cells_are_counted_by_cycle_lengths_each_once():
    """Cycle lengths of up to b blocks are the partitions of 0, 1, ..., b: 1, 1, 2, 3, 5 and 7 of them."""
    partitions = [1, 1, 2, 3, 5, 7]
    for b in range(1, 6):
        counting._fixed.cache_clear()
        unique_cells(b)
        assert counting._fixed.cache_info().misses == sum(partitions[: b + 1])


def test_enumeration_finds_as_many():
    assert (len(enumerate_unique(1)), len(enumerate_unique(2))) == (136, 31_620)


@pytest.mark.parametrize("blocks, ops", [(1, 1), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2), (4, 1)])
def test_burnside_agrees_with_enumeration_for_other_numbers_of_operations(blocks, ops):
    assert unique_cells(blocks, ops) == len(enumerate_unique(blocks, ops))


@pytest.mark.parametrize("blocks, ops", [(1, 8), (2, 2), (3, 1)])
def test_canonical_genotypes_of_all_decision_lists_are_as_many(blocks, ops):
    order = ("input 1", "input 2", "op 1", "op 2")
    space = Blocks("small", "pnasnet", spaces.PNAS_PRIMITIVES[:ops], blocks, ("normal",), order, "all")
    lists = [[]]
    for options in space.choices:
        lists = [[*head, decision] for head in lists for decision in range(options)]
    assert len({canonical(space.decode(one)) for one in lists}) == unique_cells(blocks, ops)


def test_two_lists_have_one_smallest_form_where_their_genotypes_have_one_canonical_form():
    space, generator = spaces.get("pnas", blocks=3), Random(0)
    ops = sorted(range(8), key=lambda op: spaces.PNAS_PRIMITIVES[op])[:2]
    lists = [[d if p % 4 < 2 else ops[d % 2] for p, d in enumerate(space.sample(generator))] for _ in range(400)]
    blocks = [tuple(tuple(zip(d[at : at + 2], d[at + 2 : at + 4])) for at in range(0, 12, 4)) for d in lists]
    forms = {(smallest(b), canonical(space.decode(d))) for b, d in zip(blocks, lists)}
    assert len(forms) == len({form for form, _ in forms}) == len({form for _, form in forms}) < 400


def test_both_ways_to_number_the_inputs_of_pnasnet_5_mean_one_cell():
    """TensorFlow counts the previous cell as 0 and the one before as 1; "none" is the identity there."""
    names = dict(sep3="sep_conv_3x3", sep5="sep_conv_5x5", sep7="sep_conv_7x7", max="max_pool_3x3", none="skip_connect")
    ops = "sep5 max sep7 max sep5 sep3 sep3 max sep3 none".split()
    inputs = [1, 1, 0, 0, 0, 0, 4, 0, 1, 0]
    ops = [spaces.PNAS_PRIMITIVES.index(names[op]) for op in ops]
    inputs = [{0: 1, 1: 0}.get(j, j) for j in inputs]
    decisions = [d for at in range(0, 10, 2) for d in (*inputs[at : at + 2], *ops[at : at + 2])]
    assert canonical(spaces.get("pnas").decode(decisions)) == canonical(GENOTYPES["pnasnet-5"])
