"""The command line: what it prints and writes, and that every error a user can cause is one line
and status 2."""

import dataclasses
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import nascore
from nascore import cli, genotypes, published
from nascore.methods import darts
from nascore.nets import convolutional, sizes

SMALL = "--budget smoke --channels 2 --cells 3 --epochs 1 --batch-size 360 --quiet"
DARTS = published.GENOTYPES["darts-v2"]


def nascore_prints(capsys, *words):
    assert cli.main(list(map(str, words))) == 0
    printed, errors = capsys.readouterr()
    assert errors == ""
    return printed


def error(capsys, *words):
    """The line without `nascore: `, after seeing that it is the only one and that the status is
    2."""
    status = cli.main(list(map(str, words)))
    printed, errors = capsys.readouterr()
    assert status == 2, errors
    assert printed == "" and errors.startswith("nascore: ") and errors.endswith("\n") and errors.count("\n") == 1
    assert "Traceback" not in errors and len(errors) < 600
    return errors[len("nascore: ") : -1]


def images(folder, classes=("cat", "dog"), count=6, size=(8, 8), parts=("train", "test")):
    for part in parts:
        for number, name in enumerate(classes):
            (folder / part / name).mkdir(parents=True)
            for k in range(count):
                pixels = np.full((size[1], size[0], 3), 20 * k + 100 * (number % 2), np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{k}.png")
    return folder


# --- what works -----------------------------------------------------------------------------------------------------


def test_a_search_writes_its_files_and_prints_the_best_reward_last(capsys, tmp_path):
    printed = nascore_prints(capsys, "search", "darts", *SMALL.split(), "--out", tmp_path)
    assert re.fullmatch(r"best reward: 0\.\d{4}", printed.splitlines()[-1])
    names = {
        "genotype.json",
        "genotype.svg",
        "history.jsonl",
        "timing.jsonl",
        "checkpoint.pt",
        "config.json",
    }
    assert set(os.listdir(tmp_path)) == names
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert all(0 <= row["reward"] <= 1 and row["genotype"]["kind"] == "cell" for row in rows)
    found = genotypes.from_json((tmp_path / "genotype.json").read_text())
    assert json.loads(genotypes.to_json(found)) == rows[-1]["genotype"]
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["method"] == "darts" and config["budget"]["channels"] == 2 and config["seed"] == 0
    # and what it found can be described, drawn and trained
    found = tmp_path / "genotype.json"
    assert json.loads(nascore_prints(capsys, "describe", found, "--json"))["kind"] == "cell"
    nascore_prints(capsys, "draw", found, "-o", tmp_path / "cell.dot")
    assert (tmp_path / "cell.dot").read_text().startswith("digraph")
    words = "--recipe child --channels 2 --epochs 1 --batch-size 400 --cells 2 --quiet".split()
    printed = nascore_prints(capsys, "train", found, *words, "--out", tmp_path / "trained")
    accuracy = json.loads((tmp_path / "trained" / "result.json").read_text())["test_accuracy"]
    assert printed == f"test accuracy: {accuracy:.4f}\n"
    assert "already holds a run" in error(capsys, "train", found, *words, "--out", tmp_path / "trained")
    words = [*words, "--resume", "--out"]
    assert nascore_prints(capsys, "train", found, *words, tmp_path / "trained") == printed
    assert "its seed is 0, asked for is 1" in error(capsys, "train", found, *words, tmp_path / "trained", "--seed", 1)
    assert "its method is 'darts', asked for is None" in error(capsys, "train", found, *words, tmp_path)


@pytest.mark.parametrize("method", ["random", "evolution"])
def test_searches_of_the_table_repeat_to_the_byte(capsys, tmp_path, method):
    words = ["search", method, "--data", "nasbench201", "--trials", 50, "--quiet", "--out"]
    for seed, name in ((1, "a"), (1, "b"), (2, "c")):
        printed = nascore_prints(capsys, *words, tmp_path / name, "--seed", seed)
        assert "cifar10_test_200ep: " in printed and printed.splitlines()[-1].startswith("best reward: 0.8")
    first, again, other = ((tmp_path / name / "history.jsonl").read_bytes() for name in "abc")
    assert first == again != other and first.count(b"\n") == 50


def test_without_a_directory_the_genotype_is_printed(capsys):
    printed = nascore_prints(capsys, "search", "random", "--data", "nasbench201", "--trials", 3, "--quiet")
    assert genotypes.from_json(printed.splitlines()[0]).normal.n_inputs == 1


def test_fields_may_be_written_with_hyphens_or_underscores(capsys):
    for field in ("population-size", "population_size"):
        words = ["--data", "nasbench201", "--trials", 3, f"--{field}", 2, "--quiet"]
        nascore_prints(capsys, "search", "evolution", *words)


def test_help_of_a_method_lists_every_field_with_its_bounds(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["search", "darts", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert end.value.code == 0
    for field in dataclasses.fields(darts.DARTSBudget):
        assert f"--{field.name.replace('_', '-')}" in text
    assert "(2 to 4096; full: 64)" in text and "(1 or 2; full: 2)" in text


def test_help_of_describe_lists_every_network_skeleton_and_stem(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")  # names are broken at their hyphens otherwise
    with pytest.raises(SystemExit):
        cli.main(["describe", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    stems = [size.stem for size in sizes.NETWORKS.values()]
    for names in (list(sizes.NETWORKS), list(convolutional.SKELETONS), list(dict.fromkeys(stems))):
        assert ", ".join(names) in text


def test_the_help_of_other_commands_does_without_pytorch():
    code = """
import sys
from nascore import cli
sys.stdout = None
for word in ("", "predict", "evaluate", "draw", "convert", "bench"):
    try:
        cli.main([word, "--help"] if word else ["--help"])
    except SystemExit:
        assert "torch" not in sys.modules, word
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_of_all_commands_the_one_that_is_asked_for_is_declared_and_run(capsys, monkeypatch):
    declared, called = [], []

    def first(size: int) -> None:
        """Do the first thing."""
        called.append(size)

    def second() -> None:
        """Do the second."""

    def add_first(parser):
        declared.append(parser)
        parser.add_argument("--size", type=int)

    monkeypatch.setattr(cli, "COMMANDS", {first: add_first, second: declared.append})
    assert nascore_prints(capsys, "first", "--size", 3) == "" and called == [3] and len(declared) == 1
    assert "unrecognized arguments: --size 3" in error(capsys, "second", "--size", 3)
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "Do the second." in capsys.readouterr().out and len(declared) == 2


def test_a_chain_in_a_file_is_described_and_trained(capsys, tmp_path):
    layers = [
        {"filter": [4, 3], "stride": [2, 1], "filters": 6, "inputs": []},
        {"filter": [1, 2], "stride": [1, 1], "filters": 5},
        {"filter": [3, 3], "stride": [1, 3], "filters": 4, "inputs": [2, 1]},
    ]
    file = tmp_path / "chain.json"
    file.write_text(json.dumps({"kind": "chain", "layers": layers}))
    found = json.loads(nascore_prints(capsys, "describe", file, "--json"))
    weights, batch_norms = 4 * 3 * 3 * 6 + 2 * 3 * 5 + 9 * 11 * 4, 2 * (6 + 5 + 4)
    assert found["parameters"] == weights + batch_norms + 4 * 10 + 10
    words = nascore_prints(capsys, "describe", file).split()
    assert "nas-rl" in words and not {"channels:", "cells:"} & set(words)
    printed = nascore_prints(capsys, "train", file, *"--recipe child --epochs 2 --batch-size 400 --quiet".split())
    assert re.fullmatch(r"test accuracy: 0\.\d{4}\n", printed)


def test_what_pnas_and_enas_find_is_described_drawn_and_trained_from_its_file(capsys, tmp_path):
    cell, words = (
        {"nodes": [NODE], "concat": [2]},
        "--recipe child --channels 2 --epochs 1 --batch-size 400 --quiet",
    )
    layers = [
        {"op": "max_pool_3x3"},
        {"op": "sep_conv_5x5", "skips": [0]},
        {"op": "conv_3x3", "skips": [1]},
    ]
    one, two = {"kind": "cell", "normal": cell}, {"kind": "cell", "normal": cell, "reduce": cell}
    macro = {"kind": "macro", "layers": layers}
    for genotype, skeleton, more in (
        (one, "pnasnet", []), (two, "enas", ["--skeleton", "enas"]), (macro, "enas-macro", []),
        (macro, "enas-macro-full", ["--skeleton", "enas-macro-full"]),
    ):  # fmt: skip
        file = tmp_path / f"{skeleton}.json"
        file.write_text(json.dumps(genotype))
        assert json.loads(nascore_prints(capsys, "describe", file, "--json", *more))["skeleton"] == skeleton
        nascore_prints(capsys, "draw", file, "-o", tmp_path / "drawn.dot")
        printed = nascore_prints(capsys, "train", file, *words.split(), *more)
        assert re.fullmatch(r"test accuracy: 0\.\d{4}\n", printed)


def test_run_is_the_package_s_way_in():
    result = nascore.run("random", data="nasbench201", budget="smoke", progress=False)
    assert result.finished and len(result.history) == 3 and result.reward == max(r["reward"] for r in result.history)


# --- errors: words on the command line ------------------------------------------------------------------------------

UNKNOWN = [
    ("", "COMMAND"),
    ("serch", "invalid choice: 'serch'"),
    ("search", "required: METHOD"),
    ("search dart --epochs 2", "METHOD: invalid choice: 'dart' (choose from"),
    ("search --out X", "METHOD: invalid choice: 'X' (choose from"),
    ("search darts --epoch 2", "unrecognized arguments: --epoch 2"),
    ("search random --order 1", "unrecognized arguments: --order 1"),
    ("search darts --budget huge", "budget: found 'huge', allowed: smoke, reduced, full"),
    ("search darts --data cifar-10", "data: found 'cifar-10', allowed: digits, cifar10,"),
    ("search darts --data nasbench201", "'nasbench201' is a table"),
    ("search darts --space dart", "space: found 'dart', allowed: "),
    (
        "search darts --space nasnet",
        "darts needs a space with primitives on edges: found 'nasnet', allowed: darts, nasbench201",
    ),
    ("search random --data nasbench201 --space darts", "space 'darts' was asked for"),
    ("search darts --device gpu", "device: found 'gpu', allowed: auto, cpu, cuda"),
    ("search darts --device cpu:x", "device: found 'cpu:x', allowed"),
    ("search darts --epochs 0", "epochs: found 0, allowed: a whole number from 1 to 1000"),
    ("search darts --epochs 1001", "epochs: found 1001, allowed: a whole number from 1 to 1000"),
    ("search darts --epochs two", "epochs: found 'two', allowed: a whole number from 1 to 1000"),
    (
        "search darts --epochs 1e999",
        "epochs: found '1e999', allowed: a whole number from 1 to 1000",
    ),
    ("search darts --epochs", "expected one argument"),
    (
        "search darts --learning-rate nan",
        "learning_rate: found nan, allowed: a number from 0.0 to 10.0",
    ),
    ("search darts --momentum 1", "momentum: found 1.0, allowed: a number from 0.0 to 0.999"),
    ("search darts --order 3", "order: found 3, allowed: a whole number 1 or 2"),
    ("search darts --hessian none", "hessian: found 'none', allowed: finite-difference or exact"),
    ("search darts --seed x", "--seed: invalid int value: 'x'"),
    ("search darts --seed -1", "seed: found -1, allowed: a whole number from 0 to 4294967295"),
    ("search darts --checkpoint-seconds x", "--checkpoint-seconds: invalid float value: 'x'"),
    ("search darts --resume", "--resume needs the directory of the run to resume: --out DIR"),
    (
        "search random --data nasbench201 --trials 0",
        "trials: found 0, allowed: a whole number from 1 to",
    ),
    ("train darts-v3", "no genotype 'darts-v3'; allowed: a JSON file, or one of "),
    ("train darts-v2 --recipe big", "recipe: found 'big', allowed: darts-cifar, nasnet-cifar, "),
    ("train darts-v2 --epochs 0", "epochs: found 0, allowed: a whole number from 1"),
    ("train darts-v2 --batch-size 0", "batch_size: found 0, allowed: a whole number from 2"),
    ("train darts-v2 --channels -4", "channels: found -4, allowed: a whole number from 1"),
    ("train darts-v2 --cells 0", "cells: found 0, allowed: a whole number from 1"),
    (
        "train darts-v2 --skeleton tower",
        "skeleton: found 'tower', allowed: darts, nasnet, pnasnet, enas",
    ),
    (
        "train nas-rl-15 --channels 8",
        "size in the skeleton nas-rl: found 'channels', allowed: classes, input",
    ),
    (
        "train nas-rl-15 --skeleton darts",
        "kind: found 'chain', allowed in the skeleton darts: cell",
    ),
    ("train darts-v2 --data nasbench201", "is a table, not images"),
    (
        "train darts-v2 --image-size 30",
        "images: found (1437, 1, 30, 30), allowed: (batch, 1, height, width) with sid",
    ),
    (
        "train darts-v2 --learning-rate -1",
        "learning_rate: found -1.0, allowed: a number from 0 to 10",
    ),
    ("train darts-v2 --nesterov maybe", "nesterov: found 'maybe', allowed: true or false"),
    ("describe", "required: GENOTYPE"),
    (
        "describe darts-v2 --network big",
        "network: found 'big', allowed: darts-cifar, darts-imagenet",
    ),
    (
        "describe darts-v2 --skeleton tower",
        "skeleton: found 'tower', allowed: darts, nasnet, pnasnet, enas",
    ),
    ("describe darts-v2 --stem tree", "stem: found 'tree', allowed: cifar, imagenet"),
    ("describe darts-v2 --channels 0", "channels: found 0, allowed: a whole number from 1"),
    ("describe darts-v2 --cells x", "--cells: invalid int value: 'x'"),
    ("describe darts-v2 --input 33", "33"),
    (
        "describe nas-rl-15 --channels 24",
        "size in the skeleton nas-rl: found 'channels', allowed: classes, input",
    ),
    (
        "describe nas-rl-15 --cells 3",
        "size in the skeleton nas-rl: found 'cells', allowed: classes, input",
    ),
    (
        "describe nas-rl-15 --auxiliary",
        "size in the skeleton nas-rl: found 'auxiliary', allowed: classes, input",
    ),
    (
        "describe nas-rl-15 --network nasnet-cifar",
        "kind: found 'chain', allowed in the skeleton nasnet: cell",
    ),
    (
        "describe darts-v2 --skeleton nas-rl",
        "kind: found 'cell', allowed in the skeleton nas-rl: chain",
    ),
    (
        "describe enas-rnn",
        "skeleton: found 'recurrent', allowed: darts, nasnet, pnasnet, enas, enas-macro",
    ),
    (
        "describe enas-macro --cells 3",
        "size in the skeleton enas-macro: found 'cells', allowed: channels, classes, inpu",
    ),
    (
        "describe enas-macro --skeleton enas",
        "kind: found 'macro', allowed in the skeleton enas: cell",
    ),
    ("describe enas-micro --stem imagenet", "stem: found 'imagenet', allowed: cifar"),
    (
        "describe nasnet-a --stem tree",
        "stem: found 'tree', allowed: cifar, imagenet, imagenet-large",
    ),
    (
        "describe nasnet-a --network nasnet-mobile --channels 3",
        "found 3, allowed: 4 or more with the imagenet stem",
    ),
    (
        "describe nasnet-a --network nasnet-mobile --input 2",
        "(batch, 3, height, width) with sides of at least 3",
    ),
    ("draw darts-v2", "required: -o"),
    ("draw darts-v2 -o cell.bmp", ".svg"),
    ("draw darts-v2 -o /no/such/folder/cell.svg", "/no/such/folder"),
    ("bench --against /no/such/folder", "/no/such/folder"),
    ("bench --batch 0", "batch"),
    ("bench --rounds x", "--rounds: invalid int value: 'x'"),
]


@pytest.mark.parametrize("words, said", UNKNOWN, ids=[words for words, _ in UNKNOWN])
def test_wrong_words_are_one_line(capsys, words, said):
    assert said in error(capsys, *words.split())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_one_line(capsys):
    line = error(capsys, "search", "darts", "--device", "cuda")
    assert line == "device 'cuda' was asked for and PyTorch sees no GPU here; allowed: auto, cpu"


@pytest.mark.parametrize("words", ["search dart --epochs 2", "train darts-v2 --data x", "describe x", "search darts"])
def test_the_command_itself_ends_in_status_2_and_one_line(tmp_path, words):
    (tmp_path / "file").write_text("")
    extra = ["--budget", "smoke", "--out", tmp_path / "file"] if words == "search darts" else []
    ended = subprocess.run([sys.executable, "-m", "nascore", *words.split(), *extra], capture_output=True, text=True)
    assert ended.returncode == 2 and ended.stdout == ""
    assert ended.stderr.startswith("nascore: ") and ended.stderr.count("\n") == 1


# --- errors: genotype files -----------------------------------------------------------------------------------------

NODE = {"inputs": [0, 1], "ops": ["sep_conv_3x3", "skip_connect"]}


def cell_file(nodes, **more):
    cell = {"nodes": nodes, "concat": [2]}
    return json.dumps({"kind": "cell", "normal": cell, "reduce": cell, **more})


FILES = {
    "not JSON": ("{'kind': 'cell'}", "not JSON"),
    "empty": ("", "genotype: found '', allowed: JSON, Genotype("),
    "not an object": ("[]", "genotype: found '[]', allowed: JSON, Genotype("),
    "two numbers": ("[1, 2]", "2 numbers, which no kind may have"),
    "no kind": ("{}", "kind: found None"),
    "unknown kind": ('{"kind": "cells"}', "kind: found 'cells', allowed: cell, "),
    "unknown field": (cell_file([NODE], colour="red"), "colour: found 'an unknown field'"),
    "a later input": (
        cell_file([{**NODE, "inputs": [0, 2]}]),
        "normal.nodes[0].inputs[1]: found 2, allowed: ",
    ),
    "unknown op": (
        cell_file([{**NODE, "ops": ["conv", "skip_connect"]}]),
        "normal.nodes[0].ops[0]: found 'conv'",
    ),
    "10,000 nodes": (cell_file([NODE] * 10_000, reduce=None), "allowed: a list of 1 to 100"),
    "10,000 deep": (
        '{"kind": "cell", "normal": ' + "[" * 10_000 + "]" * 10_000 + "}",
        "nested too deep",
    ),
    "100,000 deep": ("[" * 100_000, "too many nested parentheses"),
    "2 MB": (" " * 2_000_000, "at most 1,000,000"),
    "a huge number": (cell_file([{**NODE, "inputs": [0, 10**400]}]), "normal.nodes[0].inputs[1]"),
    "5,000 digits": ('{"kind": ' + "1" * 5000 + "}", ""),
    "a lone surrogate": ('{"kind": "\\ud800"}', "kind: found "),
    "NaN": (cell_file([NODE]).replace("[2]", "[NaN]"), "concat"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("command", ["describe", "draw", "train"])
def test_a_wrong_genotype_file_is_one_line(capsys, tmp_path, name, command):
    text, said = FILES[name]
    file = tmp_path / "genotype.json"
    file.write_text(text)
    line = error(capsys, command, file, *(["-o", tmp_path / "cell.svg"] if command == "draw" else []))
    assert str(file) in line and said in line
    assert os.listdir(tmp_path) == ["genotype.json"]


def test_a_genotype_file_that_is_no_text_or_no_file_is_one_line(capsys, tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert "can't decode byte 0xff" in error(capsys, "describe", tmp_path / "binary")
    assert error(capsys, "describe", tmp_path).endswith("or the folder of a search")
    assert "no genotype" in error(capsys, "describe", tmp_path / "absent")
    assert "no genotype" in error(capsys, "describe", "")
    assert "too long" in error(capsys, "describe", "x" * 5000)


def test_a_cell_that_the_skeleton_cannot_hold_is_one_line(capsys, tmp_path):
    file = tmp_path / "genotype.json"
    file.write_text(cell_file([NODE], reduce=None))
    for words in (
        ["describe", file, "--skeleton", "darts"],
        ["train", file, "--skeleton", "enas", "--epochs", 1],
    ):
        assert "reduce: found null" in error(capsys, *words)
    file.write_text('{"kind": "recurrent", "nodes": [[-1, "tanh"]], "concat": [0]}')
    assert "kind: found 'recurrent'" in error(capsys, "describe", file)


# --- errors: data ---------------------------------------------------------------------------------------------------


def spoiled_by(name, folder):
    """Make a folder that is wrong in the way `name` says; what the line must contain."""
    if name == "empty":
        return folder, f"{folder} holds no folder of a class, allowed: FOLDER/train/CLASS/*.jpg and"
    if name == "a file":
        (folder / "file").write_text("")
        return folder / "file", "data: found"
    if name == "no test images":
        images(folder, parts=["train"])
        return folder, f"{folder}: found train/ alone, allowed: FOLDER/train/CLASS/*.jpg and"
    if name == "no classes":
        (folder / "train").mkdir()
        return folder, f"{folder / 'train'}: found 'no images', allowed: .jpg"
    if name == "one class":
        images(folder, classes=["cat"])
        return folder, f"classes in {folder / 'train'}: found ('cat',), allowed: at least 2"
    if name == "a class without images":
        images(folder)
        (folder / "train" / "emu").mkdir()
        return folder, f"{folder / 'train' / 'emu'}: found 'no images', allowed: .jpg, .jpeg, .png"
    if name == "a class of test images only":
        images(folder)
        images(folder, classes=["emu"], parts=["test"])
        return (
            folder,
            f"class in {folder / 'test'}: found 'emu', allowed: those in train/: cat, dog",
        )
    if name == "few":
        images(folder, count=1)
        return folder, "2 training images, too few"
    victim = images(folder) / "train" / "dog" / "3.png"
    if name == "truncated":
        victim.write_bytes(victim.read_bytes()[:-30])
    elif name == "text":
        victim.write_text("not an image")
    elif name == "a dangling link":
        victim.unlink()
        victim.symlink_to("nowhere")
    elif name == "a bomb":
        Image.fromarray(np.zeros((1, 1), np.uint8)).resize((20_000, 20_000)).save(victim, compress_level=1)
    return folder, f"{victim} is not an image that can be read"


WAYS = """empty; a file; no test images; no classes; one class; a class without images; a class of test images only;
few; truncated; text; a dangling link; a bomb""".replace("\n", " ").split("; ")


@pytest.mark.parametrize("way", WAYS)
def test_a_spoiled_folder_of_images_is_one_line(capsys, tmp_path, way):
    folder, said = spoiled_by(way, tmp_path)
    assert said in error(capsys, "search", "darts", *SMALL.split(), "--data", folder)


def test_images_of_mixed_size_are_resized_and_that_is_said_in_one_line(capsys, tmp_path):
    images(images(tmp_path, classes=["cat"], size=(20, 10)), classes=["dog"], size=(40, 64))
    words = ["search", "darts", *SMALL.split(), "--batch-size", 4, "--data", tmp_path]
    assert cli.main(list(map(str, words))) == 0
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert "20x10 to 40x64 pixels" in errors and "resized to 32x32" in errors


def test_a_download_that_fails_is_one_line(capsys, monkeypatch, tmp_path):
    def unreachable(*_, **__):
        raise OSError("Network is unreachable")

    monkeypatch.setenv("NASCORE_DATA", str(tmp_path))
    monkeypatch.setattr("socket.getaddrinfo", unreachable)
    monkeypatch.setattr("socket.socket.connect", unreachable)
    for name in ("cifar10", "cifar100", "svhn", "fashion-mnist"):
        line = error(capsys, "search", "darts", "--data", name)
        assert f"cannot download {name}" in line and str(tmp_path) in line and "--data FOLDER" in line


def test_a_download_that_was_cut_off_is_one_line(capsys, monkeypatch, tmp_path):
    def half(url, filename, *_, **__):
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setenv("NASCORE_DATA", str(tmp_path))
    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", half)
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "cifar-10-python.tar.gz").write_bytes(b"the first half")
    assert "cannot download cifar10" in error(capsys, "search", "darts", "--data", "cifar10")


# --- errors: directories --------------------------------------------------------------------------------------------


def test_directories_that_cannot_be_used_are_one_line(capsys, tmp_path):
    table = ["search", "random", "--data", "nasbench201", "--trials", 5, "--quiet"]
    other = ["search", "evolution", *table[2:]]
    (tmp_path / "file").write_text("")
    for name in ("file", "file/below"):
        line = error(capsys, *table, "--out", tmp_path / name)
        assert line.startswith(f"cannot make the directory {tmp_path / name}: ")
    assert "cannot make the directory" in error(capsys, *table, "--out", "/proc/nothing/can/be/made/here")
    assert "nothing to resume there" in error(capsys, *table, "--resume", "--out", tmp_path / "new")
    nascore_prints(capsys, *table, "--out", tmp_path / "run")
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    assert "already holds a run: go on with --resume" in error(capsys, *table, "--out", tmp_path / "run")
    line = error(capsys, *other, "--resume", "--out", tmp_path / "run")
    assert "holds another run: its method is 'random', asked for is 'evolution'" in line
    line = error(capsys, *table, "--trials", 6, "--resume", "--out", tmp_path / "run")
    assert "its trials is 5, asked for is 6" in line
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before
    for content in (before[: len(before) // 2], b"", b"something else"):
        (tmp_path / "run" / "checkpoint.pt").write_bytes(content)
        assert "is not a checkpoint" in error(capsys, *table, "--resume", "--out", tmp_path / "run")


def test_files_that_cannot_be_written_are_one_line(capsys, tmp_path):
    (tmp_path / "genotype.json").mkdir()  # in the place of a file
    line = error(capsys, "search", "random", "--data", "nasbench201", "--trials", 5, "--out", tmp_path)
    assert line.startswith(f"{tmp_path} holds genotype.json and no checkpoint.pt: nothing is overwritten")
    (tmp_path / "cell.svg").mkdir()
    assert "Is a directory" in error(capsys, "draw", "darts-v2", "-o", tmp_path / "cell.svg")


# --- errors: while it runs ------------------------------------------------------------------------------------------


def test_a_search_whose_loss_becomes_nan_stops_and_says_when(capsys, tmp_path, monkeypatch):
    step = darts.DARTS.step

    def poisoned(self):
        if self.steps == 1:
            with torch.no_grad():
                self.weights[0].fill_(float("nan"))
        return step(self)

    monkeypatch.setattr(darts.DARTS, "step", poisoned)
    words = ["search", "darts", *SMALL.split(), "--checkpoint-seconds", 0, "--out", tmp_path]
    line = error(capsys, *words)
    assert re.search(r"loss became nan at step 2 of 2 \(epoch 1\); lower --learning-rate", line)
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 1
    monkeypatch.undo()
    assert nascore_prints(capsys, *words, "--resume").splitlines()[-1].startswith("best reward: ")  # it is whole


def test_a_training_whose_loss_becomes_nan_stops_and_says_when(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("nascore.training.cosine", lambda *_: float("inf"))
    words = "--recipe child --channels 2 --epochs 3 --batch-size 4 --cells 2 --quiet".split()
    line = error(capsys, "train", "darts-v2", *words, "--data", images(tmp_path))
    assert re.search(r"the training loss became (nan|inf) in epoch 1: lower the learning rate", line)


@pytest.mark.parametrize(
    "failure",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB\nand much more to read"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
    ],
)
def test_out_of_memory_is_one_line_that_names_what_to_lower(capsys, monkeypatch, failure):
    def full(*_, **__):
        raise failure

    said = "out of memory: lower --batch-size, --channels or --cells"
    monkeypatch.setattr(darts.Supernet, "forward", full)
    assert error(capsys, "search", "darts", *SMALL.split()) == said
    monkeypatch.setattr(darts.Supernet, "__init__", full)
    assert error(capsys, "search", "darts", *SMALL.split()) == said
    monkeypatch.setattr(convolutional.Network, "forward", full)
    assert error(capsys, "train", "darts-v2", "--quiet") == said


def test_an_interrupt_outside_the_loop_is_one_line(capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("nascore.data._digits", interrupted)
    assert cli.main(["search", "darts", *SMALL.split()]) == 130
    assert capsys.readouterr() == ("", "nascore: interrupted\n")


def test_a_reader_who_went_away_is_no_error():
    """Before there was a word to read, so that the first one is in vain."""
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, "-m", "nascore", "describe", "darts-v2"]
    ended = subprocess.run(command, stdout=writes, stderr=subprocess.PIPE, text=True)
    os.close(writes)
    assert ended.returncode == 0 and ended.stderr == ""
