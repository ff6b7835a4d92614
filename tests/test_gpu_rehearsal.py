"""What waits for a card, rehearsed on the CPU: the checks of `test_gpu.py`, and `notebooks/runs/gpu.py` from its first
step to its last."""

import json
import os
import subprocess
import sys
import tarfile
from argparse import Namespace
from pathlib import Path

import gpu_checks as checks
import pytest
import torch
from PIL import Image

HERE = "cpu"
RUNS = Path(__file__).parents[1] / "notebooks" / "runs"
NOT_CORE = ("graphviz", "pygraphviz", "matplotlib", "ipywidgets")


def test_numbers_of_all_three_steps():
    found = checks.distances(HERE, torch.float32, "finite-difference")
    assert len(found) == 4 and 0 < min(found.values())
    # A difference of two gradients over a short probe: rounding is divided by its length. 3e-4 on an AMD EPYC.
    assert found.pop("alphas, second order") < 1e-3
    assert max(found.values()) < 1e-4


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


# --- notebooks/runs/gpu.py --------------------------------------------------------------------------------------------


@pytest.fixture
def without(tmp_path):
    """An environment in which what only pictures and widgets need cannot be imported."""
    folder = tmp_path / "without"
    folder.mkdir()
    for name in NOT_CORE:
        (folder / f"{name}.py").write_text("raise ImportError")
    paths = [str(folder), str(RUNS.parents[1]), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def test_a_search_needs_neither_pictures_nor_widgets(without):
    search = "nascore.run('enas-macro', budget='smoke', epochs=1, progress=False)"
    code = f"import nascore, sys; {search}; assert not {{*{NOT_CORE}}} & {{*sys.modules}}"
    subprocess.run([sys.executable, "-c", code], env=without, check=True)


def gpu_py(environment, *options) -> str:
    command = [sys.executable, str(RUNS / "gpu.py"), "--toy", "--device", "cpu", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def archive(folder: Path) -> Path:
    """A few images of two classes, as cifar10-jpeg.tar.xz holds many of ten."""
    for part, count in (("train", 24), ("test", 4)):
        for kind, colour in (("red", (250, 10, 10)), ("blue", (10, 10, 250))):
            place = folder / "images" / part / kind
            place.mkdir(parents=True)
            for k in range(count):
                Image.new("RGB", (16, 16), (colour[0], k * 5, colour[2])).save(place / f"{k:04}.jpg")
    with tarfile.open(folder / "few.tar.xz", "w:xz") as file:
        for part in ("train", "test"):
            file.add(folder / "images" / part, part)
    return folder / "few.tar.xz"


def test_two_calls_measure_all_there_is(without, tmp_path):
    out = tmp_path / "out"
    options = ("--out", str(out), "--data", str(archive(tmp_path)))
    said = gpu_py(without, *options, "--minutes", "0.01")
    assert "out of time" in said and "go on with the same command" in said
    before = json.loads((out / "results.json").read_text())
    assert before["steps"]["smoke"] and len(before["done"]) < 9
    said = gpu_py(without, *options)
    assert "done" in said and "smoke:" not in said  # it went on
    results = json.loads((out / "results.json").read_text())
    assert results["about"] == before["about"] and results["steps"]["smoke"] == before["steps"]["smoke"]
    steps = ["smoke", "tests", "kernels", "profile", "steps", "children", "ENAS", "DARTS", "cell"]
    assert results["done"] == steps and "error" not in json.dumps(results)
    table = (out / "table.md").read_text()
    assert all(f"| {step} |" in table for step in steps)
    files = list(out.iterdir())
    assert len(files) <= 8 and all(file.is_file() and file.stat().st_size < 100_000 for file in files)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(RUNS))
    import gpu

    options = Namespace(device=HERE, toy=True, data=None, reference=None, out=tmp_path / "out", minutes=9.0)
    return lambda: gpu.Run(options)


def test_the_long_search_goes_on_where_it_stopped(toy):
    from gpu_searches import OutOfTime, darts

    run = toy()
    asked = iter([False] * 4 + [True] * 9)
    run.stopped = lambda: next(asked)  # once for the item, then before every step
    with pytest.raises(OutOfTime):
        darts(run, 0)
    rows = (run.work / "darts" / "history.jsonl").read_text().splitlines()
    assert 0 < len(rows) < 8 and run.results["steps"]["DARTS"] == {}
    run = toy()
    darts(run, 0)
    assert run.results["steps"]["DARTS"]["first order"]["steps"] == 8
    assert (run.work / "darts" / "history.jsonl").read_text().splitlines()[: len(rows)] == rows


def test_what_fails_is_a_line_and_a_card_that_is_lost_ends_a_call(toy):
    from gpu_searches import OutOfTime

    def fails(error):
        def measure():
            raise error

        return measure

    lost = torch.AcceleratorError("CUDA error: device-side assert triggered")
    items = [("bad", fails(ValueError("one\ntwo"))), ("lost", fails(lost)), ("good", lambda: {"value": 1})]
    for _ in range(2):
        run = toy()
        with pytest.raises(OutOfTime):
            run.each("things", 0, items)
        assert run.lost
    run = toy()
    run.each("things", 0, items)
    found = json.loads(run.file.read_text())["steps"]["things"]
    assert found["bad"] == {"error": "'ValueError: one two'"} and "device-side" in found["lost"]["error"]
    assert found["good"] == {"value": 1} and "| things | good | value 1 |" in (run.out / "table.md").read_text()
