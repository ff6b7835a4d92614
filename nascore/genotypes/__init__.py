"""What a search finds: an architecture as a small frozen value.

Five kinds, one for each family of search space: `CellGenotype` (NASNet, PNAS, ENAS micro, DARTS,
NAS-Bench-201), `ChainGenotype` (NAS-RL), `MacroGenotype` (ENAS macro), `RecurrentGenotype` (ENAS,
DARTS) and `RecurrentTree` (NAS-RL). Values are hashable and equal by value; `to_json` and
`from_json` are exact inverses, as are `as_dict` and `from_dict`. `OPERATIONS` are the names
that a genotype may use. Nothing here knows of torch."""

from nascore.genotypes.canonical import canonical
from nascore.genotypes.operations import OPERATIONS, TABLE, Operation, operation_named
from nascore.genotypes.values import (
    ACTIVATIONS,
    COMBINATIONS,
    KINDS,
    MAX_INPUTS,
    MAX_NODES,
    MAX_TEXT,
    TREE_COMBINATIONS,
    Cell,
    CellGenotype,
    ChainGenotype,
    ChainLayer,
    Genotype,
    GenotypeError,
    MacroGenotype,
    MacroLayer,
    Node,
    RecurrentGenotype,
    RecurrentTree,
    as_dict,
    from_dict,
    from_json,
    kind,
    loaded,
    to_json,
)

__all__ = [
    "TREE_COMBINATIONS",
    "COMBINATIONS",
    "ACTIVATIONS",
    "Cell",
    "CellGenotype",
    "ChainGenotype",
    "ChainLayer",
    "Genotype",
    "GenotypeError",
    "KINDS",
    "MAX_INPUTS",
    "MAX_NODES",
    "MAX_TEXT",
    "MacroGenotype",
    "MacroLayer",
    "Node",
    "OPERATIONS",
    "Operation",
    "RecurrentGenotype",
    "RecurrentTree",
    "TABLE",
    "as_dict",
    "canonical",
    "from_dict",
    "from_json",
    "kind",
    "loaded",
    "operation_named",
    "to_json",
]
