"""The one kind of error that is the user's to mend: one line that says what was found and what
is allowed."""

import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")


class UserError(ValueError):
    """Raised for anything a user can get wrong. The command line prints it as one line and exits
    with status 2."""

    def __init__(self, message: str) -> None:
        super().__init__(plain(message))


def plain(text: object) -> str:
    """`text` on one line that any terminal can show: what is no character (a control sequence in a
    file's name, a byte that is no UTF-8) is written as Python writes it, `\\x1b`."""
    line = " ".join(str(text).split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def say(text: object) -> None:
    """One line on standard error, where there is one that is read."""
    with suppress(OSError):
        if sys.stderr is not None:
            print(f"nascore: {plain(text)}", file=sys.stderr)


def reason(error: BaseException) -> str:
    """What an exception of the user's code says, `ValueError: 7`, also where its text fails."""
    name = type(error).__name__
    try:
        return f"{name}: {error}"
    except Exception:
        return name


def shorten(value: object, limit: int = 60) -> str:
    """`repr(value)` cut to `limit` characters, so that an error stays on one line whatever was
    found."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= limit else text[: limit - 3] + "..."


Raised = type[UserError]


def refuse(
    field: str, found: object, allowed: Iterable[object], error: Raised = UserError
) -> NoReturn:
    """Raise `error` with the line that names the field, what was found and what is allowed: a text,
    or several names."""
    if not isinstance(allowed, str):
        allowed = ", ".join(map(str, allowed))
    raise error(f"{field}: found {shorten(found)}, allowed: {allowed}")


def require(
    condition: object,
    field: str,
    found: object,
    allowed: Iterable[object],
    error: Raised = UserError,
) -> None:
    """`refuse` where the condition does not hold."""
    if not condition:
        refuse(field, found, allowed, error)


def one_of(field: str, found: T, names: Iterable[Any], error: Raised = UserError) -> T:
    """`found`, which must be one of `names`."""
    known = sorted(names) if isinstance(names, set) else list(names)
    if found not in known:  # a list: what cannot be hashed is refused like anything else
        refuse(field, found, known, error)
    return found


def is_number(found: Any, kind: Any = int | float) -> bool:
    """Whether `found` is a number of the `kind`, which True and False are not."""
    return isinstance(found, kind) and not isinstance(found, bool)


def whole(field: str, found: Any, low: int, high: int, error: Raised = UserError) -> int:
    """`found`, which must be a whole number from `low` to `high`."""
    good = is_number(found, int) and low <= found <= high
    require(good, field, found, f"a whole number from {low} to {high}", error)
    return found


def number(field: str, found: Any, low: float, high: float, error: Raised = UserError) -> float:
    """`found` as a float, which must be a number from `low` to `high`, both finite."""
    good = is_number(found) and low <= found <= high
    require(good, field, found, f"a number from {low:g} to {high:g}", error)
    return float(found)


def look_up(known: Mapping[str, T], name: Any, what: str) -> T:
    """`known[name]`; an unknown name gets the list of those there are."""
    one_of(what, name, known)
    return known[name]
