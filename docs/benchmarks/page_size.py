"""How large the page of a report is that shows 100 images of 1024 x 2048 pixels.

    python docs/benchmarks/page_size.py page.html

An image is four painted streets, enlarged four times, with noise as of a camera, so that it shows
as much as a page can; what is predicted of it is its label, moved about as by a network that errs
at every edge. Three scales are shown, with smooth shares: a card has the ten pictures of a real
one.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import cv2
import numpy as np

from data.street_scenes import classes, painter
from hmsa_jax.report.page import gallery, page, thumbnail

IMAGES, SHAPE = 100, (1024, 2048)


def scene(number):
    """Four streets, uint8 `[1024, 2048, 3]`, and their labels."""
    painted = [painter.paint(0, "validation", 4 * number + i) for i in range(4)]
    return tuple(
        cv2.resize(
            np.vstack([np.hstack(four[:2]), np.hstack(four[2:])]), SHAPE[::-1], interpolation=way
        )
        for four, way in zip(
            zip(*painted, strict=True), (cv2.INTER_CUBIC, cv2.INTER_NEAREST), strict=True
        )
    )


def smooth(rng, cells):
    """A smooth map from 0 to 1, float32 of `SHAPE`."""
    coarse = rng.random((cells, 2 * cells), np.float32)
    return cv2.resize(coarse, SHAPE[::-1], interpolation=cv2.INTER_CUBIC).clip(0, 1)


def predicted(label, rng, reach):
    """A label whose edges are moved by up to `reach` pixels, uint8."""
    rows, columns = np.indices(SHAPE, np.float32)
    across, down = (reach * (2 * smooth(rng, 64) - 1) for _ in range(2))
    return cv2.remap(label, columns + across, rows + down, cv2.INTER_NEAREST)


def card(number, image, label, rng):
    """An image, its label and eight pictures of what is predicted."""
    noisy = image + rng.normal(0, 6, (*SHAPE, 1))
    guess = predicted(label, rng, 24)
    pictures = {
        "image": thumbnail.photograph(noisy.clip(0, 255).astype(np.uint8)),
        "label": thumbnail.classes(label, classes.PALETTE),
        "prediction": thumbnail.classes(guess, classes.PALETTE),
        "errors": thumbnail.errors(label, guess, len(classes.NAMES)),
    }
    for scale in (0.5, 1, 2):
        of_scale = predicted(label, rng, 40)
        share = (255 * smooth(rng, 16)).astype(np.uint8)
        pictures[f"prediction of scale {scale}"] = thumbnail.classes(of_scale, classes.PALETTE)
        pictures[f"share of scale {scale}"] = thumbnail.share(share)
    by_class = {int(i): 50.0 for i in np.unique(label) if i < len(classes.NAMES)}
    return gallery.Card(f"scene {number}", pictures, by_class, 50.0)


def main(out):
    rng = np.random.default_rng(0)
    cards = [card(number, *scene(number), rng) for number in range(IMAGES)]
    shown = gallery.gallery(cards, classes.NAMES, classes.PALETTE, figure="IoU", finds_worst=True)
    text = page.render("100 images", [page.Section("images", "Images", [shown])])
    pathlib.Path(out).write_text(text)
    by_caption = {
        caption: sum(len(card.pictures[caption].source) for card in cards) / len(cards) / 1e3
        for caption in cards[0].pictures
    }
    print(f"{len(text.encode()) / 1e6:.1f} MB")
    print("KB a picture:", ", ".join(f"{name} {size:.0f}" for name, size in by_caption.items()))


if __name__ == "__main__":
    main(sys.argv[1])
