"""A network for other programs: the file of plain PyTorch runs where there is no nascore, ONNX and .pt2 give the same
logits, and what a network costs is what it costs."""

import json
import logging
import math
import os
import shutil
import subprocess
import sys
import warnings
import weakref
from pathlib import Path
from random import Random

import onnx
import onnxruntime
import pytest
import safetensors.torch
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import nascore
from nascore import cli, data, genotypes, models, published, spaces
from nascore.errors import UserError
from nascore.genotypes import CellGenotype, ChainGenotype, MacroGenotype
from nascore.nets import measure, source
from nascore.nets.convolutional import Network
from nascore.nets.sizes import NETWORKS, home

# In a process where nascore cannot be imported: each file's network, with the weights beside it, and the images there.
ALONE = """
import importlib.util, sys, torch
from pathlib import Path
class Never:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "nascore":
            raise ImportError("there is no nascore here")
sys.meta_path.insert(0, Never())
sys.modules = {k: v for k, v in sys.modules.items() if not k.startswith("nascore")}
torch.set_num_threads(1)
for folder in map(Path, sys.argv[1:]):
    spec = importlib.util.spec_from_file_location("network", folder / "network.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network, saved = module.load(folder), torch.load(folder / "images.pt")
    with torch.no_grad():
        torch.save(network(saved), folder / "logits.pt")
    print(sum(p.numel() for p in network.parameters()))
"""
KINDS = CellGenotype | ChainGenotype | MacroGenotype
IMAGES = [name for name, genotype in published.GENOTYPES.items() if isinstance(genotype, KINDS)]


def shaken(network, seed=0):
    """Running statistics and affine parameters that matter."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor, low, high in ((module.running_mean, -0.2, 0.2), (module.running_var, 0.5, 1.5)):
                tensor.uniform_(low, high, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.uniform_(-0.2, 0.2, generator=generator)
    return network.eval()


def written(folder, network, side, count=2):
    """`network` as plain PyTorch, its weights and some images in `folder`; the logits that nascore gives."""
    folder.mkdir()
    text = source.python(network, "a network", (side, side))
    (folder / "network.py").write_text(text)
    safetensors.torch.save_file(
        {k: v.contiguous() for k, v in network.state_dict().items()}, folder / "model.safetensors"
    )
    images = torch.randn(count, network.in_channels, side, side, generator=torch.Generator().manual_seed(1))
    torch.save(images, folder / "images.pt")
    with torch.no_grad():
        return text, network(images)


def check(cases):
    """Every case (folder, network, logits) alike in a process without nascore."""
    ended = subprocess.run(
        [sys.executable, "-c", ALONE, *(os.fspath(folder) for folder, *_ in cases)], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    for (folder, network, logits), counted in zip(cases, ended.stdout.split()):
        assert int(counted) == measure.parameters(network), folder.name
        torch.testing.assert_close(torch.load(folder / "logits.pt"), logits, rtol=1e-5, atol=1e-5)


def test_every_published_network_runs_without_nascore(tmp_path):
    """At their papers' sizes on CIFAR-10, and named and counted as `describe` does."""
    cases = []
    for name in IMAGES:
        sizes = home(name)
        torch.manual_seed(0)
        network = shaken(Network.of(published.GENOTYPES[name], sizes))
        text, logits = written(tmp_path / name, network, sizes.input)
        assert 100 <= text.count("\n") <= 250 and max(map(len, text.splitlines())) <= 100
        assert measure.parameters(network) == measure.describe(name)["parameters"]
        cases.append((tmp_path / name, network, logits))
    check(cases)


@pytest.mark.parametrize("space", spaces.SPACES)
def test_twenty_random_ones_of_each_space_run_without_nascore(space, tmp_path):
    random, cases = Random(0), []
    for k in range(20):
        made = spaces.get(space)
        genotype = made.decode(made.sample(random))
        small = {"channels": 4, "cells": 5} if isinstance(genotype, CellGenotype) else {}
        if space == "enas-macro":
            small = {"channels": 4}
        sizes = home(genotype, made.skeleton, classes=7, in_channels=1 + k % 3, **small)
        torch.manual_seed(k)
        network = shaken(Network.of(genotype, sizes), k)
        _, logits = written(tmp_path / str(k), network, 12 if k % 2 and network.factor <= 4 else 16)
        cases.append((tmp_path / str(k), network, logits))
    check(cases)


STACKS = [name for name, sizes in NETWORKS.items() if sizes.skeleton not in ("nas-rl", "enas-macro")]


@pytest.mark.parametrize("name", STACKS)
def test_every_network_by_name_runs_without_nascore(name, tmp_path):
    """ImageNet's stems too, their batch norm's epsilon, and the cell that is held."""
    sizes = NETWORKS[name]
    of_skeleton = {"darts": "darts-v2", "nasnet": "nasnet-a", "pnasnet": "pnasnet-5", "enas": "enas-micro"}
    genotype = of_skeleton.get(sizes.skeleton, "enas-macro")
    if sizes.skeleton == "nasbench201":
        genotype = spaces.get("nasbench201").decode([3, 1, 4, 2, 0, 3])
    sizes = home(genotype, network=name, channels=8)
    side = 64 if sizes.input > 200 else 32
    value = published.GENOTYPES.get(genotype) if isinstance(genotype, str) else genotype
    network = shaken(Network.of(value, sizes))
    _, logits = written(tmp_path / "one", network, side)
    check([(tmp_path / "one", network, logits)])


HEADS = {
    "darts-cifar": "darts-v2",
    "darts-imagenet": "darts-v2",
    "nasnet-mobile": "nasnet-a",
    "enas-cifar": "enas-micro",
}


@pytest.mark.parametrize("network", HEADS)
def test_an_auxiliary_head_is_written_too(network):
    name = HEADS[network]
    sizes = home(name, network=network, auxiliary=True, channels=8)
    side = 64 if sizes.input > 200 else 32
    torch.manual_seed(0)
    ours = shaken(Network.of(published.GENOTYPES[name], sizes))
    space = {}
    exec(compile(source.python(ours, name, (side, side)), name, "exec"), space)
    theirs = space["Network"]()
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(4, 3, side, side)
    ours.train(), theirs.train()
    for a, b in zip(ours(images), theirs(images)):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-5, atol=1e-5)


# --- the commands -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    where = tmp_path_factory.mktemp("model") / "run"
    return nascore.train("darts-v2", directory=where, channels=4, cells=3, epochs=2, batch_size=120, progress=False)


def test_a_genotype_by_name_at_the_sizes_of_describe(tmp_path, capsys):
    file = tmp_path / "darts_v2.py"
    words = "darts-v2 --channels 8 --cells 6 --classes 5 --input 16 --auxiliary".split()
    assert cli.main(["export", *words, "--to", "python", "-o", str(file)]) == 0
    assert cli.main(["describe", *words, "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)["parameters"]
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from darts_v2 import Network; import torch\n"
    code += (
        "n = Network().eval(); print(sum(p.numel() for p in n.parameters()), tuple(n(torch.zeros(3, 3, 16, 16)).shape))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout.split() == [str(expected), "(3,", "5)"], ended.stderr
    assert f"{expected:,} parameters" in file.read_text()


def test_a_model_s_file_names_classes_and_statistics_and_reads_the_weights(trained, tmp_path, capsys):
    file = tmp_path / "mine.py"
    assert cli.main(["export", str(trained.directory), "--to", "python", "-o", str(file)]) == 0
    space = {}
    exec(compile(file.read_text(), "mine", "exec"), space)
    digits = data.load("digits")
    assert (space["CLASSES"], space["MEAN"], space["STD"]) == (
        list(digits.classes),
        list(digits.mean),
        list(digits.std),
    )
    images = (digits.test.float() / 255 - torch.tensor(space["MEAN"])) / torch.tensor(space["STD"])
    with torch.no_grad():
        found = space["load"](trained.directory)(images).softmax(1)
    torch.testing.assert_close(found, trained.model.predict(digits.test), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_onnx_and_pt2_give_the_same_logits_for_any_batch(trained, tmp_path_factory, batch, capsys):
    folder = trained.directory.parent
    for to, file in (("onnx", folder / "m.onnx"), ("torch", folder / "m.pt2")):
        if not file.exists():
            assert cli.main(["export", str(trained.directory), "--to", to, "-o", str(file)]) == 0
            printed, errors = capsys.readouterr()
            assert errors == "" and float(printed.removeprefix("largest difference of a logit: ")) < 1e-4
    images = torch.randn(batch, 1, 8, 8, generator=torch.Generator().manual_seed(batch))
    with torch.no_grad():
        expected = trained.model.network(images)
        loaded = torch.export.load(folder / "m.pt2").module()(images)
    session = onnxruntime.InferenceSession(folder / "m.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["logits"], {"images": images.numpy()})
    torch.testing.assert_close(loaded, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-4)
    held = {prop.key: json.loads(prop.value) for prop in onnx.load(folder / "m.onnx").metadata_props}
    assert held["classes"] == list(trained.model.classes) and held["std"] == list(trained.model.preprocessing.std)


def line(capsys, *words):
    assert cli.main(list(map(str, words))) == 2
    said = capsys.readouterr().err
    assert said.startswith("nascore: ") and said.count("\n") == 1
    return said


def test_what_cannot_be_exported_is_one_line(trained, tmp_path, capsys, monkeypatch):
    assert "format: found 'tf', allowed: onnx, torch, python" in line(
        capsys, "export", trained.directory, "--to", "tf", "-o", "x"
    )
    assert "no model in darts-v2" in line(capsys, "export", "darts-v2", "--to", "onnx", "-o", tmp_path / "x")
    assert "sizes (cells)" in line(
        capsys, "export", trained.directory, "--to", "python", "--cells", 4, "-o", tmp_path / "x"
    )
    assert "file: found ''" in line(capsys, "export", "darts-v2", "--to", "python", "-o", "")
    assert "skeleton: found 'recurrent'" in line(
        capsys, "export", "darts-rnn-v2", "--to", "python", "-o", tmp_path / "x"
    )
    absent = f"nascore: {tmp_path / 'no'}: No such file or directory\n"  # and no temporary name
    assert line(capsys, "export", "darts-v2", "--to", "python", "-o", tmp_path / "no" / "x") == absent
    assert line(capsys, "convert", "darts-v2", "-o", tmp_path / "no" / "x") == absent
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert "pip install 'nascore[export]'" in line(
        capsys, "export", trained.directory, "--to", "onnx", "-o", tmp_path / "x"
    )
    assert not os.listdir(tmp_path)


def test_files_of_a_run_are_not_written_over(trained, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(trained.directory, folder)
    (tmp_path / "link").symlink_to(folder / "model.json")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    names = ("model.json", "model.safetensors", "result.json", "checkpoint.pt")
    for file in (*(folder / name for name in names), tmp_path / "link"):
        for to in ("python", "torch", "onnx"):
            said = line(capsys, "export", folder, "--to", to, "-o", file)
            assert f"allowed: another name: {folder} holds a run or a model" in said
        assert "holds a run or a model" in line(capsys, "export", "darts-v2", "--to", "python", "-o", file)
        assert "holds a run or a model" in line(capsys, "convert", folder, "-o", file)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    for _ in range(2):  # one's own files, beside a model and elsewhere
        assert cli.main(["export", str(folder), "--to", "python", "-o", str(folder / "network.py")]) == 0
        assert cli.main(["convert", "darts-v2", "-o", str(tmp_path / "genotype.json")]) == 0


def test_a_disk_that_is_full_names_the_folder(tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    said = line(capsys, "export", "darts-v2", "--to", "python", "-o", tmp_path / "x.py")
    assert said == f"nascore: {tmp_path}: No space left on device\n" and not os.listdir(tmp_path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["export", "save", "load"])
def test_whatever_the_exporter_of_pt2_says_nothing_is_heard(trained, tmp_path, monkeypatch, capfd, name):
    real = getattr(torch.export, name)

    def noisy(*arguments, **options):
        warnings.warn("a name that will go", FutureWarning, stacklevel=1)
        logging.getLogger("torch.export").warning("a guard")
        print("done", file=sys.stderr)
        return real(*arguments, **options)

    monkeypatch.setattr(torch.export, name, noisy)
    assert nascore.export(trained.model, "torch", tmp_path / "m.pt2") < 1e-4
    assert capfd.readouterr() == ("", "")


def test_an_operation_of_one_s_own_has_no_text(open_table):
    del genotypes.TABLE["conv_3x3"]
    cell = CellGenotype(published.GENOTYPES["darts-v2"].normal, published.GENOTYPES["darts-v2"].reduce)
    network = Network(cell, channels=4, cells=3)
    source.python(network, "x", (8, 8))
    for family in ("own", "squeeze"):  # and one that only networks know
        genotypes.TABLE["skip_connect"] = genotypes.Operation(family)
        with pytest.raises(UserError, match="operation: found 'skip_connect', allowed: one of nascore's"):
            source.python(network, "x", (8, 8))


# --- what a network costs ---------------------------------------------------------------------------------------------


class Held(TorchDispatchMode):
    """The memory of all tensors that are there at the same time, in a real forward pass."""

    def __init__(self):
        super().__init__()
        self.live, self.now, self.peak = set(), 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for x in tree_leaves(found):
            storage = x.untyped_storage()
            if storage._cdata not in self.live:
                self.live.add(storage._cdata)
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self.release, storage._cdata, storage.nbytes())
        return found

    def release(self, key, size):
        self.live.discard(key)
        self.now -= size


@pytest.mark.parametrize("name", IMAGES)
def test_peak_memory_is_that_of_a_real_pass(name):
    sizes = home(name, **({"channels": 8} if name != "nas-rl-15" else {}))
    side = sizes.input
    network = Network.of(published.GENOTYPES[name], sizes).eval()
    with torch.no_grad(), Held() as held:
        network(torch.randn(2, 3, side, side))
    assert measure.activation_bytes(network, (2, 3, side, side)) == held.peak
    assert measure.activation_bytes(network, (1, 3, side, side)) * 2 == held.peak


def test_the_size_of_a_weights_file_is_its_size(trained, tmp_path):
    assert measure.weights_bytes(trained.model.network) == (trained.directory / models.WEIGHTS).stat().st_size
    for name in IMAGES:
        network = Network.of(published.GENOTYPES[name], home(name))
        content = safetensors.torch.save({k: v.contiguous() for k, v in network.state_dict().items()})
        assert measure.weights_bytes(network) == len(content) == measure.describe(name)["weights_bytes"]


def test_latency_is_measured_only_where_it_is_asked_for(capsys, monkeypatch):
    words = ["describe", "darts-v2", "--channels", "4", "--cells", "3", "--json"]
    passes = []
    monkeypatch.setattr(measure, "_timed", lambda call: passes.append(call()) or [1.0, 2.0, 4.0])
    assert cli.main(words) == 0
    assert "latency" not in json.loads(capsys.readouterr().out) and not passes
    assert cli.main([*words, "--latency"]) == 0
    rows = json.loads(capsys.readouterr().out)["latency"]
    assert [row["batch"] for row in rows] == [1, 64] and [len(logits) for logits in passes] == [1, 64]
    assert all(row["median_ms"] == 2.0 and row["passes"] == 3 and row["threads"] >= 1 for row in rows)
    assert cli.main([*words[:-1], "--latency"]) == 0
    assert "latency of 1 image, 1 thread: 2.00 ms (half of 3 passes 1.00 to 4.00 ms)" in capsys.readouterr().out


def test_passes_are_counted_after_the_warm_up(monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr(measure, "perf_counter", lambda: next(clock) / 10)
    calls = []
    taken = measure._timed(lambda: calls.append(1))
    assert len(taken) == len(calls) - measure.WARM_UP >= measure.FEWEST
    assert taken == pytest.approx([100.0] * len(taken)) and not math.isnan(sum(taken))


def test_a_traced_network_needs_no_training_data(trained, tmp_path):
    (copy := tmp_path / "copy").mkdir()
    for name in (models.WEIGHTS, models.ABOUT):
        (copy / name).write_bytes((Path(trained.directory) / name).read_bytes())
    assert nascore.export(copy, "torch", tmp_path / "m.pt2") < 1e-4


def test_a_genotype_is_exported_by_name_as_a_text_and_as_a_value(trained, tmp_path):
    sizes = dict(channels=4, cells=3)
    value = published.GENOTYPES["darts-v2"]
    for k, genotype in enumerate(("darts-v2", genotypes.to_json(value), value)):
        nascore.export(genotype, "python", tmp_path / f"{k}.py", **sizes)
    texts = [(tmp_path / f"{k}.py").read_text().split('"""', 2)[2] for k in range(3)]
    assert len(set(texts)) == 1 and "class NormalCell" in texts[0]
    with pytest.raises(UserError, match="^sizes \\(cells\\)"):
        nascore.export(trained.model, "python", tmp_path / "x.py", cells=3)
