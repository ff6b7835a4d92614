"""What the formats share: a word for an operation, a cell of nodes."""

from collections.abc import Iterable
from typing import Any

from nascore.errors import one_of, refuse
from nascore.genotypes import OPERATIONS, Cell, CellGenotype, Genotype, GenotypeError, kind

Fields = dict[str, list[Any]]  # of a node: what it reads and the operations on it, as in JSON


def operation(name: Any, field: str) -> str:
    """Our word for an operation. Raises `GenotypeError`, which names the field."""
    return one_of(field, name, sorted(OPERATIONS), GenotypeError)


def cell_of(nodes: Any, concat: Iterable[int], n_inputs: int = 2, field: str = "cell") -> Cell:
    """The cell of these nodes, `Fields` each. Raises `GenotypeError`, which names the field."""
    states: Any = list(concat)  # a cell brings both into its own form
    try:
        return Cell(nodes, states, n_inputs)
    except GenotypeError as error:
        raise GenotypeError(f"{field}: {error}") from None


def with_cells(genotype: Genotype, allowed: str) -> CellGenotype:
    """The genotype to be written, which must be of cells. Raises `GenotypeError`."""
    if not isinstance(genotype, CellGenotype):
        refuse("kind", kind(genotype), allowed, GenotypeError)
    return genotype
