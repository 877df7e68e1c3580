"""What a network says of one picture, kept on the device to be asked of any pixel."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from hmsa_jax.experiment import protocols
from hmsa_jax.experiment.run import Run
from hmsa_jax.inference.protocol import ByScale, Protocol, ProtocolOutput

_LEAST = 32
_STEP = 256  # sides of canvases are multiples, so that pictures of like sizes share a program
_FEW = 1e-6  # of a share that counts as none


def canvas_of(size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the canvas on which a picture of that size is looked at.

    A short side is filled up to a power of two, so that a thin picture has not many times as many
    pixels then.

    >>> canvas_of((480, 640)), canvas_of((8, 70000))
    ((512, 768), (32, 70144))
    """

    def filled_up(side: int) -> int:
        return (
            max(1 << (side - 1).bit_length(), _LEAST) if side < _STEP else -(-side // _STEP) * _STEP
        )

    return filled_up(size[0]), filled_up(size[1])


@dataclasses.dataclass(frozen=True)
class Look:
    """A picture and what a protocol predicts of it.

    Attributes:
      image: uint8 `[H, W, 3]`, RGB.
      classes: names of the classes.
      protocol: how it was predicted.
      output: of the picture alone, on a canvas, on the device.
    """

    image: np.ndarray
    classes: tuple[str, ...]
    protocol: Protocol
    output: ProtocolOutput

    @property
    def scales(self) -> tuple[float, ...]:
        """In ascending order."""
        return tuple(sorted(self._by_scale.logits))

    @property
    def bytes(self) -> int:
        """That its arrays take."""
        return self.image.nbytes + sum(x.nbytes for x in jax.tree.leaves(self.output))

    @property
    def is_chain(self) -> bool:
        """Whether attention decides between each scale and the higher ones."""
        return self.protocol.fusion.attention == "hierarchical"

    @property
    def has_shares(self) -> bool:
        """Whether each scale has a share in the result: it is linear in the logits."""
        return self._by_scale.weights is not None

    def prediction(self, factors: Mapping[float, float] | None = None) -> np.ndarray:
        """The most probable class of each pixel, uint8 `[H, W]`.

        Args:
          factors: scale -> number from 0 on by which its share counts; shares are made to sum to 1
            again, and the logits are blended at the size of the picture. None: the network's own
            result.
        """
        if factors is None:
            return self._cut(_classes(self.output.logits))
        return self._cut(_blended(self._by_scale, self._checked(factors)).argmax(-1))

    def of_scale(self, scale: float) -> np.ndarray:
        """The most probable class of each pixel by a scale alone, uint8 `[H, W]`."""
        return self._cut(_classes(self._by_scale.logits[scale]))

    def share(self, scale: float) -> np.ndarray:
        """255 times the share of a scale, uint8 `[H, W]`; ValueError where there are none."""
        if self._by_scale.weights is None:
            raise ValueError("this method has no shares")
        return self._cut(_grey(self._by_scale.weights[scale]))

    def pixel(self, row: int, column: int, factors: Mapping[float, float] | None = None) -> dict:
        """How the result of a pixel comes about.

        Args:
          row: from 0 on.
          column: from 0 on.
          factors: as for `prediction`.

        Returns:
          `probabilities` of the classes in the result, `scales`: of each, ascending, `scale`,
          `probabilities` and, where there are shares, `share`. In a chain of attentions all but the
          highest have `attention`: how far it is trusted rather than the higher ones (paper section
          3).

        Raises:
          ValueError: it lies outside of the picture.
        """
        rows, columns = self.image.shape[:2]
        if not (0 <= row < rows and 0 <= column < columns):
            raise ValueError(f"pixel {row}, {column} of a picture of {rows} x {columns}")
        own, of_scales, weights = jax.device_get(_pixel(self.output, row, column))
        shares = None
        if weights is not None:
            counted = self._checked(factors or dict.fromkeys(self.scales, 1.0))
            shares = {scale: float(weights[scale]) * float(counted[scale]) for scale in self.scales}
            total = sum(shares.values()) or 1.0
            shares = {scale: share / total for scale, share in shares.items()}
            if factors is not None:
                own = sum(shares[scale] * of_scales[scale] for scale in self.scales)
        rest, scales = 1.0, []
        for scale in self.scales:
            said = {"scale": scale, "probabilities": _softmax(of_scales[scale])}
            if shares is not None:
                said["share"] = shares[scale]
                if self.is_chain and scale != self.scales[-1]:
                    said["attention"] = shares[scale] / rest if rest > _FEW else 0.0
                rest -= shares[scale]
            scales.append(said)
        return {"probabilities": _softmax(own), "scales": scales}

    @property
    def _by_scale(self) -> ByScale:
        assert self.output.scales is not None  # asked for
        return self.output.scales

    def _cut(self, classes: jax.Array) -> np.ndarray:
        rows, columns = self.image.shape[:2]
        return np.asarray(classes)[0, :rows, :columns].astype(np.uint8)

    def _checked(self, factors: Mapping[float, float]) -> dict[float, np.float32]:
        if not self.has_shares:
            raise ValueError("this method has no shares")
        good = set(factors) == set(self.scales) and all(0 <= x <= 1e3 for x in factors.values())
        if not good or not any(factors.values()):
            raise ValueError(f"weights are {dict(factors)}; expected one from 0 on for each scale")
        return {scale: np.float32(factor) for scale, factor in factors.items()}


def look(run: Run, image: np.ndarray, protocol: str | None, flip: bool) -> Look:
    """Looks at a picture; arguments and errors are those of `Run.outputs`."""
    canvas = canvas_of((image.shape[0], image.shape[1]))
    output = run.outputs(image, protocol=protocol, flip=flip, canvas=canvas)
    way = protocols.of_prediction(protocol, run.config)
    return Look(image, run.classes, way, jax.block_until_ready(output))


@jax.jit
def _classes(logits: jax.Array) -> jax.Array:
    return logits.argmax(-1).astype(jnp.uint8)


@jax.jit
def _grey(share: jax.Array) -> jax.Array:
    return jnp.rint(255 * jnp.clip(share[..., 0], 0, 1)).astype(jnp.uint8)


@jax.jit
def _blended(scales: ByScale, factors: dict[float, jax.Array]) -> jax.Array:
    """Logits that are blended at the size of the picture; of their sum only the largest counts."""
    assert scales.weights is not None
    weighted = [factors[r] * scales.weights[r] * x for r, x in scales.logits.items()]
    return sum(weighted[1:], weighted[0])


@jax.jit
def _pixel(output: ProtocolOutput, row: int, column: int) -> tuple:
    def at(x: jax.Array) -> jax.Array:
        return x[0, row, column]

    assert output.scales is not None
    weights = output.scales.weights
    of_scales = {scale: at(x) for scale, x in output.scales.logits.items()}
    shares = None if weights is None else {scale: at(x)[0] for scale, x in weights.items()}
    return at(output.logits), of_scales, shares


def _softmax(logits: np.ndarray) -> list[float]:
    powers = np.exp(np.asarray(logits, np.float64) - np.max(logits))
    return (powers / powers.sum()).tolist()
