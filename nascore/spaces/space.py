"""What a search space is: decisions <-> genotype, and nothing about who decides."""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from nascore.errors import UserError, shorten
from nascore.genotypes import OPERATIONS, Genotype, GenotypeError


@dataclass(frozen=True)
class Token:
    """What a decision is about. Decisions of one `kind` share a policy's head and embedding;
    `refers_to` lists the earlier positions that the last `len(refers_to)` options point to (the
    options before them are the cell's inputs).
    """

    kind: str
    refers_to: tuple[int, ...] = ()


def operations(space: str, primitives: Sequence[str]) -> tuple[str, ...]:
    """The candidate operations of a space. Raises `UserError` where one is unknown or stands
    there twice."""
    for op in primitives:
        if op not in OPERATIONS or primitives.count(op) > 1:
            raise UserError(
                f"space {space}: primitives {shorten(op)}, allowed: each once of {sorted(OPERATIONS)}"
            )
    return tuple(primitives)


class Space:
    """A space in which the number of options depends on the position alone: `choices[position]`.
    `layout` gives each position's token and number of options. Subclasses say which genotype the
    decisions mean (`_genotype`, and the inverse `encode`)."""

    def __init__(self, name: str, skeleton: str, layout: Sequence[tuple[Token, int]]):
        self.name = name
        self.skeleton = skeleton
        self._tokens, self.choices = zip(*layout)

    def choices_at(self, prefix: Sequence[int]) -> int:
        """How many options the decision after `prefix` has; 0 when the architecture is complete."""
        return self.choices[len(prefix)] if len(prefix) < len(self.choices) else 0

    def token_at(self, position: int) -> Token:
        return self._tokens[position]

    def size(self) -> int:
        """The number of complete decision lists."""
        return math.prod(self.choices)

    def sample(self, generator: Random) -> list[int]:
        """Decisions of an architecture drawn uniformly."""
        return [generator.randrange(count) for count in self.choices]

    def mutate(self, decisions: Sequence[int], generator: Random) -> list[int]:
        """`decisions` with exactly one of them, drawn uniformly among those that have
        alternatives, changed."""
        mutated = list(decisions)
        position = generator.choice([p for p in range(len(mutated)) if self.choices[p] > 1])
        other = generator.randrange(self.choices[position] - 1)
        mutated[position] = other + (other >= mutated[position])
        return mutated

    def decode(self, decisions: Sequence[int]) -> Genotype:
        """The genotype that `decisions` mean. Raises `UserError` for decisions that are none of
        this space's."""
        decisions = tuple(map(operator.index, decisions))
        lengths = getattr(self, "levels", (len(self.choices),))
        if len(decisions) not in lengths:
            allowed = " or ".join(map(str, lengths))
            raise UserError(
                f"space {self.name}: found {len(decisions)} decisions, allowed: {allowed}"
            )
        for position, (decision, count) in enumerate(zip(decisions, self.choices)):
            if not 0 <= decision < count:
                raise UserError(
                    f"space {self.name}: decision {position} is {decision}, allowed: 0 to {count - 1}"
                )
        return self._genotype(decisions)

    def _refuse(self, field: str, found, allowed: str):
        raise GenotypeError(
            f"not in the space {self.name}: {field}: found {shorten(found)}, allowed: {allowed}"
        )

    def _option(self, option, field: str, options: Sequence) -> int:
        if option not in options:
            self._refuse(field, option, ", ".join(map(str, options)))
        return options.index(option)

    def _require_kind(self, genotype: Genotype, cls: type) -> None:
        if not isinstance(genotype, cls):
            self._refuse("kind", type(genotype).__name__, cls.__name__)
