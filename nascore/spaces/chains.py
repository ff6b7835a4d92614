"""Spaces of whole networks, layer by layer: NAS-RL's chains of convolutions and ENAS's macro
space."""

from collections.abc import Sequence
from typing import Any

from nascore.errors import whole
from nascore.genotypes import (
    MAX_NODES,
    ChainGenotype,
    ChainLayer,
    Genotype,
    MacroGenotype,
    MacroLayer,
)
from nascore.spaces.guards import Decisions
from nascore.spaces.space import (
    Names,
    PaperSpace,
    Placed,
    Positions,
    Token,
    Values,
    operations,
)

Options = dict[str, Values]  # of a layer: what there is to choose from, by kind
Chosen = tuple[Values, Decisions]  # of a layer: by kind, and the bits that are set


class Layers(PaperSpace):
    """Whole networks: each layer's `options`, kind by kind, then a bit for every layer before
    it, which is the anchor that the bit is scored against. The first layers of a network are
    themselves one, so the depth can grow (`levels`). Subclasses say which layer what was chosen
    and the bits that are set mean (`_layer`), and the inverse (`_chosen`)."""

    def __init__(self, name: str, layers: int, options: Options):
        self.layers = whole(f"space {name}: layers", layers, 1, MAX_NODES)
        self._kinds = tuple(options)
        layout: Positions = []
        anchors: list[int] = []  # of the layers before: the last of what is no bit
        levels = []
        for _ in range(layers):
            layout += [(Token(kind), values) for kind, values in options.items()]
            anchor = len(layout) - 1
            layout += [(Token("skip", (earlier,)), (False, True)) for earlier in anchors]
            anchors.append(anchor)
            levels.append(len(layout))
        self.levels = tuple(levels)
        super().__init__(name, name, layout)

    def _layer(self, chosen: Values, bits: list[int]) -> Any:
        raise NotImplementedError

    def _chosen(self, layer: Any, field: str) -> Chosen:
        raise NotImplementedError

    def _genotype(self, values: Values) -> Genotype:
        layers: list[Any] = []
        left = iter(values)
        for i in range(self.levels.index(len(values)) + 1):
            chosen = [next(left) for _ in self._kinds]
            layers.append(self._layer(chosen, [j for j in range(i) if next(left)]))
        return self.genotype(tuple(layers))

    def _values(self, genotype: Any) -> Placed:
        if len(genotype.layers) != self.layers:
            self._refuse("layers", len(genotype.layers), f"{self.layers} layers")
        for i, layer in enumerate(genotype.layers):
            field = f"layers[{i}]"
            chosen, bits = self._chosen(layer, field)
            for kind, value in zip(self._kinds, chosen):
                yield value, f"{field}, {kind}"
            for j in range(i):
                yield j in bits, field


class Chains(Layers):
    """NAS-RL (section 3): filter height, filter width, with `strides` stride height and stride
    width, number of filters; then the anchor point: layer by earlier layer, whether it is an
    input."""

    genotype = ChainGenotype
    STRIDES = (1, 2, 3)

    def __init__(self, layers: int, strides: bool, filters: Sequence[int], sides: Sequence[int]):
        sides = tuple(sides)
        options: Options = {"filter height": sides, "filter width": sides}
        if strides:
            options |= {"stride height": self.STRIDES, "stride width": self.STRIDES}
        self._strides = strides
        super().__init__("nas-rl", layers, options | {"filters": tuple(filters)})

    def _layer(self, chosen: Values, bits: list[int]) -> ChainLayer:
        height, width, *stride, filters = chosen
        inputs = tuple(i + 1 for i in bits)
        return ChainLayer((height, width), tuple(stride) or (1, 1), filters, inputs)

    def _chosen(self, layer: ChainLayer, field: str) -> Chosen:
        match layer:
            case ChainLayer(sides, stride, filters, inputs) if self._strides or stride == (1, 1):
                decided = stride if self._strides else ()
                return [*sides, *decided, filters], [j - 1 for j in inputs]
        self._refuse(f"{field}.stride", layer.stride, "[1, 1]")


class Macro(Layers):
    """ENAS's macro space (section 2.3): an operation, then the skips. The layer before always
    feeds; bit 0 of a layer adds the stem and bit i layer i, one further back than the anchor:
    the authors' controller scores bit i against what it remembers of layer i + 1."""

    genotype = MacroGenotype

    def __init__(self, layers: int, primitives: Names):
        self.primitives = operations("enas-macro", primitives)
        super().__init__("enas-macro", layers, {"op": self.primitives})

    def _layer(self, chosen: Values, bits: list[int]) -> MacroLayer:
        (op,) = chosen
        return MacroLayer(op, tuple(bits))

    def _chosen(self, layer: MacroLayer, field: str) -> Chosen:
        return [layer.op], layer.skips
