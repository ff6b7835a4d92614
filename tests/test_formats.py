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
from hypothesis import given, settings
from hypothesis import strategies as st

import nascore
from nascore import cli, formats, genotypes, published, spaces
from nascore.errors import UserError, number
from nascore.genotypes import (
    Cell,
    CellGenotype,
    GenotypeError,
    MacroGenotype,
    Node,
    RecurrentGenotype,
    canonical,
)
from nascore.nets.measure import describe
from nascore.training import recipe_named

OTHERS = json.loads((Path(__file__).parent / "others.json").read_text())
READ, REFUSED = OTHERS["read"], OTHERS["refused"]
DARTS_V2 = published.GENOTYPES["darts-v2"]
WORDS = {  # of quark0/darts cnn/operations.py; of NAS-Bench-201's space
    "quark0": {*spaces.DARTS_PRIMITIVES, "sep_conv_7x7", "conv_7x1_1x7"},
    "nasbench201": {"none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"},
}


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
    if entry["format"] not in WORDS:
        return
    nodes = genotype.normal.nodes + (genotype.reduce.nodes if genotype.reduce else ())
    words = {op for node in nodes for op in node.ops} <= WORDS[entry["format"]]
    pairs = entry["format"] == "nasbench201" or all(len(node.ops) == 2 for node in nodes)
    if words and pairs:
        again = formats.write(genotype, entry["format"])
        assert formats.read(again) == genotype
        if entry["format"] == "nasbench201":
            assert again == "".join(entry["text"].split())
    else:  # a follower's
        with pytest.raises(GenotypeError, match=r"nodes\[\d\]"):
            formats.write(genotype, entry["format"])


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
    with pytest.raises(GenotypeError, match="2 numbers, which no kind may have"):
        formats.read("0 1")


def test_the_brackets_of_numpy_change_nothing():
    plain = {"micro": " ".join("0" * 40), "macro": "0 1 1 2 0 1", "rnn": "0 0 1 1 2"}
    read = {name: formats.read(text) for name, text in plain.items()}
    assert formats.read("[" + plain["micro"] + "]") == read["micro"]
    assert formats.read(f"[[{plain['micro'][:39]}]\n [{plain['micro'][40:]}]]") == read["micro"]
    assert formats.read("[0]\n[1 1]\n[2 0 1]\n") == read["macro"]
    assert formats.read("[0, 0, 1, 1, 2]") == formats.read("enas-rnn: [[0 0] [1 1 2]]") == read["rnn"]
    with pytest.raises(GenotypeError, match="3 numbers, which enas-macro and enas-rnn may have"):
        formats.read("[0 0 0]")
    for cut in ("[0 0 1 1 2", "0 0 1 1 2]", "enas-rnn: [[0 0 1 1 2]"):
        with pytest.raises(GenotypeError, match=r"allowed: as many \[ as \]"):
            formats.parse(cut)


def test_zeros_before_a_number_do_not_hide_it():
    assert formats.read("enas-rnn: 0 0 0000000000003") == formats.read("enas-rnn: 0 0 3")


# --- nothing is dropped -----------------------------------------------------------------------------------------------

PAIRS, OTHERS_PAIRS = "[('none', 0), ('none', 1)]", "[('skip_connect', 0), ('none', 1)]"
FIELDS = f"{PAIRS}, [2], {PAIRS}, [2]"
READ_CELL = formats.parse(f"Genotype({FIELDS})")
SLIM = "operations = ['none', 'none']\nhiddenstate_indices = [0, 1]\n"
NAMEDTUPLE = "Genotype = namedtuple('Genotype', 'normal normal_concat reduce reduce_concat')\n"
DROPPED = {
    "a fifth value": (f"Genotype({FIELDS}, 7)", "line 1: found '7', allowed: 4 values"),
    "a field twice": (
        f"Genotype({FIELDS}, normal={OTHERS_PAIRS})",
        "found 'a second normal', allowed: each field once",
    ),
    "a keyword twice": (f"Genotype(normal={PAIRS}, normal={OTHERS_PAIRS})", "found 'a second normal'"),
    "a follower's field that says something": (f"Genotype({FIELDS}, connects=[(0, 1)])", "found 'connects', allowed"),
    "a number beside": (f"x = 3\nGenotype({FIELDS})", "line 1: found 'x = 3', allowed: one Genotype"),
    "a function": (f"Genotype({FIELDS})\ndef f():\n    pass", "line 2: found 'def f():"),
    "a loop": (f"cell = Genotype({FIELDS})\nwhile x:\n    pass", "line 2"),
    "a field changed later": (f"cell = Genotype({FIELDS})\ncell.normal = []", "line 2: found 'cell.normal"),
    "a name again": (f"cell = Genotype({FIELDS})\ncell = Genotype({FIELDS})", 'line 2: found "cell = G'),
    "two": (f"a = Genotype({FIELDS})\nb = Genotype({FIELDS})", "found '2 genotypes', allowed: one of a, b"),
    "two without names": (f"Genotype({FIELDS})\nGenotype({FIELDS})", "allowed: one of line 1, line 2"),
    "another order of fields": (
        f"Genotype = namedtuple('Genotype', 'reduce reduce_concat normal normal_concat')\nGenotype({FIELDS})",
        'line 1: found "Genotype = namedtuple',
    ),
    "half a block of slim's": (
        SLIM.replace("]", ", 'none']", 1).replace("1]", "1, 0]"),
        "found '3 and 3', allowed: two",
    ),
    "an operation too many": (SLIM.replace("]", ", 'none', 'none']", 1), "found '4 and 2', allowed: two"),
    "a list again": (f"{SLIM}operations = []", "line 3: found 'operations = []'"),
    "a list alone": ("operations = ['none', 'none']\n", "hiddenstate_indices: found 'nothing'"),
    "no list": ("operations = 3\nhiddenstate_indices = [0, 1]\n", "operations: found 3, allowed: a list"),
    "a flag too few": (f"{SLIM}used_hiddenstates = [1, 1]", "used_hiddenstates: found [1, 1], allowed: 3 of 0 or 1"),
    "flags that are none": (f"{SLIM}used_hiddenstates = [1, 7, []]", "allowed: 3 of 0 or 1"),
    "a Genotype beside slim's": (f"{SLIM}x = Genotype({FIELDS})", "found '2 genotypes', allowed: one of x, operations"),
    "bars only": ("|||", "node 1: found '|||'"),
    "an empty edge first": ("||none~0|", "node 1: found '||none~0|'"),
    "an empty edge last": ("|none~0|+|none~0||", "node 2: found '|none~0||'"),
    "an empty node": ("|none~0|++|none~0|", "node 2: found '', allowed: |operation~state|...|"),
    "an open end": ("|none~0|+|none~0", "node 2: found '|none~0'"),
    "a field of JSON twice": (
        '{"kind": "macro", "layers": [{"op": "none", "op": "conv_3x3"}]}',
        "a field stands twice in ['op', 'op']",
    ),
    "a field of a row twice": ('{"genotype": {"kind": "chain", "kind": "macro", "layers": []}}', "twice in ['kind', "),
}


@pytest.mark.parametrize("case", DROPPED)
def test_what_would_be_dropped_is_one_line_that_says_where(case):
    text, said = DROPPED[case]
    with pytest.raises(GenotypeError) as caught:
        formats.parse(text)
    assert said in str(caught.value) and "\n" not in str(caught.value)


BESIDE = {
    "imports": f"import x\nfrom collections import namedtuple\nGenotype({FIELDS})",
    "a docstring": f"'About.'\nNAME = 'mine'\ncell = Genotype({FIELDS})",
    "a second name": f"DARTS_V2 = Genotype({FIELDS})\nDARTS = DARTS_V2",
    "quark0's layout": f"{NAMEDTUPLE}PRIMITIVES = ['none', 'skip_connect']\nDARTS = Genotype({FIELDS})",
    "a follower's layout": (
        f"{NAMEDTUPLE.replace('namedtuple', 'collections.namedtuple').replace('concat)', 'concat connectN')}"
        f"Genotype({FIELDS}, connectN=None, source='here')"
    ),
    "a module's": f"genotypes.Genotype({FIELDS})",
}


@pytest.mark.parametrize("case", BESIDE)
def test_what_cannot_change_a_genotype_may_stand_beside_it(case):
    assert formats.parse(BESIDE[case]) == READ_CELL


def test_quark0_s_own_file_is_read_where_one_genotype_is_left(tmp_path):
    names = ("NASNet", "AmoebaNet", "DARTS_V1", "DARTS_V2")
    printed = {e["name"]: f"{e['name']} = {e['text']}" for e in READ if e["source"] == "quark0/darts cnn/genotypes.py"}
    head = f"from collections import namedtuple\n\n{NAMEDTUPLE}\nPRIMITIVES = [\n    'none',\n]\n\n"
    file = tmp_path / "genotypes.py"
    file.write_text(head + "\n\n".join(printed[name] for name in names) + "\n\nDARTS = DARTS_V2\n")
    with pytest.raises(UserError, match="4 genotypes', allowed: one of NASNet, AmoebaNet, DARTS_V1, DARTS_V2$"):
        formats.read(file)
    file.write_bytes((head + printed["DARTS_V2"] + "\n\nDARTS = DARTS_V2\n").replace("\n", "\r\n").encode())
    assert formats.read(file) == DARTS_V2


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
    "[]",
    "[[",
    "",
    f"Genotype(normal={'1+' * 900}1, normal_concat=[2], reduce=[], reduce_concat=[])",  # too long to be written out
    f"Genotype(normal=-0x{'f' * 6000}, normal_concat=[2], reduce=[], reduce_concat=[])",
    f"x = -0x{'f' * 6000}",
    "cell = other = Genotype(1)",
    "Genotype(normal=[[]], normal_concat=[2], reduce=[], reduce_concat=[])",
    "Genotype(normal=[[('none', 0)]], normal_concat=2, reduce=[], reduce_concat=[])",
    f"Genotype({'7, ' * 1000})",
    "x = 1\n" * 1000,
    "".join(f"name_{i} = Genotype({i})\n" for i in range(1000)),
    "Genotype(normal=[], normal_concat=[], reduce=[], reduce_concat=[])",
    "Genotype(normal=[('none', 0), ('none', 1)], normal_concat='ab', reduce=[('none', 0)], reduce_concat=[2])",
]


def test_a_text_that_python_cannot_hold_is_not_called_deep():
    for text, said in (("Genotype(\udcff)", "surrogates not allowed"), ("Genotype(\0)", "null bytes")):
        with pytest.raises(GenotypeError, match=said):
            formats.parse(text)


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


def test_python_takes_what_the_commands_take(tmp_path):
    text = formats.to_quark0(DARTS_V2)
    (tmp_path / "genotype.json").write_text(genotypes.to_json(DARTS_V2))
    sizes = {"channels": 2, "cells": 3}
    expected = nascore.describe(DARTS_V2, **sizes)
    for place in (text, tmp_path, str(tmp_path / "genotype.json"), "darts-v2"):
        assert nascore.describe(place, **sizes) == expected
        assert nascore.draw(place) == nascore.draw(DARTS_V2)
    assert nascore.describe("nasnet-a", **sizes)["skeleton"] == "nasnet"  # a published name has its home
    for show in (nascore.describe, nascore.draw):
        with pytest.raises(UserError, match="no genotype 'darts-v3'"):
            show("darts-v3")
        with pytest.raises(UserError, match="found 3, allowed: a name, a file or a genotype"):
            show(3)


def test_a_place_that_cannot_be_read_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    Path("run", "genotype.json").mkdir(parents=True)
    refused = {
        "file/inside": "file/inside: Not a directory",
        "run": "genotype.json: Is a directory",
        "a" * 5000: "aaa: File name too long",
        "\0": "null byte",
        b"absent": "found b'absent', allowed: a name, a file or a genotype",
    }
    if sys.platform == "win32":
        refused = {"\0": "", "absent": "no genotype"}
    for name, said in refused.items():
        with pytest.raises(UserError) as caught:
            formats.read(name)
        assert said in str(caught.value) and len(str(caught.value)) < 300 and "\n" not in str(caught.value)


def test_a_file_that_may_not_be_read_is_one_line(monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(UserError, match="^secret.json: Permission denied$"):
        formats.read("secret.json")


@pytest.mark.parametrize("name", ["[0 0 1 1 2]", "Genotype(1).json", "enas-rnn: 0", "{}", "0 1"])
def test_a_file_whose_name_looks_like_a_text_is_read(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(genotypes.to_json(DARTS_V2))
    assert formats.read(name) == formats.read(tmp_path / name) == DARTS_V2


def test_a_number_of_400_digits_is_no_number():
    for found in (10**400, -(10**400), 1e400):
        with pytest.raises(UserError, match="allowed: a number from 0 to 1"):
            number("seconds", found, 0, 1)
    for field in ("epochs", "weight_decay"):
        with pytest.raises(UserError, match=f"{field}: found 1000.*, allowed: a (whole )?number from"):
            recipe_named("small", **{field: 10**400})
    for field in ("inputs", "concat"):
        text = genotypes.to_json(DARTS_V2).replace(f'"{field}": [0', f'"{field}": [{10**400}', 1)
        text = text.replace('"concat": [2', f'"concat": [{10**400}', 1) if field == "concat" else text
        with pytest.raises(GenotypeError, match="allowed: a whole number from 0 to 199"):
            formats.parse(text)


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
    refused[formats.to_quark0(DARTS_V2).replace("sep_conv_3x3", "conv_3x3", 1), "quark0"] = (
        "normal.nodes[0].ops: found 'conv_3x3', allowed: avg_pool_3x3, conv_7x1_1x7, dil_conv_3x3,"
    )
    refused["|conv_3x3~0|", "nasbench201"] = "nodes[0].ops: found 'conv_3x3', allowed: none,"
    unread = [{"inputs": [0, 1], "ops": ["none", "none"]}] * 2
    cell = {"nodes": unread, "concat": [2]}
    refused[json.dumps({"kind": "cell", "normal": cell, "reduce": cell}), "quark0"] = (
        "normal_concat: found [2], allowed: one with the last node, 3"
    )
    for (name, to), said in refused.items():
        status = cli.main(["convert", name, "--to", to])
        errors = capsys.readouterr().err
        assert (status, errors.count("\n")) == ((2, 1) if said else (0, 0)) and (said or "") in errors


@pytest.mark.parametrize("name", spaces.SPACES)
def test_what_is_written_of_a_space_reads_back(name):
    random, space = Random(1), spaces.get(name)
    for _ in range(20):
        genotype = space.decode(space.sample(random))
        own = {"darts": ["quark0"], "enas-micro": ["quark0"], "nasbench201": ["nasbench201"]}
        assert written(genotype) == own.get(name, [])


def written(genotype) -> list[str]:
    """The formats of others in which a genotype is written; each reads back to it, as JSON does."""
    found = []
    for to in formats.WRITERS:
        try:
            text = formats.write(genotype, to)
        except GenotypeError as error:
            assert to != "json" and "\n" not in str(error) and "allowed: " in str(error)
        else:
            assert formats.read(text) == genotype
            found.append(to)
    return [to for to in found if to != "json"]


@st.composite
def cells(draw, n_inputs: int, pairs: int):
    nodes = []
    for i in range(draw(st.integers(1, 4))):
        count = pairs or draw(st.integers(1, 3))
        inputs = draw(st.lists(st.integers(0, n_inputs + i - 1), min_size=count, max_size=count))
        words = WORDS["quark0" if pairs else "nasbench201"]
        known = sorted(draw(st.sampled_from((words, words, genotypes.OPERATIONS))))
        ops = draw(st.lists(st.sampled_from(known), min_size=count, max_size=count))
        nodes.append(Node(inputs, ops, draw(st.sampled_from(("add", "add", "add", "concat")))))
    last = n_inputs + len(nodes) - 1
    concat = draw(st.just([last]) | st.lists(st.integers(0, last), min_size=1, unique=True))
    return Cell(nodes, concat, n_inputs)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_whatever_cell_is_written_reads_back(data):
    if data.draw(st.booleans()):
        written(CellGenotype(data.draw(cells(1, 0))))
    else:
        written(CellGenotype(*(data.draw(cells(2, 2)) for _ in range(2))))


def test_a_format_of_ours_needs_no_torch():
    code = "import sys; from nascore import formats; formats.read('darts-v2'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_cells_keep_the_skeleton_of_their_space(tmp_path):
    """ENAS's list of its micro space, and the folder of a search or a training, say how cells are stacked."""
    micro = (entry for entry in READ if entry["format"] == "enas-micro")
    text = next(text_of(e) for e in micro if formats.read(text_of(e)) == published.GENOTYPES["enas-micro"])
    counts = describe("enas-micro")["parameters"]
    (tmp_path / "arc.txt").write_text(text)
    for name in (text, tmp_path / "arc.txt"):
        assert formats.skeleton_of(name) == "enas" and describe(name)["parameters"] == counts
    assert describe(text, skeleton="darts")["parameters"] != counts
    nascore.run("enas-micro", budget="smoke", directory=tmp_path / "run", progress=False)
    sizes = dict(channels=4, cells=3, epochs=1, progress=False)
    trained = nascore.train(tmp_path / "run", directory=tmp_path / "model", **sizes)
    assert trained.model.network.skeleton == describe(tmp_path / "run")["skeleton"] == "enas"
    assert nascore.train(tmp_path / "model", **sizes).model.network.skeleton == "enas"
    assert formats.skeleton_of("darts-v2") == "darts" and formats.skeleton_of(published.GENOTYPES["darts-v2"]) is None
