"""Images that were read from a folder, kept for the next time: one file for a folder and a size, in
NumPy's own format, which is read without any pickle and has checksums.
"""

from collections.abc import Callable, Mapping
from json import dumps, loads
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray
from platformdirs import user_cache_path

from nascore.files import FORMAT, digest, write_whole

Parts = dict[str, ndarray]  # uint8 (N, 3, H, W), by the name of the part


def file_of(folder: Path, side: int | None) -> Path:
    """Where the images of a folder are kept: not among them, but in the user's cache folder."""
    name = digest(repr((str(folder.resolve()), side)))
    return user_cache_path("nascore") / "folders" / f"{name}.npz"


def store(file: Path, stamp: str, images: Parts, tell: Callable[[str], None]) -> None:
    """Keep `images`, of which `stamp` says which they are; where that cannot be done, `tell` it."""
    about = np.array(dumps({"format": FORMAT, "stamp": stamp}))
    kept: Any = {"about": about, **images}  # in the stubs one of its arrays may be an option
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, lambda opened: np.savez(opened, **kept))
    except OSError as error:
        reason = f"({error.strerror}): the images will be read again next time"
        tell(f"cannot write the cache {file} {reason}")


def load(file: Path, stamp: str, counts: Mapping[str, int]) -> Parts | None:
    """What the file holds, if that is whole and of these very images, so many in each part. Labels
    are not in it: they follow from the names of the images."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            about = loads(stored["about"].item())
            images = {part: stored[part] for part in counts}
        height, width = images["train"].shape[2:]
    except Exception:  # there is none, or it is damaged: it is made anew
        return None
    good = about == {"format": FORMAT, "stamp": stamp}
    for part, count in counts.items():
        found = images[part]
        good = good and found.dtype == np.uint8 and found.shape == (count, 3, height, width)
    return images if good else None
