"""What a canvas that images do not fill costs, beside one that they fill, and one program a size.

    python docs/benchmarks/canvases.py

Hierarchical, scales 0.5, 1 and 2, float32, drawn weights. First: an image of 256 x 512 that fills
its arrays, by the program without and by the one with sizes, in turns. Then 60 images of 60 sizes
with the trunk of street_scenes: in four canvases, and each by a program of its own; compilations
included, as whoever has 60 pictures waits for them.
"""

import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jax
import numpy as np

from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.input import canvases
from hmsa_jax.models import multiscale

SIZE, CLASSES, RUNS, PICTURES = (256, 512), 19, 7, 60
PROTOCOLS = protocol_lib.parse_all(("hierarchical:0.5,1,2",))


def program(trunk: str, **widths: int):
    """A jitted `(images, sizes) -> classes` with weights of its own."""
    architecture = multiscale.Architecture(trunk, CLASSES, **widths)
    graphdef, *weights = multiscale.initialize(architecture, dtype="float32", remat="none", seed=0)
    weights = jax.device_put(weights)

    @jax.jit
    def predict(weights, images, sizes=None):
        (output,) = protocol_lib.predict_all(
            PROTOCOLS, graphdef, *weights, images, resolution="features", flip=False, sizes=sizes
        )
        return output.logits.argmax(-1)

    return lambda *args: predict(weights, *args).block_until_ready()


def masks(trunk: str) -> None:
    predict = program(trunk)
    image = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3), np.uint8)
    ways = {"without sizes": (image,), "with sizes": (image, np.array([SIZE], np.int32))}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for arguments in ways.values():
        predict(*arguments)
    for _ in range(RUNS):
        for name, arguments in ways.items():
            start = time.perf_counter()
            predict(*arguments)
            times[name].append(time.perf_counter() - start)
    without, with_ = (statistics.median(times[name]) for name in ways)
    ratio = statistics.median(b / a for a, b in zip(*times.values(), strict=True))
    print(
        f"{trunk}: {without:.3f} s without, {with_:.3f} s with sizes; {ratio:.3f} times", flush=True
    )


def mixed_sizes() -> None:
    rng = np.random.default_rng(0)
    sizes = [tuple(int(n) for n in rng.integers((90, 180), (180, 320))) for _ in range(PICTURES)]
    pictures = [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
    for most in (4, len(sizes)):
        predict = program("tiny", ocr_channels=64, ocr_key_channels=32, head_channels=32)
        chosen = canvases.choose(sizes, most)
        for turn in ("first", "again"):
            start = time.perf_counter()
            for size, picture in zip(sizes, pictures, strict=True):
                canvas = chosen.of[size]
                image = np.zeros((1, *canvas, 3), np.uint8)
                image[0, : size[0], : size[1]] = picture
                filled = canvas in chosen.filled
                predict(*((image,) if filled else (image, np.array([size], np.int32))))
            rate = len(sizes) / (time.perf_counter() - start)
            programs = len(set(chosen.of.values()))
            print(
                f"{programs} programs, {turn}: {rate:.2f} images/s, {chosen.padding:.1%} padding",
                flush=True,
            )


if __name__ == "__main__":
    for trunk in ("w18", "resnet50"):
        masks(trunk)
    mixed_sizes()
