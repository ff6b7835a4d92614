"""`nascore watch DIR`: a run is followed by its files, and not touched."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import nascore
from nascore.cli import main
from nascore.errors import UserError
from nascore.record import alone_in, in_use
from nascore.watching import Watch

TABLE = {"data": "nasbench201", "trials": 20, "progress": False}


def test_a_run_that_has_ended_is_told_from_one_that_was_stopped(tmp_path, capsys):
    stop = iter([False] * 5 + [True] * 9)
    nascore.run("random", **TABLE, directory=tmp_path / "a", stop=lambda: next(stop))
    nascore.run("random", **TABLE, directory=tmp_path / "b")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main(["watch", str(tmp_path / "a")]) == 0
    assert capsys.readouterr().out == "it stopped at step 5 of 20; it goes on with --resume\n"
    assert main(["watch", str(tmp_path / "b")]) == 0
    assert capsys.readouterr().out.startswith("it has ended with step 20 of 20")
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_steps_are_told_once_and_what_is_half_written_later(tmp_path):
    result = nascore.run("random", **TABLE, directory=tmp_path)
    history = tmp_path / "history.jsonl"
    lines = history.read_bytes().splitlines(keepends=True)
    history.write_bytes(b"".join(lines[:7]) + lines[7][:20])
    watched = Watch(tmp_path)
    assert [step.step for step in watched.steps()] == list(range(1, 8))
    history.write_bytes(b"".join(lines))
    rest = list(watched.steps())
    assert [step.step for step in rest] == list(range(8, 21)) and not list(watched.steps())
    assert rest[-1].total == 20 and rest[-1].share == 1
    assert [step.reward for step in rest] == [row["reward"] for row in result.history[7:]]


def test_a_run_is_at_work_as_long_as_it_holds_its_directory(tmp_path):
    nascore.run("random", **TABLE, directory=tmp_path)
    watched = Watch(tmp_path)
    assert not watched.runs
    with alone_in(tmp_path, make=False):
        command = f"from nascore.record import in_use; from pathlib import Path; print(in_use(Path({str(tmp_path)!r})))"
        seen = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
        assert seen.stdout == "True\n" or sys.platform == "win32"
    assert not in_use(Path(tmp_path))


def test_a_training_is_watched_too(tmp_path, capsys):
    nascore.train("darts-v2", recipe="child", channels=4, cells=3, epochs=1, directory=tmp_path, progress=False)
    assert main(["watch", str(tmp_path)]) == 0
    assert "it has ended with step" in capsys.readouterr().out


@pytest.mark.parametrize("files", [{}, {"config.json": "{"}, {"config.json": "[]"}, {"config.json": '{"format": 99}'}])
def test_what_is_no_run_is_one_line(tmp_path, files, capsys):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert main(["watch", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("nascore: ") and error.count("\n") == 1
    with pytest.raises(UserError):
        Watch(tmp_path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("garbage", "history.jsonl: Expecting value"),
        ('{"a": 1}', "history.jsonl: step: found None, allowed: a whole number"),
        ('{"step": "a"}', "history.jsonl: step: found 'a', allowed: a whole number"),
    ],
)
def test_a_damaged_history_is_one_line(tmp_path, line, said):
    nascore.run("random", data="nasbench201", trials=5, directory=tmp_path / "run", progress=False)
    with open(tmp_path / "run" / "history.jsonl", "a") as file:
        file.write(line + "\n")
    with pytest.raises(UserError, match=re.escape(said)):
        list(Watch(tmp_path / "run").steps())


def test_a_run_from_before_there_were_times_is_watched(tmp_path):
    nascore.run("random", data="nasbench201", trials=5, directory=tmp_path / "run", progress=False)
    (tmp_path / "run" / "timing.jsonl").unlink()
    assert [step.step for step in Watch(tmp_path / "run").steps()] == [1, 2, 3, 4, 5]
