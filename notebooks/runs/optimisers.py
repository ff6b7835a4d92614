"""Every optimiser on the same ground: NAS-Bench-201's table, the same queries, many seeds, three data sets.

    python notebooks/runs/optimisers.py tune     each method's settings, on CIFAR-100, by eight tries of 20 seeds
    python notebooks/runs/optimisers.py run      with the best of these, 200 seeds (Optuna's Gaussian process 30)

What is done is kept under --out, and not done again. `tune` writes optimisers_tuned.json, `run` optimisers.json: of
each method, data set and seed the test accuracy of the cell that the signal says is best, after some queries.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))
from course import q_learning, swarm  # noqa: E402, F401  registers them
from course.comparing import compare  # noqa: E402

RUNS = Path("notebooks/runs")
QUERIES = 300
POINTS = sorted({round(x) for x in np.geomspace(1, QUERIES, 40)})
# Eight tries each; the first is the preset's own. A method without settings has none.
TRIES = {
    "random": [{}],
    "evolution": [
        dict(population_size=p, sample_size=s) for p, s in
        ((10, 10), (10, 3), (25, 10), (50, 10), (100, 25), (50, 25), (25, 5), (100, 50))
    ],
    "local-search": [dict(improvement=which) for which in ("first", "best")],
    "particle-swarm": [
        dict(particles=p, inertia=w, limit=v) for p, w, v in
        ((10, 0.7, 4.0), (20, 0.7, 4.0), (10, 0.9, 4.0), (10, 0.5, 4.0), (10, 0.7, 2.0), (10, 0.7, 8.0), (5, 0.7, 4.0),
         (20, 0.9, 2.0))
    ],
    "q-learning": [
        dict(learning_rate=r, exploring=x, epsilon=e) for r, x, e in
        ((0.001, 0.5, 0.1), (0.003, 0.5, 0.1), (0.01, 0.5, 0.1), (0.003, 0.25, 0.1),
         (0.003, 0.75, 0.05), (0.003, 0.5, 0.2), (0.01, 0.25, 0.2), (0.001, 0.25, 0.1))
    ],
    "nas-rl": [
        dict(learning_rate=r, children=c) for r, c in
        ((0.01, 4), (0.003, 4), (0.03, 4), (0.01, 1), (0.003, 1), (0.01, 8), (0.03, 8), (0.02, 4))
    ],
    "nasnet": [
        dict(learning_rate=r, children=c) for r, c in
        ((0.001, 4), (0.003, 4), (0.01, 4), (0.001, 1), (0.003, 1), (0.003, 8), (0.01, 8), (0.005, 4))
    ],
    "pnas": [
        dict(predictor=p, steps=s) for p, s in
        (("lstm-ensemble", 50), ("mlp-ensemble", 50), ("lstm-ensemble", 100), ("mlp-ensemble", 100),
         ("lstm-ensemble", 25), ("mlp-ensemble", 25), ("lstm-ensemble", 200), ("mlp-ensemble", 200))
    ],
    "optuna": [dict(sampler="tpe")],
}  # fmt: skip
GP = ("optuna", dict(sampler="gp"))
FEW = 30  # seeds of the Gaussian process, and its queries
GP_QUERIES = 100


def tune(out: Path, seeds: int, only: list[str]) -> None:
    """By the mean test accuracy on CIFAR-100 at the end."""
    file = RUNS / "optimisers_tuned.json"
    result = json.loads(file.read_text()) if file.exists() else {}
    for method in only:
        tries = {f"{method} {k}": (method, fields) for k, fields in enumerate(TRIES[method])}
        found = compare(tries, "cifar100", seeds=seeds, queries=QUERIES, directory=out / "tuned", progress=False)
        means = [round(float(values.mean()), 3) for values in found.last.values()]
        best = TRIES[method][int(np.argmax(means))]
        result[method] = {"tries": TRIES[method], "means": means, "best": best}
        print(method, result[method], flush=True)
        file.write_text(json.dumps(result).replace('{"tries"', '\n{"tries"') + "\n")


def run(out: Path, seeds: int, only: list[str]) -> None:
    tuned = json.loads((RUNS / "optimisers_tuned.json").read_text())
    file = RUNS / "optimisers.json"
    result = json.loads(file.read_text()) if file.exists() else {"points": POINTS}
    for which in ("cifar10", "cifar100", "imagenet16"):
        for method in only:
            named = {method: (method, tuned[method]["best"])}
            found = compare(named, which, seeds=seeds, queries=QUERIES, directory=out, progress=False)
            keep(file, result, which, found)
        if "optuna" in only:
            found = compare({"optuna gp": GP}, which, seeds=FEW, queries=GP_QUERIES, directory=out, progress=False)
            keep(file, result, which, found)


def keep(file: Path, result: dict, which: str, found) -> None:
    """The accuracies at `POINTS`, in hundredths of a percent."""
    for name, curves in found.found.items():
        points = [p - 1 for p in POINTS if p <= curves.shape[1]]
        rounded = np.round(100 * curves[:, points]).astype(int).tolist()
        result.setdefault(which, {})[name] = rounded
        print(which, name, np.round(found.last[name].mean(), 2), flush=True)
    file.write_text(json.dumps(result).replace('": [[', '":\n[[') + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("what", choices=("tune", "run"))
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--only", nargs="*", default=list(TRIES))
    parser.add_argument("--out", type=Path, default=Path("results/optimisers"))
    options = parser.parse_args()
    if options.what == "tune":
        tune(options.out, options.seeds or 20, options.only)
    else:
        run(options.out, options.seeds or 200, options.only)


if __name__ == "__main__":
    main()
