"""The table against its source and its published statistics; children trained for real."""

import csv
import dataclasses
import os
import signal
import subprocess
import sys
import threading
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nascore import estimators, spaces
from nascore.data import Images
from nascore.errors import UserError
from nascore.estimators import _DENOMINATORS, _TABLE_FILE, Estimate, Table, TrainChildren, evaluate
from nascore.genotypes import Cell, CellGenotype, GenotypeError, Node, canonical
from nascore.nets import operations
from nascore.nets.convolutional import Network
from nascore.published import GENOTYPES
from nascore.seeding import seeded
from nascore.training import RECIPES, Training
from nascore.training import evaluate as evaluate_network

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


def train_children(genotypes, images, recipe, **how) -> list[Estimate]:
    return TrainChildren(images, recipe, **how)(genotypes)


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
    with pytest.raises(UserError, match="rewards: found 1, allowed: 2"):
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


def test_what_cannot_be_meant_is_refused_before_any_child_is_trained(images):
    with pytest.raises(UserError, match="skeleton of the children: found 'spiral', allowed: darts, "):
        TrainChildren(images, RECIPE, 4, 3, skeleton="spiral")
    wrong = {"last_epochs": (0, 5), "patience": (0, 1.5), "seconds": (0, -1.0), "workers": (0,)}
    for name, value in ((name, value) for name, values in wrong.items() for value in values):
        with pytest.raises(UserError, match=f"{name}: found {value}, allowed: "):
            TrainChildren(images, RECIPE, 4, 3, **{name: value})


# --- proxies --------------------------------------------------------------------------------------------------------

PROXY = {"channels": 4, "cells": 3, "skeleton": "nasbench201", "seed": 3}


def one_op(name: str) -> CellGenotype:
    return CellGenotype(Cell((Node((0,), (name,)),), (1,), n_inputs=1), None)


def own_operation(name: str, constructor) -> CellGenotype:
    operations.register(name, constructor)
    return one_op(name)


def test_the_reward_is_the_best_of_the_last_epochs_and_patience_ends_a_child_early(images):
    """Against a loop written out here, on labels that are half noise, so that accuracy goes up and down."""
    noisy = dataclasses.replace(images, train_labels=torch.where(torch.arange(240) % 2 > 0, 0, images.train_labels))
    genotype, split = one_op("nor_conv_3x3"), noisy.validation_split(0.2)
    recipe = dataclasses.replace(RECIPE, epochs=8, learning_rate=0.2)
    with seeded(3, "child"):
        network = Network(genotype, 4, 3, 3, 1, "nasbench201")
    training, accuracies = Training(network, split, recipe, 3), []
    while not training.done:
        if training.step().metrics:
            accuracies.append(evaluate_network(network, split, "valid")[1])

    def child(**how):
        return train_children([genotype], noisy, recipe, **PROXY, **how)[0]

    assert len(accuracies) == 8 and len(set(accuracies)) > 2
    for last in (1, 3, 8):
        assert child(last_epochs=last).reward == max(accuracies[-last:])
    ends = set()
    for patience in (1, 2, 3):
        waited = [e for e in range(8) if e - accuracies.index(max(accuracies[: e + 1])) >= patience]
        trained = waited[0] + 1 if waited else 8
        found = child(last_epochs=2, patience=patience)
        assert (found.details["epochs"], found.reward) == (trained, max(accuracies[:trained][-2:]))
        ends.add(trained)
    assert len(ends) > 1 and min(ends) < 8


def test_what_was_trained_once_costs_nothing_and_is_known_by_its_canonical_form(images):
    """Two parallel operations in two orders are one network, and one child."""
    first, second = (
        CellGenotype(Cell((Node((0, 0), ops),), (1,), n_inputs=1), None)
        for ops in (("nor_conv_1x1", "skip_connect"), ("skip_connect", "nor_conv_1x1"))
    )
    assert first != second and canonical(first) == canonical(second)
    seen, recipe = [], dataclasses.replace(RECIPE, epochs=1)
    children = TrainChildren(images, recipe, **PROXY, progress=seen.append)
    one, again, other = children([first, first, second])
    assert [(p.step, p.total, p.genotype, p.reward) for p in seen] == [(1, 1, canonical(first), one.reward)]
    assert one.seconds > 0 and again == other == dataclasses.replace(one, seconds=0.0)
    assert children([second, first]) == [again, again] and len(seen) == 1
    assert train_children([second], images, recipe, **PROXY)[0].details == one.details


def test_a_child_that_takes_too_long_gets_nothing(images, monkeypatch):
    """By a clock that is a second later whenever it is read, as it is once before the first step and after each."""
    good, recipe = one_op("skip_connect"), dataclasses.replace(RECIPE, epochs=2)
    steps = 2 * 12  # 192 images in minibatches of 16
    for seconds, error in ((steps, None), (steps - 1, "TimeoutError: a child may take 23 seconds")):
        monkeypatch.setattr(estimators, "monotonic", count().__next__)
        (child,) = train_children([good], images, recipe, **PROXY, seconds=seconds)
        assert child.error == error and (child.reward > 0) == (error is None)


def test_a_child_that_takes_too_much_or_fails_gets_nothing_and_the_others_go_on(images):
    def fail(*sizes):
        raise ZeroDivisionError("first line\nsecond line")

    greedy = own_operation("greedy", lambda *sizes: torch.empty(2**50))
    broken, good = own_operation("broken", fail), one_op("skip_connect")
    recipe, threads = dataclasses.replace(RECIPE, epochs=1), torch.get_num_threads()
    answers = train_children([greedy, broken, good], images, recipe, **PROXY, workers=1)
    assert "out of memory" in answers[0].error and answers[1].error == "ZeroDivisionError: first line"
    assert [a.reward for a in answers[:2]] == [0.0, 0.0] and answers[2].reward > 0 and answers[2].error is None
    assert torch.get_num_threads() == threads


LOST = "CUDA error: device-side assert triggered"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_card_that_is_lost_ends_the_search_and_gives_no_child_nothing(images, workers):
    """After such an error every child would have reward 0."""

    def fail(*sizes):
        raise RuntimeError(LOST)

    train = TrainChildren(images, RECIPE, **PROXY, workers=workers)
    with pytest.raises(UserError, match=f"raised 'RuntimeError: {LOST}'"):
        evaluate(train, [own_operation("lost", fail), one_op("skip_connect"), one_op("nor_conv_1x1")])


def test_ctrl_c_goes_through(images):
    def interrupt(*sizes):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_children([own_operation("interrupt", interrupt)], images, RECIPE, **PROXY)


# --- workers --------------------------------------------------------------------------------------------------------


class Scale(nn.Module):
    """A user's own operation."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.factor * x


def test_a_child_has_the_same_bits_alone_and_in_any_company(images):
    recipe = dataclasses.replace(RECIPE, epochs=2)
    genotypes = [
        own_operation("scale", lambda *sizes: Scale()),
        one_op("nor_conv_3x3"),
        BENCH.decode([3, 1, 2, 1, 3, 4]),
    ]
    alone = [train_children([genotype], images, recipe, **PROXY)[0] for genotype in genotypes]
    assert len({child.details["loss"] for child in alone}) == 3 and all(child.error is None for child in alone)
    seen = []
    children = TrainChildren(images, recipe, **PROXY, workers=2, progress=seen.append)
    assert children.at_once == 4
    order = [2, 0, 1, 2]
    together = children([genotypes[k] for k in order])
    assert [(c.reward, c.details) for c in together] == [(alone[k].reward, alone[k].details) for k in order]
    assert [p.step for p in seen] == [1, 2, 3] and {p.genotype for p in seen} == set(map(canonical, genotypes))
    torch.rand(17)
    one_worker = train_children(genotypes[::-1], images, recipe, **PROXY, workers=1)
    assert [(c.reward, c.details) for c in one_worker] == [(c.reward, c.details) for c in alone[::-1]]


def test_a_child_that_kills_its_worker_is_found_and_the_others_are_trained(images):
    """As the system does when memory runs out."""
    here = os.getpid()

    def kill(*sizes):
        assert os.getpid() != here
        os.kill(os.getpid(), signal.SIGKILL)

    genotypes = [one_op("skip_connect"), one_op("nor_conv_1x1"), own_operation("kill", kill)]
    recipe = dataclasses.replace(RECIPE, epochs=1)
    *good, killed = train_children(genotypes, images, recipe, **PROXY, workers=2)
    assert killed.reward == 0.0 and "TerminatedWorkerError" in killed.error and "\n" not in killed.error
    alone = train_children(genotypes[:2], images, recipe, **PROXY, workers=1)
    assert [(c.reward, c.details) for c in good] == [(c.reward, c.details) for c in alone]


def test_what_cannot_be_sent_to_a_worker_is_said_in_one_line(images):
    lock = threading.Lock()
    genotypes = [own_operation("unsent", lambda *sizes: lock), one_op("skip_connect")]
    with pytest.raises(UserError, match="cannot be sent to another process .*or train with workers=1$"):
        train_children(genotypes, images, RECIPE, **PROXY, workers=2)
    del operations.REGISTERED["unsent"]


SCRIPT = """
import os
import joblib
from torch import nn
from nascore import data, training
from nascore.estimators import TrainChildren
from nascore.genotypes import Cell, CellGenotype, Node
from nascore.nets import operations

def mine(*sizes):
    print("built in", os.getpid(), flush=True)
    return nn.Identity()

class Patient(joblib.Parallel):  # whose workers wait for more work for longer than the test waits for their end
    def __init__(self, *arguments, **how):
        super().__init__(*arguments, **how | {"idle_worker_timeout": 6000})

joblib.Parallel = Patient
operations.register("mine", mine)
cells = [CellGenotype(Cell((Node((0,), (op,)),), (1,), n_inputs=1), None) for op in ("mine", "none")]
recipe = training.recipe_named("child", epochs=1, batch_size=500)
children = TrainChildren(data.load("digits"), recipe, 4, 3, skeleton="nasbench201", workers=2)(cells)
print(os.getpid(), *(child.error for child in children))
"""


def test_a_plain_script_needs_no_guard_and_leaves_neither_workers_nor_a_word(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    run = [sys.executable, "-W", "default", "script.py"]
    # It has ended when nobody can write to its output any more: neither the script nor a worker.
    ended = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    *built, last = ended.stdout.splitlines()
    script, *errors = last.split()
    assert (ended.returncode, ended.stderr, errors) == (0, "", ["None", "None"])
    assert len(set(built)) == 1 and f"built in {script}" not in built
