"""What tiles change: scores and seams of a trained run, and the memory of an image of any size.

    python docs/benchmarks/tiles.py seams --workdir=runs/street_scenes
    python docs/benchmarks/tiles.py memory --size=6000x8000 --scales=0.5,1

`seams` predicts the validation split of the run as a whole and in tiles of several sides, and
counts the pixels whose class is another: near to where two tiles meet, and elsewhere. `memory`
predicts one picture with HRNet-W18 as drawn, without its mirror image, and tells the most memory
that this process ever had.
"""

import argparse
import itertools
import pathlib
import resource
import tempfile
import time

import numpy as np

import hmsa_jax
from configs import street_scenes
from data.street_scenes import painter
from hmsa_jax.experiment import experiment, run_directory
from hmsa_jax.inference.tile_grid import Axis
from hmsa_jax.metrics import confusion
from hmsa_jax.models.fusion import scaled_size
from hmsa_jax.training import checkpoint

SCENES = 100
SCALES = (0.5, 1.0, 2.0)
NEAR = 8  # pixels of the image to where two tiles count equally, at any scale


def seams(workdir: str) -> None:
    """Prints the table of a run on painted streets."""
    run = hmsa_jax.load_run(workdir)
    scenes = [painter.paint(0, "validation", i) for i in range(SCENES)]
    labels = np.stack([label for _, label in scenes])
    whole: np.ndarray | None = None
    print("| tiles | mean IoU | another class | near seams | elsewhere |")
    print("|---|---:|---:|---:|---:|")
    settings = run.config.evaluate
    for side in (None, 256, 128):
        settings.tile_above = 1 if side else settings.tile_above  # they are small
        settings.tile = side or settings.tile
        classes = np.stack([run.predict(image) for image, _ in scenes])
        matrices = confusion.confusion_matrices(labels, classes, len(run.classes))
        miou = confusion.mean_iou(np.asarray(matrices).sum(0, dtype=np.int64))
        whole = classes if whole is None else whole
        other, near = classes != whole, is_near_seam(labels.shape[1:], side)
        shares = [percent(x) for x in (other, other[:, near], other[:, ~near])]
        name = "none" if side is None else f"{side} x {side}"
        print(f"| {name} | {100 * miou:.1f} | {' | '.join(shares)} |", flush=True)


def is_near_seam(size: tuple[int, int], side: int | None) -> np.ndarray:
    """Whether a pixel of the image lies near to the middle of what two tiles share."""
    near = np.zeros(size, bool)
    if side is None:
        return near
    for scale in SCALES:
        for axis, (length, scaled) in enumerate(zip(size, scaled_size(size, scale), strict=True)):
            starts = Axis(length, scaled, side).starts
            at = np.arange(length) + 0.5
            for one, next_one in itertools.pairwise(starts):
                close = np.abs(at - (one + side + next_one) / 2 / scale) <= NEAR
                near |= np.broadcast_to(close[:, None] if axis == 0 else close, size)
    return near


def percent(flags: np.ndarray) -> str:
    """The share of those that are set."""
    return f"{100 * flags.mean():.2f} %" if flags.size else ""


def memory(size: tuple[int, int], side: int, scales: str) -> None:
    """Predicts one picture, and prints how long that took and the most memory of the process."""
    config = street_scenes.get_config()
    config.model.trunk, config.evaluate.flip = "w18", False
    for name, width in {"ocr_channels": 512, "ocr_key_channels": 256, "head_channels": 256}.items():
        config.model[name] = width
    scene = painter.paint(0, "validation", 17)[0]
    repeats = [-(-want // have) for want, have in zip(size, scene.shape, strict=False)]
    image = np.tile(scene, (*repeats, 1))[: size[0], : size[1]]
    with tempfile.TemporaryDirectory() as folder:
        directory = pathlib.Path(folder, "run")
        drawn = experiment.assemble(config)
        run_directory.claim(directory, config, drawn.label_spec)
        with checkpoint.Checkpoints(directory, keep=1) as checkpoints:
            checkpoints.save(drawn.initial_state(), 1)
        run = hmsa_jax.load_run(directory)
        began = time.monotonic()
        classes = run.predict(image, tile=side, protocol=f"hierarchical:{scales}")
    gibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    took = time.monotonic() - began
    what = f"{size[0]} x {size[1]}, scales {scales}, tiles of {side} x {side}"
    print(f"{what}: {took:.0f} s, {gibibytes:.2f} GiB")
    assert classes.shape == tuple(size)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("seams", "memory"))
    parser.add_argument("--workdir", default="runs/street_scenes")
    parser.add_argument("--size", default="6000x8000", help="ROWSxCOLUMNS")
    parser.add_argument("--tile", type=int, default=1024)
    parser.add_argument("--scales", default="0.5,1,2")
    args = parser.parse_args()
    if args.what == "seams":
        seams(args.workdir)
    else:
        rows, columns = args.size.split("x")
        memory((int(rows), int(columns)), args.tile, args.scales)
