"""Budgets, the registry, and `run` with methods of every kind that a user may bring."""

import dataclasses
import json
from dataclasses import dataclass
from random import Random

import pytest
import torch

import nascore
from nascore import registry, search, spaces
from nascore.data import Images
from nascore.errors import UserError
from nascore.estimators import Estimate
from nascore.genotypes import from_json
from nascore.record import load_checkpoint
from nascore.search import Budget, choose_device, get, knob, methods_by_name, run
from nascore.trials import TrialBudget

# --- budgets --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Small(Budget):
    steps: int = knob(4, "steps", "how many", low=1, high=10)
    rate: float = knob(0.5, "rate", "how fast", low=0.0, high=1.0)
    mode: str = knob("fast", "mode", "which", choices=("fast", "slow"))
    order: int = knob(1, "order", "which", choices=(1, 2))
    PRESETS = {"smoke": {"steps": 1}, "reduced": {"steps": 2}, "full": {}}


def test_presets_replace_fields_and_fields_replace_presets():
    assert Small.preset("smoke") == Small(steps=1)
    assert Small.preset("full", rate=0.25, mode="slow") == Small(rate=0.25, mode="slow")
    assert Small.preset("smoke", steps="7", rate="1", order="2") == Small(steps=7, rate=1.0, order=2)
    assert type(Small(rate=1).rate) is float and type(Small(steps=3.0).steps) is int


@pytest.mark.parametrize(
    "field, value, allowed",
    [
        ("steps", 0, "a whole number from 1 to 10"),
        ("steps", 11, "a whole number from 1 to 10"),
        ("steps", 2.5, "a whole number from 1 to 10"),
        ("steps", True, "a whole number from 1 to 10"),
        ("steps", "ten", "a whole number from 1 to 10"),
        ("steps", None, "a whole number from 1 to 10"),
        ("steps", float("inf"), "a whole number from 1 to 10"),
        ("steps", [1], "a whole number from 1 to 10"),
        ("rate", float("nan"), "a number from 0.0 to 1.0"),
        ("rate", "1e400", "a number from 0.0 to 1.0"),
        ("rate", -0.001, "a number from 0.0 to 1.0"),
        ("rate", 1j, "a number from 0.0 to 1.0"),
        ("mode", "Fast", "fast or slow"),
        ("mode", None, "fast or slow"),
        ("order", 3, "a whole number 1 or 2"),
        ("order", "x" * 500, "a whole number 1 or 2"),
    ],
)
def test_a_value_out_of_bounds_is_refused_with_its_bounds(field, value, allowed):
    with pytest.raises(UserError) as caught:
        Small.preset("full", **{field: value})
    assert str(caught.value).startswith(f"{field}: found ") and str(caught.value).endswith(f"allowed: {allowed}")
    assert len(str(caught.value)) < 150


def test_unknown_presets_and_fields_are_refused():
    with pytest.raises(UserError, match="budget: found 'tiny', allowed: smoke, reduced, full"):
        Small.preset("tiny")
    with pytest.raises(UserError, match="unknown field 'step'; this method has: steps, rate, mode, order"):
        Small.preset("full", step=1)


def test_every_field_of_every_method_can_be_shown_and_every_preset_is_within_its_bounds():
    assert {"darts", "evolution", "random"} <= set(methods_by_name())
    for entry in methods_by_name().values():
        assert list(entry.budget.PRESETS) == ["smoke", "reduced", "full"]
        for preset in entry.budget.PRESETS:
            budget = entry.budget.preset(preset)
            assert dataclasses.replace(budget) == budget
        for field in dataclasses.fields(entry.budget):
            assert field.metadata["label"] and field.metadata["help"]
            assert field.metadata["choices"] or field.metadata["low"] < field.metadata["high"]
        assert spaces.get(entry.space)


def test_unknown_methods_and_devices_are_refused():
    with pytest.raises(UserError, match="method: found 'dart', allowed: darts, enas-macro, enas-micro, evolution, "):
        get("dart")
    for name in ("gpu", "cpu:x", "", "meta"):
        with pytest.raises(UserError, match="device: found .*, allowed: auto, cpu, cuda"):
            choose_device(name)
    assert choose_device("cpu") == choose_device(torch.device("cpu")) == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name, batch_size", [("nas-rl", 64), ("nasnet", 32), ("pnas", 32), ("evolution", 128)])
def test_full_trains_a_child_as_the_paper_does(name, batch_size):
    """Of CIFAR-10's 50,000 images 45,000 are trained on; the smaller presets hold a fifth out."""
    pixels, labels = torch.zeros(50_000, 1, 4, 4, dtype=torch.uint8), torch.arange(50_000) % 10
    images = Images("blank", pixels, labels, pixels[:10], labels[:10], tuple("0123456789"), (0.5,), (0.25,), 0, False)
    for preset, kept, batch in (("full", 45_000, batch_size), ("reduced", 40_000, 64), ("smoke", 40_000, 64)):
        budget, entry = get(name).budget.preset(preset), get(name)
        setting = search._setting(entry, None, images, None, budget)
        estimate = search._build(entry, setting, budget, 0, torch.device("cpu")).estimate
        assert (estimate.task.count("train"), estimate.task.count("valid")) == (kept, 50_000 - kept)
        assert estimate.child.recipe.batch_size == batch
        assert estimate.child.recipe.epochs == budget.child_epochs


# --- run ------------------------------------------------------------------------------------------------------------

BENCH = spaces.get("nasbench201")


def count_convolutions(genotypes):
    """An estimator of a user: plain floats."""
    return [sum(op.startswith("nor_conv") for node in g.normal.nodes for op in node.ops) / 6 for g in genotypes]


class Mine:
    """A space of a user, with no more than the contract asks: the cells with two kinds of edges."""

    levels = BENCH.levels  # what PNAS needs besides

    def choices_at(self, prefix):
        return 2 if len(prefix) < 6 else 0

    def decode(self, decisions):
        return BENCH.decode([3 * d for d in decisions])

    def encode(self, genotype):
        return [d // 3 for d in BENCH.encode(genotype)]

    def size(self):
        return 64

    def sample(self, generator: Random):
        return [generator.randrange(2) for _ in range(6)]

    def mutate(self, decisions, generator):
        k = generator.randrange(6)
        return [d ^ (i == k) for i, d in enumerate(decisions)]


def noise():
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (20, 1, 8, 8), generator=random, dtype=torch.uint8)
    labels = torch.arange(20) % 2
    return Images("noise", pixels, labels, pixels, labels, ("a", "b"), (0.5,), (0.3,), 1, False)


def test_a_user_s_own_space_and_estimator_go_with_every_multi_trial_method():
    for name, entry in methods_by_name().items():
        if not entry.one_shot and issubclass(entry.budget, TrialBudget):
            result = run(name, space=Mine(), estimate=count_convolutions, trials=64, progress=False)
            assert len(result.history) == 64 and result.reward > 0.6
            assert count_convolutions([result.genotype]) == [result.reward]
    result = run("random", space=Mine(), estimate=count_convolutions, trials=64, progress=False)
    assert result.reward == 1.0  # all 64 were seen


def test_the_result_s_files_and_history_agree(tmp_path):
    seen = []
    result = run("evolution", data="nasbench201", directory=tmp_path, trials=30, seed=3, progress=seen.append)
    assert result.finished and result.directory == tmp_path and result.seconds > 0
    assert result.reward == max(row["reward"] for row in result.history)
    assert {"cifar10_test_200ep", "index"} <= set(result.details)
    assert [p.row() for p in seen] == result.history
    assert [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()] == result.history
    assert from_json((tmp_path / "genotype.json").read_text()) == result.genotype
    for row in result.history:
        assert set(row) >= {"step", "reward", "genotype"} and "seconds" not in row
        from_json(json.dumps(row["genotype"]))


@pytest.mark.parametrize("method", ["random", "evolution", "darts"])
def test_a_search_stopped_and_resumed_equals_one_that_was_not(tmp_path, method):
    options = dict(data="nasbench201", trials=40) if method != "darts" else dict(data=noise(), epochs=2)
    if method == "darts":
        options |= dict(channels=2, cells=3, batch_size=4, order=2, space="nasbench201")
    options |= dict(progress=False, seed=7, budget="smoke")
    whole = run(method, directory=tmp_path / "whole", **options)
    steps = len(whole.history)
    for stop_after in (1, steps // 2):
        folder, calls = tmp_path / str(stop_after), iter(range(steps))
        stopped = run(method, directory=folder, stop=lambda n=stop_after, c=calls: next(c) == n, **options)
        assert not stopped.finished and len(stopped.history) == stop_after
        resumed = run(method, directory=folder, resume=True, **options)
        assert resumed.finished and resumed.history == whole.history
        assert (resumed.genotype, resumed.reward, resumed.details) == (whole.genotype, whole.reward, whole.details)
        for name in ("history.jsonl", "genotype.json", "config.json"):
            assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    if method == "darts":
        ours, theirs = (load_checkpoint(f / "checkpoint.pt")["loop"]["alphas"] for f in (folder, tmp_path / "whole"))
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_method_s_own_space_may_be_named_or_not_also_on_resuming(tmp_path):
    options = dict(data=noise(), channels=2, cells=3, batch_size=4, epochs=1, budget="smoke", progress=False)
    calls = iter(range(9))
    assert not run("darts", directory=tmp_path, stop=lambda: next(calls) == 1, **options).finished
    assert run("darts", space="darts", directory=tmp_path, resume=True, **options).finished
    with pytest.raises(UserError, match="its space's size is '1076746950455072400', asked for is '15625'"):
        run("darts", space="nasbench201", directory=tmp_path, resume=True, **options)


def test_seeds_differ_and_repeat():
    first, again, other = (
        run("random", data="nasbench201", trials=20, seed=seed, progress=False).history for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_budget_may_be_given_whole_and_changed_by_fields():
    budget = get("random").budget.preset("smoke")
    assert len(run("random", data="nasbench201", budget=budget, progress=False).history) == budget.trials
    assert len(run("random", data="nasbench201", budget=budget, trials=5, progress=False).history) == 5


def test_an_estimator_s_failures_are_rewards_of_0():
    def odd(genotypes):
        return [Estimate(float("nan")) for _ in genotypes]

    result = run("random", space=Mine(), estimate=odd, trials=3, progress=False)
    assert result.reward == 0.0 and all("error" in row for row in result.history)


@pytest.mark.parametrize(
    "method, options, said",
    [
        ("random", {"seed": "1"}, "seed: found '1', allowed: a whole number from 0 to 4294967295"),
        ("random", {"seed": 2**32}, "seed: found 4294967296, allowed: "),
        ("random", {"space": "darts", "data": "nasbench201"}, "the table holds cells of 'nasbench201' only"),
        ("random", {"resume": True, "data": "nasbench201"}, "--resume needs the directory"),
        ("random", {"estimate": lambda g: [], "space": Mine()}, "rewards: found 0, allowed: 8"),
        ("darts", {"data": "nasbench201"}, "'nasbench201' is a table"),
        ("darts", {"estimate": count_convolutions}, "darts is its own estimator"),
        ("darts", {"space": Mine(), "data": noise()}, "darts needs a space with primitives on edges"),
        ("darts", {"data": "no/such/folder"}, "data: found 'no/such/folder', allowed: digits, cifar10"),
        ("darts", {"trials": 3}, "unknown field 'trials'; this method has: epochs, "),
    ],
)
def test_what_run_cannot_do_is_said_in_one_line(method, options, said):
    with pytest.raises(UserError) as caught:
        run(method, progress=False, **options)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_user_s_method_is_found_by_its_name_like_the_others():
    @search.method("mine", budget=Small, one_shot=True)
    class MyMethod:
        def __init__(self, space, data, budget, seed, device):
            self.budget, self.history = budget, []

        done = property(lambda self: len(self.history) >= self.budget.steps)
        best = property(lambda self: search.Trial(BENCH.decode([0] * 6), 0.5))

        def step(self):
            progress = search.Progress(len(self.history) + 1, self.budget.steps, reward=0.5)
            self.history.append(progress.row())
            return progress

    try:
        result = nascore.run("mine", data=noise(), budget="full", progress=False)
        assert len(result.history) == 4 and result.reward == 0.5 and result.finished
    finally:
        del registry._METHODS["mine"]


def test_the_number_of_workers_is_no_part_of_a_run(tmp_path):
    how = dict(budget="smoke", channels=2, child_epochs=1, progress=False, directory=tmp_path / "run")
    one = nascore.run("random", workers=1, **{**how, "directory": None})
    steps = iter(range(9))
    nascore.run("random", workers=2, stop=lambda: next(steps) == 1, **how)
    assert nascore.run("random", workers=1, resume=True, **how).history == one.history
    assert "workers" not in (tmp_path / "run" / "config.json").read_text()


@pytest.mark.parametrize("method, fields", [("darts", {}), ("random", {"data": "nasbench201"})])
def test_workers_are_for_children(method, fields):
    with pytest.raises(UserError, match="^--workers: found 2, allowed: none, since no children are trained$"):
        nascore.run(method, workers=2, budget="smoke", progress=False, **fields)
    with pytest.raises(UserError, match="^--workers: found 0, allowed: a whole number from 1 to 1024$"):
        nascore.run("random", workers=0, budget="smoke", progress=False)
