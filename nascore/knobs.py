"""Fields that a user may set, of a budget or a recipe: each is declared once, and the command line's
option and the notebook's widget are made from that."""

import dataclasses

from nascore.errors import require

KINDS = {"int": int, "float": float, "str": str, "bool": bool}
WORDS = {"true": True, "false": False, "1": True, "0": False}


def knob(
    default, label: str, help: str, *, unit: str = "", low=None, high=None, choices: tuple = ()
):
    """A field with its label, one sentence of help, its unit and what it may be: one of `choices`, or
    from `low` to `high`."""
    metadata = {
        "label": label,
        "help": help,
        "unit": unit,
        "low": low,
        "high": high,
        "choices": choices,
    }
    return dataclasses.field(default=default, metadata=metadata)


def kind_of(f: dataclasses.Field) -> type:
    """int, float, str or bool; a module may have its annotations as texts."""
    return f.type if isinstance(f.type, type) else KINDS[f.type]


def bounds_of(f: dataclasses.Field) -> str:
    """What the field may be, in words."""
    about = f.metadata
    if kind_of(f) is bool:
        return "true or false"
    if about["choices"]:
        return " or ".join(map(str, about["choices"]))
    return f"{about['low']} to {about['high']}"


def check_field(f: dataclasses.Field, value):
    """`value` as the type that the field `f` wants, or a `UserError` that gives its bounds."""
    kind = kind_of(f)
    about = f.metadata
    if kind is bool:
        return _truth(f, value)
    try:
        exact = kind(value)
        good = not isinstance(value, bool) and (kind is str or float(value) == exact)
    except (TypeError, ValueError, OverflowError):
        exact = value
        good = False
    if about["choices"]:
        good = good and exact in about["choices"]
    else:
        good = good and about["low"] <= exact <= about["high"]
    name = {int: "a whole number ", float: "a number ", str: ""}[kind]
    allowed = f"{name}{'' if about['choices'] else 'from '}{bounds_of(f)}"
    require(good, f.name, exact, allowed)
    return exact


def _truth(f: dataclasses.Field, value) -> bool:
    known = value if isinstance(value, bool) else WORDS.get(str(value).lower())
    require(known is not None, f.name, value, "true or false")
    return known
