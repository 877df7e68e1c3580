"""What happens to the colours of an image, inside the jitted step.

The paper trains with "gaussian blur, color augmentation" (section 5.1); the numbers are those of
the published code. The operations are Pillow's, with three differences: values are clipped to
0..255 after each operation, but not rounded to whole numbers; hue is a real number, not one of 256;
the Gaussian always has 11 taps, which are all that matter up to its largest deviation.

A crop's black padding is part of the image here, as in the published code: it counts in the mean
grey of the contrast, and the blur mixes it with its neighbours. Nothing tells padding from
a black pixel, as its label is also that of unlabelled pixels.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # of ImageNet, red, green, blue
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)

SIGMA = (0.15, 1.30)  # smallest and largest standard deviation of the blur, in pixels
RADIUS = 5  # taps on either side: four standard deviations of the widest blur


def normalize(images: jax.Array) -> jax.Array:
    """Maps RGB `[..., 3]` in 0..255 to float32 of about zero mean and unit variance.

    >>> normalize(jnp.array([[125, 117, 104]], jnp.uint8)).round(1).tolist()
    [[0.0, 0.0, 0.0]]
    """
    return (images.astype(jnp.float32) / 255 - MEAN) / DEVIATION


@dataclasses.dataclass(frozen=True)
class Photometric:
    """Random colours and sharpness: jitter in a random order, then blur; 0 and False are off.

    Each image has its own chances, which depend on the key and on its place in the global batch
    alone: neither the number of devices nor that of processes changes them.

    Attributes:
      brightness: x of the factor, uniform in [1 - x, 1 + x] (published: 0.25), at most 1.
      contrast: the same of the contrast (0.25).
      saturation: the same of the saturation (0.25).
      hue: the hue turns by a part of the circle, uniform in [-hue, hue] (0.25), at most 0.5.
      blur: whether every image is blurred, by a deviation uniform over `SIGMA` (paper: yes; the
        published configurations: on Mapillary alone).
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    blur: bool = False

    def __call__(self, key: jax.Array, images: jax.Array) -> jax.Array:
        """Augments a batch; traces to nothing if all is off.

        Args:
          key: random key, of this step alone.
          images: uint8 `[B, H, W, 3]`, RGB; under `jit` the batch and rows may be sharded.

        Returns:
          float32 `[B, H, W, 3]` in 0..255, not rounded; the images themselves if all is off.
        """
        jitters = self.brightness or self.contrast or self.saturation or self.hue
        if not (jitters or self.blur):
            return images
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(images.shape[0]))
        chances = jax.vmap(lambda k: jax.random.uniform(k, (9,), jnp.float32))(keys)
        # Colours as planes are several times as fast where the last axis fills vector registers.
        planes = jnp.moveaxis(images, -1, 1).astype(jnp.float32)
        if jitters:
            operations = jax.vmap(self.choose_operations)(chances[:, :8])
            planes = jax.vmap(jitter)(planes, operations)
        if self.blur:
            sigmas = SIGMA[0] + (SIGMA[1] - SIGMA[0]) * chances[:, 8]
            planes = jax.vmap(gaussian_blur)(planes, sigmas)
        return jnp.moveaxis(planes, 1, -1)

    def choose_operations(self, chances: jax.Array) -> jax.Array:
        """What happens to the colours of one image.

        Args:
          chances: `[8]`, uniform in [0, 1): four amounts, then four whose ranks are the order.

        Returns:
          `[4, 4]`, rows as from `as_operations`, in the order to apply them.
        """
        neutral = np.array([1, 1, 1, 0], np.float32)
        strengths = np.array([self.brightness, self.contrast, self.saturation, self.hue])
        factors = neutral + strengths.astype(np.float32) * (2 * chances[:4] - 1)
        return as_operations(*factors)[jnp.argsort(chances[4:])]


def as_operations(
    brightness: float = 1.0, contrast: float = 1.0, saturation: float = 1.0, turn: float = 0.0
) -> jax.Array:
    """Four operations as rows of one table, which `adjust` reads.

    Every image has its own order, and under `vmap` a choice between four functions would run all of
    them. Three of the four are one function of these numbers.

    Args:
      brightness: factor of the brightness.
      contrast: factor of the contrast.
      saturation: factor of the saturation.
      turn: of the hue, in circles.

    Returns:
      `[4, 4]`, a row an operation: factor, share of the mean grey, share of the own grey, turn.
    """
    return jnp.array(
        [[brightness, 0, 0, 0], [contrast, 1, 0, 0], [saturation, 0, 1, 0], [1, 0, 0, turn]],
        jnp.float32,
    )


def jitter(image: jax.Array, operations: jax.Array) -> jax.Array:
    """Applies operations one after the other.

    Args:
      image: float32 `[3, H, W]`, RGB in 0..255.
      operations: `[n, 4]`, rows of `as_operations`.

    Returns:
      float32 `[3, H, W]` in 0..255.
    """
    # A loop: unrolled, the planes of all four would need memory at once.
    return jax.lax.scan(lambda i, operation: (adjust(i, operation), None), image, operations)[0]


def adjust(image: jax.Array, operation: jax.Array) -> jax.Array:
    """One operation: blends an image with black, its mean grey or its grey, or turns its hue.

    Args:
      image: float32 `[3, H, W]`, RGB in 0..255.
      operation: `[4]`, a row of `as_operations`.

    Returns:
      factor x image + (1 - factor) x target, or the turned image, clipped to 0..255.
    """
    factor, mean_share, grey_share, turn = operation
    red, green, blue = image
    grey = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R 601
    # Rows by themselves first: a sum of two million float32 in one go loses digits.
    target = mean_share * grey.mean(1).mean() + grey_share * grey
    blended = factor * image + (1 - factor) * target
    return jnp.clip(jnp.where(turn == 0, blended, turn_hue(image, turn)), 0, 255)


def turn_hue(image: jax.Array, turn: jax.Array) -> jax.Array:
    """Turns the hue in HSV, in which value and saturation, so maximum and minimum, stay.

    Args:
      image: float32 `[3, H, W]`, RGB.
      turn: scalar, in circles.

    Returns:
      float32 `[3, H, W]`.
    """
    red, green, blue = image
    value = image.max(0)
    chroma = value - image.min(0)
    divisor = jnp.where(chroma == 0, 1, chroma)  # grey has no hue: any will do
    sextant = jnp.where(
        value == red,
        (green - blue) / divisor,
        jnp.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    # A channel lacks nothing of the value for two sextants, all of the chroma for two opposite
    # ones, and is linear between; red, green and blue do so a third of the circle apart.
    starts = np.array([5, 3, 1], np.float32).reshape(3, 1, 1)
    phase = sextant + 6 * turn + starts
    phase = phase - 6 * jnp.floor(phase / 6)
    lack = jnp.clip(jnp.minimum(phase, 4 - phase), 0, 1)
    return value - chroma * lack


def gaussian_blur(image: jax.Array, sigma: jax.Array) -> jax.Array:
    """Blurs with a Gaussian of 2 x `RADIUS` + 1 taps an axis; the edge pixels go on outside.

    Args:
      image: float32 `[3, H, W]`.
      sigma: scalar, standard deviation in pixels.

    Returns:
      float32 `[3, H, W]`.
    """
    taps = jnp.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1, dtype=np.float32) / sigma) ** 2)
    taps = taps / taps.sum()
    for axis in (1, 2):
        size = image.shape[axis]
        padded = _extend(image, axis)
        image = sum(  # type: ignore[assignment]
            taps[i] * jax.lax.slice_in_dim(padded, i, i + size, axis=axis)
            for i in range(2 * RADIUS + 1)
        )
    return image


def _extend(image: jax.Array, axis: int) -> jax.Array:
    """Repeats the first and last pixel `RADIUS` times; unlike `jnp.pad`, sharded rows stay so."""
    size = image.shape[axis]
    margins = [(RADIUS, RADIUS, 0) if i == axis else (0, 0, 0) for i in range(image.ndim)]
    first = jax.lax.slice_in_dim(image, 0, 1, axis=axis)
    last = jax.lax.slice_in_dim(image, size - 1, size, axis=axis)
    place = np.arange(-RADIUS, size + RADIUS).reshape([-1 if m[0] else 1 for m in margins])
    padded = jax.lax.pad(image, np.float32(0), margins)
    return jnp.where(place < 0, first, jnp.where(place < size, padded, last))
