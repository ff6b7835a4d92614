"""A picture as a notebook stores it: SVG, and a small PNG beside it. JupyterLab shows SVG only in
notebooks that it trusts, which a fresh clone's are not, and PNG always."""

from base64 import b64encode
from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image
from scipy.spatial import KDTree

MOST_BYTES = 40_000
SIZES = ((2.0, 128), (2.0, 32), (1.5, 32), (1.0, 32))  # times the page's, and colours


def bundle(
    svg: str, render: Callable[[float], bytes], words: str, size: tuple[float, float]
) -> tuple[dict, dict]:
    """What `_repr_mimebundle_` returns of a picture of that size in pixels; `render` makes its PNG
    at so many times the size."""
    width, height = map(round, size)
    png = b64encode(small(render)).decode()
    shown = {"image/svg+xml": svg, "image/png": png, "text/plain": words}
    return shown, {"image/png": {"width": width, "height": height}}


def small(render: Callable[[float], bytes]) -> bytes:
    """A PNG of at most `MOST_BYTES`, or the smallest: twice as large as the page shows it, for fine
    screens, or less where that takes too many."""
    for times, colours in SIZES:
        png = in_few_colours(render(times), colours)
        if len(png) <= MOST_BYTES:
            break
    return png


def in_few_colours(png: bytes, most: int) -> bytes:
    """Each pixel in the nearest of the most frequent colours, of lines, tints and text."""
    with Image.open(BytesIO(png)) as image:
        pixels = np.array(image.convert("RGBA"))
    pixels[pixels[..., 3] == 0] = 0  # what is transparent has one colour
    codes = pixels.view(np.uint32)[..., 0]  # of four bytes
    found, which, counts = np.unique(codes, return_inverse=True, return_counts=True)
    colours = found[:, None].view(np.uint8)
    frequent = colours[np.argsort(-counts, kind="stable")[:most]]
    _, nearest = KDTree(frequent).query(colours)
    indexed = Image.fromarray(nearest[which].astype(np.uint8).reshape(codes.shape))
    indexed.putpalette(frequent.tobytes(), "RGBA")
    content = BytesIO()
    indexed.save(content, "PNG", optimize=True)
    return content.getvalue()
