"""Loading, splitting and augmenting, pixel by pixel."""

import shutil
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision.transforms.functional as TF
from PIL import Image
from torch.testing import assert_close

from nascore import data
from nascore.data import STATISTICS, Images, load
from nascore.errors import UserError
from nascore.images import Batches, cut_out
from nascore.seeding import generator

ARCHIVE = Path(__file__).parents[2] / "shared" / "data" / "cifar10-jpeg.tar.xz"


def noise(count=1, size=6, channels=3, padding=1, flip=True, seed=0):
    """Images in which no two pixels are alike within a channel, normalised to their own bytes."""
    random = torch.Generator().manual_seed(seed)
    rows = [torch.randperm(255, generator=random)[: size * size] + 1 for _ in range(count * channels)]
    pixels = torch.stack(rows).to(torch.uint8).view(count, channels, size, size)
    labels = torch.arange(count)
    zero, one = (0.0,) * channels, (1 / 255,) * channels
    return Images("noise", pixels, labels, pixels, labels, tuple(map(str, labels)), zero, one, padding, flip)


# --- augmentation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding, flip", [(1, True), (2, True), (1, False), (0, True)])
def test_every_crop_is_one_that_torchvision_would_make_and_all_come_equally_often(padding, flip):
    images = noise(padding=padding, flip=flip)
    padded = TF.pad(images.train[0], [padding] * 4)
    allowed = {}
    for top in range(2 * padding + 1):
        for left in range(2 * padding + 1):
            crop = TF.crop(padded, top, left, 6, 6)
            for mirrored in (False, True)[: 1 + flip]:
                allowed[(TF.hflip(crop) if mirrored else crop).numpy().tobytes()] = (top, left, mirrored)
    ways, draws = (2 * padding + 1) ** 2 * (1 + flip), 20_000
    assert len(allowed) == ways
    batches = Batches(images, 1, 0, "test")
    crops = batches.crop(torch.zeros(draws, dtype=torch.long), generator("crops"))
    counts = Counter(allowed[crop.contiguous().numpy().tobytes()] for crop in crops)  # KeyError: no such crop
    assert len(counts) == ways
    expected = draws / ways
    chi_squared = sum((n - expected) ** 2 / expected for n in counts.values())
    assert chi_squared < ways - 1 + 5 * (2 * ways) ** 0.5  # mean and five standard deviations


def test_each_image_of_a_batch_is_cropped_and_mirrored_on_its_own():
    images = noise()
    crops = Batches(images, 1, 0, "test").crop(torch.zeros(64, dtype=torch.long), generator("crops"))
    assert len({crop.contiguous().numpy().tobytes() for crop in crops}) > 10


@pytest.mark.parametrize("length", [1, 2, 4, 16])
def test_cutout_is_one_square_clipped_at_the_border_with_a_uniform_centre(length):
    size, draws = 8, 4000
    batch = torch.ones(draws, 3, size, size)
    cut_out(batch, length, generator("cutout"))
    counts = Counter()
    squares = {}
    for y in range(size):
        for x in range(size):  # the reference implementation, centre by centre
            mask = np.ones((size, size), np.float32)
            y1, y2 = np.clip([y - length // 2, y + length // 2], 0, size)
            x1, x2 = np.clip([x - length // 2, x + length // 2], 0, size)
            mask[y1:y2, x1:x2] = 0
            squares.setdefault(mask.tobytes(), []).append((y, x))
    for image in batch:
        assert torch.equal(image[0], image[1]) and torch.equal(image[0], image[2])
        counts[image[0].contiguous().numpy().tobytes()] += 1
    assert set(counts) <= set(squares)
    for square, centres in squares.items():
        expected = draws * len(centres) / size**2
        assert abs(counts[square] - expected) < 6 * expected**0.5


def test_cutout_comes_after_normalisation_so_that_it_fills_with_the_mean():
    images = noise(count=4, size=8, padding=0, flip=False)
    images = Images(**{**vars(images), "mean": (0.5,) * 3})
    batch, labels = Batches(images, 4, 0, "test", cutout=4)[0]
    plain = images.normalise(images.train[labels])
    cut = batch == 0
    assert torch.equal(batch[~cut], plain[~cut])
    assert all(4 <= n <= 16 for n in cut[:, 0].sum((1, 2)).tolist())


def test_normalisation_is_that_of_torchvision_and_batches_are_channels_last():
    images = noise(count=5)
    images = Images(**{**vars(images), "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)})
    expected = TF.normalize(images.train.float() / 255, images.mean, images.std)
    assert_close(images.normalise(images.train), expected)
    batch, _ = Batches(images, 5, 0, "test")[0]
    assert batch.dtype == torch.float32 and batch.is_contiguous(memory_format=torch.channels_last)


# --- batches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "count, size, per_epoch, seen",
    [(12, 4, 3, 12), (13, 4, 3, 12), (14, 4, 4, 14), (3, 8, 1, 3), (8, 8, 1, 8), (9, 8, 1, 8), (1, 8, 1, 1)],
)
def test_an_epoch_sees_each_image_once_but_for_one_left_over(count, size, per_epoch, seen):
    batches = Batches(noise(count=count, padding=0, flip=False), size, 0, "test")
    assert batches.per_epoch == per_epoch
    orders = []
    for epoch in range(3):
        labels = [batches[epoch * per_epoch + k][1] for k in range(per_epoch)]
        assert all(len(part) == size for part in labels[:-1])
        orders.append(torch.cat(labels).tolist())
        assert len(orders[-1]) == len(set(orders[-1])) == seen
    assert count < 8 or orders[0] != orders[1] != orders[2]


def test_images_keep_their_labels():
    images = noise(count=20, padding=0, flip=False)
    batches = Batches(images, 6, 3, "test")
    for step in range(8):
        batch, labels = batches[step]
        assert_close(batch, images.train[labels].float(), atol=1e-4, rtol=0)


def test_a_batch_depends_on_seed_place_and_step_alone():
    images = noise(count=20)
    one, two = (Batches(images, 6, 3, "place", cutout=2) for _ in range(2))
    ahead = [one[step] for step in range(9)]
    for step in (8, 0, 5, 5, 3):  # in any order, and again
        assert all(torch.equal(a, b) for a, b in zip(two[step], ahead[step]))
    for other in (Batches(images, 6, 4, "place", cutout=2), Batches(images, 6, 3, "elsewhere", cutout=2)):
        assert not torch.equal(other[0][0], ahead[0][0])
    torch.manual_seed(1)  # the global generator neither matters nor moves
    before = torch.get_rng_state()
    assert torch.equal(one[0][0], ahead[0][0]) and torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_images_of_any_channels_are_made_larger_or_smaller_and_squared(channels):
    images = noise(count=3, size=6, channels=channels)
    wide = replace(images, train=F.pad(images.train, (4, 4)), valid=images.train, valid_labels=images.train_labels)
    other = load(wide, image_size=6)
    assert torch.equal(other.train, images.train) and torch.equal(other.valid, images.train)  # the centre
    for side in (4, 13):
        other = load(wide, image_size=side)
        assert other.train.shape == other.valid.shape == (3, channels, side, side) and other.padding == side // 8
        for k, planes in enumerate(other.test):
            for c, plane in enumerate(planes):
                alone = Image.fromarray(images.test[k, c].numpy())
                assert (plane.numpy() == np.asarray(alone.resize((side, side), Image.Resampling.BICUBIC))).all()


# --- splits ---------------------------------------------------------------------------------------------------------


def test_digits_has_1437_and_360_scans_with_every_class_in_proportion():
    images = load("digits")
    assert images.train.shape == (1437, 1, 8, 8) and images.test.shape == (360, 1, 8, 8)
    assert images.train.dtype == torch.uint8 and images.train_labels.dtype == torch.int64
    assert images.train.max() == 255 and images.train.min() == 0 and not images.flip
    counts = torch.bincount(images.train_labels) + torch.bincount(images.test_labels)
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert all(35 <= n <= 37 for n in torch.bincount(images.test_labels).tolist())
    normal = images.normalise(images.train)
    assert abs(normal.mean().item()) < 1e-5 and abs(normal.std().item() - 1) < 1e-5
    again = load("digits")
    assert torch.equal(images.train, again.train) and torch.equal(images.test_labels, again.test_labels)


def test_no_scan_is_in_two_parts():
    images = load("digits")
    halves = images.validation_split(0.5)
    parts = {name: {x.numpy().tobytes() for x in part} for name, part in (("a", halves.train), ("b", halves.valid))}
    test = {x.numpy().tobytes() for x in images.test}
    assert len(parts["a"]) + len(parts["b"]) + len(test) == 1797  # all scans differ
    assert not parts["a"] & parts["b"] and not parts["a"] & test and not parts["b"] & test


@pytest.mark.parametrize("portion, held_out", [(0.5, 718), (0.2, 287)])
def test_a_validation_split_cuts_the_training_images_and_shares_them_fairly(portion, held_out):
    images = load("digits")
    split = images.validation_split(portion)
    assert len(split.valid) == held_out and len(split.test) == 0 and len(split.train) == 1437 - held_out
    assert torch.equal(torch.cat([split.train, split.valid]), images.train)
    assert torch.equal(torch.cat([split.train_labels, split.valid_labels]), images.train_labels)
    share = torch.bincount(split.valid_labels, minlength=10) / torch.bincount(images.train_labels)
    assert (share - portion).abs().max() < 0.13


@pytest.mark.parametrize("portion, least", [(0.5, 4), (0.02, 75), (0.9, 16)])
def test_too_few_images_to_split_are_refused_and_the_line_says_how_many_would_do(portion, least):
    with pytest.raises(UserError, match=f"3 training images, too few to hold {portion:.0%} .* at least {least}$"):
        noise(count=3).validation_split(portion)
    halves = noise(count=least).validation_split(portion)
    assert min(len(halves.train), len(halves.valid)) == 2


# --- torchvision ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, fake, shape, padding, flip",
    [
        ("cifar10", lambda n: dict(data=np.zeros((n, 32, 32, 3), np.uint8), targets=[1] * n), (3, 32, 32), 4, True),
        ("fashion-mnist", lambda n: dict(data=torch.zeros(n, 28, 28, dtype=torch.uint8), targets=torch.ones(n)),
         (1, 28, 28), 3, True),
        ("svhn", lambda n: dict(data=np.zeros((n, 3, 32, 32), np.uint8), labels=np.ones(n)), (3, 32, 32), 4, False),
    ],
)  # fmt: skip
def test_torchvision_sets_become_one_tensor_a_part(monkeypatch, name, fake, shape, padding, flip):
    cls, parts, _ = data.TORCHVISION[name]
    asked = []

    def dataset(root, download, **part):
        asked.append(part)
        made = type(cls, (), {})()
        vars(made).update(fake(5 if part == parts[0] else 3))
        return made

    monkeypatch.setattr(f"torchvision.datasets.{cls}", dataset)
    images = load(name)
    assert asked == list(parts)
    assert images.train.shape == (5, *shape) and images.test.shape == (3, *shape)
    assert images.train.dtype == torch.uint8 and images.train_labels.tolist() == [1] * 5
    assert images.train_labels.dtype == torch.int64 and (images.padding, images.flip) == (padding, flip)
    if name == "cifar10":
        assert (images.mean, images.std) == STATISTICS["cifar10"]


def test_every_name_is_a_class_of_torchvision():
    import torchvision

    assert all(hasattr(torchvision.datasets, cls) for cls, *_ in data.TORCHVISION.values())


# --- all of CIFAR-10 ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not ARCHIVE.exists(), reason=f"no {ARCHIVE.name} in ../shared/data: CIFAR-10 as a folder not tried")
def test_all_of_cifar10_loads_from_a_folder_and_the_second_time_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path / "cifar10", filter="data")
    images = load(tmp_path / "cifar10")
    monkeypatch.setattr("nascore.pictures.read", None)
    again = load(tmp_path / "cifar10")
    assert again.fingerprint() == images.fingerprint()
    assert images.train.shape == (50_000, 3, 32, 32) and images.test.shape == (10_000, 3, 32, 32)
    assert torch.bincount(images.train_labels).tolist() == [5_000] * 10
    assert torch.bincount(images.test_labels).tolist() == [1_000] * 10
    assert images.classes == tuple("airplane automobile bird cat deer dog frog horse ship truck".split())
    assert_close(torch.tensor(images.mean), torch.tensor(STATISTICS["cifar10"][0]), atol=0.01, rtol=0)
    assert_close(torch.tensor(images.std), torch.tensor(STATISTICS["cifar10"][1]), atol=0.01, rtol=0)
    halves = images.validation_split(0.5)
    assert abs(torch.bincount(halves.valid_labels) - 2_500).max() < 250
    shutil.rmtree(tmp_path)  # 60,000 files that pytest would keep
