"""Why does ENAS's entropy dip and jump? Notebook 04's live search again. At every step of its controller: the entropy
of its policy exactly, over all 15,625 cells, before the step; the one that the search reports, the mean over the few
cells that the step samples, and `error`, the standard error of that mean; the probability of every operation; `worst`,
the lowest reward of the step less the baseline, which it is pushed away from.

    python notebooks/runs/enas_entropy.py [--seeds 2]
"""

import argparse
import json
import sys
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from nascore import data, spaces
from nascore.methods.enas import ENAS, MicroBudget

sys.path.append(str(Path(__file__).parent))
from enas_digits import LIVE, TEXT  # noqa: E402

OUT = Path("notebooks/runs/enas_entropy.json")
SPACE = spaces.get("nasbench201")
EVERY = torch.tensor(list(product(*map(range, SPACE.choices))))  # all decision lists


@torch.no_grad()
def exactly(search: ENAS) -> tuple[float, float, Tensor]:
    """The entropy of the policy, the standard error with which a step's samples estimate it, and the probability of
    every operation, mean over the edges."""
    written = search.controller(EVERY)
    log_p = written.log_probs.double().sum(1)
    p = log_p.exp()
    along = written.entropies.double().sum(1)  # of the decisions on the way to one cell: what a sample tells
    entropy = -(p @ log_p).item()
    assert abs((p @ along).item() - entropy) < 1e-4  # the chain rule: the samples' mean is right on average
    variance = p @ (along - entropy).square()
    shares = torch.stack([(p[:, None] * (EVERY == op)).sum() / EVERY.size(1) for op in range(len(SPACE.primitives))])
    return entropy, (variance / search.budget.samples).sqrt().item(), shares


def followed(seed: int) -> list[dict]:
    """The live search, and its policy before every step of the controller."""
    budget = MicroBudget.preset("smoke", **LIVE, **TEXT)
    search = ENAS(SPACE, data.load("digits"), budget, seed, torch.device("cpu"))
    rewards: list[float] = []
    own = search.rewards

    def watched(*given):
        rewards[:] = own(*given)
        return list(rewards)

    search.rewards = watched
    rows: list[dict] = []
    while search.steps < search.total:
        if search.steps % search.per_epoch < search.train_batches.per_epoch:
            search.step()
            continue
        baseline = search.baseline
        entropy, error, shares = exactly(search)
        row = {"step": len(rows) + 1, "exact": round(entropy, 4), "error": round(error, 4)}
        row["sampled"] = round(search.step().metrics["entropy"], 4)
        row["worst"] = round(min(rewards) - baseline, 4)
        rows.append(row | {"shares": [round(share, 4) for share in shares.tolist()]})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    OUT.write_text(json.dumps({f"seed {seed}": followed(seed) for seed in range(options.seeds)}))


if __name__ == "__main__":
    main()
