"""Houses along the street and the skyline at its end."""

import cv2
import numpy as np
from numpy.typing import ArrayLike

from data.street_scenes import classes, noise
from data.street_scenes.camera import Camera
from data.street_scenes.canvas import Canvas, polygon_coverage
from data.street_scenes.light import Light

NEAREST = 2.5  # metres; what is nearer lies outside the image

_WALLS = (
    (150, 144, 136),  # concrete
    (122, 120, 118),  # old concrete, the grey of the road
    (168, 128, 104),  # brick
    (142, 98, 82),  # dark brick
    (190, 178, 152),  # sandstone
    (204, 198, 186),  # plaster
    (176, 164, 172),  # pink-grey plaster
)
_POSTERS = ((30, 78, 152), (26, 106, 70), (176, 44, 44), (222, 190, 70))


def paint_house(
    canvas: Canvas,
    camera: Camera,
    light: Light,
    rng: np.random.Generator,
    side: int,
    x: float,
    near: float,
    far: float,
) -> None:
    """Paints one house: its front along the street and the gable that faces the camera.

    Args:
      canvas: where to paint.
      camera: the camera.
      light: the light.
      rng: source of the house's looks.
      side: -1 left of the street, 1 right of it.
      x: distance of the front from the axis, metres.
      near, far: where the front begins and ends along the street, metres.
    """
    storeys = int(rng.integers(2, 7))
    height = 3.1 * storeys + rng.uniform(0.5, 1.2)
    wall = np.array(_WALLS[rng.choice(len(_WALLS))], np.float32) * rng.uniform(0.82, 1.1)
    near = max(near, NEAREST)
    detail = float(np.clip(camera.scale(max(near, 12)), 2.5, 16))
    x *= side
    for end, bays, brightness in (
        ((x + side * 9.0, near), 2, light.on_side(0)),  # the gable
        ((x, far), None, light.on_side(-side)),  # the front
    ):
        corners = _upright(camera, (x, near), end, height)
        window = canvas.window(corners)
        if window is None:
            continue
        length = max(far - near, 1.0) if bays is None else 9.0
        texture = facade(rng, length, height, storeys, wall * brightness, detail, bays)
        distance = (near * end[1]) ** 0.5  # about where most of its pixels are
        _hang(canvas, texture, corners, window, distance)


def facade(
    rng: np.random.Generator,
    width: float,
    height: float,
    storeys: int,
    wall: np.ndarray,
    detail: float,
    bays: int | None = None,
) -> np.ndarray:
    """The texture of a wall with rows of windows.

    Args:
      rng: source of its looks.
      width, height: size of the wall, metres.
      storeys: rows of windows.
      wall: RGB `[3]` of the wall.
      detail: texture pixels per metre.
      bays: columns of windows; by default one to about 2.6 metres.

    Returns:
      `[h, w, 3]` float32 RGB, row 0 the eaves.
    """
    rows, columns = max(8, round(height * detail)), max(8, round(width * detail))
    grain = noise.crop(noise.grain(), rng, rows, columns)
    stain = noise.crop(noise.cloud(), rng, rows, columns)
    texture = wall * (1 + 0.08 * grain + 0.07 * stain)[..., None]
    bays = bays or max(1, round(width / rng.uniform(2.2, 3.2)))
    lintel, sill = rng.uniform(0.2, 0.3), rng.uniform(0.68, 0.8)
    half = rng.uniform(0.2, 0.34)
    y = (np.arange(rows) + 0.5) / rows * storeys
    x = (np.arange(columns) + 0.5) / columns * bays
    in_row = (y % 1 > lintel) & (y % 1 < sill)
    in_bay = np.abs(x % 1 - 0.5) < half
    frame = (y % 1 > lintel - 0.05) & (y % 1 < sill + 0.05)
    frame = frame[:, None] & (np.abs(x % 1 - 0.5) < half + 0.05)
    texture[frame] = wall * rng.uniform(0.7, 1.25)
    glass = _glass(rng, storeys, bays)[y.astype(int)[:, None], x.astype(int)]
    window = in_row[:, None] & in_bay
    if rng.random() < 0.5:  # a mullion
        window &= np.abs(x % 1 - 0.5) > 0.03
    texture[window] = glass[window] * (1 + 0.12 * stain[window])[:, None]
    _ground_floor(texture, rng, y > storeys - 1, x, wall)
    if rng.random() < 0.15:
        _poster(texture, rng)
    texture[: max(1, round(0.35 * detail))] *= rng.uniform(0.55, 0.9)  # eaves
    return texture


def _poster(texture: np.ndarray, rng: np.random.Generator) -> None:
    """A poster in the colours of a direction board: part of the house."""
    rows, columns = texture.shape[:2]
    top, left = int(rng.uniform(0.2, 0.5) * rows), int(rng.uniform(0, 0.6) * columns)
    area = texture[top : top + rows // 4, left : left + columns // 3]
    area[:] = _POSTERS[rng.choice(len(_POSTERS))]
    area[len(area) // 3 : len(area) // 2, : area.shape[1] * 3 // 4] = (232, 230, 224)


def _glass(rng: np.random.Generator, storeys: int, bays: int) -> np.ndarray:
    """A colour for every window: dark inside, some mirroring the sky, a few lit or curtained."""
    level = rng.uniform(38, 92, (storeys, bays, 1))
    mirror = rng.random((storeys, bays, 1)) < 0.2
    curtain = rng.random((storeys, bays, 1)) < 0.12
    colour = level * np.array((0.92, 1.0, 1.12))
    colour = np.where(mirror, colour + 70, colour)
    return np.where(curtain, (196, 188, 168), colour).astype(np.float32)


def _ground_floor(
    texture: np.ndarray,
    rng: np.random.Generator,
    lowest: np.ndarray,
    x: np.ndarray,
    wall: np.ndarray,
) -> None:
    """Shop fronts or doors below, and a plinth in the grey of the pavement."""
    rows = np.flatnonzero(lowest)
    if len(rows) < 6:
        return
    texture[rows[-max(1, len(rows) // 8) :]] = wall * 0.72
    if rng.random() < 0.45:
        band = slice(rows[0] + len(rows) // 12, rows[0] + len(rows) // 4)
        texture[band] = rng.uniform(50, 190, 3)
        shop = np.ix_(rows[len(rows) // 3 : -len(rows) // 8], np.abs(x % 1 - 0.5) < 0.42)
        texture[shop] = rng.uniform(45, 80) * np.array((0.95, 1.0, 1.05), np.float32)
    else:
        door = np.abs(x - (int(rng.integers(0, int(x[-1]) + 1)) + 0.5)) < 0.2
        texture[np.ix_(rows[len(rows) // 3 :], door)] = rng.uniform(40, 120, 3)


def _upright(
    camera: Camera, start: tuple[float, float], end: tuple[float, float], height: float
) -> np.ndarray:
    """Pixels `[4, 2]` of the upright wall from `start` to `end`, both (x, z) in metres."""
    (x0, z0), (x1, z1) = start, end
    return camera.project(((x0, height, z0), (x1, height, z1), (x1, 0, z1), (x0, 0, z0)))


def _hang(
    canvas: Canvas,
    texture: np.ndarray,
    corners: np.ndarray,
    window: tuple[slice, slice],
    distance: float,
) -> None:
    """Hangs a texture between four corners, the first of which gets its top left."""
    rows, columns = window
    size = (columns.stop - columns.start, rows.stop - rows.start)
    h, w = texture.shape[:2]
    source = np.array(((0, 0), (w, 0), (w, h), (0, h)), np.float32)
    placed = corners - np.array((columns.start, rows.start), np.float32)
    transform = cv2.getPerspectiveTransform(source, placed)
    colour = cv2.warpPerspective(texture, transform, size, borderMode=cv2.BORDER_REPLICATE)
    coverage = polygon_coverage(corners, window)
    canvas.blend(window, coverage, colour, classes.BUILDING, distance)


def paint_skyline(
    canvas: Canvas, camera: Camera, light: Light, rng: np.random.Generator, distance: float
) -> None:
    """Paints a row of distant houses and trees that closes the street."""
    width = canvas.label.shape[1]
    scale = camera.scale(distance)
    base = camera.horizon + scale * camera.y
    column = -20.0
    while column < width:
        step = rng.uniform(8, 40) * scale
        tree = rng.random() < 0.45
        height = (rng.uniform(3, 9) if tree else rng.uniform(5, 20)) * scale
        right = column + step + 1
        box: ArrayLike = (
            (column, base - height),
            (right, base - height),
            (right, base),
            (column, base),
        )
        if tree:
            wave = np.linspace(0, 1, 9)
            top = base - height * (0.6 + 0.4 * np.sin(np.pi * wave) + rng.uniform(-0.1, 0.1, 9))
            crown = np.stack((column + wave * step * 1.3 - step * 0.15, top), -1)
            box = np.concatenate((crown, ((right, base), (column, base))))
            colour, label = np.array((70, 92, 56), np.float32), classes.VEGETATION
        else:
            colour, label = (
                np.array(_WALLS[rng.choice(len(_WALLS))], np.float32) * 0.9,
                classes.BUILDING,
            )
        canvas.fill(box, colour * light.on_side(0), label, distance, grain=0.12)
        column += step
