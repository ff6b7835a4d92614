"""The training loop against PyTorch's own parts, and bit for bit against itself."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nascore import data
from nascore.data import Images
from nascore.errors import UserError
from nascore.genotypes import Cell, CellGenotype, Node
from nascore.images import Batches
from nascore.nets.convolutional import Network
from nascore.published import GENOTYPES
from nascore.seeding import seeded
from nascore.training import (
    RECIPES,
    Recipe,
    Training,
    cosine,
    evaluate,
    recipe_named,
    warm_restarts,
)


def images(count=24, side=32, classes=3):
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 3, side, side), generator=random, dtype=torch.uint8)
    labels = torch.randint(classes, (count,), generator=random)
    half = (0.5,) * 3
    return Images("noise", pixels, labels, pixels, labels, tuple("abcdefgh"[:classes]), half, half, 4, True)


def linear(images):
    with seeded(0, "linear"):
        return nn.Sequential(nn.Flatten(), nn.Linear(images.train[0].numel(), len(images.classes)))


# --- recipes --------------------------------------------------------------------------------------------------------


def test_darts_cifar_is_the_paper_s_to_the_letter():
    """DARTS, A.2.1 and the authors' train.py."""
    assert dataclasses.asdict(RECIPES["darts-cifar"]) == {
        "channels": 36,
        "cells": 20,
        "epochs": 600,
        "batch_size": 96,
        "learning_rate": 0.025,
        "final_learning_rate": 0.0,
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 3e-4,
        "clip": 5.0,
        "cutout": 16,
        "auxiliary_weight": 0.4,
        "drop_path": 0.2,
        "period": 0,
        "decay_all": True,
    }


def test_the_final_networks_of_enas_are_trained_as_the_authors_scripts_say():
    micro, macro = RECIPES["enas-cifar"], RECIPES["enas-macro-cifar"]
    assert (micro.channels, micro.cells, micro.epochs, micro.batch_size) == (36, 15 + 2, 630, 144)
    assert (macro.channels, macro.cells, macro.epochs, macro.batch_size) == (96, 24, 310, 100)
    assert (micro.learning_rate, micro.final_learning_rate, macro.final_learning_rate) == (0.05, 0.0001, 0.001)
    assert micro.nesterov and macro.nesterov and micro.weight_decay == macro.weight_decay == 2 * 2e-4
    assert (micro.period, macro.period, micro.clip, macro.clip) == (10, 10, 0, 0)
    assert (micro.auxiliary_weight, micro.drop_path) == (0.4, pytest.approx(1 - 0.6))


def test_restarts_end_where_enas_s_epochs_do():
    rates = [warm_restarts(0.05, 0.001, epoch, 10) for epoch in range(631)]
    assert rates[0] == 0.05 and rates[5] == pytest.approx(0.0255)
    assert [epoch for epoch in range(1, 631) if rates[epoch] == 0.05] == [10, 30, 70, 150, 310, 630]


def test_a_training_with_a_period_begins_again():
    noise, rates = images(), []
    recipe = Recipe(1, 1, 7, len(noise.train), 0.4, 0.1, period=2, decay_all=False)
    loop = Training(linear(noise), noise, recipe, 0)
    while not loop.done:
        loop.step()
        (rate,) = {group["lr"] for group in loop.optimizer.param_groups}
        rates.append(rate)
    cosine_of_four = [0.25 + 0.15 * math.cos(math.pi * t / 4) for t in range(4)]
    assert rates == pytest.approx([0.4, 0.25, *cosine_of_four, 0.4])  # 2 epochs, 4 epochs, and the first of 8


def test_children_and_the_final_network_of_nasnet_and_nas_rl_are_trained_as_the_papers_state():
    final, child, chain = (RECIPES[name] for name in ("nasnet-cifar", "nasnet-child", "nas-rl-child"))
    assert final.epochs * 50_000 / final.batch_size == 937_500
    assert (final.channels * 24, final.cells) == (768, 3 * 6 + 2)
    assert (final.learning_rate, final.weight_decay, final.clip) == (0.025, 5e-4, 5.0)
    assert (final.auxiliary_weight, 1 - final.drop_path, final.cutout) == (0.4, 0.6, 0)
    assert (child.cells, child.epochs, child.momentum, child.final_learning_rate) == (3 * 2 + 2, 20, 0.9, 0.0)
    assert (chain.epochs, chain.learning_rate, chain.weight_decay) == (50, 0.1, 1e-4)
    assert (chain.nesterov, chain.momentum) == (True, 0.9) and not (final.nesterov or child.nesterov)


@pytest.mark.parametrize("name", ["nasnet-cifar", "nasnet-child", "pnas-child"])
def test_nasnets_recipes_decay_weights_alone(name):
    """As slim's arg scopes do it: l2 of the weights of convolutions (depthwise ones too) and linear layers."""
    recipe = dataclasses.replace(RECIPES[name], channels=4, cells=3, batch_size=12, clip=0.0)
    with seeded(0, "network"):
        network = Network(GENOTYPES["nasnet-a"], 4, 3, 3, skeleton="nasnet")
    training = Training(network, images(), recipe, 0)
    names = [n for n, _ in network.named_parameters()]
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    training.step()
    rate, decayed = recipe.learning_rate, 0
    for n, p in zip(names, network.parameters()):
        decay = 5e-4 if p.dim() > 1 else 0.0  # (of the first step, without momentum)
        expected = before[n] - rate * (p.grad + decay * before[n])
        torch.testing.assert_close(p.detach(), expected, rtol=1e-5, atol=1e-7)
        decayed += decay > 0
    assert 0 < decayed < len(names)
    assert all(RECIPES[other].decay_all for other in ("darts-cifar", "enas-cifar", "nas-rl-child", "small", "child"))


def test_a_recipe_s_sizes_can_be_replaced_within_bounds():
    assert recipe_named("small", epochs=3, cells=None) == dataclasses.replace(RECIPES["small"], epochs=3)
    for name, value in (("epochs", 0), ("batch_size", 1), ("channels", -1), ("cells", 10**9)):
        with pytest.raises(UserError, match=f"{name}: found {value}, allowed: a whole number from"):
            recipe_named("small", **{name: value})


def test_the_schedule_is_torch_s_cosine():
    parameter = nn.Parameter(torch.zeros(()))
    for start, end, epochs in ((0.025, 0.0, 600), (0.025, 0.001, 50), (0.1, 0.1, 3)):
        optimizer = torch.optim.SGD([parameter], start)
        theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs, end)
        for epoch in range(epochs):
            assert cosine(start, end, epoch, epochs) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9, abs=1e-12)
            optimizer.step()
            theirs.step()


# --- steps ----------------------------------------------------------------------------------------------------------


def test_steps_are_those_of_torch_s_sgd_on_clipped_gradients():
    recipe = Recipe(1, 1, epochs=3, batch_size=8, learning_rate=0.1, clip=0.5, weight_decay=0.01)
    ours, theirs = linear(images()), linear(images())
    training = Training(ours, images(), recipe, seed=5)
    batches = Batches(images(), 8, 5, "training")
    optimizer = torch.optim.SGD(theirs.parameters(), 0.1, momentum=0.9, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)
    losses = []
    for step in range(training.total):
        assert not training.done
        progress = training.step()
        pixels, labels = batches[step]
        loss = F.cross_entropy(theirs(pixels), labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        assert nn.utils.clip_grad_norm_(theirs.parameters(), 0.5) > 0.5  # it does clip
        optimizer.step()
        for a, b in zip(ours.parameters(), theirs.parameters()):
            torch.testing.assert_close(a, b)
        if step % 3 == 2:
            schedule.step()
            assert progress.metrics["loss"] == pytest.approx(sum(losses[-3:]) / 3, rel=1e-4)
    assert training.done and training.total == 9
    assert [row["epoch"] for row in training.history] == [1, 2, 3]
    assert [row["step"] for row in training.history] == [3, 6, 9]


def test_nesterov_s_step_follows_the_velocity_once_more():
    """v = momentum v + g; w = w - rate (g + momentum v), the form of Sutskever et al. (2013) that PyTorch documents."""
    recipe = Recipe(1, 1, epochs=2, batch_size=12, learning_rate=0.1, clip=1e9, weight_decay=0.01, nesterov=True)
    training, ours = Training(linear(images()), images(), recipe, seed=5), linear(images())
    weights = list(ours.parameters())
    velocity = [torch.zeros_like(w) for w in weights]
    for step in range(4):
        pixels, labels = training.batches[step]
        gradients = torch.autograd.grad(F.cross_entropy(ours(pixels), labels), weights)
        with torch.no_grad():
            for w, v, gradient in zip(weights, velocity, gradients):
                gradient = gradient + 0.01 * w
                v.mul_(0.9).add_(gradient)
                w -= cosine(0.1, 0.0, step // 2, 2) * (gradient + 0.9 * v)
        training.step()
        for a, b in zip(training.network.parameters(), weights):
            torch.testing.assert_close(a, b)


def test_an_evaluation_between_two_steps_changes_nothing():
    one, other = with_everything(), with_everything()
    for _ in range(2):
        one.step(), other.step()
        evaluate(other.network, images(12))
        assert all(torch.equal(a, b) for a, b in zip(everything_in(one), everything_in(other), strict=True))


def test_drop_path_grows_from_0_and_the_auxiliary_loss_is_weighted():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.seen = linear(images()), []

        def forward(self, x):
            self.seen.append(self.drop_path)
            out = self.body(x)
            return (out, 2 * out) if self.training else out

    recipe = Recipe(1, 1, epochs=4, batch_size=24, drop_path=0.2, auxiliary_weight=0.4)
    network = Two()
    training = Training(network, images(), recipe, 0)
    pixels, labels = training.batches[0]
    out = network.body(pixels)
    expected = F.cross_entropy(out, labels) + 0.4 * F.cross_entropy(2 * out, labels)
    first = training.step().metrics["loss"]
    assert first == pytest.approx(expected.item(), rel=1e-5)
    while not training.done:
        training.step()
    assert network.seen == pytest.approx([0.0, 0.05, 0.1, 0.15])  # 0.2 * epoch / epochs: it never reaches 0.2


def test_a_loss_that_is_not_finite_stops_with_the_epoch():
    recipe = Recipe(1, 1, epochs=3, batch_size=8)
    training = Training(linear(images()), images(), recipe, 0)
    for _ in range(4):
        training.step()
    with torch.no_grad():
        training.network[1].weight.fill_(math.nan)
    training.step()
    with pytest.raises(UserError, match="the training loss became nan in epoch 2: lower the learning rate"):
        training.step()


# --- resuming -------------------------------------------------------------------------------------------------------

EVERYTHING = Recipe(4, 3, epochs=3, batch_size=6, cutout=16, auxiliary_weight=0.4, drop_path=0.5)


def with_everything(seed=0):
    """Drop path, auxiliary head and cutout all on."""
    with seeded(seed, "network"):
        network = Network(GENOTYPES["darts-v2"], channels=4, cells=3, classes=3, auxiliary=True)
    return Training(network, images(12), EVERYTHING, seed)


def everything_in(training):
    state = training.state_dict()
    momenta = [s["momentum_buffer"] for s in state["optimizer"]["state"].values()]
    return [*state["network"].values(), *momenta, *state["epoch_so_far"]]


def test_a_training_resumed_at_any_step_ends_in_the_same_bits(tmp_path):
    whole, files = with_everything(), []
    while not whole.done:
        files.append(tmp_path / f"{whole.steps}.pt")
        torch.save(whole.state_dict(), files[-1])
        whole.step()
    assert len(files) == 6
    for file in files[
        1::2
    ]:  # in the middle of an epoch, where sums are half made; at its end; and before the last step
        torch.manual_seed(int(file.stem))  # the global generator does not matter
        resumed = with_everything()
        resumed.load_state_dict(torch.load(file, weights_only=True))
        while not resumed.done:
            resumed.step()
        assert resumed.history == whole.history
        assert all(torch.equal(a, b) for a, b in zip(everything_in(resumed), everything_in(whole), strict=True))


def test_another_seed_ends_elsewhere():
    one, other = with_everything(0), with_everything(1)
    for training in (one, other):
        training.step()
    assert not all(torch.equal(a, b) for a, b in zip(one.network.parameters(), other.network.parameters()))


# --- evaluation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 7, 24, 500])
def test_evaluate_gives_the_loss_and_the_accuracy_of_known_logits(batch_size):
    known = images()

    class Known(nn.Module):
        """Right about class 0 with certainty p, else always for class 1."""

        def forward(self, x):
            assert not self.training and not torch.is_grad_enabled()
            means = ((known.test.float() / 255 - 0.5) / 0.5).mean((1, 2, 3))
            index = (x.mean((1, 2, 3))[:, None] - means).abs().argmin(1)
            labels = known.test_labels[index]
            p = torch.where(labels[:, None] == 0, torch.tensor([0.8, 0.1, 0.1]), torch.tensor([0.2, 0.5, 0.3]))
            return p.log()

    counts = torch.bincount(known.test_labels, minlength=3).tolist()
    certainty = [0.8, 0.5, 0.3]
    loss, accuracy = evaluate(Known(), known, "test", batch_size)
    assert loss == pytest.approx(-sum(n * math.log(p) for n, p in zip(counts, certainty)) / 24, rel=1e-5)
    assert accuracy == (counts[0] + counts[1]) / 24


def test_a_small_network_reads_more_than_95_percent_of_unseen_digits():
    digits = data.load("digits")
    cell = Cell((Node((0, 1), ("conv_3x3", "conv_3x3")),), (2,))
    with seeded(0, "network"):
        network = Network(CellGenotype(cell, cell), channels=16, cells=2, in_channels=1)
    training = Training(network, digits, Recipe(16, 2, epochs=5, batch_size=32, learning_rate=0.1), 0)
    while not training.done:
        training.step()
    assert evaluate(network, digits)[1] > 0.95
    assert training.history[-1]["loss"] < training.history[0]["loss"] / 3


def test_the_auxiliary_head_of_enas_never_learns_and_that_of_darts_does():
    """ENAS's authors leave their head's variables out of the list that the optimizer gets (micro_child.py)."""
    recipe = Recipe(4, 3, epochs=1, batch_size=12, auxiliary_weight=0.4)
    for name, skeleton, learns in (("enas-micro", "enas", False), ("darts-v2", "darts", True)):
        with seeded(0, "network"):
            sizes = dict(channels=4, cells=3, classes=3, auxiliary=True, skeleton=skeleton)
            network = Network(GENOTYPES[name], **sizes)
        before = {name: p.detach().clone() for name, p in network.named_parameters()}
        Training(network, images(side=32), recipe, 0).step()
        moved = {name for name, p in network.named_parameters() if not torch.equal(p, before[name])}
        assert any(name.startswith("auxiliary.") for name in moved) == learns
        assert any(name.startswith("cells.") for name in moved)
