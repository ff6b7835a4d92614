"""Spaces of whole networks: NAS-RL's chains of convolutions with skip connections."""

from collections.abc import Sequence

from nascore.errors import UserError, shorten
from nascore.genotypes import MAX_NODES, ChainGenotype, ChainLayer
from nascore.spaces.space import Space, Token


class Chains(Space):
    """NAS-RL (section 3): whole networks, layer by layer: filter height, filter width, with `strides` stride height
    and stride width, number of filters; then the anchor point: layer by earlier layer, whether it is an input. The
    first layers of a network are themselves one, so the depth can grow (`levels`)."""

    STRIDES = (1, 2, 3)

    def __init__(self, layers: int, strides: bool, filters: Sequence[int], sides: Sequence[int]):
        if not isinstance(layers, int) or not 1 <= layers <= MAX_NODES:
            raise UserError(f"space nas-rl: layers {shorten(layers)}, allowed: a whole number from 1 to {MAX_NODES}")
        self.layers = layers
        self._options = {"filter height": tuple(sides), "filter width": tuple(sides)}
        if strides:
            self._options |= {"stride height": self.STRIDES, "stride width": self.STRIDES}
        self._options["filters"] = tuple(filters)
        layout, ends, levels = [], [], []
        for _ in range(layers):
            layout += [(Token(kind), len(options)) for kind, options in self._options.items()]
            anchor = len(layout) - 1
            layout += [(Token("skip", (end,)), 2) for end in ends]
            ends.append(anchor)
            levels.append(len(layout))
        self.levels = tuple(levels)
        super().__init__("nas-rl", "nas-rl", layout)

    def _genotype(self, decisions):
        layers, at = [], 0
        while at < len(decisions):
            chosen = {kind: options[decisions[at + k]] for k, (kind, options) in enumerate(self._options.items())}
            skips = decisions[at + len(chosen) : at + len(chosen) + len(layers)]
            at += len(chosen) + len(layers)
            inputs = tuple(j for j, bit in enumerate(skips, 1) if bit)
            size = chosen["filter height"], chosen["filter width"]
            stride = chosen.get("stride height", 1), chosen.get("stride width", 1)
            layers.append(ChainLayer(size, stride, chosen["filters"], inputs))
        return ChainGenotype(tuple(layers))

    def encode(self, genotype: ChainGenotype) -> list[int]:
        """Decisions that mean this network. Raises `GenotypeError` where the space does not hold it."""
        self._require_kind(genotype, ChainGenotype)
        if len(genotype.layers) != self.layers:
            self._refuse("layers", len(genotype.layers), f"{self.layers} layers")
        decisions = []
        for i, layer in enumerate(genotype.layers):
            if layer.stride != (1, 1) and "stride height" not in self._options:
                self._refuse(f"layers[{i}].stride", layer.stride, "[1, 1]")
            chosen = dict(zip(("filter height", "filter width"), layer.filter), filters=layer.filters)
            chosen |= dict(zip(("stride height", "stride width"), layer.stride))
            for kind, options in self._options.items():
                decisions.append(self._option(chosen[kind], f"layers[{i}], {kind}", options))
            decisions += [int(j in layer.inputs) for j in range(1, i + 1)]
        return decisions
