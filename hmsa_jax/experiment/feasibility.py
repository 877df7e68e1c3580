"""Whether any machine could do what a config asks for, told before anything is drawn or compiled.

Only what no program can do without is counted, so that nothing is refused that would fit:

- in the memory of a machine a batch as it is read, 4 bytes a pixel (three of the image and one of
  the label), once for each process that reads ahead, and 100 MB for each of these;
- in the memory of a device its share of that batch, and of the images of the largest scale as the
  network reads them, 6 bytes a pixel;
- where all subsets of scales are scored, there also logits and attention at the size of the images,
  4 bytes a number, and on the machine the confusion matrix of each image and subset;
- of the weights, which are drawn on the machine, those between layers whose widths the config
  gives, 4 bytes each.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

import jax
import ml_collections

from data.label_spec import LabelSpec
from hmsa_jax.inference.tiles import Tiling
from hmsa_jax.input import decoding, resampling
from hmsa_jax.input.decoding import Record
from hmsa_jax.input.source import Source, head
from hmsa_jax.input.worker_count import AUTO
from hmsa_jax.losses.objective import LOSSES
from hmsa_jax.models.attentions import ATTENTIONS
from hmsa_jax.models.decoders import DECODERS
from hmsa_jax.models.fusion import scaled_size
from hmsa_jax.models.trunks import TRUNKS

_BYTES_READ = 4  # a pixel of image and label
_BYTES_SCALED = 6  # a pixel of the images that the network reads: three channels in bfloat16
_BYTES_FLOAT = 4  # float32, int32
_BYTES_WORKER = 100 * 10**6
_EXHAUSTED = "RESOURCE_EXHAUSTED"  # as XLA names it, in compilers and at run time
_LARGEST_DEVICE = 2**40  # more bytes than any has
_TRIED = 16  # images whose size is asked for

Size = tuple[int, int]


def check_training(config: ml_collections.ConfigDict) -> None:
    """Raises ValueError, naming the fields, if no memory holds a train step or its batch.

    Or if a package is missing that crops are cut with.
    """
    resampling.check_installed(config.data.resampling)
    check_widths(config.model)
    data, scales = config.data, config.objective.scales
    check_scales("objective.scales", scales, data.crop_size)
    check_crop(config)
    images = f"data.batch_size={data.batch_size} of data.crop_size={tuple(data.crop_size)}"
    pixels = data.batch_size * data.crop_size[0] * data.crop_size[1]
    read = Fraction(pixels * _BYTES_READ, jax.process_count())
    _check_machine(images, read)
    if data.workers != AUTO:  # which asks what the memory holds
        workers = f"data.workers={data.workers}, each with a batch of {images},"
        _check_machine(workers, data.workers * (read + _BYTES_WORKER))
    part = f", optimizer.accumulate={config.optimizer.accumulate}, objective.scales={scales}"
    scaled = Fraction(pixels, config.optimizer.accumulate) * _largest(scales) ** 2 * _BYTES_SCALED
    _check_devices(images + part, (pixels * _BYTES_READ + scaled) / jax.device_count())


def check_inference(
    config: ml_collections.ConfigDict,
    source: Source,
    field: str,
    scales: Iterable[float],
    size_of: Callable[[Record], Size] = decoding.image_size,
    tiling: Tiling | None = None,
) -> None:
    """Raises ValueError, naming the fields, if no memory holds a batch of whole images, or tiles.

    Args:
      config: its group `evaluate` says how many images there are.
      source: the images; the first that can be read stands for all.
      field: what names the scales, for errors.
      scales: all that an image is predicted at.
      size_of: reads rows and columns of a record's image.
      tiling: which images go in tiles; none without it.
    """
    scales = tuple(scales)
    sizes = _first_sizes(source, size_of)
    size = sizes[0] if sizes else None
    if sizes:  # a single small image among others is named where its turn comes
        check_scales(field, scales, max(sizes, key=min))
    settings = config.evaluate
    rows, columns = size or (1, 1)
    if tiling is not None and tiling.applies((rows, columns)):
        rows = columns = tiling.side
        scales = (1.0,)
    images = f"evaluate.images_per_device={settings.images_per_device} of {rows} x {columns} pixels"
    pixels = settings.images_per_device * rows * columns
    _check_machine(images, Fraction(pixels * _BYTES_READ * jax.local_device_count()))
    check_scaled(images, pixels, field, scales)


def check_subsets(
    config: ml_collections.ConfigDict,
    source: Source,
    scales: Sequence[float],
    *,
    classes: int,
    subsets: int,
) -> None:
    """Raises ValueError, naming the fields, if no memory holds what subsets of scales share.

    Of an image that are, for each scale and view, logits and attention at its size, float32; on the
    machine the confusion matrices of all images and subsets.

    Args:
      config: its group `evaluate` says how many images and views there are.
      source: the images; the first that can be read stands for all.
      scales: the list.
      classes: of the network.
      subsets: their number.
    """
    rows, columns = (_first_sizes(source, decoding.image_size) or [(1, 1)])[0]
    settings = config.evaluate
    # A CPU has one image at a time.
    images = 1 if jax.default_backend() == "cpu" else settings.images_per_device
    floats = images * (1 + settings.flip) * len(scales) * rows * columns * (classes + 1)
    _check_devices(
        f"the logits of {images} images of {rows} x {columns} pixels at the {len(scales)} scales of"
        f" --scales, with evaluate.flip={settings.flip},",
        Fraction(_BYTES_FLOAT * floats),
    )
    counts = len(source) * subsets * classes**2
    what = f"confusion matrices of {len(source)} images by {subsets} subsets of --scales"
    _check_machine(what, Fraction(_BYTES_FLOAT * counts))


def check_scaled(images: str, pixels: int, field: str, scales: Iterable[float]) -> None:
    """Raises ValueError, naming images and field, if no device holds them at these scales.

    Args:
      images: what they are.
      pixels: of all that a device has at a time.
      field: what names the scales.
      scales: all that an image is predicted at.
    """
    scaled = pixels * _largest(scales) ** 2 * _BYTES_SCALED
    _check_devices(f"{images} at the scales of {field}", pixels * _BYTES_READ + scaled)


def check_crop(config: ml_collections.ConfigDict) -> None:
    """Raises ValueError, naming the fields, if crops are too small for the main loss."""
    check = LOSSES.get(config.objective.main_loss).check_crop
    if check is None:
        return
    try:
        check(config.data.crop_size, config.objective)
    except ValueError as error:
        raise ValueError(f"data.crop_size, {error}") from error


def check_class_weights(config: ml_collections.ConfigDict, label_spec: LabelSpec) -> None:
    """Raises ValueError, naming the fields, unless every class has a weight, or none has."""
    weights, names = config.objective.class_weights, label_spec.names
    if weights and len(weights) != len(names):
        raise ValueError(
            f"objective.class_weights has {len(weights)} numbers, but {config.data.name} has"
            f" {len(names)} classes; give one for each of {', '.join(names)}, or ()."
        )


def check_any_device(what: str, images: int, size: Size, scales: Iterable[float]) -> None:
    """Raises ValueError, naming what it is given, if no device that there is holds the images."""
    pixels = images * size[0] * size[1]
    needed = pixels * _BYTES_READ + pixels * _largest(scales) ** 2 * _BYTES_SCALED
    what = f"{what} of data.crop_size={tuple(size)}"
    _refuse_beyond(what, needed, _LARGEST_DEVICE, "the largest device")


def check_widths(model: ml_collections.ConfigDict) -> None:
    """Raises ValueError, naming the fields, if the weights cannot be drawn in this memory."""
    decoder = DECODERS.get(TRUNKS.get(model.trunk).decoder)
    widths: dict[str, int] = {name: model[name] for name in decoder.widths}
    weights = decoder.weights(widths)
    has_attention = ATTENTIONS.get(model.attention).maps((1.0,)) > 0
    if has_attention or not decoder.head_is_linear(model.semantic_head):
        widths["head_channels"] = model.head_channels
        weights += 9 * model.head_channels**2
    named = ", ".join(f"model.{name}={width}" for name, width in widths.items())
    _check_machine(f"a network of {named}", Fraction(_BYTES_FLOAT * weights))


def check_scales(field: str, scales: Iterable[float], size: Size) -> None:
    """Raises ValueError, naming scale and size, if a scale leaves nothing of an image."""
    for scale in scales:
        try:
            scaled_size(size, scale)
        except ValueError as error:
            raise ValueError(f"{field}: {error}") from error


def out_of_memory(error: BaseException) -> str | None:
    """What to do about an error of the devices' memory, in a line; None for any other error."""
    if not isinstance(error, jax.errors.JaxRuntimeError) or _EXHAUSTED not in str(error):
        return None
    return (
        f"the memory of the devices is spent ({str(error).splitlines()[0]}). For training try a"
        " smaller data.batch_size or data.crop_size, a larger optimizer.accumulate, or"
        " model.remat=modules; else a smaller evaluate.images_per_device, or protocols of smaller"
        " scales"
    )


def _first_sizes(source: Source, size_of: Callable[[Record], Size]) -> list[Size]:
    sizes = []
    for index in range(min(len(source), _TRIED)):
        with contextlib.suppress(ValueError):  # damaged: told by name where it is decoded
            sizes.append(size_of(head(source, index)))
    return sizes


def _largest(scales: Iterable[float]) -> Fraction:
    return Fraction(max(scales))


def _check_machine(what: str, needed: Fraction) -> None:
    _refuse_beyond(what, needed, _machine_memory(), "this machine")


def _check_devices(what: str, needed: Fraction) -> None:
    device = jax.local_devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    available = (stats or {}).get("bytes_limit", _machine_memory() // jax.local_device_count())
    _refuse_beyond(what, needed, available, f"each device ({device.device_kind})")


def _refuse_beyond(what: str, needed: Fraction, available: int, where: str) -> None:
    if needed > available:
        raise ValueError(
            f"{what} would take {_gigabytes(needed)} in the memory of {where} at least, which is"
            f" {_gigabytes(available)}; make them smaller"
        )


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _gigabytes(count: int | Fraction) -> str:
    return f"{float(min(count, 10**300)) / 1e9:.3g} GB"
