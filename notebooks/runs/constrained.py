"""Accuracy under a bound of multiply-adds: the front that 300 queries of the table find, as a share of the hypervolume
of the whole space's front, by evolution and by random search.

    python notebooks/runs/constrained.py        # 60 seeds, a few minutes
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

import nascore
from nascore import spaces
from nascore.estimators import Table
from nascore.nets.measure import costs
from nascore.show.pareto import front, points

sys.path.append(str(Path(__file__).parents[1]))
from course.fronts import hypervolume  # noqa: E402

LEAST = 0.5  # accuracy from which the area is counted: no cell of interest lies below


def whole_space():
    """(multiply-adds, validation accuracy after 12 epochs) of all 15,625 cells."""
    space, table = spaces.get("nasbench201"), Table()
    cells = [space.decode([code // 5**k % 5 for k in range(6)]) for code in range(space.size())]
    rewards = [answer.reward for answer in table(cells)]
    return [(costs(cell, "nasbench201")["multiply_adds"], reward) for cell, reward in zip(cells, rewards)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--trials", type=int, default=300)
    options = parser.parse_args()
    cells = whole_space()
    bound = int(statistics.median(cost for cost, _ in cells))
    truth = front([(cost, reward) for cost, reward in cells if cost <= bound])
    area = hypervolume(truth, bound, LEAST)
    result = {"bound": bound, "least": LEAST, "trials": options.trials, "front": truth, "hypervolume": area}
    for method in ("evolution", "random"):
        shares, best, violations = [], [], 0
        for seed in range(options.seeds):
            how = dict(data="nasbench201", trials=options.trials, max_multiply_adds=bound, progress=False)
            found = points(nascore.run(method, seed=seed, **how).history)
            violations += sum(cost > bound for cost, _ in found)
            shares.append(hypervolume(found, bound, LEAST) / area)
            best.append(max(reward for _, reward in found))
        of_all = {"mean": statistics.mean(shares), "sd": statistics.stdev(shares), "least": min(shares)}
        of_best = {"mean": statistics.mean(best), "sd": statistics.stdev(best)}
        result[method] = {"share": of_all, "best": of_best, "violations": violations, "shares": shares}
        print(method, of_all, of_best, violations, flush=True)
    file = Path(__file__).with_suffix(".json")
    file.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
