"""Is a searched cell better than a random one? Search on digits with several seeds, draw cells at random from the same
space, train all of them alike from scratch with several seeds each, and keep every test accuracy.

    python notebooks/runs/random_cells.py [--searches 3] [--random 10] [--seeds 5] [--out FILE]
"""

import argparse
import json
import random
import time
from pathlib import Path

import nascore
from nascore import data, spaces, training
from nascore.genotypes import from_json, to_json
from nascore.nets.convolutional import Network
from nascore.seeding import seeded

RECIPE = training.Recipe(channels=8, cells=3, epochs=30, batch_size=128, learning_rate=0.05)


def train(genotype, images, seed: int) -> dict:
    """One training from scratch: test accuracy, and the training loss epoch by epoch."""
    with seeded(seed, "network"):
        network = Network(genotype, RECIPE.channels, RECIPE.cells, len(images.classes), images.channels)
    loop = training.Training(network, images, RECIPE, seed)
    while not loop.done:
        loop.step()
    _, accuracy = training.evaluate(network, images)
    return {"seed": seed, "test_accuracy": accuracy, "loss": [round(row["loss"], 5) for row in loop.history]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--searches", type=int, default=3)
    parser.add_argument("--random", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("notebooks/runs/random_cells.json"))
    options = parser.parse_args()
    images, space, generator = data.load("digits"), spaces.get("darts"), random.Random(0)
    cells = []
    for seed in range(options.searches):
        began = time.monotonic()
        found = nascore.run("darts", seed=seed, progress=False)
        cells.append({"name": f"search, seed {seed}", "genotype": json.loads(to_json(found.genotype)), "runs": []})
        print(cells[-1]["name"], f"{time.monotonic() - began:.0f} s, supernet accuracy {found.reward:.4f}", flush=True)
    for k in range(options.random):
        genotype = space.decode(space.sample(generator))
        cells.append({"name": f"random {k}", "genotype": json.loads(to_json(genotype)), "runs": []})
    result = {"recipe": vars(RECIPE), "data": "digits", "cells": cells}
    for seed in range(options.seeds):
        for cell in cells:
            cell["runs"].append(train(from_json(json.dumps(cell["genotype"])), images, seed))
            options.out.write_text(json.dumps(result))
            print(seed, cell["name"], f"{cell['runs'][-1]['test_accuracy']:.4f}", flush=True)


if __name__ == "__main__":
    main()
