"""Notebook 05, sections 2.3 and "Second order, looked at closely": the toy, a supernet small enough to differentiate
twice, and what DARTS's finite difference does on it and through a search."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course import plots
from nascore import data, spaces
from nascore.methods import darts
from nascore.nets.supernet import Supernet, initial_alphas
from nascore.seeding import generator, seeded
from nascore.show.chart import SHADES, Chart, panels, styled

Tensors = Sequence[Tensor]
Loss = Callable[[Tensors, Tensors], Tensor]  # of weights and alphas


class Problem(NamedTuple):
    """What equations 3 to 8 are about: two losses, and the weights and alphas at which they are looked at."""

    train_loss: Loss
    valid_loss: Loss
    weights: list[Tensor]
    alphas: list[Tensor]


def small_problem(smooth: bool, dtype: torch.dtype = torch.float64, seed: int = 0) -> Problem:
    """A supernet of width 4 with three cells, on two minibatches of noise. A smooth one has softplus for ReLU and no
    max pooling."""
    operations = [name for name in spaces.DARTS_PRIMITIVES if not (smooth and name == "max_pool_3x3")]
    with seeded(seed, "small"):
        net = Supernet(operations, channels=4, cells=3, activation=F.softplus if smooth else F.relu).to(dtype)
        batches = [(torch.randn(8, 3, 16, 16).to(dtype), torch.randint(10, (8,))) for _ in range(2)]
    alphas = [(1e-3 * a).to(dtype).requires_grad_() for a in initial_alphas(net, generator(seed))]
    names = [name for name, _ in net.named_parameters()]

    def loss_on(batch: Tensors) -> Loss:
        def loss(weights: Tensors, alphas: Tensors) -> Tensor:
            logits = torch.func.functional_call(net, dict(zip(names, weights)), (batch[0], alphas))
            return F.cross_entropy(logits, batch[1])

        return loss

    return Problem(*map(loss_on, batches), [w.detach() for w in net.parameters()], alphas)


def relative_error(found: Tensors, wanted: Tensors) -> float:
    """The length of the difference as a share of the length of what is wanted."""
    found, wanted = (torch.cat([t.flatten() for t in tensors]) for tensors in (found, wanted))
    return ((found - wanted).norm() / wanted.norm()).item()


def product_errors(smooth: bool, radii: Sequence[float], dtype: torch.dtype = torch.float64) -> list[float]:
    """The relative error of equation 8 for probes of these lengths, along a random vector."""
    train_loss, _, weights, alphas = small_problem(smooth, dtype)
    with seeded(0, "v"):
        v = [torch.randn_like(w) for w in weights]
    exact = darts.exact_product(train_loss, weights, alphas, v)
    return [relative_error(darts.finite_difference(train_loss, weights, alphas, v, r), exact) for r in radii]


def hours_at_full_size() -> float:
    """Of the preset `full` on this machine: one step with a sixteenth of the minibatch, scaled."""
    budget = darts.DARTSBudget.preset("full")
    part = darts.DARTSBudget.preset("full", batch_size=4)
    pixels, labels = torch.randint(256, (16, 3, 32, 32), dtype=torch.uint8), torch.arange(16) % 10
    noise = data.Images("noise", pixels, labels, pixels, labels, tuple("0123456789"), (0.5,) * 3, (0.25,) * 3, 4, True)
    search = darts.DARTS(spaces.get("darts"), noise, part, 0, torch.device("cpu"))
    search.step()
    began = time.perf_counter()
    search.step()
    seconds = (time.perf_counter() - began) * budget.batch_size / part.batch_size
    return seconds * budget.epochs * 391 / 3600  # 391 steps: 25,000 images by 64


# --- pictures -------------------------------------------------------------------------------------------------------


@styled
def portrait(paths: Mapping[float, np.ndarray]) -> Chart:
    """Where alternating descents go on the toy, for each xi a path of (alpha, w)."""
    chart, (axes,) = panels(1, 4.0, 6.5)
    axes.axline((0, 0), slope=1, color=plots.GREY, linewidth=1, linestyle=":", label="trained: w = α")
    for xi, path in paths.items():
        axes.plot(*path.T, label=f"ξ = {xi:.2g}, ends at {path[-1, 0]:.2f}")
    axes.plot(1, 1, "*", markersize=14, color=plots.COLOURS[2], label="true optimum")
    axes.set(xlabel="α", ylabel="w", xlim=(0.5, 2.6), ylim=(-2.2, 2.4))
    axes.legend(fontsize=9, loc="lower left")
    ends = ", ".join(f"xi {xi:.2g} at {path[-1, 0]:.2f}" for xi, path in paths.items())
    chart.words = f"Paths of alpha and w on the toy from (2, -2): {ends}; the optimum is (1, 1)."
    return chart


@styled
def errors_by_length(errors: Mapping[str, Sequence[float]], radii: Sequence[float]) -> Chart:
    """Equation 8's relative error against the length of a probe."""
    chart, (axes,) = panels(1, 3.6, 7.5)
    for name, values in errors.items():
        axes.loglog(radii, values, label=name)
    axes.axvline(0.01, color=plots.GREY, linewidth=1, linestyle="-", label="the paper's r = 0.01")
    axes.axhline(1, color=plots.GREY, linewidth=1, linestyle=":", label="as large as the product itself")
    axes.set(xlabel="r, the length of a probe", ylabel="relative error of the product")
    axes.legend(fontsize=9)
    at = list(radii).index(0.01)
    words = [f"{name}: {values[at]:.1e} at 0.01, {values[-1]:.1e} at {radii[-1]:g}" for name, values in errors.items()]
    chart.words = f"Error of equation 8 against r. {'; '.join(words)}."
    return chart


@styled
def through_a_search(searches: Mapping[str, Mapping]) -> Chart:
    """The searches of `runs/hessian.json`, which differ in the second term of equation 7. How long both terms are,
    where equation 8's points for probes of four lengths, and how alike the alphas are in the end."""
    products = searches["finite-difference"]["products"]
    chart, (lengths, directions, ends) = panels(3, 3.6)
    steps = [row["step"] for row in products]
    kinds = {
        "first term": [row["direct"] for row in products],
        "second, exact": [row["exact_term"] for row in products],
        "second, by the probe": [row["r=0.01"]["term"] for row in products],
    }
    words = []
    for name, values in kinds.items():
        lengths.plot(steps, values, label=name)
        words.append(f"{name} {min(values):.4f} to {max(values):.4f} long")
    for radius in ("0.1", "0.01", "0.001", "0.0001"):
        cosines = [row[f"r={radius}"]["cosine"] for row in products]
        directions.plot(steps, cosines, label=f"r = {radius}", linewidth=3 if radius == "0.01" else 1.4)
        words.append(f"r = {radius}: cosine {min(cosines):.2f} to {max(cosines):.2f}")
    lengths.set(
        title="length of the terms of (7)", xlabel="step of the search", ylim=(0, 1.5 * max(kinds["first term"]))
    )
    directions.set(title="(8) and the exact product: cosine", xlabel="step of the search", ylim=(-0.5, 1))
    lengths.legend(fontsize=9, loc="upper left")
    directions.legend(fontsize=9, loc="lower left", ncols=2)

    moved = {name: F.softmax(torch.tensor(run["alphas"]), -1) - 1 / 8 for name, run in searches.items()}
    short = {"exact": "exact", "finite-difference": "by (8)", "first order": "first order"}
    names = list(short)
    cosines = [
        [F.cosine_similarity(moved[a].flatten(), moved[b].flatten(), dim=0).item() for b in names] for a in names
    ]
    ends.imshow(cosines, cmap=SHADES, vmin=0, vmax=1)
    ends.grid(False)
    for (i, j), value in np.ndenumerate(np.array(cosines)):
        if i != j:
            ink = "#ffffff" if value > 0.5 else "#1b1b1b"
            ends.text(j, i, f"{value:.2f}", ha="center", va="center", color=ink)
            words.append(f"alphas of {names[i]} and {names[j]}: cosine {value:.2f}" if i < j else "")
    ends.set_xticks(range(3), short.values(), fontsize=9)
    ends.set_yticks(range(3), short.values(), fontsize=9)
    ends.set_title("what the alphas learned: cosine")
    chart.words = f"Equation 7 through searches on CIFAR-10: {'; '.join(filter(None, words))}."
    return chart
