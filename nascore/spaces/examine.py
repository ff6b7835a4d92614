"""Is it a space? What any object must answer before a search may use it, and what tells two apart."""

import hashlib
import operator
from collections.abc import Sequence
from numbers import Integral
from random import Random

from nascore.errors import UserError, reason, refuse, require, shorten
from nascore.genotypes import Genotype, to_json
from nascore.spaces.space import Token

METHODS = ("choices_at", "decode", "size", "sample")
WALKS = 20  # architectures that are looked at
LONGEST = 10_000  # decisions of one


def name_of(space) -> str:
    name = getattr(space, "name", None)
    return name if isinstance(name, str) else type(space).__name__


def ask(space, method: str, *arguments):
    """`space.method(*arguments)`. Raises `UserError`, one line, where the space fails."""
    try:
        return getattr(space, method)(*arguments)
    except UserError:
        raise
    except Exception as error:
        call = f"{method}({', '.join(map(shorten, arguments))})"
        raised = shorten(reason(error), 200)
        raise UserError(f"space {name_of(space)}: {call} raised {raised}") from error


def options(space, prefix: Sequence[int]) -> int:
    """How many options the decision after `prefix` has."""
    found = ask(space, "choices_at", prefix)
    try:
        count = operator.index(found)
    except TypeError:
        count = -1
    field = f"space {name_of(space)}: choices_at({shorten(list(prefix))})"
    require(count >= 0, field, found, "a whole number from 0 on (0: complete)")
    return count


def decode(space, decisions: Sequence[int]) -> Genotype:
    """The genotype that `decisions` mean."""
    genotype = ask(space, "decode", decisions)
    field = f"space {name_of(space)}: decode({shorten(list(decisions))})"
    require(isinstance(genotype, Genotype), field, genotype, "a genotype")
    return genotype


def walk(space, random: Random) -> tuple[list[int], list[int]]:
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


def examine(space) -> dict:
    """Look at a few architectures of `space`; what tells it from others, for config.json: its size, its
    operations by name, and a digest of what decisions mean. Raises `UserError`, one line, for what is
    no space."""
    if not all(callable(getattr(space, method, None)) for method in METHODS):
        allowed = f"a name, or an object with {', '.join(METHODS)} (and encode, mutate)"
        raise UserError(f"space: found {shorten(space)}, allowed: {allowed}")
    size = ask(space, "size")
    good = isinstance(size, Integral) and size > 0
    require(good, f"space {name_of(space)}: size()", size, "a whole number from 1 on")
    random = Random(0)
    digest = hashlib.blake2b(digest_size=16)
    for _ in range(WALKS):
        decisions, counts = walk(space, random)
        _examine_optional(space, counts)
        genotype = decode(space, decisions)
        digest.update(repr((decisions, counts, to_json(genotype))).encode())
    decode(space, drawn(space, "sample", Random(0)))
    primitives = getattr(space, "primitives", None)
    about = {
        "name": name_of(space),
        "size": str(size) if size < 10**1000 else f"2^{size.bit_length()}",
    }
    if primitives is not None:
        field = f"space {name_of(space)}: primitives"
        require(isinstance(primitives, Sequence), field, primitives, "a list of operations")
        about["operations"] = list(map(str, primitives))
    return about | {"meaning": digest.hexdigest()}


def _examine_optional(space, counts: Sequence[int]) -> None:
    """`choices`, `levels` and `token_at`, where a space has them, beside the `counts` of options of
    an architecture."""
    of = f"space {name_of(space)}"
    wholes = "a list of whole numbers from 1 on"
    if hasattr(space, "choices"):
        most = _wholes(space.choices)
        fits = most is not None and len(most) >= len(counts)
        fits = fits and all(map(operator.le, counts, most))
        require(
            fits, f"{of}: choices", space.choices, f"{wholes}, the most options of each decision"
        )
    if hasattr(space, "levels"):
        levels = _wholes(space.levels)
        fits = levels and levels == sorted(set(levels)) and levels[-1] == len(counts)
        rising = f"{wholes}, rising to all {len(counts)} decisions"
        require(fits, f"{of}: levels", space.levels, rising)
    if hasattr(space, "token_at"):
        for position in range(len(counts)):
            token = ask(space, "token_at", position)
            field = f"{of}: token_at({position})"
            fits = isinstance(token, Token) and isinstance(token.kind, str)
            earlier = _wholes(token.refers_to, 0) if fits else None
            fits = earlier is not None and all(at < position for at in earlier)
            require(fits, field, token, "a Token(kind, positions before it)")


def _wholes(found, least: int = 1) -> list[int] | None:
    """`found` as a list, if it is one of whole numbers from `least` on."""
    try:
        numbers = list(map(operator.index, found))
    except TypeError:
        return None
    return numbers if min(numbers, default=least) >= least else None


def drawn(space, method: str, *arguments) -> tuple[int, ...]:
    """The decisions that `space.sample(random)` or `space.mutate(decisions, random)` gives."""
    found = ask(space, method, *arguments)
    field = f"space {name_of(space)}: {method}()"
    allowed = "a list of decisions, to the last"
    try:
        decisions = tuple(map(operator.index, found))
    except TypeError:
        refuse(field, found, f"{allowed}, whole numbers")
    for k, decision in enumerate(decisions):
        require(0 <= decision < options(space, decisions[:k]), field, found, allowed)
    require(options(space, decisions) == 0, field, found, allowed)
    return decisions
