"""What a scene is painted on: colours, labels and distances that change together."""

import math

import cv2
import numpy as np
from numpy.typing import ArrayLike

from data.street_scenes import classes, noise

# A pixel takes the class of what covers about half of it. Slightly less than half keeps a post that
# is one pixel wide in one piece where it straddles two columns.
LABEL_COVERAGE = 0.45
_SUBPIXELS = 4  # each way
_SHIFT = 4  # fractional bits of cv2 coordinates


class Canvas:
    """An image with its labels, painted from far to near.

    Attributes:
      image: `[H, W, 3]` float32 RGB in 0..255, before haze and exposure.
      label: `[H, W]` uint8.
      depth: `[H, W]` float32 metres, infinite in the sky.
    """

    def __init__(self, shape: tuple[int, int], rng: np.random.Generator):
        self.image = np.zeros((*shape, 3), np.float32)
        self.label = np.full(shape, classes.VOID, np.uint8)
        self.depth = np.full(shape, np.inf, np.float32)
        self._grain = noise.crop(noise.grain(), rng, *shape)[..., None]

    def window(self, points: np.ndarray) -> tuple[slice, slice] | None:
        """The rows and columns around points `[N, 2]` within the image, or None outside it."""
        height, width = self.label.shape
        (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
        left, top = max(math.floor(left) - 1, 0), max(math.floor(top) - 1, 0)
        right, bottom = min(math.ceil(right) + 2, width), min(math.ceil(bottom) + 2, height)
        if left >= right or top >= bottom:
            return None
        return slice(top, bottom), slice(left, right)

    def fill(
        self,
        polygon: ArrayLike,
        colour: ArrayLike,
        label: int | None,
        z: float,
        *,
        grain: float = 0.05,
        opacity: float = 1.0,
    ) -> None:
        """Fills a polygon with a grained colour.

        Args:
          polygon: corners `[N, 2]` as (column, row) pixels.
          colour: RGB `[3]` in 0..255.
          label: the class it gets, or None to leave the labels as they are.
          z: distance, metres.
          grain: strength of the noise, as a share of the colour.
          opacity: 0..1; a window or a shadow lets what is behind it through.
        """
        polygon = np.asarray(polygon, np.float32)
        window = self.window(polygon)
        if window is None:
            return
        coverage = polygon_coverage(polygon, window)
        colour = np.asarray(colour, np.float32) * (1 + grain * self._grain[window])
        self.blend(window, coverage, colour, label, z, opacity=opacity)

    def blend(
        self,
        window: tuple[slice, slice],
        coverage: np.ndarray,
        colour: np.ndarray,
        label: int | None,
        z: float,
        *,
        opacity: float = 1.0,
    ) -> None:
        """Paints `colour` over a window as far as `coverage` goes.

        Args:
          window: rows and columns, from `window`.
          coverage: `[h, w]` float32 in 0..1.
          colour: `[h, w, 3]` or `[3]` RGB in 0..255.
          label: the class of what is painted, or None to leave the labels as they are.
          z: distance, metres.
          opacity: 0..1.
        """
        target = self.image[window]
        target += (opacity * coverage)[..., None] * (colour - target)
        inside = coverage > LABEL_COVERAGE
        if label is not None:
            self.label[window][inside] = label
            self.depth[window][inside] = z

    def darken(self, polygon: ArrayLike, factor: float, softness: float) -> None:
        """Casts a soft shadow of the shape of `polygon` `[N, 2]`, `softness` pixels wide."""
        polygon = np.asarray(polygon, np.float32)
        margin = np.float32(2 * softness)
        window = self.window(np.concatenate((polygon - margin, polygon + margin)))
        if window is None:
            return
        coverage = polygon_coverage(polygon, window)
        if softness > 0.3:
            coverage = cv2.GaussianBlur(coverage, (0, 0), softness)
        self.image[window] *= 1 - (1 - factor) * coverage[..., None]


def polygon_coverage(polygon: np.ndarray, window: tuple[slice, slice]) -> np.ndarray:
    """How much of each pixel of a window a polygon covers: `[h, w]` float32 in 0..1."""
    # cv2's own antialiasing makes everything a pixel wider, which would double a distant post.
    rows, columns = window
    height, width = rows.stop - rows.start, columns.stop - columns.start
    mask = np.zeros((height * _SUBPIXELS, width * _SUBPIXELS), np.uint8)
    corners = (polygon - np.array((columns.start, rows.start), np.float32)) * _SUBPIXELS - 0.5
    # Far outside the image only the direction of an edge counts; cv2 overflows beyond this.
    corners = np.clip(corners * (1 << _SHIFT), -(1 << 20), 1 << 20)
    cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], 255, cv2.LINE_8, _SHIFT)
    mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
    return mask * np.float32(1 / 255)


def ellipse(centre: ArrayLike, radii: ArrayLike, corners: int = 16) -> np.ndarray:
    """An ellipse as a polygon `[corners, 2]` around `centre` (column, row) with `radii`."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.asarray(centre) + np.stack((np.cos(angle), np.sin(angle)), -1) * np.asarray(radii)


def strip(start: ArrayLike, end: ArrayLike, width: float) -> np.ndarray:
    """The line from `start` to `end` (column, row), `width` pixels wide, as a polygon `[4, 2]`."""
    start, end = np.asarray(start, np.float32), np.asarray(end, np.float32)
    along = end - start
    normal = np.array((-along[1], along[0])) / max(float(np.hypot(*along)), 1e-6) * width / 2
    return np.stack((start + normal, end + normal, end - normal, start - normal))
