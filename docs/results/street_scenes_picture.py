"""The README's picture: street scenes, how much each scale counts, the prediction, the label.

    python docs/results/street_scenes_picture.py runs/street_scenes docs/results/street_scenes.png

The first argument is the run that the README's first command leaves. The scenes are of its
validation split. The scales 0.5, 1 and 2 are fused by the hierarchy of attentions.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

import hmsa_jax
from data import registry
from hmsa_jax.experiment.experiment import assemble
from hmsa_jax.input import decoding
from hmsa_jax.input.photometric import normalize
from hmsa_jax.models import fusion, multiscale
from hmsa_jax.report.pictures import coloured, grid

SCENES = (3, 17, 42)
SCALES = (0.5, 1.0, 2.0)
COLOURS = ((66, 99, 235), (235, 235, 235), (240, 120, 30))  # of the scales, from the lowest


def predict(run, images):
    """Predictions `[B, H, W]` and the share of each scale `[B, H, W, scales]`."""
    graphdef = assemble(run.config).graphdef
    size = images.shape[1:3]

    @jax.jit
    def outputs_of(images):
        outputs, _ = multiscale.apply(
            graphdef, run.params, run.batch_stats, normalize(images), SCALES, train=False
        )
        logits = {scale: output.logits for scale, output in outputs.items()}
        attention = {scale: output.attention for scale, output in outputs.items()}
        fused = fusion.hierarchical(logits, attention, size, resolution="features")
        shares = fusion.attention_weights(attention, size, resolution="features")
        return fused.argmax(-1), jnp.concatenate([shares[scale] for scale in SCALES], -1)

    return jax.device_get(outputs_of(images))


def enlarged(pictures):
    """Every pixel twice in both directions."""
    return [picture.repeat(2, 0).repeat(2, 1) for picture in pictures]


def main(directory: str, out: str) -> None:
    run = hmsa_jax.load_run(directory)
    builder = registry.prepare(run.config.data.name, None, run.config.data.cache_dir)
    source = registry.open_source(builder, "validation")
    images, labels = map(np.stack, zip(*(decoding.decode(source[i]) for i in SCENES), strict=True))
    predictions, shares = predict(run, images)
    palette = run.label_spec.palette
    columns = (
        images,
        (shares @ np.array(COLOURS, np.float32)).round().astype(np.uint8),
        [coloured(prediction.astype(np.uint8), palette) for prediction in predictions],
        [coloured(label, palette) for label in labels],
    )
    scales = {f"scale {scale:g}": colour for scale, colour in zip(SCALES, COLOURS, strict=True)}
    key = scales | dict(zip(run.classes, palette, strict=True))
    titles = ("image", "how much each scale counts", "prediction", "label")
    first, *others = zip(*map(enlarged, columns), strict=True)
    rows = [[*zip(titles, first, strict=True)], *([("", p) for p in row] for row in others)]
    Image.fromarray(grid(rows, key)).save(out, optimize=True)
    right = (predictions == labels)[labels < len(run.classes)].mean()
    print(f"Step {run.step}: {right:.1%} of the labelled pixels are right. The picture: {out}")


if __name__ == "__main__":
    main(*sys.argv[1:])
