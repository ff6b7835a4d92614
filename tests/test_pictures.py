"""Every mode that a supported file can have, as 8-bit RGB: as a viewer shows it."""

import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from PIL import Image, ImageCms

from nascore import pictures
from nascore.errors import UserError
from nascore.pictures import read

CASES = Path(__file__).parents[2] / "shared" / "cases" / "make.py"
RAMP = np.tile(np.arange(8, dtype=np.uint8) * 32, (8, 1))  # dark on the left
GREY = Image.fromarray(RAMP)
OPAQUE = RAMP >= 128  # the right half
ON_WHITE = np.where(OPAQUE, RAMP, 255)


def shown(path):
    """(H, W, 3)"""
    image = read(path)
    assert image.mode == "RGB"
    return np.asarray(image)


def saved(image, path, **options):
    image.save(path, **options)
    return path


def grey(values):
    return np.stack([values] * 3, 2)


def half_clear():
    image = GREY.convert("RGBA")
    image.putalpha(Image.fromarray(OPAQUE.astype(np.uint8) * 255))
    return image


def to_lab(image):
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.profileToProfile(image, *profiles, outputMode="LAB")


def deep(kind):
    return Image.fromarray(RAMP.astype(np.uint16) << 8 if kind == "I;16" else RAMP.astype(np.int32) << 23)


MODES = {
    "L": lambda: GREY,
    "LA": lambda: GREY.convert("LA"),
    "P": lambda: GREY.convert("P"),
    "PA": lambda: GREY.convert("PA"),
    "RGB": lambda: GREY.convert("RGB"),
    "RGBA": lambda: GREY.convert("RGBA"),
    "RGBX": lambda: GREY.convert("RGBX"),
    "CMYK": lambda: GREY.convert("CMYK"),
    "YCbCr": lambda: GREY.convert("YCbCr"),
    "LAB": lambda: to_lab(GREY.convert("RGB")),
    "I;16": lambda: deep("I;16"),
    "I": lambda: deep("I"),
    "F": lambda: Image.fromarray((RAMP / 255).astype(np.float32)),
}
FILES = {
    "png": ("L", "LA", "P", "RGB", "RGBA", "I;16"),
    "jpg": ("L", "RGB", "CMYK", "YCbCr"),
    "webp": ("L", "RGB", "RGBA"),
    "bmp": ("L", "P", "RGB", "RGBA"),
    "gif": ("L", "P", "RGB"),
    "tif": ("L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"),
}


@pytest.mark.parametrize("suffix, mode", [(suffix, mode) for suffix, modes in FILES.items() for mode in modes])
def test_every_mode_of_every_format_is_shown_alike(tmp_path, suffix, mode):
    options = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(suffix, {})
    found = shown(saved(MODES[mode](), tmp_path / f"x.{suffix}", **options))
    assert abs(found.astype(int) - grey(RAMP)).max() <= (3 if suffix == "jpg" else 2 if mode == "LAB" else 0)


def test_one_bit_is_black_and_white(tmp_path):
    bits = Image.fromarray(OPAQUE)
    assert bits.mode == "1"
    for suffix in ("png", "bmp", "gif", "tif"):
        assert (shown(saved(bits, tmp_path / f"x.{suffix}")) == grey(OPAQUE * 255)).all()


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "gif"])
def test_what_is_transparent_shows_white_paper(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    assert (shown(saved(half_clear(), tmp_path / f"x.{suffix}", **options)) == grey(ON_WHITE)).all()


def test_transparency_by_degrees(tmp_path):
    image = Image.new("RGBA", (8, 8), (100, 0, 200, 51))  # a fifth of the colour, four fifths of white
    assert shown(saved(image, tmp_path / "x.png"))[0, 0].tolist() == [224, 204, 244]


def png(rows, depth, colour, *chunks):
    """A PNG by hand: kinds that Pillow cannot write. Colour 0 grey, 2 RGB, 3 palette, 4 with
    alpha."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 8, 8, depth, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [(b"IHDR", head), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


SIXTEEN = [k << 13 for k in range(8)]
TWO_BITS = [bytes([0b00011011, 0b00011011])] * 8


@pytest.mark.parametrize(
    "data, first_row",
    [
        (png([struct.pack(">8H", *SIXTEEN)] * 8, 16, 0), RAMP[0]),
        (png([struct.pack(">24H", *np.repeat(SIXTEEN, 3))] * 8, 16, 2), RAMP[0]),
        (png(TWO_BITS, 2, 0), [0, 85, 170, 255] * 2),
        (
            png(TWO_BITS, 2, 3, (b"PLTE", bytes([9] * 3 + [8] * 3 + [7] * 3 + [6] * 3))),
            [9, 8, 7, 6] * 2,
        ),
        # One value is transparent: tRNS, in the depth of the file.
        (
            png([struct.pack(">8H", *SIXTEEN)] * 8, 16, 0, (b"tRNS", struct.pack(">H", 1 << 13))),
            [0, 255, *RAMP[0, 2:]],
        ),
        (
            png(
                [struct.pack(">24H", *np.repeat(SIXTEEN, 3))] * 8,
                16,
                2,
                (b"tRNS", struct.pack(">3H", *[1 << 13] * 3)),
            ),
            [0, 255, *RAMP[0, 2:]],
        ),
        (png(TWO_BITS, 2, 0, (b"tRNS", struct.pack(">H", 1))), [0, 255, 170, 255] * 2),
        (
            png([bytes(range(8))] * 8, 8, 0, (b"tRNS", struct.pack(">H", 3))),
            [0, 1, 2, 255, 4, 5, 6, 7],
        ),
        (png([bytes([0b00110011])] * 8, 1, 0, (b"tRNS", struct.pack(">H", 0))), [255] * 8),
        (
            png(
                TWO_BITS,
                2,
                3,
                (b"PLTE", bytes([9] * 3 + [8] * 3 + [7] * 3 + [6] * 3)),
                (b"tRNS", bytes([255, 0])),
            ),
            [9, 255, 7, 6] * 2,
        ),
    ],
)
def test_depths_and_keys_of_png(tmp_path, data, first_row):
    (tmp_path / "x.png").write_bytes(data)
    assert shown(tmp_path / "x.png")[0, :, 0].tolist() == list(first_row)


def tiff(values, bits, **tags):
    """A grey TIFF by hand, little-endian, one strip."""
    data = values.tobytes()
    known = {
        "width": 256,
        "height": 257,
        "bits": 258,
        "compression": 259,
        "photometric": 262,
        "strip": 273,
    }
    known |= {"samples": 277, "rows": 278, "bytes": 279, "format": 339}
    fields = {
        "width": 8,
        "height": 8,
        "bits": bits,
        "compression": 1,
        "photometric": 1,
        "strip": 8,
        "samples": 1,
    }
    fields |= {"rows": 8, "bytes": len(data), "format": 1} | tags
    entries = b"".join(struct.pack("<HHII", known[name], 4, 1, value) for name, value in fields.items())
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(fields)) + entries + bytes(4)


@pytest.mark.parametrize(
    "values, bits, tags, expected",
    [
        (RAMP.astype("<u2") << 8, 16, {}, RAMP),
        (RAMP.astype("<u2") << 8, 16, {"photometric": 0}, 255 - RAMP),  # white is zero
        (RAMP.astype("<i2") << 7, 16, {"format": 2}, RAMP),  # with a sign
        (RAMP.astype("<u4") << 24, 32, {}, RAMP),
        (RAMP.astype("<i4") << 23, 32, {"format": 2}, RAMP),
        ((RAMP / 255).astype("<f4"), 32, {"format": 3}, RAMP),
        ((RAMP / 255).astype("<f4"), 32, {"format": 3, "photometric": 0}, 255 - RAMP),
        (RAMP, 8, {"photometric": 0}, 255 - RAMP),
    ],
)
def test_what_a_number_means_in_a_tiff(tmp_path, values, bits, tags, expected):
    (tmp_path / "x.tif").write_bytes(tiff(values, bits, **tags))
    assert (shown(tmp_path / "x.tif") == grey(expected)).all()


@pytest.mark.parametrize("values", [RAMP.astype(np.float32), RAMP.astype(np.int32)])
def test_numbers_without_a_scale_are_refused_and_not_all_one_colour(tmp_path, values):
    with pytest.raises(UserError, match="32-bit values from 0 to 224: save it with 8 or 16 bits"):
        read(saved(Image.fromarray(values), tmp_path / "x.tif"))


TURNS = {
    1: None,
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_90",
}
TURNS |= {7: "TRANSVERSE", 8: "ROTATE_270"}  # what a camera did that wrote this number


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(tmp_path, suffix, orientation):
    scene = np.arange(8 * 16, dtype=np.uint8).reshape(8, 16) * 2
    image, turn = Image.fromarray(scene).convert("RGB"), TURNS[orientation]
    stored = image if turn is None else image.transpose(Image.Transpose[turn])
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(suffix, {})
    found = shown(saved(stored, tmp_path / f"x.{suffix}", exif=exif, **options))
    assert found.shape == (8, 16, 3) and abs(found.astype(int) - grey(scene)).max() <= 4 * (suffix == "jpg")


def test_a_deep_picture_stands_upright_too(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in ("png", "tif"):
        stored = deep("I;16").transpose(Image.Transpose.ROTATE_90)
        assert (shown(saved(stored, tmp_path / f"x.{suffix}", exif=exif)) == grey(RAMP)).all()


def test_damaged_metadata_do_not_matter(tmp_path):
    for exif in (b"Exif\0\0rubbish", b"", b"Exif\0\0II*\0\xff\xff\xff\xff"):
        found = shown(saved(GREY.convert("RGB"), tmp_path / "x.png", exif=exif))
        assert (found == grey(RAMP)).all()


def test_of_several_pictures_it_is_the_first(tmp_path):
    others = [Image.new("L", (8, 8), 255)]
    for suffix in ("gif", "tif", "webp", "png"):
        options = {"lossless": True} if suffix == "webp" else {}
        path = saved(GREY, tmp_path / f"x.{suffix}", save_all=True, append_images=others, **options)
        assert (shown(path) == grey(RAMP)).all()


def test_the_cases_are_what_they_should_be(tmp_path):
    if not CASES.exists():
        pytest.skip("no ../shared/cases/make.py")
    subprocess.run([sys.executable, CASES, tmp_path], check=True)
    train = tmp_path / "images" / "train"
    turned = shown(train / "a" / "turned.jpg").astype(int)
    assert (turned[:3, :, 0] > 200).all() and (turned[5:, :, 2] > 200).all() and (turned[5:, :, 0] < 60).all()
    assert shown(train / "a" / "deep.png")[0, :, 0].tolist() == [0, 32, 64, 96, 128, 160, 192, 224]
    drawing = shown(train / "b" / "drawing.png")
    assert (drawing[2:6, 3:5] == 0).all() and drawing[0, 0].tolist() == [255] * 3 and drawing.min() < drawing.max()


def picture_files(folder):
    for suffix, modes in FILES.items():
        for mode in modes:
            yield saved(MODES[mode](), folder / f"{mode.replace(';', '')}.{suffix}")
    sixteen = RAMP.astype("<u2") << 8
    deep = {
        "white.tif": tiff(sixteen, 16, photometric=0),
        "sign.tif": tiff(sixteen >> 1, 16, format=2),
    }
    for mark in test_depths_and_keys_of_png.pytestmark:
        deep |= {f"{k}.png": data for k, (data, _) in enumerate(mark.args[1])}
    for name, data in deep.items():
        (folder / name).write_bytes(data)
        yield folder / name
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in ("jpg", "png", "tif"):
        yield saved(GREY.convert("RGB"), folder / f"turned.{suffix}", exif=exif)


def test_a_picture_that_pillow_has_opened_is_read_as_its_file_is_and_more_than_once(tmp_path):
    for path in picture_files(tmp_path):
        with Image.open(path) as image:
            for _ in range(2):
                assert (shown(image) == shown(path)).all(), path.name


def test_a_picture_in_hand_is_looked_at_by_one_thread_at_a_time(tmp_path, monkeypatch):
    path, looking, real = saved(GREY, tmp_path / "x.png"), [], pictures.as_shown

    def slowly(image):
        looking.append(image)
        Event().wait(0.01)  # in which the others would come
        assert len(looking) == 1
        found = real(image)
        looking.clear()
        return found

    monkeypatch.setattr(pictures, "as_shown", slowly)
    with ThreadPoolExecutor(4) as pool, Image.open(path) as image:
        found = list(pool.map(shown, [image] * 4))
    assert all((one == grey(RAMP)).all() for one in found)


def closed(path):
    image = Image.open(path)
    image.close()
    return image


def truncated(path):
    path.write_bytes(path.read_bytes()[:-30])
    return Image.open(path)


NO_PICTURES = {
    "closed": (closed, "x.png is not an image"),
    "truncated": (truncated, "x.png is not an image that can be read"),
    "a mode": (
        lambda _: Image.new("La", (8, 8)),
        "the PIL image is not an image that can be read .*La",
    ),
    "empty": (lambda _: Image.new("RGB", (0, 8)), "0 x 8 pixels, allowed: 1 to 64 million"),
    "deep": (
        lambda _: Image.fromarray(np.full((8, 8), 70_000, np.int32)),
        "16-bit values from 70000 to 70000",
    ),
}


@pytest.mark.parametrize("name", NO_PICTURES)
def test_what_pillow_holds_and_cannot_show_is_one_line(tmp_path, name):
    make, said = NO_PICTURES[name]
    image = make(saved(GREY, tmp_path / "x.png"))
    with pytest.raises(UserError, match=said) as caught:
        read(image)
    assert "\n" not in str(caught.value)


def test_rubbish_of_any_kind_is_one_line(tmp_path):
    dice = np.random.default_rng(0)
    whole = {suffix: saved(GREY.convert("RGB"), tmp_path / f"x.{suffix}").read_bytes() for suffix in FILES}
    for suffix, data in whole.items():
        for _ in range(60):
            spoiled = bytearray(data)
            for place in dice.integers(0, len(data), 3):
                spoiled[place] = dice.integers(256)
            path = tmp_path / f"spoiled.{suffix}"
            path.write_bytes(bytes(spoiled[: dice.integers(1, len(data) + 1)]))
            try:
                assert read(path).mode == "RGB"
            except UserError as error:
                assert str(path) in str(error) and "\n" not in str(error)
