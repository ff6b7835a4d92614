"""A trained network as a folder that stands alone: predicted from, tested, read again, whatever is wrong with it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from test_pictures import tiff

import nascore
from nascore import cli, data, folders, formats, genotypes, models, training
from nascore.errors import UserError
from nascore.show import looks

TINY = dict(channels=4, cells=3, epochs=2, batch_size=120, progress=False)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return nascore.train("darts-v2", directory=tmp_path_factory.mktemp("model") / "run", auxiliary_weight=0.4, **TINY)


@pytest.fixture
def folder(trained, tmp_path):
    """A model's two files alone, far from where it was trained."""
    for name in (models.WEIGHTS, models.ABOUT):
        shutil.copy(trained.directory / name, tmp_path / name)
    return tmp_path


def draw_images(folder, names=("up", "down"), count=12, size=(16, 16), mode="RGB"):
    """Red above blue, or blue above red."""
    for part in ("train", "test"):
        for name in names:
            (folder / part / name).mkdir(parents=True)
            for k in range(count):
                pixels = np.full((size[1], size[0], 3), 8 * k, np.uint8)
                half, first = size[1] // 2, 0 if name == names[0] else 2
                pixels[:half, :, first] = pixels[half:, :, 2 - first] = 250
                Image.fromarray(pixels).convert(mode).save(folder / part / name / f"{k}.png")
    return folder


def line(capsys, *words):
    assert cli.main(list(map(str, words))) == 2
    said = capsys.readouterr().err
    assert said.startswith("nascore: ") and said.count("\n") == 1
    return said


# --- the folder ------------------------------------------------------------------------------------------------------


def test_the_folder_says_all_that_an_answer_needs(trained, digits):
    about = json.loads((trained.directory / "model.json").read_text())
    assert about["format"] == 1 and about["task"] == "images"
    assert formats.read(trained.directory) == formats.read("darts-v2") == formats.read(trained.directory / "model.json")
    assert about["classes"] == list(digits.classes) and about["accuracy"] == trained.accuracy
    image = about["image"]
    assert (image["channels"], image["height"], image["width"]) == digits.train.shape[1:]
    assert (image["mean"], image["std"]) == (list(digits.mean), list(digits.std)) and "centre" in image["resize"]
    assert about["data"] == json.loads(json.dumps(digits.fingerprint())) and about["date"].count("-") == 2
    assert about["recipe"]["epochs"] == 2 and about["network"]["skeleton"] == "darts"
    weights = safetensors.torch.load_file(trained.directory / "model.safetensors")
    assert not any("auxiliary" in name or "momentum" in name for name in weights)
    assert {"stems.0.1.running_mean", "head.2.weight"} <= weights.keys()


def test_a_loaded_model_gives_the_trained_network_s_probabilities(trained, folder, digits):
    model = nascore.load(folder)
    found = model.predict(digits.test)
    assert torch.equal(found, trained.model.predict(digits.test))
    with torch.no_grad():
        logits = model.network(digits.normalise(digits.test[:50]))
    torch.testing.assert_close(found[:50], logits.softmax(1))
    torch.testing.assert_close(found.sum(1), torch.ones(len(found)))
    assert (found.argmax(1) == digits.test_labels).double().mean().item() == pytest.approx(trained.accuracy)
    _, accuracy = training.evaluate(model.network, digits)
    assert accuracy == trained.accuracy
    assert isinstance(model.network, torch.nn.Module) and not model.network.training


def test_a_batch_of_one_and_of_many_agree(trained, digits):
    together = trained.model.predict(digits.test[:7])
    torch.testing.assert_close(trained.model.predict(digits.test[:7], batch_size=1), together)


def test_saved_again_it_is_the_same(folder, tmp_path):
    nascore.load(folder).save(tmp_path / "again")
    first, second = ((path / models.WEIGHTS).read_bytes() for path in (folder, tmp_path / "again"))
    assert first == second
    about = [json.loads((path / models.ABOUT).read_text()) for path in (folder, tmp_path / "again")]
    assert about[0] == about[1]


def test_a_stopped_training_has_a_model_in_hand_and_none_on_disk(tmp_path):
    steps = []
    stop = {"stop": lambda: len(steps) > 3, "progress": steps.append}
    found = nascore.train("darts-v2", directory=tmp_path / "run", **{**TINY, **stop})
    assert not found.finished and found.accuracy is None and found.steps == 4
    assert found.model.predict(torch.zeros(1, 1, 8, 8, dtype=torch.uint8)).shape == (1, 10)
    assert not (tmp_path / "run" / "model.json").exists()
    again = nascore.train("darts-v2", directory=tmp_path / "run", resume=True, **TINY)
    whole = nascore.train("darts-v2", **TINY)
    assert again.finished and again.accuracy == whole.accuracy
    for (name, a), (_, b) in zip(again.model.network.state_dict().items(), whole.model.network.state_dict().items()):
        assert torch.equal(a, b), name


GENOTYPES = ["darts-v1", "nasnet-a", "pnasnet-5", "enas-micro", "enas-macro", "nas-rl-15"]


@pytest.mark.parametrize("name", GENOTYPES)
def test_every_skeleton_comes_back(name, digits, tmp_path):
    images = data.load("digits", image_size=16)
    short = {**TINY, "epochs": 1, "batch_size": 700}
    if name in ("enas-macro", "nas-rl-15"):  # which have their own depth
        short = {k: v for k, v in short.items() if k not in ("cells", "channels")}
    found = nascore.train(name, images, directory=tmp_path / "run", **short)
    assert torch.equal(nascore.load(tmp_path / "run").predict(images.test[:9]), found.model.predict(images.test[:9]))


# --- what is wrong with a folder --------------------------------------------------------------------------------------


def spoil(folder, **changes):
    file = folder / "model.json"
    about = json.loads(file.read_text())
    for path, value in changes.items():
        *way, last = path.split("__")
        place = about
        for step in way:
            place = place[step]
        if value is None:
            del place[last]
        else:
            place[last] = value
    file.write_text(json.dumps(about))


WRONG = {
    "format": ({"format": 9}, "was written by a newer nascore"),
    "task": ({"task": "songs"}, "task: found 'songs', allowed: images"),
    "genotype": ({"genotype__kind": "cells"}, "kind: found 'cells'"),
    "no genotype": ({"genotype": None}, "one JSON object with a field 'kind'"),
    "operation": ({"genotype__normal__nodes": [{"inputs": [0], "ops": ["os.system"]}]}, "normal.nodes[0].ops[0]"),
    "network": ({"network__channels": "wide"}, "channels: found 'wide'"),
    "a size more": ({"network__evil": 1}, "network: found"),
    "skeleton": ({"network__skeleton": "dart"}, "skeleton: found 'dart'"),
    "classes": ({"classes": ["a", "b"]}, "classes: found ['a', 'b'], allowed: a list of 10 names"),
    "class names": ({"classes": list(range(10))}, "classes: found"),
    "mean": ({"image__mean": [1, 2]}, "image.mean: found [1, 2], allowed: a list of 1 numbers"),
    "a NaN": ({"image__std": [float("nan")]}, "image.std: found"),
    "std": ({"image__std": [0]}, "image.std: found"),
    "height": ({"image__height": 7}, "images: found (1, 1, 7, 8)"),
    "huge": ({"image__height": 10**9}, "image.height: found"),
    "resize": ({"image__resize": "stretch"}, "image.resize: found 'stretch'"),
    "channels": ({"image__channels": 3, "image__mean": [0] * 3, "image__std": [1] * 3}, "image.channels: found 3"),
    "width": ({"network__channels": 8}, "model.safetensors: "),
    "no image": ({"image": None}, "image: found None"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_spoiled_folder_is_one_line(folder, capsys, name):
    changes, said = WRONG[name]
    spoil(folder, **changes)
    assert said in line(capsys, "predict", folder, "x.png")


def test_the_folder_names_the_filter_and_one_from_before_it_did_is_read(folder):
    assert "bicubic" in json.loads((folder / "model.json").read_text())["image"]["resize"]
    spoil(folder, image__resize="the shorter side, then the centre")
    nascore.load(folder)


def test_damaged_weights_are_one_line(folder, capsys):
    file = folder / "model.safetensors"
    good = file.read_bytes()
    for content in (b"", b"x", good[:-1], good[:100], b"\xff" * 64, good + b"y", good[:8] + b"[" + good[9:]):
        file.write_bytes(content)
        assert "model.safetensors" in line(capsys, "predict", folder, "x.png")
    file.unlink()
    assert "no weights at" in line(capsys, "predict", folder, "x.png")
    (folder / "model.json").write_text("[")
    assert "cannot be read" in line(capsys, "evaluate", folder, "--data", "digits")
    (folder / "model.json").unlink()
    assert "no model in" in line(capsys, "predict", folder, "x.png")
    assert "no model in" in line(capsys, "export", folder, "--to", "onnx", "-o", folder / "x.onnx")


# --- images as training saw them --------------------------------------------------------------------------------------


def test_predict_treats_a_file_as_the_training_images(tmp_path, capsys):
    """Grey, deep, turned and of another size: what the cache of a folder holds is what `predict` reads."""
    images = draw_images(tmp_path / "images", size=(40, 24))
    found = nascore.train("darts-v2", images, recipe="child", directory=tmp_path / "run", **{**TINY, "batch_size": 8})
    files = [
        file
        for name in ("down", "up")
        for file in sorted((images / "test" / name).iterdir(), key=lambda f: int(f.stem))
    ]
    loaded = data.load(images)
    order = [file.path for file in folders.listing_of(images).parts["test"]]
    one_by_one = found.model.predict(order)
    torch.testing.assert_close(one_by_one, found.model.predict(loaded.test))
    assert set(map(str, files)) == set(order)
    torch.testing.assert_close(found.model.predict(Image.open(order[0])), one_by_one[:1])
    capsys.readouterr()


@pytest.mark.parametrize("side", [5, 8, 12, 20])
def test_a_set_by_name_and_its_files_are_brought_to_a_size_alike(digits, tmp_path, side):
    files = [tmp_path / f"{k}.png" for k in range(40)]
    for file, scan in zip(files, digits.test):
        Image.fromarray(scan[0].numpy()).save(file)
    images = data.load("digits", image_size=side)
    assert torch.equal(models.Preprocessing.of(images).batch(files), images.test[:40])


@pytest.mark.parametrize("size, side", [((40, 24), 12), ((9, 31), None), ((16, 16), 7), ((16, 16), None)])
def test_a_folder_and_its_files_are_brought_to_a_size_alike(tmp_path, size, side):
    folder = draw_images(tmp_path / "images", size=size, count=3)
    images = data.load(folder, image_size=side)
    order = [file.path for file in folders.listing_of(folder).parts["test"]]
    assert torch.equal(models.Preprocessing.of(images).batch(order), images.test)


NO_IMAGES = [5, None, [], [5], torch.zeros(2, 1, 8, 8), torch.zeros(1, 8, 8, dtype=torch.uint8), torch.tensor(7)]


@pytest.mark.parametrize("wrong", NO_IMAGES)
def test_what_is_no_image_is_one_line(trained, wrong):
    with pytest.raises(UserError, match="image"):
        trained.model.predict(wrong)


@pytest.mark.parametrize("size", [0, -1, "x", 2.0, None])
def test_a_batch_of_no_size_is_one_line(trained, digits, size):
    with pytest.raises(UserError, match="batch_size: found .*, allowed: a whole number from 1 to"):
        trained.model.predict(digits.test[:2], size)
    with pytest.raises(UserError, match="batch_size: found"):
        nascore.evaluate(trained.model, digits, size)


def test_a_pil_image_is_answered_as_its_file_is(trained, tmp_path):
    """16 bits, with a sign and with white as zero, which only the file's tags say."""
    values = np.arange(64, dtype="<u2").reshape(8, 8) << 9
    for name, tags in (("white", {"photometric": 0}), ("sign", {"format": 2})):
        (tmp_path / f"{name}.tif").write_bytes(tiff(values, 16, **tags))
        with Image.open(tmp_path / f"{name}.tif") as image:
            found = trained.model.predict([image, image, tmp_path / f"{name}.tif"])
        assert torch.equal(found[0], found[2]) and torch.equal(found[1], found[2])
    image = Image.open(tmp_path / "sign.tif")
    image.close()
    with pytest.raises(UserError, match="sign.tif is not an image that can be read"):
        trained.model.predict(image)


def with_weights(folder, name, value):
    weights = safetensors.torch.load_file(folder / models.WEIGHTS)
    weights[name].view(-1)[0] = value
    safetensors.torch.save_file(weights, folder / models.WEIGHTS)


WEIGHTS = [("head.2.weight", float("nan")), ("head.2.bias", float("inf")), ("stems.0.1.running_mean", float("nan"))]


@pytest.mark.parametrize("name, value", [*WEIGHTS, ("stems.0.1.running_var", -0.5)])
def test_weights_that_are_no_numbers_are_refused(folder, capsys, name, value):
    with_weights(folder, name, value)
    said = line(capsys, "predict", folder, "x.png")
    assert f"model.safetensors: {name}: found [{value}], allowed: finite numbers" in said


def test_no_answer_is_no_number(folder, scans, capsys):
    model = nascore.load(folder)
    model.network.head[2].weight.data.fill_(3e38)  # finite, and what comes of them is not
    with pytest.raises(UserError, match="probabilities: found nan, allowed: numbers"):
        model.predict(str(scans / "0.png"))
    model.save(folder)
    assert "probabilities: found nan" in line(capsys, "predict", folder, scans / "0.png")


def test_a_file_that_is_written_over_does_not_reach_a_model_in_hand(folder, digits):
    model = nascore.load(folder)
    before, file = model.predict(digits.test[:5]), folder / models.WEIGHTS
    with open(file, "r+b") as weights:  # in place: what is mapped would change
        weights.write(b"\xff" * file.stat().st_size)
    assert torch.equal(model.predict(digits.test[:5]), before)


@pytest.mark.parametrize("name", [models.ABOUT, models.WEIGHTS])
def test_a_pipe_is_refused_and_not_waited_for(folder, capsys, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert f"{name}: found 'no regular file'" in line(capsys, "predict", folder, "x.png")


def test_an_operation_of_ones_own_is_trained_and_loaded(digits, tmp_path, open_table):
    """One that looks at values while it is built, which tensors without any (on `meta`) do not have."""

    class Scaled(torch.nn.Conv2d):
        def __init__(self, channels_in, channels_out, stride, affine):
            super().__init__(channels_in, channels_out, 1, stride)
            self.norm = float(self.weight.detach().abs().max())

    nascore.register("scaled", Scaled)
    text = genotypes.to_json(formats.read("darts-v2")).replace("sep_conv_3x3", "scaled")
    found = nascore.train(genotypes.from_json(text), directory=tmp_path, **{**TINY, "epochs": 1})
    drawn = torch.get_rng_state()
    again = nascore.load(tmp_path)
    assert torch.equal(torch.get_rng_state(), drawn)  # what is drawn to build it is no one's business
    assert torch.equal(again.predict(digits.test[:9]), found.model.predict(digits.test[:9]))


# --- nascore predict --------------------------------------------------------------------------------------------------


@pytest.fixture
def scans(tmp_path, digits):
    (tmp_path / "scans").mkdir()
    for k in (0, 1, 10, 2):
        Image.fromarray(digits.test[k, 0].numpy()).save(tmp_path / "scans" / f"{k}.png")
    return tmp_path / "scans"


def test_predict_names_the_classes(folder, scans, digits, capsys):
    assert cli.main(["predict", str(folder), str(scans / "0.png"), str(scans), "--json", "--top", "2"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [Path(row["image"]).stem for row in rows] == ["0", "0", "1", "2", "10"]  # a folder in natural order
    expected = nascore.load(folder).predict(digits.test[:1])[0]
    for row in rows[:2]:
        assert row["class"] == digits.classes[expected.argmax()] and row["probability"] == pytest.approx(
            expected.max().item()
        )
        assert row["top"][0] == [row["class"], row["probability"]] and len(row["top"]) == 2
    assert cli.main(["predict", str(folder), str(scans / "0.png")]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{scans / '0.png'}: {rows[0]['class']} {rows[0]['probability']:.4f}, ")


def test_a_broken_image_is_a_line_and_the_others_go_on(folder, scans, capsys):
    (scans / "1.png").write_bytes(b"no image")
    assert cli.main(["predict", str(folder), str(scans), str(scans / "absent.png")]) == 2
    printed, errors = capsys.readouterr()
    assert [row.split(":")[0] for row in printed.splitlines()] == [str(scans / f"{k}.png") for k in (0, 2, 10)]
    assert errors.count("\n") == 2 and "1.png is not an image" in errors and "absent.png" in errors
    assert cli.main(["predict", str(folder), str(scans), "--json"]) == 2
    printed, errors = capsys.readouterr()
    assert len(json.loads(printed)) == 3 and errors.count("\n") == 1


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("gone"), lambda path: path.symlink_to(path)])
def test_what_is_no_file_in_a_folder_is_a_line_and_the_others_go_on(folder, scans, capsys, make):
    make(scans / "5.png")
    assert cli.main(["predict", str(folder), str(scans)]) == 2
    printed, errors = capsys.readouterr()
    assert [row.split(":")[0] for row in printed.splitlines()] == [str(scans / f"{k}.png") for k in (0, 1, 2, 10)]
    assert errors.count("\n") == 1 and "5.png is not an image that can be read" in errors


def test_a_folder_that_cannot_be_listed_is_a_line_and_the_others_go_on(folder, scans, capsys, monkeypatch):
    (scans / "secret").mkdir()
    real = os.scandir

    def denied(place):
        if str(place).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(place))
        return real(place)

    monkeypatch.setattr(os, "scandir", denied)
    assert cli.main(["predict", str(folder), str(scans / "secret"), str(scans / "2.png")]) == 2
    printed, errors = capsys.readouterr()
    assert printed.count("\n") == 1 and errors == f"nascore: {scans / 'secret'}: Permission denied\n"


def test_wrong_words_are_one_line(folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert "empty is not an image that can be read (no image, and no folder of any)" in line(
        capsys, "predict", folder, tmp_path / "empty"
    )
    assert "--top: found 0" in line(capsys, "predict", folder, tmp_path, "--top", 0)
    assert "the following arguments are required" in line(capsys, "predict", folder)
    assert "a figure's suffix" in line(capsys, "evaluate", folder, "--data", "digits", "--out", "table.gif")
    assert "data: found" in line(capsys, "evaluate", folder, "--data", "digit")


# --- nascore evaluate -------------------------------------------------------------------------------------------------


def test_evaluate_counts_what_is_taken_for_what(trained, digits, folder, tmp_path, capsys):
    found = nascore.evaluate(nascore.load(folder), "digits")
    assert found.accuracy == pytest.approx(trained.accuracy)
    from sklearn.metrics import confusion_matrix

    table = confusion_matrix(digits.test_labels, found.predicted, labels=range(10))
    assert found.confusion.tolist() == table.tolist()
    off = sorted((table - np.diag(np.diag(table))).flatten().tolist(), reverse=True)
    assert [times for *_, times in found.mixed_up(4)] == [n for n in off[:4] if n]
    assert cli.main(["evaluate", str(folder), "--data", "digits", "--json", "--out", str(tmp_path / "t.png")]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["confusion"] == table.tolist() and about["accuracy"] == found.accuracy and about["images"] == 360
    assert Image.open(tmp_path / "t.png").format == "PNG"
    assert cli.main(["evaluate", str(folder), "--data", "digits"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"accuracy: {found.accuracy:.4f} of 360 images"
    assert [list(map(int, row.split())) for row in printed[2:12]] == [[k, *row] for k, row in enumerate(table.tolist())]
    a, b, times = found.mixed_up(1)[0]
    assert printed[12] == f"{a} taken for {b}: {times}"


def test_a_folder_is_tested_on_its_test_part_or_on_all_that_was_not_trained_on(tmp_path, capsys):
    images = draw_images(tmp_path / "images")
    model = nascore.train("darts-v2", images, recipe="child", **{**TINY, "batch_size": 8}).model
    assert len(nascore.evaluate(model, images).labels) == 24
    capsys.readouterr()
    assert len(nascore.evaluate(model, images / "train").labels) == 24
    assert "all 24 are tested, some of which it may have been trained on" in capsys.readouterr().err
    flat = tmp_path / "images" / "test"
    found = nascore.evaluate(model, flat)
    assert len(found.labels) == 24 and found.classes == ("down", "up") and capsys.readouterr().err == ""
    shutil.rmtree(flat / "up")  # classes that are some of the model's
    (flat / "up").mkdir()
    shutil.copy(flat / "down" / "0.png", flat / "up" / "0.png")
    assert nascore.evaluate(model, flat).confusion.sum(1).tolist() == [12, 1]
    (flat / "left").mkdir()
    shutil.copy(flat / "down" / "0.png", flat / "left" / "0.png")
    with pytest.raises(UserError, match="class in .*: found 'left', allowed: the model's: down, up"):
        nascore.evaluate(model, flat)


def test_a_flat_folder_is_never_tested_on_what_was_trained_on(tmp_path, capsys):
    images = draw_images(tmp_path / "images") / "train"
    model = nascore.train("darts-v2", images, recipe="child", **{**TINY, "batch_size": 8}).model
    moved = tmp_path / "moved"
    shutil.copytree(images, moved)
    capsys.readouterr()
    assert len(nascore.evaluate(model, moved).labels) == 4  # a fifth, by its content
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "holds the images that the model was trained on: only the 4" in said
    (moved / "up" / "new.png").write_bytes((moved / "down" / "0.png").read_bytes())
    assert len(nascore.evaluate(model, moved).labels) == 25  # another set
    assert capsys.readouterr().err == ""
    (images / "up" / "new.png").write_bytes((moved / "down" / "0.png").read_bytes())
    os.symlink(images, tmp_path / "link")
    for folder in (images, tmp_path / "link"):
        assert len(nascore.evaluate(model, folder).labels) == 25  # that of the training, with one file more
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "all 25 are tested, some of which" in said
    (images / "up" / "new.png").unlink()
    (images / "up" / "0.png").write_bytes((moved / "down" / "0.png").read_bytes())
    assert len(nascore.evaluate(model, images).labels) == 24  # as many as before, and not the same
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "all 24 are tested, some of which" in said


@pytest.mark.parametrize("part", ["test", "Testing", "val"])
def test_a_part_for_tests_alone_is_tested_on(tmp_path, part):
    images = draw_images(tmp_path / "images", count=3)
    model = nascore.train("darts-v2", images, recipe="child", **{**TINY, "batch_size": 6, "epochs": 1}).model
    whole = nascore.evaluate(model, images)
    shutil.rmtree(images / "train")
    (images / "test").rename(images / part)
    assert torch.equal(nascore.evaluate(model, images).probabilities, whole.probabilities)
    (images / part).rename(images / "train")
    with pytest.raises(UserError, match="found train/ alone"):
        nascore.evaluate(model, images)


def test_a_model_to_test_may_be_named_by_its_folder(folder, trained, digits, tmp_path):
    for name in (folder, str(folder)):
        assert nascore.evaluate(name, digits).accuracy == pytest.approx(trained.accuracy)
    with pytest.raises(UserError, match="no model in .*absent"):
        nascore.evaluate(str(tmp_path / "absent"), digits)
    with pytest.raises(UserError, match="model: found 5"):
        nascore.evaluate(5, digits)


def test_what_was_found_is_printed_before_it_is_drawn(folder, tmp_path, capsys):
    command = ["evaluate", str(folder), "--data", "digits", "--out", str(tmp_path / "absent" / "table.svg")]
    assert cli.main(command) == 2
    printed, errors = capsys.readouterr()
    assert "of 360 images" in printed and errors == f"nascore: {tmp_path / 'absent'}: No such file or directory\n"


NAMES = ["up $x^$", "a\\$b", "$", "猫", "🐈 cat", "a\nb\x1b", os.fsdecode(b"caf\xe9"), "<b>&", "x", "y"]


@pytest.mark.filterwarnings("error")
def test_a_class_may_have_any_name(folder, digits, tmp_path, capsys):
    spoil(folder, classes=NAMES)
    found = nascore.evaluate(folder, data.replace(digits, classes=tuple(NAMES)))
    assert found.confusion.sum() == 360
    for draw in (looks.confusion, looks.examples):
        chart = draw(found)
        for suffix in (".svg", ".png", ".pdf"):
            chart.save(tmp_path / f"x{suffix}")
        if draw is looks.confusion:
            written = (tmp_path / "x.svg").read_text()
            assert all(name in written for name in ("猫", "🐈 cat", "up $x^$", ">$<", "caf\\udce9"))
    scan = tmp_path / "scan.png"
    Image.fromarray(digits.test[0, 0].numpy()).save(scan)
    assert cli.main(["predict", str(folder), str(scan), "--top", "10"]) == 0
    printed = capsys.readouterr()
    assert printed.err == "" and "caf\\udce9" in printed.out and "a b\\x1b" in printed.out


def test_folders_of_classes_may_have_names_that_are_no_text(tmp_path, capfd):
    images = draw_images(tmp_path / "images", names=(os.fsdecode(b"caf\xe9"), "猫"), count=4)
    small = {**TINY, "batch_size": 8, "epochs": 1}
    nascore.train("darts-v2", images, recipe="child", directory=tmp_path / "run", **small)
    command = ["evaluate", str(tmp_path / "run"), "--data", str(images), "--out", str(tmp_path / "x.svg")]
    assert cli.main(command) == 0 and cli.main([*command, "--json"]) == 0
    printed, errors = capfd.readouterr()
    assert errors == "" and "of 8 images" in printed
    space = {}
    nascore.export(tmp_path / "run", "python", tmp_path / "x.py")
    exec(compile((tmp_path / "x.py").read_text(), "x", "exec"), space)
    assert space["CLASSES"] == [os.fsdecode(b"caf\xe9"), "猫"]


def test_pictures_of_right_and_wrong_have_words(trained, tmp_path):
    found = nascore.evaluate(trained.model, "digits")
    table, shown = looks.confusion(found), looks.examples(found)
    wrong = int((found.predicted != found.labels).sum())
    assert f"{360 - wrong} right, {wrong} wrong" in shown.words and f"{found.accuracy:.2%}" in table.words
    for suffix in (".svg", ".png", ".pdf"):
        assert table.save(tmp_path / f"table{suffix}").stat().st_size > 1000
    assert looks.confusion(found).svg == looks.confusion(found).svg


def test_nothing_that_a_model_holds_is_run(folder):
    """A folder is read by a process that may neither unpickle nor evaluate."""
    code = (
        "import builtins, pickle, sys, torch, nascore\n"
        "model = nascore.load(sys.argv[1])\n"
        "def never(*arguments, **named): raise SystemExit('unpickled')\n"
        "pickle.load = pickle.loads = pickle.Unpickler = torch.load = never\n"
        "print(nascore.load(sys.argv[1]).predict(torch.zeros(1, 1, 8, 8, dtype=torch.uint8)).argmax().item())\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, os.fspath(folder)], capture_output=True, text=True)
    assert ended.returncode == 0 and ended.stdout.strip().isdigit(), ended.stderr
