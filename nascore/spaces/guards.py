"""What a space of a user's own answers, checked: its code may fail, and that is one line too."""

from collections.abc import Sequence
from operator import index
from random import Random
from typing import Any

from nascore.errors import UserError, reason, require, shorten
from nascore.genotypes import Genotype

Decisions = Sequence[int]  # an option each, from 0 on
LONGEST = 10_000  # decisions of an architecture


def name_of(space: Any) -> str:
    """What error lines call a space."""
    match space:
        case object(name=str() as name):
            return name
    return type(space).__name__


def ask(space: Any, method: str, *arguments: Any) -> Any:
    """`space.method(*arguments)`. Raises `UserError`, one line, where the space fails."""
    try:
        return getattr(space, method)(*arguments)
    except UserError:
        raise
    except Exception as error:
        call = f"{method}({', '.join(map(shorten, arguments))})"
        raised = shorten(reason(error), 200)
        raise UserError(f"space {name_of(space)}: {call} raised {raised}") from error


def indices(found: Any) -> list[int]:
    """`found` as a list of whole numbers; [-1], which is nowhere allowed, for anything else."""
    try:
        return list(map(index, found))
    except TypeError:
        return [-1]


def options(space: Any, prefix: Decisions) -> int:
    """How many options the decision after `prefix` has."""
    found = ask(space, "choices_at", prefix)
    (count,) = indices([found])
    field = f"space {name_of(space)}: choices_at({shorten(list(prefix))})"
    require(count >= 0, field, found, "a whole number from 0 on (0: complete)")
    return count


def decode(space: Any, decisions: Decisions) -> Genotype:
    """The genotype that `decisions` mean."""
    genotype = ask(space, "decode", decisions)
    field = f"space {name_of(space)}: decode({shorten(list(decisions))})"
    require(isinstance(genotype, Genotype), field, genotype, "a genotype")
    return genotype


def drawn(space: Any, method: str, *arguments: Any) -> tuple[int, ...]:
    """The decisions that `space.sample(random)` or `space.mutate(decisions, random)` gives."""
    found = ask(space, method, *arguments)
    field = f"space {name_of(space)}: {method}()"
    allowed = "a list of decisions, whole numbers, to the last"
    decisions = tuple(indices(found))
    for k, decision in enumerate(decisions):
        require(0 <= decision < options(space, decisions[:k]), field, found, allowed)
    require(options(space, decisions) == 0, field, found, allowed)
    return decisions


def walk(space: Any, random: Random) -> tuple[list[int], list[int]]:
    """The decisions of an architecture, each one drawn from those that are open, and how many those
    were."""
    prefix: list[int] = []
    counts: list[int] = []
    while count := options(space, prefix):
        prefix.append(random.randrange(count))
        counts.append(count)
        if len(prefix) > LONGEST:
            what = f"choices_at is not 0 after {LONGEST:,} decisions"
            raise UserError(f"space {name_of(space)} has no end: {what}")
    return prefix, counts
