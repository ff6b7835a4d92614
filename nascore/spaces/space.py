"""What a search space is: decisions <-> genotype, and nothing about who decides."""

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from operator import index
from random import Random
from typing import Any, NoReturn

from nascore.errors import refuse, require
from nascore.genotypes import OPERATIONS, Genotype, GenotypeError
from nascore.spaces.guards import Decisions, name_of, walk

METHODS = ("choices_at", "decode", "size", "sample")  # that an object must have
TABULATED = "nasbench201"  # the name of the space whose cells `estimators.Table` holds
WALKS = 20  # architectures that are looked at
Names = Sequence[str]
Words = tuple[str, ...]
Indices = tuple[int, ...]


@dataclass(frozen=True)
class Token:
    """What a decision is about. Decisions of one `kind` share a policy's head and embedding;
    `refers_to` lists the earlier positions that the last `len(refers_to)` options point to (the
    options before them are the cell's inputs).
    """

    kind: str
    refers_to: Indices = ()


class Space:
    """What methods ask of a space; here it is written down, with what follows from `choices`.

    A subclass has a `name`, `choices` and `decode`. Where the number of options depends on what was
    decided before, it has `choices_at`, `size`, `sample` and `mutate` of its own, and no policy can
    write it. Any object with `choices_at`, `decode`, `size` and `sample` is a space too:
    `spaces.of` makes it a `Space`.
    """

    name: str
    skeleton: str | None = None  # how its networks are stacked; None: as one of them is at home
    primitives: Names = ()  # the operations to choose from
    levels: Sequence[int] = ()  # lengths at which a prefix is an architecture, up to all: for PNAS
    tabulated = False  # whether `estimators.Table` holds all of its cells
    can_mutate = True  # whether there is a `mutate`, for evolution

    # Of cells, each node of which may read every state before it:
    nodes = 0
    n_inputs = 2  # the outputs of the cells before
    cell_types: Words = ()  # in the order in which decisions list them
    keeps_every_edge = False  # an operation, perhaps `none`, on all; else a node has two

    @cached_property
    def choices(self) -> Sequence[int]:
        """How many options each decision has, position by position. Where a space does not list
        them it is walked; raises `UserError` where they depend on what was decided before."""
        walks = sorted({tuple(walk(self, Random(seed))[1]) for seed in range(WALKS)})
        field = f"space {name_of(self)}: options at each position"
        first, *others = walks
        require(not others, field, walks, "the same whatever was decided, for a policy")
        return first

    def choices_at(self, prefix: Decisions) -> int:
        """How many options the decision after `prefix` has; 0 when the architecture is complete."""
        left = self.choices[len(prefix) :]
        return left[0] if len(left) else 0

    def token_at(self, position: int) -> Token:
        """What the decision at `position` is about; by default each is a kind of its own."""
        return Token(f"position {position}")

    @cached_property
    def tokens(self) -> Sequence[Token]:
        """What each decision is about, position by position."""
        return [self.token_at(position) for position in range(len(self.choices))]

    @property
    def has_edges(self) -> bool:
        """Whether it is one of cells with `primitives` on edges, as DARTS relaxes."""
        return bool(self.primitives and self.nodes and self.cell_types)

    def size(self) -> int:
        """The number of complete decision lists."""
        return prod(self.choices)

    def sample(self, generator: Random) -> list[int]:
        """Decisions of an architecture drawn uniformly."""
        return [generator.randrange(count) for count in self.choices]

    def mutate(self, decisions: Decisions, generator: Random) -> list[int]:
        """`decisions` with exactly one of them, drawn uniformly among those that have
        alternatives, changed."""
        mutated = list(decisions)
        changeable = [p for p in range(len(mutated)) if self.choices[p] > 1]
        position = generator.choice(changeable)
        other = generator.randrange(self.choices[position] - 1)
        mutated[position] = other + (other >= mutated[position])
        return mutated

    def decode(self, decisions: Decisions) -> Genotype:
        """The genotype that `decisions` mean. Raises `UserError` for decisions that are none of
        this space's."""
        raise NotImplementedError

    def encode(self, genotype: Genotype) -> list[int]:
        """Decisions that mean this network. Raises `GenotypeError` where the space does not hold
        it."""
        raise NotImplementedError


class Own(Space):
    """An object with the methods of a space, as a `Space`: what it lacks has the default."""

    PARTS = (
        *METHODS, "encode", "mutate", "choices", "token_at", "levels", "skeleton", "primitives",
        "tabulated", "nodes", "n_inputs", "cell_types", "keeps_every_edge",
    )  # fmt: skip

    def __init__(self, found: Any):
        self.name = name_of(found)
        self.found = found
        self.can_mutate = callable(getattr(found, "mutate", None))
        self.tabulated = self.keeps_every_edge = self.name == TABULATED
        for part in self.PARTS:
            if (value := getattr(found, part, None)) is not None:
                setattr(self, part, getattr(value, "tolist", lambda: value)())  # no arrays

    def __getattr__(self, name: str) -> Any:
        """What else the object has, for a method that knows it."""
        if name == "found":  # not yet there, where a copy is made
            raise AttributeError(name)
        return getattr(self.found, name)


def of(found: Any) -> Space:
    """`found` as a `Space`: itself, or what any object's methods make of it."""
    return found if isinstance(found, Space) else Own(found)


# --- the papers' ----------------------------------------------------------------------------------

Values = Sequence[Any]  # what was decided, or what there is to decide between
Position = tuple[Token, Values]  # what a decision is about, and its options
Positions = list[Position]
Placed = Iterator[tuple[Any, str]]  # values, each with the field of the genotype where it stands


class PaperSpace(Space):
    """A space of the papers, made from its `layout`. Subclasses say what type of genotype it is of,
    which one is meant by the values that were decided (`_genotype`), and the inverse: these values,
    each with the field of the genotype that it stands in (`_values`)."""

    genotype: type[Any]
    choices: Sequence[int] = ()

    def __init__(self, name: str, skeleton: str, layout: Positions):
        self.name = name
        self.skeleton = skeleton
        self.tabulated = name == TABULATED
        self.tokens, self._options = zip(*layout)
        self.choices = tuple(map(len, self._options))

    def token_at(self, position: int) -> Token:
        """What the decision at `position` is about."""
        return self.tokens[position]

    def decode(self, decisions: Decisions) -> Genotype:
        """The genotype that `decisions` mean. Raises `GenotypeError` for decisions that are none
        of this space's."""
        decisions = tuple(map(index, decisions))
        length = len(decisions)
        lengths = self.levels or (len(self.choices),)
        if length not in lengths:
            refuse(f"space {self.name}: number of decisions", length, lengths, GenotypeError)
        for position, (decision, count) in enumerate(zip(decisions, self.choices)):
            if not 0 <= decision < count:
                field = f"space {self.name}: decision {position}"
                refuse(field, decision, f"0 to {count - 1}", GenotypeError)
        return self._genotype(tuple(map(operator.getitem, self._options, decisions)))

    def encode(self, genotype: Genotype) -> list[int]:
        """Decisions that mean this network. Raises `GenotypeError` where the space does not hold
        it."""
        if not isinstance(genotype, self.genotype):
            self._refuse("kind", type(genotype).__name__, self.genotype.__name__)
        decisions = []
        for (value, field), options in zip(self._values(genotype), self._options):
            if value not in options:
                self._refuse(field, value, options)
            decisions.append(options.index(value))
        return decisions

    def _genotype(self, values: Values) -> Genotype:
        raise NotImplementedError

    def _values(self, genotype: Any) -> Placed:
        raise NotImplementedError

    def _refuse(self, field: str, found: Any, allowed: Values) -> NoReturn:
        refuse(f"not in the space {self.name}: {field}", found, allowed, GenotypeError)


def operations(space: str, primitives: Names) -> Words:
    """The candidate operations of a space. Raises `UserError` where one is unknown or stands
    there twice."""
    allowed = f"each once of {sorted(OPERATIONS)}"
    for op in primitives:
        once = op in OPERATIONS and primitives.count(op) == 1
        require(once, f"space {space}: primitives", op, allowed)
    return tuple(primitives)
