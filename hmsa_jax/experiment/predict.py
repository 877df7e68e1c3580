"""The command `predict`: a run labels a user's own images, of any common format."""

import json
import pathlib
from collections.abc import Sequence

import jax
import ml_collections

from hmsa_jax.distributed import hosts, sharding
from hmsa_jax.experiment import feasibility, protocols, splits, start
from hmsa_jax.experiment.experiment import assemble
from hmsa_jax.inference.image_job import ImagePredictor, work_through
from hmsa_jax.input.any_image import SUFFIXES, AnyImage
from hmsa_jax.input.image_files import ImageFiles, ids_of
from hmsa_jax.predictions import predicted_images, submission
from hmsa_jax.predictions.image_prediction import summarize
from hmsa_jax.predictions.predicted_images import PredictedImages
from hmsa_jax.runtime import storage, work_record
from hmsa_jax.runtime.paths import any_path
from hmsa_jax.runtime.progress import tell
from hmsa_jax.training import checkpoint, checkpoint_reading, integrity


def predict(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    images: str,
    out: pathlib.Path,
    *,
    save: Sequence[str] = ("mask",),
    protocol: str | None = None,
    flip: bool | None = None,
    tile: int | None = None,
    upright: bool = True,
    server: str | None = None,
    step: int | None = None,
) -> bool:
    """Labels images with the newest good checkpoint of a run, or with a named one.

    A stopped command goes on where it was. Several processes share out the images, and each shares
    its own out to its devices.

    Args:
      config: of the run.
      workdir: of the run; its data set need not be there.
      images: a file, a directory or a pattern; see `ImageFiles.matching`.
      out: directory of the result; see `PredictedImages`.
      save: some of `predicted_images.KINDS`.
      protocol: how to predict; None: as in the paper, over the scales 0.5, 1 and 2.
      flip: whether to take the mean with the logits of the mirror image; None: as `evaluate.flip`
        says.
      tile: side of the tiles in which all images are looked at that are larger; None: as
        `evaluate.tile` and `evaluate.tile_above` say.
      upright: whether an EXIF orientation turns the images; the masks fit what is predicted.
      server: one of `submission.SERVERS`, for which the masks are checked and packed.
      step: of the checkpoint, from `--step`.

    Returns:
      Whether all images are done.

    Raises:
      ValueError: an argument or the config cannot be used; or, when all others are done, some
        images cannot be read.
      FileNotFoundError: the run has no checkpoint, or there are no images.
    """
    label_spec = start.check_run(config, workdir, needs_data=False)
    checkpoint_reading.find_step(workdir, "--workdir", step)
    way = protocols.of_prediction(protocol, config)
    tiling = protocols.tiling_of(way, config, tile)
    reader = AnyImage(upright)
    source = _open(images, out)
    feasibility.check_inference(config, source, "--protocol", way.scales, reader.size, tiling)
    if server is not None:
        submission.check(server, source, label_spec, reader.size)
    splits.check_agreement({"--images": source}, label_spec, step)
    weights = checkpoint.read_weights(workdir, "--workdir", step)
    flip = config.evaluate.flip if flip is None else flip
    settings = {
        "run": str(storage.absolute(workdir)),
        "step": weights.step,
        "weights": integrity.digest_of_tree((weights.params, weights.batch_stats)),
        "images": _on_record(images, out),
        "protocol": way.name,
        "flip": flip,
        "fusion_resolution": config.evaluate.fusion_resolution,
        "tiles": tiling.describe(),
        "exif": upright,
        "save": list(save),
        "submission": server,
    }
    predicted_images.check(out, settings)
    mesh = sharding.make_mesh(-1, 1, jax.local_devices())
    experiment = assemble(config, label_spec=label_spec, mesh=mesh)
    network = ImagePredictor(
        experiment.predictor((way,), flip=flip, each_scale="scales" in save),
        weights.params,
        weights.batch_stats,
        summarize,
        tiling=tiling,
        images_per_device=config.evaluate.images_per_device,
        canvases=config.evaluate.canvases,
        size_of=reader.size,
        decode=reader.decode,
    )
    index, count = jax.process_index(), jax.process_count()
    with hosts.first_before_others("directory of predictions"):
        target = PredictedImages(out, label_spec, settings, reader, process_index=index)
    with target:
        hosts.wait_for_all("records")  # from now on each is found by all
        unreadable = work_through(
            COMMAND,
            source,
            range(index, len(source), count),
            target.done(),
            predict=network.predictions,
            write=lambda todo, number, prediction: target.write(todo[number], prediction),
            record=target.record,
        )
    gathered = hosts.gathered("predictions", json.dumps(unreadable), hosts.UNEQUAL_MINUTES)
    unreadable = [line for text in gathered for line in json.loads(text)]
    done = target.done().keys() & ids_of(source)
    if others := len(target.done()) - len(done):
        tell(f"{out} also holds {others} images that --images no longer has.", "yellow")
    all_done = _tell_result(out, len(source), len(done), unreadable)
    if all_done and server is not None and index == 0:
        tell(f"For the server: {submission.write(out)}")
    return all_done


COMMAND = predicted_images.COMMAND


def _open(images: str, out: pathlib.Path) -> ImageFiles:
    """The images; tells what lies beside them."""
    source = ImageFiles.matching(any_path(images, "--images", is_pattern=True), SUFFIXES)
    inside = storage.absolute(out)
    around = None if source.root is None else storage.absolute(source.root)
    if around in (inside, *inside.parents):
        raise ValueError(f"--out is {out}, inside of --images; name a directory elsewhere")
    among = [i for i in range(len(source)) if inside in storage.absolute(source.path(i)).parents]
    if among:
        raise ValueError(
            f"--out is {out}, where {source.path(among[0])} of --images lies; name another"
            " directory"
        )
    if source.left_out:
        tell(f"--images: {source.left_out}.")
    return source


def _on_record(images: str, out: pathlib.Path) -> str:
    """What the directory of predictions says of `--images`: where they are, from wherever."""
    if work_record.settings_of(out, COMMAND).get("images") == images:  # as earlier versions had it
        return images
    return str(storage.absolute(any_path(images, "--images", is_pattern=True)))


def _tell_result(out: pathlib.Path, count: int, done: int, unreadable: list[str]) -> bool:
    if done + len(unreadable) < count:
        tell(f"Stopped with {done} of {count} images done. The same command goes on.")
        return False
    tell(f"{done} of {count} images are in {out}.")
    if unreadable:
        raise ValueError(
            f"{len(unreadable)} of {count} images cannot be read; replace them and give the same"
            " command again:\n  " + "\n  ".join(unreadable)
        )
    return True
