"""What every method declares: its budget, and itself by its name, so that `search.run` knows none
of them; and the record of a trial.

A method is a class with `step() -> Progress`, `done`, `best -> Trial`, `history`, `state_dict()`
and `load_state_dict(state)`. Multi-trial methods are built from `(space, estimate, budget, seed)`,
one-shot methods from `(space, data, budget, seed, device)`.
"""

import pkgutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from importlib import import_module
from math import isnan, nan
from typing import Any, ClassVar

from nascore import methods
from nascore.answers import Estimate
from nascore.errors import UserError, look_up, shorten
from nascore.genotypes import Genotype
from nascore.knobs import check_field


@dataclass(frozen=True)
class Budget:
    """How much a search may spend. Subclasses declare fields with `knob` and presets in
    `PRESETS`."""

    PRESETS: ClassVar[dict[str, dict]] = {"smoke": {}, "reduced": {}, "full": {}}

    def __post_init__(self):
        for f in fields(self):
            object.__setattr__(self, f.name, check_field(f, getattr(self, f.name)))

    @classmethod
    def preset(cls, name: str, **changes) -> "Budget":
        """The preset `name` with some fields replaced. Raises `UserError`, one line, for
        anything unknown."""
        preset = look_up(cls.PRESETS, name, "budget")
        known = [f.name for f in fields(cls)]
        for unknown in set(changes) - set(known):
            raise UserError(
                f"unknown field {shorten(unknown)}; this method has: {', '.join(known)}"
            )
        return cls(**{**preset, **changes})


@dataclass(frozen=True)
class Trial:
    """An architecture on its way through a search: proposed as `decisions`, answered by the
    estimator, learned from. `reward` is an accuracy in [0, 1] and `objective` what the search makes
    of it, both NaN until the answer is there; `seconds` is what that took and `error` what went
    wrong."""

    genotype: Genotype
    reward: float = nan
    details: dict = field(default_factory=dict)
    decisions: tuple[int, ...] = ()
    objective: float = nan
    seconds: float = 0.0
    error: str | None = None

    @property
    def is_answered(self) -> bool:
        """Whether the estimator has said what it is worth."""
        return not isnan(self.reward)

    def answered(self, answer: Estimate) -> "Trial":
        """The trial with its answer."""
        return replace(
            self,
            reward=answer.reward,
            objective=answer.reward,
            details=answer.details,
            seconds=answer.seconds,
            error=answer.error,
        )

    @property
    def answer(self) -> dict | None:
        """The answer as a checkpoint keeps it; None before it is there."""
        if not self.is_answered:
            return None
        answer = Estimate(self.reward, self.seconds, self.details, self.error)
        return asdict(answer)


@dataclass(frozen=True)
class Method:
    """A registered method: how to build it, and what it needs. `space` names its own space, which
    `own_space(budget)` makes where the budget says how large it is."""

    name: str
    build: type
    budget: type[Budget]
    space: str
    one_shot: bool
    own_space: Callable[[Any], Any] | None


_METHODS: dict[str, Method] = {}


def method(
    name: str, *, budget: type[Budget], space: str = "darts", one_shot: bool = False
) -> Callable[[type], type]:
    """Class decorator: register a search method under `name`."""
    for f in fields(budget):
        if not f.metadata:
            raise UserError(f"{budget.__name__}.{f.name}: declare it by knob(default, label, help)")

    def register(cls: type) -> type:
        own_space = getattr(cls, "own_space", None)
        _METHODS[name] = Method(name, cls, budget, space, one_shot, own_space)
        return cls

    return register


def methods_by_name() -> dict[str, Method]:
    """All registered methods; imports every module of `nascore.methods` on first use."""
    for module in pkgutil.iter_modules(methods.__path__):
        import_module(f"nascore.methods.{module.name}")
    return dict(sorted(_METHODS.items()))


def get(name: str) -> Method:
    """The method of that name. Raises `UserError` for an unknown one."""
    return look_up(methods_by_name(), name, "method")
