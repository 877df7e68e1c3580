"""What is exported of a network: its weights by name, and a pure function of them and images."""

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hmsa_jax.distributed import sharding
from hmsa_jax.exported.model import Deviation
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.inference.predictor import Predictor, most_probable, one_image_at_a_time, to_byte
from hmsa_jax.inference.protocol import ProtocolOutput
from hmsa_jax.models.layers.canvas import MULTIPLE
from hmsa_jax.training import integrity

Size = tuple[int, int]
Arrays = Mapping[str, Any]  # of jax or numpy

_BLOCK = 8  # pixels of a side that have one colour there


@dataclasses.dataclass(frozen=True, eq=False)  # a jitted function is known by its identity
class Program:
    """A network as a pure function of weights and images.

    Attributes:
      predictor: the network and its only protocol, with what each scale says.
      params: of the network, nested dict of host arrays.
      batch_stats: of the network, the same.
      canvas: rows and columns of the arrays that hold images.
      is_exact: whether images fill them; else each comes with its rows and columns.
    """

    predictor: Predictor
    params: dict
    batch_stats: dict
    canvas: Size
    is_exact: bool

    @functools.cached_property
    def weights(self) -> dict[str, np.ndarray]:
        """All weights, by names like `params.trunk.first.conv.kernel`."""
        return integrity.by_name(self._nested)

    @property
    def _nested(self) -> dict:
        return {"params": self.params, "batch_stats": self.batch_stats}

    def inputs(self, batch: Any) -> tuple[jax.ShapeDtypeStruct, ...]:
        """What it reads of a batch: images, uint8, and unless they fill the canvas sizes, int32.

        Args:
          batch: how many, a number or a symbol of `jax.export`.
        """
        image = jax.ShapeDtypeStruct((batch, *self.canvas, 3), np.uint8)
        return (image,) if self.is_exact else (image, jax.ShapeDtypeStruct((batch, 2), np.int32))

    def __call__(self, weights: Arrays, *images: jax.Array) -> dict[str, jax.Array]:
        """What the network says of images, in the form that suits the device.

        Args:
          weights: by name.
          *images: as `inputs` has them.

        Returns:
          `classes`, uint8 `[B, H, W]`; `probability`, 255 times that of the class, uint8
          `[B, H, W]`; `shares`, 255 times those of the scales in ascending order, uint8
          `[B, scales, H, W]`, where the method has any; `finite`, bool `[B]`.
        """
        together = functools.partial(self.together, weights)
        alone = functools.partial(one_image_at_a_time, together, devices=1)
        arrays = dict(zip(("image", "size"), images, strict=False))
        return jax.lax.platform_dependent(arrays, cpu=alone, default=together)

    def expected(self) -> Iterator[dict[str, np.ndarray]]:
        """Each picture of `tests`, as `image`, with what `predict` would say of it."""
        mesh = self.predictor.mesh
        step = self.predictor.step(summarize, sharding.whole_images(mesh))
        weights = jax.device_put((self.params, self.batch_stats), sharding.replicated(mesh))
        for image in self.tests():
            arrays = dict(zip(("image", "size"), self.arrays(image), strict=False))
            summary, finite = jax.device_get(step(*weights, arrays))
            protocol_lib.refuse_not_finite([] if finite.all() else ["a picture of squares"])
            rows, columns = image.shape[:2]
            cut = {name: x[0, ..., :rows, :columns] for name, x in summary.items()}
            yield {"image": image} | cut

    def arrays(self, image: np.ndarray) -> tuple[np.ndarray, ...]:
        """What it reads of one image."""
        margin = [(0, most - own) for most, own in zip(self.canvas, image.shape, strict=False)]
        batch = np.pad(image, [*margin, (0, 0)])[None]
        return (batch,) if self.is_exact else (batch, np.array([image.shape[:2]], np.int32))

    def together(self, weights: Arrays, arrays: Arrays) -> dict[str, jax.Array]:
        """The same of `image` and `size`, all images at once."""
        names, structure = list(self.weights), jax.tree.structure(self._nested)
        nested = jax.tree.unflatten(structure, [weights[name] for name in names])
        predict = self.predictor.function(summarize)
        summary, finite = predict(nested["params"], nested["batch_stats"], arrays)
        return summary | {"finite": finite}

    @property
    def smallest_side(self) -> int:
        """Fewest rows and columns of an image of which every scale leaves something."""
        (protocol,) = self.predictor.protocols

        def is_left(side: int) -> bool:
            with contextlib.suppress(ValueError):
                return all(protocol.fusion.scaled_size((side, side), s) for s in protocol.scales)
            return False

        return next(side for side in range(1, min(self.canvas) + 1) if is_left(side))

    def tests(self) -> Iterator[np.ndarray]:
        """Pictures of coloured squares, uint8 `[H, W, 3]`: a whole one, and a smaller one."""
        sizes = [self.canvas]
        if not self.is_exact:
            least, (rows, columns) = self.smallest_side, self.canvas
            sizes.append((max(least, rows * 3 // 4), max(least, columns * 2 // 3)))
        for number, (rows, columns) in enumerate(sizes):
            squares = (-(-rows // _BLOCK), -(-columns // _BLOCK), 3)
            colours = np.random.default_rng(number).integers(0, 256, squares, np.uint8)
            yield colours.repeat(_BLOCK, 0).repeat(_BLOCK, 1)[:rows, :columns]


def canvas_for(size: Size, is_exact: bool) -> Size:
    """The canvas of images up to a size: of features of all strides, unless they fill it.

    >>> canvas_for((100, 256), is_exact=False)
    (128, 256)
    """
    if is_exact:
        return size
    rows, columns = (-(-side // MULTIPLE) * MULTIPLE for side in size)
    return rows, columns


def refuse_far(deviation: Deviation, allowed: Mapping[str, float], path: pathlib.Path) -> None:
    """Raises ValueError, which names the file, if what was exported is too far from the run."""
    if not deviation.is_within(allowed):
        raise ValueError(
            f"{path} is not written, since what was exported does not compute what the run does:"
            f" {deviation}. Try another --format or --dtype, and report this"
        )


def summarize(outputs: Sequence[ProtocolOutput], batch: Arrays) -> dict[str, jax.Array]:
    """What leaves the device of a batch; see `Program.__call__`."""
    (output,) = outputs
    classes, probability = most_probable(output.logits)
    summary = {"classes": classes, "probability": to_byte(probability)}
    if output.scales is not None and output.scales.weights is not None:
        of_scale = sorted(output.scales.weights.items())
        shares = jnp.stack([share[..., 0] for _, share in of_scale], axis=1)
        summary["shares"] = to_byte(jnp.clip(shares, 0, 1))
    return summary
