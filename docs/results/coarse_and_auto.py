"""Labels of painted streets: the coarse ones, and a teacher's where those have none.

    python docs/results/coarse_and_auto.py LABELS OUT   # LABELS: of `autolabel`

LABELS is what `autolabel --images=street_scenes_coarse/train` has filled; OUT becomes a `folder`
data set of the same images.
"""

import pathlib
import shutil
import sys

import cv2
import numpy as np

from data import registry
from data.label_spec import IGNORE
from hmsa_jax.config import schema
from hmsa_jax.input import decoding


def main(labels: pathlib.Path, out: pathlib.Path) -> None:
    masks = out / "masks" / "train"
    masks.mkdir(parents=True)
    shutil.copy(labels / "classes.json", out)
    shutil.copytree(labels / "images", out / "images")
    cache = schema.base_config().data.cache_dir
    source = registry.open_source(registry.prepare("street_scenes_coarse", None, cache), "train")
    labelled = pixels = 0
    for i in range(len(source)):
        record = source[i]
        name, coarse = f"{record['id']}.png", decoding.decode(record)[1]
        auto = cv2.imread(str(labels / "masks" / "train" / name), cv2.IMREAD_UNCHANGED)
        both = np.where(coarse == IGNORE, auto, coarse)
        cv2.imwrite(str(masks / name), both)
        labelled, pixels = labelled + (both != IGNORE).sum(), pixels + both.size
    print(f"{len(source)} images, {labelled / pixels:.1%} of the pixels labelled")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
