"""The gradient of a 3x3 kernel on a CPU: as a convolution, and as matrix products.

    python docs/benchmarks/kernel_gradient.py

Layers of HRNet-W48 with OCR at a crop of 256 x 512, of the trunk `tiny`, and strided ones, float32.
The forms take turns; medians.
"""

import functools
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jax
import numpy as np

from hmsa_jax.models.layers import convolution

RUNS = 9
FORMS = {
    "convolution": convolution.gradients_of_windows,
    "products": convolution.gradients_by_products,
}
LAYERS = [  # rows and columns of x, its channels and those of y, stride
    (64, 128, 8, 8, 1),
    (64, 128, 16, 16, 1),
    (64, 128, 48, 48, 1),
    (32, 64, 96, 96, 1),
    (16, 32, 192, 192, 1),
    (8, 16, 384, 384, 1),
    (64, 128, 720, 512, 1),
    (64, 128, 48, 96, 2),
    (256, 512, 3, 64, 2),
]


def main() -> None:
    jax.config.update("jax_platforms", "cpu")
    print(f"jax {jax.__version__}\n")
    print("| x | y | stride | convolution | products | convolution / products |")
    print("|---|---|---:|---:|---:|---:|")
    for rows, columns, inputs, outputs, stride in LAYERS:
        rng = np.random.default_rng(0)
        shapes = [
            (1, rows, columns, inputs),
            (3, 3, inputs, outputs),
            (1, rows // stride, columns // stride, outputs),
        ]
        arrays = [jax.device_put(rng.standard_normal(shape, np.float32)) for shape in shapes]
        seconds = median_seconds(arrays, stride)
        print(
            f"| {rows} x {columns} x {inputs} | {outputs} | {stride}"
            f" | {1e3 * seconds[0]:.2f} ms | {1e3 * seconds[1]:.2f} ms"
            f" | {seconds[0] / seconds[1]:.2f} |",
            flush=True,
        )


def median_seconds(arrays: list[jax.Array], stride: int) -> np.ndarray:
    """What each form takes."""
    programs = [jax.jit(functools.partial(of_kernel, form, stride)) for form in FORMS.values()]
    expected, got = (np.asarray(program(*arrays)) for program in programs)
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())
    seconds = np.zeros((RUNS, len(programs)))
    for run in seconds:
        for i, program in enumerate(programs):
            begin = time.perf_counter()
            jax.block_until_ready(program(*arrays))
            run[i] = time.perf_counter() - begin
    return np.median(seconds, axis=0)


def of_kernel(form, stride: int, *arrays: jax.Array) -> jax.Array:
    return form(*arrays, stride, 1)[1]


if __name__ == "__main__":
    main()
