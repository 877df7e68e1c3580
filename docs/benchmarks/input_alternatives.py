"""What else could read training images: decoders, encodings without loss, ways to resize.

    python -m venv CODECS && . CODECS/bin/activate
    pip install -e .[simd] imagecodecs pyspng kornia-rs qoi zstandard
    taskset -c 0 python docs/benchmarks/input_alternatives.py

The pictures are those of input_rate.py, PNG files of level 6. Times are the processor's, for one
picture, the median of many; each result is compared with the pixels.
"""

import functools
import io
import pathlib
import statistics
import sys
import time
import zlib
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import cv2
import imagecodecs
import input_rate
import kornia_rs
import numpy as np
import pyspng
import qoi
import zstandard
from PIL import Image

from data import header
from hmsa_jax.input import resampling

RUNS = 9
PNG = cv2.IMWRITE_PNG_COMPRESSION, 6
UP = (cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP)
HUFFMAN = (cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY)
ZSTD = zstandard.ZstdCompressor(1)


def opencv(data: bytes) -> np.ndarray:
    """As the project decodes images and labels."""
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return array if array.ndim == 2 else cv2.cvtColor(array, cv2.COLOR_BGR2RGB, array)


def pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def kornia(data: bytes, size: tuple[int, int] = input_rate.SIZE) -> np.ndarray:
    mode = "rgb" if data[25] == 2 else "mono"
    return kornia_rs.io.decode_image_png_u8(data, size, mode).squeeze()


def encode_png(*options: int) -> Callable[[np.ndarray], bytes]:
    """Encodes as PNG with options of OpenCV, RGB or grey."""
    return lambda array: cv2.imencode(
        ".png", array[..., ::-1] if array.ndim == 3 else array, options
    )[1].tobytes()


def encode_webp(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "WEBP", lossless=True, method=0)
    return stream.getvalue()


def from_zstd(data: bytes) -> np.ndarray:
    rows = zstandard.ZstdDecompressor().decompress(data)
    return np.frombuffer(rows, np.uint8).reshape(*input_rate.SIZE, 3)


def stored(array: np.ndarray) -> bytes:
    """What data.encoding=stored keeps of an image, or of a label."""
    image, label = np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8)
    both = (array, label) if array.ndim == 3 else (image, array)
    files = input_rate.STORED(*map(encode_png(*PNG), both))
    return files[0] if array.ndim == 3 else files[1]


def show(name: str, encode: Callable, decode: Callable, arrays: list[np.ndarray]) -> None:
    """Prints a row of a table."""
    files = [encode(array) for array in arrays]
    equal = all(
        np.array_equal(decode(data), array) for data, array in zip(files, arrays, strict=True)
    )
    times = [timed(lambda data=data: decode(data)) for data in files]
    megabytes = sum(map(len, files)) / len(files) / 1e6
    median = statistics.median(times)
    print(f"| {name} | {megabytes:.2f} | {median:.1f} ms | {'equal' if equal else 'DIFFERENT'} |")


def taken(decode: Callable[[bytes], object], files: list[bytes]) -> int:
    """How many files a decoder takes for whole."""
    count = 0
    for data in files:
        try:
            count += decode(data) is not None
        except Exception:  # each has its own
            continue
    return count


def damaged(image: np.ndarray) -> list[bytes]:
    """PNG files of an image with another byte in the compressed pixels; all CRCs are right."""
    data = encode_png(*PNG)(image)
    chunks = list(header.png_chunks(data))
    pixels = b"".join(data[start:end] for kind, start, end in chunks if kind == b"IDAT")
    before = data[: chunks[0][2] + 4]  # up to the end of the first chunk
    files = []
    for at in range(len(pixels)):
        changed = b"IDAT" + pixels[:at] + bytes([pixels[at] ^ 0xFF]) + pixels[at + 1 :]
        parts = len(pixels).to_bytes(4, "big"), changed, zlib.crc32(changed).to_bytes(4, "big")
        files.append(before + b"".join(parts) + data[-12:])
    return files


def show_crops(image: np.ndarray, scale: float) -> None:
    """Prints how long the crop in the middle takes, and how far the two ways are apart."""
    whole = tuple(round(scale * side) for side in input_rate.SIZE)
    shown = tuple(map(min, whole, input_rate.SIZE))
    first = tuple((all_ - part) // 2 for all_, part in zip(whole, shown, strict=True))
    ways = [
        functools.partial(way, image, whole, first, shown)
        for way in (resampling.bicubic, resampling.bicubic_simd)
    ]
    cells = " | ".join(f"{timed(way):.1f} ms" for way in ways)
    difference = np.abs(np.subtract(*(way() for way in ways), dtype=int))
    rms = np.sqrt(np.mean(difference**2))
    print(f"| {scale} | {cells} | {np.mean(difference > 0):.2%} | {difference.max()} | {rms:.2f} |")


def timed(function: Callable[[], object]) -> float:
    """Milliseconds of the processor, the median of several calls."""
    times = []
    for _ in range(RUNS):
        begin = time.process_time()
        function()
        times.append(1000 * (time.process_time() - begin))
    return statistics.median(times)


def main() -> None:
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    images = [input_rate.photograph(rng) for _ in range(input_rate.IMAGES)]
    labels = [input_rate.class_map(rng) for _ in range(input_rate.IMAGES)]
    decoders = {
        f"OpenCV {cv2.__version__}": opencv,
        "Pillow": pillow,
        f"imagecodecs {imagecodecs.__version__}, libpng": imagecodecs.png_decode,
        "the same, libspng": imagecodecs.spng_decode,
        "pyspng": pyspng.load,
        f"kornia-rs {kornia_rs.__version__}": kornia,
    }
    files = damaged(images[0][:64, :64])
    kept = taken(opencv, files), taken(functools.partial(kornia, size=(64, 64)), files)
    print(f"Of {len(files)} damaged files OpenCV takes {kept[0]}, kornia-rs {kept[1]}.")
    for title, arrays in (("PNG image", images), ("PNG label", labels)):
        print(f"\n| {title}, decoder | MB | decode | pixels |\n|---|---:|---:|---|")
        for name, decode in decoders.items():
            show(name, encode_png(*PNG), lambda data, d=decode: np.squeeze(d(data)), arrays)
    huffman = encode_png(cv2.IMWRITE_PNG_COMPRESSION, 1, *UP, *HUFFMAN)
    print("\n| image as | MB | decode | pixels |\n|---|---:|---:|---|")
    show("PNG, stored", stored, opencv, images)
    show("the same, kornia-rs", stored, kornia, images)
    show("PNG, level 1", encode_png(cv2.IMWRITE_PNG_COMPRESSION, 1), opencv, images)
    show("PNG, filter up, Huffman codes alone", huffman, opencv, images)
    show("the same, kornia-rs", huffman, kornia, images)
    show("QOI", qoi.encode, qoi.decode, images)
    show("rows in zstd, level 1", lambda image: ZSTD.compress(image.tobytes()), from_zstd, images)
    show("WebP without loss", encode_webp, opencv, images)
    show("JPEG-LS", imagecodecs.jpegls_encode, imagecodecs.jpegls_decode, images)
    show(
        "JPEG XL without loss, effort 1",
        lambda image: imagecodecs.jpegxl_encode(image, lossless=True, effort=1),
        imagecodecs.jpegxl_decode,
        images,
    )
    print("\n| label as | MB | decode | pixels |\n|---|---:|---:|---|")
    show("PNG without filters (data.encoding=stored)", stored, opencv, labels)
    show("PNG, filter up", encode_png(*PNG, *UP), opencv, labels)
    print("\n| scale | `bicubic` | `bicubic_simd` | values that differ | by at most | rms |")
    print("|---|---:|---:|---:|---:|---:|")
    for scale in (0.5, 0.75, 0.9, 1.1, 1.25, 1.5, 2.0):
        show_crops(images[0], scale)


if __name__ == "__main__":
    main()
