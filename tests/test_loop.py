"""The loop that drives anything with steps: checkpoints, resuming, stopping, and what it says when a file is wrong."""

import ast
import json
import os
import pickle
import random
import signal
import threading

import pytest
import torch

from nascore import loop
from nascore.errors import UserError
from nascore.files import FORMAT
from nascore.loop import Progress, drive, memory_errors
from nascore.record import load_checkpoint, save_checkpoint


class Counter:
    """Adds random numbers: a loop whose state is a sum, as short as a loop can be."""

    STATE = ("sum", "history")

    def __init__(self, total=6, trap=None):
        self.total, self.trap = total, trap or (lambda step: None)
        self.sum, self.history = torch.zeros((), dtype=torch.float64), []

    @property
    def done(self):
        return len(self.history) >= self.total

    def step(self):
        step = len(self.history) + 1
        self.trap(step)
        self.sum = self.sum + torch.rand((), generator=torch.Generator().manual_seed(step), dtype=torch.float64)
        self.history.append({"step": step, "reward": self.sum.item()})
        return Progress(step, self.total, reward=self.sum.item())

    def state_dict(self):
        return {"sum": self.sum, "history": self.history}

    def load_state_dict(self, state):
        self.sum, self.history = state["sum"], list(state["history"])


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_finished_run_leaves_its_history_times_and_configuration(tmp_path):
    counter = Counter()
    assert drive(counter, directory=tmp_path / "new" / "run", config={"what": "count"}, progress=False)
    folder = tmp_path / "new" / "run"
    assert sorted(p.name for p in folder.iterdir()) == [
        "checkpoint.pt",
        "config.json",
        "history.jsonl",
        "timing.jsonl",
    ]
    assert lines(folder / "history.jsonl") == counter.history
    assert [row["step"] for row in lines(folder / "timing.jsonl")] == list(range(1, 7))
    assert json.loads((folder / "config.json").read_text()) == {"format": FORMAT, "what": "count"}


@pytest.mark.parametrize("crash_at", range(1, 7))
@pytest.mark.parametrize("checkpoint_seconds", [0.0, 1000.0])
def test_a_run_that_broke_at_any_step_ends_like_one_that_did_not(tmp_path, crash_at, checkpoint_seconds):
    def trap(step):
        if step == crash_at:
            raise ZeroDivisionError

    whole = Counter()
    drive(whole, directory=tmp_path / "whole", progress=False)
    with pytest.raises(ZeroDivisionError):
        options = dict(directory=tmp_path / "broken", progress=False, checkpoint_seconds=checkpoint_seconds)
        drive(Counter(trap=trap), **options)
    resumed = Counter()
    assert drive(resumed, directory=tmp_path / "broken", progress=False, resume=True)
    assert torch.equal(resumed.sum, whole.sum)
    for name in ("history.jsonl", "config.json"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert [row["step"] for row in lines(tmp_path / "broken" / "timing.jsonl")] == list(range(1, 7))


def test_stop_ends_a_run_between_two_steps_and_resuming_finishes_it(tmp_path):
    counter = Counter()
    assert not drive(counter, directory=tmp_path, progress=False, stop=lambda: len(counter.history) == 2)
    assert len(lines(tmp_path / "history.jsonl")) == 2
    resumed = Counter()
    assert drive(resumed, directory=tmp_path, progress=False, resume=True)
    assert drive(Counter(), directory=tmp_path, progress=False, resume=True)  # a finished run stays finished
    assert lines(tmp_path / "history.jsonl") == resumed.history


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_lets_the_step_in_hand_finish(tmp_path, number):
    def trap(step):
        if step == 3:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    counter = Counter(trap=trap)
    assert not drive(counter, directory=tmp_path, progress=False)
    assert load_checkpoint(tmp_path / "checkpoint.pt")["rows"]["history.jsonl"] == len(counter.history) == 3
    assert signal.getsignal(number) is before


def test_a_second_interrupt_does_not_wait(tmp_path):
    def trap(step):
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    counter = Counter(trap=trap)
    with pytest.raises(KeyboardInterrupt):
        drive(counter, directory=tmp_path, progress=False, checkpoint_seconds=0.0)
    assert load_checkpoint(tmp_path / "checkpoint.pt")["rows"]["history.jsonl"] == len(counter.history) == 2


def test_a_run_in_a_thread_leaves_the_signals_alone():
    counter, handler = Counter(), signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=drive, args=(counter,), kwargs={"progress": False})
    thread.start()
    thread.join()
    assert counter.done and signal.getsignal(signal.SIGINT) is handler


def test_progress_is_reported_step_by_step_and_the_bar_is_for_terminals_only(capsys):
    seen = []
    drive(Counter(), progress=seen.append)
    assert [(p.step, p.total) for p in seen] == [(k, 6) for k in range(1, 7)]
    drive(Counter(), progress=True)
    assert capsys.readouterr() == ("", "")


def test_a_new_run_does_not_overwrite_another_and_a_resumed_one_fits_its_configuration(tmp_path):
    config = {"method": "count", "budget": {"trials": 3, "cells": 8}}
    drive(Counter(), directory=tmp_path, config=config, progress=False)
    with pytest.raises(UserError, match="already holds a run: go on with --resume, or name another"):
        drive(Counter(), directory=tmp_path, config=config, progress=False)
    other = {"method": "count", "budget": {"trials": 3, "cells": 9}}
    with pytest.raises(UserError, match="holds another run: its cells is 8, asked for is 9"):
        drive(Counter(), directory=tmp_path, config=other, progress=False, resume=True)
    with pytest.raises(UserError, match="its method is 'count', asked for is 'other'"):
        drive(Counter(), directory=tmp_path, config={**config, "method": "other"}, progress=False, resume=True)
    with pytest.raises(UserError, match="nothing to resume there"):
        drive(Counter(), directory=tmp_path / "nowhere", progress=False, resume=True)
    with pytest.raises(UserError, match="--resume needs .* --out DIR"):
        drive(Counter(), progress=False, resume=True)


@pytest.mark.skipif(os.name != "posix", reason="no locks on directories")
def test_two_runs_at_once_in_one_directory_are_refused_and_the_first_goes_on(tmp_path):
    def trap(step):
        if step == 3:
            with pytest.raises(UserError, match="is in use by another run"):
                drive(Counter(), directory=tmp_path, progress=False, resume=True)

    assert drive(Counter(trap=trap), directory=tmp_path, progress=False, checkpoint_seconds=0)
    assert drive(Counter(), directory=tmp_path, progress=False, resume=True)  # the first has let go


def test_what_a_killed_process_left_behind_is_cleared_away(tmp_path):
    (tmp_path / "checkpoint.pt.4711.tmp").write_bytes(b"half a checkpoint")
    drive(Counter(), directory=tmp_path, progress=False)
    assert not list(tmp_path.glob("*.tmp"))


# --- files that are not what they should be -------------------------------------------------------------------------


def refusal(path):
    with pytest.raises(UserError) as caught:
        drive(Counter(), directory=path.parent, progress=False, resume=True)
    message = str(caught.value)
    assert "\n" not in message and str(path.parent) in message
    return message


@pytest.fixture
def checkpoint(tmp_path):
    drive(Counter(), directory=tmp_path, progress=False)
    return tmp_path / "checkpoint.pt"


SUM_OF_SIX = sum(
    torch.rand((), generator=torch.Generator().manual_seed(k), dtype=torch.float64).item() for k in range(1, 7)
)


def test_a_truncated_or_scribbled_checkpoint_is_refused_in_one_line(checkpoint):
    whole, dice = checkpoint.read_bytes(), random.Random(0)
    for length in [0, 1, 100, *(dice.randrange(len(whole)) for _ in range(40)), len(whole) - 1]:
        checkpoint.write_bytes(whole[:length])
        refusal(checkpoint)
    for _ in range(40):
        start = dice.randrange(len(whole) - 64)
        checkpoint.write_bytes(whole[:start] + dice.randbytes(64) + whole[start + 64 :])
        try:  # some bytes of a zip archive mean nothing; then the run must end as it would have
            resumed = Counter()
            drive(resumed, directory=checkpoint.parent, progress=False, resume=True)
            assert resumed.sum.item() == SUM_OF_SIX
        except UserError as error:
            assert "\n" not in str(error)


class Bomb:
    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_a_checkpoint_that_would_run_code_is_refused_and_runs_none(checkpoint, tmp_path):
    bomb = Bomb()
    bomb.target = tmp_path / "code-was-run"
    torch.save({"config": {}, "loop": bomb}, checkpoint)
    assert "more than tensors and numbers" in refusal(checkpoint)
    checkpoint.write_bytes(pickle.dumps({"config": {}, "loop": bomb}))
    assert "is not a checkpoint" in refusal(checkpoint)
    assert not bomb.target.exists()


@pytest.mark.parametrize(
    "state",
    [
        torch.zeros(3),
        [1, 2],
        {},
        {"config": 5},
        {"config": {}},
        {"config": {}, "loop": 5},
        {"config": {}, "loop": {"sum": torch.zeros(())}},
        {"config": {}, "loop": {"sum": torch.zeros(()), "history": 5}},
    ],
)
def test_a_checkpoint_of_something_else_is_refused(checkpoint, state):
    torch.save(state, checkpoint)
    refusal(checkpoint)


def test_a_checkpoint_that_is_a_directory_is_refused(tmp_path):
    (tmp_path / "checkpoint.pt").mkdir()
    refusal(tmp_path / "checkpoint.pt")


def test_a_directory_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="cannot make the directory"):
            drive(Counter(), directory=path, progress=False)


# --- atomic writing -------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_synced_before_it_is_renamed(tmp_path, monkeypatch):
    order = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(loop.os, name, lambda *a, name=name, real=real: (order.append(name), real(*a))[1])
    save_checkpoint(tmp_path / "c.pt", {"a": 1})
    assert order == ["fsync", "replace", "fsync"]  # the file, the name, the folder
    assert load_checkpoint(tmp_path / "c.pt") == {"a": 1}


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_when_writing_fails_the_old_checkpoint_stays_and_no_litter(tmp_path, monkeypatch, broken):
    save_checkpoint(tmp_path / "c.pt", {"a": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loop.os, broken, full)
    with pytest.raises(OSError):
        save_checkpoint(tmp_path / "c.pt", {"a": 2})
    assert load_checkpoint(tmp_path / "c.pt") == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]


# --- memory ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [
        lambda: torch.empty(2**50, dtype=torch.uint8),  # what the CPU's allocator says when there is no such memory
        lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")),
        lambda: (_ for _ in ()).throw(MemoryError()),
    ],
)
def test_running_out_of_memory_names_the_fields_to_lower(ask):
    with pytest.raises(UserError, match="out of memory: lower --batch-size, --channels or --cells"), memory_errors():
        ask()


def test_other_runtime_errors_pass():
    with pytest.raises(RuntimeError, match="size of tensor"), memory_errors():
        torch.zeros(2) + torch.zeros(3)


def test_checkpoints_that_take_long_are_made_seldom(tmp_path, monkeypatch):
    """Under a clock of its own: a step takes a second, a checkpoint `cost`."""
    clock, saves = [0.0], []

    def tick(step):
        clock[0] += 1

    monkeypatch.setattr("nascore.loop.monotonic", lambda: clock[0])

    def save(path, state):
        saves.append(clock[0])
        clock[0] += cost

    monkeypatch.setattr("nascore.record.save_checkpoint", save)
    for cost, expected in ((0.0, 10), (1.0, 20), (2.0, 40), (30.0, 120)):
        saves.clear()
        counter = Counter(total=600, trap=tick)
        drive(counter, directory=tmp_path / str(cost), progress=False, checkpoint_seconds=10)
        between = [later - earlier - cost for earlier, later in zip(saves[1:-1], saves[2:-1])]
        assert between and set(between) == {expected}


def test_a_checkpoint_counts_its_rows_and_does_not_hold_them(tmp_path):
    counter = Counter()
    assert not drive(counter, directory=tmp_path, progress=False, stop=lambda: len(counter.history) == 3)
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    assert "history" not in state["loop"] and "timing" not in state
    assert state["rows"] == {"history.jsonl": 3, "timing.jsonl": 3}
    history, timing = tmp_path / "history.jsonl", tmp_path / "timing.jsonl"
    kept = history.read_text()
    # What a killed process wrote after its checkpoint goes, a torn line too.
    history.write_text(kept + '{"step": 4, "reward": 7.0}\n{"ste')
    resumed = Counter()
    assert drive(resumed, directory=tmp_path, resume=True, progress=False)
    whole = Counter()
    drive(whole, progress=False)
    assert lines(history) == resumed.history == whole.history and len(lines(timing)) == 6


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_text(path.read_text()[:-9])])
def test_rows_that_are_lost_are_said_to_be(tmp_path, spoil, name="history.jsonl"):
    counter = Counter()
    drive(counter, directory=tmp_path, progress=False, stop=lambda: len(counter.history) == 3)
    spoil(tmp_path / name)
    with pytest.raises(UserError, match=rf"{name}: found .*, allowed: .*the 3 (rows )?of its checkpoint") as caught:
        drive(Counter(), directory=tmp_path, resume=True, progress=False)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_that_held_its_rows_goes_on(tmp_path):
    """As they were before they were counted."""
    counter = Counter()
    drive(counter, directory=tmp_path, progress=False, stop=lambda: len(counter.history) == 3)
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    state["loop"]["history"], state["timing"] = lines(tmp_path / "history.jsonl"), lines(tmp_path / "timing.jsonl")
    del state["rows"]
    torch.save(state, tmp_path / "checkpoint.pt")
    (tmp_path / "history.jsonl").write_text("what a killed process left")
    resumed, whole = Counter(), Counter()
    assert drive(resumed, directory=tmp_path, resume=True, progress=False) and drive(whole, progress=False)
    assert lines(tmp_path / "history.jsonl") == resumed.history == whole.history


def test_a_run_may_go_on_on_another_device(tmp_path, capsys):
    counter = Counter()
    how = dict(directory=tmp_path, progress=False)
    drive(counter, config={"device": "cuda"}, stop=lambda: len(counter.history) == 3, **how)
    assert drive(Counter(), directory=tmp_path, config={"device": "cpu"}, resume=True, progress=False)
    assert "was begun on cuda: on cpu last digits may differ" in capsys.readouterr().err


def test_times_that_are_lost_are_begun_anew(tmp_path, capsys):
    counter = Counter()
    drive(counter, directory=tmp_path, progress=False, stop=lambda: len(counter.history) == 3)
    (tmp_path / "timing.jsonl").unlink()
    assert drive(Counter(), directory=tmp_path, resume=True, progress=False)
    assert "times are kept from now on" in capsys.readouterr().err and len(lines(tmp_path / "timing.jsonl")) == 3


def test_rows_that_are_more_than_json_stay_in_the_checkpoint(tmp_path):
    """Tuples, say, which a method of a user's own looks up: they would come back as lists."""

    class Tuples(Counter):
        def step(self):
            progress = super().step()
            self.history[-1]["pair"] = (1, 2)
            assert len({row["pair"] for row in self.history}) == 1
            return progress

    first, resumed, whole = Tuples(), Tuples(), Tuples()
    assert not drive(first, directory=tmp_path, progress=False, stop=lambda: len(first.history) == 3)
    assert drive(resumed, directory=tmp_path, resume=True, progress=False) and drive(whole, progress=False)
    assert resumed.history == whole.history and len(lines(tmp_path / "history.jsonl")) == 6


def test_a_loop_that_says_nothing_of_its_parts_keeps_its_rows_itself(tmp_path):
    class Own(Counter):
        STATE = ()

        def state_dict(self):
            return {"rows": repr(self.history), "sum": self.sum}

        def load_state_dict(self, state):
            rows, self.sum = state.values()
            self.history = ast.literal_eval(rows)

    first, resumed, whole = Own(), Own(), Own()
    assert not drive(first, directory=tmp_path, progress=False, stop=lambda: len(first.history) == 3)
    assert drive(resumed, directory=tmp_path, resume=True, progress=False) and drive(whole, progress=False)
    assert resumed.history == whole.history
