"""A checker says right to what is right only, and its picture and its words show what is not."""

import numpy as np
import pytest
import torch

from course import checks, checks_0102, checks_0304

NAMES = ("a", "b", "c")


def test_numbers_that_agree_are_right():
    chart = checks.compare([1, 2, 3.0000001], (1, 2, 3), NAMES, "slope")
    assert chart.words == "Right: slope, all as wanted."
    assert chart.axes[0].get_title() == "Right" and not chart.axes[0].texts


def test_numbers_that_differ_are_marked_and_named():
    chart = checks.compare([1, 5, 3], [1, 2, 3], NAMES, "slope")
    assert chart.words == "Not yet right, slope: b 5, wanted 2."
    (axes,) = chart.axes
    assert [text.get_text() for text in axes.texts] == ["5, wanted 2"]
    crosses = [line for line in axes.lines if line.get_marker() == "X"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in crosses] == [(5, 1)]


def test_how_near_is_near_enough():
    assert checks.compare([80.0], [89.4], ["guess"], tolerance=5).words.startswith("Not yet right")
    assert checks.compare([94.0], [94.3], ["guess"], tolerance=0.5).words.startswith("Right")
    assert checks.compare([94.0], [94.3], ["guess"], tolerance=1e-3).words.startswith("Not yet right")


@pytest.mark.parametrize("values", [None, [None] * 3, (1, None, 3)])
def test_a_none_is_not_done(values):
    chart = checks.compare(values, [1, 2, 3], NAMES, "slope")
    assert chart.words == "not done yet: slope."
    assert not chart.axes[0].lines, "what is wanted stays hidden"


@pytest.mark.parametrize("values", [[1, 2], [1, 2, 3, 4], [1, 2, np.nan], 1.0, "abc", [[1, 2], 3], object()])
def test_what_has_another_shape_or_is_no_number_is_not_right(values):
    chart = checks.compare(values, [1, 2, 3], NAMES)
    assert chart.words.startswith("Not yet right") and chart.svg


def test_tensors_single_numbers_and_many_numbers():
    slope = torch.ones(3, requires_grad=True)
    assert checks.compare(slope, np.ones(3), NAMES).words.startswith("Right")
    assert checks.compare(2.0, 2.0, ["b*"]).words.startswith("Right")
    given = np.arange(100.0)
    given[77] = 0
    chart = checks.compare(given, np.arange(100.0), [str(k) for k in range(100)])
    assert "77 0, wanted 77" in chart.words
    shown = [label.get_text() for label in chart.axes[0].get_yticklabels()]
    assert len(shown) == checks.MOST and "77" in shown


def test_a_matrix_shows_what_is_missing_and_what_is_too_much():
    wanted = np.eye(2)
    assert checks.grid(np.eye(2), wanted, "ab", "cd", "bits").words == "Right: bits, all as wanted."
    chart = checks.grid([[1, 2], [0, 0]], wanted, "ab", "cd", "bits")
    assert chart.words == "Not yet right, bits: a, d: 2, wanted 0; b, d: 0, wanted 1."
    assert [text.get_text() for text in chart.axes[0].texts] == ["1", "2, wanted 0", "0", "0, wanted 1"]
    assert checks.grid(None, wanted, "ab", "cd", "bits").words == "not done yet: bits."
    assert checks.grid(np.eye(3), wanted, "ab", "cd", "bits").words.startswith("Not yet right")


def test_lists_that_differ_in_one_place_are_counted_where_they_do():
    right = [[1, 0], [2, 0], [0, 1], [0, 2]]
    assert checks.one_place(right, [0, 0], "ab", "012").words.startswith("Right")
    wrong = [[1, 0], [0, 1], [0, 2], [0, 2], [1, 1], [0, 0], [1, 0, 0]]
    assert checks.one_place(wrong, [0, 0], "ab", "012", "lists").words == (
        "Not yet right, lists: a, 2: 0, wanted 1; b, 2: 2, wanted 1; no place, or several, 0: 3, wanted 0."
    )
    assert checks.one_place(None, [0, 0], "ab", "012", "lists").words == "not done yet: lists."


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (lambda: checks.grid("abc", np.eye(2), "ab", "cd"), "ValueError: could not convert string"),
        (lambda: checks.one_place([None], [0, 0], "ab", "012"), "TypeError: "),
        (lambda: checks_0102.lowest(abs, "much", (0, 1), "b", "trace"), "ValueError: "),
        (lambda: checks_0304.curve(lambda x: 1 / 0, abs, "x"), "ZeroDivisionError: division by zero"),
        (lambda: checks_0304.counted("5", 6, 3), "TypeError: "),
    ],
)
def test_an_answer_of_another_kind_or_one_that_fails_is_not_right_and_says_why(answer, line):
    assert answer().words.startswith(f"Not yet right: {line}")
