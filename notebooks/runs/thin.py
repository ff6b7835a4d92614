"""Copy a run's results into this folder, small enough for git: every n-th row of its history, floats to 5 digits.

python notebooks/runs/thin.py results/darts notebooks/runs/digits-search --every 1
"""

import argparse
import json
import shutil
from pathlib import Path


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return round(value, 5) if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in (options.run / "history.jsonl").read_text().splitlines()]
    kept = rows[:: options.every] + ([] if (len(rows) - 1) % options.every == 0 else [rows[-1]])
    (options.out / "history.jsonl").write_text("".join(json.dumps(rounded(row)) + "\n" for row in kept))
    for name in ("config.json", "genotype.json", "result.json"):
        if (options.run / name).exists():
            shutil.copy(options.run / name, options.out / name)


if __name__ == "__main__":
    main()
