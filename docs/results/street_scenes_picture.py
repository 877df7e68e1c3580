"""The README's picture: street scenes, how much each scale counts, the prediction, the label.

    python docs/results/street_scenes_picture.py runs/street_scenes docs/results/street_scenes.png

RUN is what the README's first command leaves. Scenes are of its validation split, scales 0.5, 1 and
2, fused by the hierarchy of attentions.
"""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from configs import street_scenes
from data import registry
from hmsa_jax.experiment import experiment
from hmsa_jax.input import decoding
from hmsa_jax.input.photometric import normalize
from hmsa_jax.models import fusion, multiscale
from hmsa_jax.report.pictures import coloured
from hmsa_jax.training import checkpoint

SCENES = (3, 17, 42, 71)
SCALES = (0.5, 1.0, 2.0)
COLOURS = ((66, 99, 235), (235, 235, 235), (240, 120, 30))  # of the scales, from the lowest
MARGIN, TITLE = 8, 28  # pixels


def predict(config, weights, images):
    """Predictions `[B, H, W]` and the share of each scale `[B, H, W, scales]`."""
    parts = experiment.assemble(config)
    size = images.shape[1:3]

    @jax.jit
    def run(images):
        outputs, _ = multiscale.apply(
            parts.graphdef,
            weights.params,
            weights.batch_stats,
            normalize(images),
            SCALES,
            train=False,
        )
        logits = {scale: output.logits for scale, output in outputs.items()}
        attention = {scale: output.attention for scale, output in outputs.items()}
        fused = fusion.hierarchical(logits, attention, size, resolution="features")
        shares = fusion.attention_weights(attention, size, resolution="features")
        return fused.argmax(-1), jnp.concatenate([shares[scale] for scale in SCALES], -1)

    return jax.device_get(run(images))


def draw(columns, titles, legend):
    """Columns of pictures `[H, W, 3]`, a title over each, a legend below."""
    height, width = columns[0][0].shape[:2]
    rows = len(columns[0])
    size = (
        len(columns) * (width + MARGIN) + MARGIN,
        TITLE + rows * (height + MARGIN) + TITLE,
    )
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(18)
    for column, (title, pictures) in enumerate(zip(titles, columns, strict=True)):
        left = MARGIN + column * (width + MARGIN)
        pen.text((left, 4), title, "black", font)
        for row, picture in enumerate(pictures):
            sheet.paste(Image.fromarray(picture), (left, TITLE + row * (height + MARGIN)))
    left, top = MARGIN, size[1] - TITLE
    for name, colour in legend.items():
        pen.rectangle((left, top + 5, left + 16, top + 21), tuple(colour), "grey")
        pen.text((left + 22, top + 2), name, "black", font)
        left += 22 + int(pen.textlength(name, font)) + 18
    return sheet


def enlarged(pictures):
    """Every pixel twice in both directions."""
    return [picture.repeat(2, 0).repeat(2, 1) for picture in pictures]


def main(run: str, out: str) -> None:
    config = street_scenes.get_config()
    weights = checkpoint.read_weights(pathlib.Path(run), "RUN")
    builder = registry.prepare(config.data.name, None, config.data.cache_dir)
    source = registry.open_source(builder, "validation")
    images, labels = map(np.stack, zip(*(decoding.decode(source[i]) for i in SCENES), strict=True))
    predictions, shares = predict(config, weights, images)
    legend = registry.get(config.data.name).legend
    blended = (shares @ np.array(COLOURS, np.float32)).round().astype(np.uint8)
    columns = (
        images,
        blended,
        [coloured(prediction.astype(np.uint8), legend.palette) for prediction in predictions],
        [coloured(label, legend.palette) for label in labels],
    )
    scales = {f"scale {scale:g}": colour for scale, colour in zip(SCALES, COLOURS, strict=True)}
    classes = dict(zip(legend.names, legend.palette, strict=True))
    titles = ("image", "how much each scale counts", "prediction", "label")
    draw([enlarged(column) for column in columns], titles, scales | classes).save(
        out, optimize=True
    )
    correct = (predictions == labels)[labels < len(classes)].mean()
    print(f"step {weights.step}, {correct:.1%} of the labelled pixels are right; {out}")


if __name__ == "__main__":
    main(*sys.argv[1:])
