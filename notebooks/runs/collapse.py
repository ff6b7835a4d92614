"""Does DARTS collapse into skip connections? First-order DARTS on the space of NAS-Bench-201 and CIFAR-10 images, for
some seeds, and the same again with one remedy. The table says what each cell on the way is really worth.

    python notebooks/runs/collapse.py --data scratch/cifar10-part --out results/collapse

Each search has a folder of its own: what is stopped (Ctrl-C, a kill) goes on with the same command, what is finished is
not run again. `--only collect` writes collapse.json from the folders as they are.

Settled before the runs. Images at half their side, 16 pixels, so that a supernet of five cells sees them 32 times. The
alphas' learning rate is such that Adam can carry a logit as far as in the published search: 19,550 steps of 0.0003. The
remedies: RobustDARTS's (arXiv 1909.09656) regularizes the weights more, here by 27 times the paper's weight decay;
DARTS+'s (arXiv 1909.06035) stops as soon as the cell has two skips, here looked at after each epoch. The second needs
no run of its own: it is the plain search, read earlier.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch.nn.functional as F

import nascore
from nascore import data, spaces
from nascore.estimators import Table
from nascore.genotypes import from_json
from nascore.methods import darts
from nascore.registry import method

RUNS = Path("notebooks/runs")
SPACE = spaces.get("nasbench201")
SIZES = dict(order=1, channels=8, cells=5, epochs=32, batch_size=64, learning_rate=0.05, alpha_learning_rate=0.0023)
SEARCHES = {"plain": {}, "weight decay": dict(weight_decay=0.0081)}
EVERY = 30  # steps: one row of the result


@method("darts-edges", budget=darts.DARTSBudget, space="nasbench201", one_shot=True)
class Edges(darts.DARTS):
    """DARTS whose history has the softmax of every edge too."""

    def strengths(self, alphas):
        return super().strengths(alphas) | {"edges": F.softmax(alphas[0], -1).tolist()}


def decisions(row: dict) -> str:
    """The cell of a row, a digit an edge: the index of its operation."""
    return "".join(map(str, SPACE.encode(from_json(json.dumps(row["genotype"])))))


def thinned(history: list[dict]) -> dict:
    """A search as columns: at the first step and after every 30, with the mean losses of the steps since the last."""
    ends = [1, *range(EVERY, len(history) + 1, EVERY)]
    result = {"steps": ends, "cells": [], "edges": [], "loss": [], "valid_loss": [], "reward": []}
    for before, end in zip([0, *ends], ends):
        row = history[end - 1]
        result["cells"].append(decisions(row))
        result["edges"].append([round(1000 * p) for edge in row["edges"] for p in edge])
        for name in ("loss", "valid_loss", "reward"):
            result[name].append(round(float(np.mean([row[name] for row in history[before:end]])), 3))
    return result


def stopped(history: list[dict]) -> dict | None:
    """DARTS+: the first end of an epoch at which the cell has two skips or more."""
    for row, following in zip(history, [*history[1:], {"epoch": None}]):
        found = summary(decisions(row)) if row["epoch"] != following["epoch"] else None
        if found and found["skips"] >= 2:
            return {"step": row["step"], "epoch": row["epoch"], "cell": decisions(row)} | found
    return None


def summary(cell: str) -> dict:
    """What the cell is made of, and what the table says of it."""
    skips, nones = (cell.count(str(SPACE.primitives.index(name))) for name in ("skip_connect", "none"))
    column = Table().columns["cifar10_test_200ep"]
    worth = column[int(cell, 5)]  # the table has a cell where its decisions say, as digits in base 5
    return {"skips": skips, "nones": nones, "worth": round(worth.item(), 2), "rank": int((column > worth).sum()) + 1}


def collect(out: Path) -> None:
    runs = []
    for folder in sorted(out.glob("* *")):
        name, _, seed = folder.name.rpartition(" ")
        history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
        timing = [json.loads(line)["seconds"] for line in (folder / "timing.jsonl").read_text().splitlines()]
        result = thinned(history)
        run = {"name": name, "seed": int(seed), "seconds": round(sum(timing)), **result}
        run["end"] = {"cell": result["cells"][-1]} | summary(result["cells"][-1])
        if name == "plain":
            run["two skips"] = stopped(history)
        runs.append(run)
        print(name, seed, len(history), "steps", run["end"], run.get("two skips"), flush=True)
    stored = {"sizes": SIZES, "image_size": 16, "operations": SPACE.primitives, "runs": runs}
    text = json.dumps(stored).replace('{"name"', '\n{"name"')
    (RUNS / "collapse.json").write_text(text + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--out", type=Path, default=Path("results/collapse"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=SIZES["epochs"])
    parser.add_argument("--only", choices=["collect"])
    options = parser.parse_args()
    if options.only is None:
        images = data.load(options.data, image_size=16)
        for name, fields in SEARCHES.items():
            for seed in range(options.seeds):
                folder = options.out / f"{name} {seed}"
                how = dict(space=SPACE, data=images, budget="reduced", seed=seed, directory=folder)
                how |= dict(resume=(folder / "checkpoint.pt").exists(), checkpoint_seconds=30.0, threads=1)
                print(name, seed, flush=True)
                result = nascore.run("darts-edges", **how, **SIZES | dict(epochs=options.epochs) | fields)
                if not result.finished:  # Ctrl-C
                    return
    collect(options.out)


if __name__ == "__main__":
    main()
