"""A limit of memory: what a step takes is known before, and what is done about it changes no bit that it need not."""

import pytest
import torch
from states import tensors

import nascore
from nascore import data, memory, published, spaces
from nascore.cli import main
from nascore.errors import UserError
from nascore.methods.darts import DARTS, DARTSBudget
from nascore.nets.convolutional import Network
from nascore.seeding import seeded
from nascore.training import RECIPES, Training

CPU = torch.device("cpu")
DIGITS = data.load("digits")


def darts(batch, space="darts", **fields):
    budget = DARTSBudget(channels=4, cells=5, batch_size=batch, **fields)
    return DARTS(spaces.get(space), DIGITS, budget, 0, CPU)


def training(name="darts-v2", batch=256, skeleton="darts"):
    recipe = "darts-cifar" if skeleton == "darts" else "nasnet-cifar"
    with seeded(0, "network"):
        network = Network(published.GENOTYPES[name], 4, 5, 10, 1, skeleton)
    loop = Training(network, DIGITS, nascore.training.replace(RECIPES[recipe], batch_size=batch, epochs=2), 0)
    loop.steps = loop.batches.per_epoch  # in the first epoch no path is dropped
    return loop


LOOPS = {
    "darts": lambda: darts(16, order=1),
    "darts, second order": lambda: darts(16, order=2),
    "darts, exact": lambda: darts(16, order=2, hessian="exact"),
    "darts on nasbench201": lambda: darts(16, "nasbench201", order=2),
    "training": training,
    "training in nasnet's skeleton": lambda: training("nasnet-a", skeleton="nasnet"),
}


@pytest.mark.parametrize("name", LOOPS)
def test_what_is_computed_again_has_the_same_bits_and_takes_less(name):
    states, peaks = [], []
    for again in (False, True):
        with memory.Held() as held:
            loop = LOOPS[name]()
            if again:
                loop.recompute()
            for _ in range(3):
                loop.step()
        states.append(loop.state_dict())
        peaks.append(held.peak)
    kept, recomputed = (list(tensors(state)) for state in states)
    assert len(kept) == len(recomputed) > 20 and all(map(torch.equal, kept, recomputed))
    assert states[0]["history"] == states[1]["history"]
    assert peaks[1] < 0.8 * peaks[0] or name == "darts, exact"  # which keeps what is differentiated once more


def test_what_a_step_holds_grows_by_the_same_with_every_image():
    few, more = memory.TRIED
    found = {batch: memory.peak(lambda b=batch: darts(b), False) for batch in (few, more, 96)}
    image = (found[more] - found[few]) / (more - few)
    assert found[few] + (96 - few) * image == pytest.approx(found[96], rel=0.08)  # with few images others are the peak


def test_held_counts_what_is_there_at_the_same_time():
    with memory.Held() as held:
        x = torch.zeros(1000)
        y = x + 1
        view = y[:10]
        del x
        z = y * 2
    assert held.peak == 8000 and held.now == 8000 and len(view) == 10 and len(z) == 1000


GIB = 2**30


def needs(monkeypatch, kept, again):
    """As if a step took these, fixed and an image."""
    monkeypatch.setattr(memory, "need", lambda make, recomputes, *_: memory.Need(*(again if recomputes else kept)))


@pytest.mark.parametrize(
    "limit, found, said",
    [
        ("80G", (64, False), "--memory 80.00G: 64 images a step take 65.00G"),
        ("65g", (64, False), "64 images a step take 65.00G"),
        ("40GB", (64, True), "with cells computed again 17.00G, which changes no bit: so it is done"),
        ("9GiB", (32, True), "cells are computed again, with 32 images a step"),
    ],
)
def test_the_limit_decides_and_it_is_said(monkeypatch, capsys, limit, found, said):
    needs(monkeypatch, (GIB, GIB), (GIB, GIB / 4))
    assert memory.fitting(limit, 64, None, 0, CPU) == found
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("limit", ["", "8 apples", "-1G", "0", "nan", "G", None, "8GG", 0, [8]])
def test_what_is_no_size_is_one_line(limit):
    with pytest.raises(UserError, match="--memory: found .*, allowed: a size, such as 8G or 2G"):
        memory.bytes_of(limit)
    assert memory.bytes_of("1.5M") == 1.5 * 2**20 and memory.bytes_of(77) == 77


def test_too_little_is_one_line(monkeypatch):
    needs(monkeypatch, (GIB, GIB), (GIB, GIB / 4))
    with pytest.raises(UserError, match="--memory: found '1.20G', allowed: 1.50G or more, for minibatches of 2"):
        memory.fitting("1.2G", 64, None, 0, CPU)


def test_a_limit_is_for_one_shot_searches_and_trainings(tmp_path, capsys):
    how = dict(budget="smoke", channels=2, cells=3, epochs=1, progress=False)
    free = nascore.run("darts", **how)
    assert nascore.run("darts", memory="64G", **how).history == free.history
    assert "images a step take" in capsys.readouterr().err
    words = "train darts-v2 --channels 4 --cells 3 --epochs 1 --batch-size 360 --memory 64G --quiet --out"
    assert main([*words.split(), str(tmp_path / "out")]) == 0
    assert "images a step take" in capsys.readouterr().err
    for words in ("search random", "search enas-micro"):
        assert main(f"{words} --budget smoke --memory 8G".split()) == 2
        assert "--memory: found '8G', allowed: none, but in searches whose steps are alike" in capsys.readouterr().err
    assert main("search darts --budget smoke --memory 8G --graphs on".split()) == 2
    assert "--graphs: found 'on', allowed: auto or off, beside --memory" in capsys.readouterr().err


class Remembers(torch.nn.Module):
    """Each time it is called it does a little more."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return x * self.calls


@pytest.mark.parametrize("inner", [lambda: torch.nn.Dropout(0.5), Remembers])
def test_what_draws_or_remembers_is_not_spoilt(open_table, inner):
    """A user's operation may be random, or have a memory of its own."""

    def construct(channels_in, channels_out, stride, affine):
        return torch.nn.Sequential(torch.nn.AvgPool2d(stride), inner())

    nascore.register("own", construct)
    space, found = spaces.get("darts", primitives=("own", "sep_conv_3x3")), []
    for again in (False, True):
        torch.manual_seed(0)
        loop = DARTS(space, DIGITS, DARTSBudget(channels=2, cells=3, batch_size=8, order=1), 0, CPU)
        if again:
            loop.recompute()
        loop.step(), loop.step()
        found.append(list(tensors(loop.state_dict())))
    assert all(map(torch.equal, *found))
