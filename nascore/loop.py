"""Drive any resumable loop, a search or a training: checkpoint, resume, stop, progress.

A loop has `step() -> Progress`, `done`, `history` (one plain dict a step), `threads` (how many its
steps compute with), `state_dict()` and `load_state_dict(state)`. In its directory lie `config.json`
(what runs), `checkpoint.pt` (where it is), `history.jsonl` (what came out, the same for the same
seed) and `timing.jsonl` (what it took).
"""

import io
import json
import os
import pickle
import signal
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tqdm.auto import tqdm

from nascore.errors import UserError, number, require, say, shorten, whole
from nascore.files import FORMAT, check_format, named, remove_temporaries, write_json, write_whole
from nascore.genotypes import Genotype, to_json

# Whatever a run writes: a directory that holds one of these belongs to a run, or to its user.
NAMES = ("checkpoint.pt", "config.json", "history.jsonl", "timing.jsonl")
NAMES += ("genotype.json", "genotype.svg", "result.json", "model.safetensors", "model.json")
NAMED_ONLY = ("data's name", "space's name")  # what they are, is their content
LINE_SECONDS = 5.0  # between two lines of progress where there is no terminal


class StepFailed(UserError):
    """A step that failed and made no row of the history: the rows before it can be kept."""


@dataclass(frozen=True)
class Progress:
    """What one step did: `step` of `total`, and where the loop evaluates architectures, which one and
    its reward."""

    step: int
    total: int
    genotype: Genotype | None = None
    reward: float | None = None
    metrics: dict = field(default_factory=dict)

    def row(self) -> dict:
        """The step as a line of `history.jsonl`."""
        genotype = self.genotype and json.loads(to_json(self.genotype))
        row = {"format": FORMAT, "step": self.step, "reward": self.reward, "genotype": genotype}
        return row | self.metrics


# --- checkpoints -----------------------------------------------------------------------------------


def save_checkpoint(path: Path, state: dict) -> None:
    """Tensors and plain containers, whole or not at all."""
    buffer = io.BytesIO()  # torch.save to a file says nothing of a full disk but "enforce fail"
    torch.save(state, buffer)
    write_whole(path, lambda file: file.write(buffer.getbuffer()))


def load_checkpoint(path: Path) -> dict:
    """Tensors and plain containers only (`weights_only`): opening a checkpoint runs no code. Raises
    `UserError`."""
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not look at the checksums
            if archive.testzip():
                raise zipfile.BadZipFile("a checksum is wrong")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise ValueError(f"it holds a {type(state).__name__}")
    except pickle.UnpicklingError:
        holds = "damaged, or holding more than tensors and numbers"
        raise UserError(f"{path} is not a checkpoint ({holds})") from None
    except FileNotFoundError:
        begin = "nothing to resume there; leave --resume out to begin"
        raise UserError(f"no checkpoint at {path}: {begin}") from None
    except Exception as error:  # whatever a flipped bit may lead the reader into
        reason = (str(error).splitlines() or ["it is empty"])[0][:80]
        raise UserError(f"{path} is not a checkpoint that can be read ({reason})") from None
    return dict(check_format(state, path))


# --- the directory of a run ------------------------------------------------------------------------


def directory_named(name: str | Path | None) -> Path | None:
    """The directory that a user named. Raises `UserError`, for "" (an unset variable of a shell) too."""
    if name is None:
        return None
    return named(name, "--out", "the name of a directory")


def require_free(directory: Path) -> None:
    """Refuse a directory with files that a run would overwrite, whoever made them."""
    if (directory / "checkpoint.pt").exists():
        how = "go on with --resume, or name another directory"
        raise UserError(f"{directory} already holds a run: {how}")
    if found := [name for name in NAMES if os.path.lexists(directory / name)]:
        held = f"{directory} holds {', '.join(found)} and no checkpoint.pt"
        raise UserError(f"{held}: nothing is overwritten; name another directory")


def kept_threads(directory: Path) -> int | None:
    """How many threads the run in `directory` computes with, as far as that can be read."""
    with suppress(OSError, ValueError, AttributeError, UserError):
        found = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        return whole("threads", check_format(found, "config.json").get("threads"), 1, 1024)
    return None


@contextmanager
def _alone_in(directory: Path, make: bool) -> Iterator[None]:
    """Keep every other run out of the directory until the block ends; `make` it first."""
    try:
        if make:
            directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the directory {directory}: {error.strerror}") from None
    if os.name != "posix" or not directory.exists():  # Windows has no flock
        yield
        return
    import fcntl

    folder = os.open(directory, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems know no locks
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                wait = "wait until it has ended, or stop it"
                raise UserError(f"{directory} is in use by another run: {wait}") from None
        yield
    finally:
        os.close(folder)


class Record:
    """The directory of one run, opened to begin (`resume=False`) or to go on. `config` says what runs;
    two configs are the same run if all they hold is equal but names and places. Raises `UserError`
    where the directory holds another run, or none to resume."""

    def __init__(self, directory: Path, loop, config: dict, resume: bool, defaults: Mapping):
        self.directory, self.loop = directory, loop
        self.config = {"format": FORMAT, **json.loads(json.dumps(config))}
        self.checkpoint = directory / "checkpoint.pt"
        self.timing: list[dict] = []
        self.written: Counter[str] = Counter()  # rows of each file that are on the disk
        if resume:
            self._restore(defaults)
        else:
            require_free(directory)
            self._checkpoint()  # first of all: a directory without it is not touched again
        with self._writing():
            remove_temporaries(directory, NAMES)
            write_json(directory / "config.json", self.config)
        self._write_rows("w")  # those that a killed process wrote after its last checkpoint go

    def _restore(self, defaults: Mapping) -> None:
        state = load_checkpoint(self.checkpoint)
        if state.get("format", 0) < 1:
            begin = "name another directory to begin anew"
            raise UserError(f"{self.checkpoint} was written before files had formats: {begin}")
        try:
            differs = self._difference(state["config"], defaults)
            if differs is None:
                self.config = state["config"] | self.config
                self.timing = list(state["timing"])
                self.loop.load_state_dict(state["loop"])
        except UserError as error:
            raise UserError(f"{self.directory}: {error}") from None
        except Exception as error:  # of a checkpoint by other code, whatever that lacks
            reason = shorten(str(error), 80)
            raise UserError(f"{self.checkpoint} does not fit this run: {reason}") from None
        if differs is not None:
            raise UserError(f"{self.directory} holds another run: {differs}")

    def _difference(self, config: dict, defaults: Mapping) -> str | None:
        """What makes the stored run another one. What it says nothing of, a field that is younger than
        it, it had at its default; the number of threads is the stored one, unless one was asked for."""
        then, now = _flat(config), _flat(self.config)
        if now.get("threads") is None and "threads" in then:
            now["threads"] = self.config["threads"] = self.loop.threads = then["threads"]
        younger = {k: defaults[k] for k in now if k not in then and k in defaults}
        for name in {**then, **now}:
            found, asked = (then | younger).get(name), now.get(name)
            if found != asked:
                return f"its {name} is {shorten(found)}, asked for is {shorten(asked)}"
        if younger:
            fields = ", ".join(
                f"{name}, which is {value!r} in it" for name, value in younger.items()
            )
            say(f"{self.directory} was begun before there was {fields}")
        return None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            whole = "the last checkpoint is whole: mend it and go on with --resume"
            kept = whole if self.checkpoint.exists() else "nothing was kept"
            raise UserError(f"cannot write to {self.directory} ({reason}); {kept}") from None

    def save(self) -> None:
        """The rows since the last one, and the checkpoint."""
        self._write_rows("a")
        self._checkpoint()

    def _checkpoint(self) -> None:
        state = {"format": FORMAT, "config": self.config, "timing": self.timing}
        with self._writing():
            save_checkpoint(self.checkpoint, state | {"loop": self.loop.state_dict()})

    def _write_rows(self, mode: str) -> None:
        for name, rows in (("history.jsonl", self.loop.history), ("timing.jsonl", self.timing)):
            with self._writing(), open(self.directory / name, mode, encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows[self.written[name] :])
            self.written[name] = len(rows)


def _flat(config: dict) -> dict:
    """The fields of a budget or a recipe beside those around them, and those of data, space and
    estimator under their names, but for what says nothing of their content."""
    flat = {}
    for key, value in config.items():
        if key == "format":
            continue
        if not isinstance(value, dict):
            flat[key] = value
        elif key in ("budget", "recipe"):
            flat |= value
        else:
            parts = {f"{key}'s {name}": part for name, part in value.items()}
            flat |= {name: part for name, part in parts.items() if name not in NAMED_ONLY}
    return flat


# --- the loop --------------------------------------------------------------------------------------


@contextmanager
def memory_errors(lower: str = "--batch-size, --channels or --cells") -> Iterator[None]:
    """Running out of memory, on any device, becomes the line that says what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # PyTorch's own, on the CPU a plain RuntimeError
        known = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not known and "can't allocate memory" not in str(error):
            raise
        raise UserError(f"out of memory: lower {lower}") from None


def drive(
    loop,
    *,
    directory: str | Path | None = None,
    config: dict | None = None,
    resume: bool = False,
    progress: bool | Callable[[Progress], None] = True,
    stop: Callable[[], bool] | None = None,
    checkpoint_seconds: float = 10.0,
    threads: int | None = None,
    defaults: Mapping | None = None,
) -> bool:
    """Step `loop` until it is done, or until Ctrl-C or `stop()` says so; True when it is done.

    Ctrl-C lets the step in hand finish, so that the checkpoint lies between two steps; a second
    Ctrl-C does not wait. `threads` replaces the loop's own number, and a resumed run keeps its own.
    `defaults` are of those fields of `config` that a run may be older than.
    """
    number("--checkpoint-seconds", checkpoint_seconds, 0, 1e9)
    require(stop is None or callable(stop), "stop", stop, "a function")
    good = isinstance(progress, bool) or callable(progress)
    require(good, "progress", progress, "true, false or a function")
    directory = directory_named(directory)
    if resume and directory is None:
        raise UserError("--resume needs the directory of the run to resume: --out DIR")
    if threads is not None:
        loop.threads = whole("--threads", threads, 1, 1024)
    with nullcontext() if directory is None else _alone_in(directory, make=not resume):
        record = None
        if directory is not None:
            chosen = None if resume and threads is None else getattr(loop, "threads", None)
            named = {} if not hasattr(loop, "threads") else {"threads": chosen}
            what = {**(config or {}), **named}
            record = Record(directory, loop, what, resume, defaults or {})
        with _interrupts() as interrupted, _reporter(progress, loop) as report:
            _steps(
                loop, record, lambda: interrupted() or (stop and stop()), report, checkpoint_seconds
            )
        if record:
            record.save()
    return loop.done


def _steps(
    loop,
    record: Record | None,
    stopped: Callable[[], bool],
    report: Callable[[Progress], None],
    checkpoint_seconds: float,
) -> None:
    due = time.monotonic() + checkpoint_seconds
    waiting = 0.0  # seconds of the steps that are in no row yet
    while not loop.done and not stopped():
        began, before = time.monotonic(), len(loop.history)
        try:
            step = loop.step()
        except StepFailed as error:
            raise UserError(f"{error}; {_kept(record, loop)}") from error.__cause__
        waiting += time.monotonic() - began
        report(step)
        if record and (rows := loop.history[before:]):
            share = round(waiting / len(rows), 4)
            record.timing += [{"format": FORMAT, "step": r["step"], "seconds": share} for r in rows]
            waiting = 0.0
        if record and (began := time.monotonic()) >= due:
            record.save()
            took = time.monotonic() - began  # grows with the history: then save more seldom
            pause = max(checkpoint_seconds, min(20 * took, 12 * checkpoint_seconds))
            due = time.monotonic() + pause


def _kept(record: Record | None, loop) -> str:
    count = f"{len(loop.history)} steps before it"
    if record is None:
        return f"the {count} are lost: with --out DIR they would be kept"
    record.save()
    return f"the {count} are kept: mend it and go on with --resume"


# --- Ctrl-C, and what a user sees meanwhile --------------------------------------------------------


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Catch Ctrl-C, a polite kill and a terminal that closes, until the block ends. Only a process's
    main thread can; others have `stop`."""
    caught = threading.Event()

    def first(which, frame):
        if which == getattr(signal, "SIGHUP", None):
            _leave_the_terminal()
        elif caught.is_set():
            raise KeyboardInterrupt
        caught.set()

    if threading.current_thread() is not threading.main_thread():
        yield caught.is_set
        return
    heard = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        heard.append(signal.SIGHUP)  # ignored it is under nohup, and stays so
    before = {which: signal.signal(which, first) for which in heard}
    try:
        yield caught.is_set
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


def _leave_the_terminal() -> None:
    """Nobody reads what is written to a terminal that has closed, and writing there fails."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        with suppress(OSError):
            if os.isatty(stream):
                os.dup2(nowhere, stream)
    os.close(nowhere)


@contextmanager
def _reporter(progress: bool | Callable, loop) -> Iterator[Callable[[Progress], None]]:
    """A bar in a terminal and in a notebook; where output is a file or a pipe, a line every few
    seconds."""
    if progress is not True or sys.stderr is None:
        yield progress if callable(progress) else (lambda step: None)
        return
    how = {"unit": "step", "dynamic_ncols": True, "mininterval": 0.2, "disable": None}
    with tqdm(initial=len(loop.history), **how) as bar:
        yield _lines() if bar.disable else _bar(bar)


def _values(step: Progress) -> dict[str, float]:
    values = {"reward": step.reward, **step.metrics}
    return {name: value for name, value in values.items() if isinstance(value, float)}


def _bar(bar: tqdm) -> Callable[[Progress], None]:
    def report(step: Progress) -> None:
        bar.total = step.total
        values = _values(step)
        with suppress(OSError):  # the terminal has closed; the signal that says so is on its way
            if values:
                bar.set_postfix(values, refresh=False)
            bar.update(step.step - bar.n)

    return report


def _lines() -> Callable[[Progress], None]:
    began = time.monotonic()
    due = began + LINE_SECONDS

    def report(step: Progress) -> None:
        nonlocal due
        now = time.monotonic()
        if now >= due:
            values = "".join(f", {name} {value:.4g}" for name, value in _values(step).items())
            say(f"step {step.step} of {step.total}, {now - began:.0f} s{values}")
            due = now + LINE_SECONDS

    return report
