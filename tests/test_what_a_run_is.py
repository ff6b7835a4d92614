"""A run is its content and not its names: what --resume accepts, what it refuses, and the formats
of files."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import nascore
from nascore import cli, estimators, spaces
from nascore.data import load
from nascore.errors import UserError
from nascore.estimators import Table, TrainChildren
from nascore.files import FORMAT, check_format, read_rows
from nascore.genotypes import GenotypeError, from_json, to_json
from nascore.published import GENOTYPES
from nascore.record import load_checkpoint, save_checkpoint
from nascore.training import RECIPES

SMALL = dict(budget="smoke", channels=2, cells=3, batch_size=4, epochs=2, progress=False)
FIXTURES = Path(__file__).parent / "formats"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def folder_of(folder, classes=("a", "b"), seed=0):
    dice = np.random.default_rng(seed)
    for part in ("train", "test"):
        for label, name in enumerate(classes):
            (folder / part / name).mkdir(parents=True, exist_ok=True)
            for k in range(8):
                pixels = dice.integers(0, 100, (8, 8, 3)) + 100 * label
                Image.fromarray(pixels.astype(np.uint8)).save(folder / part / name / f"{k}.png")
    return folder


def begun(folder, out, **options):
    steps = iter(range(99))
    result = nascore.run("darts", data=folder, directory=out, stop=lambda: next(steps) == 3, **SMALL | options)
    assert not result.finished and len(result.history) == 3


def resumed(folder, out, **options):
    return nascore.run("darts", data=folder, directory=out, resume=True, **SMALL | options)


# --- data -----------------------------------------------------------------------------------------------------------


def test_the_same_images_are_the_same_run_wherever_they_lie(tmp_path, monkeypatch):
    folder_of(tmp_path / "im")
    whole = nascore.run("darts", data=tmp_path / "im", **SMALL)
    monkeypatch.chdir(tmp_path)
    shutil.copytree("im", "elsewhere")
    for k, name in enumerate(("./im", tmp_path / "im", "elsewhere", "im/../im")):
        begun("im", f"run {k}")
        assert resumed(name, f"run {k}").history == whole.history
    config = json.loads((tmp_path / "run 0" / "config.json").read_text())
    assert config["data"]["name"] == str(tmp_path / "im")  # as an absolute path
    assert config["data"]["classes"] == ["a", "b"] and config["data"]["train"] == config["data"]["test"] == 16


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda f: (shutil.rmtree(f), folder_of(f, seed=1)), "its data's content is '"),
        (lambda f: (f / "train" / "a").rename(f / "x"), None),
        (lambda f: folder_of(f, classes=("a", "b", "c")), "its data's classes is ['a', 'b'], asked for is ['a', 'b', "),
        (lambda f: (f / "train" / "a" / "0.png").unlink(), "its data's train is 16, asked for is 15"),
        (lambda f: exchange(f / "train" / "a", f / "train" / "b"), "its data's content is '"),
    ],
    ids=["other images", "a class away", "a class more", "an image less", "classes exchanged"],
)  # fmt: skip
def test_other_images_under_the_same_name_are_another_run(tmp_path, change, said):
    folder, out = folder_of(tmp_path / "im"), tmp_path / "run"
    begun(folder, out)
    before = (out / "checkpoint.pt").read_bytes()
    change(folder)
    with pytest.raises(UserError) as caught:
        resumed(folder, out)
    if said:
        assert f"{out} holds another run: {said}" in str(caught.value)
    assert "\n" not in str(caught.value) and (out / "checkpoint.pt").read_bytes() == before


def exchange(one, other):
    one.rename(one.with_name("x"))
    other.rename(one)
    one.with_name("x").rename(other)


def test_size_and_mirroring_belong_to_the_data(tmp_path):
    folder, out = folder_of(tmp_path / "im"), tmp_path / "run"
    begun(folder, out, flip=False)
    with pytest.raises(UserError, match="its data's flip is False, asked for is True"):
        resumed(folder, out)
    with pytest.raises(UserError, match=r"its data's image is \[3, 8, 8\], asked for is \[3, 12, 12\]"):
        resumed(folder, out, flip=False, image_size=12)
    assert resumed(folder, out, flip=False).finished
    with pytest.raises(UserError, match="--image-size, --no-flip: found with no images"):
        nascore.run("random", data="nasbench201", flip=False)


# --- spaces and estimators ------------------------------------------------------------------------------------------


def half(genotypes):
    return [0.5 for _ in genotypes]


def third(genotypes):
    return [1 / 3 for _ in genotypes]


def test_other_operations_are_another_space_and_no_architecture_is_returned_that_was_never_tried(
    tmp_path,
):
    """The same numbers would mean other cells."""
    one, other = (
        spaces.get("darts", primitives=("none", *three))
        for three in (
            ("skip_connect", "sep_conv_3x3", "conv_1x1"),
            ("max_pool_3x3", "avg_pool_3x3", "dil_conv_3x3"),
        )
    )
    steps = iter(range(99))
    how = dict(estimate=half, trials=9, directory=tmp_path, progress=False)
    nascore.run("random", space=one, stop=lambda: next(steps) == 4, **how)
    with pytest.raises(UserError, match=r"its space's operations is \['none', 'skip_connect', 'sep_conv_3x3'"):
        nascore.run("random", space=other, resume=True, **how)
    result = nascore.run("random", space=one, resume=True, **how)
    assert json.loads(to_json(result.genotype)) in [row["genotype"] for row in result.history]


def test_a_space_whose_meaning_changed_is_noticed_even_where_its_fingerprint_did_not(tmp_path, monkeypatch):
    space, steps = spaces.get("darts"), iter(range(99))
    how = dict(estimate=half, space=space, trials=9, directory=tmp_path, progress=False)
    nascore.run("random", stop=lambda: next(steps) == 4, **how)
    about = json.loads((tmp_path / "config.json").read_text())["space"]
    monkeypatch.setattr("nascore.search.examine", lambda space: about)
    other = spaces.get("darts", primitives=tuple(reversed(spaces.DARTS_PRIMITIVES)))
    with pytest.raises(UserError, match="its decisions mean another architecture now"):
        nascore.run("random", resume=True, **how | {"space": other})


def test_another_estimator_is_another_run(tmp_path):
    steps = iter(range(99))
    how = dict(space="darts", trials=9, directory=tmp_path, progress=False)
    nascore.run("random", estimate=half, stop=lambda: next(steps) == 4, **how)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["estimator"] == {"name": "test_what_a_run_is.half"} and config["data"] is None
    said = "its estimator's name is 'test_what_a_run_is.half', asked for is 'test_what_a_run_is.third'"
    with pytest.raises(UserError, match=said):
        nascore.run("random", estimate=third, resume=True, **how)
    third.name = "test_what_a_run_is.half"  # who knows better may say so
    try:
        assert nascore.run("random", estimate=third, resume=True, **how).finished
    finally:
        del third.name


def test_a_knob_that_is_younger_than_the_run_is_filled_with_its_default_and_that_is_said(tmp_path, capsys):
    out = tmp_path / "run"
    begun(folder_of(tmp_path / "im"), out)
    state = load_checkpoint(out / "checkpoint.pt")
    del state["config"]["budget"]["clip"]
    save_checkpoint(out / "checkpoint.pt", state)
    with pytest.raises(UserError, match="its clip is 5.0, asked for is 4.0"):
        resumed(tmp_path / "im", out, clip=4.0)
    assert capsys.readouterr().err == ""
    assert resumed(tmp_path / "im", out).finished
    said = capsys.readouterr().err
    assert said == f"nascore: {out} was begun before there was clip, which is 5.0 in it\n"
    assert load_checkpoint(out / "checkpoint.pt")["config"]["budget"]["clip"] == 5.0


# --- formats --------------------------------------------------------------------------------------------------------


def test_every_file_says_which_format_it_has(tmp_path):
    folder_of(tmp_path / "im")
    words = "--budget smoke --channels 2 --cells 3 --batch-size 4 --epochs 1 --quiet".split()
    assert (
        cli.main(
            [
                "search",
                "darts",
                *words,
                "--data",
                str(tmp_path / "im"),
                "--out",
                str(tmp_path / "run"),
            ]
        )
        == 0
    )
    words = "--recipe child --channels 2 --epochs 1 --cells 2 --batch-size 8 --quiet".split()
    train = [
        "train",
        str(tmp_path / "run"),
        *words,
        "--data",
        str(tmp_path / "im"),
        "--out",
        str(tmp_path / "trained"),
    ]
    assert cli.main(train) == 0
    for name in ("config.json", "genotype.json"):
        assert json.loads((tmp_path / "run" / name).read_text())["format"] == FORMAT
    assert json.loads((tmp_path / "trained" / "result.json").read_text())["format"] == FORMAT
    for out in (tmp_path / "run", tmp_path / "trained"):
        assert load_checkpoint(out / "checkpoint.pt")["format"] == FORMAT
        for name in ("history.jsonl", "timing.jsonl"):
            assert {row["format"] for row in read_rows(out / name)} == {FORMAT}


def test_a_newer_format_is_refused_in_one_line(tmp_path):
    newer, said = FORMAT + 1, "newer nascore \\(format 2; this one reads formats to 1\\): update"
    genotype = {"format": newer, **json.loads(to_json(GENOTYPES["darts-v2"]))}
    with pytest.raises(GenotypeError, match=said):
        from_json(json.dumps(genotype))
    assert from_json(json.dumps(genotype | {"format": FORMAT})) == GENOTYPES["darts-v2"]
    (tmp_path / "history.jsonl").write_text(f'{{"format": {newer}, "step": 1}}\n')
    with pytest.raises(UserError, match=said):
        read_rows(tmp_path / "history.jsonl")
    how = dict(data="nasbench201", trials=3, progress=False, directory=tmp_path / "run")
    nascore.run("random", **how)
    state = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    for found, line in (
        (newer, said),
        (0, "was written before files had formats: name another directory to begin"),
    ):
        save_checkpoint(tmp_path / "run" / "checkpoint.pt", state | {"format": found})
        with pytest.raises(UserError, match=line) as caught:
            nascore.run("random", resume=True, **how)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("found", [-1, "1", 1.5, True, None])
def test_a_format_is_a_number(found):
    with pytest.raises(UserError, match="a file: format: found .*, allowed: a whole number to 1"):
        check_format({"format": found}, "a file")


@pytest.mark.parametrize("text", ["{", "[1]\n", "5\n", '{"step": 1}\nnull\n'])
def test_rows_that_are_none_are_one_line(tmp_path, text):
    (tmp_path / "history.jsonl").write_text(text)
    with pytest.raises(UserError, match="history.jsonl"):
        read_rows(tmp_path / "history.jsonl")


def fixtures():
    return sorted(path.parent for path in FIXTURES.glob("*/*/checkpoint.pt"))


@pytest.mark.parametrize("folder", fixtures(), ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_the_files_of_every_release_open(folder, tmp_path, capsys):
    """Each was stopped half-way by its release: it describes, draws, reads, and goes on to its
    end."""
    out = tmp_path / "run"
    shutil.copytree(folder, out)
    words = json.loads((folder / "command.json").read_text())
    before = read_rows(out / "history.jsonl")
    assert before and {row["format"] for row in before} <= set(range(1, FORMAT + 1))
    (out / "command.json").unlink()
    assert cli.main([*words, "--out", str(out), "--resume", "--quiet"]) == 0, capsys.readouterr().err
    after = read_rows(out / "history.jsonl")
    assert len(after) > len(before)
    floats = [(row, again) for row, again in zip(before, after)]
    assert all(again["step"] == row["step"] and again.get("reward") == row.get("reward") for row, again in floats)
    genotype = out / "genotype.json"
    assert words[0] == "train" or from_json(genotype.read_text())
    assert torch.load(out / "checkpoint.pt", weights_only=True)["format"] == FORMAT


def test_there_are_files_of_this_release():
    assert (FIXTURES / str(FORMAT)).is_dir() and len(list((FIXTURES / str(FORMAT)).iterdir())) >= 8


# --- what an estimator is -------------------------------------------------------------------------------------------


class OnAnotherColumn(Table):
    signal = "cifar100_valid"


def constant(genotypes, value):
    return [value] * len(genotypes)


def children(**how):
    recipe = replace(RECIPES["child"], epochs=1, batch_size=500)
    return TrainChildren(how.pop("data", load("digits")), replace(recipe, **how), 2, 3, "nasbench201", workers=1)


@pytest.mark.parametrize(
    "first, second",
    [
        (Table(), OnAnotherColumn()),
        (lambda genotypes: [0.1] * len(genotypes), lambda genotypes: [0.9] * len(genotypes)),
        (partial(constant, value=0.1), partial(constant, value=0.9)),
        (children(), children(learning_rate=0.01)),
        (children(), children(data=load("digits", flip=True))),
    ],
    ids=["a column", "a lambda", "a partial", "a recipe", "images"],
)
def test_what_an_estimator_measures_belongs_to_a_run(tmp_path, first, second):
    how = dict(space="nasbench201", budget="smoke", trials=3, progress=False, directory=tmp_path / "run")
    steps = iter(range(9))
    nascore.run("random", estimate=first, stop=lambda: next(steps) == 1, **how)
    with pytest.raises(UserError, match="holds another run: its estimator's name is"):
        nascore.run("random", estimate=second, resume=True, **how)
    assert nascore.run("random", estimate=first, resume=True, **how).finished


def test_how_images_are_normalised_and_cropped_belongs_to_them(tmp_path):
    images = load("digits")
    how = dict(
        budget="smoke",
        channels=2,
        epochs=1,
        batch_size=360,
        progress=False,
        directory=tmp_path / "run",
    )
    steps = iter(range(9))
    nascore.run("darts", data=images, stop=lambda: next(steps) == 1, **how)
    for changed in (dict(padding=0), dict(mean=(0.9,)), dict(std=(5.0,))):
        with pytest.raises(UserError, match=f"its data's {next(iter(changed))} is"):
            nascore.run("darts", data=replace(images, **changed), resume=True, **how)


def test_the_threads_of_children_are_kept_too(tmp_path, monkeypatch):
    seen, train = [], estimators.Child.estimate

    def estimate(child, genotype, task):
        seen.append(child.threads)
        return train(replace(child, threads=1), genotype, task)

    monkeypatch.setattr(estimators.Child, "estimate", estimate)
    how = dict(budget="smoke", channels=2, trials=2, child_epochs=1, progress=False, directory=tmp_path / "run")
    steps = iter(range(9))
    nascore.run("random", threads=2, stop=lambda: next(steps) == 1, **how)
    nascore.run("random", resume=True, **how)
    assert seen == [2, 2]
