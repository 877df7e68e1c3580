"""Where the high scale is needed and where it errs, as in Figures 1 and 3 of the paper.

    python docs/results/scale_pictures.py RUN OUT [DATA_DIR]

RUN has hierarchical attention. Two sheets are written, OUT/needed.png and OUT/errs.png: the image
of RUN's evaluation split in which most pixels are right by scale 2 and by the hierarchy and wrong
by scale 0.5; and the one in which most are wrong by scale 2 and right by scale 0.5 and the
hierarchy.
Each shows what every scale says by itself, how much it counts, and the errors of all.
"""

import pathlib
import sys

import jax
import numpy as np
from PIL import Image

import hmsa_jax
from data import registry
from hmsa_jax.input import decoding
from hmsa_jax.report.pictures import coloured, errors, grid

PROTOCOL, SCALES = "hierarchical:0.5,1,2", (0.5, 1.0, 2.0)


def predict(run, image):
    """The classes by each scale and by the hierarchy, uint8 `[H, W]`, and the shares `[H, W]`."""
    output = jax.device_get(run.outputs(image, protocol=PROTOCOL, flip=False))
    classes = {f"scale {r:g}": output.scales.logits[r][0].argmax(-1) for r in SCALES}
    classes["hierarchy"] = output.logits[0].argmax(-1)
    shares = {f"scale {r:g}": output.scales.weights[r][0, ..., 0] for r in SCALES}
    return {name: found.astype(np.uint8) for name, found in classes.items()}, shares


def sheet(image, label, classes, shares, palette):
    """Three rows: what is predicted, how much each scale counts, and what is wrong."""
    known = len(palette)
    predicted = [(name, coloured(found, palette)) for name, found in classes.items()]
    counts = [(f"share of {name}", np.uint8(255 * share)) for name, share in shares.items()]
    wrong = [
        (f"{(found == label)[label < known].mean():.1%} right", errors(label, found, known))
        for found in classes.values()
    ]
    rows = [
        [("image", image), *predicted],
        [("label", coloured(label, palette)), *counts, ("", None)],
        [("", None), *wrong],
    ]
    return grid([[(title, enlarged(picture)) for title, picture in row] for row in rows])


def enlarged(picture):
    """Small pictures with every pixel twice in both directions."""
    if picture is None or max(picture.shape) >= 400:
        return picture
    return picture.repeat(2, 0).repeat(2, 1)


def main(directory: str, out: str, data_dir: str = "") -> None:
    run = hmsa_jax.load_run(directory)
    data = run.config.data
    builder = registry.prepare(data.name, data_dir or None, data.cache_dir)
    source = registry.open_source(builder, data.eval_split)
    best = {"needed": (0, 0), "errs": (0, 0)}
    for i in range(len(source)):
        image, label = decoding.decode(source[i])
        classes, _ = predict(run, image)
        low, high, both = (
            (classes[name] == label) & (label < len(run.classes))
            for name in ("scale 0.5", "scale 2", "hierarchy")
        )
        found = {"needed": both & high & ~low, "errs": both & low & ~high}
        for name, pixels in found.items():
            best[name] = max(best[name], (int(pixels.sum()), i))
    pathlib.Path(out).mkdir(parents=True, exist_ok=True)
    for name, (pixels, i) in best.items():
        record = source[i]
        image, label = decoding.decode(record)
        picture = sheet(image, label, *predict(run, image), run.label_spec.palette)
        path = pathlib.Path(out) / f"{name}.png"
        Image.fromarray(picture).save(path, optimize=True)
        print(f"{path}: {record['id']}, {pixels} such pixels, step {run.step}")


if __name__ == "__main__":
    main(*sys.argv[1:])
