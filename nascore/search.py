"""What all methods share: budgets, the registry of methods, and `run`.

A method is a class with `step() -> Progress`, `done`, `best -> Trial`, `history`, `state_dict()`
and `load_state_dict(state)`. Multi-trial methods are built from `(space, estimate, budget, seed)`,
one-shot methods from `(space, data, budget, seed, device)`; `@method(...)` registers them by name,
so that this file knows none of them.
"""

import dataclasses
import importlib
import json
import pkgutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch

from nascore import methods, spaces
from nascore.data import Images
from nascore.data import load as load_images
from nascore.errors import UserError, look_up, require, shorten, whole
from nascore.estimators import Table, TrainChildren
from nascore.genotypes import Genotype, to_json
from nascore.loop import Progress, drive, memory_errors, write_json
from nascore.training import RECIPES

__all__ = ["Budget", "Progress", "Result", "Trial", "knob", "method", "methods_by_name", "run"]


def knob(
    default, label: str, help: str, *, unit: str = "", low=None, high=None, choices: tuple = ()
):
    """A field of a `Budget`. The command line's option and the notebook's widget are both made
    from it."""
    metadata = {
        "label": label,
        "help": help,
        "unit": unit,
        "low": low,
        "high": high,
        "choices": choices,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Budget:
    """How much a search may spend. Subclasses declare fields with `knob` and presets in
    `PRESETS`."""

    PRESETS: ClassVar[dict[str, dict]] = {"smoke": {}, "reduced": {}, "full": {}}

    def __post_init__(self):
        for f in dataclasses.fields(self):
            object.__setattr__(self, f.name, check_field(f, getattr(self, f.name)))

    @classmethod
    def preset(cls, name: str, **fields) -> "Budget":
        """The preset `name` with some fields replaced. Raises `UserError`, one line, for
        anything unknown."""
        preset, known = (
            look_up(cls.PRESETS, name, "budget"),
            [f.name for f in dataclasses.fields(cls)],
        )
        for unknown in set(fields) - set(known):
            raise UserError(
                f"unknown field {shorten(unknown)}; this method has: {', '.join(known)}"
            )
        return cls(**{**preset, **fields})


def check_field(f: dataclasses.Field, value):
    """`value` as the type that the field `f` wants, or a `UserError` that gives its bounds."""
    low, high, choices = f.metadata["low"], f.metadata["high"], f.metadata["choices"]
    allowed = " or ".join(map(str, choices)) if choices else f"from {low} to {high}"
    kind = {int: "a whole number ", float: "a number ", str: ""}[f.type]
    try:
        exact = f.type(value)
        good = not isinstance(value, bool) and (f.type is str or float(value) == exact)
    except (TypeError, ValueError, OverflowError):
        exact, good = value, False
    require(
        good and (exact in choices if choices else low <= exact <= high),
        f.name,
        exact,
        f"{kind}{allowed}",
    )
    return exact


@dataclass(frozen=True)
class Trial:
    """An evaluated architecture; `reward` is an accuracy in [0, 1]."""

    genotype: Genotype
    reward: float
    details: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What `run` found; `finished` is False when the search was stopped before its budget was
    spent."""

    genotype: Genotype
    reward: float
    details: dict
    history: list[dict]
    seconds: float
    directory: Path | None
    finished: bool


@dataclass(frozen=True)
class Method:
    """A registered method: how to build it, and what it needs. `space` names its own space; a
    class whose budget says how large that is has `own_space(budget)`."""

    name: str
    build: type
    budget: type[Budget]
    space: str
    one_shot: bool


_METHODS: dict[str, Method] = {}


def method(
    name: str, *, budget: type[Budget], space: str = "darts", one_shot: bool = False
) -> Callable[[type], type]:
    """Class decorator: register a search method under `name`."""

    def register(cls: type) -> type:
        _METHODS[name] = Method(name, cls, budget, space, one_shot)
        return cls

    return register


def methods_by_name() -> dict[str, Method]:
    """All registered methods; imports every module of `nascore.methods` on first use."""
    for module in pkgutil.iter_modules(methods.__path__):
        importlib.import_module(f"nascore.methods.{module.name}")
    return dict(sorted(_METHODS.items()))


def get(name: str) -> Method:
    return look_up(methods_by_name(), name, "method")


def choose_device(name: str | torch.device) -> torch.device:
    """`auto` is a GPU where there is one. Raises `UserError` for a device that is not there."""
    if str(name) == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(str(name))
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UserError(f"unknown device {shorten(str(name))}; allowed: auto, cpu, cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "device 'cuda' was asked for and PyTorch sees no GPU here; allowed: auto, cpu"
        )
    return device


def run(
    method: str,
    *,
    space: Any = None,
    data: str | Path | Images = "digits",
    estimate: Callable | None = None,
    budget: str | Budget = "reduced",
    seed: int = 0,
    directory: str | Path | None = None,
    resume: bool = False,
    device: str = "auto",
    progress: bool | Callable[[Progress], None] = True,
    stop: Callable[[], bool] | None = None,
    checkpoint_seconds: float = 10.0,
    **fields,
) -> Result:
    """Run one search and return what it found.

    `space` is a name or any object with the methods of a space; `data` a name, a folder or
    `Images`; `estimate` any callable from genotypes to rewards (multi-trial methods only); `budget`
    a preset's name, or a `Budget`; `fields` replace single fields of the preset; `progress` may be
    a callable that gets every `Progress`. With a `directory` the search can be stopped, killed and
    resumed: on the CPU it ends in the same bits. Raises `UserError`.
    """
    entry = get(method)
    if isinstance(budget, Budget):
        budget = dataclasses.replace(budget, **fields)
    else:
        budget = entry.budget.preset(budget, **fields)
    device = choose_device(device)
    whole("seed", seed, 0, 2**32 - 1)
    name = None if space == entry.space else _name(space)  # its own by name is its own
    config = {
        "method": method,
        "space": name,
        "data": _name(data),
        "seed": seed,
        "device": device.type,
    }
    config |= {"budget": dataclasses.asdict(budget)}
    how = {
        "resume": resume,
        "progress": progress,
        "stop": stop,
        "checkpoint_seconds": checkpoint_seconds,
    }
    with memory_errors():
        search = _build(entry, space, data, estimate, budget, seed, device)
        began = time.monotonic()
        finished = drive(search, directory=directory, config=config, **how)
    if not search.history:
        raise UserError("the search was stopped before its first step: nothing was found")
    best, seconds, directory = search.best, time.monotonic() - began, directory and Path(directory)
    if directory:
        write_json(directory / "genotype.json", json.loads(to_json(best.genotype)))
    return Result(
        best.genotype, best.reward, best.details, search.history, seconds, directory, finished
    )


def _name(value) -> str | None:
    """How config.json, and with it --resume, tells spaces and data apart."""
    if value is None or isinstance(value, str):
        return value
    return str(value) if isinstance(value, Path) else getattr(value, "name", type(value).__name__)


def _build(entry: Method, space, data, estimate, budget: Budget, seed: int, device: torch.device):
    table = isinstance(data, str) and data == "nasbench201"
    if entry.one_shot:
        if table:
            instead = "its space is --space nasbench201, with --data digits, cifar10 or a folder of images"
            raise UserError(
                f"{entry.name} trains on images and 'nasbench201' is a table; {instead}"
            )
        if estimate is not None:
            raise UserError(
                f"{entry.name} is its own estimator; an estimate goes with multi-trial methods"
            )
        return entry.build(
            _space(space, entry, budget), _images(data, device), budget, seed, device
        )
    if estimate is None and table:
        estimate = Table()
        if space is not None and _name(space) != estimate.space:
            held = f"the table holds cells of {estimate.space!r} only"
            raise UserError(f"space {_name(space)!r} was asked for, but {held}")
        space = estimate.space
    space = _space(space, entry, budget)
    if estimate is None:
        recipe = dataclasses.replace(
            RECIPES[budget.recipe], epochs=budget.child_epochs, batch_size=budget.batch_size
        )
        how = {"validation": budget.validation, "seconds": budget.child_seconds or None}
        how |= {"last_epochs": min(budget.last_epochs, recipe.epochs)}
        sizes = (recipe, budget.channels, budget.cells, space.skeleton)
        estimate = TrainChildren(_images(data, device), *sizes, seed, device, **how)
    return entry.build(space, estimate, budget, seed)


def _space(space, entry: Method, budget: Budget):
    if space in (None, entry.space) and hasattr(entry.build, "own_space"):
        return entry.build.own_space(budget)
    return spaces.get(space or entry.space) if space is None or isinstance(space, str) else space


def _images(data, device: torch.device) -> Images:
    return data if isinstance(data, Images) else load_images(data, device=device)
