"""What stands on the pavement: posts, signs, lights, fences; and bins that nobody labels."""

import numpy as np
from numpy.typing import ArrayLike

from data.street_scenes import classes
from data.street_scenes.camera import Camera
from data.street_scenes.canvas import Canvas, ellipse, strip
from data.street_scenes.light import Light

_POST_GREYS = ((70, 72, 74), (110, 112, 114), (150, 150, 148), (52, 70, 60))


def paint_lamp(
    canvas: Canvas, camera: Camera, light: Light, rng: np.random.Generator, x: float, z: float
) -> None:
    """A lamp post with an arm over the road."""
    height, arm = rng.uniform(5, 7.5), rng.uniform(0.8, 1.8)
    colour = _post_colour(rng, light)
    _post(canvas, camera, x, z, height, 0.13, colour)
    scale = camera.scale(z)
    top = camera.project((x, height, z))
    tip = top + np.array((-np.sign(x) * arm, -0.2), np.float32) * scale
    canvas.fill(strip(top, tip, max(1.0, 0.1 * scale)), colour, classes.POST, z, grain=0)
    half = np.array((0.35 * scale, 0), np.float32)
    lamp = strip(tip - half, tip + half, max(1.0, 0.16 * scale))
    canvas.fill(lamp, colour * 1.25, classes.POST, z, grain=0)


def paint_bollard(
    canvas: Canvas, camera: Camera, light: Light, rng: np.random.Generator, x: float, z: float
) -> None:
    """A knee-high post on the kerb."""
    colour = _post_colour(rng, light)
    _post(canvas, camera, x, z, 0.95, 0.14, colour)
    if rng.random() < 0.5:
        top, bottom = camera.project(((x, 0.9, z), (x, 0.76, z)))
        ring = strip(top, bottom, max(1.0, 0.15 * camera.scale(z)))
        canvas.fill(ring, (206, 204, 198), classes.POST, z, grain=0)


def paint_sign(
    canvas: Canvas, camera: Camera, light: Light, rng: np.random.Generator, x: float, z: float
) -> None:
    """A traffic sign on its post."""
    height = rng.uniform(2.2, 3.0)
    _post(canvas, camera, x, z, height, 0.09, _post_colour(rng, light))
    size = rng.uniform(0.65, 0.95)
    rim, face, mark, corners = _PLATES[rng.choice(len(_PLATES))]
    centre = camera.project((x, height - 0.1, z))
    radius = size / 2 * camera.scale(z)
    for share, colour in ((1.0, rim), (0.78, face)):
        plate = _plate(centre, share * radius, corners)
        canvas.fill(
            plate, np.array(colour, np.float32) * light.on_side(0), classes.SIGN, z, grain=0.02
        )
    half = np.array((0.4 * radius, 0), np.float32)
    bar = strip(centre - half, centre + half, 0.3 * radius)
    canvas.fill(bar, mark, classes.SIGN, z, grain=0)


def paint_traffic_light(
    canvas: Canvas, camera: Camera, light: Light, rng: np.random.Generator, x: float, z: float
) -> None:
    """A traffic light on its post; its box counts as a sign."""
    _post(canvas, camera, x, z, 3.2, 0.12, _post_colour(rng, light))
    scale = camera.scale(z)
    middle = camera.project((x, 3.0, z))
    half = np.array((0, 0.55 * scale), np.float32)
    box = strip(middle - half, middle + half, max(1.5, 0.42 * scale))
    canvas.fill(box, (34, 36, 36), classes.SIGN, z, grain=0)
    lit = rng.integers(3)
    for i, colour in enumerate(((236, 52, 40), (240, 180, 50), (50, 220, 120))):
        lamp = ellipse(middle + (i - 1) * 0.62 * half, (0.13 * scale,) * 2, 10)
        canvas.fill(
            lamp, np.array(colour, np.float32) * (1 if i == lit else 0.25), classes.SIGN, z, grain=0
        )


def paint_direction_board(
    canvas: Canvas, camera: Camera, light: Light, rng: np.random.Generator, x: float, z: float
) -> None:
    """A large direction board on two posts."""
    width, bottom, top = rng.uniform(1.8, 3.0), 2.3, rng.uniform(3.4, 4.2)
    grey = _post_colour(rng, light)
    for aside in (-0.4, 0.4):
        _post(canvas, camera, x + aside * width, z, bottom + 0.1, 0.12, grey)
    edges = x - width / 2, x + width / 2
    board = camera.project(
        [(edges[0], top, z), (edges[1], top, z), (edges[1], bottom, z), (edges[0], bottom, z)]
    )
    colour = np.array(((28, 74, 150), (24, 104, 66), (222, 218, 206))[rng.choice(3)], np.float32)
    canvas.fill(board, colour * light.on_side(0), classes.SIGN, z, grain=0.03)
    ink = (236, 236, 232) if colour.mean() < 128 else (30, 30, 32)
    (left, high), (right, low) = board[0], board[2]
    for line in (0.25, 0.5, 0.75):
        row = high + line * (low - high)
        ends = np.sort(rng.uniform(0.1, 0.9, 2))
        text = strip(
            (left + ends[0] * (right - left), row),
            (left + ends[1] * (right - left), row),
            0.1 * (low - high),
        )
        canvas.fill(text, ink, classes.SIGN, z, grain=0)


def paint_fence(
    canvas: Canvas,
    camera: Camera,
    light: Light,
    rng: np.random.Generator,
    x: float,
    near: float,
    far: float,
) -> None:
    """A railing along the street. What shows between its bars belongs to the fence."""
    high = rng.uniform(1.0, 1.6)
    colour = _post_colour(rng, light) if rng.random() < 0.7 else np.array((130, 96, 66), np.float32)
    solid = rng.uniform(0.25, 0.6)
    whole = np.array(((x, high, near), (x, high, far), (x, 0.05, far), (x, 0.05, near)))
    canvas.fill(
        camera.project(whole), colour, classes.FENCE, (near * far) ** 0.5, opacity=solid, grain=0.08
    )
    for bar in np.arange(near, far, rng.uniform(0.35, 0.7)):
        foot, top = camera.project(((x, 0, bar), (x, high, bar)))
        width = 0.07 * camera.scale(bar)
        canvas.fill(
            strip(foot, top, max(1.0, width)),
            colour * 0.8,
            classes.FENCE,
            bar,
            opacity=min(1.0, max(0.4, width)),
            grain=0,
        )
    for level in (0.25, high):
        start, end = camera.project(((x, level, near), (x, level, far)))
        first = np.array((0, max(0.5, 0.04 * camera.scale(near))), np.float32)
        last = np.array((0, max(0.5, 0.04 * camera.scale(far))), np.float32)
        rail = np.stack((start - first, end - last, end + last, start + first))
        canvas.fill(rail, colour * 0.75, classes.FENCE, (near * far) ** 0.5, grain=0)


def paint_bin(
    canvas: Canvas, camera: Camera, light: Light, rng: np.random.Generator, x: float, z: float
) -> None:
    """A bin or a parcel: void, since it belongs to no class."""
    size = rng.uniform((0.4, 0.5), (0.8, 1.1))
    corners = np.array(((-0.5, 1, 0), (0.5, 1, 0), (0.42, 0, 0), (-0.42, 0, 0)))
    polygon = camera.project(corners * (*size, 1) + (x, 0, z))
    canvas.fill(polygon, rng.uniform(40, 150, 3), classes.VOID, z, grain=0.1)


def _post_colour(rng: np.random.Generator, light: Light) -> np.ndarray:
    return np.array(_POST_GREYS[rng.choice(len(_POST_GREYS))], np.float32) * light.on_side(0)


def _post(
    canvas: Canvas,
    camera: Camera,
    x: float,
    z: float,
    height: float,
    width: float,
    colour: ArrayLike,
) -> None:
    foot, top = camera.project(((x, 0, z), (x, height, z)))
    canvas.fill(
        strip(foot, top, max(1.0, width * camera.scale(z))), colour, classes.POST, z, grain=0.03
    )


# rim, face, mark, corners
_PLATES = (
    ((196, 26, 32), (232, 230, 226), (30, 30, 32), 16),  # prohibition
    ((196, 26, 32), (236, 234, 228), (30, 30, 32), 3),  # warning
    ((34, 84, 170), (40, 92, 184), (234, 234, 232), 16),  # obligation
    ((34, 84, 170), (40, 92, 184), (234, 234, 232), 4),  # information
    ((234, 232, 224), (240, 196, 40), (240, 196, 40), 4.5),  # right of way
)


def _plate(centre: np.ndarray, radius: float, corners: float) -> np.ndarray:
    """A regular plate: 3, 4 or 16 corners; 4.5 stands for a square on its corner."""
    count = int(corners)
    turn = {3.0: -np.pi / 2, 4.0: np.pi / 4}.get(corners, 0.0)
    angle = turn + np.arange(count) * 2 * np.pi / count
    return np.asarray(centre) + radius * np.stack((np.cos(angle), np.sin(angle)), -1)
