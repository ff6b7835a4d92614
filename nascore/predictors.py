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
from functools import reduce
from random import Random

import torch
from torch import Tensor, nn

from nascore import spaces
from nascore.errors import UserError, look_up, require, shorten
from nascore.seeding import generator, seeded
from nascore.threads import one_thread

Decisions = Sequence[int]


def choices(space) -> list[int]:
    """The number of options at every position. Raises `UserError` for a space without levels,
    and for one where that number depends on the decisions before, as a few samples show."""
    name = getattr(space, "name", type(space).__name__)
    if not hasattr(space, "levels"):
        allowed = "pnas, nasbench201, or one of yours with `levels`"
        raise UserError(
            f"pnas grows architectures and space {name!r} has no levels; allowed: {allowed}"
        )
    counts = [space.choices_at((0,) * position) for position in range(space.levels[-1])]
    random = Random(0)
    for sample in (tuple(space.sample(random)) for _ in range(20)):
        for position, count in enumerate(counts):
            field = f"options of decision {position} after {shorten(sample[:position])}"
            found = space.choices_at(sample[:position])
            require(
                found == count,
                field,
                found,
                f"{count}, as after zeros: the position alone must say how many",
            )
    return counts


def end_of_block(levels: Sequence[int], length: int) -> int:
    """The level to which `length` decisions grow."""
    require(
        length < levels[-1],
        "decisions of a parent",
        length,
        f"fewer than the {levels[-1]} of the last level",
    )
    return min(level for level in levels if level > length)


class Predictor(nn.Module):
    """What both predictors have: embeddings and the head. Decisions of one kind share a table,
    which is sized for the last level from the start; options that no smaller architecture has
    are as they were drawn, in (-scale, scale). The head's bias 1.8 makes the first predictions
    about 0.86."""

    def __init__(
        self,
        space,
        members: int = 1,
        size: int = 100,
        hidden: int = 100,
        scale=0.1,
        bias: float = 1.8,
    ):
        super().__init__()
        self.choices = choices(space)
        self.levels = tuple(space.levels)
        self.members = members
        token_at = getattr(space, "token_at", lambda position: spaces.Token(f"position {position}"))
        kinds = [token_at(position).kind for position in range(self.levels[-1])]
        rows = {}
        most = 0
        for kind in dict.fromkeys(kinds):
            rows[kind] = most
            most += max(count for count, k in zip(self.choices, kinds) if k == kind)
        self.rows = [
            rows[kind] for kind in kinds
        ]  # of the table: where the options of a position begin
        self.embedding = self._weight(scale, most, size)
        self.head = self._weight(hidden**-0.5, hidden, 1)
        self.head_bias = self._weight(0, 1, 1)
        nn.init.constant_(self.head_bias, bias)

    def _weight(self, scale: float, *shape: int) -> nn.Parameter:
        return nn.Parameter(torch.empty(self.members, *shape).uniform_(-scale, scale))

    def next_options(self, length: int) -> list[slice]:
        """The rows of all options of each decision from `length` to the next level."""
        block = range(length, end_of_block(self.levels, length))
        return [slice(self.rows[p], self.rows[p] + self.choices[p]) for p in block]

    def answer(self, hidden: Tensor) -> Tensor:
        """Accuracies in (0, 1), (M, ...), from the last hidden layer, (M, ..., H)."""
        return torch.sigmoid(hidden @ self.head + self.head_bias).squeeze(-1)

    @one_thread()
    @torch.no_grad()
    def predict(self, architectures: Sequence[Decisions]) -> Tensor:
        """(N,) accuracies, the mean over the members; the lists may have different lengths."""
        return self(self.read(architectures)).mean(0)


class LSTMPredictor(Predictor):
    """An LSTM over the decisions; the state after the last one gives the accuracy."""

    def __init__(self, space, members: int = 1, **sizes):
        super().__init__(space, members, **sizes)
        size = self.embedding.size(2)
        hidden = self.head.size(1)
        self.weight_ih = self._weight(hidden**-0.5, size, 4 * hidden)
        self.weight_hh = self._weight(hidden**-0.5, hidden, 4 * hidden)
        self.bias_ih, self.bias_hh = (self._weight(hidden**-0.5, 1, 4 * hidden) for _ in range(2))

    def read(self, architectures: Sequence[Decisions]):
        """The distinct prefixes, depth by depth: (which one of the depth before it extends, the
        token that it adds), and which prefix, counted over all depths, each architecture is."""
        steps = []
        before = {(): 0}
        places = {}
        for depth in range(max(map(len, architectures))):
            prefixes = dict.fromkeys(tuple(a[: depth + 1]) for a in architectures if len(a) > depth)
            parents, tokens = zip(*((before[p[:-1]], self.rows[depth] + p[-1]) for p in prefixes))
            steps.append((torch.tensor(parents), torch.tensor(tokens)))
            before = {p: k for k, p in enumerate(prefixes)}
            places |= {p: k for k, p in enumerate(prefixes, len(places))}
        return steps, torch.tensor([places[tuple(a)] for a in architectures])

    def forward(self, prefixes) -> Tensor:
        """(M, N) accuracies of what `read` returned."""
        return self.answer(self.states(prefixes)[0])

    def inputs(self) -> Tensor:
        """(M, V, 4H): what each token adds to the gates, the biases with it."""
        return self.embedding @ self.weight_ih + self.bias_ih + self.bias_hh

    def states(self, prefixes) -> tuple[Tensor, Tensor]:
        """The LSTM's (h, c) after each architecture, (M, N, H) each."""
        steps, wanted = prefixes
        inputs = self.inputs()
        states = []
        for parents, tokens in steps:
            gates = inputs[:, tokens]
            c = 0.0
            if states:
                h, c = states[-1]
                gates = gates + (h @ self.weight_hh)[:, parents]
                c = c[:, parents]
            states.append(lstm(gates, c))
        return tuple(torch.cat(part, 1)[:, wanted] for part in zip(*states))

    @one_thread()
    @torch.no_grad()
    def score_children(self, parents: Sequence[Decisions]) -> Tensor:
        """(K, n1 n2 ...): the predicted accuracies of all children of K parents of one level, in
        the order of itertools.product over their new decisions; the mean over the members."""
        options = self.next_options(len(parents[0]))
        inputs = self.inputs()
        states = self.states(self.read(parents))
        scores = []
        for k in range(
            len(parents)
        ):  # one parent and one member at a time: what they need stays in the cache
            score = 0.0
            for m in range(self.members):
                h, c = (state[m, k : k + 1] for state in states)
                for rows in options:
                    gates = (h @ self.weight_hh[m])[:, None] + inputs[m, rows]
                    h, c = (state.flatten(0, 1) for state in lstm(gates, c[:, None]))
                score = score + torch.sigmoid(h @ self.head[m] + self.head_bias[m])
            scores.append(score.squeeze(1) / self.members)
        return torch.stack(scores)


def lstm(gates: Tensor, c: Tensor | float) -> tuple[Tensor, Tensor]:
    """The LSTM's new (h, c) from its gates before their nonlinearities, (..., 4H), in PyTorch's
    order."""
    i, f, g, o = gates.chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


class MLPPredictor(Predictor):
    """The embeddings of a block's decisions side by side, their mean over the blocks, and two
    layers of ReLU units. A block reaches from one level to the next; one with fewer decisions
    than others is padded with zeros."""

    def __init__(self, space, members: int = 1, **sizes):
        super().__init__(space, members, **sizes)
        size = self.embedding.size(2)
        hidden = self.head.size(1)
        starts = [0, *self.levels[:-1]]
        self.slots = [
            p - start for start, end in zip(starts, self.levels) for p in range(start, end)
        ]
        width = max(self.slots) + 1
        self.weight_1 = self._weight((width * size) ** -0.5, width, size, hidden)
        self.bias_1 = self._weight((width * size) ** -0.5, 1, hidden)
        self.weight_2, self.bias_2 = (
            self._weight(hidden**-0.5, rows, hidden) for rows in (hidden, 1)
        )

    def read(self, architectures: Sequence[Decisions]) -> Tensor:
        """(N, width V): how often each token stands at each place in a block, divided by the
        number of blocks."""
        counts = torch.zeros(
            len(architectures), max(self.slots) + 1, self.embedding.size(1), dtype=self.head.dtype
        )
        for row, a in zip(counts, architectures):
            for position, decision in enumerate(a):
                row[self.slots[position], self.rows[position] + decision] += 1 / (
                    self.levels.index(len(a)) + 1
                )
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

    @one_thread()
    @torch.no_grad()
    def score_children(self, parents: Sequence[Decisions]) -> Tensor:
        """As `LSTMPredictor.score_children`: the first layer is a sum over the decisions, and
        the sums are shared."""
        length = len(parents[0])
        inputs = self.inputs()
        blocks = self.levels.index(length) + 2
        of_parents = (blocks - 1) / blocks * self.read(parents) @ inputs.flatten(1, 2) + self.bias_1
        places = (
            inputs[:, self.slots[p], rows] / blocks
            for p, rows in enumerate(self.next_options(length), length)
        )
        of_options = reduce(
            lambda sums, more: (sums[:, :, None] + more[:, None]).flatten(1, 2), places
        )
        return torch.stack(
            [self.rest(row[:, None] + of_options).mean(0) for row in of_parents.unbind(1)]
        )


PREDICTORS = {
    "lstm": (LSTMPredictor, 1),
    "mlp": (MLPPredictor, 1),
    "lstm-ensemble": (LSTMPredictor, 5),
    "mlp-ensemble": (MLPPredictor, 5),
}


def make(name: str, space, seed: int = 0, **sizes) -> Predictor:
    """A new predictor of those in `PREDICTORS`, its weights drawn by `seed`."""
    cls, members = look_up(PREDICTORS, name, "predictor")
    with seeded(seed, "predictor"):
        return cls(space, members, **sizes)


@one_thread()
def fit(
    predictor: Predictor,
    architectures: Sequence[Decisions],
    rewards: Sequence[float],
    *,
    learning_rate: float = 0.002,
    steps: int = 50,
    seed: int = 0,
) -> Predictor:
    """`steps` steps of Adam on the mean absolute error over all data; few, as more of them rank
    the larger, unseen architectures worse. Of several members, each leaves out its own part:
    with five, a fifth."""
    found = f"{len(architectures)} architectures and {len(rewards)} rewards"
    require(
        len(architectures) == len(rewards) > 0,
        "data of a fit",
        found,
        "as many of both, and at least one",
    )
    for reward in (min(rewards), max(rewards)):  # the head is a sigmoid
        require(0 <= reward <= 1, "reward", reward, "a fraction from 0 to 1, not percent")
    data = predictor.read(architectures)
    target = torch.tensor(rewards, dtype=predictor.head.dtype)
    kept = torch.ones(predictor.members, len(target))
    if len(target) > 1 and predictor.members > 1:
        order = torch.randperm(len(target), generator=generator(seed, "left out"))
        kept[order % predictor.members, torch.arange(len(target))] = 0.0
    kept /= kept.sum(1, keepdim=True)
    optimizer = torch.optim.Adam(predictor.parameters(), lr=learning_rate, fused=True)
    for _ in range(steps):
        optimizer.zero_grad()
        (kept * (predictor(data) - target).abs()).sum().backward()
        optimizer.step()
    return predictor


def rank_correlation(predicted: Sequence[float], measured: Sequence[float]) -> float:
    """Spearman's; 0 where one of them is constant."""
    from scipy.stats import spearmanr  # it takes a second to import

    varied = len(set(predicted)) > 1 and len(set(measured)) > 1
    return float(spearmanr(predicted, measured).statistic) if varied else 0.0
