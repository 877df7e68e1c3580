"""The coarsely labelled street scenes: other scenes, labels that are right, and what they lack."""

import cv2
import numpy as np
import pytest

from configs import street_scenes
from data import registry
from data.pixels import encode_image
from data.street_scenes import classes, coarse_set, data_set, painter
from data.street_scenes.coarse_label import coarse_label
from hmsa_jax.experiment import start, train_input
from hmsa_jax.input import decoding

FEW = {"train": 8, "validation": 2}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(coarse_set, "SIZES", FEW)
        registry.prepare("street_scenes_coarse", None, str(cache))
        yield str(cache)


@pytest.fixture(scope="module")
def records(cache):
    builder = registry.prepare("street_scenes_coarse", None, cache)
    return [r for split in FEW for r in registry.open_source(builder, split)]


@pytest.fixture(scope="module")
def scenes():
    """Images and fine labels of all records, in their order."""
    return [
        painter.paint(coarse_set.SEED, split, index)
        for split, size in FEW.items()
        for index in range(size)
    ]


@pytest.fixture(scope="module")
def labels(records, scenes):
    """Fine and coarse labels of all records."""
    coarse = [decoding.decode_label(record) for record in records]
    return np.stack([fine for _, fine in scenes]), np.stack(coarse)


def test_records_are_of_the_scenes_and_know_their_fine_labels(cache, records, scenes):
    assert [record["image"] for record in records] == [encode_image(image) for image, _ in scenes]
    assert len({record["id"] for record in records}) == len(scenes)
    for number in (1, len(scenes) - 1):  # of either split
        fine = coarse_set.fine_label(records[number]["id"])
        np.testing.assert_array_equal(fine, scenes[number][1])


@pytest.mark.parametrize("name", ["train-0000", "coarse-train-0008", "coarse-test-0000", ""])
def test_what_is_no_id_has_no_fine_label(cache, name):
    with pytest.raises(ValueError, match="expected the id of a record, like 'coarse-train-0042'"):
        coarse_set.fine_label(name)


def test_no_scene_is_in_both_sets(records):
    assert coarse_set.SEED != data_set.SEED
    theirs = {
        encode_image(painter.paint(data_set.SEED, split, index)[0])
        for split, size in FEW.items()
        for index in range(size)
    }
    ours = {record["image"] for record in records}
    assert len(ours) == len(theirs) == sum(FEW.values())
    assert not ours & theirs


def test_what_is_labelled_is_right(labels):
    fine, coarse = labels
    labelled = coarse != classes.VOID
    np.testing.assert_array_equal(coarse[labelled], fine[labelled])


def test_half_of_the_pixels_and_little_of_what_is_thin(labels):
    fine, coarse = labels
    assert 0.4 < (coarse == classes.VOID).mean() < 0.58
    kept = {
        name: (coarse == number).sum() / (fine == number).sum()
        for number, name in enumerate(classes.NAMES)
    }
    assert min(kept[name] for name in ("road", "pavement", "building", "sky", "car")) > 0.45
    assert max(kept[name] for name in ("post", "lane mark")) < 0.2
    assert kept["person"] < 0.4


def test_regions_are_apart(labels):
    """Between two classes lie two margins."""
    _, coarse = labels
    for label in coarse:
        for number in np.unique(label[label != classes.VOID]):
            grown = cv2.dilate((label == number).astype(np.uint8), np.ones((3, 3), np.uint8))
            assert set(label[grown > 0].tolist()) <= {number, classes.VOID}


def test_a_square_becomes_a_square_with_a_margin():
    """Against the rule by hand: of half a width of 20 pixels, a fifth to two fifths, at most 6."""
    fine = np.full((64, 64), classes.VOID, np.uint8)
    fine[12:52, 12:52] = classes.CAR
    margins = set()
    for seed in range(20):
        coarse = coarse_label(fine, np.random.default_rng(seed))
        rows, columns = np.nonzero(coarse == classes.CAR)
        top, left, bottom, right = rows.min(), columns.min(), rows.max(), columns.max()
        assert (coarse[top : bottom + 1, left : right + 1] == classes.CAR).all()
        assert top == left == 63 - bottom == 63 - right
        margins.add(int(top) - 12)
    assert margins == {4, 5, 6}


def test_a_region_goes_to_the_edge_of_the_image():
    fine = np.full((64, 64), classes.SKY, np.uint8)
    fine[32:] = classes.ROAD
    coarse = coarse_label(fine, np.random.default_rng(0))
    assert (coarse[0] == classes.SKY).all()
    assert (coarse[-1] == classes.ROAD).all()
    assert (coarse[30:34] == classes.VOID).all()


def test_it_is_a_pure_function_of_label_and_generator(labels):
    fine = labels[0][0]
    first, again, other = (coarse_label(fine, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_it_trains_by_itself_and_as_a_pool(cache, monkeypatch):
    monkeypatch.setattr(data_set, "SIZES", {"train": 2, "validation": 1})
    for name, pool in (("street_scenes_coarse", ""), ("street_scenes", "street_scenes_coarse")):
        data = street_scenes.get_config().data
        data.name, data.pool.name, data.cache_dir = name, pool, cache
        data.class_uniform_share = 0.5
        label_spec = start.label_spec_of(data)
        train_input.check_pool(data, label_spec)
        builder = registry.prepare(data.name, None, cache)
        batches = train_input.prepare(data, label_spec, builder, seed=0)(0)
        labels = next(batches)["label"]
        batches.close()
        assert (labels == classes.VOID).mean() > (0.4 if not pool else 0.2)
