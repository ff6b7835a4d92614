"""Pictures of several architectures: what is shared is said, and who grew out of whom is drawn."""

import re
from random import Random

import nascore
from course.together import draw_beam, draw_subgraphs
from nascore import spaces

SPACE = spaces.get("nasbench201")


def test_shared_operations_stand_once_and_are_named():
    one, two = (SPACE.decode(cell).normal for cell in ([3, 1, 0, 2, 0, 3], [3, 4, 0, 2, 1, 0]))
    drawing = draw_subgraphs({"one": one, "two": two}, SPACE.primitives)
    both = "nor_conv_3x3 from the previous cell to node 0, nor_conv_1x1 from the previous cell to node 2"
    second = "avg_pool_3x3 from the previous cell to node 1, skip_connect from node 0 to node 2"
    assert f"; shared: {both};" in drawing.words and f"only two: {second}." in drawing.words
    assert len(re.findall(r'"use \d" \[label', drawing.source)) == 6  # two shared, two of each alone
    assert drawing.svg.startswith("<svg") and "aria-label" in drawing.svg


def test_sides_of_a_node_are_told_apart():
    space = spaces.get("enas-micro", nodes=2)
    cell = space.decode(space.sample(Random(0))).normal
    words = draw_subgraphs({"one": cell, "again": cell}, space.primitives).words
    assert "only one: none; only again: none" in words


def test_a_beam_shows_the_best_cells_and_their_parents():
    found = nascore.run("pnas", data="nasbench201", trials=26, first=0, progress=False)
    drawing = draw_beam(found.history, top=2)
    for level, count in ((1, 5), (2, 11), (3, 10)):
        best = max(row["reward"] for row in found.history if row["level"] == level)
        assert f"level {level}: {count} cells trained, the best has {best:.4f}" in drawing.words
    edges = re.findall(r'"(\d) \d" -> "(\d) \d"(?! \[style=invis)', drawing.source)
    assert edges and all(int(child) == int(parent) + 1 for parent, child in edges)
    assert len({child for _, child in edges}) == 2  # levels 2 and 3 grew out of what is shown
