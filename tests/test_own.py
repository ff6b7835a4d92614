"""What is the user's own, everywhere: `notebooks/my_nas.py`, run as the README says, and
`--import`."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nascore
from nascore import cli, genotypes, registry, search, spaces

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "README.md").read_text().split("\n## Your own parts\n")[1].split("\n## ")[0]
COMMANDS = re.search(r"```bash\n(.*?)```", PAGE, re.S).group(1).splitlines()
OWN = (ROOT / "notebooks" / "my_nas.py").read_text()
PARTS = re.split(r"^# An? ", OWN, flags=re.MULTILINE)[1:]
SMALL = "--trials 2 --child-epochs 1 --channels 4 --cells 3 --batch-size 360".split()


@pytest.fixture
def my_nas(tmp_path, monkeypatch, open_table):
    """That file in the current folder; what it registers is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    Path("my_nas.py").write_text(OWN)
    before = dict(search.methods_by_name()), dict(spaces.SPACES)
    path = list(sys.path)
    yield tmp_path / "my_nas.py"
    sys.path[:] = path
    for module in ("imported_my_nas", "my_nas", "mine", "mine.nas"):
        sys.modules.pop(module, None)
    for known, contents in zip((registry._METHODS, spaces.SPACES), before):
        known.clear()
        known.update(contents)


def test_each_part_takes_less_than_thirty_lines():
    assert len(PARTS) == 4 and all(part.strip().count("\n") < 30 for part in PARTS)


def test_the_commands_of_the_page_search(my_nas, capsys):
    assert len(COMMANDS) == 3
    for command in COMMANDS:
        words = command.replace("notebooks/", "").split()[1:]
        if "evolution" in words:
            words += SMALL
        if "darts" in words:
            words += "--epochs 1 --channels 2 --batch-size 360".split()
        assert cli.main([*words, "--quiet"]) == 0, capsys.readouterr().err
        assert capsys.readouterr().out.splitlines()[-1].startswith("best reward: 0.")


def test_the_estimator_of_the_page_finds_a_front(my_nas):
    module = {}
    exec(compile(my_nas.read_text(), "my_nas.py", "exec"), module)
    front = module["search_both"]()
    assert len(front) > 1 and list(front.values()) == sorted(front.values())
    table = module["table"].columns["cifar10_valid"].max() / 100
    assert 0.8 < max(front.values()) <= table


def test_a_method_of_ones_own_is_stopped_and_resumed_like_the_others(my_nas, tmp_path):
    exec(compile(my_nas.read_text(), "my_nas.py", "exec"), {})
    how = dict(data="nasbench201", trials=30, progress=False)
    whole, steps = nascore.run("climb", **how), iter(range(99))
    nascore.run("climb", directory=tmp_path / "run", stop=lambda: next(steps) == 11, **how)
    assert nascore.run("climb", directory=tmp_path / "run", resume=True, **how).history == whole.history


def test_a_dotted_module_is_imported_from_the_current_folder(my_nas, capsys):
    Path("mine").mkdir()
    my_nas.rename("mine/nas.py")
    words = "search climb --data nasbench201 --trials 3 --quiet".split()
    assert cli.main(["--import", "mine.nas", *words]) == 0
    assert cli.main([*words[:1], "--import=mine/nas.py", *words[1:]]) == 0


def test_the_command_knows_what_a_file_brings(my_nas):
    """In a process of its own, whose workers cannot import the file."""
    command = [sys.executable, "-m", "nascore", "--import", "my_nas.py"]
    helped = subprocess.run([*command, "search", "climb", "--help"], capture_output=True, text=True)
    assert helped.returncode == 0 and "probability of a new start" in helped.stdout
    drawn = nascore.spaces.get("darts").decode([0] * len(nascore.spaces.get("darts").choices))
    text = genotypes.to_json(drawn).replace('"none"', '"se_conv"').replace('"max_pool_3x3"', '"se_conv"')
    Path("mine.json").write_text(text)
    described = subprocess.run([*command, "describe", "mine.json", "--json"], capture_output=True, text=True)
    assert described.returncode == 0, described.stderr
    assert json.loads(described.stdout)["parameters"] > 0


WRONG = {
    "no such file": (None, "--import my_nas.py: .*there is no such file"),
    "a syntax error": ("def f(:\n", "--import my_nas.py: .*SyntaxError.* \\(my_nas.py, line 1\\)"),
    "an exception": (
        "x = 1\ny = 1 / 0\n",
        "--import my_nas.py: .*ZeroDivisionError.* \\(my_nas.py, line 2\\)",
    ),
    "what only it can raise": (
        "raise GeneratorExit\n",
        "--import my_nas.py: .*GeneratorExit.* \\(my_nas.py, ",
    ),
    "an exit": (
        "import sys\nsys.exit(3)\n",
        "--import my_nas.py: .*SystemExit.* \\(my_nas.py, line 2\\)",
    ),
    "a wrong name": (
        "import nascore\nnascore.register('my conv', 5)\n",
        "letters, digits and underscores",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_imported_is_one_line_that_says_where(my_nas, capsys, name):
    text, said = WRONG[name]
    my_nas.unlink() if text is None else my_nas.write_text(text)
    assert cli.main(["--import", "my_nas.py", "search", "climb"]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and re.search(said, errors)


@pytest.mark.parametrize("words", [["--import"], ["--import", ""], ["--import", "no.such.module"], ["--import=--"]])
def test_an_import_of_nothing_is_one_line(capsys, words):
    assert cli.main([*words, "describe", "darts-v2"]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("nascore: --import") and errors.count("\n") == 1


def test_what_there_is_can_be_completed():
    shown = {
        "run",
        "Result",
        "spaces",
        "register",
        "draw",
        "describe",
        "train",
        "load",
        "evaluate",
        "export",
    }
    assert shown <= set(dir(nascore)) and shown == set(nascore.__all__)
    for name in shown:
        assert getattr(nascore, name) is not None
    typed = Path(nascore.__file__).parent / "py.typed"
    assert typed.exists()
    with pytest.raises(AttributeError, match="module 'nascore' has no attribute 'serch'"):
        getattr(nascore, "serch")  # noqa: B009
