"""The paper's table of rank correlations: each predictor, fitted on cells of b blocks, ranks those and cells of b + 1.
On NAS-Bench-201 with the table's accuracies, and in PNAS's own space with cells really trained on digits. A repeat
draws its own cells, the same for every predictor, and its own predictors.

    python notebooks/runs/pnas_ranks.py [--repeats 20] [--draws 6] [--count 48] [--levels 4] [--only digits]
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from nascore import data, spaces
from nascore.estimators import Table, TrainChildren
from nascore.predictors import PREDICTORS
from nascore.training import Recipe

sys.path.append(str(Path(__file__).parents[1]))
from course.ranking import rank_correlations  # noqa: E402

OUT = Path("notebooks/runs/pnas_ranks.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--draws", type=int, default=6, help="repeats on digits, where each trains new cells")
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--levels", type=int, default=4)
    parser.add_argument("--only", nargs="*", default=["nasbench201", "digits"])
    options = parser.parse_args()
    images, digits = data.load("digits"), dict(count=options.count, levels=options.levels)
    recipe = Recipe(channels=8, cells=3, epochs=4, batch_size=64, learning_rate=0.05)
    children = TrainChildren(images, recipe, channels=8, cells=3, skeleton="pnasnet", workers=1)
    where = {
        "nasbench201": (spaces.get("nasbench201"), Table(), options.repeats, dict(count=100, levels=3)),
        "digits": (spaces.get("pnas", blocks=options.levels), children, options.draws, digits),
    }
    result = json.loads(OUT.read_text()) if OUT.exists() else {}
    for place in options.only:
        space, estimate, repeats, how = where[place]
        result[place] = {name: [] for name in PREDICTORS}
        for s in range(repeats):
            began = time.process_time()
            for name, runs in result[place].items():
                runs.append(rank_correlations(space, estimate, name, seed=s, drawn=s, **how))
                print(place, s, name, np.round(runs[-1], 3).tolist(), flush=True)
            print(f"{time.process_time() - began:.0f} CPU seconds", flush=True)
            OUT.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
