"""`Training` with the recipe darts-cifar against the loop of quark0/darts's cnn/train.py (its
defaults, with --auxiliary), on their model.NetworkCIFAR, whose code it runs (see conftest.py): the
weights after six steps of three epochs, drop path made the same on both sides, within 5e-14."""

import dataclasses
import random
from types import SimpleNamespace

import pytest
import torch
from comparing import agree, as_theirs, blank_images
from torch import Tensor, nn

from nascore import published, spaces
from nascore.genotypes import CellGenotype
from nascore.nets import convolutional
from nascore.nets.convolutional import Network
from nascore.training import RECIPES, Training

EPOCHS = 3
PER_EPOCH = 2  # minibatches


def drawn() -> CellGenotype:
    space = spaces.get("darts")
    return space.decode(space.sample(random.Random(1)))


GENOTYPES = {name: published.PUBLISHED[name].genotype for name in ("darts-v1", "darts-v2")}
GENOTYPES["random"] = drawn()


def their_training(theirs: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> None:
    optimizer = torch.optim.SGD(theirs.parameters(), 0.025, momentum=0.9, weight_decay=3e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, float(EPOCHS))
    criterion = nn.CrossEntropyLoss()
    theirs.train()
    for epoch in range(EPOCHS):
        theirs.drop_path_prob = 0.2 * epoch / EPOCHS
        for images, labels in batches[PER_EPOCH * epoch : PER_EPOCH * (epoch + 1)]:
            optimizer.zero_grad()
            logits, extra = theirs(images)
            loss = criterion(logits, labels) + 0.4 * criterion(extra, labels)
            loss.backward()
            nn.utils.clip_grad_norm_(theirs.parameters(), 5)
            optimizer.step()
        scheduler.step()


def in_order(*parts: nn.Module) -> list[Tensor]:
    return [p for part in parts for p in part.parameters()]


def both(darts: SimpleNamespace, genotype: CellGenotype) -> tuple[nn.Module, Network]:
    theirs = darts.model.NetworkCIFAR(6, 10, 4, True, as_theirs(darts, genotype))
    return theirs, Network(genotype, 6, 4, 10, auxiliary=True)


@pytest.mark.parametrize("name", GENOTYPES)
def test_weights_after_six_steps(darts, monkeypatch, name):
    probabilities = []

    def scaled(x: Tensor, probability: float, generator: torch.Generator | None = None) -> Tensor:
        probabilities.append(probability)
        return x * (1 + probability)

    monkeypatch.setattr(darts.model, "drop_path", scaled)
    monkeypatch.setattr(convolutional, "drop_path", scaled)
    theirs, ours = both(darts, GENOTYPES[name])
    of_theirs = in_order(theirs.stem, theirs.cells, theirs.classifier, theirs.auxiliary_head)
    of_ours = in_order(ours.stems, ours.cells, ours.head, ours.auxiliary)
    with torch.no_grad():
        for a, b in zip(of_theirs, of_ours, strict=True):
            b.copy_(a)
    start = [p.detach().clone() for p in of_theirs]
    recipe = dataclasses.replace(RECIPES["darts-cifar"], epochs=EPOCHS, batch_size=4)
    training = Training(ours, blank_images(8, 32, 10), recipe, 0)
    batches = Batches((torch.randn(4, 3, 32, 32), torch.randint(10, (4,))) for _ in range(EPOCHS * PER_EPOCH))
    monkeypatch.setattr(training, "batches", batches)
    for _ in batches:
        training.step()
    their_training(theirs, batches)
    agree(of_ours, of_theirs, 5e-14)
    assert max(probabilities) > 0.1
    assert all(not torch.equal(p, before) for p, before in zip(of_theirs, start))


class Batches(list):
    """Given minibatches, as `Training` reads its own."""

    per_epoch = PER_EPOCH
