"""What a figure of the course is: a `Chart`, a matplotlib Figure that says in words what it
shows. Figures are transparent, in mid-grey and Okabe and Ito's colours, to read on light and
dark pages, and come out the same to the byte each time (no date, a fixed salt)."""

import io
import os
import re
from pathlib import Path

import matplotlib
from cycler import cycler
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from nascore.errors import one_of
from nascore.files import named, write_whole
from nascore.show.canvas import GREY, accessible
from nascore.show.drawing import FAMILIES

_FAMILIES = ("separable", "max pool", "convolution", "skip", "average pool")
COLOURS = [*(FAMILIES[name][0] for name in _FAMILIES), GREY]
DASHES = ["-", "--", "-.", ":", (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1))]  # never colour alone
MARKERS = "os^DvP"
_DIGITS = re.compile(
    r"(?<=\.\d\d)\d+"
)  # hundredths of a point are enough for a path, and half the size
SHADES = LinearSegmentedColormap.from_list("nascore", ["#E3F3FC", "#3A96CE", "#003F63"])
STYLE = {
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), GREY
    ),
    **dict.fromkeys(
        ("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor"), "none"
    ),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    **{
        "font.size": 10,
        "axes.titlesize": 11,
        "axes.grid": True,
        "grid.color": GREY,
        "grid.alpha": 0.25,
    },
    **{"axes.prop_cycle": cycler(color=COLOURS, linestyle=DASHES), "axes.axisbelow": True},
    **dict.fromkeys(("xtick.bottom", "ytick.left"), False),  # the grid shows where they are
    **{"axes.formatter.useoffset": False, "figure.dpi": 100, "lines.linewidth": 1.8},
    **{"svg.fonttype": "none", "svg.hashsalt": "nascore"},
    **{
        "font.family": "sans-serif",
        "font.sans-serif": ["Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"],
    },
}


def style() -> None:
    """Give a notebook's own matplotlib figures the course's look: SVG, transparent, without a
    date."""
    matplotlib.rcParams.update(STYLE)
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    if get_ipython() is not None:
        set_matplotlib_formats("svg", metadata={"Date": None})
        formatter = get_ipython().display_formatter.formatters["image/svg+xml"]
        formatter.for_type(
            Chart, lambda chart: chart.svg
        )  # else IPython's own for Figure wins, which has no words


class Chart(Figure):
    """A figure that shows itself in a notebook as SVG, with `words` as its alternative text."""

    words = ""

    @property
    def svg(self) -> str:
        text = self._rendered("svg").decode()
        short = re.sub(
            r'\bd="[^"]+"', lambda path: _DIGITS.sub("", path[0]).replace("\n", ""), text
        )
        short = re.sub(r"font-family: [^;]*", "font-family: Helvetica, Arial, sans-serif", short)
        return accessible(short, self.words)

    def save(self, path: str | os.PathLike) -> Path:
        """Write the figure as .svg, .png or .pdf, as its suffix says. Returns the path."""
        path = check_suffix(path)
        kind = path.suffix.lower()[1:]
        data = self.svg.encode() if kind == "svg" else self._rendered(kind)
        write_whole(path, lambda file: file.write(data))
        return path

    def _rendered(self, kind: str) -> bytes:
        content = io.BytesIO()
        with matplotlib.rc_context(STYLE):
            self.savefig(content, format=kind, **_SAVED[kind])
        return content.getvalue()

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"image/svg+xml": self.svg, "text/plain": self.words}

    def __repr__(self) -> str:
        return self.words

    __str__ = __repr__  # Figure's own says its size


_SAVED = {  # without a date
    "svg": {"metadata": {"Date": None, "Creator": None}},
    "png": {"dpi": 160},
    "pdf": {"dpi": 160, "metadata": {"CreationDate": None}},
}


def check_suffix(path: str | os.PathLike) -> Path:
    """Raises `UserError` where a figure cannot be written by that name."""
    path = named(path, "file")
    known = [f".{kind}" for kind in _SAVED]
    one_of(f"a figure's suffix in {path}", path.suffix.lower(), known)
    return path


styled = matplotlib.rc_context(
    STYLE
)  # a decorator: the course's style, whatever the notebook has set


def panels(columns: int = 1, height: float = 3.0, width: float = 9.0, **options):
    """A new figure and its axes side by side; `width` and `height` in inches (9 inches fill a
    notebook)."""
    chart = Chart(figsize=(width, height), layout="constrained")
    return chart, chart.subplots(1, columns, squeeze=False, **options)[0]
