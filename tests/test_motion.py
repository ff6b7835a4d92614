"""The pictures that move: what a file may hold, that its still teaches, and that it shows what the library does."""

import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from nascore import spaces
from nascore.estimators import Table
from nascore.genotypes import from_dict
from nascore.methods.darts import derive
from nascore.methods.nasnet import NASNetBudget, clipped_objective
from nascore.show.canvas import GREY
from nascore.show.drawing import FAMILIES, INPUT, NODE

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "notebooks" / "runs"
sys.path += [str(ROOT / "figures"), str(RUNS)]
import filmed  # noqa: E402
import motion  # noqa: E402
import moving  # noqa: E402

MOVIES = {figure.__name__: figure for figure in motion.FIGURES}
MOVE = [name for name in MOVIES if name != "five_papers"]
SVG = "{http://www.w3.org/2000/svg}"
PAPERS = {INPUT, NODE} | {tint for _, tint, _ in FAMILIES.values()}  # under dark text, with a border


def file_of(name):
    return (ROOT / "figures" / f"{name}.svg").read_text(encoding="utf-8")


def stored(name):
    return json.loads((RUNS / "filmed" / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def table():
    return Table()


def shown(name):
    """The elements of the still, and their attributes with those of the groups around them."""

    def walk(element, above):
        own = above | {key: value for key, value in element.attrib.items() if key not in ("transform", "class")}
        if element.tag.removeprefix(SVG) in ("title", "style", "clipPath") or own.get("opacity") == "0":
            return
        if element.tag not in (f"{SVG}svg", f"{SVG}g"):
            yield element, own
        for child in element:
            yield from walk(child, own)

    return list(walk(ElementTree.fromstring(file_of(name)), {}))


def keyframes(name):
    """The whole style, and of each class what CSS says at how many percent of the loop."""
    style = re.search(r"<style>(.*?)</style>", file_of(name)).group(1)
    found = {}
    for frame, rule in re.findall(r"@keyframes (\w+)\{((?:[^{}]*\{[^{}]*\})*)\}", style):
        said = re.findall(r"([^{}]*)\{(.*?)\}", rule)
        found[frame] = {float(percent): css for percents, css in said for percent in percents[:-1].split("%,")}
    return style, found


def contrast(colour, page):
    def light(text):
        parts = [int(text[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(colour), light(page)))
    return (high + 0.05) / (low + 0.05)


# --- what a file may hold ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MOVIES)
def test_the_stored_file_is_what_is_drawn_each_time(name):
    first, second = MOVIES[name]().svg, MOVIES[name]().svg
    assert first == second
    assert file_of(name).split("?>\n", 1)[1] == first


@pytest.mark.parametrize("name", MOVIES)
def test_it_is_plain_svg_with_its_words_that_needs_nothing_else(name):
    svg = file_of(name)
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg" and root.get("width") == "940" and root.get("viewBox").startswith("0 0 940 ")
    assert root.get("role") == "img" and root[0].text == root.get("aria-label") and len(root[0].text) > 250
    assert "todo" not in root[0].text and len(svg) < 60_000
    assert not re.search(r"<script|\son\w+=|javascript:|@import|@font-face|<image|<foreignObject", svg)
    used = re.findall(r"url\(([^)]*)\)|href=\"([^\"]*)\"|(https?://[^\"' ]+)", svg.replace(SVG[1:-1], ""))
    ids = {f"#{element.get('id')}" for element in root.iter() if element.get("id")}
    assert {part for parts in used for part in parts if part} == ids


@pytest.mark.parametrize("name", MOVE)
def test_it_moves_calmly_and_stands_still_where_a_reader_wants_that(name):
    style, frames = keyframes(name)
    rule = "@media print,(prefers-reduced-motion:reduce){[class]{animation:none}}"
    assert style.endswith(rule)  # last, so that it wins over rules as strong
    clock = re.search(r"\[class\]\{animation:([\d.]+)s linear -([\d.]+)s infinite\}", style)
    seconds, begins = map(float, clock.groups())
    assert 8 <= seconds <= 14 and seconds - begins > 3  # it begins with the pause, on the last frame
    assert set(re.findall(r'class="([^"]*)"', file_of(name))) == set(frames) == set(re.findall(r"\.(a\d+)\{", style))
    moved = {css.split(":")[0] for said in frames.values() for css in said.values()}
    assert moved <= {"transform", "opacity", "stroke-dashoffset", "stroke-width"}
    pause, again = 100 * begins / seconds + 0.02, 100 * (1 - moving.BACK / seconds) - 0.02
    for said in frames.values():  # nothing moves in the pause, and the way back ends where it began
        assert said[0.0] == said[100.0] and not [percent for percent in said if pause < percent < again]


@pytest.mark.parametrize("name", MOVE)
def test_its_still_is_the_last_frame(name):
    """What the attributes say and what CSS says at the end of the run must be the same picture."""
    last = {frame: said[sorted(said)[-2]] for frame, said in keyframes(name)[1].items()}
    for element in ElementTree.fromstring(file_of(name)).iter():
        if css := last.get(element.get("class")):
            kind, value = css.split(":")
            nothing = {"transform": "1" if "scale" in value else "0 0", "opacity": "1", "stroke-dashoffset": "0"}
            own = element.get(kind) or nothing[kind]
            numbers, expected = (list(map(float, re.findall(r"-?[\d.]+", text))) for text in (own, value))
            assert np.allclose(numbers, expected, atol=0.06), (element.attrib, css)


@pytest.mark.parametrize("name", MOVIES)
def test_the_still_is_full_and_can_be_read_on_light_and_on_dark_pages(name):
    found = shown(name)
    texts = [element for element, _ in found if element.tag == f"{SVG}text"]
    assert len(texts) >= 10 and len(found) - len(texts) >= 10
    for element, own in found:
        for part in element.iter():
            assert float(part.get("font-size", own["font-size"])) >= 10  # at its own width, 940
        for kind in ("fill", "stroke"):
            colour = own.get(kind, GREY if kind == "fill" else "none")
            guide = float(own.get(f"{kind}-opacity", 1)) <= moving.FAINT
            if colour in ("none", moving.INK, *PAPERS) or guide:
                continue
            assert min(contrast(colour, page) for page in ("#ffffff", "#111111")) >= 3, colour
        if element.tag == f"{SVG}text":
            assert 0 <= float(element.get("x")) <= 940 and own.get("fill-opacity", "1") == "1"


def test_a_line_says_only_what_straight_lines_between_its_frames_do_not():
    times, values = np.linspace(0, 1, 9), np.array([0, 1, 2, 3, 4, 3, 2, 1, 0.0])
    assert moving.kept(times, values, 0.01) == [0, 4, 8]
    noisy = np.random.default_rng(0).normal(size=9)
    said = moving.kept(times, noisy, 0.3)
    assert np.abs(np.interp(times, times[said], noisy[said]) - noisy).max() <= 0.3


# --- a fact of each run -----------------------------------------------------------------------------------------------


def test_the_walks_are_those_of_the_library(table):
    run = stored("table_walks")
    assert filmed.table_walks(trials=60) == {
        name: {kind: values[:60] for kind, values in of.items()} for name, of in run.items()
    }
    _, ranks, accuracies = motion.landscape()
    signal = table.columns["cifar10_valid"]
    assert np.array_equal(accuracies[ranks - 1], signal)
    for name, of in run.items():
        ends = ranks[of["cells"]].min()
        assert f"{name} {ends:,}" in ElementTree.fromstring(file_of("table_walks")).get("aria-label")
        for cell, parent in zip(of["cells"], of["from"]):
            digits = [np.base_repr(code, 5).zfill(6) for code in (cell, cell if parent is None else parent)]
            assert sum(a != b for a, b in zip(*digits)) == (parent is not None)


def test_the_mass_on_128_networks_is_one_and_ends_as_the_controller_does():
    run = stored("nas_rl_mass")
    masses = np.array(run["probabilities"])
    assert masses.shape == (len(run["updates"]), 128) and np.allclose(masses.sum(1), 1, atol=1e-3)
    again = filmed.nas_rl_mass()  # the last frame is the controller's
    assert again["updates"] == run["updates"]
    assert np.allclose(again["probabilities"], masses, atol=1e-3)
    space = spaces.get("nas-rl", **filmed.CHOICES)
    first = [space.decode(decisions).layers[0] for decisions in product(*map(range, space.choices))]
    rows = [(layer.filter, layer.filters) for layer in first[::16]]
    assert rows == [((h, w), f) for h, w, f in product((1, 3), (1, 3), (24, 36))]  # as the picture names its rows
    assert all((layer.filter, layer.filters) == rows[k // 16] for k, layer in enumerate(first))


def test_the_clip_is_flat_exactly_where_the_objective_has_no_gradient():
    run = stored("nasnet_clip")
    again = filmed.nasnet_clip()
    assert again["decisions"] == run["decisions"] and np.allclose(again["ratios"], run["ratios"], atol=1e-3)
    ratios, advantages = torch.tensor(run["ratios"], dtype=torch.float64), torch.tensor(run["advantages"]).double()
    assert run["epsilon"] == NASNetBudget().epsilon and (ratios[0] == 1).all()
    log_ratios = ratios.log().requires_grad_()
    sum(clipped_objective(now, torch.zeros_like(now), advantages, run["epsilon"]) for now in log_ratios).backward()
    cut = ((ratios - 1) * advantages.sign()[:, None]) > run["epsilon"]
    assert torch.equal(log_ratios.grad == 0, cut) and cut.any() and not cut[4].any()
    assert f"{cut[-1].double().mean():.0%} at the end" in file_of("nasnet_clip")


def test_the_beam_holds_what_the_table_says_and_grows_out_of_itself(table):
    levels = stored("pnas_beam")["levels"]
    space, before = spaces.get("nasbench201"), None
    for level in levels:
        cells = [tuple(map(int, cell)) for cell, _, _ in level["trained"]]
        true = [round(answer.reward, 5) for answer in table([space.decode(cell) for cell in cells])]
        assert [accuracy for *_, accuracy in level["trained"]] == true
        if before:
            length, counts = len(before[0]), level["in_each_hundredth"]
            assert {cell[:length] for cell in cells} <= set(before)
            assert sum(counts) == level["scored"] == len(before) * 5 ** (len(cells[0]) - length)
            scores = [score for _, score, _ in level["trained"]]
            assert scores == sorted(scores, reverse=True) and len(set(cells)) == len(cells)
            taken, _ = np.histogram(scores, np.linspace(0, 1, 101))
            assert (taken <= counts).all() and max(np.flatnonzero(taken)) == max(np.flatnonzero(counts))
        before = cells
    assert [len(level["trained"]) for level in levels] == [5, 48, 47]
    assert levels[-1]["best_there"] == round(table.columns["cifar10_valid"].max() / 100, 5)


def test_enas_paths_are_samples_of_its_search():
    cells = motion.sampled_cells()
    space = spaces.get("enas-micro")
    rows = [json.loads(line) for line in (RUNS / "enas-micro-cifar10" / "history.jsonl").open()]
    rows = [row for row in rows if row["phase"] == "shared"]
    assert len(cells) == len(rows) and set(motion.ENAS_OPS) == set(space.primitives)
    for (time, picks), row in zip(cells, rows):
        nodes = from_dict(row["genotype"]).normal.nodes
        assert picks == [(j, i, op) for i, n in enumerate(nodes, 2) for j, op in zip(n.inputs, n.ops)] and 0 < time <= 1
    shares = [np.mean([j == 0 for _, picks in part for j, _, _ in picks]) for part in (cells[:54], cells[-54:])]
    assert shares[0] < 0.35 and shares[1] > 0.7  # what the picture is about


def test_the_cell_beside_the_alphas_is_the_one_of_the_stored_search():
    run = stored("darts_alphas")
    strengths = torch.tensor(run["strengths"], dtype=torch.float64)
    assert strengths.shape[1:] == (14, 8) and torch.allclose(strengths.sum(2), torch.ones(1).double(), atol=1e-5)
    rows = [json.loads(line) for line in (RUNS / "digits-search" / "history.jsonl").open()]
    for step, p in zip(run["steps"], strengths):
        if step:
            assert derive([p.log()], spaces.get("darts")).normal == from_dict(rows[step - 1]["genotype"]).normal
            means = [rows[step - 1]["strengths"]["normal"][op] for op in run["primitives"]]
            assert torch.allclose(p.mean(0), torch.tensor(means).double(), atol=2e-5)
    assert run["steps"][-1] == len(rows)


def test_the_five_papers_stand_where_their_numbers_are():
    svg = ElementTree.fromstring(file_of("five_papers"))
    dots = [element for element in svg.iter(f"{SVG}circle")]
    heights = dict(zip(motion.PAPERS, (float(dot.get("cy")) for dot in dots)))
    cost = {name: days for name, (_, _, days, *_) in motion.PAPERS.items()}
    decades = np.log10([cost["NAS-RL"] / cost[name] for name in heights])
    assert np.allclose([height - heights["NAS-RL"] for height in heights.values()], 74 * decades, atol=0.2)
    assert [dot.get("fill") == "none" for dot in dots] == [not own for _, _, _, own, *_ in motion.PAPERS.values()]
