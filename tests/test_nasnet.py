"""NASNet's policy optimization: the clipped objective case by case, its first gradient, the settings of the paper."""

import dataclasses

import pytest
import torch
from policies import ALL, REWARDS, TINY, flat_gradient, policy

import nascore
from nascore.methods.nas_rl import reinforce
from nascore.methods.nasnet import NASNet, NASNetBudget, clipped_objective

LOG = torch.log


@pytest.mark.parametrize(
    "ratio, advantage, value, slope",  # by hand, for epsilon = 0.2; the slope is that in log P: r A, or 0 where clipped
    [
        (1.0, 0.5, 0.5, 0.5),
        (1.1, 0.5, 0.55, 0.55),
        (1.5, 0.5, 0.6, 0.0),  # no more to gain
        (0.5, 0.5, 0.25, 0.25),  # too unlikely by now: it may come back
        (1.0, -0.5, -0.5, -0.5),
        (0.9, -0.5, -0.45, -0.45),
        (0.5, -0.5, -0.4, 0.0),  # unlikely enough
        (1.5, -0.5, -0.75, -0.75),  # too likely by now: it must go back
        (1.3, 0.0, 0.0, 0.0),
    ],
)
def test_the_clipped_objective_case_by_case(ratio, advantage, value, slope):
    log_probs = LOG(torch.tensor([[0.3 * ratio]], dtype=torch.float64)).requires_grad_()
    old = LOG(torch.tensor([[0.3]], dtype=torch.float64))
    objective = clipped_objective(log_probs, old, torch.tensor([advantage], dtype=torch.float64), 0.2)
    objective.backward()
    assert objective.item() == pytest.approx(value, abs=1e-12)
    assert log_probs.grad.item() == pytest.approx(slope, abs=1e-12)


def test_every_decision_has_a_ratio_of_its_own():
    old = torch.zeros(2, 3, dtype=torch.float64)
    moved = LOG(torch.tensor([[1.0, 2.0, 0.5], [1.1, 0.5, 1.0]], dtype=torch.float64))
    value = clipped_objective(moved, old, torch.tensor([1.0, -1.0], dtype=torch.float64), 0.2)
    assert value.item() == pytest.approx(((1 + 1.2 + 0.5) + (-1.1 - 0.8 - 1.0)) / 2, abs=1e-12)


def test_at_ratio_one_its_gradient_is_the_policy_gradient():
    of, chosen = policy(), [5, 17, 99, 127]
    log_probs = of([ALL[k] for k in chosen]).log_probs
    advantages = REWARDS[chosen] - 0.9
    ppo = flat_gradient(clipped_objective(log_probs, log_probs.detach(), advantages, 0.2), of)
    assert (ppo - flat_gradient(reinforce(log_probs, advantages), of)).abs().max() < 1e-12 < ppo.abs().max()


def test_each_pass_is_held_near_the_policy_that_wrote_the_batch():
    budget = NASNetBudget.preset("full", learning_rate=5e-4, passes=400, entropy_weight=0.0)

    def ratios(**fields):
        search = NASNet(TINY, None, dataclasses.replace(budget, **fields), seed=0)
        old = search.controller([ALL[99]]).log_probs.detach()
        search.improve([tuple(ALL[99])], torch.tensor([0.5]))
        return (search.controller([ALL[99]]).log_probs.detach() - old).exp()

    assert 1.15 < ratios(epsilon=0.2).mean() < 1.4 and ratios(epsilon=10.0).mean() > 1.7


def test_one_pass_takes_one_step_of_adam_on_objective_and_entropy():
    budget = NASNetBudget.preset("full", passes=1, entropy_weight=0.7)
    search = NASNet(TINY, None, budget, seed=0)
    decisions, advantages = [tuple(ALL[k]) for k in (5, 17)], torch.tensor([0.5, -0.5])
    written = search.controller(decisions)
    wanted = reinforce(written.log_probs, advantages) + 0.7 * written.entropies.sum(1).mean()
    gradient, before = flat_gradient(wanted, search.controller), flat(search.controller)
    search.improve(decisions, advantages)
    step = budget.learning_rate * gradient / (gradient.abs() + 1e-8)  # Adam's first
    assert torch.allclose(flat(search.controller), before + step, atol=1e-6)


def flat(of) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in of.parameters()])


def test_entropy_keeps_the_policy_open():
    def last_entropy(weight):
        options = dict(budget="reduced", trials=400, children=10, entropy_weight=weight, progress=False)
        return nascore.run("nasnet", data="nasbench201", **options).history[-1]["entropy"]

    assert last_entropy(0.05) > last_entropy(0.0) + 1


def test_full_is_the_paper_s_own():
    full = NASNetBudget.preset("full")
    assert (full.trials, full.children, full.learning_rate, full.entropy_weight) == (20_000, 20, 3.5e-4, 1e-5)
    assert (full.decay, full.hidden, full.child_epochs, full.cells) == (0.95, 100, 20, 8)
    search = NASNet(nascore.search.spaces.get("nasnet"), None, full, seed=0)
    assert [cell.hidden_size for cell in search.controller.lstm] == [100] and len(search.controller.counts) == 50
    assert 0.0999 < max(p.abs().max() for p in search.controller.parameters()) <= 0.1
