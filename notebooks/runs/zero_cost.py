"""Scores without training of NAS-Bench-201's cells, beside their accuracies after training: parameters and
multiply-adds of all 15,625, the others of cells drawn at random, each from its first weights and 64 CIFAR-10 images.

    python notebooks/runs/zero_cost.py --data scratch/cifar10-part [--cells 2000]

What is scored is kept as it goes; the same command goes on. The correlations are Spearman's, with the 200-epoch test
accuracies.
"""

import argparse
import json
import sys
from pathlib import Path
from random import Random

import numpy as np
from scipy.stats import spearmanr

from nascore import data, spaces
from nascore.estimators import Table
from nascore.nets.measure import costs

sys.path.append(str(Path(__file__).parents[1]))
from course.zero_cost import ZeroCost  # noqa: E402

SPACE = spaces.get("nasbench201")
FILE = Path("notebooks/runs/zero_cost.json")
SCORES = ("grad_norm", "snip", "naswot", "jacob_cov", "synflow")
SETS = ("cifar10", "cifar100", "imagenet16")


def code(decisions) -> int:
    """Its row of the table."""
    return int("".join(map(str, decisions)), 5)


def drawn(count: int) -> list[tuple[int, ...]]:
    """So many different cells, the same each time."""
    random = Random(0)
    found: dict[tuple[int, ...], None] = {}
    while len(found) < count:
        found[tuple(SPACE.sample(random))] = None
    return list(found)


def correlations(scores: dict[str, dict]) -> dict[str, dict[str, float]]:
    """Spearman's of each score with the accuracies of each data set, over the cells that have a finite one."""
    columns = Table().columns
    result = {}
    for name, values in scores.items():
        rows, found = np.array(list(map(int, values))), np.array(list(values.values()), float)
        good = np.isfinite(found)
        result[name] = {"cells": int(good.sum())}
        for which in SETS:
            worth = columns[f"{which}_test_200ep"][rows[good]]
            result[name][which] = round(float(spearmanr(found[good], worth).statistic), 3)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--cells", type=int, default=2000)
    options = parser.parse_args()
    stored = json.loads(FILE.read_text()) if FILE.exists() else {}
    scores = stored.get("scores", {name: {} for name in SCORES})
    images = data.load(options.data)
    gradients, sizes = ZeroCost(images, "naswot"), ZeroCost(images, "synflow")
    for at, decisions in enumerate(drawn(options.cells)):
        row = str(code(decisions))
        if row in scores["synflow"]:
            continue
        genotype = SPACE.decode(decisions)
        for name, value in (gradients.scores(genotype) | sizes.scores(genotype)).items():
            scores[name][row] = float(f"{value:.6g}") if np.isfinite(value) else None
        if at % 25 == 24:
            print(at + 1, flush=True)
            keep(scores)
    keep(scores)


def keep(scores: dict) -> None:
    """The scores, and what they are worth; those that are counted are not stored."""
    counted: dict[str, dict] = {"parameters": {}, "multiply_adds": {}}
    for decisions in np.ndindex(*SPACE.choices):
        for name, count in costs(SPACE.decode(decisions), "nasbench201").items():
            counted[name][code(decisions)] = count
    numbers = {name: {row: np.nan if v is None else v for row, v in values.items()} for name, values in scores.items()}
    found = correlations(counted | numbers)
    text = json.dumps({"spearman": found, "scores": scores}).replace('"grad_norm": {"', '\n"grad_norm": {"')
    FILE.write_text(text + "\n")
    print(found, flush=True)


if __name__ == "__main__":
    main()
