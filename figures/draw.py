"""Draw the pictures of the README and the course, those of runs from the real ones in notebooks/runs.

python figures/draw.py [NAME ...]   all of them, or those named
"""

import json
import sys
from math import dist
from pathlib import Path

import graphviz
import numpy as np
from motion import FIGURES as MOVING
from plain import INK, Sheet, toward

from nascore.genotypes import from_json
from nascore.published import GENOTYPES
from nascore.show.canvas import FONT, GREY, Drawing
from nascore.show.chart import Chart
from nascore.show.drawing import INPUT, NODE, OUTPUT, draw, look

FOLDER = Path(__file__).parent
sys.path.append(str(FOLDER.parent / "notebooks"))
from course import curves, plots, together  # noqa: E402

RUNS = FOLDER.parent / "notebooks" / "runs"
TEXT = dict(shape="plaintext", style="", fontsize="11")
IDEA = ("sep_conv_3x3", "max_pool_3x3", "skip_connect")
SHORT = {"sep_conv_3x3": "sep conv", "max_pool_3x3": "max pool", "skip_connect": "skip"}


def darts_idea() -> Sheet:
    """Figure 1 of DARTS in our own drawing: unknown operations, a mixture of all, its weights as they learn, what is
    left."""
    words = (
        "Four stages of one cell with states 0 to 3 and an edge from each state to every later one. (a) Each edge is a "
        "question mark. (b) Each edge is three operations at once, all of the same width: a separable convolution, a "
        "max pool, a skip connection. (c) Their widths differ, as the softmax of alpha does after the search. (d) Each "
        "state keeps its two strongest incoming edges, and on each the strongest operation: separable convolution from "
        "0 to 1 and from 1 and 2 to 3, max pool from 0 to 2, skip from 1 to 2; the edge from 0 to 3 is gone."
    )
    sheet = Sheet(430, words)
    places = [(66, 78), (136, 158), (38, 238), (106, 322)]
    edges = {  # where it leaves and arrives, in degrees; softmax(α) after the search; where its name stands
        (0, 1): ((49, 229), (0.7, 0.2, 0.1), -32),
        (0, 2): ((100, 280), (0.15, 0.6, 0.25), 36),
        (0, 3): ((-6, 0), (0.4, 0.35, 0.25), 0),
        (1, 2): ((141, 321), (0.1, 0.25, 0.65), 20),
        (1, 3): ((98, 278), (0.65, 0.2, 0.15), -34),
        (2, 3): ((51, 231), (0.55, 0.15, 0.3), 34),
    }
    stages = {
        "(a) which operation?": "an operation on each edge,\nunknown (equation 1)",
        "(b) all of them": "mixed by softmax(α), all\nalike (equation 2)",
        "(c) α learns": "α on validation images, w on\ntraining images (3, 4)",
        "(d) the strongest stay": "two edges into a node, each\nwith its best operation",
    }
    for stage, (title, below) in enumerate(stages.items()):
        left = 22 + 234 * stage
        sheet.say(title, left + 98, 26, size=15)
        sheet.say(below, left + 98, 362)
        for (i, j), ((leaves, arrives), strengths, beside) in edges.items():
            ends = [(left + x, y) for x, y in (places[i], places[j])]
            far = (i, j) == (0, 3)
            for k, (name, strength) in enumerate(zip(IDEA, strengths)):
                colour, _, style = look(name)
                reach = 210 + 26 * k if far else 64
                spread = (k - 1) * (13 if far else 24) if stage in (1, 2) else 0
                out, into = leaves - spread, arrives + spread
                points = [toward(ends[0], out, 14), toward(ends[0], out, reach / 2 + 8)]
                points += [toward(ends[1], into, reach / 2 + 12), toward(ends[1], into, 15)]
                dash = "6 3" if style == "dashed" else ""
                best = strength == max(strengths)
                if stage in (1, 2):
                    sheet.line(points, colour, 2 if stage == 1 else 8 * strength, dash)
                elif stage == 0 and k == 1:
                    middle, across = sheet.line(points, dash="2 4")
                    sheet.say("?", *(middle + 12 * across), size=15)
                elif stage == 3 and best and not far:
                    middle, across = sheet.line(points, colour, 3, dash)
                    sheet.say(SHORT[name], *(middle + beside * across), fill=colour)
        for k, (x, y) in enumerate(places):
            sheet.disc((left + x, y), str(k), NODE if k else INPUT)
        if stage:
            sheet.line([(left - 20, 200), (left + 6, 200)], width=2.4)
    for k, name in enumerate(IDEA):
        colour, _, style = look(name)
        x = 40 + 150 * k
        sheet.line([(x, 408), (x + 36, 408)], colour, 3, "6 3" if style == "dashed" else "", head=False)
        sheet.say(SHORT[name], x + 44, 408, anchor="start")
    sheet.say("width: softmax(α), an operation's share of its edge", 520, 408, anchor="start")
    return sheet


def found_cell() -> Drawing:
    """The cell that the README's first command finds."""
    return draw(from_json((RUNS / "digits-search" / "genotype.json").read_text()))


def pnasnet_5() -> Drawing:
    """The cell that PNAS's authors found."""
    return draw(GENOTYPES["pnasnet-5"])


def enas_cells() -> Drawing:
    """The cells that ENAS's authors found."""
    return draw(GENOTYPES["enas-micro"])


def enas_found() -> Drawing:
    """The cells that notebook 04's stored search derived."""
    return draw(from_json((RUNS / "enas-micro-cifar10" / "genotype.json").read_text()))


def pnas_run() -> Drawing:
    """The best of notebook 03's stored search, and what they grew out of."""
    rows = (RUNS / "pnas-cifar10" / "history.jsonl").read_text().splitlines()
    return together.draw_beam([json.loads(row) for row in rows])


def enas_macro() -> Drawing:
    """The network that ENAS's authors release."""
    return draw(GENOTYPES["enas-macro"])


# --- two pictures whose every place is given, in points -------------------------------------------------------------


def canvas() -> graphviz.Digraph:
    page = FONT | dict(bgcolor="transparent", layout="nop2", splines="line", outputorder="edgesfirst")
    shape = FONT | dict(shape="box", style="filled", color=GREY, height="0.3", width="0.3", margin="0.08,0.04")
    return graphviz.Digraph(
        graph_attr=page, node_attr=shape | dict(fontsize="12"), edge_attr=dict(color=GREY, arrowsize="0.6")
    )


def put(graph: graphviz.Digraph, name: str, text: str, x: float, y: float, fill: str = INPUT, **options: str) -> None:
    graph.node(name, text, pos=f"{x},{y}", fillcolor=fill, **options)


def say(graph: graphviz.Digraph, text: str, x: float, y: float) -> None:
    """Text on the bare page."""
    graph.node(f"{text} {x}", text, pos=f"{x},{y}", **TEXT, fontcolor=GREY)


def arrow(graph: graphviz.Digraph, ends: tuple[str, str], *points: tuple[float, float], **options: str) -> None:
    """From the first point to the last, straight or bent towards two in between; other edges run straight from box to
    box."""
    start, *bend, tip = points
    before = bend[-1] if bend else start
    foot = tuple(t - 6 * (t - b) / dist(tip, before) for t, b in zip(tip, before))  # where the arrowhead begins
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (start, *(bend or (start, foot)), foot))
    graph.edge(*ends, pos=f"e,{tip[0]:.1f},{tip[1]:.1f} {path}", **options)


def nas_rl_idea() -> Drawing:
    """NAS-RL's figures 1, 2 and 4 in our own drawing: the loop, the controller as it writes two layers, the child."""
    graph, (pink, anchor, _), child = canvas(), look("skip"), look("convolution")[1]
    put(graph, "controller", "controller:\nan LSTM with\nweights θ", 61, 300, NODE, height="1.1", width="1.7")
    put(graph, "child", "child network", 839, 300, child, height="1.1", width="1.7")
    put(graph, "a", "a = 3 3 36  |  3 7 48 1  |  5 1 36 1 0", 450, 322, width="3")
    put(graph, "R", "R = accuracy on validation images", 450, 278, OUTPUT, width="3")
    arrow(graph, ("controller", "a"), (122, 322), (342, 322), penwidth="1.6")
    arrow(graph, ("a", "child"), (558, 322), (778, 322), penwidth="1.6")
    arrow(graph, ("child", "R"), (778, 278), (558, 278), penwidth="1.6")
    arrow(graph, ("R", "controller"), (342, 278), (122, 278), penwidth="1.6")
    say(graph, "samples, with probability P(a; θ)", 232, 333)
    say(graph, "is built and trained", 668, 333)
    say(graph, "is tested", 668, 267)
    say(graph, "moves θ along (R − b) ∇ log P(a; θ)", 232, 267)

    say(graph, "The controller writes two layers; each token goes into the next step", 450, 240)
    say(graph, "layer 2", 259, 219)
    say(graph, "layer 3", 683, 219)
    put(graph, "anchor 1", "h_1", 16, 130, anchor, color=pink)
    kinds = ["filter height", "filter width", "filters", "anchor point"]
    last = "anchor 1"
    for k, token in enumerate(("3", "7", "48", "1: yes", "5", "1", "36", "1: yes, 2: no")):
        x, layer, at_anchor = 100 + 106 * k, 2 + k // 4, k % 4 == 3
        name = f"anchor {layer}" if at_anchor else f"step {k}"
        look_of = dict(fill=anchor, color=pink) if at_anchor else dict(fill=NODE)
        put(graph, name, f"h_{layer}" if at_anchor else "LSTM", x, 130, width="0.62", **look_of)
        put(graph, f"token {k}", token, x, 180, **look_of | dict(fill=anchor if at_anchor else INPUT))
        say(graph, kinds[k % 4], x, 201)
        graph.edge(name, f"token {k}")
        graph.edge(last, name)
        if k:
            graph.edge(f"token {k - 1}", name, style="dashed")
        last = name
    for j, i, depth in ((1, 2, 95), (1, 3, 68), (2, 3, 95)):
        x, y = ({1: 16, 2: 418, 3: 842}[layer] for layer in (j, i))
        arrow(graph, (f"anchor {j}", f"anchor {i}"), (x, 119), (x + 40, depth), (y - 60, depth), (y, 119), color=pink)
    say(
        graph,
        "is layer j an input of layer i?  yes with probability sigmoid(v . tanh(W_prev h_j + W_curr h_i))",
        450,
        62,
    )

    boxes = [("image", INPUT), ("1:  3x3, 36", child), ("2:  3x7, 48", child), ("3:  5x1, 36", child)]
    for k, (text, fill) in enumerate([*boxes, ("classifier", OUTPUT)]):
        put(graph, f"child {k}", text, 110 + 170 * k, 0, fill, width="1.1")
    for j, i in ((0, 1), (1, 2), (3, 4)):
        graph.edge(f"child {j}", f"child {i}", penwidth="1.6")
    for j, i, side in ((1, 3, 1), (2, 4, -1)):
        (x, y), (a, b) = (110 + 170 * j, 110 + 170 * i), (side * 11, side * 42)
        arrow(graph, (f"child {j}", f"child {i}"), (x, a), (x + 60, b), (y - 60, b), (y, a), penwidth="1.6", color=pink)
    say(graph, "The child network; an output that nobody reads goes to the classifier", 450, -48)
    words = (
        "A loop: the controller, an LSTM with weights θ, samples an architecture a with probability P(a; θ); it is "
        "built and trained; its accuracy R on validation images moves θ along (R − b) ∇ log P(a; θ). Below, the "
        "controller writes layers 2 and 3, a token a step: filter height, filter width, number of filters; each token "
        "goes into the next step. Then the anchor point: arcs from the states of all earlier anchors say with which "
        "probability each earlier layer is an input. At the bottom the child: the image feeds layer 1; layers 2 and 3 "
        "read layer 1; layer 2, which nobody reads, goes to the classifier with layer 3."
    )
    return Drawing(graph.source, words)


def nasnet_idea() -> Drawing:
    """NASNet's figure 2 in our own drawing: where the two cells stand in the networks of CIFAR-10 and ImageNet."""
    stages = """normal N cells, width F;{} | normal | reduction 2F | normal N cells, width 2F;{} | normal | reduction 4F
        | normal N cells, width 4F;{} | normal | softmax"""
    rows = [("CIFAR-10", 35, 165, "image | conv 3x3 | " + stages.format("32x32", "16x16", "8x8"))]
    stem = "image | conv 3x3, stride 2 | reduction F/4 | reduction F/2 | "
    rows += [("ImageNet", -35, 0, stem + stages.format("28x28", "14x14", "7x7"))]
    fills = {"normal": NODE, "reduction": look("max pool")[1], "softmax": OUTPUT}
    graph = canvas()
    for title, left, y, row in rows:
        x = [left + 70 * k for k in range(row.count("|") + 1)]
        for k, column in enumerate(row.split("|")):
            text, _, note = column.strip().partition(" ")
            put(graph, f"{title} {k}", text, x[k], y, fills.get(text, INPUT), width="0.78", margin="0", fontsize="11")
            say(graph, note.replace(";", "\n"), x[k] + 35 * (text == "normal"), y - 60)
            if k:
                graph.edge(f"{title} {k - 1}", f"{title} {k}", penwidth="1.6")
            if text in ("normal", "reduction"):  # its second input, alternately above and below
                j, side = max(1, k - 2), 1 if k % 2 else -1
                bend = (x[j] + 30, y + 44 * side), (x[k] - 30, y + 44 * side)
                arrow(graph, (f"{title} {j}", f"{title} {k}"), (x[j], y + 11 * side), *bend, (x[k], y + 11 * side))
        say(graph, title, x[0], y + 40)
    say(graph, "each cell reads the two before it;  N and F are chosen by a person, here N = 2", 385, -100)
    words = (
        "Two networks of the same two cells. CIFAR-10: image, 3x3 convolution, N normal cells of width F at 32x32, a "
        "reduction cell to width 2F, N normal cells at 16x16, a reduction cell to width 4F, N normal cells at 8x8, "
        "softmax. ImageNet: a 3x3 convolution of stride 2 and two reduction cells, of widths F/4 and F/2, come first, "
        "and the three stages are at 28x28, 14x14 and 7x7. Each cell reads the two before it. Here N is 2."
    )
    return Drawing(graph.source, words)


def pnas_idea() -> Drawing:
    """PNAS's figure 2 with all five levels: candidates scored against cells trained."""
    graph, (blue, tint, _), trained = canvas(), look("separable"), look("convolution")[1]
    levels = [(136, "256", "136"), (31_620, "147,456", "31,620"), (262_144, "1.5e8", "11 million")]
    levels += [(409_600, "2.4e11", "5.2 billion"), (589_824, "5.6e14", "3.1e12")]
    for k, (scored, raw, unique) in enumerate(levels):
        x, height, kept = 84 + 183 * k, 18 * np.log10(scored), min(scored, 256)
        say(graph, f"{k + 1} block{'s' * (k > 0)}: {raw} lists,\n{unique} cells", x, 232)
        verb = ("cells, all taken", "cells scored", "lists scored")[min(k, 2)]
        size = dict(width="1.2", height=f"{height / 72:.2f}")
        put(graph, f"scored {k}", f"{scored:,}\n{verb}", x, 90 + height / 2, tint, color=blue, **size)
        put(graph, f"trained {k}", f"{kept} trained", x, 40, trained, width="1.2")
        for block in range(k + 1):
            left = x - 11 * k + 22 * block
            put(graph, f"block {k} {block}", str(block + 1), left, 4, NODE, width="0.26", height="0.26", margin="0")
        arrow(graph, (f"scored {k}", f"trained {k}"), (x, 90), (x, 51), penwidth="1.6")
        if k:
            y = 90 + height / 2
            arrow(graph, (f"trained {k - 1}", f"scored {k}"), (x - 140, 45), (x - 100, 60), (x - 90, y), (x - 43, y))
            put(graph, f"surrogate {k}", "surrogate", x - 92, -52, OUTPUT)
            arrow(
                graph,
                (f"block {k - 1} 0", f"surrogate {k}"),
                (x - 183, -10),
                (x - 183, -52),
                (x - 150, -52),
                (x - 124, -52),
            )
            arrow(graph, (f"surrogate {k}", f"trained {k}"), (x - 60, -52), (x - 30, -52), (x - 75, 40), (x - 43, 40))
    say(
        graph,
        "upper arrows: every block added to every cell kept;  lower: fitted on all cells trained so far",
        450,
        -88,
    )
    say(graph, "the surrogate scores all candidates, and the best 256 are trained: 1,160 trainings in all", 450, -106)
    words = (
        "Five columns, cells of one to five blocks. One block: 256 lists, 136 cells, all trained. Two blocks: "
        "147,456 lists, 31,620 cells scored by the surrogate, 256 trained. Three, four and five blocks: 262,144, "
        "409,600 and 589,824 lists scored, out of those of about 11 million, 5.2 billion and 3.1 million million "
        "cells, and 256 cells trained each time. Between the columns a surrogate, fitted on all trained so far: "
        "1,160 trainings in all."
    )
    return Drawing(graph.source, words)


def enas_idea() -> Drawing:
    """What sharing means: two subgraphs of one supergraph; and the two phases that alternate."""
    graph, ours = canvas(), {"one": (look("separable")[0], "solid"), "two": (look("max pool")[0], "dashed")}
    places = {"in": (40, 100), "1": (170, 190), "2": (170, 10), "out": (320, 100)}
    for name, place in places.items():
        put(graph, name, name, *place, {"in": INPUT, "out": OUTPUT}.get(name, NODE), width="0.4")
    pairs = [("in", "1"), ("in", "2"), ("1", "2"), ("in", "out"), ("1", "out"), ("2", "out")]
    chosen = {"one": [("in", "1", 0), ("1", "out", 1)], "two": [("in", "1", 0), ("1", "2", 2), ("2", "out", 0)]}

    def edge(a: str, b: str, shift: float, **options: str) -> None:
        (x, y), (u, v) = places[a], places[b]
        away = np.array([-(v - y), u - x]) / dist((x, y), (u, v)) * shift
        along = np.array([u - x, v - y]) / dist((x, y), (u, v)) * 17
        arrow(graph, (a, b), tuple(np.array([x, y]) + along + away), tuple(np.array([u, v]) - along + away), **options)

    for a, b in pairs:  # three operations on every edge
        for k in range(3):
            edge(a, b, 8 * (k - 1), color=f"{GREY}70", penwidth="0.8", arrowsize="0.4")
    for shift, (name, edges) in zip((1.5, -1.5), chosen.items()):
        colour, style = ours[name]
        for a, b, k in edges:
            edge(a, b, 8 * (k - 1) + shift * (a == "in"), color=colour, style=style, penwidth="2.4")
    say(graph, "the supergraph: every operation on every edge", 170, 232)
    say(graph, "both paths take it:\nthe same tensor", 52, 190)
    for k, (name, (colour, style)) in enumerate(ours.items()):
        put(graph, f"legend {k}", f"architecture {name}, {style}", 95 + 160 * k, -34, "none", **TEXT, fontcolor=colour)
    put(graph, "train", "training images", 470, 178, INPUT, width="1.5")
    put(graph, "omega", "ω, shared weights", 820, 178, NODE, width="1.6")
    put(graph, "valid", "validation images", 470, 28, INPUT, width="1.5")
    put(graph, "theta", "θ, controller", 820, 28, OUTPUT, width="1.6")
    arrow(graph, ("train", "omega"), (524, 178), (762, 178), penwidth="1.6")
    arrow(graph, ("valid", "theta"), (524, 28), (762, 28), penwidth="1.6")
    arrow(graph, ("theta", "omega"), (850, 39), (850, 167), penwidth="1.6")
    arrow(graph, ("omega", "theta"), (790, 167), (790, 39), penwidth="1.6")
    say(graph, "1. the loss moves ω along one sampled path", 643, 208)
    say(graph, "θ stays", 643, 162)
    say(graph, "2. the accuracy R moves θ along (R − b) ∇ log P", 643, -2)
    say(graph, "ω stays", 643, 44)
    say(graph, "R", 776, 103)
    say(graph, "samples m", 884, 103)
    words = (
        "Left, a supergraph: an input, nodes 1 and 2, an output, three operations on each of the six edges, all "
        "faint. Architecture one, solid, goes from the input to node 1 to the output; architecture two, dashed, "
        "from the input to node 1 by the same operation, so with the same tensor, then to node 2 and to the "
        "output. Right, two phases in turn: training images move the shared weights omega along one sampled path "
        "while theta stays; validation images give the accuracy R that moves the controller theta while omega "
        "stays."
    )
    return Drawing(graph.source, words)


def images_idea() -> Sheet:
    """Notebook 07 in one picture: from a folder of photographs to a network that can be taken away."""
    words = (
        "From left to right. A folder of photographs, a sub-folder for each class. It is cut into three piles: images "
        "to train on, images to choose by, images to judge by. The first two go into a search, which looks at many "
        "cells and keeps one. A network of that cell is trained anew on the first pile. The images to judge by go "
        "past the search, straight to the trained network: they give one accuracy with its error. The network is "
        "exported as one file of plain PyTorch or ONNX."
    )
    sheet = Sheet(330, words)
    stacks = {"to train on": (276, 74), "to choose by": (276, 164), "to judge by": (276, 262)}

    def photograph(x: float, y: float, kind: int, size: float = 40, turn: float = 0) -> None:
        """A card with a shape on it: a circle, or a polygon with that many corners; negative: a star."""
        ink = look(IDEA[kind % 3])[0]
        card = dict(rx=3, fill="#f6f6f6", stroke=GREY, transform=f"rotate({turn} {x} {y})")
        sheet.add("rect", x=x - size / 2, y=y - size / 2, width=size, height=size, **card)
        if kind == 0:
            sheet.add("circle", cx=x, cy=y, r=0.3 * size, fill=ink)
            return
        corners = 2 * abs(kind) if kind < 0 else kind
        long, short = 0.36 * size, 0.36 * size * (0.45 if kind < 0 else 1)
        points = [toward((x, y), turn - 90 + 360 * k / corners, short if k % 2 else long) for k in range(corners)]
        sheet.add("polygon", points=" ".join(f"{a:.1f},{b:.1f}" for a, b in points), fill=ink)

    sheet.add(
        "path",
        d="M20,92 v-14 q0,-8 8,-8 h46 l12,14 h92 q8,0 8,8 v142 q0,8 -8,8 h-150 q-8,0 -8,-8 z",
        fill=OUTPUT,
        stroke=GREY,
        stroke_width=1.6,
    )
    for k, (kind, turn) in enumerate(((0, -6), (3, 5), (-5, 3), (4, -4), (6, 6), (-4, -3))):
        photograph(52 + 51 * (k % 3), 128 + 62 * (k // 3), kind, 42, turn)
    sheet.say("a folder of photographs", 103, 40, size=14)
    sheet.say("a sub-folder for each class", 103, 270)

    for row, (title, (x, y)) in enumerate(stacks.items()):
        sheet.line([(192, 160), (222, 160), (222, y), (244, y)], width=1.8)
        for k in range(3):
            photograph(x - 6 + 6 * k, y + 4 - 4 * k, ((0, 6, -5), (-4, 3, 4), (4, 0, 3))[row][k], 34)
        sheet.say(title, x, y + 36)

    sheet.box("", 484, 120, 214, 150, "none", rx=10, stroke_width=1.6)
    sheet.say("search", 484, 28, size=14)
    for k in range(6):
        x, y = 420 + 64 * (k % 3), 84 + 70 * (k // 3)
        found = k == 4
        if found:
            sheet.box("", x, y, 54, 58, OUTPUT, stroke=look("max pool")[0], stroke_width=2.4)
        dots = [
            (x - 16, y - 12 + 3 * (k % 2)),
            (x - 16, y + 14),
            (x + 2, y - 2 + 5 * (k % 3)),
            (x + 17, y - 14 + 7 * k % 25),
        ]
        for a, b in ((0, 2), (1, 2), (2, 3), ((0, 1)[k % 2], 3)):
            colour, _, style = look(IDEA[(a + b + k) % 3])
            sheet.line([dots[a], dots[b]], colour, 2, "4 2" if style == "dashed" else "", head=False)
        for j, (a, b) in enumerate(dots):
            sheet.add("circle", cx=a, cy=b, r=5, fill=INPUT if j < 2 else NODE, stroke=GREY)
    sheet.say("many cells, one is kept", 484, 208)
    sheet.line([(306, 74), (340, 74), (344, 90), (374, 96)], width=1.8)
    sheet.line([(306, 164), (340, 164), (344, 150), (374, 144)], width=1.8)

    sheet.say("a network of it,\ntrained anew", 706, 34, size=14)
    for k, (height, fill) in enumerate(((92, INPUT), (76, NODE), (76, NODE), (56, NODE), (56, NODE), (34, OUTPUT))):
        sheet.box("", 654 + 21 * k, 120, 15, height, fill, rx=3)
    sheet.line([(592, 120), (640, 120)], width=1.8)
    sheet.line([(706, 170), (706, 222)], width=1.8)
    sheet.box("accuracy ± its error", 706, 244, 150, 40, OUTPUT)
    sheet.line([(306, 258), (624, 258)], width=1.8)
    sheet.say("never seen by the search", 466, 246)

    sheet.line([(772, 120), (822, 120)], width=1.8)
    sheet.say("export", 797, 106)
    sheet.add("path", d="M832,72 h50 l22,22 v82 h-72 z", fill=NODE, stroke=GREY, stroke_width=1.6)
    sheet.add("path", d="M882,72 v22 h22", fill="none", stroke=GREY, stroke_width=1.6)
    sheet.say(".py\n.onnx\n.pt2", 866, 132, size=14, fill=INK)
    sheet.say("a file to take away", 868, 196)
    return sheet


# --- from the runs --------------------------------------------------------------------------------------------------


def anytime() -> plots.Chart:
    """200-epoch test accuracy of the best cell by validation on the table, every strategy of the stored runs."""
    stored = json.loads((RUNS / "table_policies.json").read_text())
    curves = {name: runs for name, runs in stored["curves"].items() if "," not in name}  # the others are ablations
    label, bands = "CIFAR-10 test accuracy, 200 epochs (%)", ["random search"]  # six bands hide each other
    return plots.anytime(curves, label, best=94.3733, queries=stored["queries"], bands=bands)


def roofline() -> plots.Chart:
    """What bounds a step of the supernet on a CPU."""
    return plots.roofline(json.loads((RUNS / "roofline.json").read_text()))


def growth() -> Chart:
    """How the cost of DARTS's steps grows with what they are made of."""
    return curves.growth(json.loads((RUNS / "growth.json").read_text())["growth"])


IDEAS = (darts_idea, nas_rl_idea, nasnet_idea, pnas_idea, enas_idea, images_idea)
FOUND = (found_cell, pnas_run, pnasnet_5, enas_found, enas_cells, enas_macro)
FIGURES = (*IDEAS, *FOUND, anytime, roofline, growth, *MOVING)


def main(names: list[str]) -> None:
    for figure in FIGURES:
        if figure.__name__ in names or not names:
            svg = f'<?xml version="1.0" encoding="UTF-8"?>\n{figure().svg}'
            (FOLDER / f"{figure.__name__}.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
