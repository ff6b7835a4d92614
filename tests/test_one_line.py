"""What a user can get wrong besides words and files of genotypes: directories that are theirs,
streams, signals, names. Each ends in one plain line, and nothing is lost."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import nascore
from nascore import cli
from nascore.errors import UserError, plain
from nascore.files import write_whole
from nascore.published import GENOTYPES
from nascore.record import load_checkpoint

TABLE = "search random --data nasbench201 --trials 5 --quiet".split()
QUICK = dict(data="nasbench201", trials=5, progress=False)


def line_of(capfd, *words):
    assert cli.main(list(map(str, words))) == 2
    printed, errors = capfd.readouterr()
    assert printed == "" and errors.startswith("nascore: ") and errors.count("\n") == 1 and errors.endswith("\n")
    assert errors[:-1].isprintable()
    return errors[len("nascore: ") : -1]


def command(*words, **how):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-m", "nascore", *words], **pipes | how)


# --- a directory belongs to its user --------------------------------------------------------------------------------

THEIRS = {"notes.tmp": "mine", "config.json": "{}", "genotype.json": "{}", "history.jsonl": "mine"}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("words", [TABLE, ["train", "darts-v2", "--epochs", "1", "--quiet"]])
@pytest.mark.parametrize("name", [".", "HERE", "../HERE"])
def test_a_folder_with_files_of_the_users_is_left_as_it_is(capfd, tmp_path, monkeypatch, words, name):
    for file, text in THEIRS.items():
        (tmp_path / file).write_text(text)
    before = contents(tmp_path)
    monkeypatch.chdir(tmp_path)
    line = line_of(
        capfd,
        *words,
        "--out",
        name.replace("HERE", str(tmp_path) if name == "HERE" else tmp_path.name),
    )
    assert "holds config.json, history.jsonl, genotype.json and no checkpoint.pt: nothing is overwritten" in line
    assert contents(tmp_path) == before


def test_a_temporary_file_of_the_users_stays_and_ours_goes(tmp_path):
    for name in ("notes.tmp", "checkpoint.pt.tmp", "checkpoint.pt.backup.tmp"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "checkpoint.pt.1234.tmp").write_text("a killed process left it")
    (tmp_path / "x.tmp").mkdir()
    (tmp_path / "config.json.77.tmp").mkdir()
    nascore.run("random", directory=tmp_path, **QUICK)
    kept = {
        "notes.tmp",
        "checkpoint.pt.tmp",
        "checkpoint.pt.backup.tmp",
        "x.tmp",
        "config.json.77.tmp",
    }
    assert {path.name for path in tmp_path.glob("*.tmp")} == kept


@pytest.mark.parametrize("words", [TABLE, ["train", "darts-v2", "--epochs", "1"]])
@pytest.mark.parametrize("name", ["", " "])
def test_an_unset_variable_is_no_directory(capfd, tmp_path, monkeypatch, words, name):
    monkeypatch.chdir(tmp_path)
    for more in ([], ["--resume"]):
        line = line_of(capfd, *words, "--out", name, *more)
        assert line == f"--out: found {name!r}, allowed: the name of a directory"
    assert not list(tmp_path.iterdir())


def test_a_run_whose_checkpoint_was_removed_is_not_overwritten(tmp_path):
    nascore.run("random", directory=tmp_path / "run", **QUICK)
    (tmp_path / "run" / "checkpoint.pt").unlink()
    before = contents(tmp_path / "run")
    for more in ({}, {"seed": 1}):
        with pytest.raises(UserError, match="and no checkpoint.pt: nothing is overwritten; name another directory"):
            nascore.run("random", directory=tmp_path / "run", **QUICK | more)
    with pytest.raises(UserError, match="nothing to resume there"):
        nascore.run("random", directory=tmp_path / "run", resume=True, **QUICK)
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("words", [TABLE, ["train", "darts-v2", "--epochs", "1"]])
def test_resume_makes_no_directory(capfd, tmp_path, words):
    assert "nothing to resume there" in line_of(capfd, *words, "--resume", "--out", tmp_path / "new" / "run")
    assert not list(tmp_path.iterdir())


def test_a_picture_is_replaced_by_a_whole_one_or_not_at_all(tmp_path, monkeypatch):
    picture = tmp_path / "cell.svg"
    cli.main(["draw", "darts-v2", "-o", str(picture)])
    before = picture.read_bytes()
    whole = write_whole.__globals__["os"].fsync

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="cannot write the picture .*cell.svg: No space left on device"):
        nascore.draw(GENOTYPES["nasnet-a"]).save(picture)
    monkeypatch.setattr(os, "fsync", whole)
    assert picture.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["cell.svg"]


# --- words, values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        "search darts --budget=--",
        "search darts --data=--",
        "search darts --space=--",
        "search darts --epochs=--",
        "search darts --out=--",
        "train darts-v2 --recipe=--",
        "train darts-v2 --skeleton=--",
        "describe darts-v2 --network=--",
        "describe darts-v2 --channels=--",
        "draw darts-v2 --out=--",
        "bench --against=--",
    ],
)
def test_two_hyphens_are_no_value(capfd, words):
    assert "found '--', allowed: a value" in line_of(capfd, *words.split())


@pytest.mark.parametrize("value", ["nan", "-5", "inf", "-inf", "1e300"])
@pytest.mark.parametrize("words", [TABLE, ["train", "darts-v2", "--epochs", "1"]])
def test_seconds_between_checkpoints(capfd, tmp_path, words, value):
    line = line_of(capfd, *words, f"--checkpoint-seconds={value}", "--out", tmp_path / "run")
    assert line.startswith("--checkpoint-seconds: found ") and line.endswith("allowed: a number from 0 to 1e+09")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "options, said",
    [
        (dict(data=None), "data: found 'None', allowed: digits"),
        (dict(data=5), "data: found '5', allowed: digits"),
        (dict(data=["digits"]), "data: found .*, allowed: digits"),
        (dict(data=""), "data: found '', allowed: digits"),
        (dict(directory=5), "--out: found 5, allowed: the name of a directory"),
        (dict(directory=["a"]), "--out: found .*, allowed: the name of a directory"),
        (dict(directory="a\0b"), "--out: found .*, allowed: the name of a directory"),
        (dict(budget=[]), "budget: found \\[\\], allowed: smoke, reduced, full"),
        (dict(budget=None), "budget: found None, allowed: smoke, reduced, full"),
        (dict(space=5), "space: found 5, allowed: a name, or an object with choices_at"),
        (dict(seed=None), "seed: found None, allowed: a whole number"),
        (dict(seed=True), "seed: found True, allowed: a whole number"),
        (dict(stop=True), "stop: found True, allowed: a function"),
        (dict(progress="yes"), "progress: found 'yes', allowed: true, false or a function"),
        (dict(estimate=5), "estimate: found 5, allowed: a function"),
        (dict(device=None), "device: found 'None', allowed: auto, cpu, cuda"),
        (dict(checkpoint_seconds="soon"), "--checkpoint-seconds: found 'soon', allowed: a number"),
        (
            dict(image_size="big"),
            "--image-size: found 'big', allowed: a whole number from 4 to 512",
        ),
        (dict(flip="no"), "flip: found 'no', allowed: true or false"),
        (dict(resume="yes"), "resume: found 'yes', allowed: true or false"),
    ],
    ids=lambda case: str(case)[:40],
)
def test_values_of_a_wrong_kind_are_one_line(options, said):
    with pytest.raises(UserError, match=f"^{said}") as caught:
        nascore.run("random", **dict(budget="smoke", progress=False) | options)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("method", [5, None, ["darts"], "darts\n", ""])
def test_what_is_no_method(method):
    with pytest.raises(UserError, match="^method: found .*, allowed: darts, "):
        nascore.run(method)


def test_what_a_terminal_would_obey_is_written_as_python_writes_it(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert plain("a\nb\x1b]0;title\x07") == "a b\\x1b]0;title\\x07"
    file = Path("genotype.json")
    file.write_text(json.dumps({"kind": "cell", "\x1b]0;owned\x07": 1}))
    assert "\\x1b]0;owned\\x07" in line_of(capfd, "describe", file)
    file.write_text(json.dumps({"kind": "\x1b[2J\nnascore: all is well"}))
    line_of(capfd, "describe", file)
    folder = "a\nfolder\x1b[31m"
    assert "\\x1b[31m" in line_of(capfd, "describe", folder)
    line_of(capfd, "search", "darts", "--data", folder)
    line_of(capfd, *TABLE, "--out", "genotype.json/\x1b[31m")


def test_a_bit_flipped_anywhere_at_the_end_of_a_checkpoint_is_one_line(capfd, tmp_path):
    """In the zip file's directory, which says what is where and how it is packed."""
    out = tmp_path / "run"
    nascore.run("random", directory=out, **QUICK)
    whole = (out / "checkpoint.pt").read_bytes()
    with zipfile.ZipFile(out / "checkpoint.pt") as archive:
        start = archive.start_dir
    flipped = 0
    for place in range(start, len(whole), 3):
        spoiled = bytearray(whole)
        spoiled[place] ^= 1 << place % 8
        (out / "checkpoint.pt").write_bytes(spoiled)
        try:
            load_checkpoint(out / "checkpoint.pt")
        except UserError as error:
            assert "checkpoint.pt is not a checkpoint" in str(error) and str(error).isprintable()
            flipped += 1
    assert flipped > 20
    (out / "checkpoint.pt").write_bytes(whole[:start] + bytes([whole[start] ^ 1]) + whole[start + 1 :])
    assert "is not a checkpoint" in line_of(capfd, *TABLE, "--resume", "--out", out)


# --- streams --------------------------------------------------------------------------------------------------------


def test_a_name_that_is_no_utf8_is_written_for_any_terminal(tmp_path):
    out = os.fsencode(tmp_path) + b"/caf\xe9 \xff"
    for encoding in ("ascii", "utf-8", "latin-1"):
        process = command(
            *TABLE,
            "--out",
            out + encoding.encode(),
            env=os.environ | {"PYTHONIOENCODING": encoding},
        )
        printed, errors = process.communicate()
        assert process.returncode == 0 and errors == b"", errors
        assert b"caf\\udce9" in printed and os.path.exists(out + encoding.encode() + b"/genotype.svg")


def test_an_ascii_terminal_gets_every_character(tmp_path):
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    process = command("describe", "größe.json", env=ascii_only, cwd=tmp_path)
    _, errors = process.communicate()
    assert process.returncode == 2 and b"gr\\xf6\\xdfe.json" in errors and errors.count(b"\n") == 1


@pytest.mark.parametrize("closed", [[2], [1], [0, 1, 2]])
def test_closed_streams_are_nowhere(tmp_path, closed):
    def close():
        for stream in closed:
            os.close(stream)

    process = command(*TABLE[:-1], "--out", str(tmp_path / "run"), preexec_fn=close)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert b"Traceback" not in errors
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {
        "genotype.json",
        "checkpoint.pt",
        "genotype.svg",
    }
    for path in (tmp_path / "run").iterdir():
        assert b"nascore: " not in path.read_bytes()  # no message landed in a file that took a stream's place
    wrong = command("describe", "no such thing", preexec_fn=close)
    wrong.communicate()
    assert wrong.returncode == 2


# --- Ctrl-C and the terminal ----------------------------------------------------------------------------------------

WHILE_IMPORTED = """
import os, runpy, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == MODULE:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
runpy.run_module("nascore", run_name="__main__")
"""


@pytest.mark.parametrize("module", ["nascore.cli", "numpy", "torch", "numpy.linalg", "nascore.search"])
def test_ctrl_c_while_something_is_imported_is_one_line(module):
    words = [sys.executable, "-c", f"MODULE = {module!r}\n{WHILE_IMPORTED}", *TABLE]
    ended = subprocess.run(words, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "nascore: interrupted\n")


def test_a_search_that_is_stopped_before_its_first_step_is_no_error(tmp_path):
    result = nascore.run("random", stop=lambda: True, directory=tmp_path / "run", **QUICK)
    assert not result.finished and result.genotype is None and result.history == []
    assert not (tmp_path / "run" / "genotype.json").exists()
    assert nascore.run("random", directory=tmp_path / "run", resume=True, **QUICK).finished


STOPPED_AT_ONCE = """
import runpy, signal
from nascore import loop
steps = loop._steps
def interrupted_first(*arguments):
    signal.raise_signal(signal.SIGINT)
    return steps(*arguments)
loop._steps = interrupted_first
runpy.run_module("nascore", run_name="__main__")
"""


def test_the_command_says_so_with_status_130(tmp_path):
    out = ["--out", str(tmp_path / "run")]
    ended = subprocess.run([sys.executable, "-c", STOPPED_AT_ONCE, *TABLE, *out], capture_output=True, text=True)
    assert ended.returncode == 130 and ended.stdout == ""
    assert ended.stderr.startswith("nascore: stopped after 0 steps; go on with: nascore search random")
    assert cli.main([*TABLE, *out, "--resume"]) == 0


# A search with two workers, in a session of its own: its terminal closes while they train.
WITH_WORKERS = """
import sys
import nascore
from contextlib import suppress
from nascore import data, spaces
from nascore.estimators import TrainChildren
from nascore.training import RECIPES
from dataclasses import replace

recipe = replace(RECIPES["child"], epochs=2)
children = TrainChildren(data.load("digits", image_size=32), recipe, 4, 3, "nasbench201", workers=2)
def said(step):
    with suppress(OSError):  # when there is no terminal any more
        print(step.step, flush=True)

children.progress = said
space = spaces.get("nasbench201")
sizes = dict(budget="smoke", trials=40, children=4)
result = nascore.run("random", space=space, estimate=children, directory=sys.argv[1], progress=False, **sizes)
assert not result.finished
"""


def shared_memory(process):
    """The names of `process`: other tests, at the same time, have theirs."""
    return [name for name in os.listdir("/dev/shm") if str(process) in re.split("[-_]", name)]


def of_session(leader):
    """The processes of a session that are alive."""
    alive = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split() if entry.name.isdigit() else []
        except OSError:
            continue
        if fields and int(fields[3]) == leader and fields[0] != "Z":
            alive.append(int(entry.name))
    return alive


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc and /dev/shm are Linux's")
def test_a_terminal_that_closes_leaves_no_worker_and_nothing_in_shared_memory(tmp_path):
    leader, terminal = pty.fork()
    if leader == 0:
        os.execv(sys.executable, [sys.executable, "-c", WITH_WORKERS, str(tmp_path / "run")])
    heard = b""
    while b"2\r\n" not in heard:  # the second child has answered: two workers train the next ones
        heard += os.read(terminal, 1000)
    assert len(of_session(leader)) >= 3 and shared_memory(leader)
    os.close(terminal)  # the system sends SIGHUP to the whole session
    _, status = os.waitpid(leader, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    while of_session(leader):  # the trackers clean up and end
        signal.sigtimedwait([], 0.1)
    assert not shared_memory(leader)
    state = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert state["rows"]["history.jsonl"]


@pytest.mark.parametrize(
    "words",
    [
        "search darts --budget smoke",
        "search random --budget smoke",
        "search enas-micro --space nasbench201 --budget smoke",
        "train darts-v2 --recipe darts-cifar",
    ],
)
def test_images_that_no_network_can_take_are_refused_before_anything_is_made(capfd, tmp_path, words):
    line = line_of(capfd, *words.split(), "--image-size", 30, "--out", tmp_path / "run")
    assert re.fullmatch(
        r"images: found \(\d+, 1, 30, 30\), allowed: .* with sides divisible by 4, 8 or 32 say",
        line,
    )
    assert not (tmp_path / "run").exists()
