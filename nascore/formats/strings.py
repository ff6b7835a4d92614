"""NAS-Bench-201's strings."""

import re
from functools import partial

from nascore import genotypes, spaces
from nascore.errors import one_of, require
from nascore.formats.words import cell_of, operation
from nascore.genotypes import CellGenotype, Genotype, GenotypeError


def nasbench201(text: str) -> CellGenotype:
    """The cell of a string as `|op~0|+|op~0|op~1|+|...|`: a node between two `+`, an operation and the
    state that it reads between two `|`."""
    nodes = []
    for i, part in enumerate("".join(text.split()).split("+")):
        closed = re.fullmatch(r"\|.*\|", part)
        require(closed, f"node {i + 1}", part, "|operation~state|...|", GenotypeError)
        inputs = []
        ops = []
        for k, edge in enumerate(part[1:-1].split("|")):
            op, _, source = edge.rpartition("~")
            field = f"node {i + 1}, edge {k}"
            require(re.fullmatch(r"\d{1,3}", source), field, edge, "operation~state", GenotypeError)
            inputs.append(int(source))
            ops.append(operation(op, field))
        nodes.append({"inputs": inputs, "ops": ops})
    return CellGenotype(cell_of(nodes, (len(nodes),), n_inputs=1))


def to_nasbench201(genotype: Genotype) -> str:
    """Raises `GenotypeError` where that format has no word for it."""
    refuse_unless = partial(require, error=GenotypeError)
    kind = genotypes.kind(genotype)
    refuse_unless(isinstance(genotype, CellGenotype), "kind", kind, "a cell")
    cell = genotype.normal
    only = "one cell: NAS-Bench-201's format has no other"
    refuse_unless(genotype.reduce is None, "reduce", "a cell", only)
    refuse_unless(cell.n_inputs == 1, "n_inputs", cell.n_inputs, "1")
    last = (len(cell.nodes),)
    refuse_unless(cell.concat == last, "concat", list(cell.concat), f"{list(last)}, the last node")
    for i, node in enumerate(cell.nodes):
        refuse_unless(node.combine == "add", f"nodes[{i}].combine", node.combine, "add")
        for op in node.ops:
            one_of(f"nodes[{i}].ops", op, spaces.NASBENCH201_PRIMITIVES, GenotypeError)
    edges = (zip(node.ops, node.inputs) for node in cell.nodes)
    nodes = ("|".join(f"{op}~{j}" for op, j in of_node) for of_node in edges)
    return "+".join(f"|{node}|" for node in nodes)
