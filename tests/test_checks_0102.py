"""Checkers of exercises: they wait, call an answer right, or draw what is wrong with it."""

import pytest

from course import checks_0102 as checks
from nascore.published import GENOTYPES

SHARES = {"image": 0.7, "unread": 0.6, "padding": 0.9}
SIZES = {"five": 640.0, "six": 768.0}
NORMAL = GENOTYPES["nasnet-a"].normal
INPUTS = [j for node in NORMAL.nodes for j in node.inputs]


def parabola(x: float) -> float:
    return 1 + (x - 0.9) ** 2


def points(chart):
    return [line.get_xydata().tolist() for line in chart.axes[0].lines if len(line.get_xydata()) == 1]


def test_the_lowest_place_is_right_and_others_are_drawn_with_their_height():
    right = checks.lowest(parabola, 0.9, (0.8, 1.0), "b", "trace")
    assert right.words == "Right: 0.9 is where the curve is lowest" and points(right) == [[[0.9, 1.0]]]
    low = checks.lowest(parabola, 0.85, (0.8, 1.0), "b", "trace")
    assert low.words.startswith("Not yet right: 0.85 lies left of the lowest place") and points(low)[0][0][0] == 0.85
    assert "right of" in checks.lowest(parabola, 0.95, (0.8, 1.0), "b", "trace").words
    waiting = checks.lowest(parabola, None, (0.8, 1.0), "b", "trace")
    assert waiting.words.startswith("not done yet") and not waiting.axes[0].lines  # nothing is given away


def test_the_longest_bar_is_right():
    assert checks.most(SHARES, "padding", "share").words.startswith("Right, padding it is: image 70%")
    wrong = checks.most(SHARES, "image", "share")
    assert wrong.words.startswith("Not yet right: image has 70%") and len(wrong.axes[0].patches) == 3
    assert checks.most(SHARES, "stride", "share").words.startswith("Not yet right: 'stride' is none of")
    waiting = checks.most(SHARES, None, "share")
    assert waiting.words.startswith("not done yet") and not waiting.axes[0].patches


def test_a_number_matches_the_value_of_one_name():
    assert checks.matches(SIZES, 640, "five", "channels").words.startswith("Right: 640")
    assert "that is the value of six" in checks.matches(SIZES, 768, "five", "channels").words
    assert "your line ends no bar" in checks.matches(SIZES, 700, "five", "channels").words
    waiting = checks.matches(SIZES, None, "five", "channels")
    assert waiting.words.startswith("not done yet") and not waiting.axes[0].patches


def test_a_cell_is_wired_as_wanted_or_says_where_not(capsys):
    drawing = checks.wired(INPUTS, NORMAL)
    assert capsys.readouterr().out.startswith("Right: all 10 inputs") and drawing.words.startswith("Cell:")
    swapped = [1 - j for j in INPUTS]
    other = checks.wired(swapped, NORMAL)
    said = capsys.readouterr().out
    assert said.startswith("Not yet right, 10 of 10 inputs differ:")
    assert "block 0 reads the cell before that, wanted the previous cell" in said
    assert other.words != drawing.words  # yours is drawn
    assert checks.wired([None] * 10, NORMAL) is None and capsys.readouterr().out.startswith("not done yet")


@pytest.mark.parametrize("wrong", (-1, 2, 40))
def test_a_cell_that_cannot_be_is_told_so(wrong, capsys):
    assert checks.wired([wrong, *INPUTS[1:]], NORMAL) is None
    said = capsys.readouterr().out
    assert said.startswith("Not yet right, 1 of 10 inputs differ:") and "It cannot be drawn" in said
