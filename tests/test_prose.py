"""Numbers in a notebook's prose come from somewhere: a cell's output or code, an equation, a file of runs/."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("0*.ipynb"))
# With at least two decimals, or a percentage, or a mean ± spread: what only a measurement gives.
MEASURED = re.compile(r"(?<![\w.{/-])(\d{1,3}\.\d{2,3})(?![\w.\d])")
# The papers' tables, and constants of the methods, which no cell prints.
PAPERS = set("54.30 0.32 0.45 0.001 0.0005 0.00035 0.0035 0.025 0.05 0.99 0.95 0.0006 0.01".split())


def parts(notebook):
    """(prose without links, equations and solutions' code, everything that was run or printed)."""
    cells = json.loads(notebook.read_text())["cells"]
    prose, shown = [], []
    for cell in cells:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            solutions = re.findall(r"<details>.*?</details>", text, re.S)
            tables = re.findall(r"^\|.*\|$", text, re.M)  # the papers' and others' numbers
            for left_out in (*solutions, *tables):
                text = text.replace(left_out, "")
            prose.append(re.sub(r"\]\([^)]*\)|\$\$.*?\$\$|```.*?```", "", text, flags=re.S))
        else:
            shown.append(text)
            for output in cell["outputs"]:
                shown += ["".join(output.get("text", "")), "".join(output.get("data", {}).get("text/plain", ""))]
                shown.append("".join(output.get("data", {}).get("image/svg+xml", "")))
    return prose, "\n".join(shown)


def numbers_of_runs(names):
    """Every number in those files of runs/ that a notebook names."""
    files = [path for path in (ROOT / "notebooks" / "runs").rglob("*.json*") if names & {path.stem, path.parent.name}]
    return {float(n) for path in files for n in re.findall(r"\d+\.\d+", path.read_text())}


def said_by(number, known):
    """A number is there if one that is known rounds to it, as it is or as percent."""
    digits = len(number.split(".")[1])
    return any(round(k * scale, digits) == float(number) for k in known for scale in (1, 100, 0.01))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_numbers_in_prose_come_from_a_cell_or_a_run(notebook):
    prose, shown = parts(notebook)
    names = set(re.findall(r"[\w-]+", "\n".join([*prose, shown])))
    linked = re.findall(r"\((0\d_\w+\.ipynb)\) prints", notebook.read_text())
    shown += "\n".join(parts(notebook.parent / name)[1] for name in linked)
    known = {float(n) for n in re.findall(r"\d+\.\d+|\d+", shown)} | numbers_of_runs(names)
    lost = [n for text in prose for n in MEASURED.findall(text) if n not in PAPERS and not said_by(n, known)]
    assert not lost, lost
