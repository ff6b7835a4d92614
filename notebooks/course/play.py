"""A control to play with: a slider and the picture that follows it."""

from collections.abc import Callable
from typing import Any

from IPython.display import display
from ipywidgets import FloatLogSlider, FloatSlider

Slider = FloatSlider | FloatLogSlider


def slider(name: str, value: float, low: float, high: float, step: float) -> FloatSlider:
    """A slider of the course's look, which answers when it is let go."""
    looks: dict[str, Any] = {"layout": {"width": "30em"}, "style": {"description_width": "9em"}}
    return FloatSlider(value, min=low, max=high, step=step, description=name, continuous_update=False, **looks)


def play(draw: Callable[[float], object], control: Slider) -> None:
    """Show the control, and below it `draw(value)`, which is drawn anew whenever the control is moved. The picture
    is an output of its own: it is stored with the notebook, and seen where no kernel is."""
    display(control)
    picture = display(draw(control.value), display_id=True)

    def follow(change: dict) -> None:
        picture.update(draw(change["new"]))

    control.observe(follow, "value")
