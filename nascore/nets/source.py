"""A network as one readable file of plain PyTorch, for those who have no nascore.

The file defines this very network, cell by cell, from the functions of `nets.plain` that it needs.
Its parameters have the names of ours, so that it reads `model.safetensors`."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pprint import pformat
from typing import Any

from torch.nn import BatchNorm2d, Module

from nascore.errors import require
from nascore.genotypes import (
    Cell,
    CellGenotype,
    ChainGenotype,
    Genotype,
    MacroGenotype,
    MacroLayer,
    Node,
    operation_named,
)
from nascore.nets.blocks import ChainBody, MacroBody, PlacedCell
from nascore.nets.convolutional import Network
from nascore.nets.definitions import WITH_TEXT, used
from nascore.nets.expressions import expression, widths
from nascore.nets.measure import parameters

WIDTH = 100  # columns of the file
Lines = Iterator[str]  # of a class, without their ends
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
        known = operation_named(name).family in WITH_TEXT
        require(known, "operation", name, "one of nascore's: the text of yours is not known")
    height, width = image
    shape = f"(N, {network.in_channels}, {height}, {width})"
    *_, linear = network.head
    logits = f"logits (N, {linear.out_features})"
    about = f"Images {shape} -> {logits}; {parameters(network):,} parameters.\n"
    about += "Network() builds it; load(folder) also reads the weights, model.safetensors."
    values = ""
    if constants:
        about += "\nAn image in [0, 1] is brought to (image - MEAN) / STD, a number a channel."
        for name, value in constants.items():
            values += f"\n{name} = {pformat(value, width=80, compact=True)}"
        values += "\n"
    start = HEAD.format(title=title, about=about) + values
    classes = [_text(lines) for lines in (*_bodies(network), _network(network))]
    functions = used("\n\n".join(classes), network.skeleton)
    return "\n\n".join([start, *functions, *classes, LOAD.lstrip()])


def _operations(genotype: Genotype) -> set[str]:
    match genotype:
        case CellGenotype(normal, reduce):
            nodes = normal.nodes + (reduce.nodes if reduce else ())
            return {op for node in nodes for op in node.ops}
        case MacroGenotype(layers):
            return {layer.op for layer in layers}
    return set()


def _text(lines: Lines) -> str:
    """The lines of a class, each over several inside its brackets where it is too long."""
    return "".join(_wrapped(line) + "\n" for line in lines)


def _wrapped(line: str) -> str:
    indent = len(line) - len(line.lstrip()) + 4
    return textwrap.fill(
        line,
        WIDTH,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _start(name: str) -> Lines:
    yield f"class {name}(nn.Module):"
    yield "    def __init__(self):"
    yield "        super().__init__()"


def _items(modules: Iterable[Module]) -> Lines:
    """A line for each module of a list."""
    return (f"            {expression(module)}," for module in modules)


# --- cells ----------------------------------------------------------------------------------------


def _cell_names(genotype: CellGenotype) -> dict[Cell, str]:
    """The class of each cell; of one cell that is all, `Cell`."""
    if genotype.reduce in (None, genotype.normal):
        return {genotype.normal: "Cell"}
    return {genotype.normal: "NormalCell", genotype.reduce: "ReductionCell"}


def _cell(name: str, cell: Cell, raw: bool) -> Lines:
    """The class of a cell; `raw`: some of its places leave the width of an input as it is."""
    inputs = range(cell.n_inputs)
    reads = "the two cells before" if cell.n_inputs == 2 else "the cell before"
    widths = [f"w{j}" if raw else "c" for j in inputs]
    yield f"class {name}(nn.Module):"
    yield f'    """States {_list(inputs)}: {reads}; {_list(cell.concat)} are put out."""'
    yield ""
    yield f"    def __init__(self, fits, c, stride=1{', widths=None' * raw}):"
    yield "        super().__init__()"
    if raw:
        yield f"        {_list(widths)}, = widths or [c] * {cell.n_inputs}"
    yield "        self.preprocess = nn.ModuleList(fits)"
    yield "        self.nodes = nn.ModuleList()"
    sizes = [f"{width}, c, stride" for width in widths] + ["c, c"] * len(cell.nodes)
    for node in cell.nodes:
        ops = _list(f"{op}({sizes[j]})" for op, j in zip(node.ops, node.inputs))
        yield f"        self.nodes.append(nn.ModuleList([{ops}]))"
    yield from _back_to_width(cell, widths, raw)
    yield ""
    yield from _cell_forward(cell)


def _list(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))


def _back_to_width(cell: Cell, widths: Sequence[str], raw: bool) -> Lines:
    """What brings nodes that concatenate, and inputs that are put out, to the cell's width (and
    size)."""
    joined = [(i, node) for i, node in enumerate(cell.nodes) if node.combine == "concat"]
    if joined:
        made = _list(f'"{i}": relu_conv_bn({len(node.ops)} * c, c)' for i, node in joined)
        yield f"        self.projections = nn.ModuleDict({{{made}}})"
    skips = _list(f'"{j}": {_skip(w, raw)}' for j, w in enumerate(widths) if j in cell.concat)
    if skips:
        yield f"        self.skips = nn.ModuleDict({{{skips}}})"


def _skip(width: str, raw: bool) -> str:
    fitted = f" if {width} == c else conv_bn({width}, c, 1, stride, 0)"
    return f"skip_connect(c, c, stride){fitted * raw}"


def _cell_forward(cell: Cell) -> Lines:
    inputs = range(cell.n_inputs)
    yield "    def forward(self, before, previous):"
    for j, read in zip(inputs, ("before", "previous")[-cell.n_inputs :]):
        yield f"        s{j} = self.preprocess[{j}]({read})"
    for i, node in enumerate(cell.nodes):
        yield f"        s{cell.n_inputs + i} = {_combined(i, node)}"
    out = [f'self.skips["{j}"](s{j})' if j in inputs else f"s{j}" for j in cell.concat]
    yield f"        return torch.cat([{_list(out)}], 1)" if out[1:] else f"        return {out[0]}"


def _combined(i: int, node: Node) -> str:
    terms = [f"self.nodes[{i}][{k}](s{j})" for k, j in enumerate(node.inputs)]
    if node.combine == "concat":
        return f'self.projections["{i}"](torch.cat([{_list(terms)}], 1))'
    total = " + ".join(terms)
    return f"({total})" if len(total) > WIDTH - 16 else total


def _bodies(network: Network) -> Iterator[Lines]:
    """The classes of the cells, or of the chain or the macro network, that `Network` is stacked
    from."""
    body: Any = network.stems[0]
    match network.genotype:
        case ChainGenotype():
            yield _chain(body)
        case MacroGenotype(layers):
            yield _macro(layers, body)
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


def _chain(chain: ChainBody) -> Lines:
    """A chain's class: its layers, and which states each one reads."""
    yield from _start("Chain")
    yield "        self.layers = nn.ModuleList(["
    yield from _items(chain.layers)
    yield "        ])"
    yield ""
    yield "    def forward(self, s0):"
    for k, inputs in enumerate(chain.inputs):
        yield f"        s{k + 1} = self.layers[{k}]({_joined(inputs)})"
    yield f"        return {_joined(chain.outputs)}"


def _joined(states: Sequence[int]) -> str:
    names = _list(f"s{j}" for j in states)
    return names if len(states) == 1 else f"concatenate({names})"


def _macro(layers: Sequence[MacroLayer], macro: MacroBody) -> Lines:
    """A macro network's class: operation, skips and join of every layer, and where maps are
    halved."""
    parts: Any = macro
    yield from _start("Macro")
    yield f"        self.stem = {expression(macro.stem)}"
    yield "        self.operations = nn.ModuleList(["
    for layer, (squeeze, _) in zip(layers, parts.operations):
        made = f"{layer.op}({widths(squeeze[1])})"
        yield f"            nn.Sequential({expression(squeeze)}, {made}),"
    yield "        ])"
    yield "        self.joins = nn.ModuleList(["
    yield from _items(macro.joins)
    yield "        ])"
    yield "        self.halvings = nn.ModuleDict()"
    for at, halves in parts.halvings.items():
        yield f"        halves = [{expression(halves[0])} for _ in range({len(halves)})]"
        yield f'        self.halvings["{at}"] = nn.ModuleList(halves)'
    yield ""
    yield from _macro_forward(macro)


def _macro_forward(macro: MacroBody) -> Lines:
    yield "    def forward(self, image):"
    yield "        s0 = self.stem(image)"
    for k, skips in enumerate(macro.skips):
        read = _list([*(f"s{j}" for j in skips), f"self.operations[{k}](s{k})"])
        joined = f"self.joins[{k}](torch.cat([{read}], 1))" if k else read
        yield f"        s{k + 1} = {joined}"
        if str(k) in macro.halvings:
            later = {k + 1}.union(*macro.skips[k + 1 :])
            for j in sorted(later.intersection(range(k + 2))):
                yield f'        s{j} = self.halvings["{k}"][{j}](s{j})'
    yield f"        return s{len(macro.skips)}"


def _network(network: Network) -> Lines:
    """The class `Network`: stems, cells, head, as they are stacked."""
    yield from _start("Network")
    yield "        self.stems = nn.ModuleList(["
    yield from _items(network.stems)
    yield "        ])"
    if isinstance(network.genotype, CellGenotype):
        names = _cell_names(network.genotype)
        yield "        self.cells = nn.ModuleList(["
        for cell in network.cells:
            yield f"            {_placed(cell, names)},"
        yield "        ])"
    yield "        self.head = nn.Sequential("
    yield from _items(network.head)
    yield "        )"
    if network.auxiliary is not None:
        yield f"        self.auxiliary = {expression(network.auxiliary)}"
    norms = (m for m in network.modules() if isinstance(m, BatchNorm2d))
    epsilon = next(norms).eps
    if epsilon != PLAIN_EPSILON:
        yield "        for module in self.modules():"
        yield "            if isinstance(module, nn.BatchNorm2d):"
        yield f"                module.eps = {epsilon}"
    yield ""
    yield from _forward(network)


def _placed(cell: Module, names: Mapping[Cell, str]) -> str:
    """A cell, or the block in place of one, where it stands in the stack."""
    if not isinstance(cell, PlacedCell):
        first: Any = cell.get_submodule("block.first")
        return f"ResidualBlock({widths(first[1])})"
    fits = _list(map(expression, cell.preprocess))
    stride = f", stride={cell.stride}" if cell.stride > 1 else ""
    raw = f", widths={cell.widths}" if _is_raw(cell) else ""
    return f"{names[cell.cell]}([{fits}], {cell.channels}{stride}{raw})"


def _forward(network: Network) -> Lines:
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
