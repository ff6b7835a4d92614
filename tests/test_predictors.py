"""PNAS's surrogates: published sizes, PyTorch's own LSTM and layers, all children against one at a time, the fit."""

from itertools import product
from random import Random

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nascore import spaces
from nascore.errors import UserError
from nascore.predictors import PREDICTORS, fit, make, rank_correlation

PNAS, BENCH, CHAINS = spaces.get("pnas"), spaces.get("nasbench201"), spaces.get("nas-rl", layers=3)


def samples(space, count: int, level: int | None = None, seed: int = 0) -> list[list[int]]:
    """Random architectures, of one level or of all."""
    random = Random(seed)
    return [space.sample(random)[: space.levels[level if level is not None else k % 3]] for k in range(count)]


def count(module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_predictors_are_as_large_as_the_paper_s():
    """Embeddings 14 x 100 of 6 inputs and 8 operations; the LSTM with both of PyTorch's bias vectors."""
    assert count(make("lstm", PNAS)) == 1_400 + 80_800 + 101 == 82_301
    assert count(make("mlp", PNAS)) == 1_400 + 40_100 + 10_100 + 101 == 51_701
    assert count(make("lstm-ensemble", PNAS)) == 5 * 82_301


@pytest.mark.parametrize("name", PREDICTORS)
def test_a_new_predictor_says_about_0_86_and_never_leaves_0_to_1(name):
    predictor = make(name, PNAS)
    assert all(abs(p - 0.858) < 0.06 for p in predictor.predict(samples(PNAS, 50)).tolist())
    assert 0.09 < predictor.embedding.abs().max() <= 0.1 and torch.all(predictor.head_bias == 1.8)
    with torch.no_grad():
        predictor.embedding *= 20
    assert all(0 < p < 1 for p in predictor.predict(samples(PNAS, 50)).tolist())


def test_the_lstm_is_pytorch_s():
    predictor = make("lstm", PNAS).double()
    lstm = nn.LSTM(100, 100, batch_first=True).double()
    weights = [w[0].T.squeeze() for w in (predictor.weight_ih, predictor.weight_hh)]
    weights += [b.flatten() for b in (predictor.bias_ih, predictor.bias_hh)]
    lstm.load_state_dict(dict(zip(("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"), weights)))
    for decisions in samples(PNAS, 9):
        rows = [d + (0 if p % 4 < 2 else 6) for p, d in enumerate(decisions)]  # 6 inputs, then 8 operations
        h = lstm(predictor.embedding[:, rows])[0][:, -1]
        expected = torch.sigmoid(h @ predictor.head[0] + predictor.head_bias[0]).item()
        assert predictor.predict([decisions]).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("space, widths", [(PNAS, (4, 4, 4)), (BENCH, (1, 2, 3))])
def test_the_mlp_is_the_paper_s(space, widths):
    predictor = make("mlp", space).double()
    layers = nn.Sequential(nn.Linear(100 * max(widths), 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU()).double()
    ours = (predictor.weight_1.flatten(1, 2), predictor.bias_1, predictor.weight_2, predictor.bias_2)
    layers.load_state_dict(dict(zip(("0.weight", "0.bias", "2.weight", "2.bias"), [w[0].T.squeeze(1) for w in ours])))
    for decisions in samples(space, 9):
        blocks, at = [], 0
        for width in widths[: space.levels.index(len(decisions)) + 1]:
            rows = [predictor.rows[p] + decisions[p] for p in range(at, at + width)]
            zeros = torch.zeros(100 * (max(widths) - width), dtype=torch.float64)
            blocks.append(torch.cat([predictor.embedding[0, rows].flatten(), zeros]))
            at += width
        expected = torch.sigmoid(layers(torch.stack(blocks).mean(0)) @ predictor.head[0] + predictor.head_bias[0])
        assert predictor.predict([decisions]).item() == pytest.approx(expected.item(), abs=1e-12)


def test_the_order_of_blocks_is_nothing_to_the_mlp_and_something_to_the_lstm():
    first, second = [0, 1, 3, 4], [1, 1, 0, 7]
    for name in PREDICTORS:
        a, b = make(name, PNAS).double().predict([first + second, second + first]).tolist()
        assert (abs(a - b) < 1e-14) == name.startswith("mlp"), name


@pytest.mark.parametrize("name", PREDICTORS)
@pytest.mark.parametrize("space, level", [(PNAS, 0), (BENCH, 0), (BENCH, 1), (CHAINS, 0), (CHAINS, 1)])
def test_all_children_score_as_each_of_them_alone(name, space, level):
    predictor = make(name, space).double()
    parents = samples(space, 3, level)
    options = space.choices[space.levels[level] : space.levels[level + 1]]
    scores = predictor.score_children(parents)
    for parent, row in zip(parents, scores):
        children = [[*parent, *new] for new in product(*map(range, options))]
        assert torch.allclose(row, predictor.predict(children), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", PREDICTORS)
def test_a_batch_says_of_each_architecture_what_it_says_of_it_alone(name):
    predictor, mixed = make(name, CHAINS).double(), samples(CHAINS, 12) + samples(CHAINS, 2)
    alone = torch.cat([predictor.predict([decisions]) for decisions in mixed])
    assert torch.allclose(predictor.predict(mixed), alone, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ["lstm-ensemble", "mlp-ensemble"])
def test_the_members_of_an_ensemble_start_apart(name):
    for weight in (w for key, w in make(name, PNAS).named_parameters() if key != "head_bias"):
        assert len(weight.flatten(1).unique(dim=0)) == 5


# A parent of four blocks has 6 x 6 x 8 x 8 children, which begin in 1, then 6, 36, 288 ways: for each of these an LSTM
# multiplies its state by a matrix of 100 x 400, and for each child by the head. An MLP's first layer is a sum of what
# the parent adds, from 4 x 14 inputs, and what each decision adds; its second layer and its head are for each child.
MULTIPLY_ADDS = {"lstm": 331 * 40_000 + 2304 * 100, "mlp": 56 * 100 + 2304 * (10_000 + 100)}


@pytest.mark.parametrize("name", PREDICTORS)
def test_what_children_have_in_common_is_computed_once(name):
    predictor, (parent,), counts = make(name, PNAS), samples(PNAS, 1, 3), []
    for times in (1, 2, 3):
        with FlopCounterMode(display=False) as counter:
            assert predictor.score_children([parent] * times).shape == (times, 2304)
        counts.append(counter.get_total_flops() // 2)
    each = predictor.members * MULTIPLY_ADDS[name.removesuffix("-ensemble")]
    assert counts[1] - counts[0] == counts[2] - counts[1] == each
    assert counts[0] < 2 * each  # what is done once, as the table of all tokens, is less than a parent's children


@pytest.mark.parametrize("name", PREDICTORS)
def test_a_fit_ranks_what_it_saw_and_is_a_function_of_the_seed(name):
    data, weights = samples(PNAS, 40), torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
    rewards = [torch.sigmoid(1.8 + sum(weights[p, d] for p, d in enumerate(a)) / 4).item() for a in data]
    predictors = [fit(make(name, PNAS, seed), data, rewards, steps=100, seed=seed) for seed in (1, 1, 2)]
    first, again, other = (p.predict(data) for p in predictors)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert rank_correlation(first.tolist(), rewards) > 0.75


@pytest.mark.parametrize("name", ["lstm-ensemble", "mlp-ensemble"])
def test_each_member_leaves_out_another_fifth(name):
    """Rewards of 1 among rewards of 0 move only the members that see them."""
    data, seen = samples(PNAS, 10, 1), []
    for outlier in range(10):
        rewards = [1.0 if k == outlier else 0.0 for k in range(10)]
        predictor = fit(make(name, PNAS), data, rewards, steps=1)
        calm = fit(make(name, PNAS), data, [0.0] * 10, steps=1)
        seen.append([not torch.equal(a, b) for a, b in zip(predictor.embedding, calm.embedding)])
    assert [sum(members) for members in seen] == [4] * 10
    assert [sum(left) for left in zip(*([not s for s in members] for members in seen))] == [2] * 5


def test_every_member_takes_the_mean_over_what_it_keeps_and_the_seed_says_what():
    """Eleven times one cell with reward 0: whichever two or three of them a member leaves out, the slope is of one."""
    data = samples(PNAS, 1, 1) * 11
    start = make("mlp-ensemble", PNAS).double()
    guesses = start(start.read(data))[:, 0]
    fitted = fit(start, data, [0.0] * 11, steps=1)
    assert torch.allclose(fitted.head_bias.grad.flatten(), guesses * (1 - guesses), rtol=1e-9)
    one, other = (fit(make("mlp-ensemble", PNAS), samples(PNAS, 10), [0.5] * 10, seed=seed, steps=1) for seed in (1, 2))
    assert not torch.equal(one.embedding, other.embedding)


def test_the_loss_is_the_mean_absolute_error():
    """One outlier among nine equal rewards: the mean absolute error is least at the median, the squared one is not."""
    data = [samples(PNAS, 1, 0)[0]] * 9
    predictor = fit(make("mlp", PNAS), data, [0.9] * 8 + [0.0], steps=300, learning_rate=0.01)
    assert predictor.predict(data)[0].item() == pytest.approx(0.9, abs=0.01)


def test_rank_correlation_is_zero_where_there_is_no_rank():
    assert rank_correlation([1, 2, 3], [10, 20, 15]) == pytest.approx(0.5)
    assert rank_correlation([1, 2, 3], [1, 100, 101]) == pytest.approx(1.0)  # Pearson's is 0.87
    assert rank_correlation([1, 1, 1], [10, 20, 15]) == 0.0


LARGEST = samples(PNAS, 2, 4)


@pytest.mark.parametrize(
    "mistake, said",
    [
        (lambda: make("foo", PNAS), "predictor: found 'foo', allowed: lstm, mlp, lstm-ensemble, mlp-ensemble"),
        (
            lambda: make("lstm", spaces.get("darts")),
            "pnas grows architectures and space 'darts' has no levels; allowed",
        ),
        (lambda: make("mlp", PNAS).score_children(LARGEST), "decisions of a parent: found 20, allowed: fewer than"),
        (lambda: make("lstm", PNAS).score_children(LARGEST), "decisions of a parent: found 20, allowed: fewer than"),
        (
            lambda: fit(make("mlp", PNAS), LARGEST, [0.5, 61.3]),
            "reward: found 61.3, allowed: a fraction from 0 to 1, not",
        ),
        (
            lambda: fit(make("mlp", PNAS), LARGEST, [0.5, -0.1]),
            "reward: found -0.1, allowed: a fraction from 0 to 1, not",
        ),
        (lambda: fit(make("mlp", PNAS), [], []), "data of a fit: found '0 architectures and 0 rewards', allowed: "),
        (
            lambda: fit(make("mlp", PNAS), LARGEST, [1.0]),
            "data of a fit: found '2 architectures and 1 rewards', allowed",
        ),
    ],
)
def test_a_mistake_is_said_in_one_line(mistake, said):
    with pytest.raises(UserError) as caught:
        mistake()
    assert str(caught.value).startswith(said)
