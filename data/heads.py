"""What is known of the records of a built data set before any is read: ids and sizes of images."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from etils import epath

from data import header

NAME = "heads.json"

Head = tuple[str, int, int]  # id, rows and columns


def head_of(record: Mapping[str, Any], keys: Sequence[str]) -> Head:
    """The head of a record that is being built.

    Args:
      record: encoded.
      keys: what it calls its image, label and id.

    Raises:
      ValueError: its image is none.
    """
    image, label, name = (record[key] for key in keys)
    return name, *header.read(image).size(header.png_size(label))


def write(data_dir: Path, heads: Mapping[str, Sequence[Head]]) -> None:
    """Puts the heads of all records, by split, beside them."""
    (data_dir / NAME).write_text(json.dumps(heads))


def read(data_dir: str, split: str) -> list[Head] | None:
    """The heads of a split, in the order of its records.

    Args:
      data_dir: where the records lie.
      split: one or several or parts of them, as TFDS writes it.

    Returns:
      None where there are none, as beside what earlier versions have built.
    """
    path = epath.Path(data_dir) / NAME
    if not path.exists():
        return None
    heads = json.loads(path.read_text())
    splits = tfds.builder_from_directory(data_dir).info.splits
    parts = tfds.core.ReadInstruction.from_spec(split).to_absolute(splits)
    return [tuple(head) for part in parts for head in heads[part.splitname][part.from_ : part.to]]
