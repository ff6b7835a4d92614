"""The number of threads is part of a run: decided by its sizes, kept on resume, and given back."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
import torch

import nascore
from nascore import cli, data, published, search, spaces
from nascore.errors import UserError
from nascore.estimators import SharedWeights
from nascore.methods import darts
from nascore.nets.convolutional import Network
from nascore.nets.supernet import Supernet
from nascore.record import load_checkpoint
from nascore.threads import LARGE, fitting, one_thread, size, using_threads
from nascore.training import RECIPES, Training, evaluate

SMALL = dict(budget="smoke", channels=2, cells=3, epochs=1, batch_size=240, progress=False)
WORDS = "search darts --budget smoke --channels 2 --cells 3 --epochs 1 --batch-size 180 --quiet".split()


@pytest.fixture(autouse=True)
def three_threads():
    """What the process has, which is no run's number."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    found = torch.get_num_threads()
    torch.set_num_threads(before)
    assert found == 3  # whatever a test did, the process has its own number back


@pytest.fixture
def seen(monkeypatch):
    """How many threads the steps of a DARTS search compute with, as they come."""
    numbers, descend = [], darts.DARTS.descend_weights

    def noted(self, batch):
        numbers.append(torch.get_num_threads())
        return descend(self, batch)

    monkeypatch.setattr(darts.DARTS, "descend_weights", noted)
    return numbers


# --- the rule -------------------------------------------------------------------------------------------------------


def test_the_size_of_a_work_is_that_of_its_first_map():
    assert size(Supernet(channels=4, cells=3), 64, 8 * 8) == 64 * 64 * 12
    assert size(Network(published.GENOTYPES["darts-v2"], channels=4, cells=3), 10, 100) == 10 * 100 * 12
    network = Supernet(channels=4, cells=3)
    few = -(-LARGE // (12 * 64))
    assert [fitting(network, count, 64) for count in (1, few - 1, few, 10 * few)] == [1, 1, 2, 2]


def built(entry, images, budget):
    setting = search._setting(entry, None, images, None, budget)
    return search._build(entry, setting, budget, 0, torch.device("cpu"))


def test_small_searches_have_one_thread_and_the_papers_two():
    digits = data.load("digits")
    for name in ("darts", "enas-micro", "enas-macro"):
        entry = search.get(name)
        for preset in ("smoke", "reduced"):
            assert built(entry, digits, entry.budget.preset(preset)).threads == 1, name
    images = data.load("digits", image_size=32)
    assert built(search.get("darts"), images, darts.DARTSBudget()).threads == 2
    recipe = replace(RECIPES["darts-cifar"], channels=4, cells=3)
    network = Network(published.GENOTYPES["darts-v2"], channels=36, cells=3, in_channels=1)
    assert Training(network, images, recipe, 0).threads == 2
    assert Training(network, digits, replace(recipe, batch_size=16), 0).threads == 1


# --- a run ----------------------------------------------------------------------------------------------------------


def test_a_search_computes_with_its_own_number_and_gives_the_process_s_back(seen):
    nascore.run("darts", **SMALL)
    nascore.run("darts", threads=2, **SMALL)
    assert set(seen[: len(seen) // 2]) == {1} and set(seen[len(seen) // 2 :]) == {2}


def test_what_a_notebook_calls_directly_does_too(seen):
    digits = data.load("digits")
    budget = darts.DARTSBudget.preset("smoke", channels=2, cells=3, batch_size=180)
    loop = darts.DARTS(spaces.get("darts"), digits, budget, 0, torch.device("cpu"))
    loop.step()
    loop.threads = 2
    loop.step()
    assert seen == [1, 2]
    inside = []
    network = Network(published.GENOTYPES["darts-v2"], channels=2, cells=3, in_channels=1)
    network.register_forward_pre_hook(lambda *_: inside.append(torch.get_num_threads()))
    evaluate(network, digits)
    evaluate(network, digits, threads=2)
    Training(network, digits, replace(RECIPES["child"], channels=2, cells=3), 0).step()
    assert inside == [1, 2, 1]

    def noting(batch, genotype):
        inside.append(torch.get_num_threads())
        return torch.zeros(len(batch), 10)

    SharedWeights(noting, digits.validation_split(0.5), 180)([published.GENOTYPES["enas-micro"]])
    assert set(inside[3:]) == {1}


def test_blocks_within_blocks_and_two_at_once_leave_the_number_as_it_was():
    with using_threads(2):
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    first_is_in, second_is_out = threading.Event(), threading.Event()
    numbers = []

    def first():
        with using_threads(1):
            first_is_in.set()
            assert second_is_out.wait(60)
            numbers.append(torch.get_num_threads())

    thread = threading.Thread(target=first)
    thread.start()
    assert first_is_in.wait(60)
    with using_threads(2):
        numbers.append(torch.get_num_threads())
    second_is_out.set()
    thread.join()
    assert numbers == [2, 1]


def test_two_panels_at_once_end_like_one_alone():
    alone = nascore.run("darts", **SMALL)
    results = {}

    def panel(k):
        results[k] = nascore.run("darts", **SMALL)

    threads = [threading.Thread(target=panel, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0].history == results[1].history == alone.history


# --- written down, and kept -----------------------------------------------------------------------------------------


def begun(out, **options):
    steps = iter(range(99))
    nascore.run("darts", directory=out, stop=lambda: next(steps) == 2, **SMALL | options)


def test_it_is_written_down_and_a_resumed_run_keeps_it(tmp_path, seen):
    whole = nascore.run("darts", threads=2, **SMALL)
    begun(tmp_path / "run", threads=2)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["threads"] == 2
    seen.clear()
    resumed = nascore.run("darts", directory=tmp_path / "run", resume=True, **SMALL)
    assert set(seen) == {2} and resumed.history == whole.history
    assert load_checkpoint(tmp_path / "run" / "checkpoint.pt")["config"]["threads"] == 2
    assert json.loads((tmp_path / "run" / "config.json").read_text())["threads"] == 2


def test_another_number_is_another_run(tmp_path):
    begun(tmp_path / "run")
    with pytest.raises(UserError, match="holds another run: its threads is 1, asked for is 2"):
        nascore.run("darts", directory=tmp_path / "run", resume=True, threads=2, **SMALL)
    assert nascore.run("darts", directory=tmp_path / "run", resume=True, threads=1, **SMALL).finished


def test_a_training_too(tmp_path, capsys):
    words = "train darts-v2 --recipe child --channels 2 --cells 3 --epochs 1 --batch-size 500 --quiet".split()
    for number, more in ((1, []), (2, ["--threads", "2"])):
        assert cli.main([*words, *more, "--out", str(tmp_path / f"{number}")]) == 0
        assert json.loads((tmp_path / f"{number}" / "config.json").read_text())["threads"] == number


@pytest.mark.parametrize("found", [0, -1, 1.5, "2", True, 2000])
def test_what_is_no_number_of_threads_is_one_line(found):
    with pytest.raises(UserError, match="--threads: found .*, allowed: a whole number from 1 to 1024"):
        nascore.run("darts", threads=found, **SMALL)


def ran(words, out, cores, **environment):
    """The history of a search by a process of its own that has so many cores."""
    theirs = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    everything = theirs | environment | {"OMP_WAIT_POLICY": "PASSIVE"}  # two that spin on one core take minutes
    command = [sys.executable, "-m", "nascore", *words, "--out", str(out)]
    limit = {"preexec_fn": lambda: os.sched_setaffinity(0, cores)} if cores else {}
    ended = subprocess.run(command, env=everything, capture_output=True, text=True, **limit)
    assert ended.returncode == 0, ended.stderr
    return (out / "history.jsonl").read_bytes(), (out / "genotype.json").read_bytes()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux alone says which cores a process has")
@pytest.mark.parametrize("threads", [None, 2])
def test_the_same_bytes_whatever_the_machine_has(tmp_path, threads):
    words = [*WORDS, *(["--threads", str(threads)] if threads else [])]
    one_core = ran(words, tmp_path / "one core", {min(os.sched_getaffinity(0))})
    all_cores = ran(words, tmp_path / "all cores", None)
    sixteen = ran(words, tmp_path / "sixteen", None, OMP_NUM_THREADS="16")
    assert one_core == all_cores == sixteen
