"""`nascore bench`: both sides run in turn, old signatures of the reference work, and errors are one
line."""

import json

import pytest
import torch

from nascore import bench
from nascore.errors import UserError

SMALL = dict(batch=2, rounds=2, channels=4, cells=3, threads=(1,))
MODEL = """
import torch
class Network(torch.nn.Linear):
    def __init__(self, channels, classes, layers, criterion):
        super().__init__(3 * 32 * 32, classes)
    def forward(self, x):
        return super().forward(x.flatten(1))
"""
ARCHITECT = """
import torch
class Architect:
    def __init__(self, model, args):
        self.weight = model.weight.cuda()
    def step(self, x, y, x_valid, y_valid, eta, optimizer, unrolled):
        ones, before = torch.ones_like(self.weight), self.weight.detach().clone()
        self.weight.data.add_(2.0, ones)
        self.weight.data.sub_(torch.tensor(0.5), ones)
        assert torch.allclose(self.weight, before.sub(-1.5, ones)), "an old signature means something else"
        self.weight.data.sub_(1.5 * ones)
"""


def checkout(folder, model=MODEL):
    """A stand-in for the reference: the same two files and the same old calls."""
    (folder / "cnn").mkdir()
    (folder / "cnn" / "model_search.py").write_text(model)
    (folder / "cnn" / "architect.py").write_text(ARCHITECT)
    return str(folder)


def measured(result, words):
    """The title that holds `words`, and what was measured under it: side -> values for each
    step."""
    (title,) = (title for title in result["measured"] if words in title)
    return title, result["measured"][title]


def test_both_sides_are_measured_and_compared(tmp_path):
    result = json.loads(json.dumps(bench.benchmark(checkout(tmp_path), **SMALL)))
    title, seconds = measured(result, "cpu seconds on 1 threads")
    operations = measured(result, "operations")[1]
    for k in range(3):
        ours, reference = seconds["ours"][k], seconds["reference"][k]
        assert len(ours) == len(reference) == 2 and min(ours) > 0
        ratios = sorted(b / a for a, b in zip(ours, reference))
        assert result["ratios"][title][k] == pytest.approx([ratios[0], sum(ratios) / 2, ratios[1]])
        assert operations["ours"][k] > operations["reference"][k] > [0]
    (weights,), (first,), (second,) = operations["ours"]
    assert second > weights + first  # two gradients of the weights' kind and two probes
    memory = measured(result, "peak memory")[1]["ours"]
    assert memory == sorted(memory)  # a peak only grows
    line = next(line for line in bench.table(result).splitlines() if "second order" in line)
    assert all(f"{r:.2f}" in line for r in result["ratios"][measured(result, "peak memory")[0]][2])


def test_without_a_reference_ours_is_timed_alone():
    result = bench.benchmark(**SMALL | dict(rounds=1))
    assert "ratios" not in result and list(measured(result, "operations")[1]) == ["ours"]
    text = bench.table(result)
    assert all(step in text for step in bench.STEPS) and "reference" not in text


def test_a_reference_that_fails_is_reported_with_its_own_words(tmp_path):
    with pytest.raises(UserError, match="the reference does not run: .*not_a_module"):
        bench.benchmark(checkout(tmp_path, "import not_a_module"), **SMALL)


@pytest.mark.parametrize("wrong", [dict(against="/nowhere"), dict(rounds=0), dict(batch=1)])
def test_what_cannot_be_timed_is_refused_in_one_line(wrong):
    with pytest.raises(UserError, match="found .*, allowed: ") as error:
        bench.benchmark(**SMALL | wrong)
    assert "\n" not in str(error.value)


def test_views_and_allocations_are_not_counted():
    x = torch.ones(4, 4)
    with bench.Operations() as counter:
        torch.empty(3).detach()
        x.view(2, 8).t()[0]
    assert counter.count == 0
    with bench.Operations() as counter:
        (x @ x + 1).relu_()
    assert counter.count == 3
