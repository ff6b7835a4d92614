"""The policy of NAS-RL and its heirs: an LSTM that writes an architecture decision by decision
(NAS-RL, section 3.1).

It asks a space for nothing but its decisions; `token_at` tells it which of them share a head and an
embedding, and which point at earlier ones. Those are answered by attention (section 3.3) to the
anchor h_j of an earlier decision: the state that reads it. All architectures of a batch are written
together, one batch of tensor operations a decision.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nascore.errors import require
from nascore.spaces import Token
from nascore.spaces.examine import name_of, walk


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


WALKS = 20  # through a space that does not list its choices


# --- what answers a decision: (N, H) states and (N, J, H) anchors -> (N, decisions at once, options


class Softmax(nn.Module):
    """Decisions of one kind: a head, and an embedding of what was decided for the next step to
    read."""

    def __init__(self, hidden: int, options: int, bias: bool):
        super().__init__()
        self.head = nn.Linear(hidden, options, bias)
        self.embedding = nn.Embedding(options, hidden)

    def logits(self, state: Tensor, anchors: Tensor) -> Tensor:
        return self.head(state)[:, None]

    def read(self, decisions: Tensor, anchors: Tensor) -> Tensor:
        return self.embedding(decisions[:, 0])


class Attention(nn.Module):
    """v . tanh(W_prev h_j + W_curr h_i) for the deciding state h_i and each anchor h_j; the
    weights are shared over all i and j (NAS-RL, section 3.3)."""

    def __init__(self, hidden: int):
        super().__init__()
        self.prev, self.curr = (nn.Linear(hidden, hidden, bias=False) for _ in range(2))
        self.v = nn.Linear(hidden, 1, bias=False)

    def score(self, state: Tensor, anchors: Tensor) -> Tensor:
        return self.v(torch.tanh(self.prev(anchors) + self.curr(state)[:, None])).squeeze(2)


class Pointer(Attention):
    """One of several: the first `inputs` options are there from the start (the inputs of a cell,
    with anchors that are learned), the others are earlier decisions. The next step reads the
    anchor that was chosen, as in ENAS."""

    def __init__(self, hidden: int, inputs: int):
        super().__init__(hidden)
        self.inputs = nn.Parameter(torch.empty(inputs, hidden))

    def logits(self, state: Tensor, anchors: Tensor) -> Tensor:
        return self.score(state, self._all(anchors))[:, None]

    def read(self, decisions: Tensor, anchors: Tensor) -> Tensor:
        return self._all(anchors)[torch.arange(len(decisions)), decisions[:, 0]]

    def _all(self, anchors: Tensor) -> Tensor:
        return torch.cat([self.inputs.expand(len(anchors), -1, -1), anchors], 1)


class Skips(Attention):
    """Each earlier layer in or out, by its own sigmoid, all from one state: the logits 0 for out
    and the score for in. What the next step reads NAS-RL leaves open: here the mean of the
    anchors that are in; in ENAS it is their sum over one `more` than they are."""

    def __init__(self, hidden: int, more: int):
        super().__init__(hidden)
        self.more = more

    def logits(self, state: Tensor, anchors: Tensor) -> Tensor:
        score = self.score(state, anchors)
        return torch.stack([torch.zeros_like(score), score], 2)

    def read(self, decisions: Tensor, anchors: Tensor) -> Tensor:
        chosen = decisions.to(anchors.dtype)[:, :, None]
        return (chosen * anchors).sum(1) / (chosen.sum(1) + self.more).clamp(min=1)


# --- the policy -----------------------------------------------------------------------------------


@dataclass
class Step:
    """One step of the LSTM: the positions decided from its state, and the earlier ones that they
    may point to."""

    head: nn.Module
    positions: list[int]
    refers_to: list[int]

    def until(self, length: int) -> "Step":
        """The part of it before position `length`: some of a layer's skips may lie beyond."""
        count = length - self.positions[0]
        return Step(self.head, self.positions[:count], self.refers_to[:count])


def unchanged(position: int, logits: Tensor) -> Tensor:
    return logits


class Controller(nn.Module):
    """The policy over the decisions of `space`: `layers` LSTM layers of `hidden` units, every
    weight uniform in (-scale, scale), with biases in the LSTM and in the softmax heads or
    without, `more` for `Skips`. The first step reads a learned start. `adjust(position, logits)`
    may change the logits of what is decided at a position, (N, decisions at once, options),
    before they become probabilities."""

    def __init__(
        self,
        space,
        hidden: int = 35,
        layers: int = 2,
        scale: float = 0.08,
        bias: bool = True,
        more: int = 0,
        adjust: Callable[[int, Tensor], Tensor] = unchanged,
    ):
        super().__init__()
        self.adjust = adjust
        self.bias = bias
        self.more = more
        self.space = space
        self.counts = _counts(space)
        self.start = nn.Parameter(torch.empty(hidden))
        self.lstm = nn.ModuleList(nn.LSTMCell(hidden, hidden, bias) for _ in range(layers))
        token_at = getattr(space, "token_at", lambda position: Token(f"position {position}"))
        tokens = [token_at(position) for position in range(len(self.counts))]
        self.kinds = list(dict.fromkeys(token.kind for token in tokens))
        self.heads = nn.ModuleList(self._head(kind, tokens, hidden) for kind in self.kinds)
        self.steps: list[Step] = []
        for position, token in enumerate(tokens):
            head = self.heads[self.kinds.index(token.kind)]
            refers_to = list(token.refers_to)
            last = self.steps[-1] if self.steps else None
            goes_on = last and last.head is head and isinstance(head, Skips)
            if goes_on and refers_to[0] not in last.positions:
                last.positions.append(position)
                last.refers_to += refers_to
            else:
                self.steps.append(Step(head, [position], refers_to))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -scale, scale)

    def _head(self, kind: str, tokens: Sequence[Token], hidden: int) -> nn.Module:
        sizes = [
            (count, len(token.refers_to))
            for count, token in zip(self.counts, tokens)
            if token.kind == kind
        ]
        if set(sizes) == {(2, 1)}:
            return Skips(hidden, self.more)
        if any(anchors for _, anchors in sizes):
            return Pointer(hidden, max(count - anchors for count, anchors in sizes))
        return Softmax(hidden, max(count for count, _ in sizes), self.bias)

    def forward(self, decisions: Tensor | Sequence[Sequence[int]]) -> Written:
        """The log-probabilities of given architectures, with gradients (teacher forcing)."""
        if not isinstance(decisions, Tensor):
            decisions = torch.tensor(decisions, device=self.start.device)
        return self._write(len(decisions), decisions.size(1), decisions, None)

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator, length: int | None = None) -> Written:
        """Write `count` architectures, of `length` decisions where the space has `levels`. Their
        gradients come from `forward`, which gives the same log-probabilities."""
        return self._write(count, length or len(self.counts), None, generator)

    def _write(
        self, n: int, length: int, given: Tensor | None, generator: torch.Generator | None
    ) -> Written:
        x = self.start.expand(n, -1)
        read = []
        states = [None] * len(self.lstm)
        anchors = {}
        written: list[Written] = []
        for step in self.steps:
            if step.positions[0] >= length:
                break
            if step.positions[-1] >= length:
                step = step.until(length)
            for k, cell in enumerate(self.lstm):
                states[k] = cell(x, states[k])
                x = states[k][0]
            # The state that reads a decision is that decision's anchor.
            anchors |= dict.fromkeys(read, x)
            before = x.new_empty(n, 0, x.size(1))
            if step.refers_to:
                before = torch.stack([anchors[j] for j in step.refers_to], 1)
            logits = self.adjust(step.positions[0], step.head.logits(x, before))
            logits = logits[:, :, : self.counts[step.positions[0]]]
            one = _decide(logits, None if given is None else given[:, step.positions], generator)
            written.append(one)
            x = step.head.read(one.decisions, before)
            read = step.positions
        return Written(
            *(torch.cat([getattr(w, f.name) for w in written], 1) for f in fields(Written))
        )


def _counts(space) -> tuple[int, ...]:
    """How many options each position has. Raises `UserError` for a space where that depends on what was
    decided before."""
    if hasattr(space, "choices"):
        return tuple(space.choices)
    walks = [tuple(walk(space, Random(seed))[1]) for seed in range(WALKS)]
    different = dict.fromkeys(walks)
    field = f"space {name_of(space)}: options at each position"
    found = " and ".join(map(str, different))
    require(len(different) == 1, field, found, "the same whatever was decided, for a policy")
    return walks[0]


def _decide(logits: Tensor, given: Tensor | None, generator: torch.Generator | None) -> Written:
    log_p = F.log_softmax(logits, 2)
    p = log_p.exp()
    drawn = given
    if given is None:
        drawn = torch.multinomial(p.flatten(0, 1), 1, generator=generator).view(len(p), -1)
    log_probs = log_p.gather(2, drawn[:, :, None]).squeeze(2)
    return Written(drawn, log_probs, -(p * log_p).sum(2))


# --- what ENAS makes of its logits ----------------------------------------------------------------


def squash(logits: Tensor, constant: float, temperature: float = 0.0) -> Tensor:
    """constant * tanh(logits / temperature), so that no option can be more than e^(2 constant)
    times as likely as another; a temperature or a constant of 0 is left out."""
    logits = logits / temperature if temperature else logits
    return constant * torch.tanh(logits) if constant else logits


def skip_prior(p: Tensor, target: float = 0.4) -> Tensor:
    """KL of the skip probabilities `p` from `target`, which keeps networks from skipping
    everything or nothing."""
    p = p.clamp(1e-6, 1 - 1e-6)
    return p * (p / target).log() + (1 - p) * ((1 - p) / (1 - target)).log()
