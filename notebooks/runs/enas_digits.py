"""What notebook 04 shows for one seed, for several. `live`: its search on NAS-Bench-201's space and the digits, with
the text's bound of the logits and with the code's, the derived cell looked up in the table. `policy`: the controller
alone on the table's rewards (exercise 4), beside random search that looks as often.

    python notebooks/runs/enas_digits.py
"""

import argparse
import json
from functools import partial
from pathlib import Path
from random import Random

import torch

import nascore
from nascore import data, spaces
from nascore.estimators import Table
from nascore.methods.enas import ENAS, MicroBudget
from nascore.workers import default_number, unordered

OUT = Path("notebooks/runs/enas_digits.json")
TEXT = dict(tanh_constant=2.5, op_tanh_reduce=1)
LIVE = dict(epochs=40, period=40, learning_rate=0.1, controller_steps=5, samples=5)
POLICIES = {
    "code": {},
    "text": TEXT | dict(temperature=5, beta1=0.9, epsilon=1e-8),
    "no tanh": dict(tanh_constant=0, beta1=0.9, epsilon=1e-8),
}
TEST = "cifar10_test_200ep"


def over(seeds: int, call, workers: int) -> list:
    """The answers of `call(seed)`, in the order of the seeds."""
    return [answer for _, answer in sorted(unordered(call, range(seeds), workers))]


def live(seed: int, **bound) -> list[float]:
    found = nascore.run("enas-micro", space="nasbench201", budget="smoke", seed=seed, progress=False, **LIVE, **bound)
    return [round(found.reward, 4), found.details[TEST]]


def policy(seed: int, images, **constants) -> float:
    table = Table()
    budget = MicroBudget.preset("smoke", samples=10, **constants)
    seen = []
    search = ENAS(spaces.get("nasbench201"), images, budget, seed, torch.device("cpu"))

    def rewards(genotypes, minibatches):  # the table's, in the supernet's place
        answers = table(genotypes)
        seen.extend(answers)
        return [answer.reward for answer in answers]

    search.rewards = rewards
    for step in range(200):
        search.train_controller(step)
    return max(seen, key=lambda row: row.reward).details[TEST]


def random_search(table: Table, seed: int) -> float:
    space, random = spaces.get("nasbench201"), Random(seed)
    rows = table([space.decode(space.sample(random)) for _ in range(2000)])
    return max(rows, key=lambda row: row.reward).details[TEST]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=4, help="of `live`")
    parser.add_argument("--workers", type=int, default=default_number(), help="seeds at the same time")
    options = parser.parse_args()
    table, images, workers = Table(), data.load("digits"), options.workers
    policies = {name: partial(policy, images=images, **how) for name, how in POLICIES.items()}
    result = {"policy": {name: over(10, call, workers) for name, call in policies.items()}}
    result["policy"]["random search"] = [random_search(table, seed) for seed in range(100)]
    OUT.write_text(json.dumps(result))
    bounds = {"text": TEXT, "code": {}}
    result["live"] = {name: over(options.seeds, partial(live, **bound), workers) for name, bound in bounds.items()}
    OUT.write_text(json.dumps(result))
    print(result["policy"], result["live"], sep="\n")


if __name__ == "__main__":
    main()
