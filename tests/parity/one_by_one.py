"""The LSTM of a policy for one architecture, by matrix products: what the policies of NAS-RL and
ENAS are compared with."""

import torch
from torch import Tensor

from nascore.spaces.space import Space


class OneByOne:
    """A policy over the decisions of `space` with these weights, named as `Controller` names them.

    `x` is what the next state reads; at first it is the learned start.
    """

    def __init__(self, weights: dict[str, Tensor], space: Space, layers: int):
        self.weights = weights
        tokens = map(space.token_at, range(len(space.choices)))
        self.kinds = list(dict.fromkeys(token.kind for token in tokens))
        self.x = weights["start"]
        zeros = torch.zeros_like(self.x)
        self.states = [(zeros, zeros)] * layers

    def advance(self) -> Tensor:
        """The state that reads `x`: i, f, g, o = W x + U h, c' = f c + i g, h' = o tanh(c')."""
        for k, (h, c) in enumerate(self.states):
            gates = self._gates(k, "ih", self.x) + self._gates(k, "hh", h)
            i, f, g, o = gates.chunk(4)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            self.x = o.sigmoid() * c.tanh()
            self.states[k] = (self.x, c)
        return self.x

    def _gates(self, layer: int, part: str, of: Tensor) -> Tensor:
        gates = self.weights[f"lstm.{layer}.weight_{part}"] @ of
        bias = self.weights.get(f"lstm.{layer}.bias_{part}")
        return gates if bias is None else gates + bias

    def of(self, kind: str, name: str) -> Tensor:
        """A weight of the head that answers decisions of a kind."""
        return self.weights[f"heads.{self.kinds.index(kind)}.{name}"]

    def logits(self, kind: str, h: Tensor) -> Tensor:
        """A softmax head's, (options,)."""
        logits = self.of(kind, "head.weight") @ h
        bias = self.weights.get(f"heads.{self.kinds.index(kind)}.head.bias")
        return logits if bias is None else logits + bias

    def embedded(self, kind: str, chosen: int) -> Tensor:
        """What the next state reads of a decision."""
        return self.of(kind, "embedding.weight")[chosen]

    def scores(self, kind: str, anchors: list[Tensor], h: Tensor) -> Tensor:
        """v . tanh(W_prev a + W_curr h) of each anchor a, one after another."""
        v = self.of(kind, "v.weight")[0]
        prev = self.of(kind, "prev.weight")
        curr = self.of(kind, "curr.weight")
        return torch.stack([v @ torch.tanh(prev @ a + curr @ h) for a in anchors])
