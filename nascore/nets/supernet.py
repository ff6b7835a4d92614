"""The DARTS supernet: every candidate operation on every edge at once, equal to the paper's sum up
to rounding, and fast.

Equations 1 and 2 read x_j = sum over i < j of sum over o of p_o o(x_i), with p = softmax(alpha) of
that edge. Here the sum runs in another order: all edges that leave one state x_i run together,
their channels side by side, edge-major; `edges.MixedEdges` multiplies by p_o.

What each trick buys on a CPU: how many times longer a step takes without it, for weights and for
alphas (first order; 16 channels, 8 cells, batch 16, one thread, CPU seconds, medians of 3 to 5
rounds in turn; on a busy machine single rounds spread by 0.3, so a tenth is hardly a gain): edges
together 1.8, 1.55; `nets.depthwise` 1.3, 1.1 (its weight gradient alone 1.1 to 1.3, its input
gradient 1.05 to 1.1); dense gradients into batch norm 1.1, 1.1. Not worth their lines: batch norms
summed in place by an autograd function of their own, with ReLU in place and maps thinned out before
they are copied (together 1.04 to 1.07, 1.06 to 1.07; at batch 64 1.00, 1.03). No gain: PyTorch's
batch norms summed in place; pools weighted edge by edge in place of one 1x1 convolution; 1x1
convolutions with an autograd function of their own, dense up to 16 channels (weights 1.07 times
slower, alphas within 4 %); one depthwise convolution with several outputs a channel in place of
copies (alone 2 to 3 times slower); copies by `expand`; huge pages, and an allocator that hands out
the map freed last. Not done: a fast 5x5 weight gradient at stride 2 (by its timing alone about 1 %
of a weights step). In cache the same kernels take about half the time: much of a step is reading
and writing its maps.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Generator, Tensor, cat, randn, tensor
from torch import device as Device
from torch.nn import Linear, Module, ModuleList
from torch.nn.functional import avg_pool2d, relu, softmax

from nascore.errors import one_of
from nascore.nets.blocks import require_images
from nascore.nets.depthwise import channels_last
from nascore.nets.edges import Activation, MixedEdges, MixedReduce, batch_norm, conv, norm
from nascore.nets.recompute import recomputed
from nascore.nets.stack import Place, reductions, stack
from nascore.spaces import DARTS_PRIMITIVES


class MixedCell(Module):
    """A cell of the supernet: states of earlier cells in, the nodes' sums out. `probabilities` are
    softmax(alpha), for each source (the edges that leave it, operations)."""

    def __init__(
        self,
        sources: Sequence[MixedEdges],
        preprocess: Sequence[Module],
        concat: int,
        activation: Activation,
    ):
        super().__init__()
        self.sources = ModuleList(sources)
        self.preprocess = ModuleList(preprocess)
        self.concat = concat
        self.activation = activation
        self.nodes = sources[0].edges  # the first state goes to all of them
        self.n_inputs = len(sources) - self.nodes + 1

    def forward(self, states: Sequence[Tensor], probabilities: Sequence[Tensor]) -> Tensor:
        states = list(states)
        for k, convolution in enumerate(self.preprocess):
            states[k] = batch_norm(convolution(self.activation(states[k])))
        sums: list[list[Tensor]] = [[] for _ in range(self.nodes)]
        sources: Any = self.sources
        for k, source in enumerate(sources):
            if k >= self.n_inputs:
                states.append(_sum(sums[k - self.n_inputs]))
            outputs = source(states[k], probabilities[k]).split(source.channels, 1)
            for node, output in zip(sums[-source.edges :], outputs):
                node.append(output)
        states.append(_sum(sums[-1]))
        return cat(states[-self.concat :], 1) if self.concat > 1 else states[-1]


def _sum(terms: list[Tensor]) -> Tensor:
    return sum(terms[1:], terms[0])


class FixedReduction(Module):
    """NAS-Bench-201's reduction, which is not searched: two ReLU-conv3x3-BN, and a shortcut of
    average pooling and a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, activation: Activation):
        super().__init__()
        self.conv1 = conv(inputs, outputs, 3, stride=2)
        self.conv2 = conv(outputs, outputs, 3)
        self.norm1 = norm(outputs)
        self.norm2 = norm(outputs)
        self.shortcut = conv(inputs, outputs, 1)
        self.activation = activation

    def forward(self, states: Sequence[Tensor], probabilities: Sequence[Tensor]) -> Tensor:
        (x,) = states
        y = self.norm1(self.conv1(self.activation(x)))
        return self.norm2(self.conv2(self.activation(y))) + self.shortcut(avg_pool2d(x, 2))


class Supernet(Module):
    """The search network (sections 2.2 and 3.1): `forward(images, alphas)`, an (edges, operations)
    matrix a cell type.

    The alphas are arguments, not parameters. There are no buffers, so `torch.func.functional_call`
    with other weights changes nothing. A step that wants only the alphas' gradient passes weights
    that need none: none is computed then.
    """

    mixed: Callable[..., Any] = MixedEdges  # what computes the edges that leave a state

    def __init__(
        self,
        primitives: Sequence[str] = DARTS_PRIMITIVES,
        nodes: int = 4,
        n_inputs: int = 2,
        channels: int = 16,
        cells: int = 8,
        classes: int = 10,
        in_channels: int = 3,
        skeleton: str = "darts",
        cell_types: Sequence[str] = ("normal", "reduce"),
        activation: Activation = relu,
    ):
        super().__init__()
        one_of("skeleton", skeleton, ("darts", "nasbench201"))
        darts = skeleton == "darts"
        self.darts = darts
        self.primitives = tuple(primitives)
        self.nodes = nodes
        self.n_inputs = n_inputs
        self.cell_types = tuple(cell_types)
        self.activation = activation
        # The rows of alpha are the edges (node, source); those that leave one state run together.
        rows = [(node, source) for node in range(nodes) for source in range(n_inputs + node)]
        self.by_source = sorted(range(len(rows)), key=lambda row: rows[row][::-1])
        self.rows: dict[Device, Tensor] = {}
        self.edges_of = [nodes] * n_inputs + list(range(nodes - 1, 0, -1))
        width = channels * 3 if darts else channels
        self.stem = conv(in_channels, width, 3)
        self.stem_norm = norm(width)
        self.cells = ModuleList()
        self.types: list[int] = []
        at = set(reductions(cells))
        self.reductions = len(at)
        outputs = nodes if darts else 1
        for place in stack(channels, cells, at, width, (outputs, outputs)):
            self.cells.append(self._cell(place))
            self.types.append(self.cell_types.index("reduce") if place.reduction and darts else 0)
            width = outputs * place.channels
        self.recomputes = False  # cells, in the backward pass: for less memory
        self.last_norm = None if darts else norm(width)
        self.classifier = Linear(width, classes)

    def _cell(self, place: Place) -> Module:
        """All candidate cells at one place; NAS-Bench-201's reductions are not searched."""
        channels = place.channels
        if place.reduction and not self.darts:
            return FixedReduction(place.previous, channels, self.activation)
        sources = []
        for state, edges in enumerate(self.edges_of):
            stride = place.stride if state < self.n_inputs else 1
            how = (channels, edges, stride, self.darts, self.activation)
            sources.append(self.mixed(self.primitives, *how))
        if not self.darts:
            return MixedCell(sources, [], 1, self.activation)
        widths = (place.before, place.previous)[-self.n_inputs :]
        fits: list[Module] = [conv(width, channels, 1) for width in widths]
        if place.halved:  # in place of a convolution that is drawn as well
            fits[:-1] = [MixedReduce(width, channels) for width in widths[:-1]]
        return MixedCell(sources, fits, self.nodes, self.activation)

    def check(self, shape: Sequence[int]) -> None:
        """Raises `UserError` for images of a `shape` (batch, channels, height, width) that this
        supernet cannot take: every reduction halves the sides."""
        require_images(shape, self.stem.in_channels, 2**self.reductions)

    def forward(self, images: Tensor, alphas: Sequence[Tensor]) -> Tensor:
        self.check(images.shape)
        rows = self.rows.get(images.device)  # on the device: a list would be copied at each step
        if rows is None:
            rows = self.rows[images.device] = tensor(self.by_source, device=images.device)
        by_type = [softmax(alpha, -1).index_select(0, rows) for alpha in alphas]
        probabilities = [p.split(self.edges_of) for p in by_type]
        stem = self.stem_norm(self.stem(channels_last(images)))
        stem = channels_last(stem)  # a convolution of one channel loses the format
        states = [stem] * self.n_inputs
        for cell, cell_type in zip(self.cells, self.types):
            how = partial(recomputed, cell) if self.recomputes else cell
            states = [*states[1:], how(states, probabilities[cell_type])]
        x = states[-1] if self.last_norm is None else self.activation(self.last_norm(states[-1]))
        return self.classifier(x.mean((2, 3)))


def initial_alphas(
    supernet: Supernet, generator: Generator | None = None, device="cpu"
) -> tuple[Tensor, ...]:
    """One (edges, operations) matrix per cell type, drawn from N(0, 1) (the reference's code
    scales it by 1e-3)."""
    shape = (len(supernet.by_source), len(supernet.primitives))
    where = generator.device if generator else "cpu"
    return tuple(
        randn(shape, generator=generator, device=where).to(device) for _ in supernet.cell_types
    )
