"""HRNet-W48 converted from a PyTorch checkpoint, compared with the published predictions.

    python docs/benchmarks/w48_parity.py OUT

OUT is what docs/benchmarks/w48_reference.py wrote. Converts OUT/w48.pth as the command does.
"""

import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jax
import numpy as np

from configs import base, published
from hmsa_jax.experiment import convert, experiment
from hmsa_jax.models import fusion, multiscale
from hmsa_jax.models.layers.resize import resize_bilinear
from hmsa_jax.training import checkpoint

SCALES = {"two scales": (0.5, 1.0), "four scales": (0.25, 0.5, 1.0, 2.0)}


def main(out: str) -> None:
    out = pathlib.Path(out)
    config = published.get_config()
    expected = dict(np.load(out / "w48.npz"))
    image = np.moveaxis(expected.pop("image"), 1, -1)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        convert.convert_from(config, pathlib.Path(folder) / "run", out / "w48.pth")
        print(f"converted in {time.perf_counter() - begin:.1f} s")
        assembled = experiment.assemble(config)
        state, _ = checkpoint.start_from(pathlib.Path(folder) / "run", assembled.initial_state())
    got = run(assembled.graphdef, state, image, config.evaluate)
    print("\n| prediction | error |\n|---|---:|")
    for name, value in expected.items():
        value = np.moveaxis(value, 1, -1)
        print(f"| {name} | {np.abs(got[name] - value).max() / np.abs(value).max():.1e} |")
    print("\n| prediction, as configs/base.py has it | error | pixels of another class |")
    print("|---|---:|---:|")
    config = base.get_config()
    config.data.name = "cityscapes"
    config.model.semantic_head = "published"
    got = run(experiment.assemble(config).graphdef, state, image, config.evaluate)
    for name in SCALES:
        value = np.moveaxis(expected[name], 1, -1)
        error = np.abs(got[name] - value).max() / np.abs(value).max()
        changed = np.mean(got[name].argmax(-1) != value.argmax(-1))
        print(f"| {name} | {error:.1e} | {changed:.2%} |")


def run(graphdef, state, image, evaluate) -> dict[str, np.ndarray]:
    """What a network predicts, the mean with the mirror image where that is asked for."""
    step = jax.jit(
        lambda *values: predict(graphdef, *values, resolution=evaluate.fusion_resolution)
    )
    got = jax.device_get(step(state.params, state.batch_stats, image))
    if not evaluate.flip:
        return got
    mirrored = jax.device_get(step(state.params, state.batch_stats, image[:, :, ::-1]))
    return {name: (value + mirrored[name][:, :, ::-1]) / 2 for name, value in got.items()}


def predict(graphdef, params, batch_stats, image, *, resolution) -> dict[str, jax.Array]:
    """Everything that the reference holds, at the size of the image."""
    scales = SCALES["four scales"]
    outputs, _ = multiscale.apply(graphdef, params, batch_stats, image, scales, train=False)
    size = image.shape[1:3]
    one = outputs[1.0]
    named = {"logits": one.logits, "aux_logits": one.aux_logits, "attention": one.attention}
    result = {name: resize_bilinear(value, size) for name, value in named.items()}
    for name, scales in SCALES.items():
        logits = {scale: outputs[scale].logits for scale in scales}
        attention = {scale: outputs[scale].attention for scale in scales}
        result[name] = fusion.hierarchical(logits, attention, size, resolution=resolution)
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
