"""PNAS's surrogates (section 3.3 and appendix): from an architecture's decisions, of any level, to
its accuracy.

A predictor is `members` regressors side by side, each with its own weights: one, or the paper's
ensemble of five, each fitted on four fifths of the data. Every tensor has the members first, so
that an ensemble takes no more calls than one.

Architectures share their beginnings: what a predictor knows of a prefix is computed once, in `fit`
for all lists that begin with it, in `score_children` for all children of a parent, of which there
are thousands.
"""

from collections.abc import Sequence
from itertools import count, pairwise
from random import Random
from typing import Any

import torch
from torch import Tensor, cat, empty, no_grad, ones, randperm, sigmoid, stack, tanh, tensor, zeros
from torch.nn import Module, Parameter, init
from torch.optim import Adam

from nascore import spaces
from nascore.errors import UserError, look_up, require, shorten
from nascore.seeding import generator, seeded
from nascore.spaces import Decisions, Space
from nascore.threads import one_thread

Architectures = Sequence[Decisions]


def growing(space: Any) -> Space:
    """`space` as one whose architectures grow. Raises `UserError` for a space without levels, and
    for one where the number of options depends on the decisions before, as a few samples show."""
    space = spaces.of(space)
    if not space.levels:
        allowed = "pnas, nasbench201, or one of yours with `levels`"
        found = f"space {space.name!r} has no levels"
        raise UserError(f"pnas grows architectures and {found}; allowed: {allowed}")
    random = Random(0)
    for _ in range(20):
        sample = tuple(space.sample(random))
        for position in range(space.levels[-1]):
            prefix = sample[:position]
            field = f"options of decision {position} after {shorten(prefix)}"
            known = options(space, position)
            found = space.choices_at(prefix)
            allowed = f"{known}, as after zeros: the position alone must say how many"
            require(found == known, field, found, allowed)
    return space


def options(space: Any, position: int) -> int:
    """How many options a decision has in a space that grows."""
    return space.choices_at((0,) * position)


def next_block(levels: Sequence[int], length: int) -> range:
    """The positions that are decided next: from `length` decisions to the level after."""
    allowed = f"fewer than the {levels[-1]} of the last level"
    require(length < levels[-1], "decisions of a parent", length, allowed)
    return range(length, min(level for level in levels if level > length))


State = tuple[Tensor, Tensor]  # of an LSTM: h and c
# Of an LSTM: for each depth which prefix before is extended, and by which token; for each
# architecture which prefix it is.
Prefixes = tuple[list[tuple[Tensor, Tensor]], Tensor]


class Predictor(Module):
    """What both predictors have: embeddings and the head. Decisions of one kind share a table,
    which is sized for the last level from the start; options that no smaller architecture has
    are as they were drawn, in (-scale, scale). The head's bias 1.8 makes the first predictions
    about 0.86.

    Shapes: M members, N architectures, V tokens (rows of the table of embeddings), H hidden units.
    """

    def __init__(
        self,
        space: Any,
        members: int = 1,
        size: int = 100,
        hidden: int = 100,
        scale: float = 0.1,
        bias: float = 1.8,
    ):
        super().__init__()
        space = growing(space)
        self.levels = tuple(space.levels)
        self.choices = [options(space, position) for position in range(self.levels[-1])]
        self.members = members
        largest: dict[str, int] = {}  # of each kind: how many options its decisions have at most
        for token, n in zip(space.tokens, self.choices):
            largest[token.kind] = max(n, largest.get(token.kind, 0))
        begins: dict[str, int] = {}  # of each kind: the first row of its options
        rows = 0
        for kind, n in largest.items():
            begins[kind] = rows
            rows += n
        self.rows = [begins[token.kind] for token, _ in zip(space.tokens, self.choices)]
        self.embedding = self._weight(scale, rows, size)
        self.head = self._weight(hidden**-0.5, hidden, 1)
        self.head_bias = self._weight(0, 1, 1)
        init.constant_(self.head_bias, bias)
        self._make(size, hidden)

    def _make(self, size: int, hidden: int) -> None:
        """What stands between the embeddings, of `size` numbers each, and the head."""
        raise NotImplementedError

    def _weight(self, scale: float, *shape: int) -> Parameter:
        return Parameter(empty(self.members, *shape).uniform_(-scale, scale))

    def next_options(self, length: int) -> list[slice]:
        """The rows of all options of each decision from `length` to the next level."""
        block = next_block(self.levels, length)
        return [slice(self.rows[p], self.rows[p] + self.choices[p]) for p in block]

    def read(self, architectures: Architectures) -> Any:
        """Architectures as tensors, for `forward`."""
        raise NotImplementedError

    def _scores(self, parents: Architectures) -> Tensor:
        """As `score_children` says."""
        raise NotImplementedError

    @one_thread()
    @no_grad()
    def score_children(self, parents: Architectures) -> Tensor:
        """(K, n1 n2 ...): the predicted accuracies of all children of K parents of one level, in
        the order of itertools.product over their new decisions; the mean over the members."""
        return self._scores(parents)

    def answer(self, hidden: Tensor) -> Tensor:
        """Accuracies in (0, 1), (M, ...), from the last hidden layer, (M, ..., H)."""
        return sigmoid(hidden @ self.head + self.head_bias).squeeze(-1)

    @one_thread()
    @no_grad()
    def predict(self, architectures: Architectures) -> Tensor:
        """(N,) accuracies, the mean over the members; the lists may have different lengths."""
        return self(self.read(architectures)).mean(0)


class LSTMPredictor(Predictor):
    """An LSTM over the decisions; the state after the last one gives the accuracy."""

    def _make(self, size: int, hidden: int) -> None:
        scale = hidden**-0.5
        self.weight_ih = self._weight(scale, size, 4 * hidden)
        self.weight_hh = self._weight(scale, hidden, 4 * hidden)
        self.bias_ih = self._weight(scale, 1, 4 * hidden)
        self.bias_hh = self._weight(scale, 1, 4 * hidden)

    def read(self, architectures: Architectures) -> Prefixes:
        """The distinct prefixes, depth by depth: (which one of the depth before it extends, the
        token that it adds), and which prefix, counted from the empty one on, each architecture
        is."""
        lists = [tuple(a) for a in architectures]
        steps = []
        places: dict[Decisions, int] = {(): 0}
        start = 0  # of the depth before
        for depth, row in enumerate(self.rows[: max(map(len, lists))], 1):
            prefixes = dict.fromkeys(a[:depth] for a in lists if len(a) >= depth)
            parents = [places[prefix[:-1]] - start for prefix in prefixes]
            tokens = [row + prefix[-1] for prefix in prefixes]
            steps.append((tensor(parents), tensor(tokens)))
            start = len(places)
            places |= zip(prefixes, count(start))
        return steps, tensor([places[a] for a in lists])

    def forward(self, prefixes: Prefixes) -> Tensor:
        """(M, N) accuracies of what `read` returned."""
        h, _ = self.states(prefixes)
        return self.answer(h)

    def inputs(self) -> Tensor:
        """(M, V, 4H): what each token adds to the gates, the biases with it."""
        return self.embedding @ self.weight_ih + self.bias_ih + self.bias_hh

    def states(self, prefixes: Prefixes) -> State:
        """The LSTM's (h, c) after each architecture, (M, N, H) each."""
        steps, wanted = prefixes
        inputs = self.inputs()
        h = c = inputs.new_zeros(self.members, 1, self.head.size(1))  # of the empty prefix
        found = [(h, c)]  # of all prefixes of a depth, (M, prefixes, H)
        for parents, tokens in steps:
            gates = inputs[:, tokens] + (h @ self.weight_hh)[:, parents]
            h, c = lstm(gates, c[:, parents])
            found.append((h, c))
        h, c = (cat(part, 1)[:, wanted] for part in zip(*found))
        return h, c

    def _scores(self, parents: Architectures) -> Tensor:
        """Children share the states of their beginnings."""
        options = self.next_options(len(parents[0]))
        inputs = self.inputs()
        h, c = self.states(self.read(parents))
        scores = zeros(())
        for m in range(self.members):
            added = [inputs[m, rows] for rows in options]
            # One parent and one member at a time: what they need stays in the cache.
            states = zip(h[m].split(1), c[m].split(1))
            scores = scores + stack([self._grown(m, state, added) for state in states])
        return scores / self.members

    def _grown(self, m: int, state: State, options: Sequence[Tensor]) -> Tensor:
        """What member m says of all children, (n1 n2 ...): from a parent's state, (1, H) each, and
        what the options of each new decision add to the gates, (n, 4H)."""
        h, c = state
        for added in options:
            gates = (h @ self.weight_hh[m])[:, None] + added
            h, c = (part.flatten(0, 1) for part in lstm(gates, c[:, None]))
        return sigmoid(h @ self.head[m] + self.head_bias[m]).squeeze(1)


def lstm(gates: Tensor, c: Tensor) -> State:
    """The LSTM's new (h, c) from its gates before their nonlinearities, (..., 4H), in PyTorch's
    order."""
    i, f, g, o = gates.chunk(4, -1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


class MLPPredictor(Predictor):
    """The embeddings of a block's decisions side by side, their mean over the blocks, and two
    layers of ReLU units. A block reaches from one level to the next; one with fewer decisions
    than others is padded with zeros."""

    def _make(self, size: int, hidden: int) -> None:
        blocks = pairwise((0, *self.levels))
        self.slots = [place for start, end in blocks for place in range(end - start)]
        width = max(self.slots) + 1
        first = (width * size) ** -0.5
        second = hidden**-0.5
        self.weight_1 = self._weight(first, width, size, hidden)
        self.bias_1 = self._weight(first, 1, hidden)
        self.weight_2 = self._weight(second, hidden, hidden)
        self.bias_2 = self._weight(second, 1, hidden)

    def read(self, architectures: Architectures) -> Tensor:
        """(N, width V): how often each token stands at each place in a block, divided by the
        number of blocks."""
        shape = (len(architectures), self.weight_1.size(1), self.embedding.size(1))
        counts = self.head.new_zeros(shape)
        for of_one, a in zip(counts, architectures):
            blocks = self.levels.index(len(a)) + 1
            for slot, row, decision in zip(self.slots, self.rows, a):
                of_one[slot, row + decision] += 1 / blocks
        return counts.flatten(1)

    def forward(self, counts: Tensor) -> Tensor:
        """(M, N) accuracies of what `read` returned."""
        return self.rest(counts @ self.inputs().flatten(1, 2) + self.bias_1)

    def inputs(self) -> Tensor:
        """(M, width, V, H): what each token at each place in a block adds to the first layer,
        which is linear in it."""
        return self.embedding[:, None] @ self.weight_1

    def rest(self, first: Tensor) -> Tensor:
        """From the first layer before its ReLU, (M, N, H), to the accuracies (M, N)."""
        return self.answer(torch.relu(torch.baddbmm(self.bias_2, torch.relu(first), self.weight_2)))

    def _scores(self, parents: Architectures) -> Tensor:
        """The first layer of a child is a sum over its decisions: what the parent's add, and what
        the new ones add, which is the same for all parents."""
        length = len(parents[0])
        inputs = self.inputs()
        blocks = self.levels.index(length) + 2
        of_parents = (blocks - 1) / blocks * self.read(parents) @ inputs.flatten(1, 2) + self.bias_1
        of_blocks = zeros(1, 1, 1)  # (M, n1 n2 ..., H): every block of new decisions
        for place, options in enumerate(self.next_options(length)):
            of_options = inputs[:, place, options] / blocks  # (M, n, H)
            of_blocks = (of_blocks[:, :, None] + of_options[:, None]).flatten(1, 2)
        rows = of_parents.unbind(1)  # (M, H) each
        return stack([self.rest(row[:, None] + of_blocks).mean(0) for row in rows])


PREDICTORS = {
    "lstm": (LSTMPredictor, 1),
    "mlp": (MLPPredictor, 1),
    "lstm-ensemble": (LSTMPredictor, 5),
    "mlp-ensemble": (MLPPredictor, 5),
}


def make(name: str, space: Any, seed: int = 0, **sizes: Any) -> Predictor:
    """A new predictor of those in `PREDICTORS`, its weights drawn by `seed`."""
    cls, members = look_up(PREDICTORS, name, "predictor")
    with seeded(seed, "predictor"):
        return cls(space, members, **sizes)


@one_thread()
def fit(
    predictor: Predictor,
    architectures: Architectures,
    rewards: Sequence[float],
    *,
    learning_rate: float = 0.002,
    steps: int = 50,
    seed: int = 0,
) -> Predictor:
    """`steps` steps of Adam on the mean absolute error over all data; few, as more of them rank
    the larger, unseen architectures worse. Of several members, each leaves out its own part:
    with five, a fifth."""
    size = len(rewards)
    found = f"{len(architectures)} architectures and {size} rewards"
    good = len(architectures) == size > 0
    require(good, "data of a fit", found, "as many of both, and at least one")
    for reward in (min(rewards), max(rewards)):  # the head is a sigmoid
        require(0 <= reward <= 1, "reward", reward, "a fraction from 0 to 1, not percent")
    data = predictor.read(architectures)
    target = predictor.head.new_tensor(rewards)
    members = predictor.members
    kept = ones(members, size)
    if size > 1 and members > 1:
        order = randperm(size, generator=generator(seed, "left out"))
        kept.scatter_(0, order[None] % members, 0.0)
    kept /= kept.sum(1, keepdim=True)
    optimizer = Adam(predictor.parameters(), lr=learning_rate, fused=True)
    for _ in range(steps):
        optimizer.zero_grad()
        (kept * (predictor(data) - target).abs()).sum().backward()
        optimizer.step()
    return predictor


def rank_correlation(predicted: Sequence[float], measured: Sequence[float]) -> float:
    """Spearman's; 0 where one of them is constant."""
    from scipy.stats import spearmanr  # it takes a second to import

    if min(len(set(predicted)), len(set(measured))) < 2:
        return 0.0
    return float(spearmanr(predicted, measured).statistic)
