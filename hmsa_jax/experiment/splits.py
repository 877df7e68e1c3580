"""The splits that a command reads: they are there, hold what is asked of them, equal everywhere."""

import hashlib
import json
from collections.abc import Mapping

import jax
import numpy as np

from data import folder, registry
from data.builder import SegmentationBuilder
from data.label_spec import IGNORE, LabelSpec
from hmsa_jax.distributed import hosts
from hmsa_jax.input import decoding
from hmsa_jax.input.source import Source

_SAMPLED = 16  # records of a split that are compared in full; of the others the number counts


def open_split(builder: SegmentationBuilder, field: str, split: str) -> Source:
    """Opens a split that a field names.

    Args:
      builder: from `registry.prepare`.
      field: such as `data.eval_split`, for errors.
      split: its value.

    Raises:
      ValueError: there is no such split, or no image in it; the message names the field.
    """
    try:
        return registry.open_source(builder, split)
    except ValueError as error:
        raise ValueError(f"{field} is {split!r}: {error}") from error


def check_labels(source: Source, field: str, split: str) -> None:
    """Makes sure that a split can be scored; one record is read where the first has a label.

    Raises:
      ValueError: no pixel of any label belongs to a class; or a label cannot be decoded.
    """
    for index in range(len(source)):
        if (decoding.decode_label(source[index]) != IGNORE).any():
            return
    raise ValueError(
        f"{field} is {split!r}, whose {len(source)} images have no labels: every pixel is ignored,"
        " so that nothing can be scored; name a split with labels"
    )


def check_agreement(
    sources: Mapping[str, Source],
    label_spec: LabelSpec,
    step: int | None,
    minutes: float = hosts.MINUTES,
) -> None:
    """Makes sure that all processes read the same; to be called once in the life of a process.

    Args:
      sources: what the images are, as a user names it -> the images.
      label_spec: what their labels mean.
      step: of the checkpoint, from `--step`.
      minutes: the longest wait for processes that still prepare data.

    Raises:
      ValueError: in every process, if number or content of the images, the classes, or the step
        differ in any.
    """
    if jax.process_count() == 1:
        return
    classes = json.loads(folder.classes_text(label_spec))["classes"]
    hosts.check_agreement(
        "data",
        {name: describe(source) for name, source in sources.items()}
        | {f"class {number}": json.dumps(entry) for number, entry in enumerate(classes)}
        | {"--step": str(step)},
        minutes,
    )


def describe(source: Source) -> str:
    """How many records there are, and a fingerprint of some that are spread over all."""
    digest = hashlib.sha256()
    for index in np.unique(np.linspace(0, len(source) - 1, _SAMPLED).astype(int)):
        try:
            record = source[int(index)]
        except ValueError as error:  # told by name where it is wanted
            digest.update(repr(error).encode())
            continue
        digest.update(repr(record["id"]).encode())
        digest.update(record["image"])
        digest.update(record.get("label", b""))
    return f"{len(source)} images, fingerprint {digest.hexdigest()[:16]}"
