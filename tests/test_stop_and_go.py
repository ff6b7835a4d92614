"""Processes that are killed, interrupted or run out of disk, and end in the same bits as one that was not."""

import json
import multiprocessing
import os
import random
import resource
import shlex
import signal
import statistics
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from nascore import cli
from nascore.loop import load_checkpoint, save_checkpoint

# Children of one warm process, which has everything imported: they start in no time, and are killed for real.
forks = multiprocessing.get_context("forkserver")
# (PyTorch's optimizers import torch._dynamo at their first step.)
forks.set_forkserver_preload(["nascore.search", "nascore.methods.darts", "nascore.show.drawing", "torch._dynamo"])

STEPS, KILLS = 40, 10


def child(target, *arguments):
    process = forks.Process(target=target, args=arguments)
    process.start()
    return process


def run_nascore(words, errors=None, limit=None):
    torch.set_num_threads(1)
    if errors:
        os.dup2(os.open(errors, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), 2)
    if limit:  # no file may grow beyond it: what a full disk looks like from inside
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.exit(cli.main(words))


def wait_for(condition, process, seconds=300):
    end = time.monotonic() + seconds
    while not condition() and process.is_alive() and time.monotonic() < end:
        time.sleep(0.002)


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
    out = tmp_path_factory.mktemp("whole") / "run"
    process = child(run_nascore, [*words, "--out", str(out)])
    process.join()
    assert process.exitcode == 0
    return out


def tensors(value):
    """All tensors in a checkpoint, in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from tensors(part)


def assert_same_run(out, whole):
    for name in ("genotype.json", "history.jsonl", "config.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    ours, theirs = (load_checkpoint(folder / "checkpoint.pt")["loop"] for folder in (out, whole))
    assert len(ours["alphas"]) == 2 and all(torch.equal(a, b) for a, b in zip(ours["alphas"], theirs["alphas"]))
    pairs = list(zip(tensors(ours), tensors(theirs), strict=True))
    assert len(pairs) > 100 and all(torch.equal(a, b) for a, b in pairs)  # weights and both optimizers too
    assert len((out / "timing.jsonl").read_text().splitlines()) == len(ours["history"])
    assert not list(out.glob("*.tmp"))


def test_a_search_killed_ten_times_ends_in_the_same_bits(words, uninterrupted, tmp_path):
    out, dice, survived = tmp_path / "run", random.Random(time.time_ns()), []
    checkpoint = out / "checkpoint.pt"
    paces = [json.loads(line)["seconds"] for line in (uninterrupted / "timing.jsonl").read_text().splitlines()]
    pace = statistics.median(paces)  # on a fast machine a kill must come sooner
    for kill in range(KILLS + 1):
        resume = ["--resume"] if checkpoint.exists() else []
        before = checkpoint.stat().st_mtime_ns if resume else None
        process = child(run_nascore, [*words, "--out", str(out), *resume])
        if kill == KILLS:
            process.join()
            break
        if kill % 2:  # every other one gets some way, so that there is a run to go on with
            wait_for(lambda before=before: checkpoint.exists() and checkpoint.stat().st_mtime_ns != before, process)
        time.sleep(dice.uniform(0, pace))
        assert process.is_alive(), "the search was over before it had been killed ten times"
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        if checkpoint.exists():
            survived.append(len(load_checkpoint(checkpoint)["loop"]["history"]))  # whole, whenever the kill came
    assert process.exitcode == 0
    assert survived == sorted(survived) and survived[-1] <= STEPS
    assert_same_run(out, uninterrupted)


def save_for_ever(path):
    size = 0
    while True:
        save_checkpoint(path, {"size": size, "data": torch.full((size % 50_000,), size)})
        size += 7919


def test_a_checkpoint_is_whole_whenever_its_writer_is_killed(tmp_path):
    path, dice, sizes = tmp_path / "checkpoint.pt", random.Random(time.time_ns()), set()
    for _ in range(15):
        process = child(save_for_ever, path)
        wait_for(lambda: path.exists() and time.sleep(dice.uniform(0, 0.03)) is None, process)
        process.kill()
        process.join()
        state = load_checkpoint(path)
        assert torch.equal(state["data"], torch.full((state["size"] % 50_000,), state["size"]))
        sizes.add(state["size"])
    assert sizes


def test_a_full_disk_is_one_line_and_leaves_the_last_checkpoint_whole(words, tmp_path):
    out = tmp_path / "run"
    process = child(run_nascore, [*words, "--out", str(out)])
    wait_for(lambda: (out / "history.jsonl").exists() and (out / "history.jsonl").stat().st_size, process)
    process.kill()
    process.join()
    done = len(load_checkpoint(out / "checkpoint.pt")["loop"]["history"])
    assert done < STEPS
    for limit in ((out / "checkpoint.pt").stat().st_size // 2, (out / "history.jsonl").stat().st_size // 2 + 1):
        process = child(run_nascore, [*words, "--out", str(out), "--resume"], tmp_path / "errors", limit)
        process.join()
        assert process.exitcode == 2
        error = (tmp_path / "errors").read_text()
        assert error.count("\n") == 1
        assert f"cannot write to {out}" in error and "the last checkpoint is whole" in error and "--resume" in error
        assert len(load_checkpoint(out / "checkpoint.pt")["loop"]["history"]) == done


def test_ctrl_c_says_how_to_resume_and_that_works(tmp_path, capsys):
    """The installed command, on the embedded data, in a folder whose name a shell would split."""
    out = tmp_path / "my run"
    text = "search darts --budget smoke --channels 2 --cells 3 --epochs 3 --batch-size 180 --checkpoint-seconds 0"
    command = [sys.executable, "-m", "nascore", *text.split(), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    history = out / "history.jsonl"
    end = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < end and not (history.exists() and history.stat().st_size):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    printed, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert printed == "" and error.count("\n") == 1 and "Traceback" not in error
    steps = len(history.read_text().splitlines())
    assert 1 <= steps < 12 and f"stopped after {steps} steps; go on with: nascore search darts" in error
    again = shlex.split(error.split("go on with: nascore ")[1])
    assert again[-1] == "--resume"
    assert cli.main(again) == 0
    printed, _ = capsys.readouterr()
    assert printed.splitlines()[-1].startswith("best reward: ")
    assert [json.loads(line)["step"] for line in history.read_text().splitlines()] == list(range(1, 13))
    assert {"genotype.json", "genotype.svg"} <= set(os.listdir(out))
