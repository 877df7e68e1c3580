"""Paints one labelled street scene from three numbers."""

import numpy as np

from data.street_scenes import (
    buildings,
    classes,
    furniture,
    ground,
    light,
    people,
    traffic,
    vegetation,
)
from data.street_scenes.camera import Camera
from data.street_scenes.canvas import Canvas, ellipse
from data.street_scenes.ground import Street
from data.street_scenes.light import Light

# Raise it with every change of what is painted: data sets built before are then built anew.
VERSION = 2
SHAPE = (128, 256)
SPLITS = ("train", "validation")


def paint(seed: int, split: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Paints a scene, a pure function of its arguments.

    Args:
      seed: seed of the data set.
      split: 'train' or 'validation'.
      index: number of the scene within the split.

    Returns:
      The image `[128, 256, 3]` uint8 RGB and its label `[128, 256]` uint8, train ids or 255.
    """
    rng = np.random.default_rng((seed, SPLITS.index(split), index))
    street = Street.sample(rng)
    lane = street.lane * (rng.integers(street.lanes // 2, street.lanes) + 0.5 - street.lanes / 2)
    camera = Camera.sample(rng, SHAPE, x=lane + rng.uniform(-0.4, 0.4))
    sun = Light.sample(rng)
    canvas = Canvas(SHAPE, rng)
    light.paint_sky(canvas, sun, rng, camera.horizon)
    ground.paint_ground(canvas, camera, street, sun, rng)
    buildings.paint_skyline(canvas, camera, sun, rng, distance=rng.uniform(110, 160))
    # Sorting is stable: things at one distance are painted in the order in which they are listed.
    things = [*_plots(street, rng), *_pavement(street, rng), *_road(street, lane, rng)]
    for _, paint_thing, args in sorted(things, key=lambda thing: -thing[0]):
        paint_thing(canvas, camera, sun, rng, *args)
    image = light.expose(canvas, sun, rng)
    _cover_with_bonnet(image, canvas.label, rng)
    return image, canvas.label


def _plots(street, rng):
    """Houses and gardens: (far end, painter, arguments)."""
    for side, ends, green in zip((-1, 1), street.plots, street.green, strict=True):
        near = buildings.NEAREST
        for far, is_green in zip(ends, green, strict=True):
            if is_green:
                yield from _garden(side, street.wall, near, far, rng)
            else:
                wall = street.wall + rng.uniform(0, ground.SETBACK)
                yield far, buildings.paint_house, (side, wall, near, far)
            near = far


def _garden(side, wall, near, far, rng):
    # Like a house, all of it lies behind what stands in the street before its far end.
    for z in np.arange(far, near + 1, -rng.uniform(2.5, 4)):
        yield far, vegetation.paint_tree, (side * (wall + rng.uniform(2.0, 7)), z)
    for z in np.arange(min(far, 60), near + 1, -rng.uniform(1.2, 2.2)):
        yield far, vegetation.paint_bush, (side * (wall + rng.uniform(0.9, 3)), z)
    if rng.random() < 0.8:
        yield far, furniture.paint_fence, (side * wall, near, far)


def _pavement(street, rng):
    """Posts, signs, street trees, bins and people: (distance, painter, arguments)."""
    for side in (-1, 1):
        kerb = side * (street.kerb + 0.45)
        for z in np.arange(rng.uniform(4, 14), 75, rng.uniform(11, 18)):
            yield z, furniture.paint_lamp, (kerb, z)
        if rng.random() < 0.6:
            for z in np.arange(rng.uniform(4, 10), rng.uniform(20, 60), rng.uniform(1.6, 2.6)):
                yield z, furniture.paint_bollard, (kerb - side * 0.2, z)
        for z in rng.uniform(6, 45, rng.integers(3, 7)):
            kind = (furniture.paint_sign, furniture.paint_traffic_light)[int(rng.random() < 0.3)]
            yield z, kind, (kerb + side * rng.uniform(0, 0.3), z)
        if rng.random() < 0.4:
            z = rng.uniform(14, 40)
            yield z, furniture.paint_direction_board, (side * (street.wall - 1.2), z)
        if rng.random() < 0.45:
            for z in np.arange(rng.uniform(8, 16), 80, rng.uniform(8, 14)):
                yield z, vegetation.paint_tree, (kerb + side * 0.4, z)
        if rng.random() < 0.25:
            near, length = rng.uniform(6, 20), rng.uniform(6, 14)
            yield near + length, furniture.paint_fence, (kerb, near, near + length)
        for z in rng.uniform(6, 30, rng.integers(0, 3)):
            yield z, furniture.paint_bin, (side * (street.wall - 0.7), z)
        for z in 5.5 + 45 * rng.random(rng.integers(4, 9)) ** 1.8:
            across = street.kerb + rng.uniform(0.3, street.pavement - 0.2)
            yield z, people.paint_person, (side * across, z)


def _road(street, own_lane, rng):
    """Driving and parked vehicles and people who cross: (distance, painter, arguments)."""
    for lane in range(street.lanes):
        x = street.lane * (lane + 0.5 - street.lanes / 2)
        parked = lane in (0, street.lanes - 1) and rng.random() < 0.45
        aside = np.sign(x) * 0.35 if parked else 0
        gaps = rng.uniform(5.4, 9, 10) if parked else rng.uniform(9, 34, 6)
        start = rng.uniform(10, 16) if abs(x - own_lane) < 1 else rng.uniform(3, 12)
        for z in start + np.cumsum(gaps) - gaps[0]:
            if z < 90:
                yield z, traffic.paint_car, (x + aside + rng.uniform(-0.2, 0.2), z, x > 0)
    if rng.random() < 0.5:
        for z in rng.uniform(7, 30, rng.integers(1, 4)):
            yield z, people.paint_person, (rng.uniform(-street.kerb, street.kerb), z)


def _cover_with_bonnet(image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> None:
    """Covers the bottom of half of the scenes with the bonnet of the camera's own car: void."""
    if rng.random() < 0.5:
        return
    height, width = label.shape
    rise, reach = rng.uniform(10, 24), rng.uniform(0.5, 0.7)
    hood = Canvas((height, width), rng)
    hood.image[:] = image
    shape = ellipse((width * rng.uniform(0.45, 0.55), height + 2), (width * reach, rise), 48)
    paint = rng.uniform(30, 120) * np.array((1, 1, 1.04), np.float32)
    hood.fill(shape, paint, 0, 1.0, grain=0.03)
    hood.fill(shape + np.array((0, rise * 0.75)), paint * 1.3, None, 1.0, opacity=0.5)
    image[:] = np.clip(hood.image, 0, 255).astype(np.uint8)
    label[hood.label == 0] = classes.VOID
