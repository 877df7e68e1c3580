"""How exact the region mutual information is in float32, what memory it needs, how long it takes.

    python docs/benchmarks/rmi_precision.py

Painted label maps at 1024 x 2048 and predictions of three qualities. The reference is the same
function in float64; tests/losses/test_rmi.py compares that one with the definition.
"""

import functools
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from hmsa_jax.losses.rmi import LEAST_DIAGONAL, LEAST_PROBABILITY, RIDGE, region_mutual_information

SIZE = (1024, 2048)
RUNS = 3
QUALITIES = ("untrained", "half-trained", "nearly perfect")


def painted_labels(classes: int, seed: int = 0) -> np.ndarray:
    """`[1, H, W]` uint8: large regions with straight edges, thin and small things, some ignored."""
    rng = np.random.default_rng(seed)
    height, width = SIZE
    rows, columns = np.mgrid[:height, :width]
    labels = np.zeros(SIZE, np.uint8)
    labels[height // 3 :] = 1
    labels[rows - height // 2 > abs(columns - width // 2) // 2] = 2
    labels[(rows + columns > 2200) & (rows > height // 2)] = 3  # an edge of exactly 45 degrees
    for label in range(4, classes - 1):  # the last class is absent
        for _ in range(rng.integers(1, 4)):
            y, x = int(rng.integers(0, height)), int(rng.integers(0, width))
            kind = label % 4
            if kind == 0:  # a block
                h, w = rng.integers(20, 300, 2)
                labels[y : y + h, x : x + w] = label
            elif kind == 1:  # a post, 2 to 8 pixels wide
                labels[y : y + rng.integers(100, 400), x : x + rng.integers(2, 9)] = label
            elif kind == 2:  # a diagonal lane mark
                end = (x + 200, y + int(rng.choice((-200, 100, 200))))
                cv2.line(labels, (x, y), end, label, int(rng.integers(2, 12)))
            else:
                axes = tuple(int(a) for a in rng.integers(4, 120, 2))
                cv2.ellipse(labels, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, label, -1)
    labels[-60:] = 255
    return labels[None]


def predicted_logits(labels: np.ndarray, classes: int, quality: str, seed: int = 1) -> np.ndarray:
    """`[1, H, W, C]` float32: noise, or smoothed labels with noise, as smooth as stride 4 makes."""
    rng = np.random.default_rng(seed)
    height, width = SIZE
    logits = np.empty((*SIZE, classes), np.float32)
    for label in range(classes):
        coarse = rng.standard_normal((height // 4, width // 4), np.float32)
        noise = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        truth = (labels[0] == label).astype(np.float32)
        if quality == "untrained":
            logits[..., label] = 0.1 * noise
        elif quality == "half-trained":
            logits[..., label] = 8 * cv2.GaussianBlur(truth, (0, 0), 6) - 5 + noise
        else:
            logits[..., label] = 40 * cv2.GaussianBlur(truth, (0, 0), 0.7) - 20 + noise
    return logits[None]


def naive(logits: jax.Array, labels: jax.Array, radius: int = 3, pool: int = 4) -> jax.Array:
    """The definition as it stands, with its inverse, in one pass and the logits' type."""
    classes = logits.shape[-1]
    valid = (labels < classes)[..., None]
    target = jax.nn.one_hot(labels, classes, dtype=logits.dtype) * valid
    probability = jax.nn.sigmoid(logits) * valid + LEAST_PROBABILITY

    def windows(x):
        window, padding = (1, pool, pool, 1), ((0, 0), (pool // 2,) * 2, (pool // 2,) * 2, (0, 0))
        x = jax.lax.reduce_window(x, 0.0, jax.lax.add, window, window, padding) / pool**2
        h, w = (size - radius + 1 for size in x.shape[1:3])
        shifted = [x[:, i : i + h, j : j + w] for i in range(radius) for j in range(radius)]
        x = jnp.stack(shifted, 1).reshape(x.shape[0], radius**2, h * w, classes)
        return jnp.transpose(x - x.mean(2, keepdims=True), (0, 3, 1, 2))

    la, pr = windows(target), windows(probability)
    product = functools.partial(jnp.einsum, "bcin,bcjn->bcij", precision=jax.lax.Precision.HIGHEST)
    identity = RIDGE * jnp.eye(radius**2, dtype=logits.dtype)
    la_pr = product(la, pr)
    unexplained = product(la, la) - la_pr @ jnp.linalg.inv(product(pr, pr) + identity) @ la_pr.mT
    diagonal = jnp.diagonal(jnp.linalg.cholesky(unexplained + identity), axis1=-2, axis2=-1)
    return jnp.log(diagonal + LEAST_DIAGONAL).sum(-1).mean(0).sum() / radius**2


def errors(value, gradient, reference) -> list[str]:
    """Error of the value, and of the gradient in the 2-norm and in the maximum norm."""
    expected, expected_gradient = reference
    difference = np.subtract(gradient, expected_gradient, dtype=np.float64)
    return [
        f"{abs(value - expected) / abs(expected):.1e}",
        f"{np.linalg.norm(difference) / np.linalg.norm(expected_gradient):.1e}",
        f"{abs(difference).max() / abs(expected_gradient).max():.1e}",
    ]


def main() -> None:
    functions = {
        "this": jax.jit(jax.value_and_grad(region_mutual_information)),
        "naive": jax.jit(jax.value_and_grad(naive)),
    }
    print(
        f"jax {jax.__version__} on {jax.devices()[0].device_kind}, {SIZE[0]} x {SIZE[1]}, batch 1"
    )
    print()
    print(
        "| classes | prediction | RMI | error | grad., L2 | max | naive: error | grad., L2 | max |"
    )
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for classes in (19, 65):
        labels = painted_labels(classes)
        for quality in QUALITIES:
            logits = predicted_logits(labels, classes, quality)
            with jax.enable_x64(True):
                wide = functions["this"](logits.astype(np.float64), labels)
                reference = float(wide[0]), np.asarray(wide[1])
                del wide
            cells = [str(classes), quality, f"{reference[0]:.4f}"]
            for function in functions.values():
                value, gradient = function(logits, labels)
                cells += errors(float(value), np.asarray(gradient), reference)
            print("| " + " | ".join(cells) + " |", flush=True)
    print()
    print("| classes | | temporary memory | of the logits | seconds |")
    print("|---|---|---|---|---|", flush=True)
    for classes in (19, 65):
        labels = painted_labels(classes)
        logits = jax.device_put(predicted_logits(labels, classes, "half-trained"))
        for name, function in functions.items():
            compiled = function.lower(logits, labels).compile()
            memory = compiled.memory_analysis().temp_size_in_bytes
            seconds = statistics.median(timed(compiled, logits, labels) for _ in range(RUNS))
            print(
                f"| {classes} | {name} | {memory / 2**20:.0f} MiB | {memory / logits.nbytes:.2f} x"
                f" | {seconds:.1f} |",
                flush=True,
            )


def timed(compiled, *arguments) -> float:
    begin = time.perf_counter()
    jax.block_until_ready(compiled(*arguments))
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
