"""Exercises say what went wrong in a picture. Each function takes an answer (None: there is none yet) and returns a
Chart whose words begin with "not done yet", "Right" or "Not yet right"."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from course.beam import kept
from course.checks import judged, verdict, waiting
from course.light import panels
from nascore.show.chart import COLOURS, GREY, Chart, styled

Numbers = Sequence[float]


# --- a function that was written ------------------------------------------------------------------


@judged
@styled
def curve(
    mine: Callable[[float], Any], right: Callable[[float], float], label: str, low: float = -2, high: float = 2
) -> Chart:
    """Your function of one number beside the right one, and where they are furthest apart."""
    x = np.linspace(low, high, 41).round(9)
    answers = [mine(value) for value in x]
    if any(answer is None for answer in answers):
        return waiting("the function returns None")
    yours = np.array([float(answer) for answer in answers])
    wanted = np.array([float(right(value)) for value in x])
    chart, (axes,) = panels(1, 3.0, 7.0)
    axes.plot(x, wanted, color=GREY, linestyle="-", linewidth=4, alpha=0.5, label="as it should be")
    axes.plot(x, yours, color=COLOURS[0], linestyle="-", label="yours")
    axes.set(xlabel=label)
    apart = np.abs(yours - wanted)
    if np.allclose(yours, wanted, atol=1e-6):
        axes.legend(fontsize=9)
        return verdict(chart, "Right: both curves are one")
    worst = int(np.nanargmax(np.nan_to_num(apart, nan=np.inf)))
    axes.plot([x[worst]] * 2, [yours[worst], wanted[worst]], color=COLOURS[1], linestyle="--", label="furthest apart")
    axes.legend(fontsize=9)
    at = f"{x[worst]:.3g} it is {yours[worst]:.4g} instead of {wanted[worst]:.4g}"
    return verdict(chart, f"Not yet right: furthest apart at {at}")


@judged
@styled
def choice(mine: Any, right: Numbers, runs: Sequence[Numbers], names: Sequence[str]) -> Chart:
    """Scores of some candidates, yours beside the right ones, over the single answers (a row for each member) that
    they are made of."""
    if mine is None:
        return waiting("the function returns None")
    yours = np.asarray(mine, dtype=float)
    wanted = np.asarray(right, dtype=float)
    answers = np.asarray(runs, dtype=float)
    if yours.shape != wanted.shape:
        return waiting(f"a score for each of the {wanted.size} candidates is needed, found {yours.size}")
    chart, (axes,) = panels(1, 2.8, 7.0)
    places = range(len(names))
    for k, answer in enumerate(answers):
        axes.plot(places, answer, "o", color=GREY, markersize=5, label="" if k else "a member")
    for k, (want, have) in enumerate(zip(wanted, yours)):
        style = {"linestyle": "-", "linewidth": 7, "color": GREY, "alpha": 0.5}
        axes.plot([k - 0.25, k + 0.25], [want, want], label="" if k else "as it should be", **style)
        style = {"linestyle": "-", "color": COLOURS[0]}
        axes.plot([k - 0.25, k + 0.25], [have, have], label="" if k else "yours", **style)
    axes.set_xticks(places, names)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    if np.allclose(yours, wanted, atol=1e-5):
        return verdict(chart, f"Right: {names[int(wanted.argmax())]} comes first")
    first = f"{names[int(yours.argmax())]} comes first, it should be {names[int(wanted.argmax())]}"
    if yours.argmax() == wanted.argmax():
        first = "the first is the right one, the scores are not"
    return verdict(chart, f"Not yet right: {first}")


# --- a number that was derived --------------------------------------------------------------------


@judged
@styled
def points(mine: Mapping[int, float | None], right: Callable[[int], float], xs: Numbers, xlabel: str) -> Chart:
    """Numbers that were guessed, as points on the curve that they should lie on."""
    if None in mine.values():
        return waiting(" and ".join(f"the value at {x}" for x, value in mine.items() if value is None))
    chart, (axes,) = panels(1, 2.8, 7.0)
    axes.plot(xs, [right(x) for x in xs], color=GREY, linestyle="-", linewidth=4, alpha=0.5, label="as it should be")
    missed = []
    for x, value in mine.items():
        wanted = right(x)
        axes.plot([x, x], [value, wanted], color=COLOURS[1], linestyle="--")
        axes.plot([x], [value], "o", color=COLOURS[0], label="yours" if x == next(iter(mine)) else "")
        if abs(value - wanted) > 0.002:
            missed.append(f"at {x} it is {value - wanted:+.3f} off")
    axes.set(xlabel=xlabel)
    axes.legend(fontsize=9)
    return verdict(chart, f"Not yet right: {', '.join(missed)}" if missed else "Right: all points lie on the curve")


@judged
@styled
def counted(one: int | None, two: int | None, operations: int) -> Chart:
    """Numbers of cells of one and of two blocks, with so many operations. On the left a field for each pair of halves:
    filled are as many as you counted, first those that are different blocks. On the right your count beside others."""
    if one is None or two is None:
        return waiting("both numbers are needed")
    chart, (grid, bar) = panels(2, 3.4, width_ratios=[1, 1.4])
    _grid(grid, one, 2 * operations)
    lists = (2 * operations) ** 2 * (3 * operations) ** 2
    rows = {"lists of decisions": lists, "halves unordered": _blocks(2, operations) * _blocks(3, operations)}
    bar.barh(range(3), [*rows.values(), max(1, two)], color=[GREY, GREY, COLOURS[0]])
    bar.set_yticks(range(3), [*rows, "yours"])
    bar.invert_yaxis()
    bar.set(xscale="log", title="two blocks", xlim=(lists / 200, None))
    wrong = [*_mistaken_blocks(one, operations), *_mistaken_cells(two, operations)]
    return verdict(chart, f"Not yet right: {'; '.join(wrong)}" if wrong else f"Right: {one:,} and {two:,}")


def _blocks(inputs: int, operations: int) -> int:
    """Blocks that read so many inputs, their halves without order."""
    halves = inputs * operations
    return halves * (halves + 1) // 2


def _mistaken_blocks(one: int, operations: int) -> list[str]:
    """What is wrong with a count of cells of one block."""
    halves = 2 * operations
    known = {
        halves**2: "both orders of its halves are counted",
        halves * (halves - 1) // 2: "halves that are the same, the diagonal, are missing",
    }
    return _mistake("one block", one, _blocks(2, operations), known)


def _mistaken_cells(two: int, operations: int) -> list[str]:
    """What is wrong with a count of cells of two blocks."""
    first = _blocks(2, operations)
    reads = first * (_blocks(3, operations) - first)  # the second block reads the first: it has one order only
    known = {
        first**2 + reads: "both orders of blocks that do not read each other are counted",
        (first**2 + reads) // 2: "halved also where the second block reads the first, which has one order only",
        first**2 // 2 + reads: "cells of the same block twice are counted by half",
    }
    return _mistake("two blocks", two, (first**2 + first) // 2 + reads, known)


def _mistake(what: str, value: int, wanted: int, known: Mapping[int, str]) -> list[str]:
    if value == wanted:
        return []
    return [f"{what}: {known.get(value, 'too many' if value > wanted else 'too few')}"]


def _grid(axes: Axes, count: int, halves: int) -> None:
    """The pairs of halves, as many filled as were counted: different blocks first, then those that are one of them
    again."""
    fields = np.zeros((halves, halves))
    upper = [(i, j) for i, j in combinations_with_replacement(range(halves), 2) if i != j]
    diagonal = [(i, i) for i in range(halves)]
    lower = [(j, i) for i, j in upper]
    for k, (i, j) in enumerate([*upper, *diagonal, *lower][: max(0, count)]):
        fields[i, j] = 1 if k < len(upper) + len(diagonal) else 2
    for value, colour in ((1, COLOURS[0]), (2, COLOURS[1])):
        rows, columns = np.nonzero(fields == value)
        axes.plot(columns, rows, "s", color=colour, markersize=5, rasterized=True)
    axes.set(title="one block: half with half", xlim=(-1, halves), ylim=(halves, -1), aspect="equal")
    axes.set_xticks([])
    axes.set_yticks([])


# --- something that was built ---------------------------------------------------------------------


@judged
def misses(score: Callable[[Any], float | None], families: Mapping[Any, Sequence[Any]], k: int = 1) -> Chart:
    """Does a beam of `k`, ranked by the score itself, miss the best child? `families` has the children of every
    parent."""
    own = {parent: score(parent) for parent in families}
    if None in own.values():
        return waiting("the score is None")
    order = sorted(own, key=lambda parent: -own[parent])  # stable
    best = [max(score(child) for child in families[parent]) for parent in order]
    chart = kept({"your score": best}, k)
    reached, most = max(best[:k]), max(best)
    if reached < most:
        return verdict(chart, f"Right: a beam of {k} ends at {reached:.3g}, the best child has {most:.3g}")
    return verdict(chart, f"Not yet right: a beam of {k} finds the best, {most:.3g}. {chart.words}")
