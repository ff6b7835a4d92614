"""The paper's table of rank correlations: each predictor, fitted on cells of b blocks, ranks those and cells of b + 1.
On NAS-Bench-201 with the table's accuracies, and in PNAS's own space with cells really trained on digits, the same for
every predictor and repeat; a repeat changes the predictor's seed, and on the table the cells as well.

    python notebooks/runs/pnas_ranks.py [--repeats 20] [--count 48] [--levels 4]
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from nascore import data, spaces
from nascore.estimators import Table, TrainChildren
from nascore.methods.pnas import rank_correlations
from nascore.predictors import PREDICTORS
from nascore.training import Recipe

OUT = Path("notebooks/runs/pnas_ranks.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--levels", type=int, default=4)
    options = parser.parse_args()
    result: dict = {"nasbench201": {}, "digits": {}}
    space, table = spaces.get("nasbench201"), Table()
    for name in PREDICTORS:
        how = dict(count=100, levels=3)
        runs = [rank_correlations(space, table, name, seed=s, drawn=s, **how) for s in range(options.repeats)]
        result["nasbench201"][name] = runs
        print("nasbench201", name, np.round(np.median(result["nasbench201"][name], 0), 3).tolist(), flush=True)
        OUT.write_text(json.dumps(result))
    space, images = spaces.get("pnas", blocks=options.levels), data.load("digits")
    recipe = Recipe(channels=8, cells=3, epochs=4, batch_size=64, learning_rate=0.05)
    children = TrainChildren(images, recipe, channels=8, cells=3, skeleton="pnasnet", workers=1)
    for name in PREDICTORS:
        began, how = time.monotonic(), dict(count=options.count, levels=options.levels)
        runs = [rank_correlations(space, children, name, seed=s, **how) for s in range(options.repeats)]
        result["digits"][name] = runs
        print("digits", name, np.round(np.median(runs, 0), 3).tolist(), f"{time.monotonic() - began:.0f} s", flush=True)
        OUT.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
