"""Notebook 05: `runs/collapse.json`, searches of first-order DARTS on the space of NAS-Bench-201, step by step, beside
what the table says of the cells that they stand for."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ipywidgets
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from nascore import draw, spaces
from nascore.estimators import Table
from nascore.show.chart import COLOURS, DASHES, GREY, SHADES, Chart, styled

PUBLISHED = 54.30  # the cell of six skips: DARTS, both orders, three runs each (NAS-Bench-201)
SPACE = spaces.get("nasbench201")
OPERATIONS = list(SPACE.primitives)
NODES = enumerate(SPACE.decode([0] * 6).normal.nodes)
EDGES = [f"{['input', 0, 1][source]} → {node}" for node, edges in NODES for source in edges.inputs]
WORTH = Table().columns["cifar10_test_200ep"]
LOOKS = {"plain": COLOURS[1], "weight decay": COLOURS[0]}


@dataclass
class Run:
    """One search. `edges` is (rows, 6, 5), the softmax of every edge; the losses are means over the steps since the row
    before; `stop` is the step at which DARTS+ stops and what the table says of the cell there."""

    name: str
    seed: int
    steps: np.ndarray
    cells: list[str]  # six digits: the operation of each edge
    edges: np.ndarray
    loss: np.ndarray
    valid_loss: np.ndarray
    stop: Mapping | None

    @property
    def worth(self) -> np.ndarray:
        return np.array([WORTH[int(cell, 5)] for cell in self.cells])

    @property
    def rank(self) -> np.ndarray:
        """The place of each cell among all, 1 being the best."""
        return np.array([1 + int((WORTH > WORTH[int(cell, 5)]).sum()) for cell in self.cells])

    def count(self, operation: str) -> np.ndarray:
        """How many of the six edges have it."""
        digit = str(OPERATIONS.index(operation))
        return np.array([cell.count(digit) for cell in self.cells])

    @property
    def title(self) -> str:
        return f"{self.name}, seed {self.seed}"


def load(file: Path) -> list[Run]:
    stored = json.loads(file.read_text())
    runs = []
    for row in stored["runs"]:
        edges = np.array(row["edges"], float).reshape(-1, len(EDGES), len(OPERATIONS)) / 1000
        losses = np.array(row["loss"]), np.array(row["valid_loss"])
        steps = np.array(row["steps"])
        runs.append(Run(row["name"], row["seed"], steps, row["cells"], edges, *losses, row.get("two skips")))
    return runs


# --- all searches at once -------------------------------------------------------------------------------------------


def _lines(axes: Axes, lines: Mapping[str, float], named: bool) -> None:
    """Levels to compare with, each, where it is to be named, with its name right of the picture."""
    place = dict(xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points", va="center")
    for name, value in lines.items():
        axes.axhline(value, color=GREY, linestyle=":", linewidth=1.2)
        if named:
            axes.annotate(f"{name}: {value:.2f}", (1, value), color=GREY, fontsize=9, **place)


def _ending(run: Run) -> str:
    """How a search ends, in words."""
    skips, nones = run.count("skip_connect")[-1], run.count("none")[-1]
    said = f"{run.title}: {skips} skips and {nones} none at the end, worth {run.worth[-1]:.2f} %"
    said += (
        f", best on the way {run.worth.max():.2f} %, loss {run.loss[-1]:.2f} and {run.valid_loss[-1]:.2f} in validation"
    )
    if run.stop:
        said += f", DARTS+ stops at step {run.stop['step']:,} with {run.stop['worth']:.2f} %"
    return said


@styled
def overview(runs: Sequence[Run], random_search: float) -> Chart:
    """Worth, skips and losses of all searches over their steps, with what the worth is to be compared with. A colour is
    a kind of search, a line style a seed."""
    chart = Chart(figsize=(9.0, 6.2), layout="constrained")
    (*worths,), (skips, losses) = chart.subplots(2, 2, height_ratios=[1.4, 1])
    for axes, (name, colour) in zip(worths, LOOKS.items()):
        for run in (run for run in runs if run.name == name):
            how = {"color": colour, "linestyle": DASHES[run.seed], "linewidth": 1.5}
            axes.step(run.steps, run.worth, where="post", label=f"seed {run.seed}: {run.worth[-1]:.2f}", **how)
            skips.step(run.steps, run.count("skip_connect"), where="post", **how)
            losses.plot(run.steps, run.loss, **how | {"linestyle": "-"})
            losses.plot(run.steps, run.valid_loss, **how | {"linestyle": "-", "linewidth": 0.6})
        if stops := [run.stop for run in runs if run.stop and run.name == name]:
            where = [stop["step"] for stop in stops], [stop["worth"] for stop in stops]
            axes.plot(*where, "^", color=COLOURS[2], markersize=9, label="DARTS+ stops", zorder=3)
        axes.set(title=f"{name}: worth in the table (%)", ylim=(36, 97))
        axes.legend(loc="lower center", ncols=2, fontsize=9)
        _lines(
            axes, {"random search,\n100 cells": random_search, "a random cell,\nmean": WORTH.mean()}, axes is worths[-1]
        )
        _lines(axes, {"published end,\nsix skips": PUBLISHED}, axes is worths[-1])
    skips.set(title="skips among the six edges", xlabel="step of the search", ylim=(-0.2, 6.2))
    losses.set(title="loss: training (thick), validation (thin)", xlabel="step of the search")
    ends = "; ".join(map(_ending, runs))
    chart.words = f"Searches of first-order DARTS. {ends}. The published end is worth {PUBLISHED:.2f} %."
    return chart


# --- one search, at one step ----------------------------------------------------------------------------------------


@styled
def moment(run: Run, step: int) -> Chart:
    """The alphas of a search at a step as shades, the chosen operation of each edge framed, and where this is in the
    search."""
    k = int(np.searchsorted(run.steps, step, side="right")) - 1
    chart = Chart(figsize=(9.0, 3.9), layout="constrained")
    grid = chart.add_gridspec(3, 2, width_ratios=[1.15, 1])
    shades = chart.add_subplot(grid[:, 0])
    shades.imshow(run.edges[k], cmap=SHADES, vmin=0, vmax=max(0.4, run.edges.max()), aspect="auto")
    shades.grid(False)
    for (i, j), share in np.ndenumerate(run.edges[k]):
        ink = "#ffffff" if share > 0.6 * max(0.4, run.edges.max()) else "#1b1b1b"
        shades.text(j, i, f"{share:.2f}", ha="center", va="center", color=ink, fontsize=9)
    for i, digit in enumerate(run.cells[k]):
        shades.add_patch(Rectangle((int(digit) - 0.47, i - 0.46), 0.94, 0.92, fill=False, ec=COLOURS[1], lw=2.5))
    names = [
        name.replace("nor_", "").replace("_connect", "").replace("_3x3", "\n3x3").replace("_1x1", "\n1x1")
        for name in OPERATIONS
    ]
    shades.set_xticks(range(len(OPERATIONS)), names)
    shades.set_yticks(range(len(EDGES)), EDGES)
    shades.set_title(f"softmax(α) of {run.title}, step {run.steps[k]:,}")
    curves = {"worth in the table (%)": run.worth, "skips of six": run.count("skip_connect"), "training loss": run.loss}
    for row, (name, values) in enumerate(curves.items()):
        axes = chart.add_subplot(grid[row, 1])
        axes.step(run.steps, values, where="post", color=COLOURS[0], linestyle="-")
        axes.axvline(run.steps[k], color=COLOURS[1], linestyle="-", linewidth=1)
        axes.plot(run.steps[k], values[k], "o", color=COLOURS[1])
        axes.set_title(f"{name}: {values[k]:.4g}", fontsize=10)
        axes.locator_params("y", integer=name.startswith("skips"))
        if row < 2:
            axes.tick_params(labelbottom=False)
    axes.set_xlabel("step of the search")
    cell = ", ".join(f"{edge} {OPERATIONS[int(digit)]}" for edge, digit in zip(EDGES, run.cells[k]))
    chart.words = (
        f"{run.title} at step {run.steps[k]:,}: {cell}; worth {run.worth[k]:.2f} %, place {run.rank[k]:,} of "
        f"{len(WORTH):,}, training loss {run.loss[k]:.2f}."
    )
    return chart


def scrubber(runs: Sequence[Run]) -> ipywidgets.VBox:
    """`moment` under a slider, with the cell below it."""
    which = ipywidgets.Dropdown(options=[(run.title, k) for k, run in enumerate(runs)], description="search")
    steps = runs[0].steps
    slider = ipywidgets.SelectionSlider(options=[(f"{s:,}", s) for s in steps.tolist()], value=steps[-1].item())
    slider.description = "step"
    slider.layout.width = "60%"
    play = ipywidgets.Play(min=0, max=len(steps) - 1, interval=700, show_repeat=False)
    ipywidgets.jslink((play, "value"), (slider, "index"))
    view, cell = ipywidgets.HTML(), ipywidgets.HTML()

    def show(_=None) -> None:
        run = runs[which.value]
        view.value = moment(run, slider.value).svg
        k = slider.index
        genotype = SPACE.decode(list(map(int, run.cells[k])))
        cell.value = f"the cell of this step, place {run.rank[k]:,} of {len(WORTH):,}<br>{draw(genotype).svg}"

    for control in (which, slider):
        control.observe(show, "value")
    show()
    return ipywidgets.VBox([ipywidgets.HBox([which, play, slider]), view, cell])
