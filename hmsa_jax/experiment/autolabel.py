"""Auto-labelling: a trained teacher labels images, for a student to train on (paper section 4)."""

import json
import pathlib
import shlex
from collections.abc import Sequence
from typing import Any

import jax
import ml_collections
import numpy as np

from hmsa_jax.auto_labels import labelled_images, labelling, thresholds, unlabelled_images
from hmsa_jax.auto_labels import summary as summary_lib
from hmsa_jax.auto_labels.labelled_images import LEAST, LabelledImages
from hmsa_jax.auto_labels.thresholds import Threshold
from hmsa_jax.distributed import hosts, sharding
from hmsa_jax.experiment import feasibility, protocols, run_directory, splits, start
from hmsa_jax.experiment.experiment import assemble
from hmsa_jax.inference.image_job import ImagePredictor
from hmsa_jax.input.image_files import Selection, ids_of
from hmsa_jax.input.pipeline import Source
from hmsa_jax.runtime import storage
from hmsa_jax.runtime.files import write_atomically
from hmsa_jax.runtime.progress import console, tell
from hmsa_jax.training import checkpoint, checkpoint_reading, integrity


def autolabel(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    images: str,
    out: pathlib.Path,
    *,
    threshold: Threshold,
    protocol: str | None = None,
    flip: bool = True,
    previews: bool = False,
    step: int | None = None,
    data: ml_collections.ConfigDict | None = None,
) -> bool:
    """labels images with the newest good checkpoint of a run, or with a named one.

    A pixel is given the teacher's most probable class where its probability exceeds the threshold,
    and is ignored elsewhere. The result is a `folder` data set with one split, `train`. A stopped
    command goes on where it was. Several processes share out the images, and each shares its own
    out to its devices.

    Args:
      config: of the teacher.
      workdir: of the teacher's run.
      images: a directory of JPEG or PNG images, or NAME/SPLIT of a data set, which is built if it
        is not yet.
      out: directory of the result.
      threshold: in [0, 1), the paper's is 0.9; or a share like '70%': of each class as many labels
        are kept, the surest. Above which probability those lie, some of the images tell.
      protocol: how the teacher predicts; None: as in the paper, over the scales 0.5, 1 and 2.
      flip: whether to take the mean with the logits of the mirror image, as in the paper.
      previews: whether to write each image beside its labels in colour, too.
      step: of the checkpoint, from `--step`.
      data: like `config.data`, where fields of others say where a data set of `images` is.

    Returns:
      Whether all images are labelled.

    Raises:
      ValueError: an argument or the config cannot be used; or, when all others are labelled, some
        images cannot be read.
      FileNotFoundError: the run has no checkpoint, or there are no images.
    """
    share = thresholds.share_of(threshold)
    label_spec = start.check_run(config, workdir, needs_data=False)
    checkpoint_reading.find_step(workdir, "--workdir", step)
    way = protocols.of_prediction(protocol, config)
    tiling = protocols.tiling_of(way, config)
    source, origin = unlabelled_images.open_images(images, out, data or config.data)
    feasibility.check_inference(config, source, "--protocol", way.scales, tiling=tiling)
    splits.check_agreement({"--images": source}, label_spec, step, config.mesh.wait_minutes)
    weights = checkpoint.read_weights(workdir, "--workdir", step)
    settings: dict[str, Any] = {
        "teacher": str(storage.absolute(workdir)),
        "step": weights.step,
        "weights": integrity.digest_of_tree((weights.params, weights.batch_stats)),
        "images": origin,
        "protocol": way.name,
        "flip": flip,
        "fusion_resolution": config.evaluate.fusion_resolution,
        "tiles": tiling.describe(),
        "threshold": threshold,
    }
    there = labelled_images.least_there(out)
    if there is not None:
        settings[LEAST] = there
    labelled_images.check(out, label_spec, settings)
    mesh = sharding.make_mesh(-1, 1, jax.local_devices())
    experiment = assemble(config, label_spec=label_spec, mesh=mesh)
    teacher = ImagePredictor(
        experiment.predictor((way,), flip=flip),
        weights.params,
        weights.batch_stats,
        labelling.labels_above(0.0 if isinstance(threshold, str) else threshold),
        tiling=tiling,
        images_per_device=config.evaluate.images_per_device,
        canvases=config.evaluate.canvases,
    )
    run_directory.claim(workdir, config, label_spec)
    index, count = jax.process_index(), jax.process_count()
    mine = range(index, len(source), count)
    if share is not None and there is None:
        found = _least_bytes(source, share, teacher, label_spec.names)
        settings[LEAST] = dict(zip(label_spec.names, found, strict=True))
    with hosts.first_before_others("directory of labels"):
        target = LabelledImages(out, label_spec, settings, previews=previews, process_index=index)
    with target:
        hosts.wait_for_all("records")  # from now on each is found by all
        least = None if share is None else [*settings[LEAST].values()]
        unreadable = labelling.label(source, mine, target, teacher, least)
    unreadable = [
        line
        for text in hosts.gathered("labels", json.dumps(unreadable), hosts.UNEQUAL_MINUTES)
        for line in json.loads(text)
    ]
    done, wanted = target.done(), ids_of(source)
    missing = len(wanted - done.keys())
    if missing > len(unreadable):
        tell(
            f"Stopped with {len(source) - missing} of {len(source)} images labelled. The same"
            " command goes on."
        )
        return False
    if others := len(done.keys() - wanted):
        tell(f"{out} also holds labels of {others} images that --images no longer has.", "yellow")
    if index == 0 and done:
        _report(out, summary_lib.summarize(done.values(), experiment.classes, least))
    if unreadable:
        raise ValueError(
            f"{len(unreadable)} of {len(source)} images cannot be read and have no labels; replace"
            " them and give the same command again:\n  " + "\n  ".join(unreadable)
        )
    return True


def _least_bytes(
    source: Source, share: float, teacher: ImagePredictor, classes: Sequence[str]
) -> list[int]:
    """`thresholds.least_bytes` by a sample of the images, which all processes share out."""
    sample = thresholds.sample(len(source))
    tell(f"{len(sample)} of {len(source)} images tell how sure the teacher is of each class ...")
    mine = Selection(source, sample[jax.process_index() :: jax.process_count()])
    unreadable: dict[int, ValueError] = {}  # they are told when the others are labelled
    batches = teacher.predictions(mine, unreadable) if len(mine) else ()
    predictions = (prediction for _, each in batches for prediction in each)
    own = thresholds.histogram(predictions, len(classes))
    texts = hosts.gathered("histograms", json.dumps(own.tolist()), hosts.UNEQUAL_MINUTES)
    return thresholds.least_bytes(share, np.sum([json.loads(text) for text in texts], axis=0))


def _report(out: pathlib.Path, summary: dict) -> None:
    write_atomically(out / "report.json", summary_lib.to_json(summary))
    console.print(summary_lib.to_table(summary))
    tell(summary_lib.describe_bytes(summary))
    copied = " copied to a disk" if storage.is_remote(out) else ""
    place = "COPY" if copied else out
    tell(
        f"The same as JSON: {out / 'report.json'}. To train on {out}{copied}:"
        f" --config.data.pool.name=folder {shlex.quote(f'--config.data.pool.dir={place}')}"
    )
