"""Random images and labels on disk, for the tests of data sets that come from a directory."""

import io
import struct
import zipfile
import zlib

import cv2
import numpy as np
from PIL import Image

SIZE = (24, 36)


def image(name, size=SIZE):
    """An image `[H, W, 3]` that depends on the name alone."""
    return np.random.default_rng(list(name.encode())).integers(0, 256, (*size, 3), np.uint8)


def label(name, values, size=SIZE):
    """A label `[H, W]` of the given values that depends on the name alone."""
    return np.random.default_rng(list(name.encode())).choice(np.uint8(list(values)), size)


def write_image(path, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image(path.name, size)[..., ::-1])


def write_grey(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels)


def write_palette(path, pixels):
    """Writes a PNG whose colours are no indices: who converts them, fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.frombytes("P", pixels.shape[::-1], pixels.tobytes())
    picture.putpalette(np.arange(768)[::-1].astype(np.uint8).tobytes())
    picture.save(path)


def decode(data):
    """Pixels of encoded bytes as they are."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def pack(archive, root, folders):
    """Moves folders of `root` into a zip archive."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("license.txt", "terms")
        for folder in folders:
            for path in sorted((root / folder).rglob("*")):
                packed.write(path, path.relative_to(root))
                if path.is_file():
                    path.unlink()


def jpeg(pixels, orientation=None, **options):
    """JPEG bytes of RGB pixels, with an EXIF orientation."""
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", exif=exif, **options)
    return stream.getvalue()


def chunk(kind, content):
    """A chunk of a PNG file."""
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png_claiming(width, height, data, bits=8, colour=0):
    """A PNG file that claims a size, whatever its compressed pixels hold."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels
