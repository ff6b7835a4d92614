"""What a search has done so far, as curves: light ones for a panel that moves, and a chart that a
notebook keeps."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from nascore.estimators import Table
from nascore.show.chart import COLOURS, GREY, Chart, panels, styled

WIDTH, HEIGHT = 290, 150  # pixels, of one of a panel's plots
LEFT, BELOW, ABOVE = 44, 34, 22  # of these, around the axes
POINTS = 200  # of a line: more could not be seen
# The plots, and the columns of a history that are lines in them, by what they are called there.
PLOTS = {
    "reward": {"reward": "each", "best": "best so far"},
    "training loss": {"loss": "training loss"},
    "entropy of alpha, normal cell": {"entropy_normal": "entropy"},
}


class Line(NamedTuple):
    """A line, or single points, of a plot."""

    label: str
    steps: Sequence[float]
    values: Sequence[float]
    colour: str
    points: bool = False


Plots = dict[str, list[Line]]


def random_search(rewards: Sequence[float], trials: int) -> np.ndarray:
    """What the best of 1, 2, ... so many architectures is worth on average, of those drawn at
    random, with replacement, among all with these rewards: exactly."""
    known = np.sort(np.asarray(rewards))
    below = np.arange(len(known) + 1)[:, None] / len(known)
    return known @ np.diff(below ** np.arange(1, trials + 1), axis=0)


def of_the_table(trials: int) -> np.ndarray:
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
                lines.append(Line(label, steps, values, colour, name == "reward"))
        if lines:
            found[title] = lines
    if len(behind) and rows and "reward" in found:
        count = max(2, min(rows[-1]["step"], len(behind)))
        known = behind[:count]
        found["reward"].append(Line("random search", range(1, count + 1), known, GREY))
    return found


def light(title: str, lines: Sequence[Line]) -> str:
    """A plot as SVG text: matplotlib would take a tenth of a core."""
    steps = [step for line in lines for step in (line.steps[0], line.steps[-1])]
    values = [value for line in lines for value in line.values]
    low = min(values)
    high = max(values)
    first = min(steps)
    across = (WIDTH - LEFT - 8) / ((max(steps) - first) or 1)
    up = (HEIGHT - BELOW - ABOVE) / ((high - low) or 1)
    parts = []
    words = []
    for line in lines:
        kept = range(0, len(line.values), 1 + len(line.values) // POINTS)
        places = [
            (LEFT + across * (line.steps[k] - first), HEIGHT - BELOW - up * (line.values[k] - low))
            for k in (*kept, len(line.values) - 1)
        ]
        parts.append(_marks(places) if line.points else _path(places, line))
        words.append(f"{line.label} {line.values[-1]:.4g}")
    for value, y in ((high, ABOVE), (low, HEIGHT - BELOW)):
        parts.append(_text(LEFT - 4, y + 4, f"{value:.4g}", "end"))
        parts.append(f'<path d="M{LEFT} {y}H{WIDTH - 8}" stroke="{GREY}" stroke-opacity="0.3"/>')
    parts.append(_text(LEFT, HEIGHT - 18, f"{first:,.0f}", "start"))
    parts.append(_text(WIDTH - 8, HEIGHT - 18, f"{max(steps):,.0f}", "end"))
    parts.append(_text((LEFT + WIDTH) / 2, HEIGHT - 18, "step", "middle"))
    said = f"{title}: {', '.join(words)}"
    parts.append(_text(0, 12, said, "start"))
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{escape(said)}" '
        f'fill="{GREY}" font-family="Helvetica,Arial,sans-serif" font-size="11">'
        f"{''.join(parts)}</svg>"
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'


def _path(places: Sequence[tuple[float, float]], line: Line) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dashes = ' stroke-dasharray="5 4"' if line.colour == GREY else ""
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
            style = "." if line.points else "--" if line.colour == GREY else "-"
            colour = GREY if line.points else line.colour
            axes.plot(line.steps, line.values, style, color=colour, label=line.label, markersize=4)
            words.append(f"{line.label} {line.values[-1]:.4g} at step {line.steps[-1]}")
        axes.set(title=title, xlabel="step")
        if len(lines) > 1:
            axes.legend(fontsize=8)
    picture.words = f"{caption}: {'; '.join(words)}."
    picture.suptitle(caption, fontsize=10)
    return picture
