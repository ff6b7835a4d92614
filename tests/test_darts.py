"""The method against closed forms, autograd and the golden genotypes of the authors' code."""

import dataclasses
import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from nascore import data, spaces
from nascore.errors import UserError
from nascore.methods.darts import (
    DARTS,
    PRODUCTS,
    DARTSBudget,
    architecture_gradient,
    derive,
    exact_product,
    finite_difference,
    unrolled_weights,
)
from nascore.nets.supernet import Supernet, initial_alphas

CPU = torch.device("cpu")


# --- the toy of figure 2: L_val = alpha w - 2 alpha + 1, L_train = w^2 - 2 alpha w + alpha^2 -------------------------


def toy_valid(weights, alphas):
    (w,), (alpha,) = weights, alphas
    return alpha * w - 2 * alpha + 1


def toy_train(weights, alphas):
    (w,), (alpha,) = weights, alphas
    return w**2 - 2 * alpha * w + alpha**2


def toy(w, alpha):
    return [torch.tensor(w, dtype=torch.float64)], [torch.tensor(alpha, dtype=torch.float64, requires_grad=True)]


@pytest.mark.parametrize("hessian", ["exact", "finite-difference"])
@pytest.mark.parametrize("xi", [0.0, 0.1, 0.3, 0.5, 2.0])
def test_toy_hypergradient_equals_the_closed_form(xi, hessian):
    weights, alphas = toy(-2.0, 2.0)
    (gradient,) = architecture_gradient(toy_train, toy_valid, weights, alphas, xi, PRODUCTS[hessian])
    w_ahead = -2.0 - 2 * xi * (-2.0 - 2.0)
    assert gradient.item() == pytest.approx((w_ahead - 2) + 2 * xi * 2.0, abs=1e-9)


@pytest.mark.parametrize("xi", [0.0, 0.1, 0.3, 0.5])
def test_alternating_steps_on_the_toy_end_at_two_over_one_plus_two_xi(xi):
    weights, alphas = toy(-2.0, 2.0)
    for _ in range(2000):
        (gradient,) = architecture_gradient(toy_train, toy_valid, weights, alphas, xi)
        with torch.no_grad():
            alphas[0] -= 0.05 * gradient
            weights[0] -= 0.05 * 2 * (weights[0] - alphas[0])
    assert alphas[0].item() == pytest.approx(2 / (1 + 2 * xi), abs=1e-6)
    assert weights[0].item() == pytest.approx(2 / (1 + 2 * xi), abs=1e-6)


# --- the supernet ---------------------------------------------------------------------------------------------------


def problem(smooth: bool):
    """A supernet in float64 with losses as functions of (weights, alphas), and an optimizer's velocities."""
    torch.manual_seed(0)
    names = [p for p in spaces.DARTS_PRIMITIVES if not (smooth and p == "max_pool_3x3")]
    net = Supernet(names, channels=4, cells=3, activation=F.softplus if smooth else F.relu).double()
    alphas = [(0.001 * a).double().requires_grad_() for a in initial_alphas(net, torch.Generator().manual_seed(0))]
    batches = [(torch.randn(8, 3, 16, 16, dtype=torch.float64), torch.randint(10, (8,))) for _ in range(2)]
    keys = [name for name, _ in net.named_parameters()]

    def loss(batch):
        return lambda weights, alphas: F.cross_entropy(
            torch.func.functional_call(net, dict(zip(keys, weights)), (batch[0], alphas)), batch[1]
        )

    weights = [w.detach() for w in net.parameters()]
    inner = {"velocities": [torch.randn_like(w) for w in weights], "momentum": 0.9, "weight_decay": 3e-4}
    return loss(batches[0]), loss(batches[1]), weights, alphas, inner


def through_the_inner_step(train_loss, valid_loss, weights, alphas, xi, velocities, momentum, weight_decay):
    """Equation 6 differentiated by autograd, the inner step and all."""
    weights = [w.clone().requires_grad_() for w in weights]
    slope = torch.autograd.grad(train_loss(weights, alphas), weights, create_graph=True)
    ahead = [w - xi * (momentum * m + g + weight_decay * w) for w, g, m in zip(weights, slope, velocities)]
    return torch.autograd.grad(valid_loss(ahead, alphas), alphas)


def relative_error(found, wanted):
    found, wanted = (torch.cat([t.flatten() for t in tensors]) for tensors in (found, wanted))
    return ((found - wanted).norm() / wanted.norm()).item()


@pytest.mark.parametrize("smooth", [True, False])
def test_exact_second_order_equals_differentiation_through_the_unrolled_step(smooth):
    train, valid, weights, alphas, inner = problem(smooth)
    wanted = through_the_inner_step(train, valid, weights, alphas, 0.5, **inner)
    found = architecture_gradient(train, valid, weights, alphas, 0.5, exact_product, **inner)
    assert relative_error(found, wanted) < 1e-9


def test_finite_difference_at_the_papers_epsilon_on_a_smooth_supernet():
    train, valid, weights, alphas, inner = problem(smooth=True)
    wanted = through_the_inner_step(train, valid, weights, alphas, 0.5, **inner)
    found = architecture_gradient(train, valid, weights, alphas, 0.5, **inner)
    first = architecture_gradient(train, valid, weights, alphas)
    assert relative_error(found, wanted) < 1e-3
    assert relative_error(first, wanted) > 1e-2  # else the term under test would not be seen


def test_finite_difference_with_relu_and_max_pool_needs_a_small_epsilon():
    train, valid, weights, alphas, inner = problem(smooth=False)
    wanted = through_the_inner_step(train, valid, weights, alphas, 0.5, **inner)
    found = architecture_gradient(train, valid, weights, alphas, 0.5, partial(finite_difference, radius=1e-6), **inner)
    assert relative_error(found, wanted) < 1e-6
    # papers/darts.md: at the paper's radius the probes cross kinks, and the term is far from autograd's.
    v = [torch.randn_like(w) for w in weights]
    product = exact_product(train, weights, alphas, v)
    assert relative_error(finite_difference(train, weights, alphas, v), product) > 0.5
    assert relative_error(finite_difference(train, weights, alphas, v, radius=1e-6), product) < 1e-6


def test_second_order_with_xi_zero_is_first_order():
    train, valid, weights, alphas, inner = problem(smooth=False)
    first = torch.autograd.grad(valid(weights, alphas), alphas)
    assert all(map(torch.equal, architecture_gradient(train, valid, weights, alphas, 0.0, **inner), first))


def test_unrolled_weights_are_a_step_of_torchs_own_sgd():
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(5))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(3):
        weight.grad = torch.randn(5)
        velocity = optimizer.state[weight].get("momentum_buffer")
        velocity = None if velocity is None else [velocity.clone()]
        (ahead,) = unrolled_weights([weight.detach()], [weight.grad], 0.1, velocity, 0.9, 0.01)
        optimizer.step()
        torch.testing.assert_close(ahead, weight.detach())


# --- deriving -------------------------------------------------------------------------------------------------------


def golden(function):
    return torch.tensor([[function(8 * e + k + 1) for k in range(8)] for e in range(14)], dtype=torch.float64)


def pairs(cell):
    return [list(zip(node.ops, node.inputs)) for node in cell.nodes]


def test_golden_genotypes_of_the_authors_code():
    found = derive([golden(math.sin), golden(math.cos)], spaces.get("darts"))
    assert pairs(found.normal) == [
        [("sep_conv_5x5", 1), ("dil_conv_5x5", 0)],
        [("skip_connect", 0), ("avg_pool_3x3", 1)],
        [("skip_connect", 1), ("sep_conv_5x5", 0)],
        [("sep_conv_3x3", 0), ("skip_connect", 4)],
    ]
    assert pairs(found.reduce) == [
        [("sep_conv_3x3", 1), ("sep_conv_5x5", 0)],
        [("sep_conv_5x5", 2), ("avg_pool_3x3", 0)],
        [("skip_connect", 0), ("sep_conv_3x3", 3)],
        [("sep_conv_3x3", 3), ("avg_pool_3x3", 0)],
    ]
    assert found.normal.concat == found.reduce.concat == (2, 3, 4, 5)


def test_ties_go_to_the_earlier_edge_and_the_earlier_operation():
    found = derive([torch.zeros(14, 8)] * 2, spaces.get("darts"))
    assert pairs(found.normal) == pairs(found.reduce) == [[("max_pool_3x3", 0), ("max_pool_3x3", 1)]] * 4


def test_a_strong_none_weakens_its_edge_but_is_never_chosen():
    alpha = torch.zeros(14, 8)
    alpha[0, 0] = 9.0  # `none` takes the mass of edge 0 -> node 0, and edge 0 -> node 1
    alpha[2, 0] = 9.0
    cell = derive([alpha, alpha], spaces.get("darts")).normal
    assert pairs(cell)[1] == [("max_pool_3x3", 1), ("max_pool_3x3", 2)]
    assert pairs(cell)[0] == [("max_pool_3x3", 1), ("max_pool_3x3", 0)]


def test_on_nasbench201_every_edge_keeps_its_strongest_operation_none_included():
    space = spaces.get("nasbench201")
    alpha = torch.zeros(6, 5)
    for edge, k in enumerate((0, 1, 2, 3, 4, 0)):
        alpha[edge, k] = 1.0
    genotype = derive([alpha], space)
    assert genotype.reduce is None
    ops = [op for node in genotype.normal.nodes for op in node.ops]
    assert ops == ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3", "none"]
    assert space.decode(space.encode(genotype)) == genotype


# --- the search -----------------------------------------------------------------------------------------------------


def search(space="darts", **fields):
    budget = DARTSBudget.preset("smoke", **{"channels": 2, "epochs": 1, **fields})
    return DARTS(spaces.get(space), data.load("digits"), budget, 0, CPU)


def test_full_is_the_papers_protocol_to_the_letter():
    budget = DARTSBudget.preset("full")
    assert dataclasses.asdict(budget) == dict(
        epochs=50, batch_size=64, channels=16, cells=8, order=2, hessian="finite-difference", learning_rate=0.025,
        final_learning_rate=0.001, momentum=0.9, weight_decay=3e-4, clip=5.0, alpha_learning_rate=3e-4,
        alpha_weight_decay=1e-3, alpha_scale=1e-3,
    )  # fmt: skip
    found = search()
    assert found.alpha_optimizer.param_groups[0]["betas"] == (0.5, 0.999)


def test_alphas_are_never_in_the_weights_optimizer():
    found = search()
    weights = {id(w) for group in found.weight_optimizer.param_groups for w in group["params"]}
    assert weights.isdisjoint(id(alpha) for alpha in found.alphas)
    assert weights == {id(w) for w in found.supernet.parameters()}
    assert [alpha.shape for alpha in found.alphas] == [(14, 8), (14, 8)]


def test_weights_and_alphas_learn_from_disjoint_halves():
    found = search()
    train, valid = found.task.train, found.task.valid
    assert (len(train), len(valid)) == (719, 718)
    assert torch.equal(torch.cat([train, valid]), data.load("digits").train)
    assert len(found.valid_batches.labels) == 718


def test_the_alpha_step_moves_alphas_alone_and_the_weight_step_weights_alone():
    found = search()
    train, valid = found.train_batches[0], found.valid_batches[0]
    weights, alphas = [w.clone() for w in found.weights], [a.detach().clone() for a in found.alphas]
    found.descend_architecture(train, valid, xi=0.0)
    assert all(map(torch.equal, weights, found.weights))
    assert not any(map(torch.equal, alphas, found.alphas))
    alphas = [a.detach().clone() for a in found.alphas]
    found.descend_weights(train)
    assert all(map(torch.equal, alphas, found.alphas))
    assert not all(map(torch.equal, weights, found.weights))


@pytest.mark.parametrize("fields", [{"order": 2}, {"order": 2, "hessian": "exact"}])
def test_second_order_searches_run(fields):
    found = search(**fields)
    for _ in range(2):
        progress = found.step()
    assert math.isfinite(progress.metrics["loss"]) and 0 <= progress.reward <= 1


def test_a_search_on_nasbench201_quotes_the_tables_figures_of_its_cell():
    found = search("nasbench201")
    found.step()
    assert found.best.genotype.reduce is None
    assert 9.9 <= found.best.details["cifar10_test_200ep"] <= 94.3733


def test_a_loss_that_becomes_nan_stops_the_search_and_says_when():
    found = search()
    found.step()
    with torch.no_grad():
        found.weights[0].fill_(float("nan"))
    with pytest.raises(UserError, match=r"^loss became nan at step 2 of 12 \(epoch 1\)"):
        found.step()


def test_same_seed_same_bits_and_another_seed_another_search():
    first, again = search(), search()
    for _ in range(3):
        first.step(), again.step()
    assert first.history == again.history
    assert all(map(torch.equal, first.alphas, again.alphas))
    other = DARTS(spaces.get("darts"), data.load("digits"), first.budget, 1, CPU)
    other.step()
    assert other.history[0] != first.history[0]
