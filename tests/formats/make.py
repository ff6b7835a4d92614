"""Runs stopped half-way by this release, kept so that every later one opens them: folders of files, with the command
that began them. Only a release that writes another format makes a folder anew.

    python tests/formats/make.py
"""

import itertools
import json
import shutil
from pathlib import Path

from nascore import cli, loop
from nascore.files import FORMAT

TABLE = "--data nasbench201 --trials 12"
TINY = "--budget smoke --channels 2"
RUNS = {  # name: (its command, the steps until it is stopped)
    "random": (f"search random {TABLE}", 5),
    "evolution": (f"search evolution {TABLE} --population-size 4 --sample-size 2", 7),
    "nas-rl": (f"search nas-rl {TABLE} --hidden 4", 6),
    "nasnet": (f"search nasnet {TABLE} --children 4 --hidden 4", 6),
    "pnas": ("search pnas --data nasbench201 --budget smoke", 4),
    "children": (f"search random {TINY} --trials 3 --child-epochs 1", 2),
    "darts": (f"search darts {TINY} --batch-size 256", 3),
    "enas-micro": (f"search enas-micro {TINY} --hidden 4 --nodes 1 --batch-size 256", 6),
    "enas-macro": (f"search enas-macro {TINY} --hidden 4 --batch-size 256 --layers 3", 6),
    "train": ("train darts-v2 --recipe child --channels 2 --cells 3 --epochs 2 --batch-size 256", 7),
}


def stopped_after(steps, words):
    """Run a command that is asked to stop so late."""
    drive, asked = loop._steps, itertools.count()
    loop._steps = lambda a_loop, record, stopped, *rest: drive(a_loop, record, lambda: next(asked) >= steps, *rest)
    try:
        assert cli.main(words) == 130, words
    finally:
        loop._steps = drive


def main():
    here = Path(__file__).parent / str(FORMAT)
    for name, (command, steps) in RUNS.items():
        shutil.rmtree(here / name, ignore_errors=True)
        words = command.split()
        stopped_after(steps, [*words, "--quiet", "--out", str(here / name)])
        (here / name / "command.json").write_text(json.dumps(words) + "\n")


if __name__ == "__main__":
    main()
