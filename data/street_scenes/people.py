"""People."""

import numpy as np

from data.street_scenes import classes
from data.street_scenes.camera import Camera
from data.street_scenes.canvas import Canvas, ellipse, strip
from data.street_scenes.light import Light

_SKIN = ((224, 180, 152), (192, 144, 112), (134, 94, 70), (88, 60, 46))


def paint_person(
    canvas: Canvas, camera: Camera, light: Light, rng: np.random.Generator, x: float, z: float
) -> None:
    """Paints a person who stands or walks at (x, z)."""
    height = rng.uniform(1.25, 1.9)
    unit = height * camera.scale(z)  # pixels of the whole body
    foot = camera.project((x, 0, z))
    facing = rng.choice((-1, 1))
    stride = rng.choice((0.03, 0.09, 0.14)) * facing
    build = rng.uniform(0.9, 1.2)
    coat, trousers = _clothes(rng), _clothes(rng) * 0.7
    skin = np.array(_SKIN[rng.choice(len(_SKIN))], np.float32)
    bright = light.on_side(0)

    def at(across, up):
        return foot + np.array((across, -up)) * unit

    def limb(start, end, width, colour):
        polygon = strip(at(*start), at(*end), max(1.0, width * build * unit))
        canvas.fill(polygon, colour * bright, classes.PERSON, z)

    canvas.darken(ellipse(foot, (0.22 * unit, 0.05 * unit)), 0.5, max(0.4, 0.02 * unit))
    for step in (-1, 1):
        limb((0, 0.5), (step * stride, 0.02), 0.095, trousers * (1 if step > 0 else 0.85))
        limb((step * stride, 0.02), (step * stride + 0.05 * facing, 0.015), 0.04, trousers * 0.5)
    limb((-0.1 * build, 0.79), (-0.13 * build - stride * 0.8, 0.45), 0.06, coat * 0.85)
    hem = rng.choice((0.46, 0.46, 0.34))
    outline = (
        (-0.12, 0.81),
        (0.12, 0.81),
        (0.105, 0.6),
        (0.115, hem),
        (-0.115, hem),
        (-0.105, 0.6),
    )
    torso = np.array([at(across * build, up) for across, up in outline])
    canvas.fill(torso, coat * bright, classes.PERSON, z, grain=0.08)
    limb((0.1 * build, 0.79), (0.13 * build + stride * 0.8, 0.45), 0.06, coat * 0.93)
    if rng.random() < 0.35:  # a bag or a rucksack
        bag = ellipse(at(-0.14 * facing, rng.choice((0.66, 0.45))), np.array((0.07, 0.1)) * unit)
        canvas.fill(bag, _clothes(rng), classes.PERSON, z)
    limb((0, 0.8), (0, 0.88), 0.06, skin)
    head = at(0.01 * facing, 0.925)
    radius = np.maximum((0.055 * unit, 0.075 * unit), 0.5)
    canvas.fill(ellipse(head, radius), skin * bright, classes.PERSON, z)
    hair = ellipse(head - (0.012 * facing * unit, 0.03 * unit), radius * (1.02, 0.7))
    canvas.fill(hair, np.array((58, 44, 34), np.float32) * rng.uniform(0.4, 2.6), classes.PERSON, z)


def _clothes(rng: np.random.Generator) -> np.ndarray:
    """Mostly muted, sometimes bright."""
    grey = rng.uniform(30, 170)
    colourful = rng.choice((18.0, 60.0))
    return np.clip(grey + rng.normal(0, colourful, 3), 12, 235).astype(np.float32)
