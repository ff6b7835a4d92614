"""What a card has to do as the CPU does, and what only a card can: `python -m pytest -m gpu`, about 90 seconds there.
The checks are functions of a device (`gpu_checks`); `test_gpu_rehearsal.py` asks the CPU the same."""

import gpu_checks as checks
import pytest
import torch

CARD = "cuda"
SAME = 1e-3  # five steps in float32, whose sums a card adds up in any order; a step is more than five times as long
HESSIANS = ("finite-difference", "exact")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no GPU here"),
]


@pytest.mark.parametrize("hessian", HESSIANS)
@pytest.mark.parametrize("dtype, most", [(torch.float64, 1e-10), (torch.float32, 1e-4)], ids=str)
def test_logits_and_gradients_of_all_three_steps_are_those_of_the_cpu(hessian, dtype, most, record_property):
    found = checks.distances(CARD, dtype, hessian)
    record_property("relative distance", found)
    assert len(found) == 4
    if dtype is torch.float32 and hessian == "finite-difference":  # rounding, divided by the probe's length
        assert found.pop("alphas, second order") < 10 * most
    assert max(found.values()) < most, found


def test_the_finite_difference_keeps_its_direction_and_would_not_in_fewer_bits(record_property):
    found = checks.cosines(CARD)
    record_property("cosine with float64's", found)
    assert found["ieee"] > 0.999 > found["bf16"], found


@pytest.mark.parametrize("name", checks.LOOPS)
def test_no_step_waits_for_the_card(name):
    checks.step_without_waiting(name, CARD)


def test_what_waits_is_found():
    with checks.no_waiting(CARD), pytest.raises(RuntimeError, match="synchroniz"):
        torch.ones(1, device=CARD).item()


@pytest.mark.parametrize("name", checks.LOOPS)
def test_a_graph_does_what_would_have_run(name):
    eager, losses = checks.after(name, CARD, "off")
    played, found = checks.after(name, CARD, "on")
    assert checks.distance(played, eager) < SAME and found == pytest.approx(losses, rel=SAME)


@pytest.mark.parametrize("devices", [[CARD] * 3, [CARD, "cpu", CARD]], ids=str)
@pytest.mark.parametrize("name", ["second order", "training"])
def test_a_run_goes_on_with_its_graphs_and_on_another_device(name, devices, tmp_path):
    whole = checks.resumed(name, [CARD], tmp_path / "whole")
    parts = checks.resumed(name, devices, tmp_path / "parts")
    assert checks.distance(parts, whole) < SAME


def test_crops_and_holes_are_those_of_the_cpu():
    for there, here in zip(checks.crops(CARD), checks.crops("cpu"), strict=True):
        assert all(map(torch.equal, there, here))


@pytest.mark.parametrize("at", [1, 2], ids=["as it is", "recorded"])
def test_out_of_memory_is_one_line_and_the_next_child_trains(at):
    first, second = checks.children(CARD)([checks.misbehaving("too large", at), checks.GOOD])
    assert first.reward == 0 and "out of memory" in first.error and "\n" not in first.error
    assert second.error is None and second.reward > 0


def test_a_child_that_reads_from_the_card_says_how_to_train_it_and_the_next_one_trains():
    bad = checks.misbehaving("reads", 2)
    first, second = checks.children(CARD)([bad, checks.GOOD])
    assert "a step cannot be recorded" in first.error and first.error.endswith("--graphs off")
    assert second.error is None and second.reward > 0
    (without,) = checks.children(CARD, graphs="off")([bad])
    assert without.error is None


def test_a_card_that_is_lost_ends_its_worker_and_no_other():
    assert "device-side assert" in checks.lost_in_a_worker(CARD)
    assert torch.ones(2, device=CARD).sum().item() == 2


def test_two_workers_share_the_card():
    cells = checks.cells(4)
    together = checks.children(CARD, workers=2)(cells)
    alone = checks.children(CARD)(cells)
    assert [answer.error for answer in together] == [None] * 4
    assert [a.reward for a in together] == pytest.approx([a.reward for a in alone], abs=0.05)


def test_memory_is_flat_over_fifty_children(record_property):
    held = checks.held_after_children(CARD, 50)
    record_property("bytes held after children 10 and 50", [held[9], held[-1]])
    assert max(held[25:]) <= max(held[:25]), held
