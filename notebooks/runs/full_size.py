"""Whole multi-trial searches whose children are really trained on CIFAR-10 images, on the space of NAS-Bench-201, for
some seeds: NAS-RL, NASNet, PNAS, and random search beside them. The table says what each cell that they try is worth.

    python notebooks/runs/full_size.py --data scratch/cifar10-25k --out results/full-size

Each search has a folder of its own: what is stopped (Ctrl-C, a kill) goes on with the same command, what is finished is
not run again. `--only METHOD ...` runs some; `--only collect` writes full_size.json from the folders as they are.

Settled before the runs: 48 children each, of five cells from width 8 on, three epochs of 20,000 images at half their
side, 16 pixels; 5,000 others give the reward. Of 30 random cells such rewards had Kendall's tau-b of 0.46 with the
table's own accuracy after 12 epochs, and 0.23 with that after 200 (8,000 images, six epochs, and 2,000 that give the
reward: 0.25 and 0.12). The methods' own settings are those of their preset `reduced`.
"""

import argparse
import json
from pathlib import Path

import nascore
from nascore import data, spaces
from nascore.estimators import Table
from nascore.genotypes import from_json

RUNS = Path("notebooks/runs")
SPACE = spaces.get("nasbench201")
METHODS = ("random", "nas-rl", "nasnet", "pnas")
CHILDREN = dict(trials=48, recipe="child", child_epochs=3, channels=8, cells=5, batch_size=64, validation=0.2)
OWN = {"random": {}, "nas-rl": dict(last_epochs=1), "nasnet": {}, "pnas": dict(first=0)}


def digits(row: dict) -> str:
    """The cell of a row, a digit an edge: the index of its operation."""
    return "".join(map(str, SPACE.encode(from_json(json.dumps(row["genotype"])))))


def collect(out: Path) -> None:
    """The children of each search in order: the cell, what it earned here, and the table's test accuracy of it after
    200 epochs."""
    column = Table().columns["cifar10_test_200ep"]
    runs = []
    for found in sorted(out.glob("* */genotype.json")):  # of searches that have ended
        folder = found.parent
        name, _, seed = folder.name.rpartition(" ")
        history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
        timing = [json.loads(line)["seconds"] for line in (folder / "timing.jsonl").read_text().splitlines()]
        cells = [digits(row) for row in history]
        rewards = [round(row["reward"], 4) for row in history]
        returned = digits({"genotype": json.loads(found.read_text())})
        worth = column[int(returned, 5)]  # the table has a cell where its decisions say, as digits in base 5
        run = {"name": name, "seed": int(seed), "seconds": round(sum(timing)), "found": returned}
        run |= {"worth": round(worth.item(), 2), "rank": int((column > worth).sum()) + 1}
        print(run, flush=True)
        runs.append(run | {"cells": cells, "rewards": rewards})
    text = json.dumps({"children": CHILDREN, "image_size": 16, "runs": runs}).replace('{"name"', '\n{"name"')
    (RUNS / "full_size.json").write_text(text + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--out", type=Path, default=Path("results/full-size"))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--only", nargs="*", default=METHODS, choices=(*METHODS, "collect"))
    options = parser.parse_args()
    images = None
    for seed in options.seeds:
        for name in METHODS:
            if name in options.only:
                images = images or data.load(options.data, image_size=16)
                folder = options.out / f"{name} {seed}"
                how = dict(
                    space=SPACE, data=images, budget="reduced", seed=seed, directory=folder, workers=1, threads=1
                )
                how |= dict(resume=(folder / "checkpoint.pt").exists(), progress=False)
                print(name, seed, flush=True)
                result = nascore.run(name, **how, **CHILDREN | OWN[name])
                if not result.finished:  # Ctrl-C
                    return
    if "collect" in options.only or set(options.only) == set(METHODS):
        collect(options.out)


if __name__ == "__main__":
    main()
