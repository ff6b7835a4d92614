"""Code that users write against the contract: methods, spaces and tasks of their own, whatever shape they have."""

import json
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import nascore
from nascore import cli, data, evaluation, formats, registry, spaces
from nascore.errors import UserError
from nascore.estimators import Table
from nascore.images import Images
from nascore.methods.blackbox import RandomSearch
from nascore.methods.darts import derive
from nascore.methods.pnas import PNAS, PNASBudget, next_blocks
from nascore.registry import method
from nascore.search import knob
from nascore.spaces import examine
from nascore.trials import TrialBudget

BENCH = spaces.get("nasbench201")


@pytest.fixture
def forget():
    """Methods that a test registers are forgotten."""
    registry.methods_by_name()
    before = dict(registry._METHODS)
    yield
    registry._METHODS.clear()
    registry._METHODS.update(before)


@pytest.mark.parametrize("name", ["workers", "graphs", "memory"])
def test_a_field_with_the_name_of_a_younger_argument_is_the_method_s_own(forget, name):
    knobs = {
        name: knob(3, "bees", "that look around", low=1, high=9),
        "__annotations__": {name: int},
        "PRESETS": {"smoke": {"trials": 2}, "reduced": {}, "full": {}},
    }
    Budget = dataclass(frozen=True)(type("Budget", (TrialBudget,), knobs))

    seen = []

    @method("bees", budget=Budget)
    class Bees(RandomSearch):
        def propose(self, count):
            seen.append(getattr(self.budget, name))
            return super().propose(count)

    nascore.run("bees", data="nasbench201", budget="smoke", progress=False, **{name: 7})
    assert cli.main(f"search bees --data nasbench201 --budget smoke --{name} 5 --quiet".split()) == 0
    nascore.run("bees", data="nasbench201", budget="smoke", progress=False)
    assert seen == [7, 5, 3]


class Duck:
    """NAS-Bench-201's cells, as somebody would write them who never saw a `Space`."""

    name = "duck"
    levels = np.array([1, 3, 6])
    favourite = "nor_conv_3x3"

    def choices_at(self, prefix):
        return 5 if len(prefix) < 6 else 0

    def decode(self, decisions):
        return BENCH.decode([*decisions, *[1] * (6 - len(decisions))])

    def size(self):
        return torch.tensor(5**6)

    def sample(self, random):
        return [random.randrange(5) for _ in range(6)]


class More(Duck):
    """It lists the most options that a decision may have, which are more than there are."""

    choices = np.full(6, 9)


@pytest.mark.parametrize("duck", [Duck(), More()])
def test_a_duck_grows(duck):
    assert examine.examine(duck)["size"] == "15625"
    assert len(next_blocks(duck)) == 5 and len(next_blocks(duck, 1)) == 25 and len(next_blocks(duck, 3)) == 125
    budget = PNASBudget.preset("smoke", trials=9, first=3, blocks=3, predictor="mlp-ensemble", beam=3)
    assert PNAS(duck, Table(), budget, 0).total == 9
    found = nascore.run("pnas", space=duck, estimate=lambda g: [0.5] * len(g), budget=budget, progress=False)
    assert [row["level"] for row in found.history] == [1] * 3 + [2] * 3 + [3] * 3


def test_a_method_finds_its_user_s_own_space(forget):
    duck, seen = Duck(), []

    @method("loyal", budget=TrialBudget)
    class Loyal(RandomSearch):
        def propose(self, count):
            seen.append((self.space, spaces.of(self.space).favourite))
            return super().propose(count)

    nascore.run("loyal", space=duck, estimate=lambda g: [0.5] * len(g), trials=1, progress=False)
    assert seen == [(duck, "nor_conv_3x3")]
    with pytest.raises(AttributeError, match="unknown"):
        _ = spaces.of(duck).unknown


def test_a_space_is_the_table_s_by_its_name():
    class Bench(Duck):
        name = "nasbench201"
        primitives = spaces.NASBENCH201_PRIMITIVES
        nodes, n_inputs, cell_types = 3, 1, ("normal",)

    by_hand = spaces.Edges("nasbench201", "nasbench201", spaces.NASBENCH201_PRIMITIVES, 3, ("normal",))
    alphas = [torch.zeros(6, 5)]
    for space in (spaces.of(Bench()), by_hand, BENCH):
        assert space.tabulated and space.keeps_every_edge
        assert derive(alphas, space) == derive(alphas, BENCH)
    assert not spaces.of(Duck()).tabulated and not spaces.get("darts").tabulated


def test_a_history_is_read_at_every_step_without_growing_slower(forget):
    """By the calls that it takes, not by a clock."""
    reads = []

    @method("reader", budget=TrialBudget)
    class Reader(RandomSearch):
        def propose(self, count):
            calls = []
            sys.setprofile(lambda *event: calls.append(event))
            rewards = self.rewards
            sys.setprofile(None)
            reads.append((len(rewards), len(calls)))
            return super().propose(count)

    nascore.run("reader", data="nasbench201", trials=400, children=1, progress=False)
    assert [length for length, _ in reads] == list(range(400))
    assert reads[-1][1] == reads[0][1]


def test_any_best_with_the_fields_of_a_trial_will_do(forget):
    class Best:
        def __init__(self, trial):
            self.genotype, self.reward, self.details = trial.genotype, trial.reward, trial.details

    @method("plain", budget=TrialBudget)
    class Plain(RandomSearch):
        def state_dict(self):
            self.best = self.trials[0]
            return super().state_dict()

        @property
        def done(self):
            over = super().done
            self.best = Best(self.trials[0]) if over else self.best
            return over

    found = nascore.run("plain", data="nasbench201", trials=2, progress=False)
    assert found.genotype and "error" not in found.details


# --- tasks ------------------------------------------------------------------------------------------------------------


def test_a_part_without_images_is_said_to_have_none():
    digits = data.load("digits")
    alone = Images("mine", *digits.part("train"), digits.test[:0], digits.test_labels[:0], digits.classes,
                   digits.mean, digits.std, 0, False)  # fmt: skip
    line = "mine: test images: found 0, allowed: at least one"
    with pytest.raises(UserError, match=line):
        alone.batches("test", 8, 0)
    with pytest.raises(UserError, match=line):
        next(alone.in_order("test", 8))
    with pytest.raises(UserError, match=line):
        nascore.train("darts-v2", data=alone, channels=4, cells=3, epochs=1, progress=False)
    trained = nascore.train("darts-v2", data=digits, channels=4, cells=3, epochs=1, batch_size=400, progress=False)
    with pytest.raises(UserError, match=line):
        evaluation.evaluate(trained.model, alone)


@pytest.mark.parametrize("name", ["darts", "enas-micro", "random"])
def test_a_reward_that_is_none_is_refused_by_every_method(name):
    @dataclass(frozen=True)
    class Percent(Images):
        def reward(self, score, count):
            return 100 * score / count

    digits = data.load("digits")
    task = Percent(**vars(digits))
    sizes = dict(channels=4, cells=3, batch_size=360)
    with pytest.raises(UserError) as caught:
        found = nascore.run(name, data=task, budget="smoke", progress=False, **sizes)
        raise UserError(found.history[0]["error"])  # a child's failure does not end a search
    assert "task digits: reward(): found " in str(caught.value)
    assert "allowed: a number from 0 to 1" in str(caught.value)


@pytest.mark.parametrize("content", [[1], "x", 7, None, {"space": []}, {"space": {"name": ["a"]}}])
def test_a_config_of_another_shape_says_nothing_of_a_skeleton(tmp_path, content):
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert formats.skeleton_of(str(tmp_path)) is None
