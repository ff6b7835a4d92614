"""Charts whose SVG has only what is seen: a notebook stores many."""

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from matplotlib.axes import Axes

from nascore.show.chart import Chart

SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"
FAMILY = "font-family: Helvetica, Arial, sans-serif; "
UNTURNED = re.compile(r"rotate\(-0 [^)]*\)")
REFERENCE = re.compile(r"(?:url\(|^)#([\w-]+)")  # not a colour
ElementTree.register_namespace("", SVG[1:-1])
ElementTree.register_namespace("xlink", LINK[1:-5])


class Light(Chart):
    """A chart without matplotlib's own notes in its SVG."""

    @property
    def svg(self) -> str:
        return small(super().svg)


def panels(
    columns: int = 1,
    height: float = 3.0,
    width: float = 9.0,
    *,
    sharey: bool = False,
    width_ratios: Sequence[float] | None = None,
) -> tuple[Light, Sequence[Axes]]:
    """A new light figure and its axes side by side; `width` and `height` in inches, as the library's `panels`."""
    chart = Light(figsize=(width, height), layout="constrained")
    every = chart.subplots(1, columns, squeeze=False, sharey=sharey, width_ratios=width_ratios)
    return chart, every[0]


def with_dots_as_image(chart: Chart) -> Chart:
    """The same chart, its single points drawn as an image: a thousand marks would be large."""
    for axes in chart.axes:
        for line in axes.lines:
            if line.get_marker() not in ("", "None"):
                line.set_rasterized(True)
    return chart


def small(svg: str) -> str:
    """The same picture in fewer bytes: no metadata, no names that nothing refers to, no groups around nothing, places
    to a tenth of a pixel, the font said once."""
    root = ElementTree.fromstring(svg)
    referred = {name for element in root.iter() for name in _references(element)}
    for element in root.iter():
        _lighten(element, referred)
    _ungroup(root)
    root.set("style", f"{root.get('style')};{FAMILY.strip('; ')}")
    return ElementTree.tostring(root, encoding="unicode")


def _references(element: ElementTree.Element) -> list[str]:
    """The names of other elements that one needs."""
    said = [element.get("clip-path", ""), element.get(LINK, ""), element.get("style", "")]
    return [name for text in said for name in REFERENCE.findall(text)]


def _lighten(element: ElementTree.Element, referred: set[str]) -> None:
    """Take from an element what does not show."""
    if element.get("id") not in referred:
        element.attrib.pop("id", None)
    if UNTURNED.fullmatch(element.get("transform", "")):
        del element.attrib["transform"]
    if element.tag in (f"{SVG}text", f"{SVG}use"):
        for name in {"x", "y"} & element.attrib.keys():
            element.set(name, f"{float(element.get(name)):.1f}")
    if "style" in element.attrib:
        element.set("style", element.get("style").replace(FAMILY, ""))
    for text in ("text", "tail"):  # line breaks between elements
        if not (getattr(element, text) or "").strip():
            setattr(element, text, None)


def _ungroup(element: ElementTree.Element) -> None:
    """In the place of each group without attributes what is in it; nothing for metadata and empty definitions."""
    children = []
    for child in element:
        _ungroup(child)
        if child.tag == f"{SVG}g" and not child.attrib:
            children += list(child)
        elif child.tag != f"{SVG}metadata" and not (child.tag == f"{SVG}defs" and len(child) == 0):
            children.append(child)
    element[:] = children
