"""The one way from images to what a network predicts of them: the step and the loop around it."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding

from hmsa_jax.distributed.sharding import put_batch, replicated, whole_images
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.inference.protocol import Protocol, ProtocolOutput
from hmsa_jax.input.decoding import Record
from hmsa_jax.input.layout import Size
from hmsa_jax.input.pipeline import Batch

Summarize = Callable[[list[ProtocolOutput], dict[str, jax.Array]], Any]


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A network and how it predicts; weights come when it does.

    Attributes:
      graphdef: the network.
      mesh: from `sharding.make_mesh`; its devices share out the images of a batch.
      protocols: the ways to predict.
      fusion_resolution: one of `fusion.RESOLUTIONS`.
      flip: whether to take the mean with the logits of the mirror image (paper section 5.1.1).
      each_scale: whether `ProtocolOutput.scales` is there.
    """

    graphdef: nnx.GraphDef
    mesh: Mesh
    protocols: tuple[Protocol, ...]
    fusion_resolution: str
    flip: bool
    each_scale: bool = False

    def step(self, summarize: Summarize, summary: NamedSharding) -> jax.stages.Wrapped:
        """Compiles to `(params, batch_stats, batch) -> (summary, finite)`, once for each size.

        Args:
          summarize: given what each protocol predicts and the batch, what leaves the device: no
            logits of a whole image need to.
          summary: of all arrays of the summary.

        Returns:
          A jitted function. All arrays of a batch are shared out over the devices by image:
          `image`, uint8 `[B, H, W, 3]`, and where images do not fill that canvas `size`, int32
          `[B, 2]`, their rows and columns; what is predicted outside of them has no meaning.
          `finite`, bool `[B]`, says whether all logits of an image are.
        """
        return step_of(self.function(summarize), self.mesh, summary)

    def function(self, summarize: Summarize) -> Callable:
        """The pure function `(params, batch_stats, batch) -> (summary, finite)`, of all images.

        Args:
          summarize: as for `step`, which says what the others are.
        """

        def predict(params, batch_stats, arrays):
            outputs = protocol_lib.predict_all(
                self.protocols,
                self.graphdef,
                params,
                batch_stats,
                arrays["image"],
                resolution=self.fusion_resolution,
                flip=self.flip,
                each_scale=self.each_scale,
                sizes=arrays.get("size"),
            )
            finite = [protocol_lib.is_finite(output.logits) for output in outputs]
            return summarize(outputs, arrays), jnp.stack(finite).all(0)

        return predict


def step_of(predict: Callable, mesh: Mesh, summary: NamedSharding) -> jax.stages.Wrapped:
    """Jits a function of weights and images as `Predictor.step` says.

    Args:
      predict: `(params, batch_stats, batch) -> (summary, finite)`, each image by itself.
      mesh: its devices share out the images.
      summary: of all arrays of the summary.
    """

    def step(params, batch_stats, arrays):
        of_weights = functools.partial(predict, params, batch_stats)
        devices = mesh.devices
        if devices.flat[0].platform != "cpu" or len(arrays["image"]) == devices.size:
            return of_weights(arrays)
        return one_image_at_a_time(of_weights, arrays, devices.size)

    weights = replicated(mesh)
    return jax.jit(
        step,
        in_shardings=(weights, weights, whole_images(mesh)),
        out_shardings=(summary, replicated(mesh)),
    )


def one_image_at_a_time(
    predict: Callable[[dict[str, jax.Array]], Any], arrays: dict[str, jax.Array], devices: int
) -> Any:
    """`predict(arrays)`, of which each device computes one image after the other.

    On a CPU a batch takes longer than its images by themselves, whose features stay in the caches
    (docs/results/evaluation.md).

    Args:
      predict: of arrays `[B, ...]` to a tree of arrays `[B, ...]`, each image by itself.
      arrays: `[B, ...]`, shared out over the devices.
      devices: how many; a divisor of B.
    """

    def turns(x: jax.Array) -> jax.Array:  # the images of a device follow one another in a batch
        return jnp.moveaxis(x.reshape(devices, -1, *x.shape[1:]), 1, 0)

    def batch(x: jax.Array) -> jax.Array:
        return jnp.moveaxis(x, 0, 1).reshape(-1, *x.shape[2:])

    return jax.tree.map(batch, jax.lax.map(predict, jax.tree.map(turns, arrays)))


def summaries(
    step: Callable,
    params: dict,
    batch_stats: dict,
    batches: Iterable[Batch],
    shardings: dict[str, NamedSharding],
) -> Iterator[tuple[Batch, Any]]:
    """Yields each batch with its summary on the host, one batch late: reading overlaps computing.

    Args:
      step: from `Predictor.step`.
      params: of the network, on the devices.
      batch_stats: of the network, on the devices.
      batches: their 'id', n strings, names the records of the whole batch in its order; what
        follows them in a batch is padding.
      shardings: of the arrays of a batch that the step reads.

    Raises:
      FloatingPointError: the network predicts what is not finite; names the images.
    """

    def fetched(batch: Batch, computed: Any) -> tuple[Batch, Any]:
        summary, finite = jax.device_get(computed)
        is_good = zip(batch["id"], finite, strict=False)
        protocol_lib.refuse_not_finite([name for name, good in is_good if not good])
        return batch, summary

    pending: tuple[Batch, Any] | None = None
    for batch in batches:
        computed = step(params, batch_stats, put_batch(batch, shardings))
        if pending is not None:
            yield fetched(*pending)
        pending = batch, computed
    if pending is not None:
        yield fetched(*pending)


def checked_size(
    size_of: Callable[[Record], Size], protocols: Iterable[Protocol]
) -> Callable[[Record], Size]:
    """`size_of`, which also refuses an image, by name, of which a scale would leave nothing.

    Args:
      size_of: reads rows and columns of a record's image.
      protocols: how it will be predicted.
    """

    def size(record: Record) -> Size:
        found = size_of(record)
        for protocol in protocols:
            for scale in protocol.scales:
                try:
                    protocol.fusion.scaled_size(found, scale)
                except ValueError as error:
                    raise ValueError(f"{record['id']}: {error}") from error
        return found

    return size


def without_padding(batch: Batch, arrays: Any) -> Iterator[Any]:
    """Yields for each image of a batch what a summary holds of it, cut to the size of the image.

    Args:
      batch: of `whole_images.image_batches`.
      arrays: a tree of host arrays `[B, H, W, ...]`.
    """
    filled = [batch["image"].shape[1:3]] * len(batch["index"])
    for i, (rows, columns) in enumerate(batch.get("size", filled)[: len(filled)]):
        yield jax.tree.map(
            lambda array, i=i, rows=rows, columns=columns: np.ascontiguousarray(
                array[i, :rows, :columns]
            ),
            arrays,
        )


def most_probable(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The most probable class of each pixel, and its probability.

    Args:
      logits: `[B, H, W, C]`.

    Returns:
      uint8 `[B, H, W]`, and float32 `[B, H, W]` by softmax, of which only the largest entry is
      computed.
    """
    probability = jnp.exp(logits.max(-1) - jax.nn.logsumexp(logits, axis=-1))
    return logits.argmax(-1).astype(jnp.uint8), probability


def to_byte(probability: jax.Array | np.ndarray) -> jax.Array:
    """255 times a number from 0 to 1, rounded, uint8."""
    return jnp.round(255 * probability).astype(jnp.uint8)
