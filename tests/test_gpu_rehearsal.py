"""What waits for a card, rehearsed on the CPU: the checks of `test_gpu.py`, and `notebooks/runs/gpu.py` from its first
step to its last."""

import gpu_checks as checks
import pytest
import torch

HERE = "cpu"


def test_numbers_of_all_three_steps():
    found = checks.distances(HERE, torch.float32, "finite-difference")
    assert len(found) == 4 and 0 < min(found.values()) and max(found.values()) < 1e-4


def test_cosines_of_the_finite_difference():
    found = checks.cosines(HERE, channels=4)
    assert found["ieee"] == found["tf32"] > 0.999 > found["bf16"]  # a CPU has no TF32


@pytest.mark.parametrize("name", ["second order", "training"])
def test_steps_and_what_they_change(name):
    checks.step_without_waiting(name, HERE)
    five, losses = checks.after(name, HERE, "off")
    four, _ = checks.after(name, HERE, "off", steps=4)
    assert checks.distance(five, four) > 5e-3 and losses  # five times what a graph may be off


@pytest.mark.parametrize("name", ["first order", "training"])
def test_a_run_that_goes_on(name, tmp_path):
    whole = checks.resumed(name, [HERE], tmp_path / "whole")
    assert torch.equal(checks.resumed(name, [HERE] * 3, tmp_path / "parts"), whole)


def test_crops_and_holes():
    found = checks.crops(HERE)
    assert len(found) == 6 and all(holes.any() and not holes.all() for _, holes, _ in found)


def test_children_that_misbehave():
    bad = [checks.misbehaving("too large", at) for at in (1, 2)]
    *failed, last = checks.children(HERE)([*bad, checks.misbehaving("reads", 2)])
    assert all("out of memory" in answer.error for answer in failed) and last.error is None


@pytest.mark.long
def test_workers():
    assert "device-side assert" in checks.lost_in_a_worker(HERE)


def test_nothing_of_a_child_stays():
    assert checks.held_after_children(HERE, 3) == [0, 0, 0]
