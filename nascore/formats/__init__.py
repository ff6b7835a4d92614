"""Genotypes as others write them, read without running anything, and written for them.

    quark0        Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=range(2, 6), reduce=...)
    nasbench201   |nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+|...|
    pnasnet       [(1, 1, 'sep_conv_5x5', 'max_pool_3x3'), ...], a block each: I1, I2, O1, O2;
                  operations = [...], used_hiddenstates = [...], hiddenstate_indices = [...]
    enas-micro: 0 2 0 0 ...   enas-macro: 0 3 0 ...   enas-rnn: 0 0 0 1 1 2 ...

The last are the token lists of its authors' scripts. In Python's notation a text holds one
genotype; beside it may stand what cannot change it: imports, texts and lists of them, second names,
and quark0's namedtuple. Whatever else is there, or is unknown, ends in one line that says where it
stands.
"""

import os
import re
import textwrap
from contextlib import suppress
from json import loads
from os.path import exists, isdir, join

from nascore import spaces
from nascore.errors import UserError, look_up, require, shorten
from nascore.files import check_format
from nascore.formats.python import python, to_quark0
from nascore.formats.strings import nasbench201, to_nasbench201
from nascore.formats.tokens import enas
from nascore.genotypes import (
    MAX_TEXT,
    CellGenotype,
    Genotype,
    from_dict,
    from_json,
    loaded,
    to_json,
)
from nascore.published import GENOTYPES, PUBLISHED

WRITTEN = re.compile(r"^[{\[(|]|^[\w-]+:[\s\[]*\d|^\d+[\s,]+\d|Genotype\(|\n")  # no file's name
TOKENS = re.compile(r"(?:([\w-]+)\s*:)?(?=\D*\d)([\s\d,\[\]]+)")  # ENAS's lists
Source = str | os.PathLike | Genotype
FOLDERS = ("genotype.json", "model.json")  # of a search, of a training


def read(name: Source) -> Genotype:
    """The genotype of a published name, a file, the folder of a search or of a model, or a text in
    one of the formats above. Raises `UserError`, one line, for anything else."""
    if isinstance(name, Genotype):
        return name
    require(isinstance(name, str | os.PathLike), "genotype", name, "a name, a file or a genotype")
    name = os.fsdecode(name)
    if name in GENOTYPES:
        return GENOTYPES[name]
    if looks_written(name) and not exists(name):
        return parse(name)
    file = _file_in(name)
    try:
        return parse(_text_in(file))
    except FileNotFoundError:
        known = ", ".join(GENOTYPES)
        others = "a text in another's format, a model's folder, or the folder of a search"
        allowed = f"a JSON file, or one of {known}, {others}"
        raise UserError(f"no genotype {shorten(name)}; allowed: {allowed}") from None
    except (OSError, ValueError) as error:  # a folder, no UTF-8, what is no genotype
        said = getattr(error, "strerror", None) or error
        raise UserError(f"{file[:200]}: {said}") from None


def skeleton_of(name: Source) -> str | None:
    """The skeleton that a genotype belongs in by what it was called: its authors' for a published
    name, ENAS's for a list of its micro space, their own for the folders of searches and trainings;
    else None."""
    if isinstance(name, Genotype):
        return None
    name = os.fsdecode(name)
    if name in PUBLISHED:
        return PUBLISHED[name].skeleton
    if isdir(name):
        return _skeleton_in(name)
    text = _text_in(name) if exists(name) else name
    is_list = TOKENS.fullmatch(text.strip())
    return "enas" if is_list and isinstance(parse(text), CellGenotype) else None


def _skeleton_in(folder: str) -> str | None:
    """As its config.json says, a training's, or the space of a search."""
    with suppress(OSError, ValueError, AttributeError, RecursionError):
        match loads(_text_in(join(folder, "config.json"))):
            case {"skeleton": str() as skeleton}:
                return skeleton
            case {"space": {"name": str() as name}}:
                return spaces.get(name).skeleton
    return None


def _text_in(file: str) -> str:
    with open(file, encoding="utf-8") as text:
        return text.read(MAX_TEXT + 1)


def _file_in(name: str) -> str:
    """The file that holds a folder's genotype, or the file `name` itself."""
    if not isdir(name):
        return name
    held = [join(name, file) for file in FOLDERS]
    return next(filter(exists, held), held[0])


def looks_written(text: str) -> bool:
    """Whether `text` is a genotype itself, and no file's name."""
    return WRITTEN.search(text.strip()) is not None


def parse(text: str) -> Genotype:
    """The genotype that `text` is, in JSON or one of the formats above. Raises `UserError`."""
    if len(text) > MAX_TEXT:
        return from_json(text)  # which says so
    text = textwrap.dedent(text).strip().removeprefix("\ufeff")
    if text.startswith("{"):
        return _json(text)
    if text.startswith("|"):
        return nasbench201(text)
    if tokens := TOKENS.fullmatch(text):
        return enas(*tokens.groups())
    return python(text)


def _json(text: str) -> Genotype:
    """A genotype, or that of what has one, as a model and a row of a history do."""
    data = loaded(text)
    match data:
        case {"genotype": dict() as inner} if "kind" not in data:
            check_format(data, "the file")
            return from_dict(inner)
    return from_dict(data)


WRITERS = {
    "quark0": to_quark0,
    "nasbench201": to_nasbench201,
    "json": lambda genotype: to_json(genotype, indent=2),
}


def write(genotype: Genotype, to: str) -> str:
    """`genotype` in the format `to`, a key of `WRITERS`. Raises `UserError`."""
    return look_up(WRITERS, to, "format")(genotype)
