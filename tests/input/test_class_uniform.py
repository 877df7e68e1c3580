"""Class-uniform sampling: which crops, of what, and the batches that hold them."""

import dataclasses

import grain
import numpy as np
import pytest
from absl import flags

from hmsa_jax.input import decoding
from hmsa_jax.input.centroids import Centroids
from hmsa_jax.input.class_uniform import ClassUniform
from hmsa_jax.input.geometric import PLACEMENTS, cut_crop, draw_crop, random_crop
from tests.input.memory_source import IGNORE, Counting, MemorySource, assert_equal, record, take


def centroids_of(classes):
    """`Centroids` from one list of (record, row, column) a class."""
    return Centroids(
        places=np.array([place for places in classes for place in places], np.int32).reshape(-1, 3),
        starts=np.cumsum([0, *map(len, classes)]),
    )


def flat(records, share, until_epoch=0, size=(8, 8)):
    """A `MemorySource`, whose record i is all of class i, and its class-uniform sampling."""
    places = [[(index, size[0] // 2, size[1] // 2)] for index in range(records)]
    return MemorySource([size] * records), ClassUniform(centroids_of(places), share, until_epoch)


def records_seen(source, steps, **options):
    return take(source, steps, crop_size=(4, 4), **options)["label"].min(axis=(2, 3)).ravel()


# Where class-uniform crops come.


def test_end_epoch_in_batches():
    records, end = 6, 2  # epochs end within batches of four
    source, uniform = flat(records, 1.0, until_epoch=end)
    seen = records_seen(source, 9, class_uniform=uniform)
    plain = records_seen(source, 9)
    np.testing.assert_array_equal(seen[end * records :], plain[: 36 - end * records])
    assert (seen[: end * records] != plain[: end * records]).any()


def test_plain_crops_still_show_every_record_once_a_pass():
    source, uniform = flat(7, 0.5)
    seen = records_seen(source, 14, class_uniform=uniform)
    np.testing.assert_array_equal(seen[::2], records_seen(source, 7))
    for start in range(0, 28, 7):
        assert sorted(seen[::2][start : start + 7]) == list(range(7))


# What they hold.


def test_classes_and_their_centroids_are_drawn_uniformly():
    rng = np.random.default_rng(0)
    common = [(record, 1, 2) for record in range(40)]
    classes = [common, [], [(3, 5, 6)], [(1, 0, 0), (2, 9, 9)]]
    centroids = centroids_of(classes)
    draws = [centroids.draw(rng) for _ in range(9000)]
    assert all(isinstance(number, int) for record, place in draws for number in (record, *place))
    counts = {(record, *place): 0 for places in classes for record, *place in places}
    for record_index, place in draws:
        counts[record_index, *place] += 1
    by_class = [sum(counts[place] for place in places) for places in classes]
    assert by_class[1] == 0
    # Five standard deviations of a binomial count.
    np.testing.assert_allclose([by_class[n] for n in (0, 2, 3)], 3000, atol=5 * 45)
    np.testing.assert_allclose([counts[place] for place in common], 75, atol=5 * 9)
    np.testing.assert_allclose([counts[place] for place in classes[3]], 1500, atol=5 * 36)


SIZES = [(24, 40), (100, 140), (13, 90), (5, 7), (1, 60)]


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("size", SIZES)
def test_every_crop_holds_its_pixel_and_stays_where_plain_ones_are(size, placement):
    rng = np.random.default_rng(size)
    for _ in range(2000):
        row, column = (int(rng.integers(side)) for side in size)
        crop = draw_crop(
            size,
            rng,
            crop_size=(16, 24),
            scale_range=(0.5, 2.0),
            flip=True,
            placement=placement,
            holding=(row, column),
        )
        for place, side, scaled, first, length in zip(
            (row, column), size, crop.scaled_size, (crop.top, crop.left), (16, 24), strict=True
        ):
            centre = (place + 0.5) * scaled / side
            assert first <= centre < first + length
            if scaled >= length:
                assert 0 <= first <= scaled - length
            else:
                assert first == (0 if placement == "even" else -((length - scaled + 1) // 2))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("size", SIZES[:4])
def test_the_class_is_in_the_crop(size, flip):
    """A thing of 3 x 3 pixels, which no scale from 1/2 on passes over."""
    rng = np.random.default_rng(3)
    mirrored = 0
    for _ in range(300):
        row, column = (int(rng.integers(1, side - 1)) for side in size)
        label = np.zeros(size, np.uint8)
        label[row - 1 : row + 2, column - 1 : column + 2] = 1
        image = np.repeat(label[..., None], 3, axis=-1)
        options = {"crop_size": (16, 24), "scale_range": (0.5, 2.0), "flip": flip}
        crop = draw_crop(size, rng, holding=(row, column), **options)
        _, label = cut_crop(image, label, crop, crop_size=(16, 24), ignore_label=IGNORE)
        assert (label == 1).any()
        mirrored += crop.flip
    assert (mirrored > 0) == flip


@pytest.mark.parametrize(
    ("placement", "expected_tops"),
    # The border leaves 0 to 3. As published, the five windows that would begin above it begin at 0.
    [("even", (1000, 1000, 1000, 1000)), ("published", (2500, 500, 500, 500))],
)
def test_how_likely_windows_that_hold_the_pixel_are(placement, expected_tops):
    rng = np.random.default_rng(0)
    options = {"crop_size": (8, 10), "scale_range": (1, 1), "flip": True, "holding": (3, 25)}
    draws = [draw_crop((30, 50), rng, placement=placement, **options) for _ in range(4000)]
    tops = np.bincount([draw.top for draw in draws])
    lefts = np.bincount([draw.left for draw in draws])
    np.testing.assert_allclose(tops, expected_tops, atol=5 * 32)
    assert lefts.nonzero()[0].tolist() == list(range(16, 26))
    np.testing.assert_allclose(lefts[16:], 400, atol=5 * 19)


def test_the_other_draws_are_those_of_a_plain_crop():
    options = {"crop_size": (8, 8), "scale_range": (0.5, 2.0), "flip": True}
    for seed in range(20):
        plain, held = (
            draw_crop((20, 30), np.random.default_rng(seed), holding=holding, **options)
            for holding in (None, (7, 7))
        )
        assert plain.scaled_size == held.scaled_size


class Streets(MemorySource):
    """Images of class 0, half of them with class 1 below; class 2 is one post in one image."""

    def __init__(self, records=20, size=(48, 80)):
        self._records = []
        rng = np.random.default_rng(records)
        for index in range(records):
            label = np.zeros(size, np.uint8)
            label[30:] = index % 2
            if index == 3:
                label[5:11, 70:73] = 2
            image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            self._records.append(record(image, label, f"street-{index}"))

    def uniform(self, share):
        odd = [(index, 38, 39) for index in range(1, len(self), 2)]
        even = [(index, 23, 39) for index in range(len(self))]
        return ClassUniform(centroids_of([even, odd, [(3, 8, 71)]]), share)


def test_a_rare_class_rises():
    source = Streets()
    held = {}
    for share in (0.0, 0.5, 1.0):
        labels = take(source, 100, crop_size=(16, 24), class_uniform=source.uniform(share))["label"]
        held[share] = [(labels == number).any(axis=(2, 3)).mean() for number in range(3)]
    assert held[0.0][2] < 0.03
    # Class 2 by itself, and seldom by chance: a third of the class-uniform crops.
    assert held[0.5][2] == pytest.approx(1 / 6, abs=0.06)
    assert held[1.0][2] == pytest.approx(1 / 3, abs=0.08)


# The batches that hold them.


@pytest.mark.parametrize("share", [None, 0, 0.0])
def test_without_a_share_the_batches_are_the_plain_ones(share):
    """The plain ones by definition: order and chance of every position from the seed alone."""
    source = Streets(5)
    order = grain.MapDataset.range(5).seed(7).shuffle().repeat()
    plain = []
    for position in range(36):
        image, label = decoding.decode(source[order[position]])
        rng = np.random.default_rng((7, position))
        plain.append(random_crop(image, label, rng, crop_size=(12, 20)))
    uniform = None if share is None else source.uniform(share)
    got = take(source, 9, class_uniform=uniform)
    for at, key in enumerate(("image", "label")):
        joined = np.concatenate(got[key])
        np.testing.assert_array_equal(joined, np.stack([crop[at] for crop in plain]))


def test_seed_decides():
    source = Streets()
    uniform = source.uniform(0.5)
    first, again, other = (take(source, 3, seed=seed, class_uniform=uniform) for seed in (7, 7, 8))
    assert_equal(first, again)
    assert (first["image"] != other["image"]).any()


@pytest.mark.parametrize("share", [0.3, 0.5, 1.0])
def test_start_step_continues_the_same_batches(share):
    source = Streets()
    uniform = dataclasses.replace(source.uniform(share), until_epoch=1)
    whole = take(source, 9, class_uniform=uniform)
    for start in (1, 4, 7):
        rest = take(source, 9 - start, start_step=start, class_uniform=uniform)
        assert_equal(rest, {key: value[start:] for key, value in whole.items()})


def test_late_start_reads_only_the_batches_it_yields():
    streets = Streets(5)
    source = Counting(streets)
    take(source, 1, start_step=10**9, class_uniform=streets.uniform(0.5))
    assert source.reads <= 4 * 16


def test_processes_share_the_global_batch():
    source = Streets()
    uniform = source.uniform(0.3)
    parts = [
        take(source, 4, process_index=index, process_count=2, class_uniform=uniform)
        for index in range(2)
    ]
    joined = {key: np.concatenate([part[key] for part in parts], axis=1) for key in parts[0]}
    assert_equal(joined, take(source, 4, class_uniform=uniform))


def test_workers_do_not_change_the_batches():
    flags.FLAGS.mark_as_parsed()
    source = Streets(5)
    options = {"start_step": 2, "class_uniform": source.uniform(0.3)}
    assert_equal(take(source, 5, num_workers=2, **options), take(source, 5, **options))


BAD = [
    ({"share": -0.1}, "class_uniform_share"),
    ({"share": 1.1}, "class_uniform_share"),
    ({"share": float("nan")}, "class_uniform_share"),
    ({"share": 0.5, "until_epoch": -1}, "class_uniform_until_epoch"),
]


@pytest.mark.parametrize(("options", "field"), BAD)
def test_bad_arguments_are_named(options, field):
    with pytest.raises(ValueError, match=rf"^data\.{field}: expected"):
        ClassUniform(centroids_of([[(0, 0, 0)]]), **options)


def test_labels_without_any_class_are_refused():
    nothing = centroids_of([[], []])
    ClassUniform(nothing, 0.0)
    with pytest.raises(ValueError, match=r"class_uniform_share: expected labels with pixels"):
        ClassUniform(nothing, 0.5)
