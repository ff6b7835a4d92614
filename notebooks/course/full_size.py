"""`runs/full_size.json`: whole searches whose children were really trained on CIFAR-10 images, on the space of
NAS-Bench-201, so that the table says what every cell that they tried is worth."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from course.light import Light, panels
from nascore.estimators import Table
from nascore.show.chart import COLOURS, GREY, MARKERS, styled

WORTH = Table().columns["cifar10_test_200ep"]
LOOKS = dict(zip(("random", "nas-rl", "nasnet", "pnas"), COLOURS))
LOWEST = 84  # percent: what is worth less is not shown


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
    """The searches of one method beside those of random search: what the best cell so far is worth, seed by seed; the
    cells that they return; and every child, what it earned here against what its cell is worth."""
    kinds = dict.fromkeys(("random", name))
    chart, (curves, ends, children) = panels(3, 3.2, width_ratios=[1.5, 0.8, 1.2], sharey=True)
    words = []
    for column, kind in enumerate(kinds):
        mine = [search for search in searches if search.name == kind]
        look = dict(color=LOOKS[kind], linestyle="", marker=MARKERS[column])
        for search in mine:
            steps = range(1, len(search.cells) + 1)
            label = kind if search is mine[0] else None
            curves.step(steps, search.worth, where="post", color=LOOKS[kind], label=label, linestyle="-", alpha=0.8)
            earned = 100 * search.rewards
            children.plot(earned, WORTH[search.cells], **look, markersize=3, alpha=0.6, rasterized=True)
        found = [WORTH[search.found] for search in mine]
        ends.plot([column] * len(found), found, **look, markersize=8, alpha=0.8)
        shown = ", ".join(f"{value:.2f}" for value in found)
        words.append(f"{kind} returns cells worth {shown}")
    ends.axhline(WORTH.mean(), color=GREY, linestyle=":", linewidth=1.2)
    ends.annotate("a random cell, mean", (-0.5, WORTH.mean()), color=GREY, fontsize=9, va="bottom")
    curves.set(xlabel="children trained", ylabel="worth in the table (%)", title="best so far, by its reward")
    curves.legend(fontsize=9, loc="lower right")
    ends.set(title="what is returned", xlim=(-0.6, len(kinds) - 0.4))
    ends.set_xticks(range(len(kinds)), kinds)
    every = [search for search in searches if search.name in kinds]
    agree = agreement(every)
    lowest = np.percentile(np.concatenate([100 * search.rewards for search in every]), 8) - 2
    children.set(title="every child", xlabel="reward here (%)", ylim=(LOWEST, 95), xlim=(lowest, None))
    words.append(f"a random cell is worth {WORTH.mean():.2f} on average")
    words.append(f"Kendall's tau-b of reward and worth over all children {agree:.2f}")
    chart.words = f"Test accuracy after 200 epochs, in percent: {'; '.join(words)}."
    return chart


def agreement(searches: Sequence[Search]) -> float:
    """Kendall's tau-b between what children earned here and what their cells are worth, over all that were tried."""
    cells = np.concatenate([search.cells for search in searches])
    rewards = np.concatenate([search.rewards for search in searches])
    return float(kendalltau(rewards, WORTH[cells]).statistic)
