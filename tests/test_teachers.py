"""The page for teachers: its links lead to files and headings that are there, its words to sections that use them."""

import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
LINK = re.compile(r"\[([^\]]+)\]\(((?:[^()\s]|\([^()\s]*\))+)\)")  # an anchor may hold brackets, in pairs
HEADING = re.compile(r"^(#+) +(.+?) *$", re.MULTILINE)
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))
SKIP = re.compile(r"^\*Lesson (\d) .+\*$", re.MULTILINE)


def prose(name: str) -> str:
    """The text of a notebook or a page, without the code in it."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    if name.endswith(".ipynb"):
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def sections(name: str) -> dict[str, str]:
    """What stands under each heading, subheadings included, by its anchor: as JupyterLab makes it in a notebook
    (blanks become hyphens), as code hosts do in a page (small letters too, no punctuation)."""
    text = prose(name)
    found = {}
    headings = list(HEADING.finditer(text))
    for k, heading in enumerate(headings):
        deeper = (other.start() for other in headings[k + 1 :] if len(other[1]) <= len(heading[1]))
        title = re.sub(r"[`*]", "", heading[2])
        if name.endswith(".md"):
            title = re.sub(r"[^\w\- ]", "", title.lower())
        found[title.replace(" ", "-")] = text[heading.start() : next(deeper, len(text))]
    return found


def target(link: str, page: str) -> tuple[str, str]:
    """The file, from the folder of notebooks, and the anchor."""
    name, _, anchor = link.partition("#")
    return name or page, anchor


@pytest.mark.parametrize("page", ["README.md", *NOTEBOOKS])
def test_links_lead_to_headings_that_are_there(page):
    links = [link for _, link in LINK.findall(prose(page)) if "://" not in link and not link.startswith("attachment:")]
    assert links
    for link in links:
        name, anchor = target(link, page)
        assert (FOLDER / name).exists(), link
        if anchor:
            assert anchor in sections(name), f"{link}: {sorted(sections(name))}"


def rows(heading: str) -> list[list[str]]:
    """The cells of the tables below a heading, without their heads."""
    lines = [line for line in sections("README.md")[heading].splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    return [row for row in cells if not row[0].startswith("---") and row[0] not in ("minutes", "word")]


@pytest.mark.parametrize("lesson", [1, 2, 3, 4])
def test_a_lesson_takes_ninety_minutes(lesson):
    (heading,) = [anchor for anchor in sections("README.md") if anchor.startswith(f"lesson-{lesson}-")]
    assert sum(int(row[0]) for row in rows(heading)) == 90


def test_thirty_words_are_explained_where_they_are_first_used():
    words = rows("thirty-words")
    assert len(words) == 30 and len({row[0] for row in words}) == 30
    places = []
    for word, chinese, meaning in words:
        ((name, link),) = LINK.findall(word)
        notebook, anchor = target(link, "README.md")
        section = sections(notebook)[anchor]
        assert name.lower() in section.lower(), f"{name} is not in {link}"
        assert re.fullmatch(r"[\u4e00-\u9fff]{1,9}", chinese) and len(meaning) > 10
        places.append(notebook)
    assert places == sorted(places), "in the order in which they come"


def test_every_question_of_the_exam_has_a_folded_answer():
    exam = sections("README.md")["questions-for-an-exam"]
    starts = [match.start() for match in re.finditer(r"^\*\*\d+\.\*\* ", exam, flags=re.MULTILINE)]
    assert len(starts) == 12
    for start, end in zip(starts, [*starts[1:], len(exam)]):
        assert re.search(r"<details><summary>Answer</summary>\n\n.{40,}?</details>", exam[start:end], flags=re.DOTALL)


def test_numbers_of_the_exam():
    within = 88 / 15_625
    draws = next(n for n in range(1, 1000) if 1 - (1 - within) ** n >= 0.95)
    misses = 1.0
    for without in range(1000):
        if 1 - misses >= 0.95:
            break
        misses *= (15_625 - 88 - without) / (15_625 - without)
    assert f"{draws}. Without repeats {without}." in PAGE
    runs = next(n for n in range(1, 1000) if 2.8 * 0.3 * (2 / n) ** 0.5 <= 0.1)
    assert f"{runs} runs of each" in PAGE
    assert f"{100 * (0.9 * 0.1 / 120) ** 0.5:.1f}$ points" in PAGE


def test_notebooks_say_what_a_lesson_skips():
    lessons = {number for name in NOTEBOOKS for number in SKIP.findall(prose(name))}
    assert lessons <= set("1234") and "1" in lessons
