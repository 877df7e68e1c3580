"""Images beyond the memory of a device: looked at in tiles of one shape, then fused in strips.

Each scale of an image is cut into overlapping tiles, all of the size that the network then sees.
What it says of them, logits and attention at the resolution of its heads, is blended with a smooth
window into maps of the whole image, on the host. These are fused as those of any other image, some
rows at a time. Only what reaches further than a tile differs from looking at the whole image: the
context of a pixel.
"""

import dataclasses
import functools
import math
import os
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hmsa_jax.distributed import sharding
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.inference.predictor import Predictor, Summarize
from hmsa_jax.inference.protocol import ProtocolOutput
from hmsa_jax.inference.tile_grid import Tile, TileGrid
from hmsa_jax.input.photometric import normalize
from hmsa_jax.models import multiscale
from hmsa_jax.models.layers import strip as strip_lib
from hmsa_jax.models.layers.canvas import Canvas, Size
from hmsa_jax.models.layers.strip import Strip
from hmsa_jax.models.multiscale import ScaleOutput

_STRIP = 2**20  # pixels that are fused at a time


@dataclasses.dataclass(frozen=True)
class Tiling:
    """Which images are looked at in tiles.

    Attributes:
      side: rows and columns of a tile, a multiple of `tile_grid.STEP`.
      above: pixels of the largest image that is looked at as a whole.
    """

    side: int
    above: float

    def applies(self, size: Size) -> bool:
        """Whether an image of so many rows and columns goes in tiles."""
        return size[0] * size[1] > self.above

    def describe(self) -> str:
        """For a record of how images were predicted."""
        if self.above == math.inf:
            return "none"
        return f"{self.side} x {self.side}, of images above {self.above} pixels"


class TiledPredictor:
    """A network with its weights on devices, ready for images beyond their memory.

    Args:
      predictor: the network and one protocol, whose scales are not weighed together.
      params: of the network, on the devices.
      batch_stats: of the network, on the devices.
      summarize: as for `Predictor.step`, of each pixel by itself: arrays `[B, H, W, ...]`.
      side: rows and columns of a tile, a multiple of `tile_grid.STEP`.
      tiles_per_device: that a device looks at together.
    """

    def __init__(
        self,
        predictor: Predictor,
        params: dict,
        batch_stats: dict,
        summarize: Summarize,
        *,
        side: int,
        tiles_per_device: int,
    ):
        self._predictor, self._summarize = predictor, summarize
        (self._protocol,) = predictor.protocols
        self._weights, self._side = (params, batch_stats), side
        self._tiles = tiles_per_device * predictor.mesh.size
        on_devices = sharding.whole_images(predictor.mesh)
        weights = sharding.replicated(predictor.mesh)
        self._cut_out = jax.jit(_cut_out, in_shardings=on_devices, out_shardings=on_devices)
        self._look_at = functools.partial(
            _look, predictor.graphdef, self._protocol.fusion.attention
        )
        self._look = jax.jit(
            self._look_at,
            in_shardings=(weights, weights, on_devices, on_devices),
            out_shardings=on_devices,
        )
        self._fuse = jax.jit(self._fuse_strip, static_argnames=("size", "rows"))

    def count(self, size: Size) -> int:
        """How many tiles an image of so many rows and columns takes."""
        grids = [self._grid(size, scale) for scale in self._protocol.scales]
        return sum(len(grid.tiles) for grid in grids) * (2 if self._predictor.flip else 1)

    def check(self, size: Size) -> None:
        """Raises ValueError if an image of so many rows and columns is too large for tiles, too."""
        strip_lib.check(size[0], self._protocol.scales)
        grids = [self._grid(size, scale) for scale in self._protocol.scales]
        pixels = sum(grid.rows.scaled * grid.columns.scaled for grid in grids)
        said = self._of_tile
        bytes_of_pixel = said.size * said.dtype.itemsize / self._side**2
        needed = pixels * bytes_of_pixel * (2 if self._predictor.flip else 1)
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if needed > available:
            raise ValueError(
                f"the maps of its {size[0]} x {size[1]} pixels would take {needed / 1e9:.3g} GB of"
                f" this machine's {available / 1e9:.3g} GB; cut it up, or name smaller scales"
            )

    @functools.cached_property
    def _of_tile(self) -> jax.ShapeDtypeStruct:
        """What the network says of a tile, `[1, h, w, classes (+ 1)]`; it is traced for it."""
        pixels = jax.ShapeDtypeStruct((1, self._side, self._side, 3), jnp.float32)
        covered = jax.ShapeDtypeStruct((1, 2), jnp.int32)
        said, _ = jax.eval_shape(self._look_at, *self._weights, pixels, covered)
        return said

    @property
    def _stride(self) -> int:
        """Pixels of a scaled image, in rows and in columns, for each place of its map."""
        return self._side // self._of_tile.shape[1]

    def predict(self, name: str, image: np.ndarray) -> Any:
        """The summary of an image, host arrays `[H, W, ...]`.

        Args:
          name: of the image, for errors.
          image: uint8 `[H, W, 3]`.

        Raises:
          ValueError: as for `check`.
          FloatingPointError: logits are not finite.
        """
        size = (image.shape[0], image.shape[1])
        self.check(size)
        views = [image]
        if self._predictor.flip:
            views.append(np.ascontiguousarray(image[:, ::-1]))
        maps = [
            {scale: self._map(name, view, scale) for scale in self._protocol.scales}
            for view in views
        ]
        rows = min(max(_STRIP // size[1], 1), size[0])
        whole: Any = None
        for start in [*range(0, size[0] - rows, rows), size[0] - rows]:
            held = [self._held(of_view, size, rows, start) for of_view in maps]
            strip = image[None, start : start + rows]
            part = jax.device_get(self._fuse(held, strip, start, size=size, rows=rows))
            if whole is None:
                whole = jax.tree.map(lambda x: np.empty((*size, *x.shape[3:]), x.dtype), part)
            jax.tree.map(functools.partial(_put_rows, start), whole, part)
        return whole

    def _grid(self, size: Size, scale: float) -> TileGrid:
        return TileGrid.of(size, self._protocol.fusion.scaled_size(size, scale), self._side)

    def _map(self, name: str, image: np.ndarray, scale: float) -> np.ndarray:
        """Logits and attention of a whole image at a scale, float `[h, w, classes (+ 1)]`."""
        grid = self._grid(image.shape[:2], scale)
        whole: np.ndarray | None = None
        for tiles, computed in self._looked_at(grid, image):
            said, finite = jax.device_get(computed)
            if not finite[: len(tiles)].all():
                protocol_lib.refuse_not_finite([name])
            if whole is None:
                sides = (-(-axis.scaled // self._stride) for axis in (grid.rows, grid.columns))
                whole = np.zeros((*sides, said.shape[-1]), said.dtype)
            for tile, of_tile in zip(tiles, said, strict=False):
                grid.blend(whole, tile, of_tile)
        assert whole is not None  # there is a tile
        return whole

    def _looked_at(self, grid: TileGrid, image: np.ndarray) -> Iterator[tuple[list[Tile], Any]]:
        """Yields tiles with what the devices say of them, one batch late: they work meanwhile."""
        pending: tuple[list[Tile], Any] | None = None
        for start in range(0, len(grid.tiles), self._tiles):
            tiles = grid.tiles[start : start + self._tiles]
            filled_up = tiles + tiles[-1:] * (self._tiles - len(tiles))
            crops = [grid.crop(image, tile) for tile in filled_up]
            arrays = jax.tree.map(lambda *each: np.stack(each), *crops)
            computed = self._look(*self._weights, self._cut_out(arrays), arrays["covered"])
            if pending is not None:
                yield pending
            pending = tiles, computed
        if pending is not None:
            yield pending

    def _held(
        self, maps: dict[float, np.ndarray], size: Size, rows: int, start: int
    ) -> dict[float, np.ndarray]:
        """scale -> the rows of its map `[1, h, w, C]` that a strip is fused from."""
        strip = Strip(size, rows, self._protocol.scales, start)
        held = {}
        for scale, whole in maps.items():
            scaled = strip.scaled(scale, self._protocol.fusion.scaled_size)
            first, count = int(scaled.first) // self._stride, scaled.rows // self._stride
            part = whole[first : first + count]
            held[scale] = np.pad(part, ((0, count - len(part)), (0, 0), (0, 0)))[None]
        return held

    def _fuse_strip(self, held, image, start, *, size, rows):
        strip = Strip(size, rows, self._protocol.scales, start)
        outputs = [self._fused(of_view, strip) for of_view in held]
        if len(outputs) > 1:
            mirrored = jax.tree.map(lambda x: x[:, :, ::-1], outputs[1])
            outputs = [jax.tree.map(lambda a, b: (a + b) / 2, outputs[0], mirrored)]
        return self._summarize(outputs, {"image": image})

    def _fused(self, held: dict[float, jax.Array], strip: Strip) -> ProtocolOutput:
        way, resolution = self._protocol, self._predictor.fusion_resolution
        attends = way.fusion.attention is not None
        outputs = {
            scale: ScaleOutput(
                x[..., :-1] if attends else x, None, x[..., -1:] if attends else None
            )
            for scale, x in held.items()
        }
        by_scale = None
        if self._predictor.each_scale:
            by_scale = way.by_scale(outputs, strip, resolution)
        return ProtocolOutput(way.predict(outputs, strip, resolution), by_scale)


def _cut_out(crops: dict[str, jax.Array]) -> jax.Array:
    """The pixels of tiles as the network reads them, `[B, side, side, 3]`, from `TileGrid.crop`."""
    pixels = normalize(crops["image"])
    for axis in (0, 1):
        take = jax.vmap(functools.partial(jnp.take, axis=axis))
        of_high = crops["of_high"][:, axis, :, None, None]
        of_high = of_high if axis == 0 else jnp.moveaxis(of_high, 1, 2)
        low, high = (take(pixels, crops[name][:, axis]) for name in ("low", "high"))
        pixels = low * (1 - of_high) + high * of_high
    return Canvas(pixels.shape[1:3], crops["covered"]).clear(pixels).astype(pixels.dtype)


def _look(graphdef, attention, params, batch_stats, pixels, covered):
    """What the heads say of tiles, `[B, h, w, classes (+ 1)]`, and whether it is finite, `[B]`."""
    outputs, _ = multiscale.apply(
        graphdef, params, batch_stats, pixels, (1.0,), train=False, sizes=covered
    )
    said = outputs[1.0].logits
    if attention is not None:
        of_scale = outputs[1.0].attention
        assert of_scale is not None  # the protocol is one of this network
        said = jnp.concatenate([said, of_scale], -1)
    return said, protocol_lib.is_finite(said)


def _put_rows(start: int, whole: np.ndarray, part: np.ndarray) -> None:
    """Writes the rows of a strip `[1, rows, W, ...]` into those of the image."""
    whole[start : start + part.shape[1]] = part[0]
