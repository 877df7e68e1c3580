"""Geometric augmentation on the host: random scale, crop and horizontal flip.

The paper scales by 0.5 to 2, flips half of the images and crops ("Training details"). The
whole image is never scaled: a crop is cut straight out of the source, which costs time in
proportion to the crop alone. Interpolation is bilinear, without a prefilter, as two taps an axis
still see every source pixel at scale 0.5.
"""

import dataclasses

import cv2
import numpy as np


@dataclasses.dataclass(frozen=True)
class Crop:
    """A window of a scaled image: everything that chance decides about one example.

    Attributes:
      scaled_size: height and width of the whole image after scaling, in pixels.
      top: first row of the window in the scaled image.
      left: first column of the window in the scaled image.
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
    holding: tuple[int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Scales, crops and flips an image and its label together.

    Args:
      image: uint8 `[H, W, 3]`.
      label: uint8 `[H, W]`.
      rng: the only source of chance; four numbers are drawn whatever the options.
      crop_size: height and width of the result, in pixels.
      scale_range: the scale is uniform between these two.
      flip: whether to mirror with probability 1/2.
      ignore_label: label of the pixels outside the scaled image; the image is black there.
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
        holding=holding,
    )
    return cut_crop(image, label, crop, crop_size=crop_size, ignore_label=ignore_label)


def draw_crop(
    image_size: tuple[int, int],
    rng: np.random.Generator,
    *,
    crop_size: tuple[int, int],
    scale_range: tuple[float, float],
    flip: bool,
    holding: tuple[int, int] | None = None,
) -> Crop:
    """Draws a crop: the scale uniformly, then any window inside the scaled image.

    With `holding`, it is any window that holds this pixel: to be exact, the pixel of the scaled
    image in which its centre falls.

    Args:
      image_size: height and width of the source image, in pixels.
      rng: the source of chance.
      crop_size: as for `random_crop`.
      scale_range: as for `random_crop`.
      flip: as for `random_crop`.
      holding: as for `random_crop`.

    Returns:
      The crop; `top` or `left` is 0 where the scaled image is smaller than the crop.
    """
    scale = rng.uniform(*scale_range)
    scaled_size = tuple(max(1, round(scale * side)) for side in image_size)
    held = (None, None)
    if holding is not None:
        held = tuple(
            (2 * pixel + 1) * scaled // (2 * side)
            for pixel, scaled, side in zip(holding, scaled_size, image_size, strict=True)
        )
    top, left = (
        _draw_offset(rng, *sides) for sides in zip(scaled_size, crop_size, held, strict=True)
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


def _draw_offset(rng: np.random.Generator, scaled: int, side: int, held: int | None) -> int:
    """First pixel of a window of `side` among `scaled` pixels; the window holds pixel `held`."""
    first, last = 0, max(scaled - side, 0)
    if held is not None:
        first, last = max(first, held - side + 1), min(last, held)
    return int(rng.integers(first, last + 1))


def cut_crop(
    image: np.ndarray,
    label: np.ndarray,
    crop: Crop,
    *,
    crop_size: tuple[int, int],
    ignore_label: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts a crop: equal to scaling the whole image, cropping, padding, then mirroring.

    Where the scaled image is smaller than the crop it lies in the top left corner, and the rest is
    black and ignored (mirroring moves it to the top right).

    Args:
      image: uint8 `[H, W, 3]`.
      label: uint8 `[H, W]`.
      crop: the window, as from `draw_crop`.
      crop_size: as for `random_crop`.
      ignore_label: as for `random_crop`.

    Returns:
      As `random_crop`.
    """
    visible = (
        min(crop_size[0], crop.scaled_size[0] - crop.top),
        min(crop_size[1], crop.scaled_size[1] - crop.left),
    )
    image = _pad(_scale_linear(image, crop, visible), crop_size, 0)
    label = _pad(_scale_nearest(label, crop, visible), crop_size, ignore_label)
    if crop.flip:  # a copy of image[:, ::-1] would take as long as the scaling
        image, label = cv2.flip(image, 1), cv2.flip(label, 1)
    return image, label


def _scale_linear(image: np.ndarray, crop: Crop, visible: tuple[int, int]) -> np.ndarray:
    """The visible window of the scaled image, `[h, w, 3]`, sampled at the pixels' centres."""
    step_y = image.shape[0] / crop.scaled_size[0]
    step_x = image.shape[1] / crop.scaled_size[1]
    # Pixel i of the scaled image has its centre at (i + 1/2) * step in the source, where the centre
    # of pixel k lies at k + 1/2. An affine warp takes this offset as it is, with its fraction; a
    # resize of a window of whole source pixels would shift the image against its label.
    source_from_crop = np.array(
        [
            [step_x, 0, (crop.left + 0.5) * step_x - 0.5],
            [0, step_y, (crop.top + 0.5) * step_y - 0.5],
        ]
    )
    return cv2.warpAffine(
        image,
        source_from_crop,
        (visible[1], visible[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _scale_nearest(label: np.ndarray, crop: Crop, visible: tuple[int, int]) -> np.ndarray:
    """The visible window of the scaled label, `[h, w]`: the source pixel that holds each centre.

    In whole numbers, floor((i + 1/2) * source / scaled). cv2.INTER_NEAREST leaves out the half, and
    how the exact variants break ties differs between the versions of OpenCV.
    """
    rows = np.arange(crop.top, crop.top + visible[0])
    columns = np.arange(crop.left, crop.left + visible[1])
    rows = (2 * rows + 1) * label.shape[0] // (2 * crop.scaled_size[0])
    columns = (2 * columns + 1) * label.shape[1] // (2 * crop.scaled_size[1])
    return label.take(rows, axis=0).take(columns, axis=1)


def _pad(array: np.ndarray, size: tuple[int, int], value: int) -> np.ndarray:
    """Extends an array `[H, W, ...]` to `size` at the bottom and on the right."""
    height, width = array.shape[:2]
    if (height, width) == tuple(size):
        return array
    padded = np.full((*size, *array.shape[2:]), value, array.dtype)
    padded[:height, :width] = array
    return padded
