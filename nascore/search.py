"""Run a search: `run`, from names to objects, and what comes out of it."""

import dataclasses
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from torch import device as Device

from nascore import memory as memory_of
from nascore import spaces
from nascore.answers import name_of
from nascore.data import Images, choose_device
from nascore.data import load as load_images
from nascore.errors import UserError, require, shorten, whole
from nascore.estimators import Table, TrainChildren
from nascore.files import PathName, write_json
from nascore.genotypes import Genotype, as_dict
from nascore.knobs import knob
from nascore.loop import Progress, drive, memory_errors
from nascore.nets.sizes import skeleton_of_space
from nascore.record import directory_named, kept_threads, require_free
from nascore.registry import Budget, Method, Trial, get, method, methods_by_name
from nascore.spaces.examine import examine, example
from nascore.spaces.examine import name_of as name_of_space
from nascore.task import Task
from nascore.threads import one_thread
from nascore.training import RECIPES

__all__ = ["Budget", "Progress", "Result", "Trial", "knob", "method", "methods_by_name", "run"]


@dataclass(frozen=True)
class Result:
    """What `run` found; `finished` is False when the search was stopped before its budget was
    spent, and there is no genotype and no reward when that was before its first step."""

    genotype: Genotype | None
    reward: float | None
    details: dict
    history: list[dict]
    seconds: float
    directory: Path | None
    finished: bool


def run(
    method: str,
    *,
    space: Any = None,
    data: PathName | Task = "digits",
    estimate: Callable | None = None,
    budget: str | Budget = "reduced",
    seed: int = 0,
    directory: PathName | None = None,
    resume: bool = False,
    device: str = "auto",
    progress: bool | Callable[[Progress], None] = True,
    stop: Callable[[], bool] | None = None,
    doing: Callable[[str], None] = lambda what: None,
    checkpoint_seconds: float = 10.0,
    threads: int | None = None,
    workers: int | None = None,
    graphs: str = "auto",
    memory: str | int | None = None,
    image_size: int | None = None,
    flip: bool | None = None,
    **fields,
) -> Result:
    """Run one search and return what it found.

    `space` is a name or any object with the methods of a space; `data` a name, a folder, `Images`
    or another `Task`; `image_size` and `flip` go to `data.load`; `estimate` is any callable from
    genotypes to rewards (multi-trial methods only); `budget` a preset's name, or a `Budget`;
    `fields` replace single fields of the preset; `progress` may be a callable that gets every
    `Progress`, and `doing` one that is told in words what goes on between them; `threads` is how
    many PyTorch computes with, by default what the sizes of the search ask for; `workers` how many
    processes train children at the same time (default: one a core, at most 8), which changes
    nothing but how long it takes; `graphs` (auto, on, off) whether a GPU records a step once and
    plays it: those of DARTS and of children, whose steps repeat. `memory` ("8G"; DARTS only) is a
    limit: cells are computed again in the backward pass where that keeps it, which changes no bit,
    and else minibatches are smaller, which is said.

    With a `directory` the search can be stopped, killed and resumed: on the CPU it ends in the same
    bits. What it is, is its content and not its names: a search is resumed if data, space,
    estimator and budget are the same. Raises `UserError`.
    """
    entry = get(method)
    own = _fields_of_own(entry, workers=workers, graphs=graphs, memory=memory)
    fields |= {name: value for name, value in own.items() if value not in (None, "auto")}
    workers = None if "workers" in own else workers
    memory = None if "memory" in own else memory
    graphs = "auto" if "graphs" in own else graphs
    budget = _budget(entry, budget, fields)
    chosen = choose_device(device)
    whole("seed", seed, 0, 2**32 - 1)
    require(isinstance(resume, bool), "resume", resume, "true or false")
    require(estimate is None or callable(estimate), "estimate", estimate, "a function")
    directory = directory_named(directory)
    if directory and not resume:
        require_free(directory)
    if directory and resume and threads is None:
        threads = kept_threads(directory)
    with memory_errors(), one_thread():
        doing("reading the data")
        setting = _setting(entry, space, data, estimate, budget, image_size, flip)
        doing("making the supernet" if entry.one_shot else "making the first architectures")
        again = False
        if memory is not None:
            require(graphs != "on", "--graphs", graphs, "auto or off, beside --memory")
            budget, again = _fitting(entry, setting, budget, seed, chosen, memory)
        config = {"method": method, "seed": seed, "device": chosen.type, **setting.content()}
        config["budget"] = asdict(budget)
        search = _build(entry, setting, budget, seed, chosen, threads, workers, graphs, doing)
        if again:
            search.recompute()
        began = monotonic()
        finished = drive(
            search,
            directory=directory,
            config=config,
            resume=resume,
            progress=progress,
            stop=stop,
            checkpoint_seconds=checkpoint_seconds,
            threads=threads,
            graphs=graphs,
            defaults={f.name: f.default for f in dataclasses.fields(budget)},
        )
        seconds = monotonic() - began
        if not search.history:  # it was stopped before its first step
            return Result(None, None, {}, [], seconds, directory, False)
        best = search.best
    if directory:
        write_json(directory / "genotype.json", as_dict(best.genotype))
    error = getattr(best, "error", None)  # any object with the fields of a `Trial` will do
    details = best.details | ({"error": error} if error else {})
    history = search.history
    return Result(best.genotype, best.reward, details, history, seconds, directory, finished)


def prepare(
    method: str,
    *,
    space: Any = None,
    data: PathName | Task = "digits",
    estimate: Callable | None = None,
    budget: str | Budget = "reduced",
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    workers: int | None = None,
    image_size: int | None = None,
    flip: bool | None = None,
    **fields: Any,
) -> tuple[Any, Any]:
    """The search that `run` would step through with these arguments, and its space."""
    entry = get(method)
    spent = _budget(entry, budget, fields)
    setting = _setting(entry, space, data, estimate, spent, image_size, flip)
    search = _build(entry, setting, spent, seed, choose_device(device), threads, workers)
    return search, setting.space


def _fields_of_own(entry: Method, **given: Any) -> dict[str, Any]:
    """The arguments of `run` that are fields of the method's budget: it may be older than they."""
    known = {f.name for f in dataclasses.fields(entry.budget)}
    return {name: value for name, value in given.items() if name in known}


def _budget(entry: Method, budget: str | Budget, fields: dict) -> Budget:
    if not isinstance(budget, Budget):
        return entry.budget.preset(budget, **fields)
    if not isinstance(budget, entry.budget):
        found = f"the budget of another method, {type(budget).__name__}"
        raise UserError(f"budget of {entry.name}: found {found}, allowed: {entry.budget.__name__}")
    for name in fields.keys() - {f.name for f in dataclasses.fields(budget)}:
        raise UserError(f"unknown field {shorten(name)} of the budget")
    return replace(budget, **fields)


@dataclass(frozen=True)
class _Setting:
    """What a search is about, as objects: `data` is the task, where one is learned, or the name of
    a table; without an `estimate` children are trained, or the method has its own."""

    space: Any
    data: Any
    estimate: Callable | None

    def content(self) -> dict:
        """What a search is, as far as its budget does not say, for config.json."""
        data = None
        if isinstance(self.data, Task):
            data = self.data.fingerprint()
        elif isinstance(self.estimate, Table):
            data = {"name": self.data}
        estimator = None if self.estimate is None else {"name": name_of(self.estimate)}
        return {"space": examine(self.space), "data": data, "estimator": estimator}


def _setting(
    entry: Method,
    space: Any,
    data: Any,
    estimate: Callable | None,
    budget: Budget,
    image_size: int | None = None,
    flip: bool | None = None,
) -> _Setting:
    """Space, data and estimator for their names. Raises `UserError` for what does not go
    together."""
    table = isinstance(data, str) and data == "nasbench201"
    if entry.one_shot and table:
        instead = "its space is --space nasbench201, with --data digits, cifar10 or a folder"
        raise UserError(f"{entry.name} trains on images and {data!r} is a table; {instead}")
    if entry.one_shot and estimate is not None:
        alone = f"{entry.name} is its own estimator"
        raise UserError(f"{alone}; an estimate goes with multi-trial methods")
    if table and estimate is None:
        estimate = Table()
        name = space if isinstance(space, str) else name_of_space(space)
        if space is not None and name != estimate.space:
            held = f"the table holds cells of {estimate.space!r} only"
            raise UserError(f"space {name!r} was asked for, but {held}")
        space = estimate.space
    of_images = image_size is not None or flip is not None
    if of_images and (estimate is not None or _is_other(data)):
        allowed = "where some are trained on"
        raise UserError(f"--image-size, --no-flip: found with no images, allowed: {allowed}")
    if estimate is None and not _is_other(data):
        data = load_images(data, image_size=image_size, flip=flip)
    return _Setting(_space(space, entry, budget), data, estimate)


def _is_other(data: Any) -> bool:
    """A task that is not one of images."""
    return isinstance(data, Task) and not isinstance(data, Images)


def _space(space: Any, entry: Method, budget: Budget) -> Any:
    if space is None or (isinstance(space, str) and space == entry.space):
        return entry.own_space(budget) if entry.own_space else spaces.get(entry.space)
    return spaces.get(space) if isinstance(space, str) else space


def _build(
    entry: Method,
    setting: _Setting,
    budget: Budget,
    seed: int,
    device: Device,
    threads: int | None = None,
    workers: int | None = None,
    graphs: str = "auto",
    doing: Callable[[str], None] | None = None,
) -> Any:
    """The search. Children are trained where there is no other estimator."""
    space = setting.space
    trains = not entry.one_shot and setting.estimate is None
    none = "none, since no children are trained"
    require(trains or workers is None, "--workers", workers, none)
    if entry.one_shot:
        return entry.build(space, setting.data.to(device), budget, seed, device)
    how = {"threads": threads or 1, "workers": workers, "graphs": graphs}
    estimate = setting.estimate or _children(setting, budget, seed, device, doing, **how)
    return entry.build(space, estimate, budget, seed)


def _fitting(
    entry: Method,
    setting: _Setting,
    budget: Any,
    seed: int,
    device: Device,
    limit: str | int,
) -> tuple[Budget, bool]:
    """The budget with a minibatch that fits, and whether cells are computed again."""
    allowed = "none, but in searches whose steps are alike (darts) and in trainings"
    require(getattr(entry.build, "steps_are_alike", False), "--memory", limit, allowed)

    def make(batch: int) -> Any:
        return _build(entry, setting, replace(budget, batch_size=batch), seed, device)

    batch, again = memory_of.fitting(limit, budget.batch_size, make, setting.data.nbytes, device)
    return replace(budget, batch_size=batch), again


def _children(
    setting: _Setting,
    budget: Any,
    seed: int,
    device: Device,
    doing: Callable[[str], None] | None = None,
    **how: Any,
) -> TrainChildren:
    """The estimator that trains each architecture as the budget says."""

    def progress(child: Progress) -> None:
        if doing:
            doing(f"child {child.step} of {child.total} is trained")

    recipe = replace(
        RECIPES[budget.recipe], epochs=budget.child_epochs, batch_size=budget.batch_size
    )
    estimate = TrainChildren(
        setting.data.to(device),
        recipe,
        budget.channels,
        budget.cells,
        skeleton_of_space(setting.space),
        seed,
        device,
        validation=budget.validation,
        seconds=budget.child_seconds or None,
        last_epochs=min(budget.last_epochs, recipe.epochs),
        progress=progress,
        **how,
    )
    estimate.check(example(setting.space))
    return estimate
