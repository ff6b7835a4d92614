"""Processes that are killed, interrupted or run out of disk, and end in the same bits as one that was not.

When that happens is said in lines of code, bytes of a file and steps, never in seconds: it happens on every machine."""

import itertools
import json
import multiprocessing
import os
import random
import resource
import shlex
import signal
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from states import tensors

from nascore import cli, loop, record
from nascore.methods import darts
from nascore.record import load_checkpoint, save_checkpoint

# Children of one warm process, which has everything imported: they start in no time, and are killed for real.
forks = multiprocessing.get_context("forkserver")
# (PyTorch's optimizers import torch._dynamo at their first step.)
forks.set_forkserver_preload(["nascore.search", "nascore.methods.darts", "nascore.show.drawing", "torch._dynamo"])

STEPS, KILLS = 40, 10
HANGS = 600  # seconds after which a wait is given up, so that what hangs ends: nothing here takes as long


def child(target, *arguments):
    process = forks.Process(target=target, args=arguments)
    process.start()
    return process


def status(process):
    process.join(HANGS)
    return process.exitcode


# --- in a child -----------------------------------------------------------------------------------------------------


def run_nascore(words, errors=None, limit=None):
    torch.set_num_threads(1)
    if errors:
        os.dup2(os.open(errors, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), 2)
    if limit:  # no file may grow beyond it: what a full disk looks like from inside
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.exit(cli.main(words))


FILES = (darts.__file__, loop.__file__, record.__file__)  # a search, and what drives it and writes its files


def call_at_lines(call):
    """`call(file, n)` as the n-th line of one of the `FILES` begins; a comprehension is no line."""
    numbers = Counter()

    def line(frame, event, argument):
        if event == "line":
            file = frame.f_code.co_filename
            numbers[file] += 1
            call(file, numbers[file])
        return line

    def function(frame, event, argument):
        return line if frame.f_code.co_filename in FILES and frame.f_code.co_name.isidentifier() else None

    sys.settrace(function)


def run_and_count_lines(words, answer):
    lines = {}
    call_at_lines(lines.__setitem__)
    torch.set_num_threads(1)
    assert cli.main(words) == 0
    sys.settrace(None)
    answer.write_text(json.dumps(lines))


def run_until_killed_at_a_line(words, file, line):
    call_at_lines(lambda *place: place == (file, line) and os.kill(os.getpid(), signal.SIGKILL))
    run_nascore(words)


def die_at_byte(limit):
    """As soon as a file would grow beyond it, the system kills this process, in the middle of the write."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # which Python ignores
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def run_until_killed_at_a_byte(words, limit):
    die_at_byte(limit)
    run_nascore(words)


def save_for_ever(path, limit=None, said=None):
    """Ever larger checkpoints, up to 400 kB and then again; what is on the disk is said."""
    if limit:
        die_at_byte(limit)
    for size in itertools.count(0, 7919):
        save_checkpoint(path, {"size": size, "data": torch.full((size % 50_000,), size)})
        if said:
            said.send(size)


# --- the tests ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A few images of 8 x 8 pixels in two classes."""
    folder, dice = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("dark", "light"):
            (folder / part / name).mkdir(parents=True)
            for k in range(8):
                pixels = dice.integers(0, 128, (8, 8, 3)) + (128 if name == "light" else 0)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / part / name / f"{k}.png")
    return folder


@pytest.fixture(scope="module")
def words(folder):
    text = f"search darts --budget smoke --data {folder} --channels 2 --cells 3 --epochs {STEPS // 2} --batch-size 4"
    return [*text.split(), "--checkpoint-seconds", "0", "--quiet"]


@pytest.fixture(scope="module")
def uninterrupted(words, tmp_path_factory):
    """The directory of a search that nobody disturbs; beside it, how many lines of each of the `FILES` it ran."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert status(child(run_and_count_lines, [*words, "--out", str(out)], out.parent / "lines.json")) == 0
    return out


@pytest.fixture(scope="module")
def lines(uninterrupted):
    return json.loads((uninterrupted.parent / "lines.json").read_text())


def assert_same_run(out, whole):
    for name in ("genotype.json", "history.jsonl", "config.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    ours, theirs = (load_checkpoint(folder / "checkpoint.pt")["loop"] for folder in (out, whole))
    assert len(ours["alphas"]) == 2 and all(torch.equal(a, b) for a, b in zip(ours["alphas"], theirs["alphas"]))
    pairs = list(zip(tensors(ours), tensors(theirs), strict=True))
    assert len(pairs) > 100 and all(torch.equal(a, b) for a, b in pairs)  # weights and both optimizers too
    steps = load_checkpoint(out / "checkpoint.pt")["rows"]["history.jsonl"]
    assert len((out / "timing.jsonl").read_text().splitlines()) == steps
    assert not list(out.glob("*.tmp"))


def test_a_search_killed_ten_times_ends_in_the_same_bits(words, uninterrupted, lines, tmp_path):
    """At any line of a step, at any line of what writes its files, and at any byte of a file, in turn. No run gets
    further than a tenth, so that ten of them are not the whole search."""
    out, dice, survived = tmp_path / "run", random.Random(0), []
    checkpoint = out / "checkpoint.pt"
    for kill in range(KILLS):
        command = [*words, "--out", str(out), *(["--resume"] if checkpoint.exists() else [])]
        if kill % 3 < 2:
            file = FILES[kill % 3]
            line = dice.randrange(1, lines[file] // KILLS)
            assert status(child(run_until_killed_at_a_line, command, file, line)) == -signal.SIGKILL
        else:  # not later than in the first checkpoint: all are about as large
            byte = dice.randrange(1, (uninterrupted / "checkpoint.pt").stat().st_size // 2)
            assert status(child(run_until_killed_at_a_byte, command, byte)) == -signal.SIGXFSZ
        if checkpoint.exists():
            survived.append(load_checkpoint(checkpoint)["rows"]["history.jsonl"])  # whole, whenever the kill came
    assert survived == sorted(survived) and 0 < survived[-1] < STEPS
    assert status(child(run_nascore, [*words, "--out", str(out), "--resume"])) == 0
    assert_same_run(out, uninterrupted)


def test_a_checkpoint_is_whole_whatever_byte_its_writer_is_killed_at(tmp_path):
    path, dice = tmp_path / "checkpoint.pt", random.Random(0)
    for limit in sorted(dice.randrange(5_000, 150_000) for _ in range(15)):
        assert status(child(save_for_ever, path, limit)) == -signal.SIGXFSZ
        state = load_checkpoint(path)
        assert torch.equal(state["data"], torch.full((state["size"] % 50_000,), state["size"]))
        (torn,) = tmp_path.glob("*.tmp")
        assert torn.stat().st_size == limit >= path.stat().st_size
        torn.unlink()


def test_a_checkpoint_is_whole_whenever_its_writer_is_killed(tmp_path):
    """From outside, while it saves and saves: the system decides how far it has come by then."""
    path, dice = tmp_path / "checkpoint.pt", random.Random(0)
    for _ in range(15):
        heard, said = forks.Pipe(duplex=False)
        process = child(save_for_ever, path, None, said)
        said.close()
        for _ in range(dice.randrange(1, 20)):
            assert heard.poll(HANGS)
            size = heard.recv()
        process.kill()
        assert status(process) == -signal.SIGKILL
        state = load_checkpoint(path)
        assert torch.equal(state["data"], torch.full((state["size"] % 50_000,), state["size"]))
        assert state["size"] >= size  # what was said to be saved is


def test_a_full_disk_is_one_line_and_leaves_the_last_checkpoint_whole(words, lines, tmp_path):
    out = tmp_path / "run"
    half = (loop.__file__, lines[loop.__file__] // 2)
    assert status(child(run_until_killed_at_a_line, [*words, "--out", str(out)], *half)) == -signal.SIGKILL
    done = load_checkpoint(out / "checkpoint.pt")["rows"]["history.jsonl"]
    assert 0 < done < STEPS
    for limit in ((out / "checkpoint.pt").stat().st_size // 2, (out / "history.jsonl").stat().st_size // 2 + 1):
        process = child(run_nascore, [*words, "--out", str(out), "--resume"], tmp_path / "errors", limit)
        assert status(process) == 2
        error = (tmp_path / "errors").read_text()
        assert error.count("\n") == 1
        assert f"cannot write to {out}" in error and "the last checkpoint is whole" in error and "--resume" in error
        assert load_checkpoint(out / "checkpoint.pt")["rows"]["history.jsonl"] == done


# `python -m nascore`, whose fourth step lasts until its user has pressed Ctrl-C and then Enter.
HELD = """
import runpy
from nascore.methods.darts import DARTS

step = DARTS.step
def held(search):
    if len(search.history) == 3:
        print("in the fourth step", flush=True)
        input()
    return step(search)

DARTS.step = held
runpy.run_module("nascore", run_name="__main__")
"""


def test_ctrl_c_says_how_to_resume_and_that_works(tmp_path, capsys):
    """On the embedded data, in a folder whose name a shell would split."""
    out = tmp_path / "my run"
    text = "search darts --quiet --budget smoke --channels 2 --cells 3 --epochs 3 --batch-size 180"
    text += " --checkpoint-seconds 0"
    command, pipe = [sys.executable, "-c", HELD, *text.split(), "--out", str(out)], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout.readline() == "in the fourth step\n"
        process.send_signal(signal.SIGINT)
        printed, error = process.communicate("\n", timeout=HANGS)
    assert process.returncode == 130, error
    assert printed == "" and error.count("\n") == 1 and "Traceback" not in error
    history = out / "history.jsonl"
    assert len(history.read_text().splitlines()) == 4  # the step in hand was finished
    assert "stopped after 4 steps; go on with: nascore search darts" in error
    again = shlex.split(error.split("go on with: nascore ")[1])
    assert again[-1] == "--resume"
    assert cli.main(again) == 0
    printed, _ = capsys.readouterr()
    assert printed.splitlines()[-1].startswith("best reward: ")
    assert [json.loads(line)["step"] for line in history.read_text().splitlines()] == list(range(1, 13))
    assert {"genotype.json", "genotype.svg"} <= set(os.listdir(out))
