"""How much of each class the coarse labels of the painted streets hold, and what they look like.

    python docs/benchmarks/coarse_labels.py docs/coarse.png

paints `street_scenes_coarse` unless the cache holds it, prints the shares of its train split, and
writes the picture: three scenes, each with its fine and its coarse label.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import numpy as np
from PIL import Image

from configs import base
from data import registry
from data.street_scenes import classes, coarse_set
from hmsa_jax.input import decoding
from hmsa_jax.report.pictures import coloured

SHOWN = (0, 7, 8)
SPLIT = "train"


def main(picture):
    builder = registry.prepare(
        coarse_set.StreetScenesCoarse.name, None, base.get_config().data.cache_dir
    )
    source = registry.open_source(builder, SPLIT)
    pixels, kept = np.zeros(256, np.int64), np.zeros(256, np.int64)
    rows = []
    for number, record in enumerate(source):
        fine, coarse = coarse_set.fine_label(record["id"]), decoding.decode_label(record)
        pixels += np.bincount(fine.ravel(), minlength=256)
        kept += np.bincount(coarse.ravel(), minlength=256)
        assert (coarse[coarse != classes.VOID] == fine[coarse != classes.VOID]).all()
        if number in SHOWN:
            labels = [coloured(label, classes.PALETTE) for label in (fine, coarse)]
            rows.append(np.concatenate([decoding.decode_image(record), *labels], 1))
    print("| class | of the pixels, % | labelled, % |\n|---|---:|---:|")
    for number, name in enumerate(classes.NAMES):
        share, part = pixels[number] / pixels.sum(), kept[number] / pixels[number]
        print(f"| {name} | {100 * share:.1f} | {100 * part:.1f} |")
    labelled = 1 - kept[classes.VOID] / kept.sum()
    of_fine = 1 - pixels[classes.VOID] / pixels.sum()
    print(f"| all | {100 * of_fine:.1f} | {100 * labelled / of_fine:.1f} |")
    print(f"Of all pixels {100 * labelled:.1f} % are labelled.")
    Image.fromarray(np.concatenate(rows)).save(picture, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1])
