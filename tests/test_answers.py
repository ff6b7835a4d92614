"""What an estimator may answer, what that becomes, and what is refused: in every multi-trial method
alike."""

import json
import math
from decimal import Decimal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from mute import Mute

import nascore
from nascore import spaces
from nascore.answers import Estimate, evaluate, name_of, storable
from nascore.errors import UserError
from nascore.genotypes import as_dict
from nascore.loop import StepFailed
from nascore.record import load_checkpoint
from nascore.search import methods_by_name

BENCH = spaces.get("nasbench201")
CELLS = [BENCH.decode([k % 5] * 6) for k in range(4)]
METHODS = [name for name, entry in methods_by_name().items() if not entry.one_shot and entry.space != "nas-rl-rnn"]


def answers(value, count=4):
    return evaluate(lambda genotypes: [value] * len(genotypes), CELLS[:count])


def search(method, estimate, **options):
    options = {"trials": 12, "space": "nasbench201", "progress": False} | options
    return nascore.run(method, estimate=estimate, **options)


@pytest.mark.parametrize(
    "value, reward",
    [
        (0.5, 0.5),
        (1, 1.0),
        (np.float32(0.25), 0.25),
        (np.float64(0.5), 0.5),
        (np.int64(1), 1.0),
        (np.array(0.5), 0.5),
        (np.array([0.5]), 0.5),
        (torch.tensor(0.5), 0.5),
        (torch.tensor([[0.5]], dtype=torch.bfloat16, requires_grad=True), 0.5),
        (Estimate(np.float32(0.5)), 0.5),
        (Estimate(torch.tensor(0.5)), 0.5),
    ],
)
def test_a_number_of_any_kind_becomes_a_float(value, reward):
    found = answers(value)
    assert [type(a.reward) for a in found] == [float] * 4 and {a.reward for a in found} == {reward}


@pytest.mark.parametrize("whole", [np.linspace(0, 1, 4), torch.linspace(0, 1, 4), (0.0, 0.25, 0.5, 1.0)])
def test_the_list_may_be_a_tuple_an_array_or_a_tensor(whole):
    found = evaluate(lambda genotypes: whole, CELLS)
    assert [a.reward for a in found] == pytest.approx(list(map(float, whole)))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan"), torch.tensor(math.nan), 10**400])
def test_what_is_not_finite_is_a_child_that_failed(value):
    assert all(a.reward == 0.0 and a.error.startswith("the reward was ") for a in answers(value))
    assert answers(Estimate(value, error="mine"))[0].error == "mine"


WRONG = [
    (lambda g: None, ": found None, allowed: a list of "),
    (lambda g: 0.5, ": found 0.5, allowed: a list of "),
    (lambda g: {"a": 1}, ": found {'a': 1}, allowed: a list of "),
    (lambda g: "0.5", ": found '0.5', allowed: a list of "),
    (lambda g: torch.tensor(0.5), ": found 0.5, allowed: a list of "),
    (lambda g: [], "rewards: found 0, allowed: "),
    (lambda g: [0.5] * (len(g) + 1), "rewards: found 5, allowed: "),
    (lambda g: [None] * len(g), "reward: found None, allowed: a number, or an Estimate"),
    (lambda g: [{"reward": 1}] * len(g), "reward: found {'reward': 1}, allowed: a number"),
    (lambda g: ["0.5"] * len(g), "reward: found '0.5', allowed: a number"),
    (lambda g: [True] * len(g), "reward: found True, allowed: a number"),
    (lambda g: [[0.5]] * len(g), "reward: found [0.5], allowed: a number"),
    (lambda g: [1j] * len(g), "reward: found 1j, allowed: a number"),
    (lambda g: [Decimal("0.5")] * len(g), "reward: found Decimal('0.5'), allowed: a number"),
    (lambda g: [torch.ones(2)] * len(g), "reward: found tensor([1., 1.]), allowed: a number"),
    (lambda g: [93.7] * len(g), "reward: found 93.7, allowed: a fraction from 0 to 1 (not percent)"),
    (lambda g: [-0.1] * len(g), "reward: found -0.1, allowed: a fraction from 0 to 1"),
    (lambda g: [1e300] * len(g), "reward: found 1e+300, allowed: a fraction from 0 to 1"),
    (lambda g: [Estimate(0.5, error=5)] * len(g), "error: found 5, allowed: a text, or None"),
    (lambda g: [Estimate(0.5, seconds=-1)] * len(g), "seconds: found -1.0, allowed: a number from 0 on"),
    (
        lambda g: [Estimate(0.5, seconds=math.nan)] * len(g),
        "seconds: found nan, allowed: a number from 0 on",
    ),
    (lambda g: [Estimate(0.5, seconds=None)] * len(g), "seconds: found None, allowed: a number"),
    (lambda g: [Estimate(0.5, details=5)] * len(g), "details: found 5, allowed: a dictionary"),
    (
        lambda g: [Estimate(0.5, details={"x": object})] * len(g),
        "details['x'] is <class 'object'>, allowed: numbers",
    ),
    (
        lambda g: [Estimate(0.5, details={"x": [Path("y")]})] * len(g),
        "details['x'][0] is PosixPath('y'), allowed: num",
    ),
    (
        lambda g: [Estimate(0.5, details={"x": 2**64})] * len(g),
        "details['x'] is 18446744073709551616, allowed: num",
    ),
    (lambda g: 1 / 0, "raised 'ZeroDivisionError: division by zero'"),
    (lambda g: Mute.fail(), "raised 'Mute'"),
    (lambda g: Mute(), ": found <Mute>, allowed: a list of 4 rewards"),
]


@pytest.mark.parametrize("estimate, said", WRONG, ids=[said for _, said in WRONG])
def test_what_cannot_be_is_refused_with_the_estimators_name(estimate, said):
    with pytest.raises(StepFailed) as caught:
        evaluate(estimate, CELLS)
    assert str(caught.value).startswith("the estimator test_answers.<lambda>") and said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [93.7, -0.1, 1e300, None, "0.5"])
def test_every_method_refuses_the_same_at_the_first_answer(method, value):
    calls = []

    def wrong(genotypes):
        calls.append(len(genotypes))
        return [value] * len(genotypes)

    with pytest.raises(UserError, match="^the estimator .* allowed: "):
        search(method, wrong)
    assert len(calls) == 1


@pytest.mark.parametrize("method", METHODS)
def test_every_method_goes_on_where_every_fourth_child_fails_and_never_returns_one(method):
    asked = []

    def fragile(genotypes):
        asked.extend(genotypes)
        return [math.nan if k % 4 == 0 else 0.0 for k in range(len(asked) - len(genotypes), len(asked))]

    result = search(method, fragile)
    failed = [row["step"] for row in result.history if "error" in row]
    assert failed == [1, 5, 9] and result.finished and len(result.history) == 12
    best = [row["genotype"] for row in result.history if row["step"] not in failed]
    assert as_dict(result.genotype) in best and "error" not in result.details
    assert {row["reward"] for row in result.history} == {0.0}  # a failure beats nothing, not even 0


def test_of_failures_alone_the_first_is_returned_with_its_error():
    result = search("random", lambda genotypes: [math.nan] * len(genotypes))
    assert result.reward == 0.0 and result.details["error"] == "the reward was nan"


# --- details --------------------------------------------------------------------------------------------------------


def test_details_become_what_a_checkpoint_and_json_can_keep():
    given = {
        "a": np.float64(0.5),
        "b": np.arange(3),
        "c": torch.eye(2),
        "d": (1, None, True),
        5: "x",
        "e": math.nan,
    }
    given |= {"f": {"g": np.bool_(True), "h": np.str_("text")}, "i": "\ud800"}
    found = storable(given, "details")
    expected = {
        "a": 0.5,
        "b": [0, 1, 2],
        "c": [[1.0, 0.0], [0.0, 1.0]],
        "d": [1, None, True],
        "5": "x",
        "e": None,
    }
    assert found == expected | {"f": {"g": True, "h": "text"}, "i": "?"}
    assert type(found["a"]) is float and type(found["f"]["g"]) is bool and type(found["f"]["h"]) is str
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_details_that_hold_themselves_are_one_line():
    ring = {}
    ring["ring"] = ring
    with pytest.raises(StepFailed, match="details that hold themselves"):
        evaluate(lambda genotypes: [Estimate(0.5, details=ring)] * 4, CELLS)


@pytest.mark.parametrize("method", METHODS)
def test_the_history_keeps_the_details_and_a_run_with_numpys_numbers_can_be_resumed(method, tmp_path):
    def estimate(genotypes):
        costs = [sum(op.startswith("nor_conv") for node in g.normal.nodes for op in node.ops) for g in genotypes]
        return [Estimate(np.float64(c / 7), details={"cost": np.float64(c), "curve": np.arange(2)}) for c in costs]

    steps = iter(range(12))
    stopped = search(method, estimate, directory=tmp_path, stop=lambda: next(steps) == 5)
    assert len(stopped.history) == 5
    load_checkpoint(tmp_path / "checkpoint.pt")
    result = search(method, estimate, directory=tmp_path, resume=True)
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert rows == result.history and len(rows) == 12
    assert all(row["details"] == {"cost": row["reward"] * 7, "curve": [0, 1]} for row in rows)
    front = {row["details"]["cost"]: row["reward"] for row in rows}  # what a Pareto front is drawn from
    assert result.details["cost"] == max(front)


# --- how an estimator is asked --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["random", "nas-rl", "nasnet"])
def test_as_many_are_asked_for_in_a_call_as_are_proposed_together(method):
    calls = []

    def estimate(genotypes):
        calls.append(len(genotypes))
        return [0.5] * len(genotypes)

    search(method, estimate, children=5)
    assert calls == [5, 5, 2]


def test_an_estimator_may_say_how_many_it_takes_at_once_and_that_changes_nothing_else():
    class Slow:
        at_once = 2

        def __init__(self):
            self.calls = []

        def __call__(self, genotypes):
            self.calls.append(len(genotypes))
            return [len(g.normal.nodes[0].ops[0]) / 20 for g in genotypes]

    slow, quick = Slow(), Slow()
    quick.at_once = None
    histories = [search("nas-rl", one, children=5).history for one in (slow, quick)]
    assert slow.calls == [2, 2, 1, 2, 2, 1, 2] and quick.calls == [5, 5, 2]
    assert histories[0] == histories[1]


def test_an_estimators_failure_keeps_what_came_before_and_says_how_to_go_on(tmp_path):
    asked = []

    def breaks(genotypes):
        asked.extend(genotypes)
        if len(asked) > 6 and not mended:
            raise KeyError("the cluster\nwent away")
        return [0.5] * len(genotypes)

    mended = []
    with pytest.raises(UserError) as caught:
        search("random", breaks, children=3, directory=tmp_path, checkpoint_seconds=1000)
    said = str(caught.value)
    assert "test_answers.test_an_estimators_failure" in said and "KeyError" in said and "\n" not in said
    assert said.endswith("the 6 steps before it are kept: mend it and go on with --resume")
    assert isinstance(caught.value.__cause__, KeyError)  # whoever mends it wants the traceback
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 6
    mended.append(True)
    whole = search("random", lambda genotypes: [0.5] * len(genotypes), children=3)
    assert search("random", breaks, children=3, directory=tmp_path, resume=True).history == whole.history
    with pytest.raises(UserError, match="the 0 steps before it are lost: with --out DIR they would be kept"):
        search("random", lambda genotypes: 1 / 0)


def test_answers_that_wait_their_turn_are_not_asked_for_again(tmp_path):
    asked = []

    def estimate(genotypes):
        asked.extend(genotypes)
        return [0.5] * len(genotypes)

    steps = iter(range(12))
    search("random", estimate, children=6, directory=tmp_path, stop=lambda: next(steps) == 2)
    assert len(asked) == 6
    search("random", estimate, children=6, directory=tmp_path, resume=True)
    assert len(asked) == 12


# --- names ----------------------------------------------------------------------------------------------------------


def test_estimators_are_known_by_name_or_by_type_and_module():
    class Mine:
        def __call__(self, genotypes):
            return [0.5] * len(genotypes)

    assert name_of(answers) == "test_answers.answers"
    assert name_of(partial(answers, count=1)) == "test_answers.answers(count=1)"
    assert "0x" not in name_of(partial(answers, Mine()))
    assert name_of(Mine()) == f"test_answers.{Mine.__qualname__}"
    mine = Mine()
    mine.name = "a name of mine"
    assert name_of(mine) == "a name of mine"
    assert name_of(mine.__call__) == f"test_answers.{Mine.__qualname__}.__call__"


def test_an_estimator_may_take_from_its_list():
    def greedy(genotypes):
        found = []
        while genotypes:
            genotypes.pop()
            found.append(0.5)
        return found

    result = nascore.run("evolution", space="nasbench201", estimate=greedy, budget="smoke", trials=5, progress=False)
    assert result.finished and result.reward == 0.5
    with pytest.raises(UserError, match="rewards: found 0, allowed: 1, one each"):
        nascore.run(
            "random",
            estimate=lambda g: g.clear() or [],
            budget="smoke",
            trials=2,
            children=1,
            progress=False,
        )


@pytest.mark.parametrize(
    "answer",
    [
        lambda g: [torch.tensor(0.5, device="meta")] * len(g),
        lambda g: torch.ones(len(g), device="meta"),
        lambda g: torch.tensor(0.5, device="meta"),
        lambda g: [Estimate(0.5, details={"x": torch.zeros(2, device="meta")})] * len(g),
    ],
)
def test_tensors_that_cannot_be_read_are_one_line(answer):
    with pytest.raises(UserError, match="^the estimator .*") as caught:
        nascore.run("random", space="nasbench201", estimate=answer, budget="smoke", trials=2, progress=False)
    assert str(caught.value).isprintable()
