"""What answers to the exercises of notebooks 05 and 07: each checker draws the right answer and the one it was given.
Its words begin with "right", "not yet" or, as delivered, with "not done yet"."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

import nascore
from course import second_order
from nascore.methods import darts
from nascore.show.chart import COLOURS, GREY, Chart, panels, styled

DONE, WANTED = {"marker": "x", "markersize": 10, "markeredgewidth": 2.5}, {"marker": "o", "markersize": 12}


def _said(chart: Chart, missing: Sequence[str], done: bool, rest: str) -> Chart:
    """The verdict as the picture's title and as its first words."""
    verdict = "not done yet" if not done else "right" if not missing else f"not yet: look at {', '.join(missing)}"
    chart.suptitle(verdict, color=COLOURS[2] if verdict == "right" else GREY, fontsize=11)
    chart.words = f"{verdict}. {rest}"
    return chart


@styled
def _points(wanted: Mapping[str, float], given: Mapping[str, float] | None, label: str) -> Chart:
    """A value for each case: a ring where the right one is, a cross at the one given."""
    chart, (axes,) = panels(1, 2.6, 8.0)
    places = range(len(wanted))
    rings = {"linestyle": "", "markerfacecolor": "none", "markeredgecolor": GREY} | WANTED
    axes.plot(places, list(wanted.values()), label="right", **rings)
    missing = []
    if given is not None:
        axes.plot(places, list(given.values()), linestyle="", color=COLOURS[1], label="yours", **DONE)
        missing = [case for case in wanted if not np.isclose(wanted[case], given[case], rtol=1e-3)]
    axes.set_xticks(places, list(wanted))
    axes.set(ylabel=label)
    axes.margins(x=0.1, y=0.25)
    axes.legend(fontsize=9)
    values = "; ".join(f"{case}: {value:.4g}" for case, value in wanted.items())
    return _said(chart, missing, given is not None, f"{label}: {values}.")


# --- 05 -------------------------------------------------------------------------------------------------------------


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
