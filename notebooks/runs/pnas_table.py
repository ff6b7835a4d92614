"""PNAS on the table against random search and regularized evolution, many seeds: 12-epoch validation and 200-epoch test
accuracy of the best cell by validation, in percent, after so many queries. PNAS's beam depends on how many it may ask,
so each number of queries is a search of its own; it returns the best cell of its last level, the others the best of
all.

    python notebooks/runs/pnas_table.py [--seeds 60] [--signal cifar10] [--out FILE]
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from table_policies import Signal

from nascore import search, spaces

SPACE = spaces.get("nasbench201")
QUERIES = [25, 100, 300]
METHODS = {"random search": ("random", {}), "regularized evolution": ("evolution", {})}
METHODS |= {
    f"pnas, {p}": ("pnas", {"predictor": p, "first": 0}) for p in ("lstm-ensemble", "mlp-ensemble", "lstm", "mlp")
}


def found(method: str, fields: dict, estimate: Signal, queries: int, seed: int, signal: str) -> tuple[float, float]:
    entry = search.get(method)
    loop = entry.build(SPACE, estimate, entry.budget.preset("reduced", **fields, trials=queries), seed)
    while not loop.done:
        loop.step()
    row = estimate.table.row(loop.best.genotype)
    return round(row[f"{signal}_valid"], 3), round(row[f"{signal}_test_200ep"], 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--signal", default="cifar10", choices=("cifar10", "cifar100", "imagenet16"))
    parser.add_argument("--out", type=Path, default=Path("notebooks/runs/pnas_table.json"))
    options = parser.parse_args()
    estimate = Signal(options.signal)
    result = {"signal": options.signal, "queries": QUERIES, "valid": {}, "methods": {}}
    for name, (method, fields) in METHODS.items():
        began = time.process_time()
        how = (method, fields, estimate)
        runs = [[found(*how, q, seed, options.signal) for q in QUERIES] for seed in range(options.seeds)]
        values = np.array(runs)
        result["valid"][name], result["methods"][name] = values[..., 0].tolist(), values[..., 1].tolist()
        options.out.write_text(json.dumps(result))
        spread = " ".join(f"{m:.2f}+-{s:.2f}" for m, s in zip(values[..., 1].mean(0), values[..., 1].std(0, ddof=1)))
        seconds = (time.process_time() - began) / options.seeds
        print(f"{name}: {spread} ({options.seeds} seeds, {seconds:.1f} CPU seconds)", flush=True)


if __name__ == "__main__":
    main()
