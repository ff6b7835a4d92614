"""A graph as a picture, laid out by Graphviz: SVG with words beside it, PNG, PDF, DOT."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from re import Match, sub
from threading import Lock

from graphviz import CalledProcessError, Digraph, ExecutableNotFound, Source

from nascore.errors import UserError
from nascore.files import PathName, write_bytes
from nascore.show.png import bundle

GREY = "#7a7a7a"  # contrast 4.3 on white as on near-black
FAMILY = "Helvetica,Arial,sans-serif"
FONT = {"fontname": FAMILY, "fontsize": "14", "fontcolor": "#1b1b1b"}
# Graphviz's attributes of the picture, of its nodes and of its edges.
GRAPH = FONT | {
    "fontcolor": GREY,
    "rankdir": "LR",
    "bgcolor": "transparent",
    "nodesep": "0.12",
    "ranksep": "0.28",
    "mclimit": "2",
    "nslimit": "2",
}
NODES = FONT | {
    "shape": "box",
    "style": "filled",
    "color": GREY,
    "height": "0.34",
    "width": "0.34",
    "margin": "0.08,0.03",
}
EDGES = {"color": GREY, "penwidth": "1.6", "arrowsize": "0.7"}
PAGE = 940  # pixels, what a notebook gives a picture
SHIFTED = re.compile(r'baseline-shift="sub" font-size="([\d.]+)"')
SIZE = re.compile(r'width="([\d.]+)pt" height="([\d.]+)pt"')
_lock = Lock()  # Graphviz is C code on global state


def accessible(svg: str, words: str) -> str:
    """The bare <svg> element of a document, never wider than its page, with `words` as title and
    alternative text."""
    words = escape(words)
    _, body = sub(r"(?s)<!--.*?-->\s*", "", svg).split("<svg", 1)
    attributes, content = body.split(">", 1)
    head = f'<svg role="img" aria-label="{words}" style="max-width:100%;height:auto"'
    return f"{head}{attributes}>\n<title>{words}</title>{content}"


@dataclass(frozen=True)
class Drawing:
    """A picture of a genotype. Shows itself in a notebook; `source` is its DOT text, `words`
    says the same in words."""

    source: str
    words: str

    @cached_property
    def _drawn(self) -> str:
        return _render(self.source, "svg").decode()

    @property
    def width(self) -> float:
        """Of the picture as it was laid out, in points; a page shows a wide one smaller."""
        return _size(self._drawn)[0]

    @cached_property
    def svg(self) -> str:
        """One self-contained <svg> element with a title and alternative text, without scripts or
        references."""
        svg = self._drawn.replace("&#160;", " ")
        # The names of nodes in the DOT text, and ids, which would meet the next drawing's.
        svg = sub(r"(?s)<title>.*?</title>\s*", "", svg)
        svg = sub(r' (id|class|xmlns:xlink|font-family)="[^"]*"', "", svg)
        svg = SHIFTED.sub(_lowered, svg)
        width, height = _in_pixels(svg)
        pixels = f'width="{width:.0f}" height="{height:.0f}" font-family="{FAMILY}"'
        return accessible(SIZE.sub(pixels, svg, count=1), self.words)

    def save(self, path: PathName) -> Path:
        """Write the picture in the format that the suffix names: .svg, .png, .pdf or .dot.
        Returns the path."""
        path = Path(path)
        match path.suffix.lower():
            case ".svg":
                data = f'<?xml version="1.0" encoding="UTF-8"?>\n{self.svg}'.encode()
            case ".png":
                data = self._png(160)
            case ".pdf":
                data = _render(self.source, "pdf")
            case ".dot":
                data = self.source.encode()
            case suffix:
                found = f"found {suffix!r} in {path}"
                raise UserError(f"a picture's suffix: {found}, allowed: .svg, .png, .pdf, .dot")
        try:
            write_bytes(path, data)
        except OSError as error:
            raise UserError(f"cannot write the picture {path}: {error.strerror}") from None
        return path

    def _png(self, dots: float) -> bytes:
        """The picture with so many dots an inch."""
        return _render(self.source.replace("{", f"{{\n\tdpi={dots:.2f}", 1), "png")

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict, dict]:
        size = _in_pixels(self._drawn)
        dots = 72 * size[0] / self.width
        return bundle(self.svg, lambda times: self._png(times * dots), self.words, size)

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return self.words


def _size(svg: str) -> tuple[float, float]:
    """Width and height of what Graphviz drew, in points."""
    width, height = SIZE.findall(svg)[0]
    return float(width), float(height)


def _in_pixels(svg: str) -> tuple[float, float]:
    """Its size on a page: a pixel a point, and no more than a notebook is wide. JupyterLab shows a
    picture as large as it says it is."""
    width, height = _size(svg)
    scale = min(1.0, PAGE / width)
    return width * scale, height * scale


def _lowered(text: Match[str]) -> str:
    """A subscript's size and place, as the PNG has it: few browsers shift a baseline."""
    return f'dy="0.25em" font-size="{0.83 * float(text[1]):.1f}"'


def subscripts(text: str) -> str:
    """A label in which `c_{k}` has a real subscript; letters, digits and commas, which need no
    escape."""
    lowered = sub(r"_\{(.*?)\}", r"<SUB>\1</SUB>", text)
    return f"<{lowered}>"


def page() -> Digraph:
    """An empty picture, which runs from left to right."""
    return Digraph(graph_attr=GRAPH, node_attr=NODES, edge_attr=EDGES)


@contextmanager
def _quiet() -> Iterator[None]:
    """Fontconfig writes warnings straight to file descriptor 2; in a notebook they would become
    a cell's output."""
    try:
        saved = os.dup(2)
    except OSError:  # no standard error to keep quiet
        yield
        return
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _render(source: str, format: str) -> bytes:
    with _lock, _quiet():
        with suppress(ImportError):
            from pygraphviz import AGraph

            return AGraph(string=source).draw(format=format, prog="dot")
        try:
            return Source(source).pipe(format=format)
        except ExecutableNotFound:
            needs = "pygraphviz (pip install pygraphviz) or Graphviz's program dot"
            raise UserError(f"drawing needs {needs}") from None
        except (CalledProcessError, BrokenPipeError) as error:  # it did not read it all
            raise UserError(f"Graphviz's program dot failed: {error}") from None
