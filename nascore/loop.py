"""Drive any resumable loop, a search or a training: checkpoint, resume, stop, progress.

What lies in the directory of a run, `record` says.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from copy import copy
from dataclasses import dataclass, field, replace
from signal import SIG_IGN, SIGINT, SIGTERM, getsignal
from threading import Event, current_thread, main_thread
from time import monotonic
from typing import ClassVar

from torch.nn import Module
from tqdm.auto import tqdm

from nascore.cuda import GRAPHS, is_lost, ran_out_of_memory
from nascore.errors import UserError, number, one_of, reason, require, say, shorten, whole
from nascore.files import FORMAT, PathName
from nascore.genotypes import Genotype, as_dict
from nascore.record import Record, alone_in, directory_named

LINE_SECONDS = 5.0  # between two lines of progress where there is no terminal


class StepFailed(UserError):
    """A step that failed and made no row of the history: the rows before it can be kept."""


@dataclass(frozen=True)
class Progress:
    """What one step did: `step` of `total`, and where the loop evaluates architectures, which one
    and its reward. `share` says how much of all the work is done, `left` how many seconds the rest
    takes where the loop knows that better than its steps show."""

    step: int
    total: int
    genotype: Genotype | None = None
    reward: float | None = None
    metrics: dict = field(default_factory=dict)
    share: float = 0.0
    left: float | None = None

    def row(self) -> dict:
        """The step as a line of `history.jsonl`."""
        genotype = self.genotype and as_dict(self.genotype)
        row = {"format": FORMAT, "step": self.step, "reward": self.reward, "genotype": genotype}
        return row | self.metrics


class Loop:
    """What is driven: `step() -> Progress` until `done`. `history` has a plain dict a row,
    `threads` is how many its steps compute with, `total` what its steps count to.

    `PARTS` name the attributes with a state of their own, modules and optimizers, `STATE` the plain
    ones: a checkpoint holds both under their names. What one that is older lacks, stays as it was
    made."""

    PARTS: ClassVar[tuple[str, ...]] = ()
    STATE: ClassVar[tuple[str, ...]] = ("steps", "history")
    threads = 1
    graphs = "auto"  # whether a GPU plays recorded steps: auto, on or off
    steps_are_alike = False  # whether each takes the same memory: then `--memory` knows it
    total: int

    def __init__(self) -> None:
        self.steps = 0
        self.history: list[dict] = []

    def step(self) -> Progress:
        """One unit of work."""
        raise NotImplementedError

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        return self.steps >= self.total

    @property
    def reached(self) -> int:
        """How many steps are paid for, which may be more than were taken."""
        return self.steps

    def cost(self, steps: int) -> float:
        """What the first `steps` steps take, beside one another: times are reckoned with it."""
        return steps

    @property
    def left(self) -> float | None:
        """How many seconds the steps to come take, where that is known."""
        return None

    def recompute(self) -> None:
        """Take more time and less memory, the same bits: see `nets.recompute`, whose generators a
        graph could not hold."""
        self.graphs = "off"
        for name in self.PARTS:
            if isinstance(part := getattr(self, name), Module):
                setattr(part, "recomputes", True)  # noqa: B010  # for mypy a module has tensors

    def state_dict(self) -> dict:
        """All that a checkpoint has to hold: tensors and plain values."""
        parts = {name: getattr(self, name).state_dict() for name in self.PARTS}
        return parts | {name: copy(getattr(self, name)) for name in self.STATE}

    def load_state_dict(self, state: dict) -> None:
        """Go on from where another loop of the same kind was."""
        for name in self.PARTS:
            getattr(self, name).load_state_dict(state[name])
        for name in state.keys() & set(self.STATE):
            setattr(self, name, copy(state[name]))


# --- the loop -------------------------------------------------------------------------------------


@contextmanager
def memory_errors(lower: str = "--batch-size, --channels or --cells") -> Iterator[None]:
    """Running out of memory, on any device, becomes the line that says what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # PyTorch's own, on the CPU a plain RuntimeError
        if not ran_out_of_memory(error):
            raise
        raise UserError(f"out of memory: lower {lower}") from None


def drive(
    loop,
    *,
    directory: PathName | None = None,
    config: dict | None = None,
    resume: bool = False,
    progress: bool | Callable[[Progress], None] = True,
    stop: Callable[[], bool] | None = None,
    checkpoint_seconds: float = 10.0,
    threads: int | None = None,
    graphs: str = "auto",
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
    if one_of("--graphs", graphs, GRAPHS) != "auto":
        loop.graphs = graphs
    with nullcontext() if directory is None else alone_in(directory, make=not resume):
        record = None
        if directory is not None:
            chosen = None if resume and threads is None else getattr(loop, "threads", None)
            named = {} if not hasattr(loop, "threads") else {"threads": chosen}
            what = {**(config or {}), **named}
            record = Record(directory, loop, what, resume, defaults or {})
        with _interrupts() as interrupted, reporter(progress, len(loop.history)) as report:
            _steps(
                loop,
                record,
                lambda: interrupted() or (stop is not None and stop()),
                report,
                checkpoint_seconds,
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
    due = monotonic() + checkpoint_seconds
    waiting = 0.0  # seconds of the steps that are in no row yet
    while not loop.done and not stopped():
        began, before = monotonic(), len(loop.history)
        try:
            step = loop.step()
        except StepFailed as error:
            raise UserError(f"{error}; {_kept(record, loop)}") from error.__cause__
        except RuntimeError as error:
            if not is_lost(error):
                raise
            lost = f"the GPU was lost ({shorten(reason(error).splitlines()[0], 200)})"
            raise UserError(f"{lost}: go on with --resume from the last checkpoint") from None
        waiting += monotonic() - began
        report(replace(step, share=share(loop, step), left=getattr(loop, "left", None)))
        if record and (rows := loop.history[before:]):
            each = round(waiting / len(rows), 4)
            row = {"format": FORMAT, "seconds": each, "total": step.total}
            record.timing += [row | {"step": r["step"]} for r in rows]
            waiting = 0.0
        if record and (began := monotonic()) >= due:
            record.save()
            took = monotonic() - began  # grows with the history: then save more seldom
            pause = max(checkpoint_seconds, min(20 * took, 12 * checkpoint_seconds))
            due = monotonic() + pause


def share(loop, step: Progress) -> float:
    """How much of all the work of a loop is done."""
    if isinstance(loop, Loop):
        return loop.cost(loop.reached) / loop.cost(loop.total)
    return step.step / step.total


def _kept(record: Record | None, loop) -> str:
    count = f"{len(loop.history)} steps before it"
    if record is None:
        return f"the {count} are lost: with --out DIR they would be kept"
    record.save()
    return f"the {count} are kept: mend it and go on with --resume"


# --- Ctrl-C, and what a user sees meanwhile -------------------------------------------------------


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Catch Ctrl-C, a polite kill and a terminal that closes, until the block ends. Only a
    process's main thread can; others have `stop`."""
    caught = Event()

    def first(which, frame):
        if which == getattr(signal, "SIGHUP", None):
            _leave_the_terminal()
        elif caught.is_set():
            raise KeyboardInterrupt
        caught.set()

    if current_thread() is not main_thread():
        yield caught.is_set
        return
    heard = [SIGINT, SIGTERM]
    if hasattr(signal, "SIGHUP") and getsignal(signal.SIGHUP) is not SIG_IGN:
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
def reporter(progress: bool | Callable, steps: int) -> Iterator[Callable[[Progress], None]]:
    """What is told of each step after the first `steps`: a bar in a terminal and in a notebook;
    where output is a file or a pipe, a line every few seconds."""
    if progress is not True or sys.stderr is None:
        yield progress if callable(progress) else (lambda step: None)
        return
    how = {"unit": "step", "dynamic_ncols": True, "mininterval": 0.2, "disable": None}
    with tqdm(initial=steps, **how) as bar:
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
    began = monotonic()
    due = began + LINE_SECONDS

    def report(step: Progress) -> None:
        nonlocal due
        now = monotonic()
        if now >= due:
            values = "".join(f", {name} {value:.4g}" for name, value in _values(step).items())
            say(f"step {step.step} of {step.total}, {now - began:.0f} s{values}")
            due = now + LINE_SECONDS

    return report
