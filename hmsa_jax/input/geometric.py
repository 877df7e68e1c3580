"""Geometric augmentation on the host: random scale, crop and horizontal flip.

The paper scales by 0.5 to 2, flips half of the images and crops ("Training details"). How an image
is scaled and where a crop lies are the published code's ways, unless an option says otherwise.
"""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from hmsa_jax.input.resampling import RESAMPLINGS, nearest


@dataclasses.dataclass(frozen=True)
class Crop:
    """A window of a scaled image: everything that chance decides about one example.

    Attributes:
      scaled_size: height and width of the whole image after scaling, in pixels.
      top: first row of the window in the scaled image; below 0 where the window begins above it.
      left: first column of the window, likewise.
      flip: whether the window is mirrored, left to right, after it is cut.
    """

    scaled_size: tuple[int, int]
    top: int
    left: int
    flip: bool


def random_crop(
    image: np.ndarray,
    label: np.ndarray,
    rng: np.random.Generator,
    *,
    crop_size: tuple[int, int],
    scale_range: tuple[float, float] = (0.5, 2.0),
    flip: bool = True,
    ignore_label: int = 255,
    resampling: str = "bicubic",
    placement: str = "published",
    holding: tuple[int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Scales, crops and flips an image and its label together.

    Args:
      image: uint8 `[H, W, 3]`.
      label: uint8 `[H, W]`.
      rng: the only source of chance.
      crop_size: height and width of the result, in pixels.
      scale_range: the scale is uniform between these two.
      flip: whether to mirror with probability 1/2.
      ignore_label: label of the pixels outside the scaled image; the image is black there.
      resampling: how the image is scaled, a name in `resampling.RESAMPLINGS`.
      placement: where the crop lies, a name in `PLACEMENTS`.
      holding: row and column of a pixel of the source that the crop must hold; None: any crop.

    Returns:
      The crop of the image, uint8 `[h, w, 3]`, and of the label, uint8 `[h, w]`.
    """
    crop = draw_crop(
        label.shape,
        rng,
        crop_size=crop_size,
        scale_range=scale_range,
        flip=flip,
        placement=placement,
        holding=holding,
    )
    return cut_crop(
        image,
        label,
        crop,
        crop_size=crop_size,
        ignore_label=ignore_label,
        resampling=resampling,
    )


def draw_crop(
    image_size: tuple[int, int],
    rng: np.random.Generator,
    *,
    crop_size: tuple[int, int],
    scale_range: tuple[float, float],
    flip: bool,
    placement: str = "published",
    holding: tuple[int, int] | None = None,
) -> Crop:
    """Draws a crop: the scale uniformly, then a window inside the scaled image.

    With `holding`, it is a window that holds this pixel: to be exact, the pixel of the scaled image
    in which its centre falls.

    Args:
      image_size: height and width of the source image, in pixels.
      rng: the source of chance.
      crop_size: as for `random_crop`.
      scale_range: as for `random_crop`.
      flip: as for `random_crop`.
      placement: as for `random_crop`.
      holding: as for `random_crop`.

    Returns:
      The crop.
    """
    scale = rng.uniform(*scale_range)
    rows, columns = (max(1, round(scale * side)) for side in image_size)
    scaled_size = (rows, columns)
    held: Sequence[int | None] = (None, None)
    if holding is not None:
        held = [
            (2 * pixel + 1) * scaled // (2 * side)
            for pixel, scaled, side in zip(holding, scaled_size, image_size, strict=True)
        ]
    draw_first = PLACEMENTS[placement]
    top, left = (
        draw_first(rng, *sides) for sides in zip(scaled_size, crop_size, held, strict=True)
    )
    mirrored = rng.random() < 0.5
    return Crop(scaled_size, top, left, flip and mirrored)


def check_options(crop_size: tuple[int, int], scale_range: tuple[float, float]) -> None:
    """Raises ValueError, naming the field, if one of these cannot be for `random_crop`."""
    if len(crop_size) != 2 or min(crop_size) < 1:
        raise ValueError(f"data.crop_size: expected a positive height and width, got {crop_size}.")
    if len(scale_range) != 2 or not 0 < scale_range[0] <= scale_range[1] < float("inf"):
        raise ValueError(
            "data.scale_range: expected (smallest, largest) with 0 < smallest <= largest, got "
            f"{scale_range}."
        )


def _published_first(rng: np.random.Generator, scaled: int, side: int, held: int | None) -> int:
    """First pixel of a window of `side` among `scaled` pixels, as in the published code.

    A smaller image lies in the middle. A window that is to hold a pixel is drawn round it and then
    moved into the image, so that near a border most windows touch the border.
    """
    last = scaled - side
    if last <= 0:
        return last // 2
    if held is None:
        return int(rng.integers(last + 1))
    return min(max(int(rng.integers(held - side + 1, held + 1)), 0), last)


def _even_first(rng: np.random.Generator, scaled: int, side: int, held: int | None) -> int:
    """The same, where all windows inside the image that hold the pixel are equally likely.

    A smaller image lies at the start.
    """
    first, last = 0, max(scaled - side, 0)
    if held is not None:
        first, last = max(first, held - side + 1), min(last, held)
    return int(rng.integers(first, last + 1))


PLACEMENTS = {"published": _published_first, "even": _even_first}


def cut_crop(
    image: np.ndarray,
    label: np.ndarray,
    crop: Crop,
    *,
    crop_size: tuple[int, int],
    ignore_label: int,
    resampling: str = "bicubic",
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts a crop: equal to scaling the whole image, cropping, padding, then mirroring.

    Args:
      image: uint8 `[H, W, 3]`.
      label: uint8 `[H, W]`.
      crop: the window, as from `draw_crop`; what it shows outside the scaled image is black and
        ignored.
      crop_size: as for `random_crop`.
      ignore_label: as for `random_crop`.
      resampling: as for `random_crop`.

    Returns:
      As `random_crop`.
    """
    window = (crop.top, crop.left)
    first = (max(crop.top, 0), max(crop.left, 0))
    rows, columns = (
        min(start + length, scaled) - inside
        for start, length, scaled, inside in zip(
            window, crop_size, crop.scaled_size, first, strict=True
        )
    )
    size = (rows, columns)
    border = (first[0] - crop.top, first[1] - crop.left)
    image = RESAMPLINGS[resampling](image, crop.scaled_size, first, size)
    label = nearest(label, crop.scaled_size, first, size)
    image = _pad(image, crop_size, border, 0)
    label = _pad(label, crop_size, border, ignore_label)
    if crop.flip:  # a copy of image[:, ::-1] would take as long as the scaling
        image, label = cv2.flip(image, 1), cv2.flip(label, 1)
    return image, label


def _pad(
    array: np.ndarray, size: tuple[int, int], border: tuple[int, int], value: int
) -> np.ndarray:
    """Extends an array `[H, W, ...]` to `size`, by `border` at the top and on the left."""
    height, width = array.shape[:2]
    if (height, width) == tuple(size):
        return array
    padded = np.full((*size, *array.shape[2:]), value, array.dtype)
    padded[border[0] : border[0] + height, border[1] : border[1] + width] = array
    return padded
