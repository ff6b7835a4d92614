"""NAS-Bench-201's strings."""

from re import findall, fullmatch

from nascore.errors import require
from nascore.formats.words import cells, require_sums, with_cells
from nascore.genotypes import Genotype, GenotypeError
from nascore.spaces import NASBENCH201_PRIMITIVES


def nasbench201(text: str) -> Genotype:
    """The cell of a string as `|op~0|+|op~0|op~1|+|...|`: a node between two `+`, an operation and
    the state that it reads between two `|`."""
    nodes = []
    for i, part in enumerate("".join(text.split()).split("+"), 1):
        good = fullmatch(r"(\|[^|]+~\d{1,3})+\|", part)
        require(good, f"node {i}", part, "|operation~state|...|", GenotypeError)
        edges = findall(r"([^|]+)~(\d+)", part)
        nodes.append({"inputs": [int(j) for _, j in edges], "ops": [op for op, _ in edges]})
    return cells(normal={"nodes": nodes, "concat": [len(nodes)], "n_inputs": 1})


def to_nasbench201(genotype: Genotype) -> str:
    """Raises `GenotypeError` where that format has no word for it."""
    both = with_cells(genotype, "a cell")
    cell = both.normal
    only = "one cell: NAS-Bench-201's format has no other"
    require(both.reduce is None, "reduce", "a cell", only, GenotypeError)
    require_sums(cell, "normal", 1, NASBENCH201_PRIMITIVES)
    last = len(cell.nodes)
    allowed = f"[{last}], the last node"
    require(cell.concat == (last,), "concat", list(cell.concat), allowed, GenotypeError)
    nodes = []
    for node in cell.nodes:
        edges = "|".join(f"{op}~{j}" for op, j in zip(node.ops, node.inputs))
        nodes.append(f"|{edges}|")
    return "+".join(nodes)
