"""Checkers of exercises: an answer beside what is wanted, in one picture, with what differs marked. Each returns a
Chart whose words begin with "Right", "Not yet right" or "not done yet"; an answer with a None in it is not done."""

from collections.abc import Callable, Sequence
from functools import wraps
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from nascore.show.chart import COLOURS, GREY, Chart, panels, styled
from nascore.show.drawing import look

GOOD, BAD = COLOURS[0], COLOURS[1]
TINT = look("separable")[1]
INK = "#1b1b1b"  # on a tint
MOST = 20  # rows in a picture
SAID = 5  # differences in words
WAITING = "not done yet"
OFF = "#00000000"


def verdict(chart: Chart, words: str) -> Chart:
    """The chart with what it says above it, and in its words."""
    chart.words = words
    colour = GREY
    if not words.startswith(WAITING):
        colour = GOOD if words.startswith("Right") else BAD
    chart.suptitle(fill(words, 100), fontsize=11, color=colour)
    return chart


@styled
def waiting(about: str, said: str = WAITING) -> Chart:
    """A small chart that waits for an answer, and gives nothing away."""
    chart, (axes,) = panels(1, 0.7)
    axes.set_axis_off()
    return verdict(chart, f"{said}: {about}")


def judged(check: Callable[..., Chart]) -> Callable[..., Chart]:
    """A checker that says of an answer of another kind than it asks for, or of code that fails, what went wrong."""

    @wraps(check)
    def checked(*answers: Any, **how: Any) -> Chart:
        try:
            return check(*(_plain(answer) for answer in answers), **how)
        except Exception as error:
            return waiting(f"{type(error).__name__}: {error}", "Not yet right")

    return checked


def _plain(answer: Any) -> Any:
    """A tensor without its gradient."""
    return answer.detach() if hasattr(answer, "detach") else answer


@judged
@styled
def compare(values: Any, wanted: Any, names: Sequence[str], label: str = "value", tolerance: float = 1e-6) -> Chart:
    """Numbers beside those that are wanted, a row each. Two agree if they are at most `tolerance` apart, or a millionth
    of what is wanted."""
    wanted = _numbers(wanted)
    if _waits(values):
        return _not_done(names, label)
    given = _numbers(values)
    if given is None:
        return _not_numbers(names, label, values)
    padded = np.full(len(wanted), np.nan)  # an answer may be too short
    count = min(len(given), len(wanted))
    padded[:count] = given[:count]
    wrong = ~np.isclose(padded, wanted, rtol=1e-6, atol=tolerance)

    shown = np.sort(np.argsort(~wrong, kind="stable")[:MOST])  # those that differ, if there are too many
    chart, axes = _rows([names[k] for k in shown], label)
    for row, k in enumerate(shown):
        axes.plot(wanted[k], row, "o", markersize=12, markerfacecolor=OFF, markeredgecolor=GREY)
        if wrong[k]:
            axes.plot([padded[k], wanted[k]], [row, row], color=BAD, linewidth=1.2, linestyle="-")
            _beside(axes, row, f"{padded[k]:.5g}, wanted {wanted[k]:.5g}")
        axes.plot(padded[k], row, "X" if wrong[k] else "o", markersize=7, color=BAD if wrong[k] else GOOD)
    axes.set_xlabel(f"{label}   (ring: wanted; dot: yours; cross: yours, where it differs)")
    places = np.abs([*wanted, *padded[np.isfinite(padded)]])
    if 0 < 1000 * places.min() < places.max():
        axes.set_xscale("log")
    differences = [f"{names[k]} {padded[k]:.5g}, wanted {wanted[k]:.5g}" for k in np.flatnonzero(wrong)]
    if len(given) != len(wanted):
        differences.insert(0, f"{len(given)} values, wanted {len(wanted)}")
    return _judged(chart, axes, label, differences)


@judged
@styled
def grid(values: Any, wanted: Any, rows: Sequence[str], columns: Sequence[str], label: str = "count") -> Chart:
    """A matrix (rows, columns) of counts or bits beside the one that is wanted: filled where yours has something,
    framed where it differs."""
    wanted = np.asarray(wanted, dtype=float)
    if _waits(values):
        return _not_done(rows, label)
    given = np.asarray(values, dtype=float)
    if given.shape != wanted.shape:
        return _not_numbers(rows, label, f"a matrix {given.shape} where {wanted.shape} is wanted")
    chart, axes = _rows(rows, label)
    differences = []
    for (i, j), want in np.ndenumerate(wanted):
        have = given[i, j]
        same = bool(np.isclose(have, want))
        across = np.array([-0.44, 0.44, 0.44, -0.44]) + j
        down = np.array([-0.36, -0.36, 0.36, 0.36]) + i
        frame = dict(edgecolor=GREY, linewidth=0.8) if same else dict(edgecolor=BAD, linewidth=2.4)
        axes.fill(across, down, facecolor=TINT if have else OFF, linestyle="-" if same else "--", **frame)
        text = f"{have:g}" if same else f"{have:g}, wanted {want:g}"
        ink = INK if have else GREY
        weight = "normal" if same else "bold"
        axes.text(j, i, text, ha="center", va="center", fontsize=9, color=ink, fontweight=weight)
        if not same:
            differences.append(f"{rows[i]}, {columns[j]}: {have:g}, wanted {want:g}")
    axes.grid(False)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    return _judged(chart, axes, label, differences)


@judged
def one_place(
    lists: Sequence[Sequence[int]] | None,
    here: Sequence[int],
    rows: Sequence[str],
    columns: Sequence[str],
    label: str = "count",
) -> Chart:
    """Lists that should be all those that differ from `here` in exactly one place: how many change place i (a row) to
    option k (a column) and nothing else; a last row counts those that do not."""
    wanted = np.ones((len(rows) + 1, len(columns)))
    wanted[range(len(rows)), here] = 0
    wanted[-1] = 0
    counts = np.zeros(wanted.shape)
    for other in lists or []:
        places = [i for i, (old, new) in enumerate(zip(here, other)) if old != new]
        if len(places) == 1 and len(other) == len(here):
            counts[places[0], other[places[0]]] += 1
        else:
            counts[-1, 0] += 1
    return grid(None if lists is None else counts, wanted, [*rows, "no place, or several"], columns, label)


def _waits(values: Any) -> bool:
    return values is None or (isinstance(values, Sequence) and None in list(values))


def _numbers(values: Any) -> np.ndarray | None:
    """As one row of numbers, if that is what they are; a tensor's gradient does not matter."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    try:
        return np.atleast_1d(np.asarray(values, dtype=float)).ravel()
    except (TypeError, ValueError):
        return None


def _rows(names: Sequence[str], label: str, row: float = 0.32) -> tuple[Chart, Axes]:
    """A chart with a row for each name, so many inches high."""
    chart, (axes,) = panels(1, 1.2 + row * len(names))
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(label)
    return chart, axes


def _beside(axes: Axes, row: int, text: str) -> None:
    axes.annotate(text, (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=9, fontweight="bold")


def _not_done(names: Sequence[str], label: str) -> Chart:
    chart, axes = _rows(names[:MOST], label, 0.18)
    axes.tick_params(labelsize=8)
    axes.set_xticks([])
    axes.grid(False)
    axes.text(0.5, 0.5, "your answer comes here", transform=axes.transAxes, ha="center", va="center")
    axes.set_title("not done yet")
    chart.words = f"not done yet: {label}."
    return chart


def _not_numbers(names: Sequence[str], label: str, what: Any) -> Chart:
    chart = _not_done(names, label)
    (axes,) = chart.axes
    axes.texts[0].set_text(f"found {str(what)[:60]}")
    return _judged(chart, axes, label, [f"numbers are wanted, found {str(what)[:60]}"])


def _judged(chart: Chart, axes: Axes, label: str, differences: Sequence[str]) -> Chart:
    if differences:
        axes.set_title("Not yet right", color=BAD, fontweight="bold")
        more = f"; and {len(differences) - SAID} more" if len(differences) > SAID else ""
        chart.words = f"Not yet right, {label}: {'; '.join(differences[:SAID])}{more}."
    else:
        axes.set_title("Right", color=GOOD, fontweight="bold")
        chart.words = f"Right: {label}, all as wanted."
    return chart
