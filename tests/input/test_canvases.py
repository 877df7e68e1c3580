"""Canvases hold their images, are few, and waste little on the sizes that pictures have."""

import itertools

import numpy as np
import pytest

from hmsa_jax.input import canvases
from hmsa_jax.input.layout import Layout

# Rows and columns of common cameras, from the smallest to the largest that Mapillary Vistas has.
CAMERAS = [
    (768, 1024), (720, 1280), (960, 1280), (1080, 1920), (1200, 1600), (1536, 2048),
    (1440, 2560), (1944, 2592), (1836, 3264), (2448, 3264), (2160, 3840), (2988, 3984),
    (3000, 4000), (3096, 4128), (2340, 4160), (3120, 4160), (2592, 4608), (3456, 4608),
    (2988, 5312), (3376, 6000), (4000, 6000),
]  # fmt: skip


def mapillary_sizes(count=2000, seed=0):
    """Sizes in the published range: the long edge is 1024 to 6000, some are upright or cropped."""
    rng = np.random.default_rng(seed)
    for rows, columns in rng.choice(CAMERAS, count):
        rows -= rng.integers(0, 40) * (rng.random() < 0.3)
        yield (int(columns), int(rows)) if rng.random() < 0.1 else (int(rows), int(columns))


def test_four_canvases_serve_the_sizes_of_mapillary():
    sizes = list(mapillary_sizes())
    chosen = canvases.choose(sizes, 4)
    assert len(set(sizes)) > 300
    assert len(set(chosen.of.values())) <= 4
    assert all(r <= chosen.of[r, c][0] and c <= chosen.of[r, c][1] for r, c in sizes)
    assert not any(side % 32 for canvas in chosen.of.values() for side in canvas)
    one = canvases.choose(sizes, 1)
    assert chosen.padding < 0.6 * one.padding
    assert f"{chosen.padding:.1%} of their pixels are padding" in chosen.describe()


@pytest.mark.parametrize("seed", range(5))
def test_padding_is_near_the_least_that_three_canvases_can_have(seed):
    """Beside all choices of three canvases out of the corners that the sizes span."""
    rng = np.random.default_rng(seed)
    sizes = [tuple(int(n) for n in 32 * rng.integers(1, 12, 2)) for _ in range(8)]
    rows, columns = ({size[axis] for size in sizes} for axis in (0, 1))

    def pixels(shapes):
        holding = [[a * b for a, b in shapes if a >= r and b >= c] for r, c in sizes]
        return sum(map(min, holding)) if all(holding) else np.inf

    best = min(map(pixels, itertools.combinations(itertools.product(rows, columns), 3)))
    chosen = canvases.choose(sizes, 3)
    assert len(set(chosen.of.values())) <= 3
    assert sum(r * c for r, c in map(chosen.of.get, sizes)) <= 1.25 * best


def test_few_sizes_are_left_as_they_are():
    chosen = canvases.choose([(33, 47), (20, 21), (33, 47)], 2)
    assert chosen.of == {(33, 47): (33, 47), (20, 21): (20, 21)}
    assert chosen.filled == {(33, 47), (20, 21)}
    assert chosen.padding == 0
    # A canvas with a single size is filled by it, too.
    chosen = canvases.choose([(400, 400), (33, 47), (33, 40)], 2)
    assert chosen.of == {(400, 400): (400, 400), (33, 47): (64, 64), (33, 40): (64, 64)}
    assert chosen.filled == {(400, 400)}


def test_the_commonest_canvas_is_that_of_most_images():
    sizes = dict(enumerate([(4, 4)] * 3 + [(8, 8), (8, 6)]))
    canvases = {(4, 4): (4, 4), (8, 8): (8, 8), (8, 6): (8, 8)}
    assert Layout(sizes, {}, canvases, frozenset()).commonest == (4, 4)
