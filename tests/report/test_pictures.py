"""Pictures of labels hold what they were made of."""

import numpy as np

from hmsa_jax.report import pictures

PALETTE = ((10, 20, 30), (200, 100, 0))


def test_a_class_has_its_colour_and_no_class_is_black():
    label = np.array([[0, 1], [255, 1]], np.uint8)
    colours = pictures.coloured(label, PALETTE)
    assert colours.tolist() == [[[10, 20, 30], [200, 100, 0]], [[0, 0, 0], [200, 100, 0]]]
    image = np.full((2, 2, 3), 50, np.uint8)
    np.testing.assert_array_equal(
        pictures.beside(image, label, PALETTE), np.hstack([image, colours])
    )
    half = (image.astype(float) + colours) / 2
    assert np.abs(pictures.overlay(image, label, PALETTE) - half).max() <= 0.5


def test_a_grid_shows_every_picture_below_its_title():
    image = np.full((30, 40, 3), (9, 99, 199), np.uint8)
    grey = np.full((30, 40), 77, np.uint8)
    sheet = pictures.grid([[("image", image), ("again", image)], [("", None), ("share", grey)]])
    assert (sheet == (9, 99, 199)).all(-1).sum() == 2 * 30 * 40
    assert (sheet == 77).all(-1).sum() >= 30 * 40
    wide = pictures.grid([[("wide", np.zeros((100, 5000, 3), np.uint8))]])
    assert wide.shape[1] < 700


def test_a_grid_has_a_key_and_no_room_for_titles_that_are_not_there():
    image = np.zeros((30, 400, 3), np.uint8)
    titled, bare = ([("a title", image)], [("", image)])
    rows = [pictures.grid([titled]).shape[0], pictures.grid([titled, bare]).shape[0]]
    assert rows[1] - rows[0] < rows[0] - 30
    key = {"road": (9, 99, 199), "a [class]": (199, 99, 9)}
    sheet = pictures.grid([titled, bare], key)
    assert sheet.shape[0] > rows[1]
    for colour in key.values():
        assert (sheet[rows[1] :] == colour).all(-1).sum() > 300
