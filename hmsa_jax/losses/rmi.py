"""Region mutual information: do labels and probabilities agree on whole windows of pixels?

Zhao et al., "Region Mutual Information Loss for Semantic Segmentation" (NeurIPS 2019), section 3;
part of the main loss of Tao et al. 2020 (section 4). The published code computes it in float64,
which a TPU lacks; here float32 is enough, see `_log_determinant`.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

POOLINGS = ("average", "max", "interpolate")

RIDGE = 5e-4  # alpha: what the published code adds to the diagonal of both covariances
LEAST_PROBABILITY = 1e-6  # added to every probability
LEAST_DIAGONAL = 1e-8  # added to the Cholesky factor's diagonal before its logarithm
SHIFT = 64  # x the dtype's epsilon: keeps the first Cholesky factor from breaking down

# By default TPUs and GPUs round the factors of a float32 product.
_product = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


def region_mutual_information(
    logits: jax.Array,
    labels: jax.Array,
    *,
    radius: int = 3,
    pool: int = 4,
    pooling: str = "average",
) -> jax.Array:
    """0.5 log det(A + alpha I) / radius^2, the mean over images, summed over classes.

    A = L - B (P + alpha I)^-1 B^T is what the probabilities leave unexplained of the labels: P, L
    and B are the covariances (not divided by the number of windows) of the radius x radius windows
    of the pooled probabilities, of the pooled one-hot labels, and between the two. But for
    constants, its negative is a lower bound of their mutual information. It may be negative.

    Args:
      logits: `[B, H, W, C]`, float32, or float64 (then everything is); others are cast to float32.
      labels: `[B, H, W]` integers; a pixel whose label is not below C is ignored.
      radius: rows and columns of a window.
      pool: size and stride of the pooling; 1 for none.
      pooling: one of `POOLINGS`. "average" and "max" pad with pool // 2 zeros, which the average
        counts; "interpolate" samples H // pool rows and W // pool columns: labels nearest,
        probabilities bilinearly with aligned corners.

    Returns:
      A scalar of the type that is computed in.

    Raises:
      ValueError: `pooling` is unknown, `pool` or `radius` is not positive, or the pooled image is
        smaller than a window.
    """
    _, height, width, _ = logits.shape
    check_window((height, width), radius, pool, pooling)
    if logits.dtype != jnp.float64:
        logits = logits.astype(jnp.float32)
    # Without jax.checkpoint probabilities at full resolution are kept for the gradient.
    pooled = jax.checkpoint(_pooled_maps, static_argnums=(2, 3))
    p, y, difference = pooled(logits, labels, pool, pooling)
    return 0.5 * _log_determinant(p, y, difference, radius).mean(1).sum() / radius**2


def check_window(size: tuple[int, int], radius: int, pool: int, pooling: str) -> None:
    """Raises ValueError unless an image of `size` has a window; arguments as for the loss."""
    if pooling not in POOLINGS:
        raise ValueError(f"pooling is {pooling!r}; expected one of {', '.join(POOLINGS)}")
    if pool < 1 or radius < 1:
        raise ValueError(f"pool is {pool} and radius {radius}; both must be at least 1")
    height, width = (_pooled_size(length, pool, pooling) for length in size)
    if min(height, width) < radius:
        raise ValueError(
            f"{size[0]} x {size[1]} pixels are {height} x {width} after pooling by {pool}, less"
            f" than a window of {radius} x {radius}: use a larger crop, or a smaller pool or radius"
        )


def _pooled_size(size: int, pool: int, pooling: str) -> int:
    return size // pool if pooling == "interpolate" else (size + pool // 2 * 2) // pool


def _pooled_maps(logits: jax.Array, labels: jax.Array, pool: int, pooling: str) -> list[jax.Array]:
    """Pooled probabilities p, labels y and y - p, each `[C, B, h, w]`."""
    classes = logits.shape[-1]
    labels = labels.astype(jnp.int32)[..., None]
    valid, target = labels < classes, labels == jnp.arange(classes)
    probability = jnp.where(valid, _sigmoid(logits), 0) + LEAST_PROBABILITY
    if pooling == "average" or pool == 1:
        p = _averages(probability, pool)
        p, logits = jax.lax.optimization_barrier((p, logits))  # one map at full size, then another
        # y - p pixel by pixel: 1 - sigmoid(x) = sigmoid(-x) is exact where p is nearly 1.
        error = jax.nn.sigmoid(jnp.where(target, -logits, logits))
        error = jnp.where(valid, jnp.where(target, error, -error), 0) - LEAST_PROBABILITY
        constant = jax.lax.stop_gradient
        difference = constant(_averages(error, pool))
        y = constant(jnp.round((difference + p) * pool**2) / pool**2)  # a number of pixels
        difference = difference + (constant(p) - p)  # 0, but for the gradient
    else:
        label = target.astype(logits.dtype)
        if pooling == "max":
            p, y = _maxima(probability, pool), _maxima(label, pool)
        else:
            p, y = _bilinear(probability, pool), _nearest(label, pool)
        difference = y - p
    return [jnp.moveaxis(x, -1, 0) for x in (p, y, difference)]


@jax.custom_jvp
def _sigmoid(x: jax.Array) -> jax.Array:
    return jax.nn.sigmoid(x)


# Not p (1 - p): 1 - p has few digits where p is nearly 1.
_sigmoid.defjvps(lambda tangent, p, x: tangent * p * jax.nn.sigmoid(-x))


def _averages(x: jax.Array, pool: int) -> jax.Array:
    return _reduced(x, pool, 0.0, jax.lax.add) / pool**2


def _maxima(x: jax.Array, pool: int) -> jax.Array:
    return _reduced(x, pool, -np.inf, jax.lax.max)


def _reduced(x: jax.Array, pool: int, initial: float, combine: Callable) -> jax.Array:
    """Combines windows of pool x pool pixels of `[B, H, W, C]`, padded with `initial`."""
    window, padding = (1, pool, pool, 1), (pool // 2, pool // 2)
    return jax.lax.reduce_window(
        x, initial, combine, window, window, ((0, 0), padding, padding, (0, 0))
    )


def _nearest(x: jax.Array, pool: int) -> jax.Array:
    """Rows and columns floor(i x size / pooled size) of `[B, H, W, C]`."""
    for axis in (1, 2):
        count = x.shape[axis] // pool
        x = x.take(np.arange(count) * x.shape[axis] // count, axis=axis)
    return x


def _bilinear(x: jax.Array, pool: int) -> jax.Array:
    """`[B, H, W, C]` at H // pool x W // pool points, the outermost ones in the corners."""

    def weights(size):  # a matrix: devices that share out the rows need no gather
        centre = np.linspace(0, size - 1, size // pool)
        return np.maximum(1 - abs(centre[:, None] - np.arange(size)), 0).astype(x.dtype)

    x = _product("yh,bhwc->bywc", weights(x.shape[1]), x)
    return _product("xw,bywc->byxc", weights(x.shape[2]), x)


def _log_determinant(p: jax.Array, y: jax.Array, difference: jax.Array, radius: int) -> jax.Array:
    """log det(A + alpha I) of each class and image, `[C, B]`, from maps `[C, B, h, w]`.

    With X the centred windows of p, one below the other with those of y - s p for any number s,

      J = X X^T + alpha F F^T,  F = [[I, 0], [-s I, I]],

    has A + alpha I for the Schur complement of its first block, so that the last radius^2 diagonal
    elements of J's Cholesky factor hold the determinant. There is no inverse; and with s = 1 where
    p resembles y, else s = 0, what is left of y is not the small difference of large numbers.

    J's condition number is still beyond float32. Hence two passes over the windows ("Cholesky
    QR2"). The factor of the rounded J only yields a lower triangular T that nearly whitens X. The
    second pass factors

      T J T^T = (T X)(T X)^T + alpha (T F)(T F)^T,

    formed from T X, close to I and thus accurate. The result does not depend on T, whatever its
    error, so that T is a constant to the gradient, too.
    """
    size = radius**2
    identity = np.eye(2 * size, dtype=y.dtype)
    s = 4 * difference.var((2, 3)) < y.var((2, 3))
    maps = jnp.stack([p, jnp.where(s[..., None, None], difference, y)], 2)
    f = identity - s[..., None, None] * np.eye(2 * size, k=-size, dtype=y.dtype)

    def gram(maps):
        return _gram(_windows(maps, radius))

    @jax.checkpoint  # windows take radius^2 times the memory of the maps
    def whitened_gram(maps_and_t):
        maps, t = maps_and_t
        windows = _windows(maps, radius)
        # Row by row: for all at once, one dimension long and odd, XLA has no tiles on a GPU.
        t = jnp.broadcast_to(t[:, None], (t.shape[0], windows.shape[2], *t.shape[1:]))
        return _gram(_product("byij,bjyx->biyx", t, windows))

    # Class by class: the windows of all classes together would be larger than the logits.
    j = jax.lax.map(gram, jax.lax.stop_gradient(maps)) + RIDGE * _square(f)
    t = _whitening(j)
    j = jax.lax.map(whitened_gram, (maps, t)) + RIDGE * _square(_product("cbij,cbjk->cbik", t, f))
    diagonal = _diagonal(jnp.linalg.cholesky(j)) / _diagonal(t)
    return 2 * jnp.log(diagonal[..., size:] + LEAST_DIAGONAL).sum(-1)


def _whitening(j: jax.Array) -> jax.Array:
    """The inverse of J's Cholesky factor, after scaling J to a diagonal of 1 and a small shift."""
    identity = jnp.broadcast_to(jnp.eye(j.shape[-1], dtype=j.dtype), j.shape)
    scale = jax.lax.rsqrt(_diagonal(j))
    scaled = j * scale[..., :, None] * scale[..., None, :]
    factor = jnp.linalg.cholesky(scaled + SHIFT * jnp.finfo(j.dtype).eps * identity)
    inverse = jax.lax.linalg.triangular_solve(factor, identity, left_side=True, lower=True)
    return inverse * scale[..., None, :]


def _windows(maps: jax.Array, radius: int) -> jax.Array:
    """Centred windows `[B, 2 radius^2, h - radius + 1, w - radius + 1]` of maps `[B, 2, h, w]`.

    The windows hold the cosine transform of their pixels. Neighbouring pixels are nearly equal,
    while their sums and differences have different sizes: a Cholesky factor copes with different
    sizes, but not with strong correlation. The basis is orthonormal, so determinants are unchanged.
    """
    steps = np.arange(radius)
    basis = np.cos(np.pi / radius * steps[:, None] * (steps + 0.5))
    basis /= np.linalg.norm(basis, axis=1, keepdims=True)

    def transformed(x, axis):
        count = x.shape[axis] - radius + 1
        shifted = [jax.lax.slice_in_dim(x, i, i + count, axis=axis) for i in range(radius)]
        rows = [sum(float(b) * x for b, x in zip(row, shifted, strict=True)) for row in basis]
        return jnp.stack(rows, 2)

    # Centred twice: the mean of many elements is rounded, the mean of what then is left is not.
    maps = maps - jax.lax.stop_gradient(maps.mean((2, 3), keepdims=True))
    windows = transformed(transformed(maps, 2), 4)
    windows = windows.reshape(maps.shape[0], -1, *windows.shape[4:])
    return windows - windows.mean((2, 3), keepdims=True)


def _gram(x: jax.Array) -> jax.Array:
    """X X^T, `[B, N, N]`, of `[B, N, h, w]`: within rows, then over rows, to lose no digits."""
    return _product("biyx,bjyx->byij", x, x).sum(1)


def _square(x: jax.Array | np.ndarray) -> jax.Array:
    return _product("cbik,cbjk->cbij", x, x)


def _diagonal(x: jax.Array) -> jax.Array:
    return jnp.diagonal(x, axis1=-2, axis2=-1)
