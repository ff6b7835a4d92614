"""What answers to the exercises of notebooks 05 and 07: each checker draws the right answer and the one it was given.
Its words begin with "Right", "Not yet right" or, as delivered, with "not done yet"."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from matplotlib.ticker import NullFormatter
from torch import Tensor

import nascore
from course import collapse, second_order
from course.checks import WAITING, judged, verdict, waiting
from nascore.methods import darts
from nascore.show.chart import COLOURS, GREY, Chart, panels, styled

DONE, WANTED = {"marker": "x", "markersize": 10, "markeredgewidth": 2.5}, {"marker": "o", "markersize": 12}


def _said(chart: Chart, missing: Sequence[str], done: bool, rest: str) -> Chart:
    """The verdict above the picture, and with the rest as its words."""
    answer = f"Not yet right: look at {', '.join(missing)}" if missing else "Right"
    words = answer if done else WAITING
    verdict(chart, words)
    chart.words = f"{words}. {rest}"
    return chart


@styled
def _points(wanted: Mapping[str, float], given: Mapping[str, float] | None, label: str) -> Chart:
    """A value for each case: a ring where the right one is, a cross at the one given."""
    if given is None:
        return waiting(label)
    chart, (axes,) = panels(1, 2.6, 8.0)
    places = range(len(wanted))
    rings = {"linestyle": "", "markerfacecolor": "none", "markeredgecolor": GREY} | WANTED
    axes.plot(places, list(wanted.values()), label="right", **rings)
    axes.plot(places, list(given.values()), linestyle="", color=COLOURS[1], label="yours", **DONE)
    missing = [case for case in wanted if not np.isclose(wanted[case], given[case], rtol=1e-3)]
    axes.set_xticks(places, list(wanted))
    axes.set(ylabel=label)
    axes.margins(x=0.1, y=0.25)
    axes.legend(fontsize=9)
    values = "; ".join(f"{case}: {value:.4g}" for case, value in wanted.items())
    return _said(chart, missing, True, f"{label}: {values}.")


# --- 05 -------------------------------------------------------------------------------------------------------------


@judged
def ends_at(alpha: float | None, path: np.ndarray) -> Chart:
    """Where the alternating steps of the toy end: the path, and the guess as a cross on the line of trained weights."""
    chart = second_order.portrait({1.0: path} if alpha is not None else {})
    if alpha is not None:
        chart.axes[0].plot(alpha, alpha, linestyle="", color=COLOURS[1], **DONE)
    right = alpha is not None and abs(alpha - path[-1, 0]) < 0.01
    missing = [] if right else ["where the path ends"]
    return _said(chart, missing, alpha is not None, chart.words if alpha is not None else "Guess first.")


UNROLLED = {  # weight, gradient, velocity, xi, momentum, weight decay
    "the gradient alone": (1.0, 0.5, 2.0, 0.1, 0.0, 0.0),
    "with momentum": (1.0, 0.5, 2.0, 0.1, 0.9, 0.0),
    "with weight decay": (1.0, 0.5, 2.0, 0.1, 0.0, 0.5),
    "both": (1.0, 0.5, 2.0, 0.1, 0.9, 0.5),
    "ξ twice as large": (1.0, 0.5, 2.0, 0.2, 0.9, 0.5),
}


@judged
def unrolled(answer: Callable[..., Tensor | None]) -> Chart:
    """The unrolled weight in five cases, against the library's."""
    wanted, given = {}, {}
    for case, numbers in UNROLLED.items():
        weight, gradient, velocity = (torch.tensor([number]) for number in numbers[:3])
        xi, momentum, decay = numbers[3:]
        (right,) = darts.unrolled_weights([weight], [gradient], xi, [velocity], momentum, decay)
        wanted[case] = right.item()
        found = answer(weight, gradient, velocity, xi, momentum, decay)
        given[case] = None if found is None else float(found)
    return _points(wanted, None if None in given.values() else given, "w' for w = 1")


@judged
@styled
def entropies(alpha_learning_rate: float) -> Chart:
    """The entropy of alpha through two short searches, with the preset's learning rate and with this."""
    chart, (axes,) = panels(1, 2.8, 7.5)
    words = []
    for rate in sorted({0.03, alpha_learning_rate}):
        how = dict(budget="smoke", channels=2, seed=0, progress=False, alpha_learning_rate=rate)
        rows = nascore.run("darts", **how).history
        values = [row["entropy_normal"] for row in rows]
        axes.plot([row["step"] for row in rows], values, label=f"alpha learning rate {rate:g}")
        words.append(f"{rate:g}: from {values[0]:.4f} to {values[-1]:.4f}")
    axes.set(xlabel="step", ylabel="entropy of α (nats), normal cell")
    axes.legend(fontsize=9)
    chart.words = f"Entropy of alpha over {len(rows)} steps by its learning rate. {'; '.join(words)}."
    return chart


@judged
@styled
def stops(answer: Callable[[list[int]], int | None], runs: Sequence[collapse.Run]) -> Chart:
    """Where DARTS+ stops the stored searches: the number of skips through each, a ring at the first look at which there
    are two, a cross where the answer stops. And a search that never has two."""
    plain = [run for run in runs if run.name == "plain"]
    chart, every = panels(len(plain), 2.8, sharey=True)
    done = answer([0, 2]) is not None
    missing, words = [], []
    for axes, run in zip(every, plain):
        skips = run.count("skip_connect").tolist()
        right = next((k for k, count in enumerate(skips) if count >= 2), len(skips))
        axes.step(run.steps, skips, where="post", linestyle="-")
        axes.axhline(2, color=GREY, linestyle=":", linewidth=1.2)
        ring = dict(linestyle="", markerfacecolor="none", markeredgecolor=GREY) | WANTED
        if done and right < len(skips):
            axes.plot(run.steps[right], skips[right], **ring)
            words.append(f"{run.title}: at step {run.steps[right]:,}, the cell being worth {run.worth[right]:.2f} %")
        if done and 0 <= (given := answer(skips)) < len(skips):
            axes.plot(run.steps[given], skips[given], linestyle="", color=COLOURS[1], **DONE)
        if done and given != right:
            missing.append(run.title)
        axes.set(title=run.title, xlabel="step of the search")
    every[0].set_ylabel("skips of six edges")
    if done and answer([0, 1, 1]) != 3:
        missing.append("a search that never has two skips")
    rest = f"DARTS+ stops {'; '.join(words)}" if done else "Skips of six edges, by the steps of each search"
    return _said(chart, missing, done, f"{rest}.")


# --- 07 -------------------------------------------------------------------------------------------------------------


@judged
@styled
def images_needed(answer: Callable[[float, float], float | None]) -> Chart:
    """How many images show a difference of 2.8 standard errors, in three cases, on a logarithmic scale."""
    wanted, given = {}, {}
    for delta, q in ((0.01, 0.05), (0.02, 0.1), (0.05, 0.2)):
        case = f"δ = {delta:g}, q = {q:g}"
        wanted[case], given[case] = 2.8**2 * (q - delta**2) / delta**2, answer(delta, q)
    if None in given.values():
        return waiting("test images needed")
    chart = _points(wanted, given, "test images needed")
    axes = chart.axes[0]
    axes.set(yscale="log", ylim=(100, 20_000))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    return chart


@judged
@styled
def mirrored(accuracies: Sequence[float | None]) -> Chart:
    """A picture of either class and its mirror image, and the accuracies with and without mirroring."""
    chart = Chart(figsize=(8.0, 2.6), layout="constrained")
    pictures = chart.add_gridspec(1, 5, width_ratios=[1, 1, 1, 1, 3])
    dark = np.full((16, 16), 0.85)
    dark[:, :8] = 0.35
    for k, (title, shown) in enumerate(
        {"left": dark, "left, mirrored": dark[:, ::-1], "right": dark[:, ::-1], "right, mirrored": dark}.items()
    ):
        axes = chart.add_subplot(pictures[k])
        axes.imshow(shown, cmap="gray", vmin=0, vmax=1)
        axes.set_title(title, fontsize=9)
        axes.set(xticks=[], yticks=[])
    axes = chart.add_subplot(pictures[4])
    wanted = {"flip=True": 0.5, "flip=False": 1.0}
    done = None not in accuracies
    missing = []
    if done:
        given = dict(zip(wanted, accuracies))
        axes.bar(range(2), list(given.values()), width=0.5, color=[COLOURS[0], COLOURS[4]])
        missing = [case for case in wanted if not abs(wanted[case] - given[case]) <= 0.05]
        for k, case in enumerate(wanted):
            axes.plot([k - 0.35, k + 0.35], [wanted[case]] * 2, color=COLOURS[1], linestyle="-", linewidth=3)
    axes.set_xticks(range(2), list(wanted))
    axes.set(ylabel="test accuracy", ylim=(0, 1.1))
    seen = "A picture of the class left, mirrored, looks like one of the class right, and keeps its label."
    return _said(chart, missing, done, seen)


@judged
@styled
def minibatches(last: int | None, images: int = 484) -> Chart:
    """The minibatches of an epoch as bars, for two sizes; the last one of the second is asked for."""
    chart, both = panels(2, 2.6, 8.0, sharey=True)
    rest = images % 32
    for axes, size in zip(both, (44, 32)):
        counts = [size] * (images // size) + ([images % size] if images % size and (size == 44 or last) else [])
        axes.bar(range(1, len(counts) + 1), counts, color=COLOURS[0])
        axes.set(title=f"{images} images by {size}", xlabel="minibatch", xlim=(0, 17), xticks=range(1, 17, 3))
    if last is not None:
        both[1].plot(images // 32 + 1, last, linestyle="", color=COLOURS[1], **DONE)
    both[0].set_ylabel("images")
    missing = [] if last == rest else ["the last bar of the second picture"]
    return _said(chart, missing, last is not None, f"{images} images in minibatches of 44 and of 32.")
