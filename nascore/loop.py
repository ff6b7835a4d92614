"""Drive any resumable loop, a search or a training: checkpoint, resume, stop, progress.

A loop has `step() -> Progress`, `done`, `history` (one plain dict a step), `state_dict()` and
`load_state_dict(state)`. In its directory lie `config.json` (what runs), `checkpoint.pt` (where it
is), `history.jsonl` (what came out, the same for the same seed) and `timing.jsonl` (what it took).
"""

import json
import os
import pickle
import signal
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tqdm.auto import tqdm

from nascore.errors import UserError, shorten
from nascore.genotypes import Genotype, to_json


@dataclass(frozen=True)
class Progress:
    """What one step did: `step` of `total`, and where the loop evaluates architectures, which
    one and its reward."""

    step: int
    total: int
    genotype: Genotype | None = None
    reward: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)

    def row(self) -> dict:
        """The step as a line of `history.jsonl`."""
        genotype = self.genotype and json.loads(to_json(self.genotype))
        return {"step": self.step, "reward": self.reward, "genotype": genotype, **self.metrics}


def save_checkpoint(path: Path, state: dict) -> None:
    """Write to a temporary name, sync, rename: whatever happens, `path` holds a whole
    checkpoint, old or new."""
    _replace(path, lambda file: torch.save(state, file))


def load_checkpoint(path: Path) -> dict:
    """Tensors and plain containers only (`weights_only`): opening a checkpoint runs no code.
    Raises `UserError`."""
    try:
        with zipfile.ZipFile(
            path
        ) as archive:  # torch.load does not look at the checksums that torch.save wrote
            if archive.testzip():
                raise zipfile.BadZipFile("a checksum is wrong")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise ValueError(f"it holds a {type(state).__name__}")
        return state
    except FileNotFoundError:
        raise UserError(
            f"no checkpoint at {path}: nothing to resume there; leave --resume out to begin"
        ) from None
    except pickle.UnpicklingError:
        raise UserError(
            f"{path} is not a checkpoint (damaged, or holding more than tensors and numbers)"
        ) from None
    except (
        OSError,
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        AttributeError,
        zipfile.BadZipFile,
    ) as error:
        reason = (str(error).splitlines() or ["it is empty"])[0][:80]
        raise UserError(f"{path} is not a checkpoint that can be read ({reason})") from None


def write_json(path: Path, value) -> None:
    _replace(path, lambda file: file.write((json.dumps(value, indent=2) + "\n").encode()))


def _replace(path: Path, write: Callable) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # the rename itself must reach the disk too
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


@contextmanager
def memory_errors(lower: str = "--batch-size, --channels or --cells") -> Iterator[None]:
    """Running out of memory, on any device, becomes the line that says what to lower."""
    try:
        yield
    except (
        MemoryError,
        RuntimeError,
    ) as error:  # PyTorch's own are RuntimeErrors, on the CPU a plain one
        if not isinstance(
            error, MemoryError | torch.OutOfMemoryError
        ) and "can't allocate memory" not in str(error):
            raise
        raise UserError(f"out of memory: lower {lower}") from None


class Record:
    """The directory of one run, opened to begin (`resume=False`) or to go on. Raises `UserError`
    where it holds another run, or none to resume."""

    def __init__(self, directory: Path, loop, config: dict, resume: bool):
        self.directory, self.loop, self.config = directory, loop, json.loads(json.dumps(config))
        self.checkpoint = directory / "checkpoint.pt"
        self.timing: list[dict] = []
        self.written = 0  # rows of history.jsonl and of timing.jsonl on the disk
        if resume:
            self._restore()
        elif self.checkpoint.exists():
            raise UserError(
                f"{directory} already holds a run: go on with --resume, or name another directory"
            )
        for left in directory.glob("*.tmp"):  # by a process that was killed while it wrote
            left.unlink(missing_ok=True)
        with self._writing():
            write_json(directory / "config.json", self.config)
        self.save()

    def _restore(self) -> None:
        state, now = load_checkpoint(self.checkpoint), _flat(self.config)
        try:
            then, self.timing = _flat(state["config"]), list(state["timing"])
            differs = next((k for k in {**then, **now} if then.get(k) != now.get(k)), None)
            if differs is None:
                self.loop.load_state_dict(state["loop"])
        except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            raise UserError(
                f"{self.checkpoint} does not fit this run: {shorten(str(error), 80)}"
            ) from None
        if differs is not None:
            found, asked = shorten(then.get(differs)), shorten(now.get(differs))
            raise UserError(
                f"{self.directory} holds another run: its {differs} is {found}, asked for is {asked}"
            )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError) as error:  # torch.save reports a full disk as a RuntimeError
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            kept = (
                "the last checkpoint is whole: mend it and go on with --resume"
                if self.checkpoint.exists()
                else ""
            )
            raise UserError(f"cannot write to {self.directory} ({reason}); {kept}") from None

    def save(self) -> None:
        """The checkpoint, and the rows since the last one; the first time all rows, so that
        those which a killed process wrote after its last checkpoint go."""
        with self._writing():
            for name, rows in (("history.jsonl", self.loop.history), ("timing.jsonl", self.timing)):
                with open(self.directory / name, "a" if self.written else "w") as file:
                    file.writelines(json.dumps(row) + "\n" for row in rows[self.written :])
            self.written = len(self.loop.history)
            state = {"config": self.config, "timing": self.timing, "loop": self.loop.state_dict()}
            save_checkpoint(self.checkpoint, state)


def _flat(config: dict) -> dict:
    """The fields of a budget or a recipe beside those around them."""
    parts = (value if isinstance(value, dict) else {key: value} for key, value in config.items())
    return {key: value for part in parts for key, value in part.items()}


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Make the directory, and keep every other run out of it until the block ends."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the directory {directory}: {error.strerror}") from None
    if os.name != "posix":  # Windows has no flock
        yield
        return
    import fcntl

    folder = os.open(directory, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems know no locks
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"{directory} is in use by another run: wait until it has ended, or stop it"
                ) from None
        yield
    finally:
        os.close(folder)


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

    Ctrl-C lets the step in hand finish, so that the checkpoint lies between two steps; a second
    Ctrl-C does not wait.
    """
    if resume and directory is None:
        raise UserError("--resume needs the directory of the run to resume: --out DIR")
    with nullcontext() if directory is None else _alone_in(Path(directory)):
        record = None if directory is None else Record(Path(directory), loop, config or {}, resume)
        due = time.monotonic() + checkpoint_seconds
        with _interrupts() as interrupted, _reporter(progress, loop) as report:
            while not loop.done and not interrupted() and not (stop and stop()):
                began, before = time.monotonic(), len(loop.history)
                step = loop.step()
                seconds = time.monotonic() - began
                report(step)
                if record:
                    rows = loop.history[
                        before:
                    ]  # of children that were trained together, each has its share
                    record.timing += [
                        {"step": r["step"], "seconds": round(seconds / len(rows), 4)} for r in rows
                    ]
                    if (began := time.monotonic()) >= due:
                        record.save()
                        took = (
                            time.monotonic() - began
                        )  # grows with the history: then save more seldom
                        due = time.monotonic() + max(
                            checkpoint_seconds, min(20 * took, 12 * checkpoint_seconds)
                        )
        if record:
            record.save()
    return loop.done


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Catch Ctrl-C and a polite kill until the block ends. Only a process's main thread can;
    others have `stop`."""
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
    # disable=None: for terminals only
    with tqdm(
        initial=len(loop.history), unit="step", dynamic_ncols=True, mininterval=0.2, disable=None
    ) as bar:

        def report(step: Progress) -> None:
            bar.total = step.total
            values = {"reward": step.reward, **step.metrics}
            bar.set_postfix(
                {k: v for k, v in values.items() if isinstance(v, float)}, refresh=False
            )
            bar.update(step.step - bar.n)

        yield report
