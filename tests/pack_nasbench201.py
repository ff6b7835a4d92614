"""Pack the table of NAS-Bench-201 for shipping: `python tests/pack_nasbench201.py nasbench201.csv`.

Every accuracy in the CSV is a whole number of correctly classified images (summed over the seeds that were averaged)
divided by a column's own denominator, so whole numbers below 2^16 hold them losslessly. Rows go by the cell's base-5
code (its decisions in `spaces.nasbench201`), which puts like beside like; the benchmark's own index is a column.
"""

import csv
import sys
from pathlib import Path

import numpy as np

from nascore.estimators import _DENOMINATORS, _TABLE_FILE
from nascore.spaces import NASBENCH201_PRIMITIVES


def decisions(arch: str) -> list[int]:
    """`|op~0|+|op~0|op~1|+|op~0|op~1|op~2|` as decisions of the space."""
    edges = arch.replace("+", "").split("|")
    return [NASBENCH201_PRIMITIVES.index(edge.split("~")[0]) for edge in edges if edge]


def pack(source: Path, target: Path) -> None:
    with open(source, newline="") as file:
        rows = list(csv.DictReader(file))
    codes = [int("".join(map(str, decisions(row["arch"]))), 5) for row in rows]
    assert sorted(codes) == list(range(5**6))
    columns = {"index": [int(row["index"]) for row in rows]}
    for name, denominator in _DENOMINATORS.items():
        columns[name] = [round(float(row[name]) / 100 * denominator) for row in rows]
        assert all(round(100 * n / denominator, 4) == float(row[name]) for n, row in zip(columns[name], rows)), name
    order = np.argsort(codes)
    np.savez_compressed(target, **{name: np.array(c, dtype=np.uint16)[order] for name, c in columns.items()})


if __name__ == "__main__":
    pack(Path(sys.argv[1]), _TABLE_FILE)
    print(f"{_TABLE_FILE}: {_TABLE_FILE.stat().st_size:,} bytes")
