"""What an official server takes: Cityscapes' pixel-level labelling task."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

from data import cityscapes
from data.files import File
from data.header import Size
from data.label_spec import LabelSpec, differing_names
from hmsa_jax.input.decoding import Record
from hmsa_jax.input.image_files import ImageFiles
from hmsa_jax.runtime.files import atomic_path
from hmsa_jax.runtime.parallel import in_order
from hmsa_jax.runtime.storage import files_below

SERVERS = ("cityscapes",)
_IMAGES = 1525  # of the test split
_SIZE = (1024, 2048)
_NAME = re.compile(r"[a-z-]+_\d{6}_\d{6}_leftImg8bit")
_SHOWN = 3
_FILE = "submission.zip"


def check(
    server: str, images: ImageFiles, label_spec: LabelSpec, size_of: Callable[[Record], Size]
) -> None:
    """Makes sure that a server would take the masks of these images, from their headers.

    Args:
      server: one of `SERVERS`.
      images: those of its test split.
      label_spec: the classes of the run.
      size_of: reads rows and columns of a record's image.

    Raises:
      ValueError: the server is unknown, or would refuse: all reasons are listed.
    """
    if server not in SERVERS:
        raise ValueError(f"--submission is {server!r}; expected one of {', '.join(SERVERS)}")
    troubles = differing_names(label_spec.names, cityscapes.LABEL_SPEC.names)
    if not troubles and label_spec.class_values != cityscapes.LABEL_SPEC.class_values:
        troubles = ["the labels of the run's data set are no labelIds"]
    if len(images) != _IMAGES:
        troubles.append(f"there are {len(images)} images; the test split has {_IMAGES}")
    names = [images.path(i).stem for i in range(len(images))]
    troubles += _some("are called otherwise than CITY_000000_000000_leftImg8bit", [
        name for name in names if not _NAME.fullmatch(name)
    ])  # fmt: skip
    if len(set(names)) < len(names):
        troubles.append("images in several folders have the same name")
    if not troubles:
        wrong = [name for i, name in enumerate(names) if _size(images[i], size_of) != _SIZE]
        troubles = _some(f"are not of {_SIZE[1]} x {_SIZE[0]} pixels", wrong)
    if troubles:
        raise ValueError(
            f"--submission={server}, but the server would refuse:\n  " + "\n  ".join(troubles)
        )


def write(out: Path) -> Path:
    """Packs the masks of a directory that `predict` has filled, names without folders.

    Returns:
      The archive, `submission.zip` in that directory.
    """
    path = out / _FILE
    # PNG files do not get smaller.
    with atomic_path(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        masks = [out / "masks" / name for name in files_below(out / "masks")]
        masks = [mask for mask in masks if mask.suffix == ".png"]
        for mask, data in zip(masks, in_order(lambda mask: File(mask).read(), masks), strict=True):
            archive.writestr(mask.name, data)
    return path


def _size(record: Record, size_of: Callable[[Record], Size]) -> Size | None:
    """None of what is no image."""
    try:
        return size_of(record)
    except ValueError:
        return None


def _some(what: str, names: list[str]) -> list[str]:
    """A line on these names, if there are any."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"{len(names)} images {what}: {', '.join(names[:_SHOWN])}{more}"] if names else []
