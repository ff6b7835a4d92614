"""What the formats share: a word for an operation, a cell of nodes."""

from collections.abc import Iterable

from nascore import genotypes
from nascore.errors import one_of
from nascore.genotypes import Cell, GenotypeError


def operation(name, field: str) -> str:
    """Our word for an operation. Raises `GenotypeError`, which names the field."""
    return one_of(field, name, sorted(genotypes.OPERATIONS), GenotypeError)


def cell_of(
    nodes: list[dict], concat: Iterable[int], n_inputs: int = 2, field: str = "cell"
) -> Cell:
    try:
        return Cell(nodes, list(concat), n_inputs)
    except GenotypeError as error:
        raise GenotypeError(f"{field}: {error}") from None
