"""nascore: five papers on Neural Architecture Search, each complete, fast and readable.

`nascore.run` is the way in; `draw` and `describe` show what it found; `train` makes a model of it,
`load` reads one, `evaluate` tests it; `register` makes an operation
of your own usable everywhere, `spaces` holds the search spaces.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nascore import spaces
    from nascore.evaluation import evaluate
    from nascore.exports import export
    from nascore.from_scratch import train
    from nascore.models import load
    from nascore.nets.measure import describe
    from nascore.nets.operations import register
    from nascore.search import Result, run
    from nascore.show.drawing import draw

__version__ = "0.2.0"
__all__ = [
    "Result",
    "describe",
    "draw",
    "evaluate",
    "export",
    "load",
    "register",
    "run",
    "spaces",
    "train",
]

_PLACES = {
    "Result": "nascore.search",
    "describe": "nascore.nets.measure",
    "draw": "nascore.show.drawing",
    "evaluate": "nascore.evaluation",
    "export": "nascore.exports",
    "load": "nascore.models",
    "train": "nascore.from_scratch",
    "register": "nascore.nets.operations",
    "run": "nascore.search",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: a short command should start fast.
    if name == "spaces":
        return import_module("nascore.spaces")
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'nascore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
