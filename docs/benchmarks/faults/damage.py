"""What may happen to a file."""

import pathlib

import numpy as np


def flipped(data: bytes, rng: np.random.Generator, begin: int = 0, end: int | None = None) -> bytes:
    """With one to eight bits turned over between two positions."""
    array = np.frombuffer(data, np.uint8).copy()
    for position in rng.integers(begin, len(data) if end is None else end, rng.integers(1, 9)):
        array[position] ^= 1 << rng.integers(8)
    return array.tobytes()


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    """Without its end; at times with nothing."""
    return data[: rng.integers(len(data))]


def zeroed(data: bytes, rng: np.random.Generator) -> bytes:
    """With a stretch of zeros, as a file system leaves it after a crash."""
    begin = rng.integers(len(data))
    length = min(rng.integers(1, 4097), len(data) - begin)
    return data[:begin] + bytes(length) + data[begin + length :]


ALL = (flipped, cut, zeroed)


def hurt(path: pathlib.Path, rng: np.random.Generator) -> str:
    """Damages a file in one of the ways above; returns which."""
    way = ALL[rng.integers(len(ALL))]
    path.write_bytes(way(path.read_bytes(), rng))
    return way.__name__
