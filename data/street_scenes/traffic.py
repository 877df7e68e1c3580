"""Vehicles: the class car."""

import dataclasses
from collections.abc import Callable

import numpy as np

from data.street_scenes import classes
from data.street_scenes.buildings import NEAREST
from data.street_scenes.camera import Camera
from data.street_scenes.canvas import Canvas, ellipse
from data.street_scenes.light import Light

_DETAIL = 45.0  # metres; beyond it lamps and wheels are smaller than a pixel


@dataclasses.dataclass(frozen=True)
class _Model:
    """A shape: an outline seen from the side, drawn out to the width of the vehicle.

    Attributes:
      outline: corners from the rear bumper to the front, (share of the length, height in metres).
      glass: which edges of the outline are panes.
      windows: those of the flank: (share from, share to, bottom, top).
      length, width: metres.
    """

    outline: tuple[tuple[float, float], ...]
    glass: tuple[int, ...]
    windows: tuple[tuple[float, float, float, float], ...]
    length: float
    width: float


# fmt: off
_SALOON = _Model(
    ((0, 0.3), (0, 0.8), (0.03, 0.92), (0.14, 0.96), (0.27, 1.40), (0.58, 1.43), (0.75, 0.98),
     (0.97, 0.84), (1, 0.6), (1, 0.3)),
    (3, 5), ((0.24, 0.45, 0.95, 1.33), (0.47, 0.68, 0.95, 1.33)), 4.5, 1.8,
)
_HATCHBACK = _Model(
    ((0, 0.3), (0, 0.9), (0.12, 1.46), (0.55, 1.5), (0.76, 1.02), (0.97, 0.86), (1, 0.6), (1, 0.3)),
    (1, 3), ((0.10, 0.38, 0.98, 1.38), (0.40, 0.68, 0.98, 1.38)), 4.0, 1.75,
)
_VAN = _Model(
    ((0, 0.35), (0, 1.2), (0.01, 2.0), (0.05, 2.25), (0.78, 2.25), (0.92, 1.35), (0.99, 1.1),
     (1, 0.35)),
    (1, 4), ((0.74, 0.88, 1.3, 1.9),), 5.2, 1.95,
)
# Its flat sides have the colours and the grain of a wall.
_LORRY = _Model(
    ((0, 0.42), (0, 3.1), (0.74, 3.1), (0.75, 2.6), (0.96, 2.5), (1, 1.5), (1, 0.4)),
    (4,), ((0.80, 0.94, 1.6, 2.3),), 7.5, 2.3,
)
_MODELS, _SHARES = (_SALOON, _HATCHBACK, _VAN, _LORRY), (0.42, 0.38, 0.12, 0.08)
_COLOURS = (
    (196, 198, 200), (148, 150, 154), (96, 98, 102), (44, 46, 50), (226, 226, 222),
    (150, 34, 34), (40, 66, 128), (60, 92, 72), (176, 150, 96), (128, 112, 100),
)
# fmt: on


def paint_car(
    canvas: Canvas,
    camera: Camera,
    light: Light,
    rng: np.random.Generator,
    x: float,
    z: float,
    away: bool,
) -> None:
    """Paints a vehicle.

    Args:
      canvas: where to paint.
      camera: the camera.
      light: the light.
      rng: source of model and colour.
      x: its middle, metres from the axis.
      z: its end nearest to the camera, metres.
      away: whether it drives away from the camera, or towards it.
    """
    model = _MODELS[rng.choice(len(_MODELS), p=_SHARES)]
    paint = np.array(_COLOURS[rng.choice(len(_COLOURS))], np.float32) * rng.uniform(0.85, 1.08)
    pane = np.array((44, 52, 60), np.float32) * rng.uniform(0.7, 1.5)
    z = max(z, NEAREST)

    def place(across, share, high):
        """Street points of the vehicle from shares of its width and length and from heights."""
        share = np.asarray(share) if away else 1 - np.asarray(share)
        along = z + share * model.length
        return np.stack(np.broadcast_arrays(x + across * model.width, high, along), -1)

    def panel(corners, colour, grain=0.05):
        canvas.fill(camera.project(corners), colour, classes.CAR, z, grain=grain)

    _paint_shadow(canvas, camera, x, z, model)
    _paint_skin(panel, place, light, model, paint, pane)
    if z < _DETAIL:
        _paint_end(panel, x, z, model, away)
        aside = x + camera.bend * z**2 - camera.x
        if abs(aside) > model.width / 2:
            side = -1 if aside > 0 else 1
            _paint_flank(panel, place, model, side, paint * light.on_side(side), pane)


def _paint_shadow(canvas: Canvas, camera: Camera, x: float, z: float, model: _Model) -> None:
    under = np.array(((-1, 0, 0), (1, 0, 0), (1, 0, 1), (-1, 0, 1)))
    under = under * (model.width / 2 + 0.15, 0, model.length) + (x, 0, z - 0.1)
    canvas.darken(camera.project(under), 0.35, min(4.0, 0.12 * camera.scale(z)))


def _paint_skin(
    panel: Callable[..., None],
    place: Callable[..., np.ndarray],
    light: Light,
    model: _Model,
    paint: np.ndarray,
    pane: np.ndarray,
) -> None:
    """Rear, roof and front: the outline drawn out from left to right, from far to near."""
    share, high = np.array(model.outline).T
    left, right = place(-0.5, share, high), place(0.5, share, high)
    quads = np.stack((left[:-1], left[1:], right[1:], right[:-1]), axis=1)
    for i in np.argsort(-quads[..., 2].mean(1), kind="stable"):
        rise, run = np.ptp(quads[i, :, 1]), np.ptp(quads[i, :, 2])
        upright = rise / (rise + run)
        brightness = upright * light.on_side(0) + (1 - upright) * (1 + 0.15 * light.contrast)
        panel(quads[i], paint * brightness)
        if i in model.glass:
            middle = quads[i].mean(0)
            panel(middle + 0.86 * (quads[i] - middle), pane * brightness, grain=0.15)


def _paint_end(panel: Callable[..., None], x: float, z: float, model: _Model, away: bool) -> None:
    """Lamps, number plate, bumper and wheels at the end that faces the camera."""

    def box(across, level, width, height, colour):
        corners = np.array(((-1, 1, 0), (1, 1, 0), (1, -1, 0), (-1, -1, 0)))
        middle = (x + across * model.width, level, z)
        panel(corners * (width / 2, height / 2, 0) + middle, colour, grain=0)

    lamp = (176, 26, 24) if away else (236, 232, 206)
    for side in (-1, 1):
        box(0.38 * side, 0.8, 0.3, 0.16, lamp)
        box(0.4 * side, 0.16, 0.24, 0.32, (24, 24, 26))
    box(0, 0.55, 0.5, 0.12, (214, 212, 190))
    box(0, 0.36, 0.94 * model.width, 0.14, (46, 46, 48))


def _paint_flank(
    panel: Callable[..., None],
    place: Callable[..., np.ndarray],
    model: _Model,
    side: int,
    paint: np.ndarray,
    pane: np.ndarray,
) -> None:
    """The side that the camera sees: panel, windows and wheels."""
    across = 0.5 * side
    panel(place(across, *np.array(model.outline).T), paint)
    slant = 0.035  # pillars lean
    for start, end, bottom, top in model.windows:
        shares = (start, start + slant, end - slant, end)
        panel(place(across, shares, np.array((bottom, top, top, bottom))), pane, grain=0.15)
    for share in (0.18, 0.81):
        for radius, colour in ((0.34, (22, 22, 24)), (0.19, (128, 128, 130))):
            rim = ellipse((share, 0.34), (radius / model.length, radius), 12)
            panel(place(across, rim[:, 0], rim[:, 1]), colour, grain=0)
