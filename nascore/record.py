"""The directory of a run: `config.json` (what runs), `checkpoint.pt` (where it is), `history.jsonl`
(what came out, the same for the same seed) and `timing.jsonl` (what it took).

A checkpoint says how many rows the two lists had and does not hold them: rows are only ever added,
before the checkpoint that counts them, and what follows those that it counts was written by a
process that was killed.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BytesIO
from itertools import islice
from json import dumps, loads
from os.path import lexists
from pathlib import Path
from pickle import UnpicklingError
from time import sleep
from typing import Protocol
from zipfile import BadZipFile, ZipFile

import torch

from nascore.errors import UserError, refuse, require, say, shorten, whole
from nascore.files import (
    FORMAT,
    NAMES,
    PathName,
    check_format,
    named,
    read_rows,
    remove_temporaries,
    write_bytes,
    write_json,
)

HISTORY = "history.jsonl"
TIMING = "timing.jsonl"
# Of a config, what says nothing of what runs: data and spaces are their content.
NO_CONTENT = ("format", "data's name", "space's name")


# --- checkpoints ----------------------------------------------------------------------------------


def save_checkpoint(path: Path, state: dict) -> None:
    """Tensors and plain containers, whole or not at all."""
    buffer = BytesIO()  # torch.save to a file says nothing of a full disk but "enforce fail"
    torch.save(state, buffer)
    write_bytes(path, buffer.getbuffer())


def load_checkpoint(path: Path) -> dict:
    """Tensors and plain containers only (`weights_only`): opening a checkpoint runs no code. Raises
    `UserError`."""
    try:
        with ZipFile(path) as archive:  # torch.load does not look at the checksums
            if archive.testzip():
                raise BadZipFile("a checksum is wrong")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise ValueError(f"it holds a {type(state).__name__}")
    except UnpicklingError:
        holds = "damaged, or holding more than tensors and numbers"
        raise UserError(f"{path} is not a checkpoint ({holds})") from None
    except FileNotFoundError:
        begin = "nothing to resume there; leave --resume out to begin"
        raise UserError(f"no checkpoint at {path}: {begin}") from None
    except Exception as error:  # whatever a flipped bit may lead the reader into
        reason = (str(error).splitlines() or ["it is empty"])[0][:80]
        raise UserError(f"{path} is not a checkpoint that can be read ({reason})") from None
    check_format(state, path)
    return state


# --- the directory of a run -----------------------------------------------------------------------


def directory_named(name: PathName | None) -> Path | None:
    """The directory that a user named. Raises `UserError`, for "" (an unset variable of a shell)
    too."""
    if name is None:
        return None
    return named(name, "--out", "the name of a directory")


def require_free(directory: Path) -> None:
    """Refuse a directory with files that a run would overwrite, whoever made them."""
    if (directory / "checkpoint.pt").exists():
        how = "go on with --resume, or name another directory"
        raise UserError(f"{directory} already holds a run: {how}")
    if found := [name for name in NAMES if lexists(directory / name)]:
        held = f"{directory} holds {', '.join(found)} and no checkpoint.pt"
        raise UserError(f"{held}: nothing is overwritten; name another directory")


def kept_threads(directory: Path) -> int | None:
    """How many threads the run in `directory` computes with, as far as that can be read."""
    with suppress(OSError, ValueError, AttributeError, UserError):
        found = loads((directory / "config.json").read_text(encoding="utf-8"))
        return whole("threads", check_format(found, "config.json").get("threads"), 1, 1024)
    return None


@contextmanager
def alone_in(directory: Path, make: bool) -> Iterator[None]:
    """Keep every other run out of the directory until the block ends; `make` it first."""
    try:
        if make:
            directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the directory {directory}: {error.strerror}") from None
    if os.name != "posix" or not directory.exists():  # Windows has no flock
        yield
        return
    with _opened(directory) as folder:
        if not _locked(folder):
            sleep(0.2)  # one that only looks in lets go at once
            if not _locked(folder):
                wait = "wait until it has ended, or stop it"
                raise UserError(f"{directory} is in use by another run: {wait}")
        yield


def in_use(directory: Path) -> bool:
    """Whether a run is at work there, as far as the system can say."""
    if os.name != "posix" or not directory.exists():
        return False
    with _opened(directory) as folder:
        return not _locked(folder)


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    folder = os.open(directory, os.O_RDONLY)
    try:
        yield folder
    finally:
        os.close(folder)  # which lets a lock go


def _locked(folder: int) -> bool:
    """Lock it, unless another process has; some file systems know no locks."""
    from fcntl import LOCK_EX, LOCK_NB, flock

    with suppress(OSError):
        try:
            flock(folder, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            return False
    return True


class _Loop(Protocol):
    """What a record needs of the loop whose state it keeps."""

    threads: int
    history: list[dict]

    def state_dict(self) -> dict: ...

    def load_state_dict(self, state: dict) -> None: ...


class Record:
    """The directory of one run, opened to begin (`resume=False`) or to go on. `config` says what
    runs; two configs are the same run if all they hold is equal but names and places. Raises
    `UserError` where the directory holds another run, or none to resume."""

    def __init__(
        self, directory: Path, loop: _Loop, config: dict, resume: bool, defaults: Mapping
    ) -> None:
        self.directory = directory
        self.loop = loop
        self.config = {"format": FORMAT, **loads(dumps(config))}
        self.checkpoint = directory / "checkpoint.pt"
        self.timing: list[dict] = []
        self.written: Counter[str] = Counter()  # rows of each file that are on the disk
        # Whether rows can be read back from there: a user's own loop may keep them otherwise.
        self.plain = "history" in getattr(loop, "STATE", ())
        if resume:
            self._restore(defaults)
        else:
            require_free(directory)
            self._checkpoint()  # first of all: a directory without it is not touched again
        with self._writing():
            remove_temporaries(directory, NAMES)
            write_json(directory / "config.json", self.config)
        self._write_rows()

    def _restore(self, defaults: Mapping) -> None:
        checkpoint = self.checkpoint
        state = load_checkpoint(checkpoint)
        if state.get("format", 0) < 1:
            begin = "name another directory to begin anew"
            raise UserError(f"{checkpoint} was written before files had formats: {begin}")
        try:
            config = state["config"]
            differs = self._difference(config, defaults)
            if differs is None:
                self.config = config | self.config
                self._restore_rows(state)
                self.loop.load_state_dict(state["loop"])
        except UserError as error:
            raise UserError(f"{self.directory}: {error}") from None
        except Exception as error:  # of a checkpoint by other code, whatever that lacks
            reason = shorten(str(error), 80)
            raise UserError(f"{checkpoint} does not fit this run: {reason}") from None
        if differs is not None:
            raise UserError(f"{self.directory} holds another run: {differs}")

    def _restore_rows(self, state: dict) -> None:
        """Into the state, which had them itself before there was `rows`."""
        if "rows" not in state:
            self.timing = list(state["timing"])
            return
        count = state["rows"]
        if state["plain"]:
            state["loop"]["history"] = self._kept(HISTORY, count)
        try:
            self.timing = self._kept(TIMING, count)
        except UserError as error:  # nothing follows from times
            say(f"{self.directory}: {error}: times are kept from now on")

    def _kept(self, name: str, count: dict) -> list[dict]:
        rows = keep_rows(self.directory / name, count[name])
        self.written[name] = len(rows)
        return rows

    def _difference(self, config: dict, defaults: Mapping) -> str | None:
        """What makes the stored run another one. What it says nothing of, a field that is younger
        than it, it had at its default; the number of threads is the stored one, unless one was
        asked for."""
        then = _flat(config)
        now = _flat(self.config)
        if now.get("threads") is None and "threads" in then:
            now["threads"] = self.config["threads"] = self.loop.threads = then["threads"]
        younger = {k: defaults[k] for k in now if k not in then and k in defaults}
        for name in then | now:
            found = (then | younger).get(name)
            asked = now.get(name)
            if found != asked and name == "device":
                say(f"{self.directory} was begun on {found}: on {asked} last digits may differ")
            elif found != asked:
                return f"its {name} is {shorten(found)}, asked for is {shorten(asked)}"
        if younger:
            fields = ", ".join(f"{name}, which is {younger[name]!r} in it" for name in younger)
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
        self._write_rows()
        self._checkpoint()

    def _checkpoint(self) -> None:
        with self._writing():
            loop = self.loop.state_dict()
            if self.plain:
                loop.pop("history", None)
            state = {
                "format": FORMAT,
                "config": self.config,
                "plain": self.plain,
                "rows": {HISTORY: len(self.loop.history), TIMING: len(self.timing)},
                "loop": loop,
            }
            save_checkpoint(self.checkpoint, state)

    def _write_rows(self) -> None:
        for name, rows in ((HISTORY, self.loop.history), (TIMING, self.timing)):
            done = self.written[name]
            mode = "a" if done else "w"
            lines = [dumps(row) + "\n" for row in rows[done:]]
            if name == HISTORY and list(map(loads, lines)) != rows[done:]:  # tuples, say
                self.plain = False
            with self._writing(), open(self.directory / name, mode, encoding="utf-8") as file:
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
            self.written[name] = len(rows)


def keep_rows(path: Path, count: int) -> list[dict]:
    """The first rows of a file, `count` of them; those after them go. Raises `UserError` where it
    has fewer."""
    if not count:  # a process that is killed at once has made none
        return []
    try:
        with open(path, "r+b") as file:
            lines = list(islice(file, count))
            whole = len(lines) == count and all(line.endswith(b"\n") for line in lines)
            require(
                whole, path.name, f"{len(lines)} rows", f"the {count} of its checkpoint, or more"
            )
            file.truncate(sum(map(len, lines)))
    except OSError as error:
        refuse(path.name, error.strerror, f"a file with the {count} rows of its checkpoint")
    return read_rows(path)


def _flat(config: dict) -> dict:
    """The fields of a budget or a recipe beside those around them, and those of data, space and
    estimator under their names, but for what says nothing of their content."""
    flat: dict = {}
    for key, value in config.items():
        if not isinstance(value, dict):
            flat[key] = value
        elif key in ("budget", "recipe"):
            flat |= value
        else:
            flat |= {f"{key}'s {name}": part for name, part in value.items()}
    return {name: value for name, value in flat.items() if name not in NO_CONTENT}
