"""Files that are whole or not there, and that say which version of their format they have.

An older format opens for ever; a newer one is refused in one line.
"""

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from hashlib import blake2b
from json import dumps, loads
from os.path import lexists, realpath
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import BinaryIO

from nascore.errors import Raised, UserError, is_number, plain, require

PathName = str | os.PathLike
FORMAT = 1  # of everything that is written: checkpoint, config, genotype, history, timing, cache

# What a run and a model write; where there is one of the others, no export takes such a name.
NAMES = (
    "checkpoint.pt",
    "config.json",
    "history.jsonl",
    "timing.jsonl",
    "genotype.json",
    "genotype.svg",
    "result.json",
    "model.safetensors",
    "model.json",
)


def named(name: PathName, option: str, allowed: str = "the name of a file") -> Path:
    """`name` as a path. Raises `UserError`, for "" (an unset variable of a shell) too, and for a
    file of a run or of a model, which would be lost."""
    good = isinstance(name, PathName) and str(name).strip() and "\0" not in str(name)
    require(good, option, name, allowed)
    path = Path(realpath(name))
    if path.name in NAMES:
        folder = path.parent
        others = [folder / other for other in ("config.json", "model.json")]
        allowed = f"another name: {folder} holds a run or a model"
        require(not any(map(lexists, others)), option, name, allowed)
    return Path(name)


def digest(text: str, size: int = 16) -> str:
    """`size` bytes in hexadecimal digits, others for every text."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """`write(file)` under a temporary name, sync, rename: whatever happens, `path` holds a whole
    file, old or new. A link stays, and what it points to is replaced; what is no file (a pipe, a
    terminal) is written to as it is."""
    path = Path(realpath(path))
    with suppress(FileNotFoundError):
        mode = os.stat(path).st_mode
        if not S_ISREG(mode) and not S_ISDIR(mode):
            with open(path, "wb") as file:
                write(file)
            return
    folder = path.parent
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.filename2 is None:  # a name that no one has given
            error.filename = os.fspath(folder)
        raise
    finally:
        temporary.unlink(missing_ok=True)
    sync(folder)


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """`write_whole` of what is at hand."""
    write_whole(path, lambda file: file.write(content))


def sync(folder: Path) -> None:
    """A rename itself must reach the disk too, where the system knows how."""
    with suppress(OSError):  # some systems and file systems cannot
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_temporaries(folder: Path, names: Collection[str]) -> None:
    """What a process that was killed left while it wrote a file of one of these names."""
    for path in folder.iterdir():
        ours = re.fullmatch(r"(.+)\.[0-9]+\.tmp", path.name)
        if ours and ours[1] in names and path.is_file():
            path.unlink(missing_ok=True)


def write_json(path: Path, value: Mapping) -> None:
    """`value` as JSON with the version of its format."""
    text = dumps({"format": FORMAT, **value}, indent=2) + "\n"
    write_bytes(path, text.encode())


def check_format(value: Mapping, file: PathName, error: Raised = UserError) -> Mapping:
    """`value` as read from `file`, of this format or an older one. Raises `error`."""
    found = value.get("format", 0)  # 0: before there were versions
    good = is_number(found, int) and found >= 0
    require(good, f"{file}: format", found, f"a whole number to {FORMAT}", error)
    if found > FORMAT:
        known = f"this one reads formats to {FORMAT}"
        raise error(f"{file} was written by a newer nascore (format {found}; {known}): update")
    return value


def read_rows(path: PathName) -> list[dict]:
    """The rows of a history.jsonl or timing.jsonl, a line each. Raises `UserError`."""
    try:
        with open(path, encoding="utf-8") as file:
            return rows_of(file, path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None


def rows_of(lines: Iterable[str | bytes], path: PathName) -> list[dict]:
    """The rows in some lines of the file at `path`. Raises `UserError`."""
    try:
        rows = list(map(loads, lines))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: {error}") from None
    for row in rows:
        require(isinstance(row, dict), f"{path}", row, "an object a line")
        check_format(row, plain(path))
    return rows
