"""The user's own methods, spaces and operations for the command line: `--import my_nas.py`."""

import os
import sys
from contextlib import suppress
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any

from nascore.errors import UserError, reason, shorten


def load(name: str) -> ModuleType:
    """Run a file, or import a dotted module, which registers what it brings. Raises `UserError`,
    one line that says where the fault is."""
    try:
        module = _from_file(Path(name)) if name.endswith(".py") else _named(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        syntax = isinstance(error, SyntaxError)
        where: Any = error if syntax else extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename or name).name}, line {where.lineno}"
        raise UserError(f"--import {name}: {shorten(reason(error), 200)} ({place})") from None
    _send_by_value(module)
    return module


def _from_file(path: Path) -> ModuleType:
    name = f"imported_{path.stem}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UserError("there is no such file")
    module = module_from_spec(spec)
    sys.modules[name] = module
    _find_modules_in(path.resolve().parent)
    spec.loader.exec_module(module)
    return module


def _named(name: str) -> ModuleType:
    _find_modules_in(Path.cwd())
    return import_module(name)


def _find_modules_in(folder: Path) -> None:
    """At the end: a user's random.py does not hide Python's."""
    place = os.fspath(folder)
    if place not in sys.path:
        sys.path.append(place)


def _send_by_value(module: ModuleType) -> None:
    """Worker processes get the module's functions themselves: they could not import it."""
    own = "joblib.externals.cloudpickle"  # joblib has one until its release 1.6
    for name in ("cloudpickle", own):
        with suppress(ImportError):
            import_module(name).register_pickle_by_value(module)
