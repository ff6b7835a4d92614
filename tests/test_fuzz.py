"""Whatever is typed or stands in a file of a genotype: a result, or one plain line and status 2. A minute of it; the
long form, an hour, is `pytest -m long tests/test_fuzz.py`."""

import contextlib
import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nascore import cli, formats, published
from nascore.genotypes import GenotypeError, from_json, to_json

QUIET = dict(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
WORDS_TYPED, TEXTS_READ = 2_500, 8_000  # in a minute
LONG = 60  # times as many

# --- genotypes ------------------------------------------------------------------------------------------------------

TEXTS = [to_json(genotype) for genotype in published.GENOTYPES.values()]
KEYS = st.sampled_from("kind normal reduce nodes inputs ops combine concat n_inputs layers skips op cell chain".split())
LEAVES = st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats() | st.text(max_size=9) | KEYS
JSON = st.recursive(LEAVES, lambda x: st.lists(x, max_size=4) | st.dictionaries(KEYS | st.text(max_size=4), x))


def places(value, path=()):
    """The path of everything in a JSON value."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


@st.composite
def mutated(draw):
    """A published genotype with one to three parts replaced, removed or doubled."""
    value = {"": json.loads(draw(st.sampled_from(TEXTS)))}
    for _ in range(draw(st.integers(1, 3))):
        *before, last = draw(st.sampled_from([path for path in places(value) if path]))
        holder = value
        for key in before:
            holder = holder[key]
        match draw(st.sampled_from(["replace", "remove", "double"])):
            case "remove" if len(before) > 0:
                del holder[last]
            case "double" if isinstance(holder, list):
                holder.insert(last, holder[last])
            case _:
                holder[last] = draw(JSON)
    return json.dumps(value[""])


OTHERS = [entry["text"] for entry in json.loads((Path(__file__).parent / "others.json").read_text())["read"]]
PIECES = st.sampled_from(
    "( ) [ ] { } , = : | ~ + - * 0 7 99 'none' range lambda f\" \\ # \n normal enas-micro: {}".split(" ")
)


@st.composite
def scribbled(draw, texts=TEXTS + OTHERS):
    """The text of a published genotype, ours or another's, a few of its characters changed."""
    text = list(draw(st.sampled_from(texts)))
    for _ in range(draw(st.integers(1, 4))):
        text[draw(st.integers(0, len(text) - 1))] = draw(st.text(max_size=3) | PIECES)
    return "".join(text)


def read(text):
    try:
        genotype = formats.parse(text)
    except GenotypeError as error:
        assert str(error).isprintable() and len(str(error)) < 500
        return
    assert from_json(to_json(genotype)) == genotype


PIECED = st.lists(PIECES, max_size=12).map(" ".join)
ANY_TEXT = mutated() | scribbled() | st.text(max_size=200) | JSON.map(json.dumps) | PIECED


@settings(max_examples=TEXTS_READ, **QUIET)
@given(ANY_TEXT)
def test_any_text_is_a_genotype_or_one_line(text):
    read(text)


@pytest.mark.long
@settings(max_examples=LONG * TEXTS_READ, **QUIET)
@given(ANY_TEXT)
def test_any_text_is_a_genotype_or_one_line_long(text):
    read(text)


# --- the command line -----------------------------------------------------------------------------------------------

COMMANDS = ["search", "train", "describe", "draw", "bench", "search random", "search darts", "search pnas", "", "help"]
COMMANDS += ["predict", "evaluate", "export", "convert", "predict .", "export darts-v2"]
OPTIONS = """--budget --data --space --out --seed --device --threads --image-size --no-flip --resume --quiet --epochs
--trials --channels --cells --batch-size --learning-rate --recipe --skeleton --stem --network --input --classes --json
--auxiliary --to --top --latency --max-parameters --objective
--against --batch --rounds --checkpoint-seconds --import -o --no-auxiliary --children --help
--version""".split()
VALUES = """smoke full digits nasbench201 darts enas darts-v2 enas-rnn cifar . .. / /dev/null "" -- - -1 0 1 2 1e9 nan
inf 1_0 0x1 True None {} [] cell.svg cell.xyz no/such/place \x00 \x1b[31m \ud800 é 𝔘""".split()
LINE = st.lists(st.sampled_from(OPTIONS) | st.sampled_from(VALUES) | st.text(max_size=6), max_size=5)
# What would train for minutes is kept too small to begin: every line ends in a wrong word.
WRONG = st.sampled_from(["--no-such-option", "--seed=x", "--epochs", "--out=--", "--threads=0", "--data=no/such"])


def typed(command, words, wrong):
    words = [*command.split(), *words, wrong]
    printed, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
        try:
            status = cli.main(words)
        except SystemExit as leaving:  # --help and --version
            assert leaving.code == 0 and ({"--help", "-h", "--version"} & set(words)), words
            return
    said = errors.getvalue()
    if status == 2:
        assert said.startswith("nascore: ") and said.count("\n") == 1 and said[:-1].isprintable(), (words, said)
    else:
        assert status == 0, (words, status)


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A folder to be in, whose files are not ours to change."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text("mine")
    yield
    assert os.listdir(tmp_path) == ["config.json"] and (tmp_path / "config.json").read_text() == "mine"


@settings(max_examples=WORDS_TYPED, **QUIET)
@given(st.sampled_from(COMMANDS), LINE, WRONG)
def test_any_words_are_one_line(nowhere, command, words, wrong):
    typed(command, words, wrong)


@pytest.mark.long
@settings(max_examples=LONG * WORDS_TYPED, **QUIET)
@given(st.sampled_from(COMMANDS), LINE, WRONG)
def test_any_words_are_one_line_long(nowhere, command, words, wrong):
    typed(command, words, wrong)
