"""Two tileable noise fields that give every surface of a scene its texture."""

import functools

import numpy as np

SIZE = 512  # cells after which the fields repeat


@functools.cache
def grain() -> np.ndarray:
    """Fine noise (asphalt, plaster): float32, mean 0, deviation 1, laid out twice each way."""
    return _spectral_noise(seed=1, falloff=0.6)


@functools.cache
def cloud() -> np.ndarray:
    """Coarse noise (clouds, foliage, worn patches): as `grain`, with power at long waves."""
    return _spectral_noise(seed=2, falloff=1.5)


def crop(field: np.ndarray, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A `[height, width]` window of a noise field at a random place, at most `SIZE` each way."""
    top, left = rng.integers(0, SIZE, 2)
    return field[top : top + height, left : left + width]


def _spectral_noise(seed: int, falloff: float) -> np.ndarray:
    white = np.random.default_rng(seed).standard_normal((SIZE, SIZE))
    frequency = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.fftfreq(SIZE)) * SIZE
    frequency[0, 0] = np.inf  # no constant part
    field = np.fft.ifft2(np.fft.fft2(white) / frequency**falloff).real
    # Two tiles each way, so that a window anywhere on the first is a plain slice.
    return np.tile((field / field.std()).astype(np.float32), (2, 2))
