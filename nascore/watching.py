"""A run seen from elsewhere, by its files alone: what it is, how far it has come, whether it still
runs. Nothing in its directory is touched."""

from collections.abc import Iterator
from json import loads
from pathlib import Path
from time import sleep

from nascore.errors import UserError, require, whole
from nascore.files import check_format, read_rows, rows_of
from nascore.genotypes import from_dict
from nascore.loop import Progress, reporter
from nascore.record import HISTORY, TIMING, directory_named, in_use

SECONDS = 1.0  # between two looks: a run writes its rows with its checkpoints


class Watch:
    """The run in `directory`; `config` says what it is. Raises `UserError` where there is none."""

    def __init__(self, directory: str | Path) -> None:
        named = directory_named(directory)
        require(named is not None, "DIR", directory, "the directory of a run")
        self.directory = Path(directory)
        self.config = self._read("config.json")
        self.place = 0  # in the history, up to where it was read
        self.last: Progress | None = None

    def _read(self, name: str) -> dict:
        path = self.directory / name
        try:
            found = loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise UserError(f"no run to watch: {path}: {why}") from None
        require(isinstance(found, dict), str(path), found, "the config of a run")
        return dict(check_format(found, path))

    @property
    def runs(self) -> bool:
        """Whether a process is at work in the directory."""
        return in_use(self.directory)

    def ending(self) -> str:
        """How it has ended, in words."""
        step = self.last and f"step {self.last.step} of {self.last.total}"
        if self.last is None or self.last.step < self.last.total:
            return f"it stopped at {step or 'its start'}; it goes on with --resume"
        return f"it has ended with {step}: {self.directory}"

    def steps(self) -> Iterator[Progress]:
        """Those that were written since they were last asked for."""
        path = self.directory / HISTORY
        if not path.exists():
            return
        with open(path, "rb") as file:
            if file.seek(0, 2) < self.place:  # it went on from an older checkpoint
                self.place = 0
            file.seek(self.place)
            lines = [line for line in file if line.endswith(b"\n")]
        self.place += sum(map(len, lines))
        if not lines:
            return
        total = self._total()
        for row in rows_of(lines, path):
            whole(f"{path}: step", row.get("step"), 0, 10_000_000_000)
            self.last = _progress(row, total)
            yield self.last

    def _total(self) -> int:
        """What the steps count to, as the last row of times says; 0 in a run that is older."""
        path = self.directory / TIMING
        rows = read_rows(path) if path.exists() else []
        return rows[-1].get("total", 0) if rows else 0


def _progress(row: dict, total: int) -> Progress:
    step = row.pop("step")
    genotype = row.pop("genotype", None)
    value = genotype and from_dict(genotype)
    reward = row.pop("reward", None)
    total = max(step, total)
    return Progress(step, total, value, reward, row, step / total)


def watch(directory: str | Path) -> Watch:
    """Follow a run in a terminal until it has ended, or Ctrl-C leaves it: the run goes on."""
    watched = Watch(directory)
    with reporter(True, 0) as report:
        while True:
            runs = watched.runs  # first: what it wrote as it ended is still read
            for step in watched.steps():
                report(step)
            if not runs:
                return watched
            sleep(SECONDS)
