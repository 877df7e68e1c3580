"""The precisions of ONNX files: float32, or fewer bits by onnxruntime's own converters."""

import dataclasses
import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hmsa_jax.runtime.progress import track
from hmsa_jax.runtime.registry import Registry

IMAGE = "image"  # name of the input, uint8 [1, H, W, 3]

_STAGES = ("float32.onnx", "prepared.onnx", "int8.onnx")


@dataclasses.dataclass(frozen=True)
class Precision:
    """An entry of `PRECISIONS`.

    Attributes:
      change: given the bytes of a float32 file, and images of its size, uint8 `[H, W, 3]`: the
        model of fewer bits, `onnx.ModelProto`; None for float32 itself.
      tolerance: how far its results may be from those in float32, by names of `Deviation`.
      remedy: what to do where they are further.
      is_calibrated: whether `change` needs images; they are then what the results are compared on.
    """

    change: Callable[[bytes, Sequence[np.ndarray]], Any] | None = None
    tolerance: Mapping[str, float] = dataclasses.field(default_factory=dict)
    remedy: str = ""
    is_calibrated: bool = False


def _to_float16(data: bytes, images: Sequence[np.ndarray]) -> Any:
    """Weights and activations in 16 bits; what goes in and comes out is bytes as before."""
    import onnx
    from onnxruntime.transformers import float16

    model = onnx.load_from_string(data)
    return float16.convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=True)


def _to_int8(data: bytes, images: Sequence[np.ndarray]) -> Any:
    """Convolutions in 8 bits: weights by channel, activations in the ranges that images give."""
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization import shape_inference

    with tempfile.TemporaryDirectory() as folder:
        float32, prepared, quantized = (pathlib.Path(folder) / name for name in _STAGES)
        float32.write_bytes(data)
        # Without it weights stand behind a change of layout, and stay float32.
        shape_inference.quant_pre_process(float32, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            quantized,
            _Reader(images),
            quant_format=quantization.QuantFormat.QOperator,
            op_types_to_quantize=["Conv"],
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            # Processors without VNNI add products in 16 bits, where those of 8 bits overflow.
            reduce_range=True,
        )
        return onnx.load(quantized)


class _Reader:
    """What `quantize_static` takes images from."""

    def __init__(self, images: Sequence[np.ndarray]):
        self._images = track(images, len(images), "Calibration")

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self._images, None)
        return None if image is None else {IMAGE: image[None]}


PRECISIONS: Registry[Precision] = Registry(
    "precision",
    {
        "float32": Precision(),
        "float16": Precision(
            _to_float16,
            # Five times what came of a trained network, to which coloured squares are stranger
            # than photos; bfloat16 is that far.
            {"classes": 0.006, "probability": 0.003},
            "take --precision=float32",
        ),
        "int8": Precision(
            _to_int8,
            # Five times what came of a trained network: a network whose classes change more often
            # has activations that 8 bits do not hold, or was calibrated with other images.
            {"classes": 0.05, "probability": 0.05},
            "calibrate with more images of the kind that it is for, or take --precision=float16",
            is_calibrated=True,
        ),
    },
)
