"""NAS-RL: the policy gradient against enumeration, the baseline, the schedule of depths, the reward, whole searches."""

import dataclasses
import json

import pytest
import torch
from policies import ALL, REWARDS, TINY, expected_reward, flat_gradient, policy

import nascore
from nascore import spaces
from nascore.estimators import Estimate, Table
from nascore.genotypes import ChainGenotype
from nascore.methods.nas_rl import NASRL, NASRLBudget, depth, reinforce
from nascore.policies import moving_average
from nascore.seeding import generator

SMALL = NASRLBudget.preset("reduced", trials=24, children=4, stage=8, first_layers=2, added_layers=1)


def odd_filters(genotypes):
    """A reward that wants many filters."""
    return [sum(layer.filters for layer in g.layers) / (64 * len(g.layers)) for g in genotypes]


@pytest.fixture(scope="module")
def estimates():
    """The policy, its exact gradient of the expected reward, the probability of each architecture, and the estimate
    that each one alone would give, with three baselines: (128, weights)."""
    of = policy()
    log_p = of(ALL).log_probs
    p = log_p.sum(1).exp().detach()
    scores = torch.stack([flat_gradient(reinforce(of([a]).log_probs, torch.ones(1)), of) for a in ALL])
    norms = (p * scores.square().sum(1)).sum()
    best = (p * REWARDS * scores.square().sum(1)).sum() / norms
    baselines = {"none": 0.0, "mean": (p * REWARDS).sum(), "best": best}
    singles = {name: scores * (REWARDS - b)[:, None] for name, b in baselines.items()}
    return of, flat_gradient(expected_reward(of), of), p, singles


@pytest.mark.parametrize("baseline", ["none", "mean", "best"])
def test_the_estimate_is_the_gradient_of_the_expected_reward_whatever_the_baseline(estimates, baseline):
    _, exact, p, singles = estimates
    assert (p @ singles[baseline] - exact).abs().max() < 1e-12 and exact.abs().max() > 1e-4


@pytest.mark.parametrize("baseline", ["none", "mean"])
def test_its_mean_over_samples_is_the_exact_gradient_within_three_standard_errors(estimates, baseline):
    of, exact, _, singles = estimates
    drawn = of.sample(20_000, generator("estimate", 1)).decisions @ 2 ** torch.arange(6, -1, -1)
    directions = torch.stack(
        [exact, *torch.randn(4, len(exact), generator=generator("directions"), dtype=torch.float64)]
    )
    seen = singles[baseline][drawn] @ (directions / directions.norm(dim=1, keepdim=True)).T
    wanted = (directions / directions.norm(dim=1, keepdim=True)) @ exact
    errors = seen.std(0) / len(seen) ** 0.5
    assert torch.all((seen.mean(0) - wanted).abs() < 3 * errors), (seen.mean(0), wanted, errors)


def test_a_baseline_lowers_the_variance_and_the_best_one_lowers_it_most(estimates):
    _, exact, p, singles = estimates
    trace = {name: ((p @ single.square()).sum() - exact.square().sum()).item() for name, single in singles.items()}
    assert trace["best"] <= trace["mean"] < trace["none"] / 100


def test_a_batch_is_the_mean_of_its_children(estimates):
    of, _, _, singles = estimates
    chosen = [3, 70, 70, 127]
    together = flat_gradient(reinforce(of([ALL[k] for k in chosen]).log_probs, REWARDS[chosen]), of)
    assert torch.allclose(together, singles["none"][chosen].mean(0), atol=1e-12)


def test_the_moving_average_is_used_before_it_learns_of_a_batch():
    assert moving_average(None, 0.5, 0.9) == 0.5
    assert moving_average(0.5, 1.0, 0.9) == pytest.approx(0.9 * 0.5 + 0.1)
    search = NASRL(TINY, lambda genotypes: [0.5], dataclasses.replace(SMALL, power=3.0, decay=0.9), seed=0)
    seen = []
    search.improve = lambda decisions, advantages: seen.append(advantages)
    rewards = ([0.8, 0.9], [0.7, 0.95])
    for batch in rewards:
        search.learn([(0,) * 7] * 2, batch)
    cubes = [[r**3 for r in batch] for batch in rewards]
    assert seen[0].tolist() == pytest.approx([c - sum(cubes[0]) / 2 for c in cubes[0]], abs=1e-6)
    first = 0.9 * cubes[0][0] + 0.1 * cubes[0][1]
    assert seen[1].tolist() == pytest.approx([c - first for c in cubes[1]], abs=1e-6)
    assert search.baseline == pytest.approx(0.9 * (0.9 * first + 0.1 * cubes[1][0]) + 0.1 * cubes[1][1], abs=1e-6)


def test_the_depth_grows_by_two_every_1600_children():
    assert [depth(k) for k in (0, 1599, 1600, 3200, 12_799)] == [6, 6, 8, 10, 20]
    assert NASRL.own_space(NASRLBudget.preset("full")).layers == 20
    assert NASRL.own_space(NASRLBudget.preset("full", strides=1)).size() == 2**310 * 9**20


def test_full_is_the_paper_s_own():
    full = NASRLBudget.preset("full")
    assert (full.trials, full.children, full.child_epochs, full.last_epochs, full.stage) == (12_800, 8, 50, 5, 1600)
    assert (full.learning_rate, full.hidden, full.power, full.recipe) == (6e-4, 35, 3.0, "nas-rl-child")
    search = NASRL(spaces.get("nas-rl"), odd_filters, full, seed=0)
    assert [cell.hidden_size for cell in search.controller.lstm] == [35, 35]
    assert max(p.abs().max() for p in search.controller.parameters()) <= 0.08


def test_a_search_grows_its_children_and_learns():
    result = nascore.run("nas-rl", estimate=odd_filters, budget=SMALL, trials=400, stage=200, progress=False)
    layers = [len(row["genotype"]["layers"]) for row in result.history]
    assert layers == [2] * 200 + [3] * 200 and isinstance(result.genotype, ChainGenotype)
    rewards = [row["reward"] for row in result.history]
    assert sum(rewards[150:200]) / 50 > sum(rewards[:50]) / 50 + 0.08
    assert sum(rewards[350:]) / 50 > sum(rewards[:50]) / 50 + 0.1
    assert result.history[-1]["entropy"] < result.history[200]["entropy"]


def test_the_children_of_a_batch_have_one_depth():
    result = nascore.run("nas-rl", estimate=odd_filters, budget=SMALL, trials=10, children=4, stage=5, progress=False)
    assert [len(row["genotype"]["layers"]) for row in result.history] == [2] * 5 + [3] * 5


@pytest.mark.parametrize("method", ["nas-rl", "nasnet"])
def test_the_expected_accuracy_of_the_policy_rises_on_the_table(method):
    entry, table, bench = nascore.search.get(method), Table(), spaces.get("nasbench201")
    search = entry.build(bench, table, entry.budget.preset("reduced", trials=300), seed=0)

    def mean():
        drawn = search.controller.sample(500, generator("mean"))
        return sum(e.reward for e in table([bench.decode(d) for d in drawn.lists()])) / 500

    before = mean()
    while not search.done:
        search.step()
    assert before == pytest.approx(0.6885, abs=0.03)  # that of all cells
    assert mean() > 0.75


@pytest.mark.parametrize("method", ["nas-rl", "nasnet"])
@pytest.mark.parametrize("at_once", [3, 100])
def test_a_search_stopped_within_a_batch_goes_on_to_the_same_bits(tmp_path, method, at_once):
    class Count:
        def __init__(self):
            self.at_once, self.calls = at_once, []

        def __call__(self, genotypes):
            self.calls.append(len(genotypes))
            return [Estimate(len(str(g)) % 7 / 7) for g in genotypes]

    def run(**options):
        return nascore.run(method, estimate=estimate, trials=13, children=5, progress=False, seed=3, **options)

    estimate = Count()
    whole = run()
    assert max(estimate.calls) == min(at_once, 5)
    estimate = Count()
    run(directory=tmp_path, stop=lambda: sum(estimate.calls) >= 7)
    assert sum(estimate.calls) < 13
    resumed = run(directory=tmp_path, resume=True)
    assert resumed.history == whole.history and resumed.genotype == whole.genotype
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == whole.history and len(lines) == 13


def test_a_child_that_fails_earns_nothing_and_the_controller_learns_that():
    def wide_fails(genotypes):
        return [Estimate(0.0, error="out of memory") if g.layers[0].filters > 12 else Estimate(0.5) for g in genotypes]

    result = nascore.run("nas-rl", estimate=wide_fails, budget=SMALL, trials=300, stage=300, progress=False)
    failed = ["error" in row for row in result.history]
    assert sum(failed[:60]) > 15 and sum(failed[-60:]) < 10
