"""Trees, bushes and hedges."""

import numpy as np

from data.street_scenes import classes, noise
from data.street_scenes.camera import Camera
from data.street_scenes.canvas import Canvas, strip
from data.street_scenes.light import Light


def paint_tree(
    canvas: Canvas, camera: Camera, light: Light, rng: np.random.Generator, x: float, z: float
) -> None:
    """Paints a tree that stands at (x, z): a trunk and a crown of a few balls of leaves."""
    scale = camera.scale(z)
    foot = camera.project((x, 0, z))
    height, spread = rng.uniform(5, 9), rng.uniform(1.4, 2.6)
    fork = foot - (0, 0.55 * height * scale)
    trunk = strip(foot, fork, max(1.0, 0.3 * scale))
    canvas.fill(
        trunk,
        rng.uniform(50, 84) * np.array((1, 0.9, 0.78), np.float32),
        classes.VEGETATION,
        z,
        grain=0.2,
    )
    balls = rng.uniform((-0.6, 0.42, 0.55), (0.6, 0.95, 1.0), (5, 3))
    centres = foot + np.stack((balls[:, 0] * spread, -balls[:, 1] * height), -1) * scale
    green = _leaves(rng)
    _paint_foliage(canvas, light, rng, centres, balls[:, 2] * spread * scale * 0.8, green, z)


def paint_bush(
    canvas: Canvas, camera: Camera, light: Light, rng: np.random.Generator, x: float, z: float
) -> None:
    """Paints a bush at (x, z)."""
    scale = camera.scale(z)
    size = rng.uniform(0.5, 1.1)
    offsets = rng.uniform((-0.8, 0.4), (0.8, 0.8), (3, 2)) * size
    centres = camera.project((x, 0, z)) + offsets * (scale, -scale)
    _paint_foliage(canvas, light, rng, centres, np.full(3, size * scale * 0.8), _leaves(rng), z)


def _leaves(rng: np.random.Generator) -> np.ndarray:
    return np.array((74, 104, 50), np.float32) * rng.uniform(0.75, 1.15) + rng.uniform(
        (-8, -6, -8), (26, 8, 8)
    )


def _paint_foliage(
    canvas: Canvas,
    light: Light,
    rng: np.random.Generator,
    centres: np.ndarray,
    radii: np.ndarray,
    green: np.ndarray,
    z: float,
) -> None:
    """Balls of leaves with a ragged rim, brighter above and towards the sun."""
    reach = radii[:, None] * 1.3
    window = canvas.window(np.concatenate((centres - reach, centres + reach)))
    if window is None:
        return
    rows, columns = window
    y, x = np.mgrid[window].astype(np.float32)
    inside = np.full(y.shape, -np.inf, np.float32)
    for (u, v), radius in zip(centres, radii, strict=True):
        inside = np.maximum(inside, 1 - ((x - u) ** 2 + (y - v) ** 2) / np.float32(radius**2))
    ragged = noise.crop(noise.cloud(), rng, *y.shape)
    fine = noise.crop(noise.grain(), rng, *y.shape)
    # The rim is as ragged for a far tree as for a near one, so it is soft over few pixels.
    softness = np.float32(max(0.12, 1.5 / radii.max()))
    coverage = np.clip((inside + 0.28 * ragged + 0.12 * fine) / softness, 0, 1)
    middle, size = centres.mean(0), max(float(np.ptp(y)), 1.0)
    lit = ((middle[1] - y) + light.sun * (x - middle[0])) / size
    shade = 0.86 + 0.5 * (0.3 + 0.7 * light.contrast) * lit + 0.17 * fine + 0.16 * ragged
    colour = np.float32(green) * np.clip(shade, 0.25, 1.7)[..., None]
    void = (coverage > 0.25) & (coverage <= 0.45)
    canvas.blend(window, coverage, colour, classes.VEGETATION, z)
    # Half leaves, half background: nobody could label it.
    canvas.label[rows, columns][void] = classes.VOID
