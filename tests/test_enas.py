"""ENAS: the controller's logits, the two phases and what each leaves alone, the baseline, the skip prior."""

import dataclasses
import math

import pytest
import torch

import nascore
from nascore import data, search, spaces
from nascore.errors import UserError
from nascore.estimators import SharedWeights
from nascore.methods.enas import ENAS, MacroBudget, MicroBudget, skip_prior, squash

SMALL = dict(epochs=1, batch_size=256, channels=2, cells=3, validation=0.3, controller_steps=2, samples=3, derived=2)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def enas(digits, name="enas-micro", space=None, **fields):
    entry = search.get(name)
    budget = entry.budget.preset("smoke", **SMALL | fields)
    return ENAS(space or ENAS.own_space(budget), digits, budget, 0, torch.device("cpu"))


def snapshot(module):
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def same(module, before):
    return all(torch.equal(p, before[name]) for name, p in module.named_parameters())


# --- section 2.1 ----------------------------------------------------------------------------------------------------


def test_logits_are_bounded_by_the_tanh_constant():
    logits = squash(torch.tensor([-50.0, 0.0, 50.0]), 2.5, 5.0)
    assert logits.tolist() == pytest.approx([-2.5, 0, 2.5])
    assert (logits[2] - logits[0]).exp().item() == pytest.approx(148.4, abs=0.05)  # e^5: the largest odds
    assert squash(torch.tensor([3.0]), 0.0, 2.0).item() == 1.5 and squash(torch.tensor([3.0]), 0.0).item() == 3.0


def test_without_weights_the_authors_biases_make_the_probabilities(digits):
    search = enas(digits)
    bias = search.controller.heads[search.controller.kinds.index("op")].head.bias
    kept = bias.detach().clone()
    with torch.no_grad():
        for p in search.controller.parameters():
            p.zero_()
        bias.copy_(kept)
    decisions = [[0] * 40]
    for op in range(5):
        decisions.append([0, op] + [0] * 38)  # the first operation of the normal cell
        decisions.append([0] * 20 + [0, op] + [0] * 18)  # of the reduction cell
    p = search.controller(decisions).log_probs.exp()
    normal, reduce = [p[1 + 2 * op, 1].item() for op in range(5)], [p[2 + 2 * op, 21].item() for op in range(5)]
    assert normal == pytest.approx([0.3153, 0.3153, 0.1232, 0.1232, 0.1232], abs=1e-4)
    assert reduce == pytest.approx([0.2543, 0.2543, 0.1638, 0.1638, 0.1638], abs=1e-4)


def test_a_skip_is_sampled_with_sigmoid_of_twice_its_score(digits):
    search = enas(digits, "enas-macro", layers=3, tanh_constant=0.0)
    skip = search.controller.heads[search.controller.kinds.index("skip")]
    found = []
    logits, skip.logits = skip.logits, lambda state, anchors: found.append(logits(state, anchors)) or found[-1]
    written = search.controller([[0, 0, 1, 0, 1, 1]])
    q = torch.cat([score[..., 1] for score in found], 1)
    assert torch.allclose(written.log_probs[:, [2, 4, 5]].exp(), torch.sigmoid(2 * q), atol=1e-6)


@pytest.mark.parametrize(
    "name, fields, size", [("enas-micro", {"nodes": 5}, 41_733 + 2 * 64), ("enas-macro", {"layers": 12}, 41_856)]
)
def test_the_controllers_are_as_large_as_the_authors(digits, name, fields, size):
    """Beyond theirs, in the micro space: the anchors of the two inputs are learned."""
    assert sum(p.numel() for p in enas(digits, name, **fields).controller.parameters()) == size


def test_after_the_skips_it_reads_their_anchors_over_one_more_than_there_are(digits):
    search = enas(digits, "enas-macro", layers=4)
    skip = search.controller.heads[search.controller.kinds.index("skip")]
    anchors = torch.arange(6.0).view(1, 3, 2)
    assert skip.read(torch.tensor([[1, 0, 1]]), anchors)[0].tolist() == pytest.approx([(0 + 4) / 3, (1 + 5) / 3])
    assert skip.read(torch.tensor([[0, 0, 0]]), anchors).tolist() == [[0, 0]]


def test_the_skip_prior_at_even_odds():
    assert skip_prior(torch.tensor(0.5)).item() == pytest.approx(0.020411, abs=1e-6)
    assert skip_prior(torch.tensor(0.4)).item() == pytest.approx(0, abs=1e-7)
    assert skip_prior(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([-math.log(0.6), -math.log(0.4)], abs=1e-4)


@pytest.mark.parametrize("probability", ["code", "sampled"])
def test_the_prior_of_twelve_layers_without_weights(digits, probability):
    search = enas(digits, "enas-macro", layers=12, skip_probability=probability)
    with torch.no_grad():
        for p in search.controller.parameters():
            p.zero_()
    prior = search.prior(search.controller(search.sample(4, "here").decisions))
    assert prior.item() == pytest.approx(0.122466, abs=1e-5)  # 66 pairs over the 11 layers that have any


# cifar10_micro_search.sh and cifar10_macro_search.sh, with the defaults of the code behind them.
SCRIPTS = dict(
    epochs=(150, 310), batch_size=(160, 128), channels=(20, 36), validation=(0.1, 0.1), learning_rate=(0.05, 0.05),
    final_learning_rate=(0.0005, 0.0005), period=(10, 10), momentum=(0.9, 0.9), weight_decay=(2 * 1e-4, 2 * 2.5e-4),
    controller_steps=(30, 50), samples=(10, 20), controller_learning_rate=(0.0035, 0.001), beta1=(0.0, 0.0),
    epsilon=(1e-3, 1e-3), tanh_constant=(1.1, 1.5), op_tanh_reduce=(2.5, 1.0), temperature=(0.0, 0.0),
    operation_bias=(10.0, 0.0), normal_bonus=(0.25, 0.0), entropy_weight=(1e-4, 1e-4), entropy=("full", "sampled"),
    decay=(0.99, 0.99), skip_weight=(0.0, 0.8), skip_target=(0.4, 0.4), skip_probability=("code", "code"),
    hidden=(64, 64), clip=(0.0, 0.0), sampler=("controller", "controller"), derived=(10, 10),
)  # fmt: skip


def test_full_is_what_the_authors_scripts_say():
    micro, macro = (dataclasses.asdict(cls.preset("full")) for cls in (MicroBudget, MacroBudget))
    assert {name: (micro[name], macro[name]) for name in SCRIPTS} == SCRIPTS
    assert micro.keys() - SCRIPTS.keys() == {"nodes", "cells"} and (micro["nodes"], micro["cells"]) == (5, 8)
    assert macro.keys() - micro.keys() == {"layers"} and macro["layers"] == 12


def test_the_controller_steps_as_tensorflow_s_adam_does(digits):
    """Its update as TensorFlow documents it, by hand: lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon)."""
    for constants in ({}, dict(beta1=0.9, epsilon=0.1)):
        search = enas(digits, **constants)
        beta1, epsilon, rate = search.budget.beta1, search.budget.epsilon, search.budget.controller_learning_rate
        weights = [p for p in search.controller.parameters()]
        m, v = ([torch.zeros_like(p, dtype=torch.float64) for p in weights] for _ in range(2))
        for step in range(4):
            before = [p.detach().clone().double() for p in weights]
            search.train_controller(step)
            for k, p in enumerate(weights):
                g = torch.zeros_like(p) if p.grad is None else p.grad
                m[k] = beta1 * m[k] + (1 - beta1) * g.double()
                v[k] = 0.999 * v[k] + 0.001 * g.double() ** 2
                scale = rate * (1 - 0.999 ** (step + 1)) ** 0.5 / (1 - beta1 ** (step + 1))
                expected = before[k] - scale * m[k] / (v[k].sqrt() + epsilon)
                assert torch.allclose(p.detach().double(), expected, atol=1e-7, rtol=1e-4)
        moved = max((p.detach() - b).abs().max().item() for p, b in zip(weights, before))
        assert moved > 1e-5  # by far more than the tolerance


# --- section 2.2: two phases ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["enas-micro", "enas-macro"])
def test_each_phase_leaves_the_other_s_parameters_alone(digits, name):
    search = enas(digits, name, layers=3) if name == "enas-macro" else enas(digits)
    omega, theta = snapshot(search.supernet), snapshot(search.controller)
    search.train_shared(0, 0)
    assert same(search.controller, theta) and not same(search.supernet, omega)
    assert all(p.grad is None for p in search.controller.parameters())
    search.weight_optimizer.zero_grad()
    omega = snapshot(search.supernet)
    search.train_controller(0)
    assert same(search.supernet, omega) and not same(search.controller, theta)
    assert all(p.grad is None for p in search.supernet.parameters())


def test_weights_see_training_images_and_rewards_validation_images_each_another_minibatch():
    pixels = torch.arange(60, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8).contiguous()
    labels = torch.arange(60) % 3
    marked = data.Images("marked", pixels, labels, pixels, labels, tuple("abc"), (0.0,) * 3, (1.0,) * 3, 2, True)
    search = enas(marked, batch_size=10, validation=0.5, samples=3)  # an image's value is its number
    supernet, seen, plain = search.supernet, [], []

    def watched(images, genotype):
        seen.append({round(255 * value) for value in images.amax((1, 2, 3)).tolist()})
        plain.append(bool((images == images[:, :1, :1, :1]).all()))
        return supernet(images, genotype)

    search.supernet = watched
    halves = [set(part[:, 0, 0, 0].tolist()) for part in (search.task.train, search.task.valid)]
    assert [len(half) for half in halves] == [30, 30] and not halves[0] & halves[1]
    for k in range(3):
        search.train_shared(0, k)
    search.train_controller(0)
    assert set.union(*seen[:3]) == halves[0] and set.union(*seen[3:]) == halves[1]
    assert not any(plain[:3]) and all(plain[3:])  # only training images are shifted within their border of zeros


@pytest.mark.parametrize("entropy", ["full", "sampled"])
@pytest.mark.parametrize("probability, target", [("code", 0.4), ("sampled", 0.4), ("sampled", 0.2)])
def test_the_controller_s_loss_is_reinforce_and_the_prior(digits, entropy, probability, target, monkeypatch):
    fields = dict(entropy=entropy, skip_probability=probability, skip_target=target, skip_weight=0.8, tanh_constant=0.0)
    search = enas(digits, "enas-macro", layers=3, samples=4, entropy_weight=0.1, decay=0.9, **fields)
    with torch.no_grad():
        for p in search.controller.parameters():
            p.mul_(10)  # far from even odds
    accuracies, losses, backward = iter([0.1, 0.7, 0.3, 0.9]), [], torch.Tensor.backward
    monkeypatch.setattr(search, "rewards", lambda genotypes, minibatches: [next(accuracies) for _ in genotypes])
    decisions = search.sample(4, "controller", 0).decisions
    with torch.no_grad():
        written = search.controller(decisions)
    monkeypatch.setattr(torch.Tensor, "backward", lambda loss: losses.append(loss.item()) or backward(loss))
    search.train_controller(0)

    baseline = expected = 0.0
    for reward, log_p, h in zip([0.1, 0.7, 0.3, 0.9], written.log_probs.tolist(), written.entropies.tolist()):
        reward += 0.1 * (sum(h) if entropy == "full" else -sum(x * math.exp(x) for x in log_p))
        baseline = 0.9 * baseline + 0.1 * reward
        expected -= (reward - baseline) * sum(log_p) / 4
    for row, log_p in zip(decisions.tolist(), written.log_probs.tolist()):
        for at in (2, 4, 5):  # the one skip of layer 2, the two of layer 3; the prior is the mean over the two layers
            p = math.exp(log_p[at]) if row[at] else 1 - math.exp(log_p[at])  # sigmoid(2 q)
            q = math.log(p / (1 - p)) / 2
            p = 1 / (1 + math.exp(-q)) if probability == "code" else p
            kl = p * math.log(p / target) + (1 - p) * math.log((1 - p) / (1 - target))
            expected += 0.8 * kl / 2 / 4
    assert losses[0] == pytest.approx(expected, rel=1e-4)


def test_a_controller_that_runs_away_ends_in_one_line(digits, monkeypatch):
    search = enas(digits)
    monkeypatch.setattr(search, "rewards", lambda genotypes, minibatches: [math.inf] * len(genotypes))
    with pytest.raises(UserError, match="controller's loss became .*: lower --controller-learning-rate"):
        search.train_controller(0)


def test_the_optimisers_are_the_authors(digits):
    search = enas(digits)
    theta, omega = search.controller_optimizer.defaults, search.weight_optimizer.defaults
    assert (theta["lr"], theta["betas"], theta["eps"]) == (0.0035, (0.0, 0.999), 1e-3)
    assert (omega["momentum"], omega["nesterov"], omega["weight_decay"]) == (0.9, True, 2e-4)
    ours = enas(digits, beta1=0.9, epsilon=1e-8).controller_optimizer.defaults
    assert (ours["betas"], ours["eps"]) == ((0.9, 0.999), 1e-8)


def test_the_learning_rate_of_the_weights_restarts(digits):
    search, rates = enas(digits, period=1, learning_rate=0.4, final_learning_rate=0.1), []
    for epoch in range(4):
        search.train_shared(epoch, 0)
        rates.append(search.weight_optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.4, 0.4, 0.25, 0.4])  # one epoch, two, and the first of four


def test_a_step_is_as_long_as_clipping_allows_and_weights_off_the_path_stay(digits):
    plain = dict(momentum=0.0, weight_decay=0.0, learning_rate=1.0)

    def length(**fields):
        search = enas(digits, **plain, **fields)
        before = snapshot(search.supernet)
        search.train_shared(0, 0)
        return math.sqrt(
            sum((p - before[name]).square().sum().item() for name, p in search.supernet.named_parameters())
        )

    assert length(clip=0.01) == pytest.approx(0.01, rel=1e-3) and length() > 0.05

    search = enas(digits, batch_size=64)  # with momentum and decay
    for k in range(3):
        search.train_shared(0, k)
    before = snapshot(search.supernet)
    search.train_shared(0, 3)
    idle = {name for name, p in search.supernet.named_parameters() if p.grad is None}
    assert idle and all(torch.equal(p, before[name]) for name, p in search.supernet.named_parameters() if name in idle)
    assert not same(search.supernet, before)


def test_the_best_of_the_samples_on_one_minibatch_is_derived(digits, monkeypatch):
    search, asked = enas(digits, derived=6), []

    def accuracy(genotype, minibatch):
        asked.append((genotype, minibatch))
        return 1 / (1 + abs(len(asked) - 4))  # the fourth is the best

    monkeypatch.setattr(search, "rewards", lambda genotypes, minibatches: list(map(accuracy, genotypes, minibatches)))
    assert search.derive() == asked[3][0] and len({genotype for genotype, _ in asked}) == 6
    assert {minibatch for _, minibatch in asked} == {0}


def test_every_minibatch_has_an_architecture_of_its_own(digits):
    search = enas(digits, batch_size=64)
    while not search.done:
        search.step()
    shared = [row["genotype"] for row in search.history if row["phase"] == "shared"]
    assert len(shared) == search.train_batches.per_epoch == len({str(genotype) for genotype in shared})
    assert [row["phase"] for row in search.history[-2:]] == ["controller"] * 2


def test_the_baseline_takes_a_reward_in_before_it_is_subtracted(digits):
    search = enas(digits, samples=1, decay=0.9, entropy_weight=0.0)
    search.baseline = before = 0.3
    losses = []
    backward = torch.Tensor.backward
    try:
        torch.Tensor.backward = lambda loss: losses.append(loss.item()) or backward(loss)
        _, reward, metrics = search.train_controller(0)
    finally:
        torch.Tensor.backward = backward
    assert metrics["baseline"] == pytest.approx(0.9 * before + 0.1 * reward)
    fresh = enas(digits, samples=1)
    log_p = fresh.controller(fresh.sample(1, "controller", 0).decisions).log_probs.sum().item()
    assert losses[0] == pytest.approx(-log_p * 0.9 * (reward - before), rel=1e-4)  # R - b_new = d (R - b_old)


def test_the_controller_learns_what_earns_more_as_far_as_its_logits_reach(digits, monkeypatch):
    def learned(**fields):
        adam = dict(samples=20, controller_learning_rate=0.02, beta1=0.9, epsilon=1e-8)
        search = enas(digits, space=spaces.get("nasbench201"), **adam, **fields)
        monkeypatch.setattr(search, "rewards", lambda genotypes, _: list(map(share_of_convolutions, genotypes)))
        rewards = [search.train_controller(step)[1] for step in range(80)]
        assert rewards[0] < 0.35
        return sum(rewards[-20:]) / 20

    assert learned(tanh_constant=0.0) > 0.8
    bound = math.exp(0.44) / (math.exp(0.44) + 4 * math.exp(-0.44))  # the scripts' 1.1 / 2.5: no option reaches more
    assert bound == pytest.approx(0.376, abs=1e-3)
    assert 0.25 < learned() < bound + 4 * math.sqrt(bound * (1 - bound) / (20 * 20 * 6))


def share_of_convolutions(genotype):
    return [op for node in genotype.normal.nodes for op in node.ops].count("nor_conv_3x3") / 6


def test_uniform_sampling_trains_no_controller(digits):
    search = enas(digits, sampler="uniform")
    theta = snapshot(search.controller)
    while not search.done:
        search.step()
    assert same(search.controller, theta) and {row["phase"] for row in search.history} == {"shared"}
    drawn = search.sample(4000, "uniform").decisions[:, 1].bincount() / 4000
    assert drawn.tolist() == pytest.approx([0.2] * 5, abs=4 * math.sqrt(0.2 * 0.8 / 4000))


def test_a_resumed_search_ends_in_the_same_bits(digits, tmp_path):
    for name, more in (("enas-micro", {}), ("enas-macro", {"layers": 3})):
        whole, first = enas(digits, name, **more), enas(digits, name, **more)
        while not whole.done:
            whole.step()
        for _ in range(whole.total // 2):
            first.step()
        torch.save(first.state_dict(), tmp_path / "state.pt")
        second = enas(digits, name, **more)
        second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        while not second.done:
            second.step()
        assert second.history == whole.history and second.best == whole.best
        assert same(second.supernet, snapshot(whole.supernet)) and same(second.controller, snapshot(whole.controller))


def test_shared_weights_are_an_estimator_for_any_multi_trial_search(digits):
    space = spaces.get("nasbench201")
    search = enas(digits, space=space)
    estimate = SharedWeights(search.supernet, search.task, 100)
    found = nascore.run("random", space=space, estimate=estimate, trials=3, progress=False)
    assert found.reward == max(row["reward"] for row in found.history) == estimate([found.genotype])[0]
    before = estimate.name
    assert before == SharedWeights(search.supernet, search.task).name  # the same weights, the same rewards
    search.step()
    assert estimate.name != before


def test_no_image_is_scored_alone(digits):
    sizes = []
    few = dataclasses.replace(digits, valid=digits.test[:33], valid_labels=digits.test_labels[:33])

    def supernet(images, genotype):
        sizes.append(len(images))
        return torch.nn.functional.one_hot(torch.zeros(len(images), dtype=torch.long), 10)

    zeros = (few.valid_labels == 0).double().mean().item()
    assert SharedWeights(supernet, few, 32)(["any"]) == [pytest.approx(zeros)]
    assert sum(sizes) == 33 and min(sizes) > 1


def test_a_space_named_as_its_own_keeps_the_budget_s_size(digits):
    how = dict(budget="smoke", data=digits, progress=False)
    for space in (None, "enas-micro"):
        assert len(nascore.run("enas-micro", space=space, nodes=1, **SMALL, **how).genotype.normal.nodes) == 1
    few = SMALL | {"layers": 2}
    assert len(nascore.run("enas-macro", space="enas-macro", **few, **how).genotype.layers) == 2


def test_on_nasbench201_the_found_cell_is_looked_up_in_the_table(digits):
    result = nascore.run("enas-micro", space="nasbench201", budget="smoke", data=digits, progress=False, **SMALL)
    assert 10 <= result.details["cifar10_test_200ep"] <= 94.3733


def test_the_best_is_scored_on_all_validation_images(digits):
    search = enas(digits, batch_size=64)
    best = search.best
    images = search.task.normalise(search.task.valid)
    with torch.no_grad():
        right = [search.supernet(part, best.genotype).argmax(1) for part in images.tensor_split(len(images) // 64)]
    accuracy = (torch.cat(right) == search.task.valid_labels).double().mean().item()
    assert best.reward == pytest.approx(accuracy, abs=1e-9) and len(images) > 2 * 64


# --- does sharing rank? ---------------------------------------------------------------------------------------------
