"""An image file as a viewer shows it: whatever its depth, transparency, orientation and palette, it
becomes 8-bit RGB. Only what is one of `FORMATS` by its content is opened.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from stat import S_ISREG
from threading import Lock
from typing import Any
from warnings import catch_warnings

import numpy as np
from PIL import Image, ImageOps
from PIL.ExifTags import Base
from PIL.Image import Image as Picture
from PIL.ImageCms import createProfile, profileToProfile
from PIL.PngImagePlugin import PngImageFile

from nascore.errors import UserError, shorten
from nascore.files import PathName

# Of those that may hold several pictures, the first is read.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".jpe", ".jfif")
MOST_PIXELS = 64_000_000
DECODING = Lock()  # a PIL image is decoded when it is first looked at, whichever thread does that
PAPER = (255, 255, 255)  # what is seen through a transparent picture
# TIFF's tags and values that say what a number means.
BITS = Base.BitsPerSample
PHOTOMETRIC = Base.PhotometricInterpretation
SAMPLES = Base.SampleFormat
UNSIGNED = 1
WHITES = {"L;2": 85, "L;4": 17}  # of PNG's depths: what one step is in 8 bits
WHITE_IS_ZERO = 0


def read(image: PathName | Picture) -> Picture:
    """The picture in a file, or one of Pillow's, as 8-bit RGB. Raises `UserError`, one line, for
    what is none."""
    try:
        if isinstance(image, Picture):
            name = str(getattr(image, "filename", "") or "the PIL image")
            with DECODING:
                return as_shown(image)
        name = str(image)
        if not S_ISREG(os.stat(image).st_mode):
            raise OSError("no image, and no folder of any")
        with Image.open(image, formats=FORMATS) as file:
            return as_shown(file)
    except Exception as error:  # a decoder that is fed rubbish may raise anything
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        short = shorten(reason.replace(repr(name), "it"), 120)[1:-1]
        line = f"{name} is not an image that can be read ({short}): mend or remove it"
        raise UserError(f"{line}; allowed: {', '.join(FORMATS)}") from None


@contextmanager
def quietly() -> Iterator[None]:
    """Pillow warns over several lines of sizes, which `read` refuses, and of metadata."""
    with catch_warnings(action="ignore"):
        yield


def as_shown(image: Picture) -> Picture:
    """`image` upright, in 8-bit RGB, on white paper where it is transparent."""
    width, height = image.size
    if not 0 < width * height <= MOST_PIXELS:
        millions = MOST_PIXELS // 1_000_000
        raise ValueError(f"{width} x {height} pixels, allowed: 1 to {millions} million")
    _bring_key_to_eight_bits(image)
    image.load()
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    image = _upright(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, PAPER)
        return Image.alpha_composite(paper, image).convert("RGB")
    if image.mode == "LAB":
        lab = createProfile("LAB")
        shown: Any = profileToProfile(image, lab, createProfile("sRGB"), outputMode="RGB")
        return shown
    return image.convert("RGB")


def fit(image: Picture, width: int, height: int) -> Picture:
    """`image` at that size, in training and in answers: the shorter side, then the centre."""
    if image.size == (width, height):
        return image
    return ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)


def _bring_key_to_eight_bits(image: Picture) -> None:
    """PNG names a transparent value in the depth of the file, and Pillow leaves it there."""
    match image:
        case PngImageFile(tile=[(*_, depth), *_], info={"transparency": key} as info):
            if isinstance(key, int) and depth in WHITES:
                info["transparency"] = key * WHITES[depth]
            if isinstance(key, tuple) and depth == "RGB;16B":
                info["transparency"] = tuple(part >> 8 for part in key)


def _upright(image: Picture) -> Picture:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a viewer shows a picture whose EXIF data are damaged as it is stored
        return image


def _eight_bits(image: Picture) -> Picture:
    """Grey of 16 bits (I;16), of 32 (I) and in floats from 0 to 1 (F) as grey of 8."""
    values = np.asarray(image)
    low = values.min()
    high = values.max()
    tags = getattr(image, "tag_v2", {})  # of TIFF
    bits = tags.get(BITS, (16,))[0]
    within = bits != 16 or -32_768 <= low <= high <= 65_535  # else it is in no file
    if image.mode == "F":
        within = 0 <= low <= high <= 1
        shown = (values.clip(0, 1) * 255).round()
    elif tags.get(SAMPLES, (UNSIGNED,))[0] == UNSIGNED:
        shown = values.astype(np.int64) % 2**bits >> (bits - 8)  # Pillow's 32 bits have a sign
    else:
        shown = values.clip(0) >> (bits - 9)
    flat = bits > 16 and low < high and not np.ptp(shown)
    if flat or not within:
        found = f"{bits}-bit values from {low:g} to {high:g}"
        raise ValueError(f"{found}: save it with 8 or 16 bits a value")
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        shown = 255 - shown
    grey = Image.fromarray(shown.astype(np.uint8))
    key = image.info.get("transparency")  # the value that is transparent
    if isinstance(key, int):
        grey.putalpha(Image.fromarray(values != key))
    grey.getexif().update(image.getexif())
    return grey
