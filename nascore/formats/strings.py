"""NAS-Bench-201's strings."""

from re import fullmatch

from nascore.errors import one_of, require
from nascore.formats.words import cell_of, operation, with_cells
from nascore.genotypes import CellGenotype, Genotype, GenotypeError
from nascore.spaces import NASBENCH201_PRIMITIVES


def nasbench201(text: str) -> CellGenotype:
    """The cell of a string as `|op~0|+|op~0|op~1|+|...|`: a node between two `+`, an operation and
    the state that it reads between two `|`."""
    nodes = []
    for i, part in enumerate("".join(text.split()).split("+"), 1):
        closed = fullmatch(r"\|.*\|", part)
        require(closed, f"node {i}", part, "|operation~state|...|", GenotypeError)
        inputs = []
        ops = []
        for k, edge in enumerate(part[1:-1].split("|")):
            op, _, source = edge.rpartition("~")
            field = f"node {i}, edge {k}"
            known = fullmatch(r"\d{1,3}", source)
            require(known, field, edge, "operation~state", GenotypeError)
            inputs.append(int(source))
            ops.append(operation(op, field))
        nodes.append({"inputs": inputs, "ops": ops})
    return CellGenotype(cell_of(nodes, (len(nodes),), n_inputs=1))


def to_nasbench201(genotype: Genotype) -> str:
    """Raises `GenotypeError` where that format has no word for it."""
    both = with_cells(genotype, "a cell")
    cell = both.normal
    only = "one cell: NAS-Bench-201's format has no other"
    require(both.reduce is None, "reduce", "a cell", only, GenotypeError)
    require(cell.n_inputs == 1, "n_inputs", cell.n_inputs, "1", GenotypeError)
    last = len(cell.nodes)
    allowed = f"[{last}], the last node"
    require(cell.concat == (last,), "concat", list(cell.concat), allowed, GenotypeError)
    nodes = []
    for i, node in enumerate(cell.nodes):
        require(node.combine == "add", f"nodes[{i}].combine", node.combine, "add", GenotypeError)
        for op in node.ops:
            one_of(f"nodes[{i}].ops", op, NASBENCH201_PRIMITIVES, GenotypeError)
        edges = "|".join(f"{op}~{j}" for op, j in zip(node.ops, node.inputs))
        nodes.append(f"|{edges}|")
    return "+".join(nodes)
