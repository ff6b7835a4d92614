"""What the repository promises about itself: its files, its dependencies, its layout."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCES = sorted((ROOT / "nascore").rglob("*.py"))

# The house, from the bottom up: a file imports only what stands above it here.
HOUSE = """errors files knobs own workers threads seeding genotypes/operations genotypes/values genotypes/canonical
published spaces/guards spaces/space spaces/chains spaces/cells spaces/examine formats/words formats/tokens
formats/strings formats/python cuda memory record loop pictures cache folders task images data nets/sizes
nets/stack nets/plain nets/depthwise nets/operations nets/blocks nets/skeletons nets/recompute
nets/convolutional nets/measure nets/expressions nets/definitions nets/source nets/edges nets/supernet
nets/shared training models from_scratch evaluation exports answers estimators constraints controllers
predictors registry search trials replayed policies bilevel methods expected watching show/png show/canvas
show/parts show/wiring show/drawing show/chart show/looks show/pareto show/controls show/plots
show/view show/widgets bench/steps bench/naive bench/harness bench/rows commands/options
commands/running commands/showing commands/answering cli""".split()


# --- dependencies ---------------------------------------------------------------------------------------------------


def versions(requirements):
    return dict(re.fullmatch(r"([\w-]+)(.*)", r.replace(" ", "")).groups() for r in requirements)


def test_environment_yml_names_what_pyproject_requires():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert conda["channels"][0] == "conda-forge"
    packages = versions(p for p in conda["dependencies"] if isinstance(p, str))
    assert packages.pop("python") == PROJECT["requires-python"]
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert f"setuptools{packages.pop('setuptools')}" in build
    packages.pop("pip")
    assert packages.pop("graphviz") == ""  # the programs; on PyPI, `graphviz` is the Python package
    extras = PROJECT["optional-dependencies"]
    expected = versions(PROJECT["dependencies"] + extras["test"] + extras["export"] + extras["optimisers"])
    assert expected.pop("nascore") == "[export,optimisers]"  # the tests need them
    renamed = {"torch": "pytorch", "graphviz": "python-graphviz"}
    assert packages == {renamed.get(name, name): version for name, version in expected.items()}
    (pip,) = (p["pip"] for p in conda["dependencies"] if isinstance(p, dict))
    assert pip == ["--no-deps -e ."]


def imports(path):
    """(module, line) of everything that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield node.module, node.lineno
            if node.module.split(".")[0] == "nascore":
                yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def test_every_package_that_is_imported_is_declared():
    optional = PROJECT["optional-dependencies"]
    extras = optional["export"] + optional["optimisers"]
    declared = {name.replace("-", "_") for name in versions(PROJECT["dependencies"] + extras)}
    declared |= {
        "nascore",
        "sklearn",
        "numpy",
        "PIL",
        "IPython",
        "cycler",
        "matplotlib_inline",
    }  # or come with what is declared
    for path in SOURCES:
        for module, line in imports(path):
            top = module.split(".")[0]
            assert top in declared or top in sys.stdlib_module_names or top in ("architect", "model_search"), (
                f"{path}:{line} imports {module}"
            )


# --- layout ---------------------------------------------------------------------------------------------------------


def place(name):
    """Where a file stands in the house; None for the package's own front doors."""
    name = "methods" if name.startswith("methods/") else name
    return HOUSE.index(name) if name in HOUSE else None


def test_a_file_imports_only_files_above_it():
    known = {path.relative_to(ROOT / "nascore").with_suffix("").as_posix() for path in SOURCES}
    for path in SOURCES:
        name = path.relative_to(ROOT / "nascore").with_suffix("").as_posix()
        if name.endswith(("__init__", "__main__")):
            continue
        assert place(name) is not None, f"{name} has no place in the house"
        for module, line in imports(path):
            target = module.removeprefix("nascore.").replace(".", "/")
            if module.startswith("nascore.") and target in known:
                assert place(target) < place(name), f"{name}:{line} imports {target}, which stands below it"


def test_a_method_imports_no_other_method_and_no_pictures():
    for path in (ROOT / "nascore" / "methods").glob("*.py"):
        for module, _ in imports(path):
            assert not module.startswith(("nascore.methods", "nascore.show", "nascore.cli")), f"{path.name}: {module}"
    assert "darts" not in (ROOT / "nascore" / "__init__.py").read_text()


# What a reader must work out: thin is counted in these, since lines can be saved by packing them.
EXPRESSIONS = (
    ast.Call,
    ast.BinOp,
    ast.BoolOp,
    ast.Compare,
    ast.Subscript,
    ast.Attribute,
    ast.Lambda,
    ast.IfExp,
)
EXPRESSIONS += (ast.comprehension, ast.Starred)


def test_the_library_is_thin():
    texts = {path: path.read_text() for path in SOURCES}
    nodes = [node for text in texts.values() for node in ast.walk(ast.parse(text))]
    assert sum(isinstance(node, EXPRESSIONS) for node in nodes) <= 15_000
    assert max(len(text.splitlines()) for text in texts.values()) <= 360


def texts():
    """Every file of the repository that a person wrote."""
    suffixes = {".py", ".md", ".toml", ".yml", ".ipynb", ".json", ""}
    skipped = ("build", "results", "scratch", "__pycache__")
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [f for f in folders if f not in skipped and (not f.startswith(".") or f == ".ci")]
        folders[:] = [f for f in folders if not f.endswith(".egg-info")]
        yield from (Path(folder) / f for f in files if Path(f).suffix in suffixes and not f.startswith("."))


def test_no_file_names_a_place_on_one_machine():
    here = re.compile(r"(?<![\w.])/(?:home|root|work|Users|tmp|mnt)/\w")
    for path in texts():
        if path != Path(__file__):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                assert not here.search(line), f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"


def test_no_test_reads_a_clock():
    """What a test asserts is true on every machine; seconds are printed, by
    `notebooks/runs/limits.py`."""
    for path in (ROOT / "tests").rglob("*.py"):
        assert not {"time", "timeit", "datetime"} & {module.split(".")[0] for module, _ in imports(path)}, path.name


def classes():
    """Every class of the package by its name, but for the text of exported files."""
    trees = (ast.parse(path.read_text()) for path in SOURCES if path.stem != "plain")
    return {node.name: node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def documented(name, known):
    """What a class or one of its bases says of its methods; of `forward` and checkpoints PyTorch does."""
    node = known.get(name)
    if node is None:
        return {"forward", "backward", "state_dict", "load_state_dict"}
    bases = (documented(base.id, known) for base in node.bases if isinstance(base, ast.Name))
    own = {f.name for f in node.body if isinstance(f, ast.FunctionDef) and ast.get_docstring(f)}
    return own.union({"forward", "backward"}, *bases)


def unsaid(node, place, known, said=frozenset()):
    """Modules, classes, functions and methods that a user may meet without a word about them."""
    if not ast.get_docstring(node):
        yield place
    for child in node.body:
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from unsaid(child, f"{place}.{child.name}", known, documented(child.name, known))
        elif isinstance(child, ast.FunctionDef) and not child.name.startswith("_"):
            if child.name not in said and not ast.get_docstring(child):
                yield f"{place}.{child.name}"


def test_what_is_public_says_what_it_is():
    known = classes()
    trees = {path: ast.parse(path.read_text()) for path in SOURCES}
    missing = [where for path, tree in trees.items() if tree.body for where in unsaid(tree, path.stem, known)]
    assert not missing, f"without a docstring: {', '.join(missing)}"


def test_nothing_is_left_to_be_done():
    for path in texts():
        if path != Path(__file__):
            assert not re.search(r"\b(TODO|FIXME|XXX)\b", path.read_text(encoding="utf-8")), path


def test_ruff_finds_nothing_notebooks_included():
    ruff = [sys.executable, "-m", "ruff"]
    for command in (
        [*ruff, "check", "--no-cache", "."],
        [*ruff, "format", "--no-cache", "--check", "."],
    ):
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr


def test_mypy_finds_nothing(tmp_path):
    mypy = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path)]
    ended = subprocess.run(mypy, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


# --- README and CI --------------------------------------------------------------------------------------------------


def test_ci_runs_the_readme_s_own_test_command():
    readme = (ROOT / "README.md").read_text()
    section = readme.split("\n## Run the tests", 1)[1]
    block = re.search(r"```bash\n(.*?)```", section, re.S).group(1).strip()
    assert block.count("\n") == 0 and "pip install -e '.[test]'" in block and "pytest" in block and "--nbval" in block
    script = (ROOT / ".ci" / "run").read_text()
    awk = re.search(r"awk '(.*?)' README.md", script).group(1)
    found = subprocess.run(["awk", awk, "README.md"], cwd=ROOT, capture_output=True, text=True).stdout
    assert found.strip() == block
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_readme_s_first_command_installs_and_searches():
    readme = (ROOT / "README.md").read_text()
    first = re.search(r"```bash\n(.*?)```", readme, re.S).group(1).splitlines()[0]
    assert "pip install -e ." in first and "nascore search darts" in first


# --- the wheel ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("setuptools", reason="setuptools is not installed here: no wheel can be built offline")
    tmp_path = tmp_path_factory.mktemp("wheel")
    for name in ("nascore", "pyproject.toml", "README.md", "LICENSE"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--quiet",
        "-w",
        "out",
        ".",
    ]
    ended = subprocess.run(pip, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    (wheel,) = (tmp_path / "out").glob("nascore-*.whl")
    return wheel


def test_a_wheel_holds_the_code_and_the_table(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {info.filename: info.file_size for info in archive.infolist()}
    assert names["nascore/tables/nasbench201.npz"] < 400_000
    assert {path.relative_to(ROOT).as_posix() for path in SOURCES} <= set(names)
    assert not [name for name in names if name.startswith(("tests", "notebooks"))]


QUICK = """
--version
search random --data nasbench201 --trials 5 --quiet --out run
search darts --budget smoke --channels 2 --epochs 1 --batch-size 360 --quiet
describe run
describe darts-v2
draw darts-v2 -o cell.svg
train darts-v2 --recipe child --channels 2 --cells 3 --epochs 1 --batch-size 500 --quiet
""".split("\n")[1:-1]


def test_a_wheel_outside_the_checkout_passes_the_quick_commands(wheel, tmp_path):
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--quiet",
        "--target",
        "site",
        str(wheel),
    ]
    ended = subprocess.run(pip, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    where = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    asked = "import nascore; print(nascore.__file__)"
    for command in (["-c", asked], *(["-m", "nascore", *words.split()] for words in QUICK)):
        ended = subprocess.run([sys.executable, *command], cwd=tmp_path, env=where, capture_output=True, text=True)
        assert ended.returncode == 0, (command, ended.stderr)
        if command[0] == "-c":
            assert ended.stdout.startswith(str(tmp_path / "site"))
    assert (tmp_path / "cell.svg").exists() and (tmp_path / "run" / "genotype.svg").exists()
