"""`runs/full_size.json`: whole searches whose children were really trained on CIFAR-10 images, on the space of
NAS-Bench-201, so that the table says what every cell that they tried is worth."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from scipy.stats import kendalltau

from course.light import Light, panels
from nascore.estimators import Table
from nascore.show.chart import COLOURS, GREY, MARKERS, styled

WORTH = Table().columns["cifar10_test_200ep"]
LOOKS = dict(zip(("random", "nas-rl", "nasnet", "pnas"), COLOURS))


@dataclass
class Search:
    """One search: the cells in the order in which they were tried, as rows of the table, and the reward that each
    earned here, the accuracy on 5,000 validation images; `found` is the cell that the search returns."""

    name: str
    seed: int
    cells: np.ndarray
    rewards: np.ndarray
    found: int

    @property
    def worth(self) -> np.ndarray:
        """What the best cell so far, by its reward, is worth in the table, after each child."""
        best = np.maximum.accumulate(self.rewards)
        first = np.searchsorted(best, best)  # where that reward was reached
        return WORTH[self.cells[first]]


def load(file: Path) -> list[Search]:
    searches = []
    for row in json.loads(file.read_text())["runs"]:
        cells = np.array([int(cell, 5) for cell in row["cells"]])
        searches.append(Search(row["name"], row["seed"], cells, np.array(row["rewards"]), int(row["found"], 5)))
    return searches


def place(cell: int) -> int:
    """Its place among all 15,625 by its test accuracy, 1 being the best."""
    return 1 + int((WORTH > WORTH[cell]).sum())


@styled
def beside_random(searches: Sequence[Search], name: str) -> Light:
    """The searches of one method beside those of random search: what the best cell so far is worth, seed by seed, and
    at the right the cells that they return."""
    kinds = dict.fromkeys(("random", name))
    chart, (curves, ends) = panels(2, 3.2, width_ratios=[2, 1], sharey=True)
    words = []
    for column, kind in enumerate(kinds):
        mine = [search for search in searches if search.name == kind]
        for search in mine:
            steps = range(1, len(search.cells) + 1)
            label = kind if search is mine[0] else None
            curves.step(steps, search.worth, where="post", color=LOOKS[kind], label=label, linestyle="-", alpha=0.8)
        found = [WORTH[search.found] for search in mine]
        ends.plot(
            [column] * len(found), found, MARKERS[column], color=LOOKS[kind], linestyle="", markersize=8, alpha=0.8
        )
        shown = ", ".join(f"{value:.2f}" for value in found)
        words.append(f"{kind} returns cells worth {shown}")
    _mean(ends)
    curves.set(xlabel="children trained", ylabel="worth in the table (%)", title="best so far, by its reward here")
    curves.legend(fontsize=9)
    ends.set(title="what is returned", xlim=(-0.6, len(kinds) - 0.4))
    ends.set_xticks(range(len(kinds)), kinds)
    every = [value for search in searches for value in search.worth[5:]]
    curves.set_ylim(min(every) - 1, 95)
    chart.words = f"Test accuracy after 200 epochs: {'; '.join(words)}; a random cell {WORTH.mean():.2f} on average."
    return chart


def _mean(axes: Axes) -> None:
    axes.axhline(WORTH.mean(), color=GREY, linestyle=":", linewidth=1.2)
    axes.annotate("a random cell,\nmean", (1, WORTH.mean()), xycoords=("axes fraction", "data"), color=GREY, fontsize=9)


def agreement(searches: Sequence[Search]) -> float:
    """Kendall's tau-b between what children earned here and what their cells are worth, over all that were tried."""
    cells = np.concatenate([search.cells for search in searches])
    rewards = np.concatenate([search.rewards for search in searches])
    return float(kendalltau(rewards, WORTH[cells]).statistic)
