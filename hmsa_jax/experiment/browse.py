"""The page of a data set that was checked: reads the images that it shows once more."""

import functools
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from data import checks, decoder_messages
from data.checks import Pair
from data.label_reader import ColourReader, NumberReader
from data.label_spec import LabelSpec
from data.pixels import decode_image
from hmsa_jax.experiment import page_file
from hmsa_jax.report import data_page, oddities
from hmsa_jax.report.checked_data import CheckedData, CheckedImage
from hmsa_jax.report.page import thumbnail
from hmsa_jax.report.page.gallery import Card
from hmsa_jax.report.page.thumbnail import Thumbnail
from hmsa_jax.runtime import parallel
from hmsa_jax.runtime.progress import track

PICTURES = 48

_Chosen = tuple[CheckedImage, list[str]]


def browse(
    data: CheckedData,
    splits: Mapping[str, Sequence[Pair]],
    reader: NumberReader | ColourReader,
    out: pathlib.Path,
    *,
    pictures: int,
) -> None:
    """Writes the page of a data set.

    Args:
      data: what was found of it.
      splits: split -> its pairs, as they were numbered when they were checked.
      reader: of the labels.
      out: the page.
      pictures: how many images are shown, at most.
    """
    found = oddities.find(data)
    chosen = oddities.choose(data.images, found, pictures)
    cards = _cards(chosen, splits, data.label_spec, reader)
    text = data_page.render(
        data,
        found,
        cards=cards,
        remark=_remark(cards, chosen, data, pictures),
        foot=page_file.made_by("check-data"),
    )
    page_file.write(out, text, data.name)


def _cards(
    chosen: Sequence[_Chosen],
    splits: Mapping[str, Sequence[Pair]],
    label_spec: LabelSpec,
    reader: NumberReader | ColourReader,
) -> list[Card]:
    make = functools.partial(_card, splits=splits, label_spec=label_spec, reader=reader)
    with decoder_messages.heard():  # of damage that the check has told
        made = track(parallel.in_order(make, chosen), len(chosen), "Pictures for the page")
        return [card for card in made if card is not None]


def _card(
    chosen: _Chosen,
    *,
    splits: Mapping[str, Sequence[Pair]],
    label_spec: LabelSpec,
    reader: NumberReader | ColourReader,
) -> Card | None:
    """An image with its label; None if neither can be read by now."""
    image, odd = chosen
    pair = splits[image.split][image.number]
    label = _label(pair, label_spec, reader)
    pictures = _pictures(_picture(pair, label), label, label_spec)
    if not pictures:
        return None
    by_class: dict[int, float | None] = {}
    if label is not None:
        pixels = np.bincount(label.ravel(), minlength=256)[: len(label_spec.names)]
        by_class = {int(i): 100 * float(pixels[i]) / label.size for i in np.flatnonzero(pixels)}
    number = None if image.ignored is None else 100 * image.ignored
    size = "" if image.size is None else "{} x {}".format(*image.size)
    about = ", ".join(filter(None, (image.split, size, *odd)))
    return Card(image.name, pictures, by_class, number, about, image.split)


def _label(
    pair: Pair, label_spec: LabelSpec, reader: NumberReader | ColourReader
) -> np.ndarray | None:
    """Class numbers of a pair, uint8 `[H, W]`; None if it has no label, or an unreadable one."""
    if pair.label is None:
        return None
    try:
        values, _ = reader.read(checks.read(pair.label))
    except ValueError:
        return None
    return np.frombuffer(label_spec.table, np.uint8)[values]


def _picture(pair: Pair, label: np.ndarray | None) -> np.ndarray | None:
    """The image of a pair, uint8 `[H, W, 3]`; None if it is unreadable."""
    try:
        return decode_image(checks.read(pair.image), None if label is None else label.shape)
    except ValueError:
        return None


def _pictures(
    image: np.ndarray | None, label: np.ndarray | None, label_spec: LabelSpec
) -> dict[str, Thumbnail]:
    pictures = {}
    if image is not None:
        pictures["image"] = thumbnail.photograph(image)
    if image is not None and label is not None and image.shape[:2] == label.shape:
        pictures["overlay"] = thumbnail.overlay(image, label, label_spec.palette)
    if label is not None:
        pictures["label"] = thumbnail.classes(label, label_spec.palette)
    return pictures


def _remark(
    cards: Sequence[Card], chosen: Sequence[_Chosen], data: CheckedData, pictures: int
) -> str:
    """Which images are shown, or why there are none."""
    if not pictures:
        return "No images are shown, since none were asked for (--pictures)."
    if not cards:
        return "No images are shown, since none can be read."
    odd = sum(bool(why) for _, why in chosen)
    shown = f"These are {len(cards)} of {len(data.images)} images"
    if len(cards) == len(data.images):
        return f"These are all {len(cards)} images, odd ones first."
    if not odd:
        return f"{shown}, evenly from each split."
    return f"{shown}: first odd ones ({odd}), then others, evenly from each split."
