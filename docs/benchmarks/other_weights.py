"""Weights of other projects, converted, compared with what their own code predicts.

    python docs/benchmarks/other_weights.py OUT

OUT is what docs/benchmarks/other_weights_reference.py wrote. Converts every file in it as the
command does, without a config where the file is a whole network, and prints a row for each.
PaddleSeg's own OCRNet has two predictions of the same file, one for each way to pad.
"""

import contextlib
import io
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jax
import numpy as np
from flax import nnx

import main
from hmsa_jax.experiment import experiment, run_directory
from hmsa_jax.models import fusion, multiscale
from hmsa_jax.models.layers.resize import resize_bilinear
from hmsa_jax.training import checkpoint

SCALES = (0.5, 1.0, 2.0)
ALL_THE_SAME = "--config.convert_partial=True"
FLAGS = {
    "timm": ("--config.data.name=cityscapes", ALL_THE_SAME),  # of trunks alone
    "paddleseg_ocrnet": (ALL_THE_SAME,),
}


def compare(file: pathlib.Path) -> None:
    expected = dict(np.load(file.with_suffix(".npz")))
    image = np.moveaxis(expected.pop("image"), 1, -1)
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder) / "run"
        source = file.name.partition("-")[0]
        flags = FLAGS.get(source, ())
        log = io.StringIO()
        with contextlib.redirect_stdout(log):
            main.main(["convert", f"--from={file}", f"--workdir={run}", *flags])
        config = run_directory.read_config(run)
        assembled = experiment.assemble(config)
        state, _ = checkpoint.start_from(run, assembled.initial_state())
    network = nnx.merge(assembled.graphdef, state.params, state.batch_stats)
    predict = trunk if source == "timm" else whole
    got = jax.device_get(jax.jit(lambda image: predict(network, image))(image))
    for name, value in expected.items():
        value = np.moveaxis(value, 1, -1)
        error = np.abs(got[name.partition(" of ")[0]] - value).max() / np.abs(value).max()
        print(f"| {file.name} | {name} | {error:.1e} |")
    print(" ".join(log.getvalue().split()), file=sys.stderr)


def whole(network: multiscale.MultiscaleNetwork, image: jax.Array) -> dict[str, jax.Array]:
    """Everything that a reference may hold, at the size of the image."""
    attends = network.attention_head is not None
    outputs = network(image, SCALES if attends else (1.0,), train=False)
    size = image.shape[1:3]
    one = outputs[1.0]
    named = {"logits": one.logits, "aux_logits": one.aux_logits}
    if attends:
        named["attention"] = one.attention
    result = {name: resize_bilinear(value, size) for name, value in named.items()}
    if attends:
        logits, attention = (
            {scale: getattr(output, kind) for scale, output in outputs.items()}
            for kind in ("logits", "attention")
        )
        result["three scales"] = fusion.hierarchical(logits, attention, size, resolution="image")
    return result


def trunk(network: multiscale.MultiscaleNetwork, image: jax.Array) -> dict[str, jax.Array]:
    """The features."""
    features = network.trunk(image, train=False)
    if isinstance(features, tuple):
        return dict(zip(("fine", "coarse"), features, strict=True))
    return {"features": features}


if __name__ == "__main__":
    print("| file | prediction | error |\n|---|---|---:|")
    for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
        if path.suffix != ".npz":
            compare(path)
