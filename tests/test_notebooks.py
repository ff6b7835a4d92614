"""What every notebook of the course must be, beyond running: nbval runs its cells and compares the tagged outputs."""

import json
import re
from pathlib import Path

import pytest

MOST_BYTES = 40_000  # of a PNG, as nascore.show.png has it
FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
TAGS = {"nbval-check-output", "nbval-ignore-output", "hide-input", "parameters"}
EXERCISE = re.compile(r"^(?:#+ Exercise |\*\*)\d+\b", re.MULTILINE)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request) -> dict:
    return {"path": request.param, **json.loads(request.param.read_text(encoding="utf-8"))}


def cells(notebook: dict, kind: str) -> list[dict]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def source(cell: dict) -> str:
    return "".join(cell["source"])


def prose(notebook: dict) -> str:
    """All text, without the code shown in it."""
    text = "\n\n".join(source(cell) for cell in cells(notebook, "markdown"))
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def tags(cell: dict) -> list[str]:
    return cell["metadata"].get("tags", [])


def outputs(notebook: dict) -> list[dict]:
    return [output for cell in cells(notebook, "code") for output in cell["outputs"]]


def test_there_are_notebooks():
    assert [path.name for path in NOTEBOOKS][:1] == ["00_start_here.ipynb"]


def test_the_title_comes_first(notebook):
    first = notebook["cells"][0]
    assert first["cell_type"] == "markdown" and source(first).startswith("# ")
    assert "](../figures/" in source(first)  # a picture that says what it is about
    assert len(re.findall(r"^# ", prose(notebook), flags=re.MULTILINE)) == 1


def test_it_was_run_from_top_to_bottom_without_an_error(notebook):
    code = cells(notebook, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not [output for output in outputs(notebook) if output["output_type"] == "error"]
    assert not [output for output in outputs(notebook) if output.get("name") == "stderr"]


def test_every_picture_says_in_words_what_it_shows(notebook):
    for alternative in re.findall(r"!\[(.*?)\]\(", prose(notebook)):
        assert len(alternative) > 10
    for image in re.findall(r"<img[^>]*>", prose(notebook)):
        assert re.search(r'alt="[^"]{10,}"', image), image[:80]
    for data in (output.get("data", {}) for output in outputs(notebook)):
        both = {"image/svg+xml", "image/png"} & data.keys()
        assert len(both) != 1 and "image/jpeg" not in data, "SVG carries its words, PNG shows without trust"
        assert len(data.get("image/png", "")) <= MOST_BYTES * 4 / 3 + 3  # in base 64
        svg = "".join(data.get("image/svg+xml", "")) + "".join(data.get("text/html", ""))
        for head in re.findall(r"<svg[^>]*>", svg):
            assert re.search(r'aria-label="[^"]{10,}"', head), head[:80]


def test_exercises_have_folded_solutions_and_run_as_delivered(notebook):
    text = prose(notebook)
    starts = [match.start() for match in EXERCISE.finditer(text)]
    assert 4 <= len(starts) <= 6
    for start, end in zip(starts, [*starts[1:], len(text)]):
        assert re.search(r"<details>\s*<summary>.+?</summary>.{40,}?</details>", text[start:end], flags=re.DOTALL)


def test_links_to_files_resolve(notebook):
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", prose(notebook)) if not link.startswith("attachment:")]
    assert links
    for link in links:
        assert link.startswith("https://") or (FOLDER / link.split("#")[0]).exists(), link


def test_it_is_small(notebook):
    pictures = sum(len(output.get("data", {}).get("image/png", "")) for output in outputs(notebook))
    # Each picture is stored twice, since PNG shows without trust; 05 has the most of them.
    assert notebook["path"].stat().st_size - pictures < 480_000
    assert pictures < 1_000_000
    seen = [cell for cell in cells(notebook, "code") if not cell["metadata"].get("jupyter", {}).get("source_hidden")]
    lines = [line.strip() for cell in seen for line in source(cell).splitlines()]
    assert sum(bool(line) and not line.startswith("#") for line in lines) <= 200
    assert max(source(cell).count("\n") + 1 for cell in cells(notebook, "code")) <= 20
    assert 30 <= len(notebook["cells"]) <= 64
    text = re.sub(r"^\*Lesson .*\*$", "", prose(notebook), flags=re.MULTILINE)  # what a class skips
    words = re.sub(r"\$\$.*?\$\$|\$[^$]*\$|</?\w[^>]*>|\(http[^)]*\)", " ", text, flags=re.DOTALL)
    assert 1_000 <= len(re.findall(r"\w[\w.,%-]*", words)) <= 2_700


def test_stable_outputs_are_checked_and_there_are_some(notebook):
    code = cells(notebook, "code")
    assert {tag for cell in code for tag in tags(cell)} <= TAGS
    checked = [cell for cell in code if "nbval-check-output" in tags(cell)]
    assert len(checked) >= 8
    for cell in checked:
        assert cell["outputs"], source(cell)[:80]
        for output in cell["outputs"]:  # fonts, versions and widgets differ between machines
            assert not {"image/svg+xml", "text/html"} & output.get("data", {}).keys(), source(cell)[:80]
    assert sum("parameters" in tags(cell) for cell in code) == 1


def test_nothing_in_it_depends_on_the_machine_or_the_day(notebook):
    assert set(notebook["metadata"]) <= {"kernelspec", "language_info"}
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    for cell in notebook["cells"]:
        assert set(cell["metadata"]) <= {"tags", "jupyter"}
    for output in outputs(notebook):  # widgets are not restored without their kernel
        assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})
    text = re.sub(r'"image/png": "[^"]*"', "", notebook["path"].read_text(encoding="utf-8"))
    assert not re.search(r"(?<![\w.])/(?:home|root|Users|tmp|work|mnt|var|opt)/|[A-Z]:\\\\\\\\", text)
    assert "pip install" not in text and "0x7" not in text


def test_it_does_not_talk_down(notebook):
    found = re.findall(r"\b(?:simply|obviously|just|trivially|of course)\b", prose(notebook), flags=re.IGNORECASE)
    assert not found, found
