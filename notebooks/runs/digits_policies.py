"""Reduced searches on digits against random search at the same budget: the rewards of all children, and the test
accuracy of each search's best child, trained anew for 20 epochs. `nas-rl random` is the same schedule of depths with a
controller that never learns and writes nearly uniformly; `nasnet random` is random search in the same space.

    python notebooks/runs/digits_policies.py [--seeds 5] [--only NAME ...] [--out FILE]
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path

import nascore
from nascore import data, search
from nascore.genotypes import to_json
from nascore.nets.convolutional import Network
from nascore.seeding import seeded
from nascore.training import RECIPES, Training, evaluate

SHARED = ("trials", "children", "recipe", "child_epochs", "last_epochs", "channels", "cells", "batch_size")
NASNET = search.get("nasnet").budget.preset("reduced")
SEARCHES = {
    "nas-rl": {"method": "nas-rl"},
    "nas-rl random": {"method": "nas-rl", "learning_rate": 0.0},
    "nasnet": {"method": "nasnet"},
    "nasnet random": {"method": "random", "space": "nasnet", **{name: getattr(NASNET, name) for name in SHARED}},
}


def retrain(genotype, images, seed: int) -> float:
    """Test accuracy of a child after 20 epochs on all training images."""
    skeleton = "nas-rl" if hasattr(genotype, "layers") else "nasnet"
    recipe = dataclasses.replace(RECIPES["child"], epochs=20)
    with seeded(seed, "network"):
        sizes = {"skeleton": skeleton, "classes": len(images.classes), "in_channels": images.channels}
        network = Network(genotype, channels=recipe.channels, cells=recipe.cells, **sizes)
    loop = Training(network, images, recipe, seed)
    while not loop.done:
        loop.step()
    return evaluate(network, images)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(SEARCHES))
    parser.add_argument("--out", type=Path, default=Path("notebooks/runs/digits_policies.json"))
    options = parser.parse_args()
    images, result = data.load("digits"), {}
    for seed in range(options.seeds):
        for name in options.only:
            began = time.monotonic()
            found = nascore.run(**SEARCHES[name], seed=seed, progress=False)
            seconds, test = time.monotonic() - began, retrain(found.genotype, images, seed)
            entry = result.setdefault(name, {"rewards": [], "test": [], "seconds": [], "genotypes": []})
            entry["rewards"].append([round(row["reward"], 5) for row in found.history])
            entry["test"].append(test)
            entry["seconds"].append(round(seconds, 1))
            entry["genotypes"].append(json.loads(to_json(found.genotype)))
            options.out.write_text(json.dumps(result))
            print(f"seed {seed} {name}: best reward {found.reward:.4f}, test {test:.4f}, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
