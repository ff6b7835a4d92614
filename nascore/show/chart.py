"""What a figure of the course is: a `Chart`, a matplotlib Figure that says in words what it
shows. Figures are transparent, in mid-grey and Okabe and Ito's colours, to read on light and
dark pages, and come out the same to the byte each time (no date, a fixed salt)."""

import re
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from re import Match, sub
from typing import Any

from cycler import cycler
from matplotlib import rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from nascore.errors import one_of
from nascore.files import PathName, named, write_bytes
from nascore.show.canvas import GREY, accessible
from nascore.show.drawing import FAMILIES
from nascore.show.png import bundle

_FAMILIES = ("separable", "max pool", "convolution", "skip", "average pool")
COLOURS = [*(FAMILIES[name][0] for name in _FAMILIES), GREY]
DASHES = ["-", "--", "-.", ":", (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1))]  # never colour alone
MARKERS = "os^DvP"
History = Sequence[Mapping]  # the rows of a search
# Hundredths of a point are enough for a path, and half the size.
_DIGITS = re.compile(r"(?<=\.\d\d)\d+")
SHADES = LinearSegmentedColormap.from_list("nascore", ["#E3F3FC", "#3A96CE", "#003F63"])
STYLE: Any = {
    "text.color": GREY,
    "axes.labelcolor": GREY,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.grid": True,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "axes.prop_cycle": cycler(color=COLOURS, linestyle=DASHES),
    "axes.axisbelow": True,
    "xtick.bottom": False,  # the grid shows where they are
    "ytick.left": False,
    "axes.formatter.useoffset": False,
    "figure.dpi": 100,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "svg.hashsalt": "nascore",
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"],
}


def style() -> None:
    """Give a notebook's own matplotlib figures the course's look: SVG, transparent, without a
    date."""
    rcParams.update(STYLE)
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    shell = get_ipython()
    if shell is not None:
        set_matplotlib_formats("svg", metadata={"Date": None})
        formatter = shell.display_formatter.formatters["image/svg+xml"]
        # Else IPython's own for Figure wins, which has no words.
        formatter.for_type(Chart, lambda chart: chart.svg)


# Of a file of each kind, without a date.
METADATA: dict[str, dict[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "png": {},
    "pdf": {"CreationDate": None},
}


class Chart(Figure):
    """A figure that shows itself in a notebook, with `words` as its alternative text."""

    words = ""

    @property
    def svg(self) -> str:
        """One <svg> element with the words as its title and alternative text."""
        text = self._rendered("svg").decode()
        short = sub(r'\bd="[^"]+"', _shortened, text)
        short = sub(r"font-family: [^;]*", "font-family: Helvetica, Arial, sans-serif", short)
        return accessible(short, self.words)

    def save(self, path: PathName) -> Path:
        """Write the figure as .svg, .png or .pdf, as its suffix says. Returns the path."""
        path = check_suffix(path)
        kind = path.suffix.lower()[1:]
        data = self.svg.encode() if kind == "svg" else self._rendered(kind, 160)
        write_bytes(path, data)
        return path

    def _rendered(self, kind: str, dots: float | str = "figure") -> bytes:
        content = BytesIO()
        with rc_context(STYLE):
            self.savefig(content, format=kind, dpi=dots, metadata=METADATA[kind])
        return content.getvalue()

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict, dict]:
        width, height = self.get_size_inches() * self.dpi

        def render(times: float) -> bytes:
            return self._rendered("png", times * self.dpi)

        return bundle(self.svg, render, self.words, (width, height))

    def __repr__(self) -> str:
        return self.words

    __str__ = __repr__  # Figure's own says its size


def _shortened(path: Match[str]) -> str:
    return _DIGITS.sub("", path[0]).replace("\n", "")


def check_suffix(path: PathName) -> Path:
    """Raises `UserError` where a figure cannot be written by that name."""
    path = named(path, "file")
    known = [f".{kind}" for kind in METADATA]
    one_of(f"a figure's suffix in {path}", path.suffix.lower(), known)
    return path


styled = rc_context(STYLE)  # a decorator, whatever style the notebook has


def panels(
    columns: int = 1,
    height: float = 3.0,
    width: float = 9.0,
    *,
    sharey: bool = False,
    width_ratios: Sequence[float] | None = None,
) -> tuple[Chart, Sequence[Axes]]:
    """A new figure and its axes side by side; `width` and `height` in inches (9 inches fill a
    notebook)."""
    chart = Chart(figsize=(width, height), layout="constrained")
    every = chart.subplots(1, columns, squeeze=False, sharey=sharey, width_ratios=width_ratios)
    return chart, every[0]
