import dataclasses

import cv2
import numpy as np
import pytest
from PIL import Image

from hmsa_jax.input import resampling
from hmsa_jax.input.geometric import PLACEMENTS, Crop, cut_crop, draw_crop, random_crop

IGNORE = 255


def smooth_image(size, seed=0):
    noise = np.random.default_rng(seed).uniform(0, 255, (*size, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def random_label(size, seed=1):
    return np.random.default_rng(seed).integers(0, 19, size, dtype=np.uint8)


def scale_then_crop(image, label, crop, crop_size):
    """The definition, of an image and a label scaled as a whole: pad widely, crop, mirror."""
    margins = tuple((side, side) for side in crop_size)
    image = np.pad(image, (*margins, (0, 0)))
    label = np.pad(label, margins, constant_values=IGNORE)
    top, left = crop.top + crop_size[0], crop.left + crop_size[1]
    window = np.s_[top : top + crop_size[0], left : left + crop_size[1]]
    image, label = image[window], label[window]
    return (image[:, ::-1], label[:, ::-1]) if crop.flip else (image, label)


def drawn(seed, size, crop_size, placement="published"):
    return draw_crop(
        size,
        np.random.default_rng(seed),
        crop_size=crop_size,
        scale_range=(0.5, 2.0),
        flip=True,
        placement=placement,
    )


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("seed", range(8))
def test_bicubic_equals_pillow_on_the_whole_image(seed, placement):
    """The published way: scale the whole, then crop. Noise shows every pixel of the kernel."""
    size, crop_size = (90, 131), (64, 80)
    rng = np.random.default_rng(seed)
    image, label = rng.integers(0, 256, (*size, 3), dtype=np.uint8), random_label(size)
    crop = drawn(seed, size, crop_size, placement)
    got_image, got_label = cut_crop(image, label, crop, crop_size=crop_size, ignore_label=IGNORE)
    image, label = (
        np.asarray(Image.fromarray(array).resize(crop.scaled_size[::-1], kernel))
        for array, kernel in ((image, Image.Resampling.BICUBIC), (label, Image.Resampling.NEAREST))
    )
    image, label = scale_then_crop(image, label, crop, crop_size)
    # Pillow's box is float32: a value on the border of two may be rounded to the other.
    difference = np.abs(got_image.astype(int) - image)
    assert difference.max() <= 1
    assert np.mean(difference > 0) < 0.02
    assert np.mean(got_label != label) < 0.03  # centres on the border of two pixels


@pytest.mark.parametrize("scale", [0.35, 0.5, 0.8, 1.0, 1.3, 2.0, 2.7])
@pytest.mark.parametrize("contrast", [1, 256])
def test_bicubic_simd_is_bicubic_to_two_levels(scale, contrast):
    """Also where neighbours are black and white, so that the kernel overshoots."""
    pytest.importorskip("cykooz_resizer")
    rng = np.random.default_rng([int(100 * scale), contrast])
    image = smooth_image((90, 131)) if contrast == 1 else rng.integers(0, 2, (90, 131, 3)) * 255
    scaled = round(90 * scale), round(131 * scale)
    size = scaled[0] // 2, scaled[1] // 2
    windows = [
        resampling.RESAMPLINGS[name](image.astype(np.uint8), scaled, (scaled[0] // 3, 5), size)
        for name in ("bicubic", "bicubic_simd")
    ]
    difference = np.abs(np.subtract(*windows, dtype=int))
    assert windows[1].dtype == np.uint8
    assert difference.max() <= 2
    assert np.mean(difference > 0) < 0.1


def test_a_resampling_without_its_package_is_refused(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    resampling.check_installed("bicubic")
    with pytest.raises(ValueError, match=r"data.resampling is bicubic_simd, .* -e \.\[simd\]"):
        resampling.check_installed("bicubic_simd")


@pytest.mark.parametrize("scale", [1, 3, 0.4])
def test_bilinear_reads_a_window_of_a_long_image_alone(monkeypatch, scale):
    """Since OpenCV 4 takes no side of 32767 pixels or more."""
    read, warp = [], cv2.warpAffine
    monkeypatch.setattr(
        cv2, "warpAffine", lambda image, *args, **kw: read.append(image) or warp(image, *args, **kw)
    )
    image = np.random.default_rng(0).integers(0, 256, (9, 40_000, 3), np.uint8)
    scaled, columns = (round(9 * scale), round(40_000 * scale)), round(30_000 * scale)
    for first in (0, columns, round(40_000 * scale) - 40):
        got = resampling.bilinear(image, scaled, (0, first), (scaled[0], 40))
        (part,) = read
        read.clear()
        assert part.shape[1] <= 40 / scale + 5
        x = (np.arange(first, first + 40) + 0.5) / scale - 0.5
        y = (np.arange(scaled[0]) + 0.5) * 9 / scaled[0] - 0.5
        expected = sampled(sampled(image.astype(float), y, 0), x, 1)
        assert np.abs(got - expected).max() <= 1.5


def sampled(image, places, axis):
    """Linear interpolation along an axis, the ends going on."""
    low = np.floor(places).astype(int)
    share = (places - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    before, after = (image.take(np.clip(i, 0, image.shape[axis] - 1), axis) for i in (low, low + 1))
    return before * (1 - share) + after * share


@pytest.mark.parametrize("resampling_name", ["bicubic", "bilinear"])
def test_only_bicubic_sees_all_that_it_reduces(resampling_name):
    """Stripes a pixel wide, reduced to a third, are an even grey but for the border."""
    stripes = np.tile(np.array([0, 255], np.uint8)[:, None, None], (1, 90, 3))
    image = np.tile(stripes, (45, 1, 1))
    reduced = resampling.RESAMPLINGS[resampling_name](image, (30, 30), (4, 4), (22, 22))
    even = np.abs(reduced.astype(int) - 127).max() <= 26
    assert even == (resampling_name == "bicubic")


@pytest.mark.parametrize("seed", range(12))
def test_bilinear_equals_scaling_the_whole_image_and_cropping(seed):
    image, label = smooth_image((90, 131)), random_label((90, 131))
    crop_size = (64, 80)
    crop = drawn(seed, (90, 131), crop_size, "even")
    got_image, got_label = cut_crop(
        image, label, crop, crop_size=crop_size, ignore_label=IGNORE, resampling="bilinear"
    )
    size = crop.scaled_size[::-1]
    image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    label = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST_EXACT)
    image, label = scale_then_crop(image, label, crop, crop_size)
    # The warp places samples on a grid of 1/32 pixel; OpenCV's exact nearest neighbour rounds the
    # step to fixed point, which moves pixels whose centre falls on the border of two.
    assert np.abs(got_image.astype(int) - image).max() <= 4
    assert np.abs(got_image.astype(int) - image).mean() < 0.5
    assert np.mean(got_label != label) < 0.03


def test_scale_one_is_exact():
    image, label = smooth_image((40, 50)), random_label((40, 50))
    crop = Crop(scaled_size=(40, 50), top=7, left=11, flip=False)
    got_image, got_label = cut_crop(image, label, crop, crop_size=(16, 24), ignore_label=IGNORE)
    np.testing.assert_array_equal(got_image, image[7:23, 11:35])
    np.testing.assert_array_equal(got_label, label[7:23, 11:35])


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scale", [0.5, 0.73, 1.0, 1.37, 2.0])
@pytest.mark.parametrize("axis", [0, 1])
def test_label_and_image_show_the_same_place(scale, flip, axis):
    """On a ramp that both hold, a shift of one against the other shows in the mean difference."""
    size = (60, 64)
    ramp = np.arange(size[axis], dtype=np.uint8).reshape((-1, 1) if axis == 0 else (1, -1))
    label = np.broadcast_to(ramp, size).copy()
    image = np.repeat(4 * label[..., None], 3, axis=-1)
    scaled = tuple(round(side * scale) for side in size)
    crop = Crop(scaled, top=3, left=3, flip=flip)
    image, label = cut_crop(image, label, crop, crop_size=(24, 26), ignore_label=IGNORE)
    pixels = image[..., 0] / 4 - label
    assert np.abs(pixels).max() <= 0.75  # half a pixel, and the rounding of image values
    # At 1/2 every centre falls between two pixels, and the label takes one of them.
    assert abs(pixels.mean()) <= (0.5 if scale == 0.5 else 0.1)


@pytest.mark.parametrize(
    ("resampling_name", "support"),  # pixels of the result, where the image is doubled
    [("bilinear", 1), ("bicubic", 5), ("bicubic_simd", 5)],
)
@pytest.mark.parametrize("seed", range(8))
def test_colours_keep_their_labels(seed, resampling_name, support):
    """Inside a region of one class the image has the colour of that class, and no other."""
    if resampling_name == "bicubic_simd":
        pytest.importorskip("cykooz_resizer")
    classes = np.random.default_rng(seed).integers(0, 12, (12, 16), dtype=np.uint8)
    label = np.kron(classes, np.ones((12 * support, 12 * support), np.uint8))
    image = np.stack([label * 20, 255 - label * 20, label], axis=-1)
    image, label = random_crop(
        image,
        label,
        np.random.default_rng(seed),
        crop_size=(100, 120),
        resampling=resampling_name,
    )
    same = np.ones((2 * support + 1, 2 * support + 1), np.uint8)
    inside = (cv2.erode(label, same) == cv2.dilate(label, same)) & (label != IGNORE)
    edge = support - 1  # beyond it the kernel may see what the crop does not show
    inside[:edge] = inside[100 - edge :] = inside[:, :edge] = inside[:, 120 - edge :] = False
    assert inside.mean() > 0.1
    expected = np.stack([label * 20, 255 - label * 20, label], axis=-1)
    np.testing.assert_array_equal(image[inside], expected[inside])


@pytest.mark.parametrize("flip", [False, True])
def test_padding_is_black_and_ignored(flip):
    image, label = np.full((20, 30, 3), 200, np.uint8), np.full((20, 30), 3, np.uint8)
    crop = Crop(scaled_size=(10, 15), top=0, left=0, flip=flip)
    image, label = cut_crop(image, label, crop, crop_size=(16, 24), ignore_label=IGNORE)
    seen = np.zeros((16, 24), bool)
    seen[:10, 9:] = flip
    seen[:10, :15] |= not flip
    np.testing.assert_array_equal(label, np.where(seen, 3, IGNORE))
    np.testing.assert_array_equal(image, np.where(seen[..., None], 200, 0).repeat(3, axis=-1))


def test_smaller_images_lie_in_the_middle():
    image, label = np.full((10, 15, 3), 200, np.uint8), np.full((10, 15), 3, np.uint8)
    crop = draw_crop(
        (10, 15), np.random.default_rng(0), crop_size=(17, 24), scale_range=(1, 1), flip=False
    )
    image, label = cut_crop(image, label, crop, crop_size=(17, 24), ignore_label=IGNORE)
    seen = np.pad(np.ones((10, 15), bool), ((4, 3), (5, 4)))
    np.testing.assert_array_equal(label, np.where(seen, 3, IGNORE))
    np.testing.assert_array_equal(image, np.where(seen[..., None], 200, 0).repeat(3, axis=-1))


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_draws_cover_the_ranges_evenly(placement):
    rng = np.random.default_rng(0)
    options = {"crop_size": (100, 100), "scale_range": (0.5, 2.0), "flip": True}
    draws = [draw_crop((200, 400), rng, placement=placement, **options) for _ in range(4000)]
    scales = np.array([draw.scaled_size for draw in draws]) / (200, 400)
    np.testing.assert_allclose(scales[:, 0], scales[:, 1], atol=0.005)
    assert scales.min() >= 0.5
    assert scales.max() <= 2.0
    shares, _ = np.histogram(scales[:, 1], bins=5, range=(0.5, 2.0))
    np.testing.assert_allclose(shares / 4000, 0.2, atol=0.03)
    assert abs(np.mean([draw.flip for draw in draws]) - 0.5) < 0.03
    room = np.array([draw.scaled_size for draw in draws]) - 100
    offsets = np.array([(draw.top, draw.left) for draw in draws])
    assert (offsets >= 0).all()
    assert (offsets <= room).all()
    np.testing.assert_allclose((offsets / np.maximum(room, 1)).mean(axis=0), 0.5, atol=0.03)
    assert (offsets == 0).any(axis=0).all()
    assert (offsets == room).any(axis=0).all()


def test_switching_flips_off_leaves_the_other_draws():
    options = {"crop_size": (8, 8), "scale_range": (0.5, 2.0)}
    unmirrored, mirrored = (
        [draw_crop((20, 30), np.random.default_rng(i), flip=flip, **options) for i in range(20)]
        for flip in (False, True)
    )
    assert not any(draw.flip for draw in unmirrored)
    assert any(draw.flip for draw in mirrored)
    assert [dataclasses.replace(draw, flip=False) for draw in mirrored] == unmirrored


def test_inputs_stay_and_results_are_contiguous():
    image, label = smooth_image((30, 40)), random_label((30, 40))
    before = image.copy(), label.copy()
    for seed in range(4):
        crops = random_crop(image, label, np.random.default_rng(seed), crop_size=(24, 48))
        for array, shape in zip(crops, [(24, 48, 3), (24, 48)], strict=True):
            assert array.shape == shape
            assert array.dtype == np.uint8
            assert array.flags.c_contiguous
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(label, before[1])


@pytest.mark.parametrize(("placement", "row"), [("even", 0), ("published", 2)])
def test_a_sliver_keeps_at_least_one_pixel(placement, row):
    image, label = np.full((1, 40, 3), 9, np.uint8), np.full((1, 40), 2, np.uint8)
    options = {"crop_size": (4, 4), "scale_range": (0.4, 0.4), "flip": False}
    crop = draw_crop((1, 40), np.random.default_rng(0), placement=placement, **options)
    _, label = cut_crop(image, label, crop, crop_size=(4, 4), ignore_label=IGNORE)
    expected = np.full((4, 4), IGNORE)
    expected[row] = 2
    np.testing.assert_array_equal(label, expected)
