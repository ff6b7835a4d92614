"""A picture that moves: an SVG whose only clock is CSS, so that it plays as the picture of a Markdown cell, without a
script and without a kernel. What an element's own attributes say is the *last* frame: whoever wants no motion, prints,
or has no CSS, sees that."""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise
from math import dist, isfinite

import numpy as np

from nascore.show.canvas import FAMILY, GREY, PAGE, accessible
from nascore.show.chart import COLOURS

BLUE, RED, GREEN = COLOURS[:3]
INK = "#1b1b1b"  # on a tint
FAINT = 0.3  # of what only guides the eye; whatever carries meaning is opaque
BLINK = 0.012  # how long an element takes to come or to go, as a share of the run
LEAD, BACK = 0.5, 0.7  # seconds: the first frame stands; the way back to it

Point = tuple[float, float]
Frames = Sequence[tuple[float, str]]  # times, from 0 (the first frame) to 1 (the last), and what CSS says there


def number(value: float, digits: int = 1) -> str:
    """As short as SVG reads it."""
    assert isfinite(value), value
    short = f"{value:.{digits}f}"
    short = short.rstrip("0").rstrip(".") if "." in short else short
    return "0" if short in ("-0", "") else short


def places(points: Iterable[Point], digits: int = 1) -> str:
    """Of a polyline."""
    return " ".join(f"{number(x, digits)},{number(y, digits)}" for x, y in points)


def subscript(text: str) -> str:
    """`c_{k-1}` as SVG text with a real subscript; what stands after it returns to the line."""
    name, _, rest = text.partition("_{")
    low, _, after = rest.partition("}")
    return f'{name}<tspan dy="3" font-size="10">{low}</tspan><tspan dy="-3">{after}</tspan>' if low else text


def shift(x: float, y: float) -> str:
    return f"transform:translate({number(x)}px,{number(y)}px)"


def scale(factor: float) -> str:
    return f"transform:scale({number(factor, 3)})"


def seen(opacity: float) -> str:
    return f"opacity:{number(opacity, 2)}"


def kept(times: Sequence[float], values: Sequence[float] | np.ndarray, within: float) -> list[int]:
    """Which frames must be said, so that straight lines between them miss none by more than that."""
    first, last = 0, len(times) - 1
    said, open_ = {first, last}, [(first, last)]
    while open_:
        a, b = open_.pop()
        slope = (values[b] - values[a]) / (times[b] - times[a])
        misses = [abs(values[a] + slope * (times[k] - times[a]) - values[k]) for k in range(a + 1, b)]
        if misses and max(misses) > within:
            k = a + 1 + misses.index(max(misses))
            said.add(k)
            open_ += [(a, k), (k, b)]
    return sorted(said)


def pieces(points: Sequence[Point], wanted: Sequence[bool]) -> str:
    """A path of those stretches of a line that begin or end at a wanted point, cut half-way to one that is not."""
    path, pen = "", False
    for a, b, of_a, of_b in zip(points, points[1:], wanted, wanted[1:]):
        middle = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
        if of_a or of_b:
            path += "" if pen else f"M{places([a if of_a else middle])}L"
            path += f"{places([b if of_b else middle])} "
        pen = of_b
    return path


class Movie:
    """`height` pixels of a page's width; a run of so many seconds, then a pause with the last frame; then again."""

    def __init__(self, height: int, run: float = 8.5, pause: float = 3.0):
        self.height = height
        self.run = run
        self.paused = LEAD + run  # when the pause begins
        self.again = self.paused + pause
        self.seconds = self.again + BACK
        self.words = ""
        self.parts: list[str] = []
        self.classes: dict[str, str] = {}  # of what a keyframe rule says: its name

    # --- elements -----------------------------------------------------------------------------------------------------

    def add(self, name: str, inner: str = "", frames: Frames = (), **attributes: str | float | None) -> None:
        """An element; `frames` move it. Its attributes have `_` for `-`."""
        if frames:
            attributes["class"] = self.moving(frames)
        said = [
            f' {key.strip("_").replace("_", "-")}="{value if isinstance(value, str) else number(value, 2)}"'
            for key, value in attributes.items()
            if value is not None
        ]
        self.parts.append(f"<{name}{''.join(said)}" + (f">{inner}</{name}>" if inner else "/>"))

    def text(self, x: float, y: float, text: str, size: float = 12, frames: Frames = (), **attributes) -> None:
        """One line; `anchor` says which part of it stands at x."""
        how = {"fill": GREY, "font_size": None if size == 12 else size} | attributes
        if "anchor" in how:
            how["text_anchor"] = how.pop("anchor")
        if how["fill"] == GREY:
            del how["fill"]  # what the whole picture has
        self.add("text", subscript(escape(text)), frames, x=x, y=y, **how)

    def open(self, frames: Frames = (), **attributes) -> None:
        """A group, up to `close`."""
        self.add("g", "\0", frames, **attributes)
        self.parts[-1] = self.parts[-1].replace("\0</g>", "")

    def close(self) -> None:
        self.parts.append("</g>")

    def drawn(self, points: Sequence[Point], times: Sequence[float], **attributes) -> None:
        """A line that grows so that it reaches each point at its time."""
        lengths = [dist(a, b) for a, b in pairwise(points)]
        whole = sum(lengths)
        reached = [sum(lengths[:k]) / whole for k in range(len(points))]
        frames = [(time, f"stroke-dashoffset:{number(1 - part, 4)}") for time, part in zip(times, reached)]
        line = dict(points=places(points), fill="none", pathLength="1", stroke_dasharray="1 1.1")
        self.add("polyline", "", frames, **line | attributes)

    def unveil(self, x: float, y: float, width: float, height: float) -> str:
        """A `clip_path` for what becomes visible from top to bottom, by the end of the run."""
        name = f"u{len(self.parts)}"
        frames = [(0.0, shift(0, -height - 8)), (1.0, shift(0, 0))]
        self.add("clipPath", "\0", id=name)
        self.parts[-1] = self.parts[-1].replace("\0</clipPath>", "")
        self.add("rect", "", frames, x=x, y=y - 4, width=width, height=height + 8)
        self.parts.append("</clipPath>")
        return f"url(#{name})"

    # --- time ---------------------------------------------------------------------------------------------------------

    def percent(self, time: float) -> float:
        return 100 * (LEAD + time * self.run) / self.seconds

    def moving(self, frames: Frames) -> str:
        """The class of all elements that move so: what was before the first frame is as then, and at the end of the
        pause the way back begins. Frames that straight lines between their neighbours give anyway must not be said."""
        first, last = frames[0][1], frames[-1][1]
        at = [(0.0, first), *((self.percent(time), css) for time, css in frames)]
        at += [(100 * self.again / self.seconds, last), (100.0, first)]
        said: dict[str, str] = {}
        for k, (percent, css) in enumerate(at):
            around = at[max(0, k - 1) : k + 2]
            if k == 0 or len(around) < 3 or any(other != css for _, other in around):
                said[f"{number(percent, 2)}%"] = css
        grouped: dict[str, list[str]] = {}
        for percent, css in said.items():
            grouped.setdefault(css, []).append(percent)
        rule = "".join(f"{','.join(percents)}{{{css}}}" for css, percents in grouped.items())
        return self.classes.setdefault(rule, f"a{len(self.classes)}")

    def comes(self, time: float, until: float | None = None) -> Frames:
        """Is seen from then on, or up to `until`."""
        frames = [] if time <= 0 else [(time - BLINK, seen(0)), (time, seen(1))]
        if until is not None:
            frames += [] if frames else [(0.0, seen(1))]
            frames += [(until - BLINK, seen(1)), (until, seen(0))]
        return frames

    def told(self, x: float, y: float, texts: Sequence[tuple[float, str]], **how) -> None:
        """Texts in one place, each from its time on until the next; the last stays."""
        ends = [time for time, _ in texts[1:]]
        for (time, text), end in zip(texts, ends):
            self.text(x, y, text, frames=self.comes(time, end), opacity=0, **how)
        time, text = texts[-1]
        self.text(x, y, text, frames=self.comes(time), **how)

    # --- the file -----------------------------------------------------------------------------------------------------

    @property
    def style(self) -> str:
        """It begins where the pause does: the first thing seen is the whole picture."""
        if not self.classes:
            return ""
        clock = f"[class]{{animation:{number(self.seconds)}s linear -{number(self.paused)}s infinite}}"
        rules = "".join(f"@keyframes {name}{{{rule}}}" for rule, name in self.classes.items())
        names = "".join(f".{name}{{animation-name:{name}}}" for name in self.classes.values())
        clock += "circle{vector-effect:non-scaling-stroke}"  # discs grow, their outlines do not
        still = "@media print,(prefers-reduced-motion:reduce){[class]{animation:none}}"
        return f"<style>{clock}{names}{rules}{still}</style>"

    @property
    def svg(self) -> str:
        """One <svg> element with its words as title and alternative text."""
        size = f'width="{PAGE}" height="{self.height}" viewBox="0 0 {PAGE} {self.height}"'
        how = f'xmlns="http://www.w3.org/2000/svg" font-family="{FAMILY}" font-size="12" fill="{GREY}"'
        return accessible(f"<svg {size} {how}>{self.style}{''.join(self.parts)}</svg>", self.words) + "\n"
