"""The policy: sampling and teacher forcing agree, probabilities sum to one, what is shared and what points where."""

import math
from itertools import product

import pytest
import torch
from operation_counts import Operations

from nascore import spaces
from nascore.controllers import Controller, Pointer, Skips, Softmax
from nascore.errors import UserError
from nascore.seeding import generator, seeded

TINY = spaces.get("nas-rl", layers=2, sides=(1, 3), filters=(24, 36))  # 128 architectures


def controller(space, *place, **sizes) -> Controller:
    with seeded("test", *place):
        return Controller(space, **sizes)


def everything(space) -> list[list[int]]:
    return [list(decisions) for decisions in product(*map(range, space.choices))]


class OddOrEven:
    """A space of one's own whose choices depend on what was decided: one decision, then as many as it says."""

    def choices_at(self, prefix):
        return 3 if not prefix else 2 + prefix[0] if len(prefix) <= prefix[0] else 0


@pytest.mark.parametrize("name", spaces.SPACES)
def test_given_architectures_have_the_log_probabilities_they_were_sampled_with(name):
    space = spaces.get(name)
    policy = controller(space, name, scale=0.5)
    written = policy.sample(12, generator(name))
    again = policy(written.lists())
    assert torch.equal(again.decisions, written.decisions)
    assert torch.equal(again.log_probs, written.log_probs) and torch.equal(again.entropies, written.entropies)
    assert not written.log_probs.requires_grad and again.log_probs.requires_grad
    for decisions in written.lists():
        space.decode(decisions)  # raises where a decision is none of the space's


@pytest.mark.parametrize("space", [TINY, spaces.get("nasnet", blocks=1, primitives=("skip_connect", "conv_1x1"))])
def test_the_probabilities_of_all_architectures_sum_to_one(space):
    policy = controller(space, scale=0.8).double()
    written = policy(everything(space))
    assert len(written.decisions) == space.size()
    assert written.log_probs.sum(1).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_the_entropies_sum_to_that_of_the_whole_distribution():
    policy = controller(TINY, scale=0.8).double()
    written = policy(everything(TINY))
    log_p = written.log_probs.sum(1)
    whole = -(log_p.exp() * log_p).sum()
    assert torch.allclose((log_p.exp() * written.entropies.sum(1)).sum(), whole, atol=1e-12)


def test_without_weights_all_decisions_are_uniform():
    for name, size in (("nasnet", 2 * 42.27), ("nas-rl", 195 * math.log(2)), ("nasbench201", 6 * math.log(5))):
        written = controller(spaces.get(name), scale=0.0).sample(3, generator(0))
        assert written.entropies.sum(1).tolist() == pytest.approx([size] * 3, abs=0.02)


@pytest.mark.parametrize("name", spaces.SPACES)
def test_without_weights_each_option_of_each_decision_has_its_share_to_the_last(name):
    policy = controller(spaces.get(name), scale=0.0)
    p = policy.sample(3, generator(0)).log_probs.exp()
    assert torch.allclose(p, 1 / torch.tensor(policy.counts), atol=1e-6)


def test_samples_follow_the_probabilities():
    policy = controller(TINY, scale=0.8)
    p = policy(everything(TINY)).log_probs.sum(1).exp()
    drawn = policy.sample(40_000, generator("draws")).decisions
    index = drawn @ torch.tensor([64, 32, 16, 8, 4, 2, 1])
    counts = torch.bincount(index, minlength=128)
    chi_squared = ((counts - 40_000 * p) ** 2 / (40_000 * p)).sum().item()
    assert chi_squared < 127 + 4 * math.sqrt(2 * 127)
    assert p.max() / p.min() > 3  # else uniform sampling would pass


@pytest.mark.parametrize("name", spaces.SPACES)
def test_a_thousand_architectures_are_one_batch(name):
    """A thousand take as many tensor operations as one."""
    policy, counts = controller(spaces.get(name)), []
    for n in (1, 1000):
        with Operations() as counter:
            written = policy.sample(n, generator(0))
        assert written.decisions.shape == (n, len(policy.counts))
        counts.append(counter.count)
    assert counts[0] == counts[1] > 0


def test_a_skip_is_the_sigmoid_of_v_tanh_of_both_anchors():
    space = spaces.get("nas-rl", layers=3, sides=(3,), filters=(24,))
    policy = controller(space, hidden=5, layers=1, scale=0.8).double()
    decisions = [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0]  # layer 2 reads layer 1; layer 3 reads layer 1
    states, x, state = [], policy.start[None], None
    heads = {kind: head for kind, head in zip(("height", "width", "filters", "skip"), policy.heads)}

    def step(read):
        nonlocal state
        state = policy.lstm[0](read, state)
        states.append(state[0])
        return state[0]

    step(x)
    for kind in ("height", "width"):
        step(heads[kind].embedding.weight[0][None])
    first = step(heads["filters"].embedding.weight[0][None])  # reads layer 1's filters: its anchor, and layer 2 begins
    for kind in ("height", "width"):
        step(heads[kind].embedding.weight[0][None])
    second = step(heads["filters"].embedding.weight[0][None])  # layer 2's anchor, from which its skips are decided
    skips = heads["skip"]

    def probability(j, i):
        return torch.sigmoid(skips.v(torch.tanh(skips.prev(j) + skips.curr(i)))).item()

    log_probs = policy([decisions]).log_probs[0].exp()
    assert log_probs[6].item() == pytest.approx(probability(first, second), abs=1e-12)
    step(first)  # the mean of the anchors that are in
    for kind in ("height", "width"):
        step(heads[kind].embedding.weight[0][None])
    third = step(heads["filters"].embedding.weight[0][None])
    assert log_probs[10].item() == pytest.approx(probability(first, third), abs=1e-12)
    assert log_probs[11].item() == pytest.approx(1 - probability(second, third), abs=1e-12)


def test_a_pointer_is_the_softmax_of_v_tanh_of_both_anchors_and_what_it_chose_is_read():
    space = spaces.get("enas-micro", nodes=2)
    policy = controller(space, hidden=5, layers=1, scale=0.8).double()
    decisions = [1, 3, 0, 0, 2, 4, 1, 2] + [0, 1] * 4  # node 1 reads node 0 (option 2) first, then the cell's input 1
    heads, state = dict(zip(policy.kinds, policy.heads)), None
    pointer, embedding = heads["input"], heads["op"].embedding.weight

    def step(read):
        nonlocal state
        state = policy.lstm[0](read, state)
        return state[0]

    def chosen(anchors, now, option):
        scores = [pointer.v(torch.tanh(pointer.prev(anchor) + pointer.curr(now))) for anchor in anchors]
        return torch.softmax(torch.cat(scores, 1), 1)[0, option].item()

    anchors = [pointer.inputs[k][None] for k in (0, 1)]
    now, found = step(policy.start[None]), []
    for first, op, second, other in (decisions[:4], decisions[4:8]):
        found.append(chosen(anchors, now, first))
        found.append(torch.softmax(heads["op"].head(step(anchors[first])), 1)[0, op].item())
        now = step(embedding[op][None])
        found.append(chosen(anchors, now, second))
        found.append(torch.softmax(heads["op"].head(step(anchors[second])), 1)[0, other].item())
        now = step(embedding[other][None])
        anchors.append(now)  # the state that reads the node's last decision stands for the node
    assert policy([decisions]).log_probs[0, :8].exp().tolist() == pytest.approx(found, abs=1e-12)


def test_decisions_of_one_kind_share_a_head_and_the_depth_costs_nothing():
    def parameters(space):
        return sum(p.numel() for p in Controller(space).parameters())

    assert parameters(spaces.get("nas-rl", layers=6)) == parameters(spaces.get("nas-rl", layers=20))
    kinds = [type(head) for head in Controller(spaces.get("nasnet")).heads]
    assert kinds == [Pointer, Softmax, Softmax]
    assert [type(head) for head in Controller(spaces.get("nas-rl")).heads] == [Softmax, Softmax, Softmax, Skips]
    assert [len(step.positions) for step in Controller(TINY).steps(7)] == [1] * 7
    assert [len(step.positions) for step in Controller(spaces.get("nas-rl", layers=4)).steps(18)][-1] == 3


def test_growing_the_depth_leaves_what_is_written_first_as_it_was():
    space = spaces.get("nas-rl", layers=8)
    policy = controller(space, scale=0.5)
    short = policy.sample(4, generator(1), length=space.levels[2])
    full = policy.sample(4, generator(1))
    assert torch.equal(full.decisions[:, : space.levels[2]], short.decisions)
    assert torch.equal(full.log_probs[:, : space.levels[2]], short.log_probs)
    # Any beginning will do, so the probabilities of the next decision can be read off one option after another.
    begun = full.lists()[0][: space.levels[3] - 1]
    options = policy([[*begun, k] for k in range(2)]).log_probs[:, -1].exp()
    assert options.sum().item() == pytest.approx(1, abs=1e-6)


def test_the_initialisation_is_uniform():
    weights = torch.cat([p.flatten() for p in controller(spaces.get("nas-rl")).parameters()])
    assert weights.abs().max() <= 0.08 and weights.std().item() == pytest.approx(0.16 / math.sqrt(12), rel=0.02)


def test_a_space_whose_choices_depend_on_what_was_decided_is_refused_in_one_line():
    with pytest.raises(UserError, match="space OddOrEven: options at each position: found .* allowed: the same"):
        controller(OddOrEven())


def test_a_space_that_does_not_list_its_choices_is_walked():
    class Unlisted:
        def choices_at(self, prefix):
            return (3, 4, 2, 0)[len(prefix)]

    policy = controller(Unlisted(), scale=0.8).double()
    lists = [[i, j, k] for i in range(3) for j in range(4) for k in range(2)]
    assert policy(lists).log_probs.sum(1).exp().sum().item() == pytest.approx(1, abs=1e-12)
