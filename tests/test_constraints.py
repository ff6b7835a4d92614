"""A budget of parameters and multiply-adds between proposal and estimate, in every multi-trial method."""

import json
from random import Random

import numpy as np
import pytest
import torch

import nascore
from nascore import cli, genotypes, spaces
from nascore.constraints import IN_A_ROW, Constraint
from nascore.errors import UserError
from nascore.estimators import Table
from nascore.loop import load_checkpoint
from nascore.nets import measure
from nascore.search import methods_by_name
from nascore.trials import MultiTrial

SPACE = spaces.get("nasbench201")
METHODS = [name for name, entry in methods_by_name().items() if not entry.one_shot]
TABLE = dict(data="nasbench201", progress=False)
MEDIAN = 65_537_000  # about half of the 15,625 cells cost more multiply-adds


@pytest.fixture(scope="module")
def all_costs():
    return [measure.costs(SPACE.decode(divided(code)), "nasbench201") for code in range(SPACE.size())]


def divided(code):
    """The decisions whose digits in base 5 are `code`."""
    return [code // 5**k % 5 for k in reversed(range(6))]


def test_the_table_s_costs_are_those_of_its_networks(all_costs):
    """Counted edge by edge, against the network that `describe` builds; and the benchmark's figures for its largest:
    1.53 million parameters (all 3x3), and 0.073 for nothing but skips."""
    random = Random(0)
    for _ in range(40):
        decisions = SPACE.sample(random)
        found = measure.describe(SPACE.decode(decisions), network="nasbench201-cifar")
        code = int("".join(map(str, decisions)), 5)
        assert all_costs[code] == {name: found[name] for name in ("parameters", "multiply_adds")}
    assert max(costs["parameters"] for costs in all_costs) == 1_531_546
    assert all_costs[int("111111", 5)]["parameters"] == 73_306


@pytest.mark.parametrize("method", METHODS)
def test_nothing_that_costs_too_much_is_evaluated(method):
    bound = 60_000_000
    found = nascore.run(method, max_multiply_adds=bound, max_parameters=500_000, trials=60, **TABLE)
    assert 0 < len(found.history) <= 60
    for row in found.history:
        genotype = genotypes.from_json(json.dumps(row["genotype"]))
        costs = measure.costs(genotype, "nasbench201")
        assert row["parameters"] == costs["parameters"] <= 500_000
        assert row["multiply_adds"] == costs["multiply_adds"] <= bound
        assert row["reward"] == Table()([genotype])[0].reward == row["objective"]
    counts = [row["infeasible"] for row in found.history]
    assert counts == sorted(counts) and counts[-1] > 0
    assert [row["step"] for row in found.history] == list(range(1, len(found.history) + 1))  # rejected are no trials


@pytest.mark.parametrize("method", ["random", "nas-rl"])
def test_no_violation_in_ten_thousand_proposals_at_the_median(method, all_costs):
    median = int(np.median([costs["multiply_adds"] for costs in all_costs]))
    asked = []

    def estimate(cells):
        asked.extend(cells)
        return [0.5] * len(cells)

    found = nascore.run(
        method,
        space="nasbench201",
        estimate=estimate,
        trials=5000,
        children=50,
        max_multiply_adds=median,
        progress=False,
    )
    proposals = len(asked) + found.history[-1]["infeasible"]
    assert proposals > (9_000 if method == "random" else 5_000)
    assert all(measure.costs(cell, "nasbench201")["multiply_adds"] <= median for cell in asked)


def test_a_search_without_bounds_says_nothing_of_costs():
    (row, *_) = nascore.run("random", trials=2, **TABLE).history
    assert not {"parameters", "multiply_adds", "objective", "infeasible"} & row.keys()


# --- what a policy learns -------------------------------------------------------------------------------------------


def test_a_policy_learns_nought_from_what_costs_too_much(monkeypatch):
    """Its gradient is that of the same batch with a reward of 0 for them."""
    seen = []
    nas_rl = methods_by_name()["nas-rl"].build
    monkeypatch.setattr(nas_rl, "improve", lambda self, decisions, advantages: seen.append((decisions, advantages)))
    found = nascore.run("nas-rl", trials=4, children=4, power=1.0, max_multiply_adds=60_000_000, **TABLE)
    rewards = []
    for decisions, advantages in seen:
        assert len(decisions) == len(advantages)
        for one in map(tuple, decisions):
            costs = measure.costs(SPACE.decode(one), "nasbench201")["multiply_adds"]
            rewards.append((costs > 60_000_000, advantages[[*map(tuple, decisions)].index(one)].item()))
    baselines = [advantage for infeasible, advantage in rewards if infeasible]
    assert baselines and found.history[-1]["infeasible"] > 0
    first_decisions, first = seen[0]
    feasible = [measure.costs(SPACE.decode(d), "nasbench201")["multiply_adds"] <= 60_000_000 for d in first_decisions]
    known = [Table()([SPACE.decode(d)])[0].reward if good else 0.0 for d, good in zip(first_decisions, feasible)]
    torch.testing.assert_close(first, torch.tensor(known) - torch.tensor(known).mean(), rtol=1e-4, atol=1e-4)


def test_a_policy_under_a_bound_comes_to_propose_what_is_allowed():
    """A cell of few multiply-adds is a hundredth of the space; after 3,000 proposals the policy mostly writes such."""
    found = nascore.run(
        "nas-rl", trials=600, children=10, learning_rate=0.02, power=1.0, max_multiply_adds=24_000_000, **TABLE
    )
    counts = [row["infeasible"] for row in found.history]
    early, late = counts[99], counts[-1] - counts[-100]
    assert late < early / 2


# --- the objective --------------------------------------------------------------------------------------------------


def test_the_tradeoff_is_mnasnet_s_formula():
    constraint = Constraint("nasbench201", 0, 50_000_000, "tradeoff")
    assert constraint.objective(0.9, {"multiply_adds": 50_000_000, "parameters": 1}) == 0.9
    half = constraint.objective(0.9, {"multiply_adds": 25_000_000, "parameters": 1})
    assert half == pytest.approx(0.9 * 2**0.07)  # "5% accuracy for half the cost"
    assert half / 0.9 == pytest.approx(1.05, abs=5e-4)
    by_parameters = Constraint("nasbench201", 1_000, 0, "tradeoff")
    assert by_parameters.objective(0.5, {"multiply_adds": 7, "parameters": 500}) == pytest.approx(0.5 * 2**0.07)


@pytest.mark.parametrize("method", METHODS)
def test_the_objective_decides_the_best_and_the_reward_stays_the_accuracy(method):
    how = dict(max_multiply_adds=100_000_000, trials=40, **TABLE)
    found = nascore.run(method, objective="tradeoff", **how)
    rows = found.history
    if method == "pnas":  # the best of its largest level
        rows = [row for row in rows if row["level"] == max(row["level"] for row in rows)]
    best = max(rows, key=lambda row: row["objective"])
    for row in rows:
        expected = row["reward"] * (row["multiply_adds"] / 100_000_000) ** -0.07
        assert row["objective"] == pytest.approx(expected)
    assert found.reward == best["reward"] and found.genotype == genotypes.from_json(json.dumps(best["genotype"]))


def test_a_tradeoff_needs_a_target():
    with pytest.raises(
        UserError, match="objective: found 'tradeoff', allowed: accuracy, or with --max-multiply-adds or"
    ):
        nascore.run("random", objective="tradeoff", **TABLE)


# --- bounds that nothing meets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_thousand_in_a_row_end_the_search_in_one_line(method, tmp_path, capsys):
    words = ["search", method, *"--data nasbench201 --max-parameters 1000 --quiet --out".split(), str(tmp_path / "run")]
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    found = "all 5 architectures cost" if method == "pnas" else f"{IN_A_ROW:,} architectures in a row cost"
    assert said.count("\n") == 1 and f"{found} more than parameters 1,000: allow more" in said
    assert load_checkpoint(tmp_path / "run" / "checkpoint.pt")["loop"]["history"] == []


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_search_is_the_same(method, tmp_path):
    how = dict(max_multiply_adds=60_000_000, trials=30, children=5, objective="tradeoff", **TABLE)
    whole = nascore.run(method, **how)
    steps = []
    nascore.run(method, directory=tmp_path / "run", stop=lambda: len(steps) > 10, **{**how, "progress": steps.append})
    again = nascore.run(method, directory=tmp_path / "run", resume=True, **how)
    assert again.history == whole.history and again.genotype == whole.genotype
    with pytest.raises(UserError, match="max_multiply_adds is 60000000, asked for is 70000000"):
        nascore.run(method, directory=tmp_path / "run", resume=True, **{**how, "max_multiply_adds": 70_000_000})


def test_full_size_is_the_space_s_own_network():
    found = nascore.run(
        "random",
        space="darts",
        estimate=lambda cells: [0.5] * len(cells),
        trials=3,
        max_parameters=3_300_000,
        progress=False,
    )
    for row in found.history:
        genotype = genotypes.from_json(json.dumps(row["genotype"]))
        assert row["parameters"] == measure.describe(genotype, network="darts-cifar")["parameters"] <= 3_300_000


def test_the_constraint_stands_in_one_place():
    """Between proposal and estimate, in under 60 lines; no method but PNAS, which chooses K of many, asks it itself."""
    import inspect
    from pathlib import Path

    import nascore.constraints

    assert len(inspect.getsource(nascore.constraints).splitlines()) < 60
    users = [p.name for p in (Path(nascore.__file__).parent / "methods").glob("*.py") if "admits" in p.read_text()]
    assert users == ["pnas.py"] and hasattr(MultiTrial, "admits")
