"""The table against its source and its published statistics; children trained for real."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from nascore import spaces
from nascore.data import Images
from nascore.errors import UserError
from nascore.estimators import _DENOMINATORS, _TABLE_FILE, Estimate, Table, TrainChildren, evaluate
from nascore.genotypes import Cell, CellGenotype, GenotypeError, Node
from nascore.published import GENOTYPES
from nascore.training import RECIPES

SOURCE = Path(__file__).parents[2] / "shared" / "data" / "nasbench201.csv"
TABLE = Table()
BENCH = spaces.get("nasbench201")
# best, at which of the benchmark's indices, mean, sd, quantiles: as tabulated from the source
STATISTICS = {
    "cifar10_valid": (84.892, [13714], 68.8517, 12.7802, 48.67, 65.56, 72.278, 76.50, 81.722, 83.572, 84.395),
    "cifar10_test": (89.16, [5374], 75.9842, 13.4142, 54.43, 73.58, 79.62, 83.83, 86.70, 88.12, 88.668),
    "cifar100_valid": (61.32, [10165, 13714], 40.4596, 11.0825, 22.66, 34.54, 42.64, 47.92, 55.22, 58.92, 60.475),
    "cifar100_test": (61.18, [2581], 40.4039, 11.0067, 22.56, 34.46, 42.22, 47.86, 55.34, 58.86, 60.363),
    "imagenet16_valid": (38.6667, [2581], 22.5440, 6.5972, 10.87, 19.20, 23.50, 26.70, 32.70, 35.525, 37.346),
    "imagenet16_test": (38.2667, [2581], 21.8008, 6.4633, 10.70, 18.57, 22.767, 25.90, 31.633, 34.767, 36.733),
    "cifar10_test_200ep": (94.3733, [6111, 13714], 87.0629, 12.9348, 73.53, 87.62, 90.745, 92.19, 93.277, 93.775, 94.178),  # noqa: E501
    "cifar100_test_200ep": (73.5133, [9930], 61.4055, 12.1716, 42.53, 59.24, 65.287, 67.88, 70.105, 71.133, 72.720),
    "imagenet16_test_200ep": (47.3111, [857], 33.5864, 9.5119, 15.15, 29.48, 36.389, 40.18, 44.067, 45.388, 46.523),
}  # fmt: skip


def digits_of(code: int) -> list[int]:
    return [code // 5**k % 5 for k in range(5, -1, -1)]


def code_at(index: int) -> int:
    return int(np.flatnonzero(TABLE.columns["index"] == index)[0])


# --- the table ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not SOURCE.exists(), reason=f"the source of the table is not at {SOURCE}")
def test_the_table_agrees_with_its_source_in_every_row_and_column():
    from pack_nasbench201 import decisions

    with open(SOURCE, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 15_625
    codes = [int("".join(map(str, decisions(row["arch"]))), 5) for row in rows]
    for name, column in TABLE.columns.items():
        assert [float(row[name]) for row in rows] == column[codes].tolist()
    assert set(TABLE.columns) == set(rows[0]) - {"arch"}


def test_the_shipped_file_is_small():
    assert _TABLE_FILE.stat().st_size < 256_000


@pytest.mark.parametrize("name", STATISTICS)
def test_every_column_has_the_published_statistics(name):
    column, index = TABLE.columns[name], TABLE.columns["index"]
    best, at, mean, sd, *quantiles = STATISTICS[name]
    assert column.max() == best and sorted(index[column == best]) == at
    assert round(column.mean(), 4) == mean and round(column.std(), 4) == sd
    found = np.quantile(column, [0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999])
    assert np.allclose(found, quantiles, rtol=0, atol=0.0051)
    assert list(TABLE.columns) == ["index", *STATISTICS] == ["index", *_DENOMINATORS]


def test_341_cells_have_no_path_and_they_alone_stay_at_chance():
    dead = []
    for code in range(5**6):
        e01, e02, e12, e03, e13, e23 = (op > 0 for op in digits_of(code))
        dead.append(not (e03 or (e01 and e13) or (e02 and e23) or (e01 and e12 and e23)))
    assert sum(dead) == 341
    assert np.array_equal(TABLE.columns["cifar10_test_200ep"] == 10.0, dead)


def unique_cells(rule) -> int:
    """Classes of cells whose expressions, built from the input on by `rule(edges)`, are equal."""
    classes = set()
    for code in range(5**6):
        states, ops = ["0"], [BENCH.primitives[op] for op in digits_of(code)]
        for first, last in ((0, 1), (1, 3), (3, 6)):
            states.append(rule(list(zip(ops[first:last], states))))
        classes.add(states[-1])
    return len(classes)


def test_unique_cells_are_as_many_as_each_convention_says():
    def skip_is_identity(edges):
        # The benchmark's own strings: a sum that a skip passes on stands unbracketed in the next, and strings are
        # sorted as they are, so that some equal sums stay apart. Its counts depend on that.
        return "+".join(sorted(s if op == "skip_connect" else f"({s})@{op}" for op, s in edges))

    def zeros_stay_as_terms(edges):
        terms = (("skip_connect", "#") if op == "none" or s == "#" else (op, s) for op, s in edges)
        return skip_is_identity(terms)

    def zeros_dropped_and_sums_flattened(edges):
        terms = []
        for op, state in edges:  # a state is the sorted tuple of its terms
            state = tuple(state)
            if op == "skip_connect":
                terms += state
            elif op != "none" and state:
                terms.append(f"({'+'.join(state)})@{op}")
        return tuple(sorted(terms))

    assert unique_cells(skip_is_identity) == 12_751
    assert unique_cells(zeros_stay_as_terms) == 6_466
    assert unique_cells(zeros_dropped_and_sums_flattened) == 4_930


def test_known_rows():
    all_skip = TABLE.row(BENCH.decode([1] * 6))
    assert all_skip["index"] == 1835
    keys = ("cifar10_test_200ep", "cifar100_test_200ep", "imagenet16_test_200ep")
    assert [all_skip[key] for key in keys] == [54.2967, 15.6067, 16.3222]
    assert TABLE.row(BENCH.decode([3] * 6))["index"] == 1462
    # |nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|
    row = TABLE.row(BENCH.decode([3, 3, 4, 1, 3, 1]))
    assert (row["index"], row["cifar10_valid"], row["imagenet16_test_200ep"]) == (1, 82.834, 44.0333)


def test_the_reward_is_the_short_validation_accuracy_and_the_rest_is_in_the_details():
    best = BENCH.decode(digits_of(code_at(13714)))
    (estimate,) = TABLE([best])
    assert estimate == Estimate(0.84892, details=estimate.details) and TABLE.space == "nasbench201"
    assert estimate.details["index"] == 13714 and estimate.details["cifar10_test_200ep"] == 94.3733
    assert set(estimate.details) == set(TABLE.columns) - {"cifar10_valid"}


def test_inputs_in_another_order_are_the_same_cell_and_other_spaces_are_refused():
    first = BENCH.decode([3, 1, 2, 4, 0, 1])
    nodes = tuple(Node(node.inputs[::-1], node.ops[::-1]) for node in first.normal.nodes)
    other = CellGenotype(Cell(nodes, (3,), n_inputs=1))
    assert other != first and TABLE([other]) == TABLE([first])
    with pytest.raises(GenotypeError, match="not in the space nasbench201"):
        TABLE([GENOTYPES["darts-v2"]])


# --- any estimator --------------------------------------------------------------------------------------------------


def test_plain_numbers_become_estimates_and_what_is_no_number_counts_as_nothing():
    rewards = evaluate(lambda genotypes: [0.5, Estimate(float("nan"), seconds=2.0)], [None, None])
    assert rewards[0] == Estimate(0.5)
    assert rewards[1] == Estimate(0.0, seconds=2.0, error="the reward was nan")
    with pytest.raises(UserError, match="gave 1 rewards, allowed: 2"):
        evaluate(lambda genotypes: [0.5], [None, None])


# --- children -------------------------------------------------------------------------------------------------------

RECIPE = dataclasses.replace(RECIPES["child"], epochs=4, batch_size=16)


@pytest.fixture(scope="module")
def images() -> Images:
    """Three classes of 8 x 8 stripes in noise: horizontal, vertical, none."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 3
    pixels = torch.randint(0, 120, (300, 1, 8, 8), generator=generator, dtype=torch.uint8)
    pixels[labels == 0, :, ::2] += 120
    pixels[labels == 1, :, :, ::2] += 120
    parts = (pixels[:240], labels[:240], pixels[240:], labels[240:])
    return Images("stripes", *parts, ("rows", "columns", "none"), (0.4,), (0.25,), padding=0, flip=False)


def test_a_child_learns_and_its_reward_does_not_depend_on_what_came_before(images):
    darts = spaces.get("darts", nodes=1)
    one, two = darts.decode([0, 3, 3, 0, 3, 3]), darts.decode([0, 2, 4, 0, 0, 3])
    together = TrainChildren(images, RECIPE, channels=4, cells=3, seed=3)([two, one])
    torch.rand(17)
    alone = TrainChildren(images, RECIPE, channels=4, cells=3, seed=3)([one])
    assert alone[0].reward == together[1].reward > 0.6 and alone[0].details == together[1].details
    assert alone[0].error is None and alone[0].seconds > 0
    other = TrainChildren(images, RECIPE, channels=4, cells=3, seed=4)([one])
    assert other[0].details["loss"] != alone[0].details["loss"]


def test_children_never_see_the_test_images(images):
    noise = dataclasses.replace(images, test=torch.zeros_like(images.test), test_labels=images.test_labels * 0)
    genotype = spaces.get("darts", nodes=1).decode([0, 3, 3, 0, 3, 3])
    recipe = dataclasses.replace(RECIPE, epochs=1)
    a, b = (TrainChildren(data, recipe, 4, 3)([genotype])[0] for data in (images, noise))
    assert (a.reward, a.details) == (b.reward, b.details)


def test_a_child_that_diverges_or_cannot_be_built_gets_nothing_and_says_why(images):
    genotype = spaces.get("darts", nodes=1).decode([0, 3, 3, 0, 3, 3])
    wild = dataclasses.replace(RECIPE, learning_rate=1e30, final_learning_rate=1e30, clip=1e30, epochs=1)
    (diverged,) = TrainChildren(images, wild, 4, 3)([genotype])
    assert diverged.reward == 0 and "loss became" in diverged.error
    (unbuilt, built) = TrainChildren(images, RECIPE, 4, 3)([BENCH.decode([3] * 6), genotype])
    assert unbuilt.reward == 0 and "reduce" in unbuilt.error and "\n" not in unbuilt.error
    assert built.reward > 0


def test_cells_of_nasbench201_are_trained_in_their_own_skeleton(images):
    children = TrainChildren(images, dataclasses.replace(RECIPE, epochs=1), 4, 3, skeleton="nasbench201")
    (child,) = children([BENCH.decode([3, 1, 2, 1, 3, 4])])
    assert child.error is None and 0 < child.reward <= 1


def test_an_unknown_skeleton_is_refused_before_any_child_is_trained(images):
    with pytest.raises(UserError, match="skeleton 'pnasnet', allowed: darts, nasbench201"):
        TrainChildren(images, RECIPE, 4, 3, skeleton="pnasnet")
