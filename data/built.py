"""What is kept beside a built data set: what its check found, and how to see that it is whole."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np

from data.encodings import FILES
from data.label_spec import IGNORE, LabelSpec
from hmsa_jax.runtime import storage

NAME = "found.json"
_HASHED = 2**20  # bytes; of larger files the size alone is compared


@dataclasses.dataclass
class Found:
    """What the check of a data set found.

    Attributes:
      pixels: of each split, the pixels of its labels by value, 256 numbers; empty for a data set
        that is not checked because the project paints it.
      remarks: what is to be known of the files, a line a kind.
      digest: of all that the records hold and of the list of classes that came with them, 16
        hexadecimal digits; empty for what an earlier version built.
      source: the directory that it was built from, for a person.
      encoding: how its images and labels are stored, a name in `encodings.ENCODINGS`.
    """

    pixels: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    remarks: list[str] = dataclasses.field(default_factory=list)
    digest: str = ""
    source: str = ""
    encoding: str = FILES

    def add(self, split: str, counts: np.ndarray | None) -> None:
        """Takes the pixels of a label by value, int64 `[256]`; None for an image without one."""
        before = self.pixels.get(split, [0] * 256)
        self.pixels[split] = before if counts is None else (before + counts).tolist()

    def class_pixels(self, split: str, label_spec: LabelSpec) -> np.ndarray | None:
        """How many pixels each class has.

        Args:
          split: one or several, or parts of them, as TFDS writes it; parts count as the whole.
          label_spec: what the values mean.

        Returns:
          int64 `[classes]`; None if a split was not checked.
        """
        names = [part.partition("[")[0].strip() for part in split.split("+")]
        if not all(name in self.pixels for name in names):
            return None
        by_value = np.array([self.pixels[name] for name in names], np.int64).sum(0)
        return class_pixels(by_value, label_spec)


def class_pixels(values: np.ndarray, label_spec: LabelSpec) -> np.ndarray:
    """Pixels by value of a label, int64 `[256]`, to pixels by class, int64 `[classes]`."""
    pixels = np.zeros(256, np.int64)
    np.add.at(pixels, np.frombuffer(label_spec.table, np.uint8), values)
    return pixels[: len(label_spec.names)]


def absent(pixels: np.ndarray, label_spec: LabelSpec) -> list[str]:
    """The classes that have no pixel; `pixels` is int64 `[classes]`."""
    return [name for name, count in zip(label_spec.names, pixels, strict=True) if not count]


def why_nothing_is_learnt(pixels: np.ndarray, label_spec: LabelSpec) -> str:
    """Why labels cannot teach anything, in words; empty if they can.

    Args:
      pixels: of each class in all of them, int64 `[classes]`.
      label_spec: of the labels.
    """
    present = [name for name, count in zip(label_spec.names, pixels, strict=True) if count]
    if len(present) > 1:
        return ""
    ignored = [str(value) for value in label_spec.values if label_spec.table[value] == IGNORE]
    what = f"only the class {present[0]!r} has pixels" if present else "no class has a pixel"
    belong = "belongs" if len(ignored) == 1 else "belong"
    hint = f", of which {', '.join(ignored)} {belong} to no class" if ignored else ""
    return (
        f"{what}, so that there is nothing to learn. Labels may hold {label_spec.describe_values()}"
        f"{hint}: renumber the labels, or correct the list of classes"
    )


def write(data_dir: Path, found: Found) -> None:
    """Puts what was found beside a data set that has just been built."""
    text = json.dumps({**dataclasses.asdict(found), "files": _files(data_dir)})
    partial = data_dir / f"{NAME}.partial"
    partial.write_text(text)
    partial.replace(data_dir / NAME)


def read(data_dir: Path) -> Found | None:
    """What was found; None unless the data set is as it was built."""
    try:
        content = json.loads((data_dir / NAME).read_text())
        if content.pop("files") != _files(data_dir):
            return None
        return Found(**content)
    except OSError as error:
        if storage.is_remote(data_dir) and not isinstance(error, FileNotFoundError):
            raise  # a bucket that does not answer says nothing of what it holds
        return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _files(data_dir: Path) -> dict[str, list]:
    """Size of every file that TFDS wrote, and a hash of the small ones."""
    files = {}
    for name, size in storage.sizes(data_dir).items():
        if not name.startswith(NAME):
            small = size <= _HASHED
            data = storage.read(data_dir / name) if small else b""
            files[name] = [size, hashlib.sha256(data).hexdigest() if small else None]
    return files
