"""What an estimator answers, checked where it enters: a number of any kind becomes a float, what a
checkpoint could not keep is refused, and one line names the estimator, what came, what is allowed.

A child that failed, and a reward that is no number (NaN), is recorded and the search goes on; it
never beats one that worked. A number that is no accuracy (percent, a negative) is refused at once:
some methods could not take it, and would notice only after hours.
"""

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from math import inf, isfinite
from re import sub
from typing import Any

import numpy as np
from numpy import ndarray
from torch import Tensor

from nascore.errors import UserError, is_number, reason, refuse, require, shorten
from nascore.files import digest
from nascore.genotypes import Genotype
from nascore.loop import StepFailed

Array = ndarray | np.generic | Tensor


@dataclass(frozen=True)
class Estimate:
    """`reward` is an accuracy in [0, 1]; `seconds` is what it took; `details` may hold whatever
    else was measured, numbers, texts, lists and dictionaries of them; `error` says what went wrong
    with an architecture that got no reward."""

    reward: float
    seconds: float = 0.0
    details: dict = field(default_factory=dict)
    error: str | None = None


def name_of(estimate: Callable) -> str:
    """How config.json, and with it --resume, tells estimators apart: by the `name` that one has, or
    by its type, or function, and module; a partial by its arguments too, a lambda by its code."""
    match estimate:
        case object(name=str() as name):
            return name
        case partial(func=func, args=args, keywords=keywords):
            words = [*map(repr, args), *(f"{key}={value!r}" for key, value in keywords.items())]
            # An address is another one in every process.
            arguments = sub(r" at 0x[0-9a-f]+", "", ", ".join(words))
            if len(arguments) >= 60:
                arguments = digest(arguments, 8)
            return f"{name_of(func)}({arguments})"
        case object(__code__=object(co_name="<lambda>") as code):
            content = repr((code.co_code, code.co_consts, code.co_names))
            return f"{estimate.__module__}.<lambda> {digest(content, 8)}"
    named = estimate if inspect.isroutine(estimate) else type(estimate)
    return f"{named.__module__}.{named.__qualname__}"


def evaluate(estimate: Callable, genotypes: Sequence[Genotype]) -> list[Estimate]:
    """Ask any estimator for the rewards of `genotypes`. Raises `StepFailed`, one line, for an
    answer that cannot be and for an estimator that fails: what was answered before is kept."""
    who = f"the estimator {name_of(estimate)}"
    count = len(genotypes)
    try:
        answers = estimate(list(genotypes))  # its own: it may take from it
    except UserError as error:
        raise StepFailed(str(error)) from error
    except Exception as error:
        raise StepFailed(f"{who} raised {shorten(reason(error), 200)}") from error
    if isinstance(answers, ndarray | Tensor):
        with suppress(RuntimeError):  # a tensor on the device meta has no numbers
            answers = list(answers) if answers.ndim else answers.item()
    several = isinstance(answers, list | tuple)
    require(several, who, answers, f"a list of {count} rewards", StepFailed)
    found = len(answers)
    require(found == count, f"{who}: rewards", found, f"{count}, one each", StepFailed)
    return [checked(answer, who) for answer in answers]


def checked(answer: Any, who: str) -> Estimate:
    """An answer, a number or an `Estimate`, in Python's own types. Raises `StepFailed`, one line
    that begins with `who`, for one that cannot be."""
    if not isinstance(answer, Estimate):
        answer = Estimate(answer)
    error: str | None = None
    match answer.error:
        case BaseException() as raised:
            error = reason(raised)
        case str() as said:
            error = said
        case found if found is not None:
            refuse(f"{who}: error", found, "a text, or None", StepFailed)
    seconds = _number(answer.seconds, f"{who}: seconds")
    require(0 <= seconds < inf, f"{who}: seconds", seconds, "a number from 0 on", StepFailed)
    reward = _number(answer.reward, f"{who}: reward")
    if not isfinite(reward):
        error = error or f"the reward was {reward}"
        reward = 0.0
    allowed = "a fraction from 0 to 1 (not percent), or NaN where it failed"
    require(0 <= reward <= 1, f"{who}: reward", reward, allowed, StepFailed)
    details = answer.details
    require(isinstance(details, dict), f"{who}: details", details, "a dictionary", StepFailed)
    try:
        details = storable(details, "details")
    except RecursionError:
        raise StepFailed(f"{who}: details that hold themselves, allowed: numbers, texts") from None
    except Exception as problem:  # a tensor that cannot be read, too
        raise StepFailed(f"{who}: {shorten(str(problem), 200)}") from None
    return Estimate(reward, seconds, details, storable(error, "error"))


def _number(value: Any, field: str) -> float:
    if isinstance(value, Array):
        # Several numbers are none, and a tensor on the device meta has none.
        with suppress(RuntimeError, ValueError):
            value = value.item()
    require(is_number(value), field, value, "a number, or an Estimate", StepFailed)
    try:
        return float(value)
    except OverflowError:
        return inf


def storable(value: Any, field: str) -> Any:
    """`value` in Python's own types, as JSON and a checkpoint keep them: what comes from NumPy or
    PyTorch is turned into numbers and lists, and a number that is not finite into None. Raises
    `TypeError`, which names the field, for anything else."""
    if isinstance(value, Array):
        value = value.tolist()
    match value:
        case None | bool():
            return value
        case int() if abs(value) < 2**63:
            return int(value)
        case float():
            return float(value) if isfinite(value) else None
        case str():
            return str(value).encode("utf-8", "replace").decode()
        case list() | tuple():
            return [storable(item, f"{field}[{k}]") for k, item in enumerate(value)]
        case dict():
            return {str(key): storable(item, f"{field}[{key!r}]") for key, item in value.items()}
    allowed = "numbers (of 64 bits), texts, lists and dictionaries of them"
    raise TypeError(f"{field} is {shorten(value)}, allowed: {allowed}")
