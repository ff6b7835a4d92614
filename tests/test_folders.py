"""A folder of the user's own images: layouts, what is left out, splits, and a cache that is never
stale."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nascore import cache, folders, pictures
from nascore.data import load
from nascore.errors import UserError

CASES = Path(__file__).parents[2] / "shared" / "cases" / "make.py"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Not the one of whoever runs the tests."""
    place = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    return place


def folder_of(folder, sizes=((8, 8),), count=4, classes=("a", "b", "c"), parts=("train", "test")):
    dice = np.random.default_rng(0)
    for part in parts:
        for label, name in enumerate(classes):
            (folder / part / name).mkdir(parents=True, exist_ok=True)
            for k in range(count):
                width, height = sizes[k % len(sizes)]
                pixels = dice.integers(0, 60, (height, width, 3)) + 60 * (label % 4)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / part / name / f"{k}.png")
    return folder


def pixels_of(path):
    return np.asarray(Image.open(path)).tobytes()


def found(images, part):
    """pixels -> class"""
    pixels, labels = getattr(images, part), getattr(images, f"{part}_labels")
    pairs = zip(pixels, labels)
    return {x.permute(1, 2, 0).contiguous().numpy().tobytes(): images.classes[y] for x, y in pairs}


# --- layouts --------------------------------------------------------------------------------------------------------


def test_a_folder_is_loaded_pixel_by_pixel_with_its_labels(tmp_path):
    images = load(folder_of(tmp_path))
    assert images.classes == ("a", "b", "c") and images.padding == 1 and images.flip and images.valid is None
    for part in ("train", "test"):
        files = {pixels_of(p): p.parent.name for p in (tmp_path / part).rglob("*.png")}
        assert found(images, part) == files and len(getattr(images, part)) == len(files) == 12
    assert images.train_labels.tolist() != sorted(images.train_labels.tolist())  # mixed: a cut is a fair split


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val", "dev"])
def test_a_validation_part_is_what_a_search_validates_on(tmp_path, name):
    folder_of(tmp_path, parts=("train", name, "test"))
    images = load(tmp_path)
    assert len(images.train) == len(images.valid) == len(images.test) == 12
    split = images.validation_split(0.5)
    assert len(split.test) == 0 and len(split.train) == 12
    files = {pixels_of(p): p.parent.name for p in (tmp_path / name).rglob("*.png")}
    assert found(split, "valid") == files
    shutil.rmtree(tmp_path / "test")  # instead of a test, it is the test
    images = load(tmp_path)
    assert images.valid is None and found(images, "test") == files
    assert len(images.validation_split(0.5).valid) == 6


def test_a_flat_folder_of_classes_is_split_class_by_class_whatever_the_seed(tmp_path, capsys):
    folder_of(tmp_path, parts=(".",), count=10)
    images, again = load(tmp_path), load(tmp_path)
    assert "no train/ and test/" in capsys.readouterr().err
    assert same(load(tmp_path, quiet=True), images) and capsys.readouterr().err == ""
    assert np.bincount(images.train_labels).tolist() == [8] * 3 and np.bincount(images.test_labels).tolist() == [2] * 3
    assert images.test.equal(again.test) and images.train_labels.equal(again.train_labels)
    both = found(images, "train") | found(images, "test")
    assert both == {pixels_of(p): p.parent.name for p in tmp_path.rglob("*.png")} and len(both) == 30
    copy = tmp_path.parent / "elsewhere"
    shutil.copytree(tmp_path, copy)
    assert load(copy).test.equal(images.test)  # nor does it depend on the place


def test_a_class_may_be_called_train(tmp_path):
    images = load(folder_of(tmp_path, parts=(".",), classes=("bus", "car", "train"), count=5))
    assert images.classes == ("bus", "car", "train") and len(images.train) == 12


def test_classes_are_in_natural_order_and_written_down(tmp_path):
    names = ("1", "2", "10", "a2", "a10", "b")
    images = load(folder_of(tmp_path, classes=names))
    assert images.classes == names
    assert images.fingerprint()["classes"] == list(names)


LAYOUTS = [
    (["train/a/0.png", "train/b/0.png"], "found train/ alone, allowed: FOLDER/train/CLASS/"),
    (["test/a/0.png", "test/b/0.png"], "found test/ alone, allowed: FOLDER/train/CLASS/"),
    (
        ["train/0.png", "test/0.png"],
        "train holds no folder of a class, allowed: FOLDER/train/CLASS/",
    ),
    (["0.png", "1.png"], "holds no folder of a class, allowed: FOLDER/train/CLASS/"),
    (["data/train/a/0.png", "data/train/b/0.png"], "at least 2 (FOLDER/train/CLASS/*.jpg and"),
    (
        ["train/a/0.png", "train/b/0.png", "test/c/0.png"],
        "test: found 'c', allowed: those in train/: a, b",
    ),
    (
        ["train/a/0.png", "train/b/notes.txt", "test/a/0.png"],
        "b: found 'no images but 1 .txt', allowed: .jpg, ",
    ),
    (["train/a/0.png", "Train/b/0.png", "test/a/0.png"], "the train part of"),
    (["a/0.png", "b/0.png", "b/1.png"], "images of class 0 in"),
]


@pytest.mark.parametrize("files, said", LAYOUTS)
def test_a_wrong_layout_gets_a_line_that_shows_the_right_one(tmp_path, files, said):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".png"):
            Image.new("RGB", (8, 8)).save(tmp_path / name)
        else:
            (tmp_path / name).write_text("words")
    with pytest.raises(UserError) as caught:
        load(tmp_path)
    assert said in str(caught.value) and "\n" not in str(caught.value)


# --- what is read, and what is not ----------------------------------------------------------------------------------


def test_suffixes_of_all_kinds_are_read_and_nested_folders_too(tmp_path, capsys):
    folder_of(tmp_path, count=1, classes=("a", "b"))
    for k, name in enumerate(("x.JPG", "x.jpeg", "x.PNG", "x.webp", "x.bmp", "x.tif", "x.TIFF", "x.gif")):
        place = tmp_path / "train" / "a" / "more" / f"level {k}"
        place.mkdir(parents=True)
        Image.new("RGB", (8, 8), (k, k, k)).save(place / name)
    images = load(tmp_path)
    assert np.bincount(images.train_labels).tolist() == [9, 1]
    assert capsys.readouterr().err == ""


def test_what_is_left_out_is_counted_in_one_line_and_what_a_system_leaves_is_not(tmp_path, capsys):
    folder_of(tmp_path, classes=("a", "b"))
    a = tmp_path / "train" / "a"
    for name in ("1.heic", "2.heic", "3.heic", "notes.txt", "README"):
        (a / name).write_bytes(b"something")
    for name in ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini", ".hidden.png"):
        (a / name).write_bytes(b"something")
    (a / "empty.png").touch()
    for name in ("__MACOSX", ".git"):
        (tmp_path / "train" / name).mkdir()
        (tmp_path / "train" / name / "0.png").write_bytes(b"no image")
    (tmp_path / "train" / "loose.png").write_bytes(b"no image either")
    images = load(tmp_path)
    assert images.classes == ("a", "b") and len(images.train) == 8
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "6 files left out: 3 .heic, 1 beside the classes" in said and "1 .txt" in said and "without a suffix" in said


def test_the_listing_of_the_cases_is_read(tmp_path, capsys):
    if not CASES.exists():
        pytest.skip("no ../shared/cases/make.py")
    subprocess.run([sys.executable, CASES, tmp_path], check=True)
    images = load(tmp_path / "listing")
    assert images.classes == ("1", "2", "10") and len(images.train) == 21  # (six suffixes, one nested) x 3
    assert "6 files left out: 6 .txt" in capsys.readouterr().err


def test_a_link_in_a_circle_ends(tmp_path):
    folder_of(tmp_path, classes=("a", "b"))
    (tmp_path / "train" / "a" / "again").symlink_to(tmp_path / "train" / "a")
    (tmp_path / "train" / "a" / "up").symlink_to(tmp_path / "train")
    assert np.bincount(load(tmp_path).train_labels)[1] == 4


def make_fifo(path):
    os.mkfifo(path)


def link_to_a_device(path):
    path.symlink_to("/dev/zero")


def link_in_a_circle(path):
    path.symlink_to(path)


def link_to_nothing(path):
    path.symlink_to(path.with_name("gone"))


def postscript(path):
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(x) show\n")


def text(path):
    path.write_text("words")


def half(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])


def enormous(path):
    Image.new("1", (10_000, 10_000)).save(path)


@pytest.mark.parametrize(
    "make",
    [
        make_fifo,
        link_to_a_device,
        link_in_a_circle,
        link_to_nothing,
        postscript,
        text,
        half,
        enormous,
    ],
)
def test_a_file_that_is_called_an_image_and_is_none_is_one_line_and_nothing_hangs(tmp_path, make):
    folder_of(tmp_path, classes=("a", "b"))
    bad = tmp_path / "train" / "a" / "bad.png"
    make(bad)
    with pytest.raises(
        UserError, match="is not an image that can be read .*: mend or remove it; allowed: JPEG"
    ) as caught:
        load(tmp_path)
    assert str(bad) in str(caught.value) and "\n" not in str(caught.value)


def test_other_programs_are_never_started(tmp_path, monkeypatch):
    """An EPS called .png starts Ghostscript if one lets Pillow choose the format."""
    monkeypatch.setattr(subprocess, "Popen", None)
    monkeypatch.setattr(os, "system", None)
    folder_of(tmp_path, classes=("a", "b"))
    for suffix in pictures.SUFFIXES:
        postscript(tmp_path / "train" / "a" / f"bad{suffix}")
        with pytest.raises(UserError, match="is not an image"):
            load(tmp_path)
        (tmp_path / "train" / "a" / f"bad{suffix}").unlink()


# --- sizes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sizes, said",
    [
        (((8, 8), (12, 12)), "8x8 to 12x12 pixels: all are resized to 32x32"),
        (((40, 20),), "40x20 pixels: all are resized to 32x32"),
        (((9, 9),), "9x9 pixels: all are resized to 32x32"),
        (((400, 400),), "400x400 pixels: all are resized to 32x32"),
        (((8, 8),), None),
        (((64, 64),), None),
    ],
)
def test_images_that_are_not_alike_are_resized_and_that_is_said(tmp_path, capsys, sizes, said):
    images = load(folder_of(tmp_path, sizes, count=2))
    errors = capsys.readouterr().err
    if said is None:
        assert errors == "" and images.train.shape[-1] == sizes[0][0]
    else:
        assert said in errors and errors.count("\n") == 1 and images.train.shape[1:] == (3, 32, 32)
        load(tmp_path)
        assert capsys.readouterr().err == ""  # from the cache


def test_a_size_that_is_asked_for_is_made_of_the_shorter_side_and_the_centre(tmp_path, capsys):
    for part in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            wide = np.zeros((20, 60, 3), np.uint8)
            wide[:, 20:40] = 200  # the centre alone is kept
            Image.fromarray(wide).save(tmp_path / part / name / "0.png")
    images = load(tmp_path, image_size=10, flip=False)
    assert images.train.shape == (2, 3, 10, 10) and (images.train[:, :, :, 2:-2] == 200).all()
    assert not images.flip and images.padding == 1 and capsys.readouterr().err == ""
    assert load(tmp_path, image_size=20).train.shape[-1] == 20  # a cache of its own
    assert load("digits", image_size=12).train.shape == (1437, 1, 12, 12)
    for size in (3, 513, 2.5, "x", True):
        with pytest.raises(UserError, match="--image-size: found .*, allowed: a whole number from 4 to 512"):
            load(tmp_path, image_size=size)


# --- the cache ------------------------------------------------------------------------------------------------------


def same(one, two):
    tensors = ("train", "train_labels", "test", "test_labels")
    rest = ("classes", "mean", "std", "padding", "flip")
    return all(getattr(one, k).equal(getattr(two, k)) for k in tensors) and all(
        getattr(one, k) == getattr(two, k) for k in rest
    )


@pytest.fixture
def reads(monkeypatch):
    """The pictures that are read from here on."""
    calls, real = [], folders.read
    monkeypatch.setattr(folders, "read", lambda path: (calls.append(path), real(path))[1])
    return calls


def test_a_second_load_reads_the_cache_which_is_not_among_the_images(tmp_path, reads, own_cache, monkeypatch):
    before = sorted(folder_of(tmp_path / "images").rglob("*"))
    first = load(tmp_path / "images")
    assert len(reads) == 24 and sorted((tmp_path / "images").rglob("*")) == before
    assert [p.suffix for p in (own_cache / "nascore" / "folders").iterdir()] == [".npz"]
    monkeypatch.chdir(tmp_path)
    for name in (tmp_path / "images", "images", "./images/", "images/../images"):
        assert same(load(name), first) and len(reads) == 24
    (tmp_path / "link").symlink_to("images")
    assert same(load("link"), first) and len(reads) == 24


def a_file_more(folder):
    shutil.copy(folder / "test" / "a" / "0.png", folder / "test" / "b" / "new.png")


def a_file_less(folder):
    (folder / "train" / "c" / "0.png").unlink()


def a_class_more(folder):
    folder_of(folder, classes=("a", "b", "c", "d"))


def renamed(folder):
    for part in ("train", "test"):
        (folder / part / "a").rename(folder / part / "z")


def changed_in_place(folder):
    (folder / "test" / "a" / "0.png").write_bytes((folder / "test" / "b" / "0.png").read_bytes())


def copied_over_with_its_times(folder):
    shutil.copy2(folder / "test" / "b" / "0.png", folder / "other.png")
    old = os.stat(folder / "test" / "a" / "0.png")
    os.utime(folder / "other.png", ns=(old.st_atime_ns, old.st_mtime_ns))
    shutil.copy2(folder / "other.png", folder / "test" / "a" / "0.png")  # as cp -p does


def classes_exchanged(folder):
    for old, new in (("a", "x"), ("b", "a"), ("x", "b")):
        (folder / "train" / old).rename(folder / "train" / new)


def behind_a_link(folder):
    (folder / "outside.png").write_bytes((folder / "test" / "b" / "1.png").read_bytes())


CHANGES = [
    a_file_more,
    a_file_less,
    a_class_more,
    renamed,
    changed_in_place,
    copied_over_with_its_times,
    classes_exchanged,
    behind_a_link,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_folder_that_changed_is_read_again(tmp_path, reads, change):
    folder_of(tmp_path)
    (tmp_path / "outside.png").write_bytes((tmp_path / "test" / "a" / "0.png").read_bytes())
    (tmp_path / "test" / "a" / "link.png").symlink_to(tmp_path / "outside.png")
    load(tmp_path)
    reads.clear()
    change(tmp_path)
    images = load(tmp_path)
    assert reads
    for part in ("train", "test"):
        files = Counter(p.parent.name for p in (tmp_path / part).rglob("*.png"))
        labels = Counter(images.classes[y] for y in getattr(images, f"{part}_labels"))
        assert labels == files
        of_files = {pixels_of(p): p.parent.name for p in (tmp_path / part).rglob("*.png")}
        assert found(images, part).keys() == of_files.keys()
    if change is classes_exchanged:
        assert found(images, "train") == {pixels_of(p): p.parent.name for p in (tmp_path / "train").rglob("*.png")}


def test_two_folders_that_exchange_their_names_are_read_again(tmp_path):
    for name, classes in (("one", ("a", "b")), ("two", ("c", "d"))):
        folder_of(tmp_path / name, classes=classes)
    one, two = load(tmp_path / "one"), load(tmp_path / "two")
    for old, new in (("one", "x"), ("two", "one"), ("x", "two")):
        (tmp_path / old).rename(tmp_path / new)
    assert same(load(tmp_path / "one"), two) and same(load(tmp_path / "two"), one)


def test_a_damaged_cache_is_made_anew_and_a_flipped_bit_is_noticed(tmp_path, reads, own_cache):
    first = load(folder_of(tmp_path))
    (cache,) = (own_cache / "nascore" / "folders").iterdir()
    whole = cache.read_bytes()
    wrong = [b"", b"rubbish", whole[: len(whole) // 2], whole[:-200] + bytes(200)]
    dice = np.random.default_rng(0)
    for place in dice.integers(0, len(whole), 40).tolist():
        wrong.append(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
    for content in wrong:
        cache.write_bytes(content)
        assert same(load(tmp_path), first)
    cache.write_bytes(whole)
    reads.clear()
    assert same(load(tmp_path), first) and not reads


def test_a_cache_with_other_arrays_is_not_believed(tmp_path, own_cache):
    first = load(folder_of(tmp_path))
    (cache,) = (own_cache / "nascore" / "folders").iterdir()
    with np.load(cache) as stored:
        kept = dict(stored)
    assert "train_labels" not in kept  # they follow from the names of the files
    for change in (
        {"train": kept["train"][:-1]},
        {"train": kept["train"].astype(np.float32)},
        {"train": kept["train"][:, :1]},
        {"train": kept["train"][0]},
        {"test": kept["test"][..., :4]},
        {"about": np.array("not JSON")},
        {"about": np.array('{"format": 99, "stamp": ""}')},
    ):
        np.savez(cache, **kept | change)
        assert same(load(tmp_path), first)


def test_a_cache_that_cannot_be_written_is_said_and_the_images_are_loaded(tmp_path, capsys, monkeypatch):
    def read_only(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(cache, "write_whole", read_only)
    assert len(load(folder_of(tmp_path)).train) == 12
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "cannot write the cache" in said and "(Read-only file system)" in said


def test_a_folder_may_be_named_by_a_path_or_a_string(tmp_path, monkeypatch):
    folder_of(tmp_path / "digits")  # next to a built-in name, the folder needs its slash
    monkeypatch.chdir(tmp_path)
    assert len(load("digits").classes) == 10
    assert len(load("./digits").classes) == len(load(tmp_path / "digits").classes) == 3


def test_a_folder_without_permission_is_one_line(tmp_path, monkeypatch):
    folder_of(tmp_path)
    real = os.scandir

    def denied(place):
        if str(place).endswith("b"):
            raise PermissionError(13, "Permission denied", str(place))
        return real(place)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(UserError, match=r"train/b: Permission denied$"):
        load(tmp_path)


def test_images_in_no_part_are_counted_and_links_upwards_bring_nothing(tmp_path, capsys):
    folder = tmp_path / "im"
    folder_of(folder)
    shutil.copytree(folder / "test", folder / "extra")
    for k in range(3):
        shutil.copy(next((folder / "train").rglob("*.png")), folder / f"{k}.png")
    first = next((folder / "train").iterdir())
    (first / "up").symlink_to("..")
    (first / "further").symlink_to(tmp_path)
    before = len(list((folder / "train").glob("*/*.png")))
    listing = folders.listing_of(folder)
    assert len(listing.parts["train"]) == before
    said = capsys.readouterr().err
    assert "3 beside train/ and test/" in said and "in extra/" in said and said.count("\n") == 1


def test_a_class_may_be_called_by_any_digit(tmp_path):
    folder_of(tmp_path / "im", classes=("²", "③", "٣"))
    assert len(folders.listing_of(tmp_path / "im").classes) == 3
    assert sorted(["10", "²", "9"], key=folders.natural)[:2] == ["9", "10"]
