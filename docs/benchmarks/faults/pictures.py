"""Pictures that are damaged, of another kind than they seem, or no files at all."""

import functools
import io
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps

from data import registry
from faults import damage
from faults.bench import Bench, Ran
from faults.trial import Trial
from hmsa_jax.input import decoding

_SPOILED = 20  # pictures of a run of `predict`
_SUFFIXES = (".jpg", ".png", ".tif", ".webp", ".bmp")
_FEW = 6  # levels between what two decoders make of a JPEG, in the mean


def read(bench: Bench, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """check-data and the build judge alike; what is let in is the picture as it is displayed."""
    for number in range(count):
        spoil = _WAYS[number % len(_WAYS)]
        place = bench.place()
        shutil.copytree(bench.pictures, place / "set")
        # A mask is not turned: it lies as its image is displayed.
        path = _pick(place / "set" / ("images" if spoil is _turned else ""), rng)
        spoil(path, rng)
        checked = bench.call(
            bench.arguments("check-data", data__dir=place / "set", data__cache_dir=place / "data")
        )
        built = bench.isolated(functools.partial(_build, place, path))
        yield Trial(
            _title(spoil, path), _judge(checked, built, path), checked.output + built.output
        )


def autolabel(bench: Bench, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """Every picture is labelled, as it is displayed, or named; none hinders the others."""
    for _ in range(count):
        place = bench.place()
        images, out = place / "images", place / "out"
        shutil.copytree(bench.pictures / "images" / "train", images)
        paths, titles = sorted(images.iterdir()), []
        for path in rng.permutation(paths)[:2]:
            spoil = _WAYS[rng.integers(len(_WAYS))]
            spoil(path, rng)
            titles.append(_title(spoil, path))
        flags = (f"--workdir={bench.run}", f"--images={images}", f"--out={out}")
        ran = bench.call(bench.arguments("autolabel", *flags, "--protocol=single"))
        trouble = ran.trouble(str(images))
        for path in paths:
            mask = out / "masks" / "train" / f"{path.stem}.png"
            if trouble:
                break
            if not mask.exists() and not _says(ran.output, path.name):
                trouble = f"{path.name} has no labels, and nothing is said of it"
            elif mask.exists() and cv2.imread(str(mask)).shape[:2] != _displayed_size(path):
                trouble = f"the labels of {path.name} have another size"
        yield Trial(", ".join(titles), trouble, ran.output)


def predict(bench: Bench, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """Of 20 spoiled pictures of all formats each has a mask of its size, or is named."""
    originals = sorted((bench.pictures / "images" / "train").iterdir())
    for _ in range(count):
        place = bench.place()
        images, out = place / "images", place / "out"
        images.mkdir()
        names, titles = [], []
        for number in range(_SPOILED):
            original = originals[rng.integers(len(originals))]
            suffix = _SUFFIXES[rng.integers(len(_SUFFIXES))]
            path = images / f"{number:02d}{suffix}"
            with PIL.Image.open(original) as image:
                image.save(path)
            ways = _WAYS if suffix in (".jpg", ".png") else (_hurt, _emptied, _text, _fifo)
            spoil = ways[rng.integers(len(ways))]
            spoil(path, rng)
            names.append(path.name)
            titles.append(_title(spoil, path))
        flags = (f"--workdir={bench.run}", f"--images={images}", f"--out={out}")
        ran = bench.call(bench.arguments("predict", *flags, "--protocol=single"))
        yield Trial(", ".join(titles), _unaccounted(ran, images, out, names), ran.output)


def _unaccounted(ran: Ran, images: pathlib.Path, out: pathlib.Path, names: list[str]) -> str:
    # A refusal has a line for each picture that cannot be read.
    if ran.status is None or "Traceback" in ran.output or ran.status not in (0, 1):
        return ran.trouble() or f"status {ran.status}"
    said = "".join(ran.output.split())
    for name in names:
        path, mask = images / name, out / "masks" / f"{pathlib.Path(name).stem}.png"
        if mask.exists():
            predicted = cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)
            if predicted is None or predicted.shape != _displayed_size(path):
                return f"the mask of {name} has another size"
        elif name not in said and not path.is_dir() and not path.is_fifo():
            return f"{name} has no mask, and nothing is said of it"
        elif name not in said and "left out" not in ran.output:
            return f"nothing is said of {name}"
    return ""


def _build(place: pathlib.Path, path: pathlib.Path) -> None:
    """In a child: builds the set and decodes all of it."""
    try:
        builder = registry.prepare("folder", str(place / "set"), str(place / "data"))
        for split in builder.info.splits:
            for record in registry.open_source(builder, split):
                image, label = decoding.decode(record)
                if record["id"] == path.stem and path.parents[1].name == "images":
                    np.save(place / "decoded.npy", image)
                assert image.shape[:2] == label.shape
    except (ValueError, OSError) as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None


def _judge(checked: Ran, built: Ran, path: pathlib.Path) -> str:
    for ran in (checked, built):
        if trouble := ran.trouble(path.name, path.stem):
            return trouble
    teaches = "cannot be trained on" not in checked.output
    if teaches and checked.status != built.status:
        return f"check-data ends with {checked.status}, the build with {built.status}"
    decoded = path.parents[3] / "decoded.npy"
    if built.status == 0 and decoded.exists():
        ours, theirs = np.load(decoded), _displayed(path)
        if ours.shape != theirs.shape:
            return f"read as {ours.shape}, displayed as {theirs.shape}"
        if np.abs(ours.astype(int) - theirs).mean() > _FEW:
            return "read as another picture than is displayed"
    return ""


def _displayed(path: pathlib.Path) -> np.ndarray:
    with PIL.Image.open(path) as image:
        return np.asarray(PIL.ImageOps.exif_transpose(image).convert("RGB"))


def _displayed_size(path: pathlib.Path) -> tuple[int, int]:
    """Rows and columns, also of a picture whose pixels are damaged."""
    with PIL.Image.open(path) as image:
        columns, rows = image.size
        # Pillow says the size of a TIFF as it is displayed.
        is_turned = image.format != "TIFF" and image.getexif().get(0x0112, 1) in range(5, 9)
    return (columns, rows) if is_turned else (rows, columns)


def _says(output: str, name: str) -> bool:
    """Whether a name, or that pictures of its kind are left out, is in what was printed."""
    return name in "".join(output.split()) or bool(re.search("left out|no regular file", output))


def _pick(directory: pathlib.Path, rng: np.random.Generator) -> pathlib.Path:
    paths = sorted(path for path in directory.rglob("*.*") if path.suffix in (".png", ".jpg"))
    return paths[rng.integers(len(paths))]


def _title(spoil: Callable, path: pathlib.Path) -> str:
    return f"{path.parents[1].name}/{path.name}: {spoil.__name__.strip('_').replace('_', ' ')}"


def _hurt(path, rng):
    damage.hurt(path, rng)


def _emptied(path, rng):
    path.write_bytes(b"")


def _fifo(path, rng):
    path.unlink()
    os.mkfifo(path)


def _directory(path, rng):
    path.unlink()
    path.mkdir()


def _link_to_nothing(path, rng):
    path.unlink()
    path.symlink_to("absent")


def _text(path, rng):
    path.write_text("<html>Not found</html>\n")


def _another_format(path, rng):
    form = ("GIF", "BMP", "TIFF", "WEBP")[rng.integers(4)]
    PIL.Image.new("RGB", (96, 64)).save(path, form)


def _another_mode(path, rng):
    mode = ("1", "LA", "RGBA", "I;16", "P")[rng.integers(5)]
    PIL.Image.new(mode, (96, 64)).save(path, "PNG")


def _another_size(path, rng):
    encoded = cv2.imencode(path.suffix, np.zeros((48, 80, 3), np.uint8))[1]
    path.write_bytes(encoded.tobytes())


def _turned(path, rng):
    """An orientation for a picture that is displayed with the size of its mask."""
    with PIL.Image.open(path) as opened:
        image = opened.convert("RGB")
    orientation = int(rng.integers(1, 9))
    if orientation > 4:
        image = image.transpose(PIL.Image.Transpose.ROTATE_90)
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    encoded = io.BytesIO()
    image.save(encoded, "JPEG" if path.suffix == ".jpg" else "PNG", exif=exif, quality=95)
    path.write_bytes(encoded.getvalue())


def _header_that_lies(path, rng):
    """Width and height of 65 535, or of 2^31 - 1 in a PNG."""
    data = bytearray(path.read_bytes())
    if data[:4] == b"\x89PNG":
        data[16:24] = b"\x7f\xff\xff\xff" * 2
    elif (at := data.find(b"\xff\xc0")) >= 0:
        data[at + 5 : at + 9] = b"\xff" * 4
    path.write_bytes(bytes(data))


_WAYS = (
    *(_hurt, _hurt, _emptied, _fifo, _hurt, _directory, _link_to_nothing, _turned, _text),
    *(_another_format, _another_mode, _another_size, _turned, _header_that_lies),
)
