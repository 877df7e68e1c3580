"""Sun, sky, haze and sensor: what a scene owes to the hour, the weather and the camera."""

import dataclasses

import cv2
import numpy as np

from data.street_scenes import classes, noise
from data.street_scenes.canvas import Canvas


@dataclasses.dataclass(frozen=True)
class Light:
    """The light of one scene.

    Attributes:
      sun: -1..1, where the sun stands: left to right of the street.
      contrast: 0 overcast .. 1 full sun.
      tint: RGB factors of the light.
      zenith, haze: RGB of the sky above and at the horizon (the colour of haze).
      visibility: metres over which haze swallows 63% of a colour.
      gain: exposure.
    """

    sun: float
    contrast: float
    tint: np.ndarray
    zenith: np.ndarray
    haze: np.ndarray
    visibility: float
    gain: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> "Light":
        """One of noon, overcast, low sun and dusk, varied."""
        contrast, tint, zenith, haze, gain = _HOURS[rng.choice(len(_HOURS), p=(0.4, 0.3, 0.2, 0.1))]
        return cls(
            sun=rng.uniform(-1, 1),
            contrast=contrast * rng.uniform(0.7, 1.0),
            tint=np.array(tint, np.float32) * rng.uniform(0.96, 1.04, 3).astype(np.float32),
            zenith=np.array(zenith, np.float32) + rng.uniform(-14, 14),
            haze=np.array(haze, np.float32) + rng.uniform(-10, 10),
            visibility=rng.uniform(90, 300),
            gain=gain * rng.uniform(0.88, 1.12),
        )

    def on_side(self, side: int) -> float:
        """Brightness of a vertical surface that faces left (-1), the camera (0) or right (1)."""
        return 0.78 + 0.3 * self.contrast * (self.sun * side)


_HOURS = (
    # contrast, tint, zenith, haze, gain
    (1.0, (1.04, 1.0, 0.95), (88, 138, 205), (196, 214, 232), 1.0),
    (0.25, (0.97, 1.0, 1.03), (178, 186, 196), (208, 211, 214), 0.92),
    (0.9, (1.16, 0.98, 0.80), (120, 150, 196), (240, 208, 168), 0.95),
    (0.3, (0.86, 0.92, 1.12), (66, 78, 120), (150, 140, 158), 0.72),
)


def paint_sky(canvas: Canvas, light: Light, rng: np.random.Generator, horizon: float) -> None:
    """Fills the canvas with a clouded sky that pales towards the horizon."""
    height, width = canvas.label.shape
    rise = np.clip(1 - np.arange(height, dtype=np.float32) / horizon, 0, 1)[:, None, None]
    sky = light.haze + (light.zenith - light.haze) * rise**0.7
    clouds = noise.crop(noise.cloud(), rng, height, width)
    cover = np.clip(clouds * 0.6 - rng.uniform(-0.2, 0.9), 0, 1)[..., None] * 0.85
    white = 0.35 * light.haze + 0.65 * 246 * light.tint
    canvas.image[:] = sky + cover * (white - sky)
    canvas.label[:] = classes.SKY


def expose(canvas: Canvas, light: Light, rng: np.random.Generator) -> np.ndarray:
    """The picture that the camera takes: haze, lens, exposure, sensor noise.

    Args:
      canvas: the painted scene.
      light: its light.
      rng: source of the noise.

    Returns:
      `[H, W, 3]` uint8 RGB.
    """
    through = np.exp(canvas.depth * np.float32(-1 / light.visibility))[..., None]
    through[canvas.label == classes.SKY] = 1
    image = light.haze + (canvas.image * light.tint - light.haze) * through
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.35, 0.6))
    image *= light.gain
    level = np.float32(rng.uniform(1.5, 4.5))
    image += level * rng.standard_normal((*canvas.label.shape, 1), np.float32)
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)
