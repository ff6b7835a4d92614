"""Is it a space? What any object must answer before a search may use it, and what tells two
apart."""

from collections.abc import Sequence
from operator import le
from random import Random
from typing import Any

from nascore.errors import require
from nascore.files import digest
from nascore.genotypes import Genotype, to_json
from nascore.spaces.guards import ask, decode, drawn, indices, name_of, walk
from nascore.spaces.space import METHODS, WALKS, Space, Token, of


def examine(found: Any) -> dict[str, Any]:
    """Look at a few architectures of a space; what tells it from others, for config.json: its size,
    its operations by name, and a digest of what decisions mean. Raises `UserError`, one line, for
    what is no space."""
    good = all(callable(getattr(found, method, None)) for method in METHODS)
    allowed = f"a name, or an object with {', '.join(METHODS)} (and encode, mutate)"
    require(good, "space", found, allowed)
    space = of(found)
    name = name_of(space)
    said = ask(space, "size")
    (size,) = indices([said])
    require(size > 0, f"space {name}: size()", said, "a whole number from 1 on")
    random = Random(0)
    met = []
    for _ in range(WALKS):
        decisions, counts = walk(space, random)
        _examine_parts(space, f"space {name}", counts)
        genotype = decode(space, decisions)
        met.append(repr((decisions, counts, to_json(genotype))))
    decode(space, drawn(space, "sample", Random(0)))
    shown = str(size) if size < 10**1000 else f"2^{size.bit_length()}"
    about: dict[str, Any] = {"name": name, "size": shown}
    ops = space.primitives
    if ops is not Space.primitives:
        fits = isinstance(ops, Sequence)
        require(fits, f"space {name}: primitives", ops, "a list of operations")
        about["operations"] = list(map(str, ops))
    return about | {"meaning": digest("".join(met))}


def _examine_parts(space: Space, of: str, counts: Sequence[int]) -> None:
    """What a space says beside its methods, held against the `counts` of options of an
    architecture."""
    wholes = "a list of whole numbers from 1 on"
    if "choices" in vars(space):  # else they are found by walking, or what `choices_at` says
        most = indices(space.choices)
        fits = len(most) >= len(counts) and all(map(le, counts, most))
        allowed = f"{wholes}, the most options of each decision"
        require(fits, f"{of}: choices", space.choices, allowed)
    if space.levels is not Space.levels:
        levels = [0, *indices(space.levels)]
        fits = levels == sorted(set(levels)) and levels[-1] == len(counts)
        rising = f"{wholes}, rising to all {len(counts)} decisions"
        require(fits, f"{of}: levels", space.levels, rising)
    for position in range(len(counts)):
        token = ask(space, "token_at", position)
        match token:
            case Token(kind=str(), refers_to=earlier):
                fits = all(0 <= at < position for at in indices(earlier))
            case _:
                fits = False
        allowed = "a Token(kind, positions before it)"
        require(fits, f"{of}: token_at({position})", token, allowed)


def example(space: Any) -> Genotype:
    """An architecture of the space."""
    return decode(space, walk(space, Random(0))[0])
