"""How large the page of a data set is that shows 100 images of 1024 x 2048 pixels.

    python docs/benchmarks/data_page_size.py DIR

paints the images of `page_size.py`, with noise as of a camera, as JPEG files with their masks into
DIR, and checks them; the page is DIR/page.html.
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import numpy as np
from page_size import IMAGES, SHAPE, scene

from configs import base
from data.pixels import encode_image, encode_label
from data.street_scenes import classes
from hmsa_jax.experiment import check_data


def paint(directory):
    """Writes a data set for `data.name=folder`."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (directory / kind / "validation").mkdir(parents=True, exist_ok=True)
    for number in range(IMAGES):
        image, label = scene(number)
        noisy = (image + rng.normal(0, 6, (*SHAPE, 1))).clip(0, 255).astype(np.uint8)
        for kind, suffix, data in (
            ("images", "jpg", encode_image(noisy)),
            ("masks", "png", encode_label(label)),
        ):
            (directory / kind / f"validation/scene {number:03}.{suffix}").write_bytes(data)
    listed = [
        {"name": name, "color": list(colour)}
        for name, colour in zip(classes.NAMES, classes.PALETTE, strict=True)
    ]
    (directory / "classes.json").write_text(json.dumps({"classes": listed}))


def main(directory):
    paint(directory)
    config = base.get_config()
    config.data.name, config.data.dir = "folder", str(directory)
    config.data.train_split = config.data.eval_split = "validation"
    check_data.check_data(config, directory / "page.html", pictures=IMAGES)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
