"""What the formats share: texts are brought into JSON's form, which `from_dict` checks, and what is
written must have words in a format."""

from collections.abc import Collection
from typing import Any

from nascore.errors import one_of, refuse, require
from nascore.genotypes import Cell, CellGenotype, Genotype, GenotypeError, from_dict, kind

Fields = dict[str, Any]  # of a node or of a cell, as in JSON


def cells(**fields: Fields) -> Genotype:
    """The genotype of a `normal` cell, and perhaps a `reduce`. Raises `GenotypeError`, which names
    the field."""
    return from_dict({"kind": "cell", **fields})


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
