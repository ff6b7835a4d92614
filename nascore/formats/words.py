"""What the formats share: a cell read from a text's nodes, and what a format has words for."""

from collections.abc import Collection, Iterable
from typing import Any

from nascore.errors import one_of, refuse, require
from nascore.genotypes import Cell, CellGenotype, Genotype, GenotypeError, kind

Fields = dict[str, list[Any]]  # of a node: what it reads and the operations on it, as in JSON


def cell_of(nodes: Any, concat: Iterable[int], n_inputs: int = 2, field: str = "normal") -> Cell:
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


def require_sums(cell: Cell, field: str, n_inputs: int, words: Collection[str]) -> None:
    """Raises `GenotypeError` for a cell of other than `n_inputs`, or whose nodes are not all sums
    of operations that a format has `words` for."""
    found = cell.n_inputs
    require(found == n_inputs, f"{field}.n_inputs", found, f"{n_inputs}", GenotypeError)
    for i, node in enumerate(cell.nodes):
        place = f"{field}.nodes[{i}]"
        require(node.combine == "add", f"{place}.combine", node.combine, "add", GenotypeError)
        for op in node.ops:
            one_of(f"{place}.ops", op, words, GenotypeError)
