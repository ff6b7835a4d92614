"""What random search reaches on the digits after 1, 2, ... children, as the panels of 01, 02 and 03 draw it behind
their own curve: of each preset the mean over some seeds of the best reward so far, children trained as that preset
trains them. NAS-RL's depths grow by the same schedule, its controller never learns.

    python notebooks/runs/digits_random.py [--seeds 5] [--presets smoke reduced]
"""

import argparse
import json
from pathlib import Path

import numpy as np

import nascore
from nascore import search, spaces

FIELDS = ("trials", "recipe", "child_epochs", "last_epochs", "channels", "cells", "batch_size", "validation")


def rewards(method: str, preset: str, seed: int) -> list[float]:
    """Of random search where `method` would search, child by child."""
    budget = search.get(method).budget.preset(preset)
    how = dict(seed=seed, progress=False)
    if method == "nas-rl":
        found = nascore.run(method, budget=preset, learning_rate=0.0, **how)
    else:
        own = {"blocks": budget.blocks} if method == "pnas" else {}
        fields = {name: getattr(budget, name) for name in FIELDS}
        found = nascore.run("random", space=spaces.get(method, **own), budget=preset, **how, **fields)
    return [row["reward"] for row in found.history]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--presets", nargs="*", default=["smoke", "reduced"])
    options = parser.parse_args()
    file = Path("notebooks/runs/digits_random.json")
    result = json.loads(file.read_text()) if file.exists() else {}
    for preset in options.presets:
        for method in ("nas-rl", "nasnet", "pnas"):
            every = [rewards(method, preset, seed) for seed in range(options.seeds)]
            best = np.maximum.accumulate(every, 1).mean(0).round(4).tolist()
            result.setdefault(method, {})[preset] = {"seeds": options.seeds, "best": best}
            print(preset, method, best, flush=True)
            file.write_text(
                json.dumps(result).replace('"smoke"', '\n"smoke"').replace('"reduced"', '\n"reduced"') + "\n"
            )


if __name__ == "__main__":
    main()
