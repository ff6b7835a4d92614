"""A budget of parameters and multiply-adds between proposal and estimate, in every multi-trial method."""

import dataclasses
import json
import zlib
from random import Random

import numpy as np
import pytest
import torch

import nascore
from nascore import cli, genotypes, spaces
from nascore.constraints import IN_A_ROW, Constraint
from nascore.errors import UserError
from nascore.estimators import Table
from nascore.genotypes import Cell, CellGenotype, Node
from nascore.nets import measure
from nascore.record import load_checkpoint, save_checkpoint
from nascore.search import methods_by_name
from nascore.trials import MultiTrial

SPACE = spaces.get("nasbench201")
METHODS = [name for name, entry in methods_by_name().items() if not entry.one_shot]
TABLE = dict(data="nasbench201", progress=False)
BOUND = 65_537_000  # multiply-adds: a third of the 15,625 cells cost more


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


def proposals_and_violations(method, median, trials, **fields):
    """How many a search proposes, and how many of those that it has evaluated cost more than the median."""
    asked = []

    def estimate(cells):
        asked.extend(cells)
        return [0.5] * len(cells)

    how = dict(space="nasbench201", estimate=estimate, children=50, progress=False)
    found = nascore.run(method, trials=trials, max_multiply_adds=median, **how, **fields)
    violations = [cell for cell in asked if measure.costs(cell, "nasbench201")["multiply_adds"] > median]
    return len(asked) + found.history[-1]["infeasible"], len(violations)


def test_no_violation_in_ten_thousand_proposals_at_the_median(all_costs):
    """Of all methods together: random search and evolution have most of them, policies and PNAS, slower, fewer."""
    median = int(np.median([costs["multiply_adds"] for costs in all_costs]))
    proposals, violations = 0, 0
    runs = {"random": 3500, "evolution": 3500, "nas-rl": 400, "nasnet": 300, "pnas": 200}
    for method, trials in runs.items():
        fields = dict(predictor="lstm", steps=1) if method == "pnas" else {}
        fields |= dict(passes=1) if method == "nasnet" else {}
        found, wrong = proposals_and_violations(method, median, trials, **fields)
        assert found > (trials if method != "pnas" else 50)
        proposals, violations = proposals + found, violations + wrong
    assert proposals >= 10_000 and violations == 0


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
    how = "--data nasbench201 --max-parameters 1000 --children 50 --quiet --out"
    words = ["search", method, *how.split(), str(tmp_path / "run")]
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    found = "all 5 architectures cost" if method == "pnas" else f"{IN_A_ROW:,} architectures in a row cost"
    assert (
        said.count("\n") == 1
        and f"{found} more than parameters 1,000: begin anew in another directory and allow more" in said
    )
    assert load_checkpoint(tmp_path / "run" / "checkpoint.pt")["rows"]["history.jsonl"] == 0


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_search_is_the_same(method, tmp_path):
    how = dict(max_multiply_adds=60_000_000, trials=30, children=5, objective="tradeoff", **TABLE)
    whole = nascore.run(method, **how)
    again = stopped_and_resumed(method, tmp_path / "run", 11, how)
    assert again.history == whole.history and again.genotype == whole.genotype
    with pytest.raises(UserError, match="max_multiply_adds is 60000000, asked for is 70000000"):
        nascore.run(method, directory=tmp_path / "run", resume=True, **{**how, "max_multiply_adds": 70_000_000})


def stopped_and_resumed(method, out, after, how):
    """What a search ends in that was stopped after so many steps, those that only look at costs included."""
    steps = []
    nascore.run(method, directory=out, stop=lambda: len(steps) >= after, **{**how, "progress": steps.append})
    return nascore.run(method, directory=out, resume=True, **how)


@pytest.mark.parametrize("method", METHODS)
def test_a_thousand_in_a_row_end_a_search_that_has_rows_with_its_best(method, tmp_path, capsys, monkeypatch):
    """Here thirty in a row, where one in eight is cheap; a resumed search ends where the whole one does."""

    def cheap_by_chance(genotype, skeleton):
        text = genotypes.to_json(genotype)
        cheap = zlib.crc32(text.encode()) % 8 == 0 or text.count('"none"') > 3  # PNAS's first cells have four
        return {"parameters": 1, "multiply_adds": 1 if cheap else 10}

    monkeypatch.setattr("nascore.trials.IN_A_ROW", 30)
    monkeypatch.setattr("nascore.constraints.costs", cheap_by_chance)
    how = dict(max_multiply_adds=5, trials=500, children=7, **TABLE)
    how |= dict(first=0, predictor="mlp", steps=1) if method == "pnas" else {}
    steps = []
    whole = nascore.run(method, **{**how, "progress": steps.append})
    said = "nascore: 30 architectures in a row cost more than multiply-adds 5: the search ends with what it has found\n"
    assert capsys.readouterr().err == said
    assert whole.finished and 0 < len(whole.history) < 500
    level = whole.history[-1].get("level")
    assert whole.reward == max(row["reward"] for row in whole.history if row.get("level") == level)
    for after in (3, len(steps) - 1):
        again = stopped_and_resumed(method, tmp_path / str(after), after, how)
        assert again.finished and again.history == whole.history and again.genotype == whole.genotype
        rows = (tmp_path / str(after) / "history.jsonl").read_text().splitlines()
        assert [json.loads(row) for row in rows] == json.loads(json.dumps(whole.history))


@pytest.mark.parametrize("method", METHODS)
def test_a_stop_is_heard_between_two_looks_at_costs(method, tmp_path, monkeypatch):
    """Nothing is allowed, and each look takes long: a stop waits for one of them, not for a thousand."""
    looks = []

    def slow(genotype, skeleton):
        looks.append(genotype)
        return {"parameters": 10**6, "multiply_adds": 10**6}

    monkeypatch.setattr("nascore.constraints.costs", slow)
    found = nascore.run(method, max_parameters=1000, directory=tmp_path, stop=lambda: len(looks) >= 3, **TABLE)
    assert not found.finished and len(looks) == 3


def test_costs_are_counted_once_for_each_architecture(monkeypatch):
    counted = []

    def counting(genotype, skeleton):
        counted.append(genotype)
        return measure.costs(genotype, skeleton)

    monkeypatch.setattr("nascore.constraints.costs", counting)
    found = nascore.run("random", max_multiply_adds=BOUND, trials=50, **TABLE)
    proposals = 50 + found.history[-1]["infeasible"]
    assert proposals <= len(counted) <= proposals + 1  # an example is looked at first
    assert len(set(counted)) == len(counted)


def test_random_search_under_a_bound_remembers_over_a_stop_what_it_has_drawn(tmp_path, monkeypatch):
    """In a space of 256 it looks at nothing twice, not even at what cost too much before it was stopped."""
    primitives = ("none", "skip_connect", "conv_1x1", "conv_3x3", "conv_5x5")
    space, looks = spaces.get("darts", nodes=1, primitives=primitives), []

    def half_are_cheap(genotype, skeleton):
        looks.append(genotype)
        return {"parameters": 1 + zlib.crc32(genotypes.to_json(genotype).encode()) % 2}

    monkeypatch.setattr("nascore.constraints.costs", half_are_cheap)
    how = dict(space=space, estimate=lambda cells: [0.5] * len(cells), max_parameters=1, trials=110, progress=False)
    whole = nascore.run("random", **how)
    looks.clear()
    again = stopped_and_resumed("random", tmp_path, 150, how)
    assert again.history == whole.history
    assert len(looks) > 200 and len(looks) - len(set(looks)) <= 2  # the example, in both runs, and what it is drawn as


@pytest.mark.parametrize("skeleton_only", [True, False])
def test_costs_of_cells_in_the_table_s_skeleton_that_are_not_the_table_s(skeleton_only):
    """Counted by the network that is built: their operations are no edges of the table's network."""
    ops = ("sep_conv_3x3", "nor_conv_3x3", "skip_connect") if skeleton_only else ("nor_conv_3x3",) * 3
    nodes = (Node((0,), ops[:1]), Node((0, 1), ops[1:], "add" if skeleton_only else "concat"))
    genotype = CellGenotype(Cell(nodes, (2,), n_inputs=1), None)
    found = measure.describe(genotype, skeleton="nasbench201")
    costs = measure.costs(genotype, "nasbench201")
    assert costs == {name: found[name] for name in ("parameters", "multiply_adds")}


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


def test_a_run_that_is_older_than_bounds_goes_on_after_one_line(tmp_path, capsys):
    out, how = tmp_path / "run", dict(trials=9, **TABLE)
    whole = nascore.run("random", **how)
    steps = []
    nascore.run("random", directory=out, stop=lambda: len(steps) > 3, **{**how, "progress": steps.append})
    state = load_checkpoint(out / "checkpoint.pt")
    for name in ("max_parameters", "max_multiply_adds", "objective"):
        del state["config"]["budget"][name]
    for name in ("infeasible", "in_a_row", "allowed", "rejected", "seen"):
        del state["loop"][name]
    save_checkpoint(out / "checkpoint.pt", state)
    assert nascore.run("random", directory=out, resume=True, **how).history == whole.history
    fields = (
        "max_parameters, which is 0 in it, max_multiply_adds, which is 0 in it, objective, which is 'accuracy' in it"
    )
    assert capsys.readouterr().err == f"nascore: {out} was begun before there was {fields}\n"


def test_the_help_says_which_network_is_bounded():
    """The one of the space's own skeleton, as `nascore describe --skeleton` counts it, whatever the method."""
    for entry in (methods_by_name()[method] for method in METHODS):
        helps = {f.name: f.metadata["help"] for f in dataclasses.fields(entry.budget)}
        for name in ("max_parameters", "max_multiply_adds"):
            assert (
                "`nascore describe --skeleton` counts it in the space's own (nasbench201-cifar for the table)"
                in helps[name]
            )
            assert "darts" not in helps[name]


def test_the_constraint_stands_in_one_place():
    """Between proposal and estimate, in under 60 lines; no method but PNAS, which chooses K of many, asks it itself."""
    import inspect
    from pathlib import Path

    import nascore.constraints

    assert len(inspect.getsource(nascore.constraints).splitlines()) < 60
    users = [p.name for p in (Path(nascore.__file__).parent / "methods").glob("*.py") if "admits" in p.read_text()]
    assert users == ["pnas.py"] and hasattr(MultiTrial, "admits")
