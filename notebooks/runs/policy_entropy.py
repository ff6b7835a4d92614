"""How a policy closes on the table: its entropy, what it writes and how much of that is new, in blocks of five updates,
for NAS-RL, NASNet and one change of each.

    python notebooks/runs/policy_entropy.py [--seeds 20] [--only NAME ...] [--out FILE]
"""

import argparse
import json
from pathlib import Path

import numpy as np

import nascore

UPDATES = 5  # in a block
SEARCHES = {
    "nas-rl": {"method": "nas-rl"},
    "nas-rl, 16 children an update": {"method": "nas-rl", "children": 16, "trials": 1200},
    "nasnet": {"method": "nasnet"},
    "nasnet, entropy weight 0.01": {"method": "nasnet", "entropy_weight": 0.01},
}


def operations(row: dict) -> list[str]:
    return [op for node in row["genotype"]["normal"]["nodes"] for op in node["ops"]]


def summary(result: nascore.Result, block: int) -> dict:
    """A search in blocks of so many queries."""
    rows = result.history
    blocks = [rows[k : k + block] for k in range(0, len(rows), block)]
    written = [[op for row in part for op in operations(row)] for part in blocks]
    asked = [json.dumps(row["genotype"]) for row in rows]
    return {
        "entropy": [round(float(np.mean([row["entropy"] for row in part])), 2) for part in blocks],
        "reward": [round(float(np.mean([row["reward"] for row in part])), 4) for part in blocks],
        "conv 3x3": [round(ops.count("nor_conv_3x3") / len(ops), 3) for ops in written],
        "skip": [round(ops.count("skip_connect") / len(ops), 3) for ops in written],
        "different": [len(set(asked[: k + block])) for k in range(0, len(rows), block)],
        "test": result.details["cifar10_test_200ep"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--only", nargs="*", default=list(SEARCHES))
    parser.add_argument("--out", type=Path, default=Path("notebooks/runs/policy_entropy.json"))
    options = parser.parse_args()
    found: dict[str, list] = {name: [] for name in options.only}
    for seed in range(options.seeds):
        for name, runs in found.items():
            search = {"budget": "reduced", "trials": 1000, **SEARCHES[name]}
            result = nascore.run(**search, data="nasbench201", seed=seed, progress=False)
            runs.append(summary(result, UPDATES * search.get("children", 4)))
        options.out.write_text(json.dumps(found) + "\n")
        print(f"seed {seed} of {options.seeds}", flush=True)


if __name__ == "__main__":
    main()
