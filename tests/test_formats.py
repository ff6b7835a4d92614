"""Genotypes as others print them: `others.json` holds what public repositories have (name, place, text), and how many
parameters where they state that."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from nascore import cli, formats, genotypes, published, spaces
from nascore.genotypes import CellGenotype, GenotypeError, MacroGenotype, RecurrentGenotype, canonical
from nascore.nets.measure import describe

OTHERS = json.loads((Path(__file__).parent / "others.json").read_text())
READ, REFUSED = OTHERS["read"], OTHERS["refused"]
DARTS_V2 = published.GENOTYPES["darts-v2"]


def text_of(entry):
    tokens = entry["format"].startswith("enas")
    return f"{entry['format']}: {entry['text']}" if tokens else entry["text"]


def named(entries):
    return [f"{entry['source']} {entry['name']}" for entry in entries]


@pytest.mark.parametrize("entry", READ, ids=named(READ))
def test_what_others_print_is_read_and_comes_back(entry):
    genotype = formats.read(text_of(entry))
    kinds = {"enas-macro": MacroGenotype, "enas-rnn": RecurrentGenotype}
    assert isinstance(genotype, kinds.get(entry["format"], CellGenotype))
    assert genotypes.from_json(formats.write(genotype, "json")) == genotype
    if entry["format"] in ("quark0", "nasbench201") and all(
        len(node.ops) == 2 for node in genotype.normal.nodes if entry["format"] == "quark0"
    ):
        again = formats.write(genotype, entry["format"])
        assert formats.read(again) == genotype
        if entry["format"] == "nasbench201":
            assert again == "".join(entry["text"].split())


COUNTED = [entry for entry in READ if "millions" in entry]


@pytest.mark.parametrize("entry", COUNTED, ids=named(COUNTED))
def test_the_stated_numbers_of_parameters_are_ours(entry):
    """To the digits that are printed, whether those were rounded or cut off."""
    stated = entry["millions"]
    skeleton = "nasbench201" if entry["format"] == "nasbench201" else "darts"
    imagenet = {"stem": "imagenet", "input": 224} if entry["network"]["classes"] == 1000 else {}
    sizes = {k: v for k, v in entry["network"].items() if skeleton == "darts" or k == "classes"}
    found = describe(formats.read(text_of(entry)), skeleton=skeleton, **sizes, **imagenet)["parameters"]
    unit = 10.0 ** -len(stated.partition(".")[2])
    assert -unit / 2 <= found / 1e6 - float(stated) < unit


@pytest.mark.parametrize("entry", REFUSED, ids=named(REFUSED))
def test_what_means_something_else_is_one_line_that_says_where(entry):
    with pytest.raises(GenotypeError) as caught:
        formats.read(entry["text"])
    said = str(caught.value)
    assert "\n" not in said and "allowed: " in said and len(said) < 500
    assert re.search(r"normal|reduce|line \d|node \d|edge|operations|kind|decision|Genotype", said)


def test_published_cells_are_those_that_others_print():
    by_name = {entry["name"]: canonical(formats.read(text_of(entry))) for entry in READ}
    ours = {name: canonical(genotype) for name, genotype in published.GENOTYPES.items()}
    assert by_name["DARTS_V1"] == ours["darts-v1"] and by_name["DARTS_V2"] == ours["darts-v2"]
    assert by_name["NASNet"] == ours["nasnet-a-darts"]
    assert by_name["PNASNet-5_PNASNet.TF"] == ours["pnasnet-5"]
    assert by_name["NASNet-A_normal_slim"].normal == ours["nasnet-a"].normal
    assert by_name["NASNet-A_reduction_slim"].normal == ours["nasnet-a"].reduce
    assert by_name["ENAS_ptb_final"] == ours["enas-rnn"]


def test_slim_s_first_states_are_ours_the_other_way_round():
    text = "operations = ['none', 'separable_3x3_2']\nhiddenstate_indices = [0, 1]\n"
    (node,) = formats.read(text).normal.nodes
    assert (node.inputs, node.ops) == ((1, 0), ("skip_connect", "sep_conv_3x3"))


def test_tuples_are_blocks_of_one_cell():
    found = formats.read("[(1, 1, 'sep_conv_5x5', 'max_pool_3x3'), (2, 0, 'skip_connect', 'conv_1x1')]")
    assert found.reduce is None and found.normal.concat == (2, 3)
    assert found.normal.nodes[1].inputs == (2, 0)


# --- ENAS's lists of numbers -----------------------------------------------------------------------------------------


def test_lists_of_numbers_are_the_spaces_decisions():
    random = Random(0)
    for name in ("enas-micro", "enas-macro"):
        for _ in range(20):
            decisions = spaces.get(name).sample(random)
            text = f"{name}: {' '.join(map(str, decisions))}"
            assert formats.read(text) == spaces.get(name).decode(decisions)


def test_without_a_prefix_only_what_its_length_makes_unique_is_read():
    assert isinstance(formats.read(" ".join("0" * 40)), CellGenotype)  # no triangular number, and even
    assert isinstance(formats.read("0\n1 1\n2 0 1\n"), MacroGenotype)
    assert isinstance(formats.read("0 0 1 1 2"), RecurrentGenotype)
    for count, kinds in ((3, "enas-macro and enas-rnn"), (120, "enas-micro and enas-macro"), (15, "enas-macro and")):
        with pytest.raises(GenotypeError, match=f"{count} numbers, which {kinds}"):
            formats.read(" ".join(["0"] * count))
    with pytest.raises(GenotypeError, match="no kind has 2 numbers"):
        formats.read("0 1")


# --- no text runs anything --------------------------------------------------------------------------------------------

HOSTILE = [
    "Genotype(normal=[('none', 0), ('none', 1)], normal_concat=__import__('os').system('touch owned'))",
    "Genotype(normal=[x for x in (1,)], normal_concat=[2], reduce=[], reduce_concat=[])",
    "Genotype(normal=[('none', 0), ('none', 1)], normal_concat=range(10**9), reduce=[], reduce_concat=[])",
    "Genotype(normal=[('none', 0), ('none', 1)], normal_concat=range(0, 5, 0), reduce=[], reduce_concat=[])",
    "Genotype(normal=[('none', 2**70)], normal_concat=[2], reduce=[], reduce_concat=[])",
    "Genotype(normal=[('none', True), ('none', 1)], normal_concat=[2], reduce=[], reduce_concat=[])",
    "Genotype(*[1])",
    "Genotype(**{'normal': []})",
    "(lambda: 1)()",
    "print('owned')",
    "[" * 5000,
    "(" * 90 + ")" * 90,
    "-" * 10_000 + "1",
    'f\'{open("owned", "w")}\'\n',
    "operations = [1, 2]\nhiddenstate_indices = 'ab'",
    "operations = 'ab'\nhiddenstate_indices = [0, 1]",
    "operations = []\nhiddenstate_indices = []",
    "|none~0|+|none~0|none~99999999999999999999|",
    "enas-micro: " + "9" * 100_000,
    "enas-macro: " + "0 " * 30_000,
    "enas-rnn: 0 0 7",
    "\ufeff{",
    "Genotype(normal=[], normal_concat=[], reduce=[], reduce_concat=[])",
    "Genotype(normal=[('none', 0), ('none', 1)], normal_concat='ab', reduce=[('none', 0)], reduce_concat=[2])",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_text_is_one_line_and_does_nothing(text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GenotypeError) as caught:
        formats.parse(text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert os.listdir(tmp_path) == [] and capsys.readouterr() == ("", "")


# --- wherever a genotype is asked for ---------------------------------------------------------------------------------


def test_names_files_folders_and_texts(tmp_path):
    quark0 = formats.to_quark0(DARTS_V2)
    (tmp_path / "darts.txt").write_text(f"my_cell = {quark0}\n")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "genotype.json").write_text(genotypes.to_json(DARTS_V2))
    row = json.dumps({"step": 1, "genotype": json.loads(genotypes.to_json(DARTS_V2))})
    places = ["darts-v2", tmp_path / "darts.txt", tmp_path / "run", quark0, genotypes.to_json(DARTS_V2), DARTS_V2, row]
    assert [formats.read(place) for place in places] == [DARTS_V2] * len(places)


@pytest.mark.parametrize("command", ["describe", "draw", "convert", "train", "export"])
def test_every_command_takes_another_s_text(command, tmp_path, capsys):
    text = "|nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
    more = {"draw": ["-o", tmp_path / "cell.svg"], "export": ["--to", "python", "-o", tmp_path / "cell.py"]}
    more["train"] = "--epochs 1 --channels 2 --cells 3 --batch-size 700 --quiet".split()
    assert cli.main(list(map(str, [command, text, *more.get(command, [])]))) == 0
    printed, errors = capsys.readouterr()
    assert errors == ""
    if command == "describe":
        assert "skeleton: nasbench201" in printed


def test_convert_writes_each_format_or_says_why_not(tmp_path, capsys):
    quark0 = formats.to_quark0(DARTS_V2)
    assert cli.main(["convert", "darts-v2", "--to", "quark0"]) == 0
    assert capsys.readouterr().out == quark0 + "\n"
    file = tmp_path / "cell.json"
    assert cli.main(["convert", quark0, "-o", str(file)]) == 0
    assert genotypes.from_json(file.read_text()) == DARTS_V2
    refused = {
        ("pnasnet-5", "quark0"): "reduce: found None, allowed: a cell",
        ("nas-rl-15", "quark0"): "kind: found 'chain', allowed: a cell",
        ("darts-v2", "nasbench201"): "reduce: found 'a cell', allowed: one cell",
        ("darts-v2", "yaml"): "format: found 'yaml', allowed: quark0, nasbench201, json",
        ("nasnet-a", "quark0"): None,
    }
    for (name, to), said in refused.items():
        status = cli.main(["convert", name, "--to", to])
        errors = capsys.readouterr().err
        assert (status, errors.count("\n")) == ((2, 1) if said else (0, 0)) and (said or "") in errors


def test_every_pair_of_a_darts_cell_survives_quark0_s_format():
    random, space = Random(1), spaces.get("darts")
    for _ in range(30):
        genotype = space.decode(space.sample(random))
        assert formats.read(formats.to_quark0(genotype)) == genotype


def test_a_format_of_ours_needs_no_torch():
    code = "import sys; from nascore import formats; formats.read('darts-v2'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
