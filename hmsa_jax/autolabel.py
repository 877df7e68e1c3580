"""Auto-labelling: a trained teacher labels images, for a student to train on (paper section 4)."""

import json
import pathlib
import shlex
from collections.abc import Callable, Iterator
from concurrent import futures

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hmsa_jax import (
    checkpoint,
    checkpoint_reading,
    evaluation_protocol,
    experiment,
    feasibility,
    hosts,
    labelled_images,
    run_directory,
    sharding,
    splits,
    start,
    unlabelled_images,
)
from hmsa_jax.evaluation_protocol import Protocol
from hmsa_jax.files import write_atomically
from hmsa_jax.input import whole_images
from hmsa_jax.input.pipeline import Batch, Source
from hmsa_jax.labelled_images import LabelledImages, Prediction
from hmsa_jax.progress import Progress, console, tell
from hmsa_jax.report import auto_labels
from hmsa_jax.stop_signal import StopSignal
from hmsa_jax.unlabelled_images import Selection, id_of

_WRITERS = 4  # threads


def autolabel(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    images: str,
    out: pathlib.Path,
    *,
    threshold: float,
    protocol: str | None = None,
    flip: bool = True,
    previews: bool = False,
    step: int | None = None,
) -> bool:
    """The command: labels images with the newest good checkpoint of a run, or with a named one.

    A pixel is given the teacher's most probable class where its probability exceeds the threshold,
    and is ignored elsewhere. The result is a `folder` data set with one split, `train`. A stopped
    command goes on where it was. Several processes share out the images, and each shares its own
    out to its devices.

    Args:
      config: of the teacher.
      workdir: of the teacher's run.
      images: a directory of JPEG or PNG images, or NAME/SPLIT of a data set, which is built from
        `data.dir` if it needs a directory.
      out: directory of the result.
      threshold: in [0, 1); the paper's is 0.9.
      protocol: how the teacher predicts; None: as in the paper, over the scales 0.5, 1 and 2.
      flip: whether to take the mean with the logits of the mirror image, as in the paper.
      previews: whether to write each image beside its labels in colour, too.
      step: of the checkpoint, from `--step`.

    Returns:
      Whether all images are labelled.

    Raises:
      ValueError: an argument or the config cannot be used; or, when all others are labelled, some
        images cannot be read.
      FileNotFoundError: the run has no checkpoint, or there are no images.
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"--threshold is {threshold}; expected a number in [0, 1)")
    legend = start.check_run(config, workdir).legend
    checkpoint_reading.find_step(workdir, "--workdir", step)
    way = _protocol(protocol, config)
    source, origin = unlabelled_images.open_images(images, out, config)
    feasibility.check_inference(config, source, "--protocol", way.scales)
    splits.check_agreement({"--images": source}, legend, step)
    weights = checkpoint.read_weights(workdir, "--workdir", step)
    settings = {
        "teacher": str(workdir.resolve()),
        "step": weights.step,
        "images": origin,
        "protocol": way.name,
        "flip": flip,
        "threshold": threshold,
    }
    labelled_images.check(out, legend, settings)
    parts = experiment.assemble(config)
    teacher = _Teacher(config, parts, weights, way, threshold=threshold, flip=flip)
    run_directory.claim(workdir, config, legend)
    index, count = jax.process_index(), jax.process_count()
    with hosts.first_before_others("directory of labels"):
        target = LabelledImages(out, legend, settings, previews=previews, process_index=index)
    with target:
        hosts.wait_for_all("records")  # from now on each is found by all
        mine = range(index, len(source), count)
        unreadable = _label(source, mine, target, teacher)
    unreadable = [
        line
        for text in hosts.gathered("labels", json.dumps(unreadable))
        for line in json.loads(text)
    ]
    done = target.done()
    if len(done) + len(unreadable) < len(source):
        tell(
            f"Stopped with {len(done)} of {len(source)} images labelled. The same command goes on."
        )
        return False
    if index == 0 and done:
        _report(out, auto_labels.summarize(done.values(), parts.dataset.classes))
    if unreadable:
        raise ValueError(
            f"{len(unreadable)} of {len(source)} images cannot be read and have no labels; replace"
            " them and give the same command again:\n  " + "\n  ".join(unreadable)
        )
    return True


def make_labelling_step(
    graphdef: nnx.GraphDef,
    mesh: Mesh,
    protocol: Protocol,
    *,
    threshold: float,
    fusion_resolution: str,
    flip: bool,
) -> Callable[[dict, dict, jax.Array], tuple[jax.Array, jax.Array, jax.Array]]:
    """Compiles to `(params, batch_stats, images) -> (classes, probability, kept, finite)`.

    Args:
      graphdef: the network.
      mesh: from `sharding.make_mesh`; its devices share out the batch.
      protocol: how to predict.
      threshold: what the probability of a label that is kept exceeds.
      fusion_resolution: one of `fusion.RESOLUTIONS`.
      flip: as for `evaluation_protocol.predict_all`.

    Returns:
      A jitted function of uint8 images `[B, H, W, 3]`; the results are `[B, H, W]`, as `Prediction`
      describes them, and whether all logits of an image are finite, bool `[B]`.
    """

    def labelling_step(params, batch_stats, images):
        (logits,) = evaluation_protocol.predict_all(
            (protocol,),
            graphdef,
            params,
            batch_stats,
            images,
            resolution=fusion_resolution,
            flip=flip,
        )
        # The largest entry of the softmax, without the others.
        probability = jnp.exp(logits.max(-1) - jax.nn.logsumexp(logits, axis=-1))
        return (
            logits.argmax(-1).astype(jnp.uint8),
            jnp.round(255 * probability).astype(jnp.uint8),
            probability > threshold,
            evaluation_protocol.is_finite(logits),
        )

    rows = _rows(mesh)
    return jax.jit(
        labelling_step,
        in_shardings=(sharding.replicated(mesh), sharding.replicated(mesh), rows),
        out_shardings=(rows,) * 4,
    )


class _Teacher:
    """A run's weights on the devices of this process, ready to label."""

    def __init__(self, config, parts, weights, protocol, *, threshold, flip):
        self.mesh = sharding.make_mesh(-1, 1, jax.local_devices())
        self.batch_size = config.evaluate.images_per_device * self.mesh.size
        self.size_multiple = config.evaluate.size_multiple
        self._weights = jax.device_put(
            (weights.params, weights.batch_stats), sharding.replicated(self.mesh)
        )
        self._step = make_labelling_step(
            parts.network_for(config.evaluate.images_per_device, whole_rows=True),
            self.mesh,
            protocol,
            threshold=threshold,
            fusion_resolution=config.evaluate.fusion_resolution,
            flip=flip,
        )

    def label(self, batch: Batch) -> tuple[Batch, tuple[jax.Array, ...]]:
        """Starts to label a batch of `whole_images.image_batches`."""
        return batch, self._step(*self._weights, jax.device_put(batch["image"], _rows(self.mesh)))


def _label(source: Source, mine: range, target: LabelledImages, teacher: _Teacher) -> list[str]:
    """Labels this process's images that are not done, until a signal stops it.

    Returns:
      The images that cannot be read, a line each that says why.
    """
    done = target.done()
    # Without any done, no image is read for its id alone.
    left = [i for i in mine if id_of(source, i) not in done] if done else list(mine)
    todo = Selection(source, left)
    unreadable = {}
    with (
        Progress("autolabel", len(mine), len(mine) - len(todo)) as progress,
        StopSignal() as stop,
        futures.ThreadPoolExecutor(_WRITERS, "hmsa-write") as pool,
    ):
        if not len(todo):
            return []
        batches = whole_images.image_batches(
            todo,
            batch_size=teacher.batch_size,
            size_multiple=teacher.size_multiple,
            unreadable=unreadable,
        )

        def write(index: int, prediction: Prediction):
            return target.write(todo[index], prediction, todo.path(index))

        pending = None
        for batch in batches:
            started = teacher.label(batch)
            if pending is not None:  # one batch late, so that writing overlaps computing
                _record(pool.map(write, *_predictions(todo, pending)), target, progress)
            pending = started
            if stop.requested_of_any():
                break
        if pending is not None:
            _record(pool.map(write, *_predictions(todo, pending)), target, progress)
    return todo.describe(unreadable)


def _record(written: Iterator, target: LabelledImages, progress: Progress) -> None:
    for labelled in written:
        target.record(labelled)
        progress.advance()


def _predictions(source: Source, labelled) -> tuple[list[int], list[Prediction]]:
    """The records of a batch and what was predicted of them, without padding.

    Raises:
      FloatingPointError: that is not finite; names the images.
    """
    batch, arrays = labelled
    *fetched, finite = jax.device_get(arrays)
    bad = batch["index"][~finite[: len(batch["index"])]]
    evaluation_protocol.refuse_not_finite([source[int(index)]["id"] for index in bad])
    cut = [
        Prediction(*(np.ascontiguousarray(array[i, :rows, :columns]) for array in fetched))
        for i, (rows, columns) in enumerate(batch["size"])
    ]
    return [int(index) for index in batch["index"]], cut


def _protocol(text: str | None, config) -> Protocol:
    """The protocol that is asked for, if the teacher can do it, or the paper's."""
    attention = config.model.attention
    trained = tuple(sorted(config.objective.scales))
    if text is None:
        scales = trained if attention == "explicit" else (0.5, 1.0, 2.0)
        return Protocol("average" if attention == "none" else attention, scales)
    protocol = evaluation_protocol.parse(text)
    if protocol.method in evaluation_protocol.ATTENTIVE and protocol.method != attention:
        raise ValueError(
            f"--protocol is {text}, but the teacher's model.attention is {attention!r}; name"
            " single, average:... or max:..., or a protocol of that attention"
        )
    if protocol.method == "explicit" and protocol.scales != trained:
        raise ValueError(
            f"--protocol is {text}, but the teacher's explicit attention weighs exactly the scales"
            f" it was trained on, objective.scales={trained}; name those, or another method"
        )
    return protocol


def _rows(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec("data"))


def _report(out: pathlib.Path, summary: dict) -> None:
    write_atomically(out / "report.json", auto_labels.to_json(summary))
    console.print(auto_labels.to_table(summary))
    tell(auto_labels.describe_bytes(summary))
    tell(
        f"The same as JSON: {out / 'report.json'}. To train on {out}:"
        f" --config.data.pool.name=folder {shlex.quote(f'--config.data.pool.dir={out}')}"
    )
