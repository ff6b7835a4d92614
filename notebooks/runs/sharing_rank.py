"""Does sharing rank? On NAS-Bench-201's space and CIFAR-10 images, for some seeds: 150 random cells by the accuracy of
shared weights that uniformly sampled cells trained, against the table, as the supernet learns. In ENAS's micro
space: 30 random cells against training each from scratch. And the cells that searches with the same budget derive:
ENAS, its untrained controller, random search with shared weights.

    python notebooks/runs/sharing_rank.py --data scratch/cifar10-part nasbench201|cifar10|searches
"""

import argparse
import json
import sys
import time
from pathlib import Path
from random import Random

import numpy as np
import torch

from nascore import data, search, spaces
from nascore.estimators import SharedWeights, Table, TrainChildren
from nascore.nets.measure import describe
from nascore.training import Recipe

sys.path.append(str(Path(__file__).parents[1]))
from course.ranking import agreement  # noqa: E402

RUNS = Path("notebooks/runs")
SIZES = dict(epochs=100, batch_size=64, channels=8, cells=5, learning_rate=0.05, period=100, derived=100)
RANKED = (10, 20, 50, 100)  # the epochs after which cells are ranked
UNIFORM = dict(controller_steps=0, sampler="uniform")
VARIANTS = {
    "ENAS": dict(
        controller_steps=30, samples=10, controller_learning_rate=0.0035, tanh_constant=2.5, op_tanh_reduce=1.0
    ),
    "untrained controller": dict(controller_steps=0),
    "random search with sharing": UNIFORM,
}


def build(images, space, seed: int, **fields):
    entry = search.get("enas-micro")
    return entry.build(space, images, entry.budget.preset("reduced", **SIZES | fields), seed, torch.device("cpu"))


def trained(loop, epochs: int | None = None):
    """The search, after so many epochs or at its end."""
    began = time.monotonic()
    while not (loop.done if epochs is None else loop.steps >= epochs * loop.per_epoch):
        loop.step()
    print(f"seed {loop.seed}: {loop.steps} steps, {time.monotonic() - began:.0f} s more", flush=True)
    return loop


def derived(loop) -> dict:
    best = loop.best
    return {"genotype": loop.space.encode(best.genotype), "reward": round(best.reward, 4)} | {
        "test": best.details["cifar10_test_200ep"]
    }


def keep(what: str, result) -> None:
    file = RUNS / "sharing_rank.json"
    before = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(before | {what: result}))


def triple(found) -> list[float]:
    return [round(float(x), 4) for x in (found.tau, found.low, found.high)]


def on_the_table(images, seeds: int, count: int) -> None:
    space, table, result = spaces.get("nasbench201"), Table(), []
    random = Random(0)
    cells = [space.sample(random) for _ in range(count)]  # the same cells under every seed
    genotypes = [space.decode(cell) for cell in cells]
    rows = [table.row(genotype) for genotype in genotypes]
    sizes = [describe(genotype)["parameters"] for genotype in genotypes]
    valid, test = ([row[name] for row in rows] for name in ("cifar10_valid", "cifar10_test_200ep"))
    top = np.argsort(test)[-count // 4 :]
    for seed in range(seeds):
        loop, learning = build(images, space, seed, **UNIFORM), []
        for epochs in RANKED:
            shared = SharedWeights(trained(loop, epochs).supernet, loop.task, 100)(genotypes)
            found = {"valid": agreement(shared, valid), "test": agreement(shared, test)}
            found["top quarter"] = agreement(np.array(shared)[top], np.array(test)[top])
            row = {"epochs": epochs, "accuracy": round(float(np.mean(shared)), 4)}
            learning.append(row | {name: triple(value) for name, value in found.items()})
            print(learning[-1], flush=True)
        result.append({"seed": seed, "learning": learning})
        result[-1]["cells"] = [[c, round(s, 4), v, t, p] for c, s, v, t, p in zip(cells, shared, valid, test, sizes)]
        keep("nasbench201", result)


def trained_alone(images, count: int = 30, ranked: tuple[int, ...] = (10, 30, 60)) -> None:
    """ENAS's own space: against each cell trained from scratch."""
    space, random = spaces.get("enas-micro"), Random(0)
    cells = [space.sample(random) for _ in range(count)]
    genotypes = [space.decode(cell) for cell in cells]
    recipe = Recipe(channels=8, cells=3, epochs=3, batch_size=64, learning_rate=0.05)
    sizes = dict(channels=8, cells=3, skeleton="enas", workers=1)
    alone = TrainChildren(images, recipe, **sizes)(genotypes)
    rewards, sizes = [a.reward for a in alone], [a.details["parameters"] for a in alone]
    result = {"epochs": recipe.epochs, "parameters": triple(agreement(sizes, rewards)), "learning": []}
    print(result, flush=True)
    how = dict(channels=8, cells=3, validation=0.2, learning_rate=0.1, epochs=ranked[-1], period=ranked[-1])
    loop = build(images, space, 0, **UNIFORM | how)
    for epochs in ranked:
        shared = SharedWeights(trained(loop, epochs).supernet, loop.task, 100)(genotypes)
        row = {"epochs": epochs, "accuracy": round(float(np.mean(shared)), 4)}
        result["learning"].append(row | {"reward": triple(agreement(shared, rewards))})
        print(result["learning"][-1], flush=True)
    result["cells"] = [[c, round(s, 4), round(r, 4), p] for c, s, r, p in zip(cells, shared, rewards, sizes)]
    keep("cifar10", result)


def searches(images, seeds: int) -> None:
    space, result = spaces.get("nasbench201"), {name: [] for name in VARIANTS}
    for seed in range(seeds):
        for name, fields in VARIANTS.items():
            result[name].append({"seed": seed} | derived(trained(build(images, space, seed, **fields))))
            print(name, result[name][-1], flush=True)
            keep("searches", result)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("what", choices=("nasbench201", "cifar10", "searches"))
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    images = data.load(options.data)
    if options.what == "cifar10":
        trained_alone(images)
    elif options.what == "nasbench201":
        on_the_table(images, options.seeds, 150)
    else:
        searches(images, options.seeds)


if __name__ == "__main__":
    main()
