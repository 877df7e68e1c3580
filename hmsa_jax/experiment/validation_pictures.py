"""The pictures of an evaluation while training: a few images, always the same, and what is
predicted of them.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np

from hmsa_jax.distributed import sharding
from hmsa_jax.experiment.experiment import Experiment
from hmsa_jax.inference import predictor as predictor_lib
from hmsa_jax.inference.evaluation import compile_for
from hmsa_jax.inference.predictor import checked_size
from hmsa_jax.inference.protocol import Protocol
from hmsa_jax.input import canvases, decoding, pipeline, whole_images
from hmsa_jax.input.image_files import Selection
from hmsa_jax.input.layout import Layout, read_heads
from hmsa_jax.predictions.image_prediction import ImagePrediction, summarize
from hmsa_jax.report import pictures
from hmsa_jax.runtime import parallel
from hmsa_jax.runtime.progress import tell
from hmsa_jax.training.monitor import Draw

_SIDE = 400  # pixels of a picture in a figure, at most


def spread(images: int, count: int) -> list[int]:
    """Numbers of images that are spread over all, none twice.

    Args:
      images: how many there are.
      count: how many are wanted; all if there are fewer.

    >>> spread(500, 4), spread(3, 4)
    ([62, 187, 312, 437], [0, 1, 2])
    """
    count = min(count, images)
    return [(2 * i + 1) * images // (2 * count) for i in range(count)]


def prepare(
    experiment: Experiment, scored: pipeline.Source, protocol: Protocol, count: int
) -> Draw:
    """Compiles the one program that predicts the pictures, for a device of this process alone.

    Args:
      experiment: whose network predicts, as `evaluate.flip` says.
      scored: the labelled images.
      protocol: by which.
      count: of the pictures.

    Returns:
      What draws them: it takes part in nothing that other processes do.
    """
    mesh = sharding.make_mesh(1, 1, jax.local_devices()[:1])
    chosen = Selection(scored, spread(len(scored), count))
    layout = _on_one_canvas(chosen, protocol)
    alone = dataclasses.replace(experiment, mesh=mesh)
    begin = time.monotonic()
    step = compile_for(
        alone.predictor((protocol,), images=1, each_scale=True).step(
            summarize, sharding.whole_images(mesh)
        ),
        experiment.params,
        experiment.batch_stats,
        layout,
        mesh,
        images_per_device=1,
    )
    tell(f"Compiled the pictures of evaluations in {time.monotonic() - begin:.0f} s.")

    def predictions(params, batch_stats, stops):
        batches = whole_images.eval_batches(
            chosen, batch_size=1, ignore_label=experiment.ignore_label, layout=layout
        )
        params, batch_stats = sharding.of_one_device((params, batch_stats), mesh)
        shardings = sharding.evaluation_batch(mesh)
        for batch, summary in predictor_lib.summaries(
            step, params, batch_stats, batches, shardings
        ):
            arrays = batch["image"], batch["label"], summary
            (cut,) = predictor_lib.without_padding(batch, arrays)
            yield batch["id"][0], cut
            if stops():
                return

    def draw(
        params: dict, batch_stats: dict, stops: Callable[[], bool]
    ) -> Iterator[tuple[str, np.ndarray]]:
        one = functools.partial(_figure_of, experiment)
        return parallel.in_order(one, predictions(params, batch_stats, stops))

    return draw


def figure(
    image: np.ndarray,
    label: np.ndarray,
    prediction: ImagePrediction,
    palette: pictures.Palette,
) -> np.ndarray:
    """An image with its label, what is predicted, where that is wrong, and what each scale says.

    Args:
      image: uint8 `[H, W, 3]`.
      label: uint8 `[H, W]`.
      prediction: of the image.
      palette: RGB of each class.

    Returns:
      uint8 `[H, W, 3]`: below each scale's prediction its share in the result, white for 1. A
      protocol of one scale has none.
    """
    rows: list[list[tuple[str, np.ndarray | None]]] = [
        [
            ("image", image),
            ("label", pictures.coloured(label, palette)),
            ("prediction", pictures.coloured(prediction.classes, palette)),
            ("errors", pictures.errors(label, prediction.classes, len(palette))),
        ]
    ]
    if len(prediction.scales) > 1:
        of_scales = sorted(prediction.scales.items())
        rows.append([(f"scale {s:g}", pictures.coloured(x.classes, palette)) for s, x in of_scales])
        if of_scales[0][1].share is not None:
            rows.append([(f"share of {s:g}", x.share) for s, x in of_scales])
    height, width = label.shape
    return pictures.grid(rows, widest=max(min(_SIDE, _SIDE * width // height), 1))


def _figure_of(experiment, predicted):
    name, (image, label, prediction) = predicted
    return name, figure(image, label, prediction, experiment.label_spec.palette)


def _on_one_canvas(chosen: Selection, protocol: Protocol) -> Layout:
    heads = read_heads(chosen, checked_size(decoding.image_size, (protocol,)))
    canvas = canvases.choose(heads.sizes.values(), 1)
    shared = frozenset(canvas.of.values()) - canvas.filled
    return Layout(heads.sizes, heads.ids, canvas.of, shared)
