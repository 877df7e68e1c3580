"""Controls of the attention: the same scales of the same network, fused by what knows less.

What hierarchical fusion gains over the mean of the scales may be due to the attention's looking at
each place of the picture, or to a better mean of the scales alone. The controls take the former
away, one piece at a time; the oracle says what there was to gain.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hmsa_jax.distributed.sharding import replicated
from hmsa_jax.inference.evaluation import Shapes
from hmsa_jax.inference.predictor import Predictor, Summarize, most_probable
from hmsa_jax.inference.protocol import Protocol, ProtocolOutput
from hmsa_jax.input import next_images, whole_images
from hmsa_jax.input.layout import Layout, Size
from hmsa_jax.input.pipeline import Batch, Source, local_rows
from hmsa_jax.metrics import confusion, tally
from hmsa_jax.metrics.objects import SIZES, objects_by_size
from hmsa_jax.models.layers.canvas import Canvas, Extent, resize
from hmsa_jax.models.multiscale import ScaleOutput

ORACLE = "oracle"
"""What takes, at each pixel, a scale that is right, and scale 1 where none is."""

Control = Callable[[jax.Array, Canvas], jax.Array]
"""From the attention of a scale, `[B, h, w, 1]` on its canvas, to one in its place."""


def of_the_picture(attention: jax.Array, canvas: Canvas) -> jax.Array:
    """The mean over the picture."""
    mean = canvas.mean(canvas.clear(attention), attention.dtype)
    return jnp.broadcast_to(mean, attention.shape)


def one_half(attention: jax.Array, canvas: Canvas) -> jax.Array:
    """0.5 everywhere."""
    del canvas
    return jnp.full_like(attention, 0.5)


def mirrored(attention: jax.Array, canvas: Canvas) -> jax.Array:
    """The same from right to left."""
    return canvas.mirror(attention)


def of_the_next(attention: jax.Array, canvas: Canvas) -> jax.Array:
    """That of the other image of each pair, brought to the size of this one."""
    others = None if canvas.valid is None else _swapped(canvas.valid)
    return resize(_swapped(attention), Canvas(canvas.shape, others), canvas)


CONTROLS: Mapping[str, Control] = {
    "mean attention": of_the_picture,
    "attention 0.5": one_half,
    "mirrored attention": mirrored,
    "next image's attention": of_the_next,
}


@dataclasses.dataclass(frozen=True)
class ControlledProtocol(Protocol):
    """A protocol whose attention is replaced, scale by scale.

    Attributes:
      control: name in `CONTROLS`.
    """

    control: str

    @property
    def name(self) -> str:
        """For example `hierarchical (0.5, 1, 2), mean attention`."""
        return f"{super().name}, {self.control}"

    def attention_of(
        self, outputs: dict[float, ScaleOutput], size: Extent
    ) -> dict[float, jax.Array | None]:
        """What the control makes of the attention of the network."""
        image, replaced = Canvas.of(size), dict[float, jax.Array | None]()
        assert isinstance(image, Canvas)  # whole images are scored
        for scale, attention in super().attention_of(outputs, size).items():
            assert attention is not None
            own = image.scaled(scale, self.fusion.scaled_size).of_features(attention)
            replaced[scale] = CONTROLS[self.control](attention, own)
        return replaced


def protocols_of(protocol: Protocol) -> tuple[Protocol, ...]:
    """What a `PairPredictor` predicts by: a protocol, the plain mean, and each control."""
    controlled = [
        ControlledProtocol(protocol.method, protocol.scales, control) for control in CONTROLS
    ]
    return protocol, Protocol("average", protocol.scales), *controlled


def names_of(protocol: Protocol) -> list[str]:
    """Names of what the step counts, in its order: each scale by itself comes first."""
    itself, average, *controlled = [each.name for each in protocols_of(protocol)]
    alone = [alone_name(scale) for scale in protocol.scales]
    return [*alone, average, itself, *controlled, ORACLE]


def alone_name(scale: float) -> str:
    """The name of a scale by itself."""
    return f"scale {scale:g} alone"


@dataclasses.dataclass(frozen=True)
class PairPredictor(Predictor):
    """A predictor that looks at the next image, too, beside each one, for its attention."""

    def function(self, summarize: Summarize) -> Callable:
        """As of `Predictor`; a batch also holds what `next_images.beside` returns."""

        def predict(params, batch_stats, arrays):
            def of_first(outputs, _):
                first = jax.tree.map(lambda x: x.reshape(-1, 2, *x.shape[1:])[:, 0], outputs)
                return summarize(first, arrays)

            pairs = {
                name: _paired(arrays[name], arrays[f"next_{name}"])
                for name in ("image", "size")
                if name in arrays
            }
            run = super(PairPredictor, self).function(of_first)
            summary, finite = run(params, batch_stats, pairs)
            return summary, finite.reshape(-1, 2)[:, 0]

        return predict


def make_controls_step(predictor: PairPredictor, *, classes: int) -> jax.stages.Wrapped:
    """Compiles to `(params, batch_stats, batch) -> (counts, finite)`, once for each image size.

    Args:
      predictor: of `protocols_of` a protocol, with `each_scale`.
      classes: number of classes.

    Returns:
      A jitted function of batches of `pair_batches`. It returns `confusion`, int32 `[B, P, classes,
      classes]` with P of `names_of`, and as `metrics`, of one name `objects`, by class and size of
      the object: `objects` and `pixels`, how many there are, `[B, classes, 3]`; `hits`, those
      predicted right, `[B, P, classes, 3]`; and `shares`, the sum of the shares of each scale,
      float32 `[B, scales, classes, 3]`. All but the last are int32.
    """
    scales, by_size = predictor.protocols[0].scales, (classes, len(SIZES))

    def counts(outputs: Sequence[ProtocolOutput], batch: dict[str, jax.Array]) -> dict[str, Any]:
        labels, said = batch["label"], outputs[0].scales
        assert said is not None
        assert said.weights is not None
        groups = labels.astype(jnp.int16) * len(SIZES) + batch["object_size"]
        groups = jnp.where(labels < classes, groups, -1)

        def count(mask: jax.Array) -> jax.Array:
            return tally.counts(groups, [mask], classes * len(SIZES)).reshape(-1, *by_size)

        def of_prediction(predicted: jax.Array) -> tuple[jax.Array, jax.Array]:
            matrices = confusion.confusion_matrices(labels, predicted, classes)
            return matrices, count(predicted == labels)

        alone = {scale: _classes_of(said.logits[scale]) for scale in scales}
        some_is_right = jnp.stack([alone[scale] == labels for scale in scales]).any(0)
        itself, *others = [_classes_of(output.logits) for output in outputs]
        oracle = jnp.where(some_is_right, labels, alone[1.0])
        average, *controlled = others
        predictions = jnp.stack([*alone.values(), average, itself, *controlled, oracle])
        # One after the other: together they would take as often the memory.
        matrices, hits = jax.lax.map(of_prediction, predictions)
        shares = [tally.sums(groups, said.weights[s][..., 0], classes * len(SIZES)) for s in scales]
        of_objects = {
            "objects": batch["objects"],
            "pixels": count(labels < classes),
            "hits": jnp.moveaxis(hits, 0, 1),
            "shares": jnp.stack(shares, 1).reshape(-1, len(scales), *by_size),
        }
        return {"confusion": jnp.moveaxis(matrices, 0, 1), "metrics": {"objects": of_objects}}

    return predictor.step(counts, replicated(predictor.mesh))


BATCH = ("image", "label", "size", "next_image", "next_size", "object_size", "objects")
"""The arrays of a batch that the step reads."""


def further_shapes(images: int, canvas: Size, is_shared: bool, *, classes: int) -> Shapes:
    """Shapes and dtypes of what a batch of `pair_batches` has beside that of an evaluation.

    Args:
      images: of a batch.
      canvas: rows and columns.
      is_shared: whether images on it are smaller.
      classes: number of classes.
    """
    shapes: Shapes = {
        "next_image": ((images, *canvas, 3), jnp.uint8),
        "object_size": ((images, *canvas), jnp.uint8),
        "objects": ((images, classes, len(SIZES)), jnp.int32),
    }
    return shapes | ({"next_size": ((images, 2), jnp.int32)} if is_shared else {})


def pair_batches(
    source: Source,
    layout: Layout,
    *,
    batch_size: int,
    classes: int,
    ignore_label: int,
    process_index: int,
    process_count: int,
) -> Iterator[Batch]:
    """Yields the batches of `whole_images.eval_batches`, arguments as there, with more beside.

    Returns:
      An iterator of batches that also hold what `next_images.beside` returns, 'object_size', uint8
      `[b, H, W]`, and 'objects', int32 `[b, classes, 3]`, as of `objects_by_size`.
    """
    rows = local_rows(batch_size, process_index, process_count)
    following = next_images.next_on_canvas(layout)
    for batch in whole_images.eval_batches(
        source,
        batch_size=batch_size,
        ignore_label=ignore_label,
        layout=layout,
        process_index=process_index,
        process_count=process_count,
    ):
        sizes = np.zeros_like(batch["label"])
        objects = np.zeros((len(sizes), classes, len(SIZES)), np.int32)
        for i, number in enumerate(batch["index"][rows]):
            window = tuple(slice(length) for length in layout.sizes[int(number)])
            sizes[i][window], objects[i] = objects_by_size(batch["label"][i][window], classes)
        further = {"object_size": sizes, "objects": objects}
        yield {**batch, **next_images.beside(source, batch, rows, following), **further}


def _classes_of(logits: jax.Array) -> jax.Array:
    return most_probable(logits)[0]


def _paired(first: jax.Array, second: jax.Array) -> jax.Array:
    """`[2 B, ...]`, in which the two of a pair follow each other, so on one device."""
    return jnp.stack([first, second], 1).reshape(-1, *first.shape[1:])


def _swapped(paired: jax.Array) -> jax.Array:
    """Each of a pair in the place of the other."""
    return paired.reshape(-1, 2, *paired.shape[1:])[:, ::-1].reshape(paired.shape)
