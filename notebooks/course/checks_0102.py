"""Exercises checked: each function takes your answer and draws where it stands, and what is wrong with it. What it says
begins with "Right", "Not yet right" or, for `None`, with "not done yet"."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from course.checks import WAITING, judged, verdict, waiting
from course.light import panels
from nascore.errors import UserError
from nascore.genotypes import Cell, CellGenotype
from nascore.show.canvas import Drawing
from nascore.show.chart import COLOURS, GREY, Chart, styled
from nascore.show.drawing import draw, said, states

Span = tuple[float, float]


@judged
@styled
def lowest(curve: Callable[[float], float], yours: float | None, span: Span, name: str, label: str) -> Chart:
    """Is `yours` where the curve is lowest between the ends of `span`? Draws the curve and your point on it."""
    if yours is None:
        return waiting(f"at which {name} is the {label} lowest?")
    chart, (axes,) = panels(1, 2.8)
    grid = np.linspace(*span, 401)
    values = np.array([curve(float(x)) for x in grid])
    axes.set(xlabel=name, ylabel=label)
    axes.plot(grid, values, color=COLOURS[0])
    at = float(yours)
    height = curve(at)
    axes.plot(at, height, "o", color=COLOURS[1], markersize=9, label=f"yours: {at:.5g}")
    axes.legend(fontsize=8)
    best = float(grid[values.argmin()])
    if abs(at - best) <= grid[1] - grid[0]:
        return verdict(chart, f"Right: {at:.5g} is where the curve is lowest")
    side = "left" if at < best else "right"
    more = f"{height / values.min():.3g} times the lowest there is"
    return verdict(chart, f"Not yet right: {at:.5g} lies {side} of the lowest place, its {label} is {more}")


@judged
@styled
def most(shares: Mapping[str, float], guess: str | None, label: str) -> Chart:
    """Is `guess` the name with the largest share? Draws all shares once there is a guess."""
    names = list(shares)
    if guess is None:
        return waiting(f"which of {', '.join(names)} has the longest bar?")
    chart, (axes,) = panels(1, 0.9 + 0.4 * len(shares))
    axes.set_yticks(range(len(names)), names)
    axes.set(xlim=(0, 1.1), ylim=(len(names) - 0.5, -0.5), xlabel=label)
    if guess not in shares:
        return verdict(chart, f"Not yet right: {guess!r} is none of {', '.join(names)}")
    colours = [COLOURS[1] if name == guess else GREY for name in names]
    bars = axes.barh(names, list(shares.values()), color=colours)
    axes.bar_label(bars, [f"{share:.0%}" for share in shares.values()], padding=4)
    told = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    best = max(shares, key=lambda name: shares[name])
    if guess == best:
        return verdict(chart, f"Right, {guess} it is: {told}")
    return verdict(chart, f"Not yet right: {guess} has {shares[guess]:.0%}, and another has more: {told}")


@judged
@styled
def matches(values: Mapping[str, float], guess: float | None, right: str, label: str) -> Chart:
    """Is `guess` the value of the name `right`? Draws all values, and your guess as a line through them."""
    if guess is None:
        return waiting(f"how many {label} has {right}?")
    names = list(values)
    chart, (axes,) = panels(1, 0.9 + 0.36 * len(values))
    axes.set_yticks(range(len(names)), names)
    axes.set(ylim=(len(names) - 0.5, -0.5), xlabel=label)
    bars = axes.barh(names, list(values.values()), color=GREY)
    axes.bar_label(bars, [f"{value:,g}" for value in values.values()], padding=4)
    axes.axvline(guess, color=COLOURS[1], linewidth=2.4, label=f"yours: {guess:,g}")
    axes.set_xlim(0, 1.15 * max(guess, *values.values()))
    axes.legend(fontsize=8)
    if guess == values[right]:
        return verdict(chart, f"Right: {guess:,g} is the value of {right}")
    same = [name for name, value in values.items() if value == guess]
    why = f"that is the value of {same[0]}" if same else "your line ends no bar"
    return verdict(chart, f"Not yet right: {why}; you want that of {right}")


@judged
def wired(inputs: Sequence[int | None], wanted: Cell) -> Drawing | None:
    """Do these inputs, two a block, wire a cell as the one that is wanted? Says which differ, and draws the cell with
    yours."""
    if None in inputs:
        print(f"{WAITING}: here your cell will be drawn")
        return None
    names = states(wanted)
    pairs = list(zip(inputs[::2], inputs[1::2]))
    wrong = [] if len(inputs) == 2 * len(wanted.nodes) else [f"{2 * len(wanted.nodes)} inputs are wanted"]
    for block, (found, right) in enumerate(zip(pairs, (node.inputs for node in wanted.nodes))):
        for j, i in zip(found, right):
            if j != i:
                read = said(names[j]) if 0 <= j < len(names) else f"state {j}, which there is not"
                wrong.append(f"block {block} reads {read}, wanted {said(names[i])}")
    if wrong:
        print(f"Not yet right, {len(wrong)} of {len(inputs)} inputs differ:", *wrong, sep="\n  ")
    else:
        print(f"Right: all {len(inputs)} inputs are those that are wanted")
    try:
        nodes = [replace(node, inputs=pair) for node, pair in zip(wanted.nodes, pairs)]
        return draw(CellGenotype(replace(wanted, nodes=tuple(nodes))))
    except UserError as error:  # a block that reads itself, or what comes later
        print(f"It cannot be drawn: {error}")
        return None
