"""The controls of a panel, made from the knobs of a `Budget`: each says what it is under the mouse,
and one that is set to what it may not be is told so in words."""

from collections.abc import Sequence
from dataclasses import Field
from dataclasses import fields as fields_of
from html import escape
from pathlib import Path
from typing import Any

from ipywidgets import Dropdown, FloatText, IntText, Text, Widget

from nascore.data import NAMES
from nascore.errors import look_up
from nascore.knobs import type_of
from nascore.registry import Budget

FOLDER = "a folder of images"
FOLDERS = "with train/CLASS/*.jpg and test/CLASS/*.jpg, or CLASS/*.jpg alone"
DATA = "what architectures learn from; of the table, what they learned is known"
STYLE = {"description_width": "11em"}
WIDTH = {"width": "23em"}


def explained(kind: type[Widget], label: str, help: str, **options: Any) -> Widget:
    """A widget whose label has `help` under the mouse."""
    text = f'<abbr title="{escape(help)}">{escape(label)}</abbr>'
    return kind(
        description=text,
        description_allow_html=True,
        tooltip=help,
        style=STYLE,
        layout=WIDTH,
        **options,
    )


def control(field: Field, value: Any) -> Widget:
    """The widget for one knob of a `Budget`. It takes any number: `Budget` says what is wrong with
    one."""
    about = field.metadata
    label = about["label"]
    unit = about["unit"]
    if unit not in label:
        label += f" ({unit})"
    if choices := about["choices"]:
        return explained(Dropdown, label, about["help"], options=choices, value=value)
    kind = IntText if type_of(field) is int else FloatText
    return explained(kind, label, about["help"], value=value)


def controls(start: Budget, names: Sequence[str] | None) -> dict[str, Widget]:
    """The widgets of the knobs of those names, or of all, by their names, at their values in
    `start`."""
    known = {field.name: field for field in fields_of(start)}
    shown = known if names is None else names
    return {name: control(look_up(known, name, "field"), getattr(start, name)) for name in shown}


class Source:
    """Where the data come from: a name or a folder; what a notebook made stays."""

    def __init__(self, data: Any, tables: bool) -> None:
        self.made = None if isinstance(data, str | Path) else data
        first, *others = NAMES
        names = [first, *["nasbench201"] * tables, *others, FOLDER]
        if self.made is not None:
            names = [getattr(data, "name", "of this notebook")]
        chosen = str(data) if str(data) in names else names[-1]
        self.choice = explained(Dropdown, "data", DATA, options=names, value=chosen)
        self.folder = explained(Text, "folder", FOLDERS)
        self.widgets = [self.choice, self.folder]
        if chosen == FOLDER:
            self.folder.value = str(data)
        self.choice.observe(self._ask, "value")
        self._ask()

    def _ask(self, change: object = None) -> None:
        self.folder.layout.display = "" if self.choice.value == FOLDER else "none"

    @property
    def value(self) -> Any:
        """What `nascore.run` takes as `data`."""
        if self.made is not None:
            return self.made
        return self.folder.value if self.choice.value == FOLDER else self.choice.value
