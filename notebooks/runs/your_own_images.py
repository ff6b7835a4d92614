"""Notebook 07 at full size. On a folder of 6 x 300 drawn shapes: searches by three methods, random cells, cells that
ENAS's controller writes before it has learned anything, and torchvision's ResNet at several widths, all trained alike.

    python notebooks/runs/your_own_images.py --data FOLDER [--searches 3] [--random 10] [--seeds 2] [--out FILE]

FOLDER is what the notebook makes with `make(folder, each=300)`. What FILE holds is not trained again.
"""

import argparse
import json
import random
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

import nascore
from nascore import data, spaces, training
from nascore.genotypes import from_json, to_json
from nascore.methods import enas
from nascore.nets import measure
from nascore.nets.convolutional import Network
from nascore.seeding import seeded

SIDE = 16
SPACE = spaces.get("enas-micro", nodes=2)
RECIPE = training.Recipe(channels=8, cells=3, epochs=25, batch_size=32, learning_rate=0.1)
CHILDREN = dict(trials=24, child_epochs=5, batch_size=32)
SEARCHES = {
    "evolution": dict(CHILDREN, population_size=8, sample_size=4),
    "random": CHILDREN,
    "enas-micro": dict(epochs=60, period=60),
}
WIDTHS = (4, 6, 8, 11)


def small_resnet(width: int, classes: int) -> ResNet:
    """torchvision's ResNet for small images: three stages of one block, `width`, twice and four times as wide."""
    net = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=classes)
    net.conv1, net.bn1 = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
    net.maxpool, net.inplanes = nn.Identity(), width
    for k in range(3):
        setattr(net, f"layer{k + 1}", net._make_layer(BasicBlock, width * 2**k, 1, stride=1 + (k > 0)))
    net.layer4, net.fc = nn.Identity(), nn.Linear(4 * width, classes)
    return net


def train(network: nn.Module, images, seed: int) -> dict:
    """One training from scratch, one thread: test accuracy, and for each test image whether it was right."""
    loop = training.Training(network, images, RECIPE, seed)
    loop.threads = 1
    while not loop.done:
        loop.step()
    network.eval()
    with torch.inference_mode():
        right = network(images.normalise(images.test)).argmax(1) == images.test_labels
    accuracy = right.double().mean().item()
    return {"seed": seed, "test_accuracy": accuracy, "right": "".join("01"[k] for k in right.tolist())}


def build(row: dict, images, seed: int) -> nn.Module:
    with seeded(seed, "network"):
        if "width" in row:
            return small_resnet(row["width"], len(images.classes))
        genotype = from_json(json.dumps(row["genotype"]))
        sizes = (RECIPE.channels, RECIPE.cells, len(images.classes), images.channels)
        return Network(genotype, *sizes, skeleton=SPACE.skeleton)


def candidates(images, searches: int, count: int) -> dict[str, Callable[[], dict]]:
    """What each network is, by its name; searches run only when they are asked."""
    drawn, made = random.Random("random cells"), {}  # not the ones that a search begins with
    for k in range(count):
        made[f"random cell {k}"] = partial(dict, genotype=SPACE.decode(SPACE.sample(drawn)))
    for width in WIDTHS:
        made[f"resnet {width}"] = partial(dict, width=width)
    for method, seed in product(SEARCHES, range(searches)):
        made[f"{method} search, seed {seed}"] = partial(search, method, images, seed)
    budget = enas.MicroBudget.preset("reduced", **SEARCHES["enas-micro"])
    untrained = enas.ENAS(SPACE, images, budget, 0, torch.device("cpu"))
    for k, decisions in enumerate(untrained.sample(count, "untrained").lists()):
        made[f"untrained controller {k}"] = partial(dict, genotype=SPACE.decode(decisions))
    return made


def search(method: str, images, seed: int) -> dict:
    found = nascore.run(method, space=SPACE, data=images, seed=seed, progress=False, **SEARCHES[method])
    return {"genotype": found.genotype, "reward": found.reward}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--searches", type=int, default=3)
    parser.add_argument("--random", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("notebooks/runs/your_own_images.json"))
    options = parser.parse_args()
    images = data.load(options.data, image_size=SIDE)
    result = {"train": len(images.train), "test": len(images.test), "recipe": vars(RECIPE), "networks": []}
    if options.out.exists():
        result = json.loads(options.out.read_text())
    known = {row["name"] for row in result["networks"]}
    shape = (1, *images.train.shape[1:])
    for name, what in candidates(images, options.searches, options.random).items():
        if name in known:
            continue
        row = {"name": name} | what()
        if "genotype" in row:
            row["genotype"] = json.loads(to_json(row["genotype"]))
        network = build(row, images, 0)
        row |= {"parameters": measure.parameters(network), "multiply_adds": measure.multiply_adds(network, shape)}
        row["runs"] = [train(build(row, images, seed), images, seed) for seed in range(options.seeds)]
        result["networks"].append(row)
        options.out.write_text(json.dumps(result))
        accuracies = " ".join(f"{run['test_accuracy']:.4f}" for run in row["runs"])
        print(f"{name}: {row['parameters']:,} parameters, reward {row.get('reward')}, test {accuracies}", flush=True)


if __name__ == "__main__":
    main()
