"""The painter of street scenes: determinism, labels, and a share of the pixels for every class."""

import numpy as np
import pytest

from data.street_scenes import classes, painter
from data.street_scenes.camera import Camera
from data.street_scenes.canvas import Canvas, strip


@pytest.fixture(scope="module")
def scenes():
    return [painter.paint(0, "train", index) for index in range(20)]


def test_a_scene_is_a_pure_function_of_seed_split_and_index(scenes):
    for index in (7, 3):  # another order than the fixture's
        image, label = painter.paint(0, "train", index)
        np.testing.assert_array_equal(image, scenes[index][0])
        np.testing.assert_array_equal(label, scenes[index][1])


def test_the_global_generator_plays_no_part(scenes):
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    np.testing.assert_array_equal(painter.paint(0, "train", 0)[0], scenes[0][0])
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize(
    "other",
    [(0, "validation", 0), (1, "train", 0), (0, "train", 1)],
    ids=["split", "seed", "index"],
)
def test_other_arguments_give_another_scene(scenes, other):
    image, label = painter.paint(*other)
    assert (image != scenes[0][0]).mean() > 0.5
    assert (label != scenes[0][1]).mean() > 0.05


def test_shapes_types_and_values(scenes):
    allowed = {*range(len(classes.NAMES)), classes.VOID}
    for image, label in scenes:
        assert image.shape == (*painter.SHAPE, 3)
        assert label.shape == painter.SHAPE
        assert image.dtype == label.dtype == np.uint8
        assert set(np.unique(label)) <= allowed


def test_every_class_has_its_share_of_the_pixels(scenes):
    floor = {
        "road": 0.10,
        "pavement": 0.04,
        "building": 0.12,
        "vegetation": 0.05,
        "sky": 0.03,
        "car": 0.05,
        "person": 0.008,
        "post": 0.01,
        "sign": 0.005,
        "lane mark": 0.007,
        "fence": 0.005,
    }
    counts = sum(np.bincount(label.ravel(), minlength=256) for _, label in scenes)
    shares = dict(zip(classes.NAMES, counts / counts.sum(), strict=False))
    assert floor.keys() == shares.keys()
    assert {name: shares[name] for name in floor if shares[name] < floor[name]} == {}
    assert 0.005 < counts[classes.VOID] / counts.sum() < 0.08


def test_posts_are_thin_and_walls_are_not(scenes):
    def median_width(class_id):
        """Of the horizontal run that a pixel of the class lies in."""
        runs = []
        for _, label in scenes:
            edges = np.diff(np.pad(label == class_id, ((0, 0), (1, 1))).astype(np.int8), axis=1)
            runs.append(np.nonzero(edges == -1)[1] - np.nonzero(edges == 1)[1])
        runs = np.concatenate(runs)
        return np.median(np.repeat(runs, runs))

    assert median_width(classes.POST) <= 4
    assert median_width(classes.BUILDING) >= 16


def test_road_pavement_and_walls_overlap_in_brightness(scenes):
    """One pixel does not tell them apart; that takes context."""
    grey = np.stack([image.mean(-1) for image, _ in scenes])
    label = np.stack([label for _, label in scenes])
    quartiles = {c: np.percentile(grey[label == c], (10, 90)) for c in (0, 1, 2)}
    low = max(low for low, _ in quartiles.values())
    high = min(high for _, high in quartiles.values())
    assert high - low > 30


def test_names_and_colours_match():
    assert len(classes.NAMES) == len(classes.PALETTE) == len(set(classes.PALETTE))


def test_camera_ground_inverts_projection():
    camera = Camera(x=0.5, y=1.5, focal=300, horizon=110, centre=250, bend=0.002)
    x, z = camera.ground(np.array([150.0, 200.0]), np.array([100.0, 300.0]))
    points = np.stack(np.broadcast_arrays(x, 0.0, z), -1)
    expected = np.stack(np.meshgrid([100.0, 300.0], [150.0, 200.0]), -1)
    np.testing.assert_allclose(camera.project(points), expected, atol=1e-3)


@pytest.mark.parametrize("column", [10.0, 10.25, 10.5, 10.75])
def test_a_post_one_pixel_wide_is_labelled_in_one_piece(column):
    canvas = Canvas((32, 32), np.random.default_rng(0))
    canvas.fill(strip((column, 4), (column, 28), 1.0), (9, 9, 9), classes.POST, 5.0)
    assert (canvas.label[6:26] == classes.POST).any(axis=1).all()


def test_painting_outside_the_image_changes_nothing():
    canvas = Canvas((16, 16), np.random.default_rng(0))
    canvas.fill(strip((40, 4), (40, 28), 3.0), (9, 9, 9), classes.POST, 5.0)
    assert not canvas.image.any()
    assert (canvas.label == classes.VOID).all()
