"""Pictures of luck show the numbers they were given, and say them."""

import numpy as np
import pytest

from course import chance


def test_random_search_says_what_it_expects_and_how_sure():
    accuracies = np.array([94.0, 93.0, 92.0, 91.0])
    expected = {1: 92.5, 2: 93.4}
    chart = chance.random_search(2, [0.5, 0.4, 0.06, 0.04], accuracies, expected)
    assert chart.words == (
        "Random search over 2 of 4 cells hands in 93.40% test accuracy on average, in nine cases of ten between 92.00% "
        "and 94.00%; the best there is has 94.00%."
    )
    curve, pile = chart.axes
    assert list(curve.lines[0].get_ydata()) == [92.5, 93.4] and list(curve.lines[1].get_xdata()) == [2]
    (outline,) = pile.patches
    x, y = outline.get_xy().T
    area = abs((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() + x[-1] * y[0] - x[0] * y[-1]) / 2  # the shoelace formula
    assert area / ((94.0 - 90.0) / 44) == pytest.approx(1.0)  # all probabilities, in 44 bins
    assert len(chart.svg) < 40_000


def test_lines_have_their_intervals_and_a_level():
    series = {"ours": [1.0, 2.0], "theirs": [3.0, 4.0]}
    chart = chance.lines([1, 10], series, "runs", "points", {"ours": [0.1, 0.2]}, ("gap", 0.5))
    assert chart.words == "points against runs 1, 10: ours 1 ± 0.1, 2 ± 0.2; theirs 3, 4; gap 0.50."
    (axes,) = chart.axes
    assert axes.get_xscale() == "log" and [text.get_text() for text in axes.get_xticklabels()] == ["1", "10"]
    (bars,) = [line for line in axes.collections if len(line.get_segments()) == 2]
    assert np.allclose([segment[:, 1] for segment in bars.get_segments()], [[0.9, 1.1], [1.8, 2.2]])


def test_a_lead_has_its_interval_and_its_pairs():
    behind = np.array([[1.0], [3.0]]).repeat(10, axis=1)
    ahead = np.array([[2.0], [3.0]]).repeat(10, axis=1)
    error = 1.96 * (2 / 2 + 0.5 / 2) ** 0.5  # the variances of two runs each
    assert f"after 10: 0.50 ± {error:.2f} and 62%" in chance.lead(behind, ahead).words  # 2 of 4 pairs, and a tie
