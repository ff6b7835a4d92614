"""Spaces of whole networks, layer by layer: NAS-RL's chains of convolutions and ENAS's macro
space."""

from collections.abc import Sequence

from nascore.errors import UserError, shorten
from nascore.genotypes import MAX_NODES, ChainGenotype, ChainLayer, MacroGenotype, MacroLayer
from nascore.spaces.space import Space, Token, operations


class Layers(Space):
    """Whole networks: each layer's `options`, kind by kind, then a bit for every layer before
    it, which is the anchor that the bit is scored against. The first layers of a network are
    themselves one, so the depth can grow (`levels`). Subclasses say which layer the choices and
    the bits that are set mean (`_layer`), and the inverse (`_choices`)."""

    def __init__(self, name: str, layers: int, options: dict[str, tuple]):
        if not isinstance(layers, int) or not 1 <= layers <= MAX_NODES:
            raise UserError(
                f"space {name}: layers {shorten(layers)}, allowed: a whole number from 1 to {MAX_NODES}"
            )
        self.layers = layers
        self._options = options
        layout = []
        ends = []
        levels = []
        for _ in range(layers):
            layout += [(Token(kind), len(values)) for kind, values in options.items()]
            anchor = len(layout) - 1
            layout += [(Token("skip", (end,)), 2) for end in ends]
            ends.append(anchor)
            levels.append(len(layout))
        self.levels = tuple(levels)
        super().__init__(name, name, layout)

    def _genotype(self, decisions):
        layers = []
        at = 0
        while at < len(decisions):
            chosen = {
                kind: values[decisions[at + k]]
                for k, (kind, values) in enumerate(self._options.items())
            }
            at += len(chosen)
            layers.append(self._layer(chosen, [i for i in range(len(layers)) if decisions[at + i]]))
            at += len(layers) - 1
        return self.genotype(tuple(layers))

    def encode(self, genotype: ChainGenotype | MacroGenotype) -> list[int]:
        """Decisions that mean this network. Raises `GenotypeError` where the space does not hold
        it."""
        self._require_kind(genotype, self.genotype)
        if len(genotype.layers) != self.layers:
            self._refuse("layers", len(genotype.layers), f"{self.layers} layers")
        decisions = []
        for i, layer in enumerate(genotype.layers):
            chosen, bits = self._choices(layer, f"layers[{i}]")
            for kind, values in self._options.items():
                decisions.append(self._option(chosen[kind], f"layers[{i}], {kind}", values))
            decisions += [int(j in bits) for j in range(i)]
        return decisions


class Chains(Layers):
    """NAS-RL (section 3): filter height, filter width, with `strides` stride height and stride
    width, number of filters; then the anchor point: layer by earlier layer, whether it is an
    input."""

    genotype = ChainGenotype
    STRIDES = (1, 2, 3)

    def __init__(self, layers: int, strides: bool, filters: Sequence[int], sides: Sequence[int]):
        options = {"filter height": tuple(sides), "filter width": tuple(sides)}
        if strides:
            options |= {"stride height": self.STRIDES, "stride width": self.STRIDES}
        super().__init__("nas-rl", layers, options | {"filters": tuple(filters)})

    def _layer(self, chosen, bits):
        size = chosen["filter height"], chosen["filter width"]
        stride = chosen.get("stride height", 1), chosen.get("stride width", 1)
        return ChainLayer(size, stride, chosen["filters"], tuple(i + 1 for i in bits))

    def _choices(self, layer, field):
        if layer.stride != (1, 1) and "stride height" not in self._options:
            self._refuse(f"{field}.stride", layer.stride, "[1, 1]")
        chosen = dict(zip(("filter height", "filter width"), layer.filter), filters=layer.filters)
        return chosen | dict(zip(("stride height", "stride width"), layer.stride)), [
            j - 1 for j in layer.inputs
        ]


class Macro(Layers):
    """ENAS's macro space (section 2.3): an operation, then the skips. The layer before always
    feeds; bit 0 of a layer adds the stem and bit i layer i, one further back than the anchor:
    the authors' controller scores bit i against what it remembers of layer i + 1."""

    genotype = MacroGenotype

    def __init__(self, layers: int, primitives: Sequence[str]):
        self.primitives = operations("enas-macro", primitives)
        super().__init__("enas-macro", layers, {"op": self.primitives})

    def _layer(self, chosen, bits):
        return MacroLayer(chosen["op"], tuple(bits))

    def _choices(self, layer, field):
        return {"op": layer.op}, layer.skips
