"""Whole images: every one once, few sizes, no padding that counts."""

import io

import numpy as np
import pytest
from PIL import Image

from hmsa_jax.input.layout import Layout, lay_out, read_heads
from hmsa_jax.input.whole_images import eval_batches, image_batches
from tests.input.memory_source import IGNORE, Counting, MemorySource

SIZES = [(8, 12), (8, 12), (12, 8), (8, 12), (5, 5)] * 3 + [(12, 8)]


@pytest.mark.parametrize("process_count", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [6, 12])
def test_evaluation_sees_every_record_once(batch_size, process_count):
    source = MemorySource(SIZES)
    parts = [
        list(
            eval_batches(
                source,
                batch_size=batch_size,
                ignore_label=IGNORE,
                process_index=index,
                process_count=process_count,
            )
        )
        for index in range(process_count)
    ]
    seen = []
    for batches in zip(*parts, strict=True):  # one global step
        shapes = {batch["image"].shape for batch in batches}
        assert len(shapes) == 1
        (shape,) = shapes
        assert shape[0] == batch_size // process_count
        for batch in batches:
            assert batch["label"].shape == batch["image"].shape[:3]
            assert batch["valid"].dtype == bool
            for image, label, valid in zip(
                batch["image"], batch["label"], batch["valid"], strict=True
            ):
                if valid:
                    index = int(label[0, 0])
                    assert (label == index).all()
                    assert (image == (index, 0, 0)).all()
                    assert label.shape == SIZES[index]
                    seen.append(index)
                else:
                    assert (label == IGNORE).all()
                    assert not image.any()
    assert sorted(seen) == list(range(len(SIZES)))


def test_one_size_keeps_the_order_and_pads_only_the_end():
    batches = list(eval_batches(MemorySource([(6, 6)] * 5), batch_size=2, ignore_label=IGNORE))
    assert [batch["label"][:, 0, 0].tolist() for batch in batches] == [[0, 1], [2, 3], [4, IGNORE]]
    assert [batch["valid"].tolist() for batch in batches] == [[True] * 2, [True] * 2, [True, False]]
    assert [batch["index"].tolist() for batch in batches] == [[0, 1], [2, 3], [4]]


def test_it_reads_ahead_but_not_far():
    source = Counting(MemorySource([(6, 6)] * 100))
    batches = eval_batches(source, batch_size=1, ignore_label=IGNORE)
    next(batches)
    batches.close()
    assert source.reads < 100 + 20  # each once for its size


def test_it_names_an_undecodable_record():
    source = MemorySource([(6, 6)] * 3)
    source.replace(2, label=source[2]["label"][:45])
    with pytest.raises(ValueError, match="record 'flat-2', field 'label'"):
        list(eval_batches(source, batch_size=2, ignore_label=IGNORE))


def test_a_batch_is_divisible_by_the_processes():
    with pytest.raises(ValueError, match=r"^data\.batch_size: expected"):
        eval_batches(MemorySource([(6, 6)]), batch_size=3, ignore_label=IGNORE, process_count=2)


def test_empty_source_is_refused():
    with pytest.raises(ValueError, match="source: expected at least one record"):
        eval_batches(MemorySource([]), batch_size=1, ignore_label=IGNORE)
    with pytest.raises(ValueError, match="source: expected at least one record"):
        image_batches(MemorySource([]), Layout({}, {}, {}, frozenset()), batch_size=1)


@pytest.mark.parametrize(
    ("most", "canvases"),
    [(3, {(8, 12), (12, 8), (5, 5)}), (2, {(32, 32)}), (1, {(32, 32)})],
)
def test_canvases_make_shapes_few_and_their_padding_is_ignored(most, canvases):
    source = MemorySource(SIZES)
    layout = lay_out(source, most)
    batches = list(eval_batches(source, batch_size=4, ignore_label=IGNORE, layout=layout))
    assert {batch["label"].shape[1:] for batch in batches} == canvases
    seen = []
    for batch in batches:
        for image, label in zip(batch["image"][batch["valid"]], batch["label"], strict=False):
            index = int(label[0, 0])
            rows, columns = SIZES[index]
            inside = np.zeros(label.shape, bool)
            inside[:rows, :columns] = True
            np.testing.assert_array_equal(label, np.where(inside, index, IGNORE))
            np.testing.assert_array_equal(image[..., 0], np.where(inside, index, 0))
            seen.append(index)
    assert sorted(seen) == list(range(len(SIZES)))


def test_images_need_no_label_and_say_which_they_are():
    source = MemorySource(SIZES)
    for index in range(len(SIZES)):
        source.replace(index, label=None)
    batches = list(image_batches(source, lay_out(source, 1), batch_size=4))
    seen = []
    for batch in batches:
        assert batch["image"].shape[0] == 4
        assert batch["size"].shape == (4, 2)
        assert batch["size"].dtype == np.int32
        for image, index, (rows, columns) in zip(
            batch["image"], batch["index"], batch["size"], strict=False
        ):
            assert (rows, columns) == SIZES[index]
            assert (image[:rows, :columns, 0] == index).all()
            assert not image[rows:].any()
            assert not image[:, columns:].any()
            seen.append(index)
        assert not batch["image"][len(batch["index"]) :].any()
    assert sorted(seen) == list(range(len(SIZES)))


def test_images_that_cannot_be_read_are_left_out_if_that_is_asked_for():
    source = MemorySource(SIZES).replace(1, image=b"broken")
    unreadable = {}
    layout = Layout.of(read_heads(source, unreadable=unreadable), 4)
    batches = list(image_batches(source, layout, batch_size=2, unreadable=unreadable))
    seen = sorted(int(index) for batch in batches for index in batch["index"])
    assert seen == [index for index in range(len(SIZES)) if index != 1]
    assert list(unreadable) == [1]
    with pytest.raises(ValueError, match="record 'flat-1'"):
        read_heads(source)


def test_an_image_is_turned_to_lie_under_its_label():
    """Bright above, stored on its side; one label is as displayed, one as stored."""
    displayed = np.repeat(np.uint8([[200] * 8] * 8 + [[50] * 8] * 16)[..., None], 3, axis=-1)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    stream = io.BytesIO()
    Image.fromarray(np.rot90(displayed)).save(stream, "JPEG", exif=exif)
    source = MemorySource([(24, 8), (8, 24)])
    for index in range(2):
        source.replace(index, image=stream.getvalue())
    first, second = eval_batches(source, batch_size=1, ignore_label=IGNORE)
    assert first["image"].shape[1:] == (24, 8, 3)
    assert np.abs(first["image"][0].astype(int) - displayed).max() < 5
    assert second["image"].shape[1:] == (8, 24, 3)
    assert np.abs(second["image"][0].astype(int) - np.rot90(displayed)).max() < 5
