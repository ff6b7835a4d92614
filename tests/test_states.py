"""Cells of NAS-Bench-201 with states named as the text of the first notebook names them."""

import re

from course.states import draw_states
from nascore import spaces

SPACE = spaces.get("nasbench201")
CELLS = {"one": SPACE.decode([3, 1, 2, 0, 4, 3]).normal, "two": SPACE.decode([1] * 6).normal}


def test_states_are_s0_to_s3():
    svg = draw_states({"": CELLS["one"]}).svg
    assert re.findall("s[₀-₉]", svg) == ["s₀", "s₁", "s₂", "s₃"]
    assert "c_{" not in svg


def test_every_edge_is_told_in_words():
    assert draw_states({"one": CELLS["one"]}).words == (
        "one: s1 adds nor_conv_3x3 of s0; s2 adds skip_connect of s0, nor_conv_1x1 of s1; "
        "s3 adds none of s0, avg_pool_3x3 of s1, nor_conv_3x3 of s2."
    )


def test_cells_stand_one_below_the_other_in_their_order():
    drawn = draw_states(CELLS)
    heights = [float(re.search(rf' y="([-.\d]+)"[^>]*>{name}<', drawn.svg)[1]) for name in CELLS]
    assert heights == sorted(heights) and heights[0] < heights[1]
    assert "dotted" in drawn.source and "dotted" not in draw_states({"two": CELLS["two"]}).source
