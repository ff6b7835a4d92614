"""A picture in plain SVG, for the figures whose every place is given: pixels from the upper left corner, no text below
11 pixels at the width of a notebook, colours that stand out on white as on near-black."""

from collections.abc import Sequence
from html import escape
from math import atan2, cos, radians, sin

import numpy as np

from nascore.show.canvas import GREY, PAGE, accessible

INK = "#1b1b1b"  # on a tint
Point = tuple[float, float]


def toward(place: Point, degrees: float, length: float) -> Point:
    """The point that far from `place`, 0 degrees being to the right and 90 down."""
    return place[0] + length * cos(radians(degrees)), place[1] + length * sin(radians(degrees))


class Sheet:
    """What is drawn later lies above."""

    def __init__(self, height: float, words: str):
        self.height = height
        self.words = words
        self.parts: list[str] = []

    @property
    def svg(self) -> str:
        head = f'<svg width="{PAGE}" height="{self.height}" viewBox="0 0 {PAGE} {self.height}"'
        head += ' xmlns="http://www.w3.org/2000/svg" font-family="Helvetica,Arial,sans-serif">'
        return accessible("\n".join([head, *self.parts, "</svg>"]), self.words)

    def add(self, name: str, text: str = "", **attributes: object) -> None:
        given = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in attributes.items())
        self.parts.append(f"<{name}{given}>{escape(text)}</{name}>" if text else f"<{name}{given}/>")

    def say(self, text: str, x: float, y: float, size: float = 12, fill: str = GREY, anchor: str = "middle", **more):
        """Lines of text, centred on their place or beginning there."""
        lines = text.split("\n")
        for k, line in enumerate(lines):
            down = y + size * (0.35 + 1.25 * (k - (len(lines) - 1) / 2))
            self.add("text", line, x=x, y=f"{down:.1f}", font_size=size, fill=fill, text_anchor=anchor, **more)

    def disc(self, place: Point, text: str, fill: str, radius: float = 13) -> None:
        self.add("circle", cx=place[0], cy=place[1], r=radius, fill=fill, stroke=GREY)
        self.say(text, *place, size=13, fill=INK)

    def box(self, text: str, x: float, y: float, width: float, height: float, fill: str, **more) -> None:
        """A box around its place, with its text."""
        options = dict(rx=5, fill=fill, stroke=GREY) | more
        self.add("rect", x=x - width / 2, y=y - height / 2, width=width, height=height, **options)
        if text:
            self.say(text, x, y, fill=INK)

    def line(self, points: Sequence[Point], colour: str = GREY, width: float = 1.6, dash: str = "", head: bool = True):
        """From the first point to the last, straight, or bent (a cubic) where there are two between them. Returns the
        middle of the line and the direction across it."""
        start, *bend, end = (np.array(point, float) for point in points)
        before = bend[-1] if bend else start
        angle = atan2(*(end - before)[::-1])
        if head:
            long, wide = 5 + 1.1 * width, 2.6 + 0.75 * width
            back = end - long * np.array([cos(angle), sin(angle)])
            side = wide * np.array([-sin(angle), cos(angle)])
            corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in (end, back + side, back - side))
            self.add("polygon", points=corners, fill=colour)
            end = back + 0.5 * (end - back) / long
        steps = [*bend, end] if bend else [end]
        path = f"M{start[0]:.1f},{start[1]:.1f} {'C' if bend else 'L'}" + " ".join(f"{x:.1f},{y:.1f}" for x, y in steps)
        dashed = {"stroke_dasharray": dash} if dash else {}
        self.add("path", d=path, fill="none", stroke=colour, stroke_width=f"{width:.1f}", **dashed)
        control = bend or [start + (end - start) / 3, start + 2 * (end - start) / 3]
        middle = (start + 3 * control[0] + 3 * control[1] + end) / 8
        along = end + control[1] - control[0] - start
        across = np.array([-along[1], along[0]]) / np.hypot(*along)
        return middle, across
