"""What a search with shared weights found, trained from scratch: the derived cells of `runs/enas-micro-cifar10`, the
authors' cells, and cells that the controller drew before it was trained. All alike on the training images, accuracy on
the test images.

    python notebooks/runs/enas_retrained.py --data scratch/cifar10-part
"""

import argparse
import json
import time
from pathlib import Path

import torch

from nascore import data, published, search, training
from nascore.genotypes import from_json, to_json
from nascore.nets.convolutional import Network
from nascore.nets.measure import parameters
from nascore.seeding import seeded

RUNS = Path("notebooks/runs")
RECIPE = training.Recipe(channels=8, cells=3, epochs=6, batch_size=64, learning_rate=0.05)


def untrained(images, count: int):
    """From a policy as every search begins with, of another seed."""
    entry = search.get("enas-micro")
    fields = json.loads((RUNS / "enas-micro-cifar10/config.json").read_text())["budget"]
    budget = entry.budget.preset("full", **fields)
    loop = entry.build(entry.build.own_space(budget), images, budget, 1, torch.device("cpu"))
    return [loop.space.decode(decisions) for decisions in loop.sample(count, "untrained").lists()]


def train(genotype, images, seed: int) -> dict:
    with seeded(seed, "network"):
        sizes = (RECIPE.channels, RECIPE.cells, len(images.classes), images.channels)
        network = Network(genotype, *sizes, skeleton="enas")
    loop, began = training.Training(network, images, RECIPE, seed), time.monotonic()
    while not loop.done:
        loop.step()
    accuracy = training.evaluate(network, images)[1]
    print(f"{parameters(network):,} weights: {accuracy:.4f} in {time.monotonic() - began:.0f} s", flush=True)
    return {"parameters": parameters(network), "test_accuracy": accuracy}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--random", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    images = data.load(options.data)
    cells = {"derived": from_json((RUNS / "enas-micro-cifar10/genotype.json").read_text())}
    cells["the authors'"] = published.GENOTYPES["enas-micro"]
    cells |= {f"untrained {k}": genotype for k, genotype in enumerate(untrained(images, options.random))}
    result = {"recipe": vars(RECIPE), "cells": {}}
    for name, genotype in cells.items():
        runs = [train(genotype, images, seed) for seed in range(options.seeds)]
        result["cells"][name] = {"genotype": json.loads(to_json(genotype)), "runs": runs}
        (RUNS / "enas_retrained.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
