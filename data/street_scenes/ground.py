"""The ground of a street: road, lane marks, kerbs, pavement and verges."""

import dataclasses

import cv2
import numpy as np

from data.street_scenes import classes, noise
from data.street_scenes.camera import Camera
from data.street_scenes.canvas import Canvas
from data.street_scenes.light import Light

SETBACK = 0.6  # metres; the most that a house stands back from the pavement
FAR = 400.0  # metres; the ground ends here, a few rows below the horizon


@dataclasses.dataclass(frozen=True)
class Street:
    """The plan of a street, in metres.

    Attributes:
      lanes: number of lanes.
      lane: width of a lane.
      pavement: width of either pavement.
      plots: for the left (0) and the right (1), `[N]` far ends of the plots along the street.
      green: for the left and the right, `[N]` whether a plot is a garden and not a building.
    """

    lanes: int
    lane: float
    pavement: float
    plots: tuple[np.ndarray, np.ndarray]
    green: tuple[np.ndarray, np.ndarray]

    @property
    def kerb(self) -> float:
        """Distance of the kerb from the axis."""
        return self.lanes * self.lane / 2

    @property
    def wall(self) -> float:
        """Distance of the fronts of the buildings from the axis."""
        return self.kerb + self.pavement

    @classmethod
    def sample(cls, rng: np.random.Generator) -> "Street":
        """A street of two to four lanes between buildings and gardens."""
        sides = [np.cumsum(rng.uniform(8, 20, 9)) for _ in range(2)]
        share = rng.uniform(0.15, 0.6)
        return cls(
            lanes=int(rng.choice((2, 3, 4), p=(0.55, 0.3, 0.15))),
            lane=rng.uniform(2.8, 3.4),
            pavement=rng.uniform(2.2, 4.0),
            plots=(sides[0], sides[1]),
            green=(rng.random(9) < share, rng.random(9) < share),
        )


def paint_ground(
    canvas: Canvas, camera: Camera, street: Street, light: Light, rng: np.random.Generator
) -> None:
    """Paints everything flat, from the horizon to the bottom of the image."""
    height, width = canvas.label.shape
    top = int(np.ceil(camera.horizon + camera.focal * camera.y / FAR))
    rows, columns = np.arange(top, height) + 0.5, np.arange(width) + 0.5
    x, z = camera.ground(rows.astype(np.float32), columns.astype(np.float32))
    aside = np.abs(x)
    pixel = z / camera.focal  # metres across a pixel

    # Road and pavement share their material: the same noise, overlapping greys. What tells them
    # apart is where they lie.
    grain = _on_ground(noise.grain(), x, z, rng, 24) * np.minimum(1, 12 / z)
    patches = _on_ground(noise.cloud(), x, z, rng, 6)
    label = np.full(x.shape, classes.ROAD, np.uint8)
    road_grey, pavement_grey = rng.uniform(78, 128), rng.uniform(92, 150)
    colour = _grey(road_grey, rng) * (1 + 0.09 * grain + 0.07 * patches)[..., None]
    _repair(colour, patches, rng)

    pavement = _grey(pavement_grey, rng) * (1 + 0.09 * grain + 0.07 * patches)[..., None]
    pavement *= 1 - 0.22 * _joints(x, z, pixel, rng.uniform(0.5, 1.1))[..., None]
    _lay(colour, label, _step(aside - street.kerb, pixel), pavement, classes.PAVEMENT)
    kerbstone = _band(aside - street.kerb, 0.12, pixel)
    colour += kerbstone[..., None] * (0.25 * 205 - 0.25 * colour)

    grass = np.array((84, 116, 52), np.float32) * (0.95 + 0.22 * grain + 0.2 * patches)[..., None]
    # Houses hide it; beside a garden it is what one sees.
    verge = _step(aside - street.wall - SETBACK, pixel)
    _lay(colour, label, verge, grass, classes.VEGETATION)

    paint, marked = _lane_marks(street, x, z, pixel, rng)
    wear = np.clip(1.05 + 0.25 * patches + 0.1 * grain, 0.45, 1)
    paint_colour = np.array((226, 224, 216), np.float32) * rng.uniform(0.9, 1.02)
    colour += (paint * wear)[..., None] * (paint_colour - colour)
    label[marked] = classes.LANE_MARK

    colour *= _house_shadow(street, light, x, z, rng)[..., None]
    canvas.image[top:], canvas.label[top:] = colour, label
    canvas.depth[top:] = z


def _grey(level: float, rng: np.random.Generator) -> np.ndarray:
    return np.float32(level) + rng.uniform(-7, 7, 3).astype(np.float32)


def _on_ground(
    field: np.ndarray, x: np.ndarray, z: np.ndarray, rng: np.random.Generator, per_metre: float
) -> np.ndarray:
    """Noise that lies on the ground, `per_metre` cells of the field to a metre."""
    offset = rng.uniform(0, noise.SIZE, 2)
    u = np.mod(x * per_metre + offset[0], noise.SIZE).astype(np.float32)
    v = np.mod(np.broadcast_to(z, x.shape) * per_metre + offset[1], noise.SIZE).astype(np.float32)
    return cv2.remap(field, u, v, cv2.INTER_NEAREST, borderMode=cv2.BORDER_WRAP)


def _step(signed_distance: np.ndarray, pixel: np.ndarray) -> np.ndarray:
    """Coverage of the side where the distance (metres) is positive, one pixel soft."""
    return np.clip(signed_distance / pixel + 0.5, 0, 1)


def _band(signed_distance: np.ndarray, width: float, pixel: np.ndarray) -> np.ndarray:
    """Coverage of a line `width` metres wide. Narrower than a pixel it fades."""
    inside = (width / 2 - np.abs(signed_distance)) / pixel + 0.5
    return np.clip(inside, 0, np.minimum(1, width / pixel))


def _lay(
    colour: np.ndarray, label: np.ndarray, coverage: np.ndarray, surface: np.ndarray, class_id: int
) -> None:
    colour += coverage[..., None] * (surface - colour)
    label[coverage > 0.5] = class_id


def _joints(x: np.ndarray, z: np.ndarray, pixel: np.ndarray, slab: float) -> np.ndarray:
    across = np.mod(x, slab) - slab / 2
    along = np.mod(np.broadcast_to(z, x.shape), slab) - slab / 2
    deep = pixel * np.maximum(1, z / 2)  # a pixel is longer along the road than across
    return np.maximum(_band(across, 0.03, pixel), _band(along, 0.03, deep))


def _repair(colour: np.ndarray, patches: np.ndarray, rng: np.random.Generator) -> None:
    """Dark repairs, or puddles that mirror the sky: still road."""
    if rng.random() < 0.5:
        wet = np.clip((patches - rng.uniform(0.9, 1.6)) * 4, 0, 1)[..., None]
        target = (
            np.array((52, 52, 54), np.float32)
            if rng.random() < 0.6
            else np.array((150, 160, 172), np.float32)
        )
        colour += 0.7 * wet * (target - colour)


def _lane_marks(
    street: Street, x: np.ndarray, z: np.ndarray, pixel: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Coverage of the lane marks and where they are wide enough to be labelled."""
    width = rng.uniform(0.14, 0.22)
    period = rng.uniform(6, 9)
    dash = np.mod(z + rng.uniform(0, period), period) < 0.55 * period
    coverage = np.zeros_like(x)
    for i in range(1, street.lanes):
        solid = rng.random() < 0.3
        line = _band(x - street.lane * (i - street.lanes / 2), width, pixel)
        coverage = np.maximum(coverage, line * (dash | solid))
    if rng.random() < 0.7:
        edge = street.kerb - rng.uniform(0.25, 0.5)
        coverage = np.maximum(coverage, _band(np.abs(x) - edge, width, pixel))
    if rng.random() < 0.6:
        start = rng.uniform(6, 24)
        crossing = (z > start) & (z < start + 3) & (np.abs(x) < street.kerb - 0.3)
        stripes = _band(np.mod(x, 1.0) - 0.5, 0.5, pixel)
        coverage = np.where(crossing, stripes, coverage)
    return coverage, coverage > 0.5


def _house_shadow(
    street: Street, light: Light, x: np.ndarray, z: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Brightness of the ground: the houses on the sunny side shade part of the street."""
    reach = street.wall * 2 * abs(light.sun) * rng.uniform(0.5, 1.1)
    towards = x if light.sun < 0 else -x
    ragged = 0.6 * np.sin(z / rng.uniform(2, 5)) + 1.2 * np.sign(np.sin(z / rng.uniform(5, 9)))
    shaded = np.clip((reach - street.wall + ragged - towards) / 0.4, 0, 1)
    return (1.08 - 0.5 * light.contrast * shaded).astype(np.float32)
