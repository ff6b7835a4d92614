"""A picture with a control below it: move it, and the picture is drawn anew."""

from collections.abc import Callable, Mapping
from typing import Any

from ipywidgets import FloatSlider, HBox, IntSlider, Widget

WIDTH = {"description_width": "initial"}


def slider(name: str, low: float, high: float, value: float, step: float = 1) -> Widget:
    """A slider of core widgets that answers when it is let go: of whole numbers if `step` is one."""
    kind = IntSlider if isinstance(step, int) else FloatSlider
    bounds = {"min": low, "max": high, "step": step, "value": value}
    return kind(description=name, continuous_update=False, style=WIDTH, **bounds)


def play(picture: Callable[..., Any], **controls: Widget) -> None:
    """Show `picture(name=value, ...)` of the controls' values, and draw it anew when one changes. The picture is an
    output of its own, so that it stays on the page without a front end, where controls are not."""
    from IPython.display import display

    def values() -> Mapping[str, Any]:
        return {name: control.value for name, control in controls.items()}

    display(HBox(list(controls.values())))
    shown = display(picture(**values()), display_id=True)

    def redraw(change: object) -> None:
        shown.update(picture(**values()))

    for control in controls.values():
        control.observe(redraw, "value")
