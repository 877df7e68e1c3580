"""How far the published code's recipe is from this one, measured on painted and made-up inputs.

    python docs/benchmarks/published_recipe.py

The published way is stated anew here, with Pillow and numpy. Prints a markdown table, which
docs/paper_protocol.md has with what was decided.
"""

import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import cv2
import numpy as np
from PIL import Image

from data import mapillary
from data.street_scenes import painter
from hmsa_jax.input import geometric, resampling
from hmsa_jax.training import optimizer

SCENES = 20
DRAWS = 20000
CITYSCAPES, CROP = (1024, 2048), (1024, 2048)
SCALES = (0.5, 2.0)
IGNORE = 255
BICUBIC, BILINEAR = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR


def main():
    rows = [
        *scaled_images(),
        ("labels: nearest pixel", labels()),
        ("scaled sizes: truncated", sizes()),
        ("smaller images: in the middle", smaller_images()),
        *class_uniform_crops(),
        ("centroids: whole tiles only", partial_tiles()),
        ("crops of a class in an epoch: counted", crops_of_a_class()),
        ("Mapillary: every long edge is 2177", long_edge()),
        *scaled_twice(),
        *drawn_heads(),
        ("loss: mean over GPUs of an image each", image_weights()),
        ("learning rate: per epoch", learning_rate()),
        *auto_labels(),
    ]
    print("| there | how far from here |")
    print("|---|---|")
    for name, size in rows:
        print(f"| {name} | {size} |")


def scenes():
    """Painted streets, uint8 `[H, W, 3]`, and their labels `[H, W]`."""
    return [painter.paint(0, "train", index) for index in range(SCENES)]


def resize(array, size, kernel):
    """Scales a whole image or label to rows and columns, by Pillow."""
    return np.asarray(Image.fromarray(array).resize(size[::-1], kernel))


def rms(pairs):
    """Root of the mean square of the difference of images, in levels of 255."""
    return np.sqrt(np.mean([np.square(np.subtract(*pair, dtype=float)).mean() for pair in pairs]))


def scaled_images():
    """Windows cut out of the source, against Pillow's bicubic kernel on the whole image."""
    rng = np.random.default_rng(0)
    for name, cut in resampling.RESAMPLINGS.items():
        sizes = []
        for scale in (0.5, 0.75, 1.5, 2.0):
            pairs = []
            for image, _ in scenes():
                scaled = tuple(round(scale * side) for side in image.shape[:2])
                size = tuple(side // 2 for side in scaled)
                top, left = (
                    int(rng.integers(s - w + 1)) for s, w in zip(scaled, size, strict=True)
                )
                whole = resize(image, scaled, BICUBIC)
                window = whole[top : top + size[0], left : left + size[1]]
                pairs.append((cut(image, scaled, (top, left), size), window))
            sizes.append(f"{rms(pairs):.2f} at {scale}x")
        yield f"images: Pillow's bicubic; `{name}` here", "rms " + ", ".join(sizes) + ", of 255"


def labels():
    differing = []
    for scale in (0.5, 0.73, 1.3, 1.9):
        for _, label in scenes():
            scaled = tuple(round(scale * side) for side in label.shape)
            ours = resampling.nearest(label, scaled, (0, 0), scaled)
            differing.append(np.mean(ours != resize(label, scaled, Image.Resampling.NEAREST)))
    return f"{100 * np.mean(differing):.2f} % of the pixels"


def sizes():
    scales = np.random.default_rng(0).uniform(*SCALES, DRAWS)
    exact = scales[:, None] * CITYSCAPES
    differing = np.mean(np.round(exact) != np.floor(exact))
    return (
        f"a pixel in {100 * differing:.0f} % of the draws; the scale is off by"
        f" {np.mean(exact - np.floor(exact)):.2f} pixels in the mean there,"
        f" {np.mean(np.abs(exact - np.round(exact))):.2f} here"
    )


def smaller_images():
    scales = np.random.default_rng(0).uniform(*SCALES, DRAWS)
    free = np.maximum(CROP - scales[:, None] * CITYSCAPES, 0)
    moved = free[scales < 1].mean(0) / 2
    return (
        f"{100 * np.mean(scales < 1):.0f} % of the crops, moved by {moved[0]:.0f} rows and"
        f" {moved[1]:.0f} columns in the mean; `published` here: 0 or 1"
    )


def published_first(rng, scaled, side, held):
    """First pixel of a class-uniform crop in the published code."""
    return min(max(rng.randint(held - side, held), 0), scaled - side)


def class_uniform_crops():
    """Images at twice their size, of which a crop shows half of the rows."""
    scaled, side = 2 * CITYSCAPES[0], CROP[0]
    for where, share in (("a tenth of the image off the edge", 0.1), ("anywhere", None)):
        rng, ours = random.Random(0), np.random.default_rng(0)
        touching = {"there": 0, **dict.fromkeys(geometric.PLACEMENTS, 0)}
        for _ in range(DRAWS):
            held = int(scaled * (share or rng.random()))
            firsts = {
                "there": published_first(rng, scaled, side, held),
                **{n: f(ours, scaled, side, held) for n, f in geometric.PLACEMENTS.items()},
            }
            for name, first in firsts.items():
                touching[name] += first in (0, scaled - side)
        shares = {name: f"{100 * count / DRAWS:.1f} %" for name, count in touching.items()}
        yield (
            f"class-uniform crops: moved into the image; centroid {where}",
            f"{shares['there']} touch the border, {shares['published']} with `published` here,"
            f" {shares['even']} with `even`",
        )


def partial_tiles():
    def left_out(height, width, tile=1024):
        return 1 - (height // tile) * (width // tile) * tile**2 / (height * width)

    return (
        f"{100 * left_out(*CITYSCAPES):.0f} % of Cityscapes' pixels lie in no tile,"
        f" {100 * left_out(3024, 4032):.0f} % of a picture of 3024 x 4032,"
        f" {100 * left_out(1080, 1920):.0f} % of one of 1080 x 1920"
    )


def crops_of_a_class(images=2975, classes=19, share=0.5):
    counted = int(images * share / classes)
    drawn = np.random.default_rng(0).multinomial(int(images * share), [1 / classes] * classes, 1000)
    return f"{counted} of each class there, {drawn.mean():.1f} +- {drawn.std():.1f} here"


def long_edge():
    height, width = mapillary.scaled_size(1080, 1920)
    return f"1080 x 1920 is {height} x {width} there and here"


def scaled_twice():
    """A large picture to the long edge first, then to the scale of a crop."""
    evaluated, pairs = [], []
    for image, _ in scenes()[:5]:
        image = cv2.resize(image, (4032, 2016), interpolation=cv2.INTER_CUBIC)
        reduced = mapillary.scaled_size(*image.shape[:2])
        stored = cv2.resize(image, reduced[::-1], interpolation=cv2.INTER_AREA)
        evaluated.append((stored, resize(image, reduced, BILINEAR)))
        scaled = tuple(round(0.75 * side) for side in reduced)
        ours = resampling.bicubic(stored, scaled, (0, 0), scaled)
        pairs.append((ours, resize(image, scaled, BICUBIC)))
    size = "of 255 for 2016 x 4032"
    yield "Mapillary: scaled once, in training", f"rms {rms(pairs):.2f} {size} at 0.75x"
    yield "Mapillary: reduced bilinearly, for the evaluation", f"rms {rms(evaluated):.2f} {size}"


def drawn_heads(channels=256, pixels=4000):
    """The last convolution of a head, on features as BatchNorm and ReLU leave them."""
    rng = np.random.default_rng(0)
    features = np.maximum(rng.standard_normal((pixels, channels)), 0)
    he = features @ rng.normal(0, (2 / channels) ** 0.5, (channels, 1000))
    bound = channels**-0.5
    pytorch = features @ rng.uniform(-bound, bound, (channels, 1000))
    deviations = [np.sqrt(np.mean(np.square(x))) for x in (pytorch, he)]
    yield (
        "decoder and heads: PyTorch's draw",
        f"logits begin at {deviations[0]:.2f} there, {deviations[1]:.2f} with `he` here",
    )
    attention = [np.abs(1 / (1 + np.exp(-x)) - 0.5).mean() for x in (pytorch, he)]
    yield (
        "and the attention of a pixel",
        f"is {attention[0]:.2f} off 1/2 in the mean there, {attention[1]:.2f} with `he`",
    )


def image_weights(batch=16):
    """Shares of a batch's images in the loss, where padding alone is not labelled."""
    scales = np.random.default_rng(0).uniform(*SCALES, (DRAWS // batch, batch))
    labelled = np.minimum(scales, 1) ** 2
    weights = batch * labelled / labelled.sum(1, keepdims=True)
    small = weights[scales < 0.6].mean()
    return (
        f"an image at 0.5x to 0.6x weighs 1 there, {small:.2f} with `pixels` here, where all weigh"
        f" {weights.min():.2f} to {weights.max():.2f}"
    )


def learning_rate(epochs=175, images=2975, batch=16, exponent=2.0):
    steps = epochs * images // batch
    step = np.arange(steps)
    ours = np.asarray(optimizer.poly_schedule(1.0, exponent, steps)(step))
    theirs = (1 - (step * epochs // steps) / epochs) ** exponent
    return (
        f"at most {(theirs - ours).max():.4f} of the first rate more there, the sum of all rates"
        f" {100 * (theirs.sum() / ours.sum() - 1):.2f} %"
    )


def auto_labels(classes=19):
    """Probabilities of smooth random logits: kept there if floor(255 p) / 255 >= threshold."""
    rng = np.random.default_rng(0)
    coarse = rng.standard_normal((64, 128, classes)).astype(np.float32)
    logits = 4 * cv2.resize(coarse, (1024, 512), interpolation=cv2.INTER_CUBIC)
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    probability = (1 / exponentials.sum(-1)).astype(np.float32)
    stored = (255 * probability).astype(np.uint8)
    for threshold in (0.9, 0.5):
        differing = np.mean((stored / 255 >= threshold) != (probability > threshold))
        yield (
            f"auto-labels: 8 bits, >= {threshold}",
            f"{100 * differing:.2f} % of the pixels; {100 * np.mean(probability > threshold):.0f} %"
            " exceed it",
        )


if __name__ == "__main__":
    main()
