"""What the tensors of our layers are called in files of weights, and whose names a file has.

The tables stand beside the layers they describe, in the files of trunks, decoders and heads; what
reads them is here.
"""

import dataclasses
import re
import string
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from hmsa_jax.models import heads
from hmsa_jax.models.decoders import DECODERS
from hmsa_jax.models.trunks.trunk import PublishedNames, Trunk

COUNTER = "num_batches_tracked"  # PyTorch counts the updates of every BatchNorm; nothing reads it
_CONV_LEAVES = {"kernel": "weight", "bias": "bias"}
_BN_LEAVES = {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
# Of DataParallel and of OCR's authors, in any order; and of torch.compile, round any part.
_WRAPPERS = re.compile(r"^((module|model|_orig_mod)\.)+|\b_orig_mod\.")
_ALWAYS_DROPPED = rf"^loss\.|{COUNTER}$"


@dataclasses.dataclass(frozen=True)
class Origin:
    """Whoever gives layers names of their own; an entry of `ORIGINS`.

    Attributes:
      title: who it is, for messages.
      mark: pattern of a name that none of the entries after it has.
      leaves: last parts of names, where they are others than PyTorch's -> PyTorch's.
      prefix: pattern of what names may begin with, which says nothing.
      unlike: patterns of names -> why a network that has them is none of ours.
    """

    title: str
    mark: str
    leaves: Mapping[str, str] = dataclasses.field(default_factory=dict)
    prefix: str = "^$"
    unlike: Mapping[str, str] = dataclasses.field(default_factory=dict)


ORIGINS = {
    "paddleseg": Origin(
        "PaddleSeg",
        mark=r"\._batch_norm\._mean$",
        leaves={"_mean": "running_mean", "_variance": "running_var"},
        prefix=r"^ocrnet\.",
        unlike={
            r"spatial_ocr\..*\._conv\.bias$": "It is PaddleSeg's own OCRNet, whose HRNet reads"
            " other pixels in convolutions of stride 2 (they pad images of even size below and at"
            " the right alone), unless it was built with padding_same=False, which no file tells."
        },
    ),
    "mmsegmentation": Origin(
        "mmsegmentation",
        mark=r"^decode_head\.",
        unlike={
            r"^decode_head\.(aspp_modules|image_pool|sep_bottleneck|c1_bottleneck)\.": "It is"
            " mmsegmentation's DeepLabV3 or DeepLabV3+, whose pyramid and head are not those of our"
            " network.",
            r"^backbone\.stem\.0\.": "It is on a ResNet whose stem is three convolutions, which no"
            " trunk of ours has.",
        },
    ),
    "published": Origin("the published code", mark=r"^(ocr|aspp|scale_attn|backbone)\."),
    "authors": Origin("the authors of OCR", mark=r"^ocr_distri_head\."),
    "classification": Origin("a network for ImageNet", mark=r"^(conv1|layer1\.0\.conv1)\."),
}


def origin_of(names: Iterable[str]) -> str | None:
    """The name in `ORIGINS` of whose names they are; None for somebody else's."""
    names = [_WRAPPERS.sub("", name) for name in names]
    for key, origin in ORIGINS.items():
        if any(re.search(origin.mark, name) for name in names):
            return key
    return None


def why_unlike(names: Iterable[str]) -> str:
    """Why the network with these names is none of ours, where that is known; else ''."""
    names = [_WRAPPERS.sub("", name) for name in names]
    origin = origin_of(names)
    for pattern, reason in (ORIGINS[origin].unlike if origin else {}).items():
        if any(re.search(pattern, name) for name in names):
            return f"{reason} What fits of it can start a training, no more."
    return ""


def with_published_names(tensors: Mapping[str, np.ndarray], trunk: Trunk) -> dict[str, np.ndarray]:
    """Renames the tensors and leaves out what no segmentation network has.

    Args:
      tensors: as a file has them.
      trunk: of the network that they are for; its decoder follows it.

    Returns:
      Published name -> array. Names that nobody gave keep as they are. Where another network has no
      bias and ours has one, it is 0.

    Raises:
      ValueError: two tensors stand for one.
    """
    decoder = DECODERS.get(trunk.decoder)
    origin = origin_of(tensors)
    dropped = re.compile(f"{_ALWAYS_DROPPED}|{trunk.dropped}")
    rules = {**trunk.renamed, **decoder.renamed}
    translate = _translator(origin, trunk)
    renamed: dict[str, np.ndarray] = {}
    for name, value in tensors.items():
        new = _WRAPPERS.sub("", name)
        if dropped.search(new):
            continue
        for pattern, replacement in rules.items():
            new = re.sub(pattern, replacement, new)
        new = translate(new)
        if new in renamed:
            raise ValueError(f"the source has {new} twice, once as {name}")
        renamed[new] = value
    for module in decoder.without_bias.get(origin or "", ()):
        weight, bias = renamed.get(f"{module}.weight"), f"{module}.bias"
        if weight is not None and bias not in renamed:
            renamed[bias] = np.zeros(weight.shape[:1], np.float32)
    return renamed


def namer(trunk: Trunk, semantic_head: str) -> Callable[[str], str]:
    """The function from the dotted path of one of our tensors to its published name.

    It raises KeyError for a path that no table has.

    Args:
      trunk: of the network.
      semantic_head: one of `heads.SEMANTIC_HEADS`.
    """
    patterns = [
        (_pattern(layer), names if isinstance(names, tuple) else (names, None))
        for layer, names in _table(trunk, semantic_head).items()
    ]

    def name_of(path: str) -> str:
        layer, _, leaf = path.rpartition(".")
        for pattern, (conv, bn) in patterns:
            if match := pattern.fullmatch(layer):
                *numbers, kind = match.groups()
                is_bn = kind == ".bn"
                template = bn if is_bn else conv
                assert template is not None  # a convolution alone has no BatchNorm
                module = template.format(*(_Number(n) for n in numbers))
                return f"{module}.{(_BN_LEAVES if is_bn else _CONV_LEAVES)[leaf]}"
        raise KeyError(path)

    return name_of


def _table(trunk: Trunk, semantic_head: str) -> PublishedNames:
    return {
        **trunk.published_names,
        **DECODERS.get(trunk.decoder).published_names[semantic_head],
        **heads.PUBLISHED_ATTENTION_NAMES,
    }


class _Number(int):
    """A number in a name, of which `{0:+1}` writes the next."""

    def __format__(self, offset: str) -> str:
        return str(int(self) + int(offset or 0))


def _pattern(layer: str) -> re.Pattern:
    """`{0}` in a template is a number; a convolution with BatchNorm has one of each below it."""
    escaped = re.sub(r"\\\{\d\\\}", r"(\\d+)", re.escape(layer))
    return re.compile(rf"{escaped}(\.conv|\.bn)?")


def _translator(key: str | None, trunk: Trunk) -> Callable[[str], str]:
    """From the names of an origin to the published ones; others stay as they are."""
    decoder = DECODERS.get(trunk.decoder)
    tables = (trunk.other_names, decoder.other_names, heads.OTHER_ATTENTION_NAMES)
    theirs = {layer: names for table in tables for layer, names in table.get(key or "", {}).items()}
    if not theirs:
        return lambda name: name
    published = _table(trunk, heads.PUBLISHED)
    pairs = [
        (_reader(template), target)
        for layer, names in theirs.items()
        for template, target in zip(_templates(names), _templates(published[layer]), strict=True)
    ]
    origin = ORIGINS[key or ""]

    def translate(name: str) -> str:
        module, _, leaf = re.sub(origin.prefix, "", name).rpartition(".")
        for read, target in pairs:
            if (numbers := read(module)) is not None:
                module = target.format(*(_Number(numbers[i]) for i in sorted(numbers)))
                return f"{module}.{origin.leaves.get(leaf, leaf)}"
        return name

    return translate


def _templates(names: str | tuple[str, str]) -> tuple[str, ...]:
    return names if isinstance(names, tuple) else (names,)


def _reader(template: str) -> Callable[[str], dict[int, int] | None]:
    """From a name to the numbers that the template makes it of; None if it makes no such name."""
    pattern, fields = "", []
    for text, field, offset, _ in string.Formatter().parse(template):
        pattern += re.escape(text)
        if field is not None:
            fields.append((int(field), int(offset or 0)))
            pattern += r"(\d{1,4})"
    compiled = re.compile(pattern)

    def read(name: str) -> dict[int, int] | None:
        match = compiled.fullmatch(name)
        numbers: dict[int, int] = {}
        for (field, offset), text in zip(fields, match.groups() if match else (), strict=False):
            number = int(text) - offset
            if number < 0 or numbers.setdefault(field, number) != number:
                return None
        return numbers if match else None

    return read
