"""A pinhole camera above a street that may bend."""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike


@dataclasses.dataclass(frozen=True)
class Camera:
    """Maps street coordinates in metres to pixels.

    Street coordinates are (x, y, z): x to the right of the road's axis, y up from the ground, z
    ahead of the camera along the road. The axis of a bending road leaves the line of sight by
    `bend * z**2`.

    Attributes:
      x: where the camera stands beside the road's axis, metres.
      y: its height above the ground, metres.
      focal: focal length, pixels.
      horizon: row of the horizon, pixels.
      centre: column of the vanishing point of a straight road, pixels.
      bend: curvature of the road, 1/metres.
    """

    x: float
    y: float
    focal: float
    horizon: float
    centre: float
    bend: float

    @classmethod
    def sample(cls, rng: np.random.Generator, shape: tuple[int, int], x: float) -> "Camera":
        """A camera at `x` for an image of `shape` (height, width)."""
        height, width = shape
        return cls(
            x=x,
            y=rng.uniform(1.3, 2.0),
            focal=width * rng.uniform(0.58, 0.78),
            horizon=height * rng.uniform(0.40, 0.50),
            centre=width * rng.uniform(0.38, 0.62),
            bend=rng.choice((0.0, 1.0)) * rng.uniform(-0.0022, 0.0022),
        )

    def scale(self, z: float) -> float:
        """Pixels per metre at distance `z`."""
        return self.focal / z

    def project(self, points: ArrayLike) -> np.ndarray:
        """Street points `[..., 3]` with z > 0 to (column, row) pixels `[..., 2]`."""
        points = np.asarray(points, np.float32)
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        pixels = np.empty((*points.shape[:-1], 2), np.float32)
        pixels[..., 0] = self.centre + self.focal * (x - self.x + self.bend * z**2) / z
        pixels[..., 1] = self.horizon + self.focal * (self.y - y) / z
        return pixels

    def ground(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The point of the ground that each pixel shows.

        Args:
          rows: `[H]`, all below the horizon.
          columns: `[W]`.

        Returns:
          x `[H, W]` and z `[H, 1]`, metres.
        """
        z = self.focal * self.y / (rows - self.horizon)[:, None]
        x = (columns - self.centre) * z / self.focal + self.x - self.bend * z**2
        return x, z
