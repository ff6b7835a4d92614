"""The policy of NAS-RL and its heirs: an LSTM that writes an architecture decision by decision
(NAS-RL, section 3.1).

It asks a space for nothing but its decisions: how many options each has (`choices`, by position
alone), which of them share a head and an embedding, and which point at earlier ones (`token_at`).
Those are answered by attention (section 3.3) to the anchor h_j of an earlier decision: the state
that reads it. All architectures of a batch are written together, one batch of tensor operations a
decision.

Shapes: N architectures of T decisions, hidden states of H units, J anchors to choose from, and K
decisions taken at once, which is one but for skips.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import (
    Generator,
    Tensor,
    arange,
    as_tensor,
    cat,
    empty,
    no_grad,
    stack,
    tanh,
    tensor,
    zeros_like,
)
from torch.nn import Embedding, Linear, LSTMCell, Module, ModuleList, Parameter, init
from torch.nn.functional import log_softmax

from nascore import spaces
from nascore.genotypes import operation_named
from nascore.spaces import Decisions


@dataclass(frozen=True)
class Written:
    """A batch of architectures: decisions (N, T), the log-probability of each decision and the
    entropy of what it was drawn from, both (N, T) in nats."""

    decisions: Tensor
    log_probs: Tensor
    entropies: Tensor

    def lists(self) -> list[list[int]]:
        """The decisions as a space takes them."""
        return self.decisions.tolist()


# --- what answers a decision ----------------------------------------------------------------------


class Softmax(Module):
    """Decisions of one kind: a head, and an embedding of what was decided for the next step to
    read."""

    def __init__(self, hidden: int, options: int, bias: bool):
        super().__init__()
        self.head = Linear(hidden, options, bias)
        self.embedding = Embedding(options, hidden)

    def logits(self, state: Tensor, anchors: Tensor) -> Tensor:
        """(N, 1, options) from the state (N, H)."""
        return self.head(state)[:, None]

    def read(self, decisions: Tensor, anchors: Tensor) -> Tensor:
        """What the next step reads of the decisions (N, 1): their embeddings (N, H)."""
        return self.embedding(decisions[:, 0])


class Attention(Module):
    """v . tanh(W_prev h_j + W_curr h_i) for the deciding state h_i and each anchor h_j; the
    weights are shared over all i and j (NAS-RL, section 3.3)."""

    def __init__(self, hidden: int):
        super().__init__()
        self.prev = Linear(hidden, hidden, bias=False)
        self.curr = Linear(hidden, hidden, bias=False)
        self.v = Linear(hidden, 1, bias=False)

    def score(self, state: Tensor, anchors: Tensor) -> Tensor:
        """(N, J) from h_i (N, H) and h_j (N, J, H)."""
        both = self.prev(anchors) + self.curr(state)[:, None]
        return self.v(tanh(both)).squeeze(2)


class Pointer(Attention):
    """One of several: the first `inputs` options are there from the start (the inputs of a cell,
    with anchors that are learned), the others are earlier decisions."""

    def __init__(self, hidden: int, inputs: int):
        super().__init__(hidden)
        self.inputs = Parameter(empty(inputs, hidden))

    def logits(self, state: Tensor, anchors: Tensor) -> Tensor:
        """(N, 1, inputs + J): a softmax over the scores."""
        return self.score(state, self._all(anchors))[:, None]

    def read(self, decisions: Tensor, anchors: Tensor) -> Tensor:
        """The anchor that was chosen (N, H), as in ENAS."""
        return self._all(anchors)[arange(len(decisions)), decisions[:, 0]]

    def _all(self, anchors: Tensor) -> Tensor:
        return cat([self.inputs.expand(len(anchors), -1, -1), anchors], 1)


class Skips(Attention):
    """Each earlier layer in or out, by its own sigmoid, all from one state. What the next step
    reads NAS-RL leaves open: here the mean of the anchors that are in; in ENAS it is their sum
    over one `more` than they are."""

    def __init__(self, hidden: int, more: int):
        super().__init__(hidden)
        self.more = more

    def logits(self, state: Tensor, anchors: Tensor) -> Tensor:
        """(N, J, 2): 0 for out and the score for in, whose softmax is the score's sigmoid."""
        score = self.score(state, anchors)
        return stack([zeros_like(score), score], 2)

    def read(self, decisions: Tensor, anchors: Tensor) -> Tensor:
        """The mean (N, H) of the anchors with a decision (N, J) of 1; 0 where there is none."""
        chosen = decisions.to(anchors.dtype)[:, :, None]
        count = chosen.sum(1) + self.more
        return (chosen * anchors).sum(1) / count.clamp(min=1)


Head = Softmax | Pointer | Skips


# --- the policy -----------------------------------------------------------------------------------


@dataclass
class Step:
    """One step of the LSTM: the positions decided from its state, and the earlier ones that they
    may point to."""

    head: Head
    positions: list[int]
    refers_to: list[int]


def unchanged(position: int, logits: Tensor) -> Tensor:
    """The logits as they are."""
    return logits


class Controller(Module):
    """The policy over the decisions of `space`: `layers` LSTM layers of `hidden` units, every
    weight uniform in (-scale, scale), with biases in the LSTM and in the softmax heads or
    without, `more` for `Skips`. The first step reads a learned start.

    `adjust(position, logits)` may change the logits (N, K, options) of what is decided at a
    position before they become probabilities. `biases` are the first ones, (options,), of the
    softmax heads of some kinds, which then learn them."""

    def __init__(
        self,
        space: Any,
        hidden: int = 35,
        layers: int = 2,
        scale: float = 0.08,
        bias: bool = True,
        more: int = 0,
        adjust: Callable[[int, Tensor], Tensor] = unchanged,
        biases: Mapping[str, Tensor] = MappingProxyType({}),
    ):
        super().__init__()
        self.adjust = adjust
        space = spaces.of(space)
        self.counts = tuple(space.choices)
        self.start = Parameter(empty(hidden))
        self.lstm = ModuleList(LSTMCell(hidden, hidden, bias) for _ in range(layers))
        self.tokens = space.tokens
        self.kinds = list(dict.fromkeys(token.kind for token in self.tokens))
        self.head_of = {kind: self._head(kind, hidden, bias, more) for kind in self.kinds}
        self.heads = ModuleList(self.head_of.values())
        for parameter in self.parameters():
            init.uniform_(parameter, -scale, scale)
        for kind, first in biases.items():
            head = self.head_of.get(kind)
            if isinstance(head, Softmax):
                head.head.bias = Parameter(first)

    def _head(self, kind: str, hidden: int, bias: bool, more: int) -> Head:
        """What answers all decisions of a kind, sized for the largest of them."""
        sizes = set()  # how many options, and how many of these are earlier decisions
        for token, count in zip(self.tokens, self.counts):
            if token.kind == kind:
                sizes.add((count, len(token.refers_to)))
        if sizes == {(2, 1)}:  # in or out, of one earlier layer
            return Skips(hidden, more)
        others = max(count - J for count, J in sizes)
        if any(J for _, J in sizes):
            return Pointer(hidden, others)
        return Softmax(hidden, others, bias)

    def steps(self, length: int) -> list[Step]:
        """The steps that write the first `length` decisions: one each, but for the skips of a
        layer, which need no state of their own."""
        steps: list[Step] = []
        last: Step | None = None
        for position, token in enumerate(self.tokens[:length]):
            head = self.head_of[token.kind]
            skip = last is not None and last.head is head and isinstance(head, Skips)
            if last is None or not skip or token.refers_to[0] in last.positions:
                last = Step(head, [], [])
                steps.append(last)
            last.positions.append(position)
            last.refers_to += token.refers_to
        return steps

    def forward(self, decisions: Tensor | Sequence[Decisions]) -> Written:
        """The log-probabilities of given architectures, with gradients (teacher forcing)."""
        given = as_tensor(decisions, device=self.start.device)
        n, length = given.shape
        return self._write(n, length, lambda step, p: given[:, step.positions])

    @no_grad()
    def sample(self, count: int, generator: Generator, length: int | None = None) -> Written:
        """Write `count` architectures, of `length` decisions where the space has `levels`. Their
        gradients come from `forward`, which gives the same log-probabilities."""

        def draw(step: Step, p: Tensor) -> Tensor:
            return torch.multinomial(p.flatten(0, 1), 1, generator=generator).view(count, -1)

        return self._write(count, length or len(self.counts), draw)

    def _write(self, n: int, length: int, decide: Callable[[Step, Tensor], Tensor]) -> Written:
        """N architectures of T = `length` decisions. `decide` says what is decided at a step, (N,
        K), from the probabilities (N, K, options)."""
        x = self.start.expand(n, -1)  # what a step reads, (N, H)
        memory: list[Any] = [None] * len(self.lstm)  # h and c of each layer
        anchors: dict[int, Tensor] = {}  # of a position: the state that reads its decision
        unread: list[int] = []
        written = []
        for step in self.steps(length):
            at = step.positions[0]
            for k, layer in enumerate(self.lstm):
                memory[k] = layer(x, memory[k])
                x, _ = memory[k]
            anchors |= dict.fromkeys(unread, x)
            before = x.new_empty(n, 0, x.size(1))  # the anchors that it may point to, (N, J, H)
            if step.refers_to:
                before = stack([anchors[j] for j in step.refers_to], 1)
            logits = self.adjust(at, step.head.logits(x, before))[:, :, : self.counts[at]]
            log_p = log_softmax(logits, 2)
            p = log_p.exp()
            decisions = decide(step, p)
            log_probs = log_p.gather(2, decisions[:, :, None]).squeeze(2)
            written.append((decisions, log_probs, -(p * log_p).sum(2)))
            x = step.head.read(decisions, before)
            unread = step.positions
        return Written(*(cat(part, 1) for part in zip(*written)))


# --- what ENAS makes of its logits, and how it learns ---------------------------------------------


def squash(logits: Tensor, constant: float, temperature: float = 0.0) -> Tensor:
    """constant * tanh(logits / temperature), so that no option can be more than e^(2 constant)
    times as likely as another; a temperature or a constant of 0 is left out."""
    logits = logits / temperature if temperature else logits
    return constant * tanh(logits) if constant else logits


class Squashed:
    """The logits (N, K, options) that the authors' controller decides by, instead of the heads'.

    Choices of ours: one state a decision, in the stored order (the micro code: both inputs, both
    operations, a state more that stands for the node, then anew from the start; in the macro code
    the first layer's empty skips have a state too); a cell's inputs are learned vectors (the code:
    two states to attend to, zeros to read)."""

    def __init__(self, space: spaces.Space, budget: Any):
        self.budget = budget  # its fields say how much of each
        self.kinds = [token.kind for token in space.tokens]
        self.normal = len(self.kinds) // max(1, len(space.cell_types))  # in the normal cell
        liked = (operation_named(op).family == "separable" for op in space.primitives)
        self.likes = tensor(list(map(float, liked)))

    def __call__(self, position: int, logits: Tensor) -> Tensor:
        kind = self.kinds[position]
        budget = self.budget
        constant = budget.tanh_constant
        if kind == "skip":  # out, in: (-q, q) for (0, q)
            q = logits[..., 1:]
            logits = cat([-q, q], -1)
        if kind == "op":
            constant /= budget.op_tanh_reduce
        logits = squash(logits, constant, budget.temperature)
        if kind == "op" and position < self.normal:  # a bonus b that stays: +b if liked, else -b
            logits = logits + budget.normal_bonus * (2 * self.likes - 1)
        return logits


def skip_prior(p: Tensor, target: float = 0.4) -> Tensor:
    """KL of the skip probabilities `p` from `target`, which keeps networks from skipping
    everything or nothing."""
    p = p.clamp(1e-6, 1 - 1e-6)
    return p * (p / target).log() + (1 - p) * ((1 - p) / (1 - target)).log()


def adam_epsilon(epsilon: float, step: int, beta2: float = 0.999) -> float:
    """The epsilon of PyTorch's Adam that takes, at its `step` (from 1), the step of TensorFlow's
    with `epsilon`: that one divides by sqrt(v) + epsilon before v's bias is corrected, so its
    epsilon counts 1 / sqrt(1 - beta2^step) times."""
    return epsilon / (1 - beta2**step) ** 0.5
