"""A drawing shows the graph that the genotype is: every edge, every name, nothing foreign in the SVG."""

import base64
import builtins
import html
import io
import re
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from random import Random

import pygraphviz
import pytest
from matplotlib import image as images
from PIL import Image

from nascore import genotypes, spaces
from nascore.errors import UserError
from nascore.genotypes import (
    Cell,
    CellGenotype,
    ChainGenotype,
    ChainLayer,
    MacroGenotype,
    MacroLayer,
    Node,
)
from nascore.published import GENOTYPES
from nascore.show import canvas, drawing
from nascore.show.drawing import FAMILIES, draw, look

DARTS = GENOTYPES["darts-v2"]
SUBSCRIPT = re.compile("<SUB>(.*?)</SUB>")
CELLS = {name: genotype for name, genotype in GENOTYPES.items() if isinstance(genotype, CellGenotype)}
TABLE_CELL = CellGenotype(
    Cell(
        (Node((0,), ("nor_conv_3x3",)), Node((0, 1), ("none", "skip_connect")), Node((0,), ("avg_pool_3x3",))), (3,), 1
    )
)


def edges(dot: str) -> list[tuple[str, str, str]]:
    """(source, operation or "", target) by Graphviz's own reading of the DOT text, the two pieces of an edge joined."""
    graph = pygraphviz.AGraph(string=dot)
    label = {node: SUBSCRIPT.sub(r"_{\1}", node.attr["label"]) or str(node) for node in graph.nodes()}
    pieces = [(a, b) for a, b in graph.edges()]
    through = {node for node in graph.nodes() if str(node).endswith("_op")}
    plain = [(label[a], "", label[b]) for a, b in pieces if a not in through and b not in through]
    return sorted(
        plain + [(label[a], label[op], label[b]) for a, op in pieces if op in through for o, b in pieces if o == op]
    )


def expected(cell: Cell) -> list[tuple[str, str, str]]:
    names = ["c_{k-2}", "c_{k-1}"][-cell.n_inputs :] + [str(i) for i in range(len(cell.nodes))]
    named = [
        name + "\nconcat" * (i >= cell.n_inputs and cell.nodes[i - cell.n_inputs].combine == "concat")
        for i, name in enumerate(names)
    ]
    found = [(named[j], "", "c_{k}") for j in cell.concat]
    for i, node in enumerate(cell.nodes, cell.n_inputs):
        found += [(named[j], op, named[i]) for j, op in zip(node.inputs, node.ops)]
    return found


@pytest.mark.parametrize("name", CELLS)
def test_a_published_cell_is_drawn_edge_by_edge(name):
    genotype = CELLS[name]
    cells = [genotype.normal] + ([genotype.reduce] if genotype.reduce else [])
    assert edges(draw(genotype).source) == sorted(edge for cell in cells for edge in expected(cell))


def test_parallel_edges_concat_nodes_and_inputs_in_concat_are_drawn():
    cell = Cell((Node((0, 0), ("sep_conv_3x3",) * 2), Node((1, 2), ("max_pool_3x3", "conv_1x1"), "concat")), (0, 2, 3))
    assert edges(draw(CellGenotype(cell)).source) == sorted(expected(cell))
    assert edges(draw(TABLE_CELL).source) == sorted(expected(TABLE_CELL.normal))


@pytest.mark.parametrize("name", GENOTYPES)
def test_every_published_genotype_gives_one_well_formed_picture_with_alternative_text(name):
    picture = draw(GENOTYPES[name])
    root = ElementTree.fromstring(picture.svg)
    assert root.get("role") == "img" and root.get("aria-label") == repr(picture) == root[0].text
    assert root[0].tag.endswith("title") and len(root.findall(".//{*}title")) == 1
    assert "<!DOCTYPE" not in picture.svg and " id=" not in picture.svg


CHAIN = GENOTYPES["nas-rl-15"]
NETWORKS = {
    "nas-rl-15": CHAIN,
    "all on": ChainGenotype(tuple(replace(x, inputs=tuple(range(1, i + 1))) for i, x in enumerate(CHAIN.layers))),
    "chain": ChainGenotype(tuple(replace(x, inputs=(i,) * (i > 0)) for i, x in enumerate(CHAIN.layers))),
    "20 layers": ChainGenotype(tuple(ChainLayer((7, 1), (2, 3), 24, tuple(range(1, i, 2))) for i in range(20))),
    "one layer": ChainGenotype((ChainLayer((99, 1), (9, 9), 4096),)),
    "enas-macro": GENOTYPES["enas-macro"],
}


def circles(dot: str) -> dict[str, set[str]]:
    """The row of each circle, and the numbers of its circles, by where Graphviz is told to put them."""
    graph, rows, found = pygraphviz.AGraph(string=dot), {}, {}
    for node in graph.nodes():
        if node.attr["shape"] != "circle" and node.attr["label"] in (*map(str, range(100)), "out"):
            rows[node.attr["pos"].split(",")[1]] = node.attr["label"]
    for node in graph.nodes():
        if node.attr["shape"] == "circle":
            found.setdefault(rows[node.attr["pos"].split(",")[1]], set()).add(node.attr["label"])
    return found


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "enas-macro"])
def test_a_circle_stands_wherever_a_layer_of_a_chain_reads(name):
    layers = NETWORKS[name].layers
    reads = {str(i): set(map(str, layer.inputs)) or {"0"} for i, layer in enumerate(layers, 1)}
    unread = set(map(str, range(1, len(layers) + 1))).difference(*reads.values())
    assert circles(draw(NETWORKS[name]).source) == reads | {"out": unread}


def test_the_networks_have_as_many_skips_as_their_papers_say():
    def count(name):
        return sum(len(read - {"0"}) for row, read in circles(draw(NETWORKS[name]).source).items() if row != "out")

    assert (count("nas-rl-15"), count("all on"), count("chain")) == (65, 105, 14)
    macro = circles(draw(NETWORKS["enas-macro"]).source)
    assert all(str(int(row) - 1) in read for row, read in macro.items() if row != "out")
    assert sum(map(len, macro.values())) == 98 + 24 + 1  # skips, direct predecessors, the classifier


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_small_and_stays_on_its_canvas(name):
    svg = draw(NETWORKS[name]).svg
    root = ElementTree.fromstring(svg)
    left, top, width, height = map(float, root.get("viewBox").split())
    (group,) = root.findall("{*}g")
    x, y = map(float, re.search(r"translate\(([-\d.]+) ([-\d.]+)\)", group.get("transform")).groups())
    for text in root.findall(".//{*}text"):
        half = 0.22 * float(text.get("font-size")) * len(text.text)  # Helvetica, half a line
        assert left <= x + float(text.get("x")) - half and x + float(text.get("x")) + half <= left + width, text.text
        assert top <= y + float(text.get("y")) - 8 and y + float(text.get("y")) <= top + height, text.text
    assert int(root.get("width")) <= canvas.PAGE and int(root.get("height")) < 800 and len(svg) < 60_000


def test_the_words_of_a_network_say_where_the_image_enters_and_what_the_classifier_reads():
    layers = (ChainLayer((1, 3), (1, 1), 24), ChainLayer((5, 7), (2, 1), 36), ChainLayer((3, 3), (1, 1), 48, (1,)))
    assert repr(draw(ChainGenotype(layers))) == (
        "A network of 3 convolutions (filter height x width, filters): layer 1 (1x3, 24) reads the image; layer 2 "
        "(5x7, 36, stride 2x1) reads the image; layer 3 (3x3, 48) reads 1; the classifier reads 2, 3."
    )


def test_a_filter_is_drawn_to_scale():
    graph = pygraphviz.AGraph(string=draw(NETWORKS["nas-rl-15"]).source)
    boxes = {str(node): node for node in graph.nodes() if str(node).endswith("filter")}
    for i, layer in enumerate(CHAIN.layers, 1):
        height, width = float(boxes[f"{i} filter"].attr["height"]), float(boxes[f"{i} filter"].attr["width"])
        assert height / width == pytest.approx(layer.filter[0] / layer.filter[1], rel=0.02)


def test_cells_lie_side_by_side_and_flow_from_left_to_right():
    places = {"normal cell": [], "reduction cell": [], "k-2": [], "k": [], "0": []}
    for text in ElementTree.fromstring(draw(DARTS).svg).findall(".//{*}text"):
        if text.text in places:
            places[text.text].append((float(text.get("x")), float(text.get("y"))))
    (normal,), (reduction,) = places["normal cell"], places["reduction cell"]
    assert normal[0] < reduction[0] and abs(normal[1] - reduction[1]) < 10
    for left, node, right in zip(places["k-2"], places["0"], places["k"]):
        assert left[0] < node[0] < right[0]


def smallest_text(picture) -> float:
    """In pixels, on a page as wide as a notebook."""
    root = ElementTree.fromstring(picture.svg)
    scale = float(root.get("width")) / float(root.get("viewBox").split()[2])
    return scale * min(float(text.get("font-size")) for text in root.findall(".//{*}text"))


@pytest.mark.parametrize("name", spaces.SPACES)
def test_no_text_is_smaller_than_ten_pixels_on_a_page(name):
    space = spaces.get(name)
    random = Random(0)
    for _ in range(10):
        assert smallest_text(draw(space.decode(space.sample(random)))) >= 10


@pytest.mark.parametrize("nodes, layout", [(2, "beside"), (4, "stacked"), (6, "upright")])
def test_cells_that_would_be_too_wide_are_stacked_or_stood_upright(nodes, layout):
    chain = Cell(tuple(Node((i, i + 1), ("max_pool_3x3", "sep_conv_5x5")) for i in range(nodes)), (nodes + 1,))
    picture = draw(CellGenotype(chain, chain))
    assert picture.source == drawing._draw(CellGenotype(chain, chain), layout).source
    assert smallest_text(picture) >= 10


def test_an_input_has_a_real_subscript():
    texts = ElementTree.fromstring(draw(DARTS).svg).findall(".//{*}text")
    sizes = {text.text: float(text.get("font-size")) for text in texts if text.text in ("c", "k-1")}
    assert sizes["k-1"] < sizes["c"] and not any("_{" in text.text for text in texts)
    (lowered,) = {text.get("dy") for text in texts if text.text == "k-1"}
    assert float(lowered.removesuffix("em")) > 0


@pytest.mark.parametrize("name", GENOTYPES)
def test_a_notebook_gets_svg_and_a_small_png_of_the_same_size(name):
    shown, about = draw(GENOTYPES[name])._repr_mimebundle_()
    root = ElementTree.fromstring(shown["image/svg+xml"])
    png = base64.b64decode(shown["image/png"])
    assert len(png) < 40_000
    with Image.open(io.BytesIO(png)) as image:
        assert image.convert("RGBA").getpixel((0, 0))[3] == 0  # transparent
        size = about["image/png"]
        assert size == {"width": int(root.get("width")), "height": int(root.get("height"))}
        assert image.width >= 1.4 * size["width"]  # sharp on fine screens too


def test_a_png_in_few_colours_keeps_the_tints():
    shown, _ = draw(DARTS)._repr_mimebundle_()
    with Image.open(io.BytesIO(base64.b64decode(shown["image/png"]))) as image:
        found = {colour[:3] for _, colour in image.convert("RGBA").getcolors(1 << 20) if colour[3] == 255}
    tints = [drawing.INPUT, drawing.NODE, drawing.OUTPUT, *(look(op)[1] for op in ("sep_conv_3x3", "skip_connect"))]
    assert {tuple(bytes.fromhex(tint[1:])) for tint in tints} <= found


def test_the_alternative_text_says_the_whole_cell():
    assert repr(draw(TABLE_CELL)) == (
        "Cell: node 0 adds nor_conv_3x3 of the previous cell; node 1 adds none of the previous cell and "
        "skip_connect of node 0; node 2 adds avg_pool_3x3 of the previous cell; the output concatenates node 2."
    )


def test_a_name_is_text_and_never_markup(open_table):
    name = '<script>alert("&\\N\x00\n")</script>'
    genotypes.OPERATIONS.add(name)
    for genotype in (CellGenotype(Cell((Node((0,), (name,)),), (2,))), MacroGenotype((MacroLayer(name),))):
        picture = draw(genotype)
        root = ElementTree.fromstring(picture.svg)
        assert not [element for element in root.iter() if "script" in element.tag]
        assert any('<script>alert("&\\N??")</script>' == text.text for text in root.findall(".//{*}text"))
        assert html.escape(repr(picture)) in picture.svg and "\n" not in repr(picture)


@pytest.mark.parametrize("name", GENOTYPES)
def test_no_label_has_a_line_without_a_character(name):
    graph = pygraphviz.AGraph(
        string=draw(GENOTYPES[name]).source
    )  # Graphviz 14.1 frees what it never set, and may crash
    labels = [dict(graph.graph_attr).get("label")] + [node.attr["label"] for node in graph.nodes()]
    assert not [label for label in labels if label and "" in re.split(r"\n|\\[nlr]", label)]


def test_the_svg_refers_to_nothing_outside():
    for genotype in GENOTYPES.values():
        links = re.findall(r"https?://[^\"]*|href|url\(|@import", draw(genotype).svg)
        assert set(links) == {"http://www.w3.org/2000/svg"}


def test_every_family_has_a_colour_that_reads_on_white_and_on_black():
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    def contrast(a, b):  # as WCAG 2 defines it; 3 is asked of graphics, 4.5 of text
        high, low = sorted((luminance(a), luminance(b)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for family, (stroke, tint, _) in FAMILIES.items():
        assert family == "none" or min(contrast(stroke, "#ffffff"), contrast(stroke, "#111111")) >= 3, family
        assert contrast(tint, "#1b1b1b") > 7, family
    assert (
        look("nor_conv_3x3") == look("conv_1x1") != look("sep_conv_3x3") == look("sep_conv_5x5") != look("dil_conv_3x3")
    )


def test_saves_by_suffix(tmp_path):
    picture = draw(DARTS)
    for suffix, start in ((".svg", b"<?xml"), (".png", b"\x89PNG"), (".pdf", b"%PDF"), (".dot", b"digraph")):
        assert picture.save(tmp_path / f"cell{suffix}").read_bytes().startswith(start)
    pixels = images.imread(io.BytesIO((tmp_path / "cell.png").read_bytes()))
    assert pixels.shape[2] == 4 and pixels[0, 0, 3] == 0  # transparent, not a white page
    ElementTree.parse(tmp_path / "cell.svg")


@pytest.mark.parametrize("name", ["cell.jpg", "cell", "missing/cell.svg"])
def test_what_cannot_be_saved_is_one_line(tmp_path, name):
    with pytest.raises(UserError) as error:
        draw(TABLE_CELL).save(tmp_path / name)
    assert "\n" not in str(error.value)


def without_pygraphviz(monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest):
        if name == "pygraphviz":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)


def test_without_pygraphviz_and_dot_one_line_says_what_to_install(monkeypatch, tmp_path):
    without_pygraphviz(monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="pip install pygraphviz"):
        draw(DARTS).save(tmp_path / "cell.png")
    assert draw(DARTS).save(tmp_path / "cell.dot").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for dot is a shell script")
def test_without_pygraphviz_the_program_dot_is_asked(monkeypatch, tmp_path):
    without_pygraphviz(monkeypatch)
    dot = tmp_path / "dot"
    dot.write_text(
        """#!/bin/sh\ncat > /dev/null\necho "<svg width='2000pt' height='100pt'><g>$*</g></svg>" | tr "'" '"'\n"""
    )
    dot.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    svg = draw(DARTS).svg
    assert "-Tsvg" in svg and 'width="940" height="47"' in svg  # as wide as a notebook, not wider


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for dot is a shell script")
@pytest.mark.parametrize("script", ["exit 3", "cat > /dev/null; exit 3"])
def test_a_dot_that_fails_is_one_line(monkeypatch, tmp_path, script):
    without_pygraphviz(monkeypatch)
    (tmp_path / "dot").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "dot").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(UserError, match="Graphviz's program dot failed"):
        draw(DARTS).save(tmp_path / "cell.svg")


def test_nothing_but_a_genotype_and_nothing_endless_is_drawn():
    with pytest.raises(UserError, match="found 3, allowed: a name, a file or a genotype"):
        draw(3)
    with pytest.raises(UserError, match="at most 600"):
        draw(MacroGenotype(tuple(MacroLayer("conv_3x3", tuple(range(i))) for i in range(60))))


@pytest.mark.parametrize("file", sorted((Path(__file__).parents[1] / "figures").glob("*.svg")), ids=lambda x: x.stem)
def test_a_stored_figure_is_small_has_alternative_text_and_refers_to_nothing_outside(file):
    svg = file.read_text(encoding="utf-8")
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img" and len(root.get("aria-label")) > 100 and root[0].text == root.get("aria-label")
    assert len(svg) < 60_000 and not re.search(r"<script|@import|href=\"(?!#|data:)", svg)


def test_drawing_writes_nothing_to_standard_error_and_leaves_it_open():
    code = (
        "import os; from nascore.published import GENOTYPES; from nascore.show.drawing import draw\n"
        "draw(GENOTYPES['darts-v1']).svg; os.write(2, b'still here')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr == b"still here" and done.stdout == b""


def test_threads_draw_the_same_picture():
    found, genotypes = [], list(CELLS.values())

    def work():
        found.append([drawing.draw(genotype).svg for genotype in genotypes])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(pictures == found[0] for pictures in found)
