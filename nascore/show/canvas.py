"""A graph as a picture, laid out by Graphviz: SVG with words beside it, PNG, PDF, DOT."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from threading import Lock

from graphviz import CalledProcessError, Digraph, ExecutableNotFound, Source

from nascore.errors import UserError
from nascore.files import PathName, write_bytes

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
_lock = Lock()  # Graphviz is C code on global state


def accessible(svg: str, words: str) -> str:
    """The bare <svg> element of a document, never wider than its page, with `words` as title and
    alternative text."""
    words = escape(words)
    _, body = re.sub(r"(?s)<!--.*?-->\s*", "", svg).split("<svg", 1)
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
    def svg(self) -> str:
        """One self-contained <svg> element with a title and alternative text, without scripts or
        references."""
        svg = _render(self.source, "svg").decode().replace("&#160;", " ")
        # The names of nodes in the DOT text, and ids, which would meet the next drawing's.
        svg = re.sub(r"(?s)<title>.*?</title>\s*", "", svg)
        svg = re.sub(r' (id|class|xmlns:xlink|font-family)="[^"]*"', "", svg)
        svg = re.sub(r'width="([\d.]+)pt" height="([\d.]+)pt"', _in_pixels, svg, count=1)
        return accessible(svg, self.words)

    def save(self, path: PathName) -> Path:
        """Write the picture in the format that the suffix names: .svg, .png, .pdf or .dot.
        Returns the path."""
        path = Path(path)
        match path.suffix.lower():
            case ".svg":
                data = f'<?xml version="1.0" encoding="UTF-8"?>\n{self.svg}'.encode()
            case ".png":
                data = _render(self.source.replace("{", "{\n\tdpi=160", 1), "png")
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

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return self.words


def _in_pixels(size: re.Match[str]) -> str:
    """A picture's size in points as pixels, no more than a notebook is wide: JupyterLab shows it as
    large as it says it is."""
    width, height = map(float, size.groups())
    scale = min(1.0, PAGE / width)
    return f'width="{width * scale:.0f}" height="{height * scale:.0f}" font-family="{FAMILY}"'


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
