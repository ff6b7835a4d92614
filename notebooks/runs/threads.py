"""What a second thread brings: seconds a step with one thread and with two, in turn, by the size of the work (images in
a minibatch x pixels x channels of the first convolution). The rule of `nascore.threads` stands on it.

    python notebooks/runs/threads.py        # 2 cores and nothing else to do, 30 min
"""

import json
import statistics
import time
from pathlib import Path

import torch

from nascore import data, published, search, spaces
from nascore.nets.convolutional import Network
from nascore.threads import size
from nascore.training import RECIPES, Training

ROUNDS, SECONDS = 5, 3.0  # of each number of threads
SEARCHES = {
    "darts": [
        dict(channels=4, cells=3, batch_size=64, order=1),
        dict(channels=8, cells=5, batch_size=64, order=1),
        dict(channels=8, cells=8, batch_size=16, order=2, image_size=32),
        dict(channels=8, cells=8, batch_size=32, order=2, image_size=32),
        dict(channels=16, cells=8, batch_size=32, order=2, image_size=32),
        dict(channels=16, cells=8, batch_size=64, order=2, image_size=32),
    ],
    "enas-micro": [
        dict(channels=4, cells=3, batch_size=64, validation=0.3),
        dict(channels=8, cells=3, batch_size=32, validation=0.3),
        dict(channels=8, cells=5, batch_size=64, image_size=32),
        dict(channels=20, cells=8, batch_size=32, image_size=32),
        dict(channels=20, cells=8, batch_size=160, image_size=32),
    ],
    "enas-macro": [
        dict(channels=8, layers=6, batch_size=32, validation=0.3),
        dict(channels=36, layers=12, batch_size=32, image_size=32),
        dict(channels=36, layers=12, batch_size=128, image_size=32),
    ],
}
TRAININGS = [
    dict(channels=8, cells=5, batch_size=64, image_size=8),
    dict(channels=16, cells=8, batch_size=32, image_size=16),
    dict(channels=8, cells=5, batch_size=64, image_size=32),
    dict(channels=16, cells=8, batch_size=64, image_size=32),
    dict(channels=36, cells=20, batch_size=96, image_size=32),
]


def searches():
    for name, sizes in SEARCHES.items():
        entry = search.get(name)
        for fields in sizes:
            side = fields.get("image_size")
            fields = {k: v for k, v in fields.items() if k != "image_size"}
            images, budget = data.load("digits", image_size=side), entry.budget.preset("full", **fields)
            space = entry.build.own_space(budget) if name.startswith("enas") else spaces.get("darts")
            loop = entry.build(space, images, budget, 0, torch.device("cpu"))
            yield name, fields, images, loop, size(loop.supernet, budget.batch_size, images.positions)


def trainings():
    for fields in TRAININGS:
        images = data.load("digits", image_size=fields["image_size"])
        sizes = {k: fields[k] for k in ("channels", "cells")}
        network = Network(published.GENOTYPES["darts-v2"], **sizes, in_channels=1)
        recipe = RECIPES["small"]
        recipe = type(recipe)(**(recipe.__dict__ | sizes | {"batch_size": fields["batch_size"]}))
        loop = Training(network, images, recipe, 0)
        yield "train", fields, images, loop, size(network, recipe.batch_size, images.positions)


def steps_in(loop, seconds: float) -> int:
    """How many steps of one thread take so long: at least two."""
    loop.threads, began, steps = 1, time.monotonic(), 0
    while time.monotonic() - began < seconds or steps < 2:
        loop.step()
        steps += 1
    return steps


def seconds_a_step(loop, threads: int, steps: int) -> float:
    """The same steps each time: which architectures they have differs."""
    loop.threads, loop.steps, began = threads, 0, time.monotonic()
    for _ in range(steps):
        loop.step()
    return (time.monotonic() - began) / steps


def main() -> None:
    rows = []
    for what, fields, images, loop, numbers in [*searches(), *trainings()]:
        steps = steps_in(loop, SECONDS)
        pairs = [[seconds_a_step(loop, threads, steps) for threads in (1, 2)] for _ in range(ROUNDS)]
        ratio = statistics.median(one / two for one, two in pairs)
        one, two = (round(statistics.median(column), 4) for column in zip(*pairs))
        side = images.train.shape[-1]
        rows.append({"what": what, **fields, "image_size": side, "size": numbers, "1": one, "2": two})
        rows[-1]["gain"] = round(ratio, 2)
        print(rows[-1], flush=True)
    rows.sort(key=lambda row: row["size"])
    found = {"torch": torch.__version__, "rows": rows}
    Path("notebooks/runs/threads.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
