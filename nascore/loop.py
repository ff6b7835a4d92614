"""Drive any resumable loop, a search or a training: checkpoint, resume, stop, progress.

A loop has `step() -> Progress`, `done`, `history` (one plain dict a step), `state_dict()` and `load_state_dict(state)`.
In its directory lie `config.json` (what runs), `checkpoint.pt` (where it is), `history.jsonl` (what came out, the same
for the same seed) and `timing.jsonl` (what it took).
"""

import json
import os
import pickle
import signal
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
from tqdm.auto import tqdm

from nascore.errors import UserError, shorten
from nascore.genotypes import Genotype, to_json


@dataclass(frozen=True)
class Progress:
    """What one step did: `step` of `total`, and where the loop evaluates architectures, which one and its reward."""

    step: int
    total: int
    genotype: Genotype | None = None
    reward: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)

    def row(self) -> dict:
        """The step as a line of `history.jsonl`."""
        genotype = self.genotype and _plain(self.genotype)
        return {"step": self.step, "reward": self.reward, "genotype": genotype, **self.metrics}


@lru_cache(maxsize=2**14)  # a search on a table meets the same genotypes again and again
def _plain(genotype: Genotype) -> dict:
    return json.loads(to_json(genotype))


def save_checkpoint(path: Path, state: dict) -> None:
    """Write to a temporary name, sync, rename: whatever happens, `path` holds a whole checkpoint, old or new."""
    _replace(path, lambda file: torch.save(state, file))


def load_checkpoint(path: Path) -> dict:
    """Tensors and plain containers only (`weights_only`): opening a checkpoint runs no code. Raises `UserError`."""
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not look at the checksums that torch.save wrote
            if archive.testzip():
                raise zipfile.BadZipFile("a checksum is wrong")
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"no checkpoint at {path}: nothing to resume there; leave --resume out to begin") from None
    except pickle.UnpicklingError:
        raise UserError(f"{path} is not a checkpoint (damaged, or holding more than tensors and numbers)") from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        reason = (str(error).splitlines() or ["it is empty"])[0][:80]
        raise UserError(f"{path} is not a checkpoint that can be read ({reason})") from None


def _replace(path: Path, write: Callable) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    if os.name == "posix":  # the rename itself must reach the disk too
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _differing(name: str, then, now) -> tuple[str, str, str]:
    """What differs between two configurations, down to the single field of a budget or a recipe."""
    if isinstance(then, dict) and isinstance(now, dict):
        name, then, now = next((k, then.get(k), now.get(k)) for k in {**then, **now} if then.get(k) != now.get(k))
    return name, shorten(then), shorten(now)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Running out of memory, on any device, becomes the line that says what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # PyTorch's own are RuntimeErrors, on the CPU a plain one
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        raise UserError("out of memory: lower --batch-size, --channels or --cells") from None


def write_json(path: Path, value) -> None:
    _replace(path, lambda file: file.write((json.dumps(value, indent=2) + "\n").encode()))


class Record:
    """The directory of one run, opened to begin (`resume=False`) or to go on. Raises `UserError` where it holds
    another run, or none to resume."""

    def __init__(self, directory: str | Path, loop, config: dict, resume: bool):
        self.directory, self.loop = Path(directory), loop
        self.checkpoint = self.directory / "checkpoint.pt"
        self.config = json.loads(json.dumps(config))
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make the directory {self.directory}: {error.strerror}") from None
        if resume:
            self._restore()
        elif self.checkpoint.exists():
            raise UserError(f"{self.directory} already holds a run: go on with --resume, or name another directory")
        for left in self.directory.glob("*.tmp"):  # by a process that was killed while it wrote
            left.unlink(missing_ok=True)
        with self._writing():
            write_json(self.directory / "config.json", self.config)
            self.history = self._reopen("history.jsonl", lines=[json.dumps(row) for row in loop.history])
            self.timing = self._reopen("timing.jsonl", lines=self._old_lines("timing.jsonl")[: len(loop.history)])
        self.save()

    def _restore(self) -> None:
        state = load_checkpoint(self.checkpoint)
        then = state.get("config") if isinstance(state, dict) else None
        if not isinstance(then, dict):
            raise UserError(f"{self.checkpoint} is not the checkpoint of a run")
        for k in {**then, **self.config}:
            if then.get(k) != self.config.get(k):
                k, found, asked = _differing(k, then.get(k), self.config.get(k))
                raise UserError(f"{self.directory} holds another run: its {k} is {found}, asked for is {asked}")
        try:
            self.loop.load_state_dict(state["loop"])
        except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            raise UserError(f"{self.checkpoint} does not fit this run: {shorten(str(error), 80)}") from None

    def _old_lines(self, name: str) -> list[str]:
        path = self.directory / name
        return path.read_text().splitlines() if path.exists() and self.loop.history else []

    def _reopen(self, name: str, lines: list[str]):
        """Lines that a killed run wrote after its last checkpoint go: they will be written again."""
        path = self.directory / name
        _replace(path, lambda file: file.write("".join(line + "\n" for line in lines).encode()))
        return open(path, "a")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError) as error:  # torch.save reports a full disk as a RuntimeError
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            kept = "the last checkpoint is whole: mend it and go on with --resume" if self.checkpoint.exists() else ""
            raise UserError(f"cannot write to {self.directory} ({reason}); {kept}") from None

    def add(self, row: dict, seconds: float) -> None:
        with self._writing():
            self.history.write(json.dumps(row) + "\n")
            self.timing.write(json.dumps({"step": row["step"], "seconds": round(seconds, 4)}) + "\n")

    def save(self) -> None:
        with self._writing():
            self.history.flush()
            self.timing.flush()
            save_checkpoint(self.checkpoint, {"config": self.config, "loop": self.loop.state_dict()})

    def close(self) -> None:
        for file in (self.history, self.timing):
            with suppress(OSError):  # a full disk was reported when it happened
                file.close()


def drive(
    loop,
    *,
    directory: str | Path | None = None,
    config: dict | None = None,
    resume: bool = False,
    progress: bool | Callable[[Progress], None] = True,
    stop: Callable[[], bool] | None = None,
    checkpoint_seconds: float = 10.0,
) -> bool:
    """Step `loop` until it is done, or until Ctrl-C or `stop()` says so; True when it is done.

    Ctrl-C lets the step in hand finish, so that the checkpoint lies between two steps; a second Ctrl-C does not wait.
    """
    if resume and directory is None:
        raise UserError("--resume needs the directory of the run to resume: --out DIR")
    record = None if directory is None else Record(directory, loop, config or {}, resume)
    saved = time.monotonic()
    try:
        with _interrupts() as interrupted, _reporter(progress, loop) as report:
            while not loop.done and not interrupted() and not (stop and stop()):
                began, before = time.monotonic(), len(loop.history)
                step = loop.step()
                for row in loop.history[before:] if record else ():
                    record.add(row, time.monotonic() - began)
                report(step)
                if record and time.monotonic() - saved >= checkpoint_seconds:
                    record.save()
                    saved = time.monotonic()
        if record:
            record.save()
    finally:
        if record:
            record.close()
    return loop.done


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Catch Ctrl-C and a polite kill until the block ends. Only a process's main thread can; others have `stop`."""
    caught = threading.Event()

    def first(number, frame):
        if caught.is_set():
            raise KeyboardInterrupt
        caught.set()

    if threading.current_thread() is not threading.main_thread():
        yield caught.is_set
        return
    before = {number: signal.signal(number, first) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _reporter(progress: bool | Callable, loop) -> Iterator[Callable[[Progress], None]]:
    if progress is not True:
        yield progress or (lambda step: None)
        return
    start = len(loop.history)
    with tqdm(initial=start, unit="step", dynamic_ncols=True, mininterval=0.2, disable=None) as bar:  # terminals only

        def report(step: Progress) -> None:
            bar.total = step.total
            values = {"reward": step.reward, **step.metrics}
            shown = {k: f"{v:.3g}" for k, v in values.items() if isinstance(v, float)}
            bar.set_postfix(shown, refresh=False)
            bar.update(step.step - bar.n)

        yield report
