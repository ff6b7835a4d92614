"""A network as one readable file of plain PyTorch, for those who have no nascore.

The file defines this very network, cell by cell, from the functions of `nets.plain` that it needs.
Its parameters have the names of ours, so that it reads `model.safetensors`."""

import pprint
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from nascore.errors import require
from nascore.genotypes import (
    OPERATIONS,
    Cell,
    CellGenotype,
    ChainGenotype,
    Genotype,
    MacroGenotype,
    Node,
)
from nascore.nets.blocks import ChainBody, MacroBody, PlacedCell
from nascore.nets.convolutional import Network
from nascore.nets.definitions import used
from nascore.nets.expressions import expression, widths
from nascore.nets.measure import parameters

WIDTH = 100  # columns of the file
PLAIN_EPSILON = 1e-5  # PyTorch's, of batch norm
HEAD = '''"""{title}

{about}
"""

import torch
import torch.nn.functional as F
from torch import nn
'''
LOAD = '''
def load(folder):
    """The network with the weights of `model.safetensors` in `folder`, ready to be asked."""
    from safetensors.torch import load_file

    network = Network()
    network.load_state_dict(load_file(f"{folder}/model.safetensors"))
    return network.eval()
'''


def python(
    network: Network, title: str, image: Sequence[int], constants: Mapping[str, Any] | None = None
) -> str:
    """The text of a file that defines `network`, for images of (height, width) pixels, and
    `constants`: CLASSES, MEAN, STD. Raises `UserError` for an operation of one's own, whose text is
    not known."""
    for name in _operations(network.genotype):
        own = OPERATIONS[name].family == "own"
        require(not own, "operation", name, "one of nascore's: the text of yours is not known")
    height, width = image
    shape = f"(N, {network.in_channels}, {height}, {width})"
    *_, linear = network.head
    logits = f"logits (N, {linear.out_features})"
    about = f"Images {shape} -> {logits}; {parameters(network):,} parameters.\n"
    about += "Network() builds it; load(folder) also reads the weights, model.safetensors."
    values = ""
    if constants:
        about += "\nAn image in [0, 1] is brought to (image - MEAN) / STD, a number a channel."
        values = "\n" + "".join(f"{name} = {_value(x)}\n" for name, x in constants.items())
    start = HEAD.format(title=title, about=about) + values
    body = [*_bodies(network), _network(network)]
    functions = used("\n\n".join(body), network.skeleton)
    return "\n\n".join([start, *functions, *body, LOAD.lstrip()])


def _operations(genotype: Genotype) -> set[str]:
    match genotype:
        case CellGenotype(normal, reduce):
            nodes = normal.nodes + (reduce.nodes if reduce else ())
            return {op for node in nodes for op in node.ops}
        case MacroGenotype(layers):
            return {layer.op for layer in layers}
    return set()


def _value(value: Any) -> str:
    return pprint.pformat(value, width=80, compact=True)


def _lines(line: str, indent: int = 8) -> str:
    """One statement, over several lines inside its brackets where it is too long."""
    return textwrap.fill(
        " ".join(line.split()),
        WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 4),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _listed(items: Iterable[str], indent: int = 12) -> str:
    """A line for each item of a list."""
    return "".join(f"{_lines(f'{item},', indent)}\n" for item in items)


# --- cells ----------------------------------------------------------------------------------------


def _cell_names(genotype: CellGenotype) -> dict[Cell, str]:
    """The class of each cell; of one cell that is all, `Cell`."""
    if genotype.reduce in (None, genotype.normal):
        return {genotype.normal: "Cell"}
    return {genotype.normal: "NormalCell", genotype.reduce: "ReductionCell"}


def _cell(name: str, cell: Cell, raw: bool) -> str:
    """The class of a cell; `raw`: some of its places leave the width of an input as it is."""
    inputs = range(cell.n_inputs)
    widths = [f"w{j}" if raw else "c" for j in inputs]
    reads = "the two cells before" if cell.n_inputs == 2 else "the cell before"
    lines = [f"class {name}(nn.Module):"]
    about = f'"""States {_list(inputs)}: {reads}; {_list(cell.concat)} are put out."""'
    lines += [_lines(about, 4), ""]
    lines += [f"    def __init__(self, fits, c, stride=1{', widths=None' * raw}):"]
    lines += ["        super().__init__()"]
    if raw:
        lines += [f"        {', '.join(widths)}, = widths or [c] * {len(widths)}"]
    lines += ["        self.preprocess = nn.ModuleList(fits)"]
    lines += ["        self.nodes = nn.ModuleList()"]
    for node in cell.nodes:
        ops = ", ".join(_edge(op, j, widths) for op, j in zip(node.ops, node.inputs))
        lines += [_lines(f"self.nodes.append(nn.ModuleList([{ops}]))")]
    lines += _projections(cell) + _skips(cell, widths, raw) + ["", *_cell_forward(cell)]
    return "\n".join(lines) + "\n"


def _list(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _edge(op: str, state: int, widths: Sequence[str]) -> str:
    return f"{op}({widths[state]}, c, stride)" if state < len(widths) else f"{op}(c, c)"


def _projections(cell: Cell) -> list[str]:
    """What brings the nodes that concatenate back to the cell's width."""
    joined = {i: len(node.ops) for i, node in enumerate(cell.nodes) if node.combine == "concat"}
    if not joined:
        return []
    parts = ", ".join(f'"{i}": relu_conv_bn({n} * c, c)' for i, n in joined.items())
    return [_lines(f"self.projections = nn.ModuleDict({{{parts}}})")]


def _skips(cell: Cell, widths: Sequence[str], raw: bool) -> list[str]:
    """What brings the inputs that are put out to the cell's width and size."""
    parts = []
    for j in sorted(set(cell.concat) & set(range(cell.n_inputs))):
        width = widths[j]
        skip = "skip_connect(c, c, stride)"
        fitted = f" if {width} == c else conv_bn({width}, c, 1, stride, 0)" if raw else ""
        parts.append(f'"{j}": {skip}{fitted}')
    return [_lines(f"self.skips = nn.ModuleDict({{{', '.join(parts)}}})")] if parts else []


def _cell_forward(cell: Cell) -> Iterator[str]:
    yield "    def forward(self, before, previous):"
    for j, read in enumerate(("before", "previous")[-cell.n_inputs :]):
        yield f"        s{j} = self.preprocess[{j}]({read})"
    for i, node in enumerate(cell.nodes):
        yield _lines(f"s{cell.n_inputs + i} = {_combined(i, node)}")
    inside = range(cell.n_inputs)
    out = [f'self.skips["{j}"](s{j})' if j in inside else f"s{j}" for j in cell.concat]
    yield _lines(f"return torch.cat([{', '.join(out)}], 1)" if out[1:] else f"return {out[0]}")


def _combined(i: int, node: Node) -> str:
    terms = [f"self.nodes[{i}][{k}](s{j})" for k, j in enumerate(node.inputs)]
    if node.combine == "concat":
        return f'self.projections["{i}"](torch.cat([{", ".join(terms)}], 1))'
    total = " + ".join(terms)
    return f"({total})" if len(total) > WIDTH - 16 else total


def _bodies(network: Network) -> Iterator[str]:
    """The classes of the cells, or of the chain or the macro network, that `Network` is stacked
    from."""
    body: Any = network.stems[0]
    match network.genotype:
        case ChainGenotype():
            yield _chain(body)
        case MacroGenotype(layers):
            yield _macro([layer.op for layer in layers], body)
        case CellGenotype() as genotype:
            cells = [cell for cell in network.cells if isinstance(cell, PlacedCell)]
            for cell, name in _cell_names(genotype).items():
                raw = [_is_raw(place) for place in cells if place.cell == cell]
                if raw:
                    yield _cell(name, cell, any(raw))


def _is_raw(cell: PlacedCell) -> bool:
    """Whether it leaves the width of an input as it is."""
    return set(cell.widths) != {cell.channels}


# --- whole networks -------------------------------------------------------------------------------


def _chain(chain: ChainBody) -> str:
    """A chain's class: its layers, and which states each one reads."""
    lines = ["class Chain(nn.Module):", "    def __init__(self):", "        super().__init__()"]
    layers = _listed(expression(layer) for layer in chain.layers)
    lines += [f"        self.layers = nn.ModuleList([\n{layers}        ])", ""]
    lines += ["    def forward(self, s0):"]
    for k, inputs in enumerate(chain.inputs):
        lines += [_lines(f"s{k + 1} = self.layers[{k}]({_joined(inputs)})")]
    lines += [_lines(f"return {_joined(chain.outputs)}")]
    return "\n".join(lines) + "\n"


def _joined(states: Sequence[int]) -> str:
    names = ", ".join(f"s{j}" for j in states)
    return names if len(states) == 1 else f"concatenate({names})"


def _macro(ops: Sequence[str], macro: MacroBody) -> str:
    """A macro network's class: operation, skips and join of every layer, and where maps are
    halved."""
    lines = ["class Macro(nn.Module):", "    def __init__(self):", "        super().__init__()"]
    lines += [f"        self.stem = {expression(macro.stem)}"]
    parts: Any = macro
    operations = []
    for op, (squeeze, _) in zip(ops, parts.operations):
        width = squeeze[1].out_channels
        operations.append(f"nn.Sequential({expression(squeeze)}, {op}({width}, {width}))")
    lines += [f"        self.operations = nn.ModuleList([\n{_listed(operations)}        ])"]
    joins = _listed(map(expression, parts.joins))
    lines += [f"        self.joins = nn.ModuleList([\n{joins}        ])"]
    lines += ["        self.halvings = nn.ModuleDict()"]
    for at, halves in parts.halvings.items():
        lines += [f"        halves = [{expression(halves[0])} for _ in range({len(halves)})]"]
        lines += [f'        self.halvings["{at}"] = nn.ModuleList(halves)']
    lines += ["", "    def forward(self, image):", "        s0 = self.stem(image)"]
    for k, skips in enumerate(macro.skips):
        lines += _macro_layer(k, skips, macro)
    return "\n".join([*lines, f"        return s{len(macro.skips)}"]) + "\n"


def _macro_layer(k: int, skips: Sequence[int], macro: MacroBody) -> Iterator[str]:
    read = ", ".join([*(f"s{j}" for j in skips), f"self.operations[{k}](s{k})"])
    joined = f"self.joins[{k}](torch.cat([{read}], 1))" if k else read
    yield _lines(f"s{k + 1} = {joined}")
    if str(k) in macro.halvings:
        later = {k + 1}.union(*macro.skips[k + 1 :])
        for j in sorted(later & set(range(k + 2))):
            yield f'        s{j} = self.halvings["{k}"][{j}](s{j})'


def _network(network: Network) -> str:
    """The class `Network`: stems, cells, head, as they are stacked."""
    lines = ["class Network(nn.Module):", "    def __init__(self):", "        super().__init__()"]
    stems = _listed(map(expression, network.stems))
    lines += [f"        self.stems = nn.ModuleList([\n{stems}        ])"]
    if isinstance(network.genotype, CellGenotype):
        names = _cell_names(network.genotype)
        cells = _listed(_placed(cell, names) for cell in network.cells)
        lines += [f"        self.cells = nn.ModuleList([\n{cells}        ])"]
    head = _listed(map(expression, network.head))
    lines += [f"        self.head = nn.Sequential(\n{head}        )"]
    if network.auxiliary is not None:
        lines += [_lines(f"self.auxiliary = {expression(network.auxiliary)}")]
    norms = (m for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    epsilon = next(norms).eps
    if epsilon != PLAIN_EPSILON:
        lines += ["        for module in self.modules():"]
        lines += ["            if isinstance(module, nn.BatchNorm2d):"]
        lines += [f"                module.eps = {epsilon}"]
    return "\n".join([*lines, "", *_forward(network)]) + "\n"


def _placed(cell: nn.Module, names: Mapping[Cell, str]) -> str:
    """A cell, or the block in place of one, where it stands in the stack."""
    if not isinstance(cell, PlacedCell):
        first: Any = cell.get_submodule("block.first")
        return f"ResidualBlock({widths(first[1])})"
    fits = ", ".join(map(expression, cell.preprocess))
    said = [f"[{fits}]", str(cell.channels)]
    if cell.stride > 1:
        said.append(f"stride={cell.stride}")
    if _is_raw(cell):
        said.append(f"widths={cell.widths}")
    return f"{names[cell.cell]}({', '.join(said)})"


def _forward(network: Network) -> Iterator[str]:
    yield "    def forward(self, images):"
    if not len(network.cells):
        yield "        return self.head(self.stems[0](images))"
        return
    yield "        before = previous = self.stems[0](images)"
    if len(network.stems) > 1:
        yield "        for stem in self.stems[1:]:"
        yield "            before, previous = previous, stem(previous)"
    if not network.holds and network.auxiliary is None:
        yield "        for cell in self.cells:"
        yield "            before, previous = previous, cell(before, previous)"
        yield "        return self.head(previous)"
        return
    yield "        for k, cell in enumerate(self.cells):"
    yield "            output = cell(before, previous)"
    held = f"before if k in {tuple(network.holds)} else previous" if network.holds else "previous"
    yield f"            before, previous = {held}, output"
    if network.auxiliary is None:
        yield "        return self.head(previous)"
        return
    yield f"            if self.training and k == {network.auxiliary_after}:"
    yield "                auxiliary = self.auxiliary(previous)"
    yield "        logits = self.head(previous)"
    yield "        return (logits, auxiliary) if self.training else logits"
