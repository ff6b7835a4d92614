"""Speeds that tests once held the library to: one thread, CPU seconds, each the least of three. It prints what, how
much and the goal; nothing fails.

    python notebooks/runs/limits.py [--data FOLDER]

FOLDER/train/CLASS/*.jpg, test/CLASS/*.jpg is for the last row, by the wall clock; its cache is made anew.
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F

import nascore
from nascore import data, folders, spaces
from nascore.controllers import Controller
from nascore.methods.pnas import top_k
from nascore.nets.convolutional import Network
from nascore.nets.shared import shared_network
from nascore.predictors import make
from nascore.search import methods_by_name
from nascore.seeding import generator

sys.path.append(str(Path(__file__).parents[1]))
from course import counting  # noqa: E402


def least(call, clock=time.process_time) -> float:
    seconds = []
    for _ in range(3):
        began = clock()
        call()
        seconds.append(clock() - began)
    return min(seconds)


def queries(method: str) -> float:
    return least(lambda: nascore.run(method, data="nasbench201", trials=500, progress=False))


def thousand() -> float:
    policy = Controller(spaces.get("nas-rl"))
    one, many = (least(lambda n=n: policy.sample(n, generator(0))) for n in (1, 1000))
    return many / one


def cells() -> float:
    def count():
        counting._fixed.cache_clear()
        for blocks in range(1, 6):
            counting.unique_cells(blocks)

    return least(count)


def level_5() -> float:
    space, random = spaces.get("pnas"), Random(0)
    predictor = make("lstm-ensemble", space)
    parents = [tuple(space.sample(random))[: space.levels[3]] for _ in range(256)]
    return least(lambda: top_k(space, parents, predictor.score_children(parents), 256))


def shared_step() -> float:
    space = spaces.get("nasbench201")
    genotype = space.decode([3, 3, 2, 3, 4, 3])
    images = torch.randn(32, 3, 32, 32).contiguous(memory_format=torch.channels_last)

    def step(network, *path) -> float:
        network.to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(network.parameters(), 0.01)

        def one():
            optimizer.zero_grad()
            F.cross_entropy(network(images, *path), torch.arange(32) % 10).backward()
            optimizer.step()

        one()
        return least(one)

    return step(shared_network(space, 8, 5, 10, 3), genotype) / step(Network(genotype, 8, 5, 10, 3, "nasbench201"))


def second_load(folder: Path) -> float:
    folders.cache_of(folder, None).unlink(missing_ok=True)
    began = time.monotonic()
    data.load(folder)
    first = time.monotonic() - began
    return first / least(lambda: data.load(folder), time.monotonic)


def process(*words: str) -> float:
    """CPU seconds of a Python process of its own: the least of three."""
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


def above_torch(words: str) -> float:
    return process("-m", "nascore", *words.split()) - process("-c", "import torch")


COMMANDS = {
    "search darts --help": 0.5,
    "describe darts-v2": 1.0,
    "search evolution --data nasbench201 --trials 300 --quiet": 0.8,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path)
    folder = parser.parse_args().data
    torch.set_num_threads(1)
    methods_by_name()  # imports them all
    rows = [
        ("500 queries of the table by random search", lambda: queries("random"), "s", "less than 2"),
        ("500 queries of the table by evolution", lambda: queries("evolution"), "s", "less than 2"),
        ("1,000 architectures from a controller, in those of one", thousand, "times", "less than 200"),
        ("the different cells of 1 to 5 blocks, counted", cells, "s", "less than 1"),
        ("level 5 of PNAS's full search: 589,824 scores by five LSTMs, the best 256", level_5, "s", "less than 10"),
        ("a step with shared weights, in those of the plain network", shared_step, "times", "less than 1.3"),
    ]
    for words, goal in COMMANDS.items():
        said = f"nascore {words.removesuffix(' --quiet')}, above import torch"
        rows.append((said, lambda words=words: above_torch(words), "s", f"less than {goal}"))
    if folder:
        loads = "a folder's first load, in later ones"
        rows.append((loads, lambda: second_load(folder), "times", "at least 20"))
    for what, measure, unit, goal in rows:
        print(f"{what:75}{measure():8.3f} {unit:7}(goal: {goal})", flush=True)


if __name__ == "__main__":
    main()
