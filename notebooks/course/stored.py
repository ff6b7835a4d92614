"""Real runs that a notebook loads instead of making them: runs/README.md has the command of each."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nascore.genotypes import Genotype, from_json
from nascore.registry import Budget
from nascore.show.chart import History


@dataclass(frozen=True)
class Run:
    """A search: what it found, its rows, the fields of its budget."""

    genotype: Genotype
    history: History
    budget: dict


def load(folder: Path) -> Run:
    """A search's folder, as `nascore search --out` writes it."""
    genotype = from_json((folder / "genotype.json").read_text())
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return Run(genotype, history, json.loads((folder / "config.json").read_text())["budget"])


def beside(run: Run, full: Budget, names: Sequence[str]) -> str:
    """A table in text: what a run had of each of these fields, and what the paper's budget has."""
    lines = [f"{'':18}{'this run':>14}{'full':>14}"]
    for name in names:
        lines.append(f"{name.replace('_', ' '):18}{run.budget[name]:>14}{getattr(full, name):>14}")
    return "\n".join(lines)


def random_search(file: Path, method: str) -> dict[str, list[float]]:
    """By preset, what random search reached on the digits after 1, 2, ... children, where `method` would search."""
    return {preset: found["best"] for preset, found in json.loads(file.read_text())[method].items()}
