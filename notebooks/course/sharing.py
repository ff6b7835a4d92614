"""The pictures of ENAS's notebook: what a controller can say, what it says as it learns, what shared weights rank."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes

from course.curves import skip_connections
from course.light import panels
from course.ranking import Agreement, agreement
from course.spreads import Groups, Spread, agreement_of, dots
from nascore.controllers import squash
from nascore.estimators import SharedWeights
from nascore.genotypes import Genotype
from nascore.methods.enas import ENAS
from nascore.show.chart import COLOURS, GREY, MARKERS, Chart, History, styled
from nascore.show.drawing import look

POINTS = 60  # of a curve: more would be a large picture, and no more to see
Step = tuple[Genotype, float, Mapping]  # of a controller: the best of its samples, their mean reward, metrics
SHOCK = -0.5  # a reward less the baseline: what a cell that carries nothing gets once others read most images
ROUNDED = 1e-4  # entropies are stored so
LIGHT = ("skip_connect", "avg_pool_3x3")  # without weights
BARE = torch.tensor([4.0, 1.5, 0.0, -1.0, -3.0])  # five logits of a controller that has made up its mind


@styled
def squashed(constant: float, temperature: float) -> Chart:
    """What c tanh(u / tau) makes of a logit u, and of the probabilities of five options."""
    chart, (curve, bars) = panels(2, 3.0)
    u = torch.linspace(-10, 10, 201)
    curve.plot(u, u, color=GREY, linestyle=":", linewidth=1.2, label="u itself")
    curve.plot(u, squash(u, constant, temperature), color=COLOURS[0], linestyle="-", label="what is left of it")
    curve.set(xlabel="u", ylim=(-6, 6), title=f"c = {constant:g}, temperature {temperature:g}")
    curve.legend(fontsize=9)
    free = BARE.softmax(0).numpy()
    bound = squash(BARE, constant, temperature).softmax(0).numpy()
    options = np.arange(len(BARE))
    bars.bar(options - 0.2, free, 0.4, color="none", edgecolor=GREY, hatch="///", label="of u itself")
    bars.bar(options + 0.2, bound, 0.4, color=COLOURS[0], label="of what is left")
    bars.set_xticks(options, [f"u = {value:g}" for value in BARE.tolist()], fontsize=9)
    bars.set(title="probabilities of five options", ylim=(0, 1))
    bars.legend(fontsize=9)
    odds = bound.max() / bound.min()
    bars.grid(axis="x", visible=False)
    most = f"odds never above {np.exp(2 * constant):.3g}" if constant else "odds without a bound"
    chart.words = (
        f"Logits bounded by c = {constant:g} at temperature {temperature:g}: the first of five options has "
        f"probability {bound[0]:.2f} (without the bound {free[0]:.2f}), {odds:.3g} times the last's; {most}."
    )
    return chart


def largest(constant: float, options: int) -> float:
    """The most probability that one of some options can have if no logit is beyond the constant."""
    return math.exp(constant) / (math.exp(constant) + (options - 1) * math.exp(-constant))


@styled
def learning(runs: Mapping[str, Sequence[Sequence[Step]]], most: float, block: int = 10) -> Chart:
    """Controllers as they learn, from their steps: mean reward in percent and entropy in nats, in blocks of steps, each
    search faint, their mean a line. `most` is the entropy of chance."""
    chart, axes = panels(2, 3.0)
    words = []
    for k, (name, searches) in enumerate(runs.items()):
        rewards = [[100 * reward for _, reward, _ in steps] for steps in searches]
        entropies = [[metrics["entropy"] for _, _, metrics in steps] for steps in searches]
        ends = [_blocks(ax, values, block, k, name) for ax, values in zip(axes, (rewards, entropies))]
        words.append(f"{name}: mean reward {ends[0]:.1f} %, entropy {ends[1]:.2f} nats at the end")
    axes[0].set(title="mean reward of the samples (%)", xlabel="controller step")
    axes[1].set(title="entropy of the policy (nats)", xlabel="controller step")
    axes[1].axhline(most, color=GREY, linestyle=":", linewidth=1.2)
    axes[0].legend(fontsize=9)
    chart.words = f"The controller on the table's rewards. {'; '.join(words)}."
    return chart


def _blocks(axes: Axes, values: Sequence[Sequence[float]], block: int, k: int, name: str) -> float:
    """Draw runs, (runs, steps), as means of blocks of steps. Returns their last mean."""
    means = np.array(values).reshape(len(values), -1, block).mean(2)
    steps = block * np.arange(1, means.shape[1] + 1)
    for single in means:
        axes.plot(steps, single, color=COLOURS[k], linewidth=0.8, alpha=0.5, linestyle="-")
    axes.plot(steps, means.mean(0), color=COLOURS[k], marker=MARKERS[k], markevery=4, label=name)
    return means[:, -1].mean()


def carries(genotype: Mapping) -> bool:
    """Whether anything gets from the input of a history row's normal cell to its output: a path without `none`."""
    cell = genotype["normal"]
    alive = set(range(cell["n_inputs"]))
    for i, node in enumerate(cell["nodes"], cell["n_inputs"]):
        if any(j in alive and op != "none" for j, op in zip(node["inputs"], node["ops"])):
            alive.add(i)
    return bool(alive & set(cell["concat"]))


def skips(history: History) -> list[int]:
    """How many skip connections the normal cell of every path had."""
    return [skip_connections(row["genotype"])["normal"] for row in history if row["phase"] == "shared"]


def losses_of_nothing(history: History) -> list[float]:
    """The training losses of the paths on which nothing gets from the input to the output."""
    return [row["loss"] for row in history if row["phase"] == "shared" and not carries(row["genotype"])]


@styled
def two_phases(history: History) -> Chart:
    """A search of ENAS from its history: the loss of every path (a cell that carries nothing is a cross), the mean
    reward of the controller's samples with the baseline, the entropy of the policy."""
    chart, (loss, reward, entropy) = panels(3, 2.9)
    paths = [row for row in history if row["phase"] == "shared"]
    dead = [row for row in paths if not carries(row["genotype"])]
    alive = [row for row in paths if carries(row["genotype"])]
    steps, losses = _column(alive, "loss")
    loss.plot(steps, losses, ".", markersize=2, alpha=0.5, rasterized=True, label="a minibatch, a path")
    if dead:
        loss.plot(*_column(dead, "loss"), "x", color=COLOURS[1], markersize=5, label="a path of nothing")
    words = [f"training loss {losses[0]:.3g} to {losses[-1]:.3g}, {len(dead)} of {len(paths)} paths carry nothing"]
    said = []
    for name, label, axes in (
        ("reward", "mean of the samples", reward),
        ("baseline", "baseline b", reward),
        ("entropy", "", entropy),
    ):
        rows = [row for row in history if row["phase"] == "controller"]
        steps, values = _column(_thinned(rows), name)
        if len(values):
            axes.plot(steps, values, label=label)
            said.append(f"{name} {values[0]:.3g} to {values[-1]:.3g}")
    loss.set(title="training loss", xlabel="step")
    reward.set(title="accuracy, validation", xlabel="step")
    entropy.set(title="entropy (nats)", xlabel="step")
    loss.legend(fontsize=9)
    if said:
        reward.legend(fontsize=9)
    chart.words = f"The two phases: {'; '.join(words + said)}."
    return chart


def _thinned(rows: Sequence[Mapping]) -> Sequence[Mapping]:
    return rows[:: 1 + len(rows) // POINTS]


def _column(rows: Sequence[Mapping], name: str) -> tuple[list, list]:
    """Steps and values of one column."""
    return [row["step"] for row in rows], [row[name] for row in rows]


@styled
def entropies(rows: Sequence[Mapping], most: float) -> Chart:
    """From `runs/enas_entropy.json`: the entropy that a search reports at each step, of the few cells that it samples,
    and the policy's own, with two standard errors of so few samples on both sides; marked are the steps with a sample
    that is far worse than usual. `most` is the entropy of chance."""
    chart, (axes,) = panels(1, 3.2, 8.0)
    steps, exact, error, seen, worst = (
        np.array([row[name] for row in rows]) for name in ("step", "exact", "error", "sampled", "worst")
    )
    dots(axes, steps[::2], seen[::2], COLOURS[1], label="reported, of five samples")
    axes.plot(steps, exact, color=COLOURS[0], linestyle="-", label="exact, over all cells")
    for edge, label in zip((exact - 2 * error, exact + 2 * error), ("two standard errors", "")):
        axes.plot(steps[::4], edge[::4], color=GREY, linestyle="-", linewidth=0.8, label=label)
    shocks = worst < SHOCK
    axes.plot(steps[shocks], exact[shocks], "x", color=COLOURS[3], markersize=8, label="a sample of nothing")
    axes.axhline(most, color=GREY, linestyle=":", linewidth=1.2)
    axes.set(xlabel="controller step", ylabel="entropy of the policy (nats)")
    axes.legend(fontsize=9)
    inside = np.abs(seen - exact) <= 2 * error + ROUNDED
    falls = -np.diff(exact)
    share = falls[shocks[:-1]].sum() / falls.sum()
    leading = _leading(shocks[:-1][np.argsort(-falls)])
    chart.words = (
        f"Entropy of a policy over {len(rows)} steps: exactly {exact[0]:.2f} to {exact[-1]:.2f} nats. "
        f"{inside.mean():.0%} of the reported entropies lie within two standard errors of it. {shocks.sum()} steps "
        f"sample a cell whose reward is more than {-SHOCK:g} below the baseline: they make {share:.0%} of the fall, "
        f"among them the {leading} largest."
    )
    return chart


def _leading(flags: np.ndarray) -> int:
    """How many are true before the first that is not."""
    return int(np.append(flags, False).argmin())


def after_epochs(runs: Sequence[Mapping]) -> dict[str, dict[int, Agreement]]:
    """From `runs/sharing_rank.json`: for every supernet, after so many epochs, how its accuracies agree with those
    after 200 epochs alone."""
    return {f"seed {run['seed']}": {row["epochs"]: Agreement(*row["test"]) for row in run["learning"]} for run in runs}


def against(stored: Mapping, resamples: int = 500) -> Groups:
    """From `runs/sharing_rank.json`: with what accuracies of three supernets after 100 epochs agree; beside them the
    number of weights in the place of the supernet's answer, and the cells of ENAS's own space."""
    groups: dict[str, dict[str, Spread]] = {}
    for run in stored["nasbench201"]:
        _, shared, short, alone, sizes = map(np.array, zip(*run["cells"]))
        best = np.argsort(alone)[-len(alone) // 4 :]
        for heading, pair in (
            ("200 epochs alone", (shared, alone)),
            ("12 epochs alone", (shared, short)),
            ("200 epochs, best quarter", (shared[best], alone[best])),
        ):
            spread = agreement_of(agreement(*pair, resamples=resamples))
            groups.setdefault(heading, {})[f"seed {run['seed']}"] = spread
    counted = agreement_of(agreement(sizes, alone, resamples=resamples))
    groups["200 epochs alone"]["number of weights"] = counted
    own = stored["cifar10"]
    last = own["learning"][-1]
    groups["ENAS's cells, 3 epochs alone"] = {
        "seed 0": Spread(*last["reward"]),
        "number of weights": Spread(*own["parameters"]),
    }
    return groups


def while_it_learns(
    search: ENAS, cells: Sequence[Genotype], others: Mapping[str, Sequence[float]], epochs: Sequence[int]
) -> dict[str, dict[int, Agreement]]:
    """Train a supernet, and after so many epochs say how the cells' accuracies with its weights agree with `others`."""
    found: dict[str, dict[int, Agreement]] = {name: {} for name in others}
    for count in epochs:
        while search.steps < count * search.per_epoch:
            search.step()
        shared = SharedWeights(search.supernet, search.task)(cells)
        for name, values in others.items():
            found[name][count] = agreement(shared, values, resamples=300)
    return found


@styled
def as_it_learns(runs: Mapping[str, Mapping[int, Agreement]]) -> Chart:
    """Kendall's tau-b of accuracies with shared weights, after so many epochs of a supernet, a line for each, with the
    middle 95 % of resamples."""
    chart, (axes,) = panels(1, 2.9, 7.0)
    words = []
    marks: set[int] = set()
    for k, (name, found) in enumerate(runs.items()):
        epochs = np.array(list(found))
        tau, low, high = np.array([(value.tau, value.low, value.high) for value in found.values()]).T
        beside = epochs * 1.04 ** (k - (len(runs) - 1) / 2)  # else the intervals lie on one another
        style = {"color": COLOURS[k], "marker": MARKERS[k], "capsize": 3, "elinewidth": 1.2}
        axes.errorbar(beside, tau, (tau - low, high - tau), label=name, **style)
        marks |= set(found)
        words.append(f"{name}: tau-b " + ", ".join(f"{t:.2f} after {e}" for e, t in zip(epochs, tau)) + " epochs")
    axes.axhline(0, color=GREY, linewidth=1.2, linestyle=":")
    axes.set(xlabel="epochs of the supernet", ylabel="Kendall's tau-b", xscale="log")
    axes.set_xticks(sorted(marks), sorted(marks))
    axes.minorticks_off()
    axes.legend(fontsize=9)
    chart.words = f"Agreement with accuracies under shared weights. {'; '.join(words)}."
    return chart


@styled
def shared_and_alone(both: Mapping[str, Sequence[tuple[float, float]]]) -> Chart:
    """Architectures by their accuracy with shared weights (across) and trained alone (up), both in percent."""
    chart, (axes,) = panels(1, 2.9, 7.0)
    words = []
    for k, (name, pairs) in enumerate(both.items()):
        shared, alone = zip(*pairs)
        axes.plot(shared, alone, MARKERS[k], color=COLOURS[k], label=name)
        words.append(f"{name}: " + ", ".join(f"{s:.1f} and {a:.2f}" for s, a in pairs))
    axes.set(xlabel="accuracy with shared weights (%)", ylabel="trained alone (%)")
    axes.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    chart.words = f"Accuracy with shared weights, and trained alone. {'; '.join(words)}."
    return chart


def without_weights(genotype) -> int:
    """How many operations of a normal cell have none."""
    return sum(op in LIGHT for node in genotype.normal.nodes for op in node.ops)


@torch.no_grad()
def untrained(search: ENAS) -> dict[str, list[float]]:
    """The probabilities of the first operation of both cells when all weights of a controller are zero but its first
    biases."""
    for name, weight in search.controller.named_parameters():
        if "head.bias" not in name:
            weight.zero_()
    length = len(search.space.choices)
    shares = {}
    for cell, first in {"normal cell": 1, "reduction cell": length // 2 + 1}.items():
        written = [[0] * first + [op] + [0] * (length - first - 1) for op in range(search.space.choices[first])]
        shares[cell] = search.controller(written).log_probs[:, first].exp().tolist()
    return shares


@styled
def first_preferences(shares: Mapping[str, Sequence[float]], operations: Sequence[str]) -> Chart:
    """The probability of every operation before anything was learned, a panel for each policy."""
    chart, every = panels(len(shares), 2.4, sharey=True)
    words = []
    for axes, (title, values) in zip(every, shares.items()):
        bars = axes.barh(range(len(operations)), values, color=[look(name)[1] for name in operations])
        for bar, name in zip(bars, operations):
            bar.set_edgecolor(look(name)[0])
        axes.bar_label(bars, fmt="%.3f", padding=3, fontsize=9)
        axes.axvline(1 / len(operations), color=GREY, linestyle=":", linewidth=1.2)
        axes.set(title=title, xlim=(0, 1.35 * max(values)))
        axes.grid(axis="y", visible=False)
        words.append(f"{title}: " + ", ".join(f"{name} {value:.3f}" for name, value in zip(operations, values)))
    every[0].set_yticks(range(len(operations)), operations)
    every[0].invert_yaxis()
    chart.words = f"Probabilities of an untrained policy. {'; '.join(words)}."
    return chart
