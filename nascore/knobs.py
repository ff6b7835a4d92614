"""Fields that a user may set, of a budget or a recipe: each is declared once, and the command
line's option and the notebook's widget are made from that."""

from collections.abc import Sequence
from dataclasses import Field, field
from typing import Any

from nascore.errors import require

TYPES = {"int": int, "float": float, "str": str, "bool": bool}
NUMBERS = {int: "a whole number ", float: "a number "}
WORDS = {"true": True, "false": False, "1": True, "0": False}


def knob(
    default: Any,
    label: str,
    help: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[int | str] = (),
) -> Any:
    """A field with its label, one sentence of help, its unit and what it may be: one of `choices`,
    or from `low` to `high`."""
    metadata = {
        "label": label,
        "help": help,
        "unit": unit,
        "low": low,
        "high": high,
        "choices": choices,
    }
    return field(default=default, metadata=metadata)


def type_of(f: Field) -> type:
    """int, float, str or bool; a module may have its annotations as texts."""
    found = f.type
    return found if isinstance(found, type) else TYPES[found]


def bounds_of(f: Field) -> str:
    """What the field may be, in words."""
    about = f.metadata
    if type_of(f) is bool:
        return "true or false"
    if choices := about["choices"]:
        return " or ".join(map(str, choices))
    return f"{about['low']} to {about['high']}"


def check_field(f: Field, value: Any) -> Any:
    """`value` as the type that the field `f` wants, or a `UserError` that gives its bounds."""
    expected = type_of(f)
    about = f.metadata
    if expected is bool:
        found = str(value).lower()  # of True and False too
        require(found in WORDS, f.name, value, bounds_of(f))
        return WORDS[found]
    try:
        exact = expected(value)
        good = not isinstance(value, bool) and (expected is str or float(value) == exact)
    except (TypeError, ValueError, OverflowError):
        exact = value
        good = False
    allowed = NUMBERS.get(expected, "")
    if choices := about["choices"]:
        good = good and exact in choices
    else:
        allowed += "from "
        good = good and about["low"] <= exact <= about["high"]
    require(good, f.name, exact, allowed + bounds_of(f))
    return exact
