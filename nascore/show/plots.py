"""What a search has done so far, as curves: light ones for a panel that moves, and a chart that a
notebook keeps."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from numpy import ndarray

from nascore.estimators import Table
from nascore.show.chart import COLOURS, GREY, Chart, panels, styled

WIDTH, HEIGHT = 290, 150  # pixels, of one of a panel's plots
LEFT, RIGHT, TOP, BOTTOM = 44, 282, 22, 116  # of these, where its axes are
WORDS = 132  # and the words below them
POINTS = 200  # of a line: more could not be seen
# The plots, and the columns of a history that are lines in them, by what they are called there.
PLOTS = {
    "reward": {"reward": "each", "best": "best so far"},
    "training loss": {"loss": "training loss"},
    "entropy of alpha, normal cell": {"entropy_normal": "entropy"},
}


class Line(NamedTuple):
    """A line of a plot, or single points; `style` is matplotlib's: "-", "--" or "."."""

    label: str
    steps: Sequence[float]
    values: Sequence[float]
    colour: str
    style: str = "-"


Plots = dict[str, list[Line]]


def random_search(rewards: Sequence[float], trials: int) -> ndarray:
    """What the best of 1, 2, ... so many architectures is worth on average, of those drawn at
    random, with replacement, among all with these rewards: exactly."""
    known = np.sort(np.asarray(rewards))
    below = np.arange(len(known) + 1)[:, None] / len(known)
    return known @ np.diff(below ** np.arange(1, trials + 1), axis=0)


def of_the_table(trials: int) -> ndarray:
    """The same on the table, by the column that a search sees."""
    return random_search(Table().columns[Table.signal] / 100, min(trials, 500))


def plots(rows: Sequence[Mapping], behind: Sequence[float] = ()) -> Plots:
    """Of the rows of a history; `behind` is what random search has found after as many
    evaluations."""
    found: Plots = {}
    for title, columns in PLOTS.items():
        lines = []
        for (name, label), colour in zip(columns.items(), COLOURS):
            pairs = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
            if pairs:
                steps, values = zip(*pairs)
                look = (GREY, ".") if name == "reward" else (colour, "-")
                lines.append(Line(label, steps, values, *look))
        if lines:
            found[title] = lines
    if len(behind) and rows and "reward" in found:
        count = max(2, min(rows[-1]["step"], len(behind)))
        known = behind[:count]
        found["reward"].append(Line("random search", range(1, count + 1), known, GREY, "--"))
    return found


def light(title: str, lines: Sequence[Line]) -> str:
    """A plot as SVG text: matplotlib would take a tenth of a core."""
    steps = [step for line in lines for step in (line.steps[0], line.steps[-1])]
    values = sorted(value for line in lines for value in line.values)
    scattered = lines[0].style == "."
    low = values[len(values) // 10 * scattered]  # a few bad ones would press all others together
    high = values[-1]
    first = min(steps)
    last = max(steps)
    across = (RIGHT - LEFT) / ((last - first) or 1)
    up = (BOTTOM - TOP) / ((high - low) or 1)
    parts = []
    words = []
    for line in lines:
        label, across_at, up_at, _, style = line
        count = len(up_at)
        kept = (*range(0, count, 1 + count // POINTS), count - 1)
        places = [
            (LEFT + across * (across_at[k] - first), BOTTOM - up * max(0, up_at[k] - low))
            for k in kept
        ]
        parts.append(_marks(places) if style == "." else _path(places, line))
        words.append(f"{label} {up_at[-1]:.4g}")
    for value, y in ((high, TOP), (low, BOTTOM)):
        parts.append(_text(LEFT - 4, y + 4, f"{value:.4g}", "end"))
        parts.append(f'<path d="M{LEFT} {y}H{RIGHT}" stroke="{GREY}" stroke-opacity="0.3"/>')
    parts.append(_text(LEFT, WORDS, f"{first:,.0f}", "start"))
    parts.append(_text(RIGHT, WORDS, f"{last:,.0f}", "end"))
    parts.append(_text((LEFT + RIGHT) / 2, WORDS, "step", "middle"))
    said = f"{title}: {', '.join(words)}"
    parts.append(_text(0, 12, said, "start"))
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" overflow="visible" role="img" '
        f'aria-label="{escape(said)}" '
        f'fill="{GREY}" font-family="Helvetica,Arial,sans-serif" font-size="11">'
        f"{''.join(parts)}</svg>"
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'


def _path(places: Sequence[tuple[float, float]], line: Line) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dashes = ' stroke-dasharray="5 4"' if line.style == "--" else ""
    look = f'fill="none" stroke="{line.colour}" stroke-width="1.8"{dashes}'
    return f'<polyline points="{points}" {look}/>'


def _marks(places: Sequence[tuple[float, float]]) -> str:
    circles = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.6"/>' for x, y in places)
    return f'<g fill-opacity="0.6">{circles}</g>'


@styled
def chart(found: Plots, caption: str) -> Chart:
    """The same as a figure that stays; `caption` says of which search."""
    picture, every = panels(len(found), 2.8)
    words = []
    for axes, (title, lines) in zip(every, found.items()):
        for line in lines:
            label, steps, values, colour, style = line
            (drawn,) = axes.plot(steps, values, style, color=colour, label=label, markersize=4)
            drawn.set_rasterized(style == ".")
            words.append(f"{label} {values[-1]:.4g} at step {steps[-1]}")
        axes.set(title=title, xlabel="step")
        axes.legend(fontsize=8)
    picture.words = f"{caption}: {'; '.join(words)}."
    picture.suptitle(caption, fontsize=10)
    return picture
