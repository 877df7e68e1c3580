"""Where the time, the traffic and the operations of a compiled step go, by layer and by kind."""

import collections
import dataclasses
import math
import re
from collections.abc import Iterator, Sequence

from hmsa_jax.performance import flops, hlo
from hmsa_jax.performance.modelled_time import cycles

# The named scopes that the network, the losses and the step open.
_LAYER = re.compile(
    r"trunk|stem|stage_\d+|transition_\d+|branch_\d+|exchange|concatenation"
    r"|decoder|aux_head|features|regions|context|pyramid|output|semantic_head|attention_head"
    r"|losses|main|aux|scales|fusion|optimizer|input|metrics"
)
KINDS = ("convolution", "product", "statistics", "normalization", "resize", "collectives")
COPY, ELEMENTWISE = "copy", "elementwise"
_COPIES = {"copy", "copy-start", "transpose", "reshape", "slice", "pad", "concatenate"}
_FREE = {
    "parameter",
    "constant",
    "bitcast",
    "tuple",
    "get-tuple-element",
    "while",
    "conditional",
    "call",
    "iota",
}
_OP_NAME = re.compile(r'op_name="([^"]*)"')
_LABELS = re.compile(r"dim_labels=([^_]+)_([^-]+)->([^,\s]+)")
_WINDOW = re.compile(r"window=\{([^}]*)\}")
_CONTRACTED = re.compile(r'lhs_contracting_dim(?:s=\{|ensions":\[)([\d,"]*)')
# What calls of libraries on a GPU are named.
_GEMM, _BACKWARD_INPUT, _BACKWARD_FILTER = "__cublas$", "convBackwardInput", "convBackwardFilter"
_DEPTH = 3  # of the scopes that tell one layer from another
_HOPS = 6  # to the reader or the source of a copy that the compiler has not named


@dataclasses.dataclass(frozen=True)
class Work:
    """What some instructions of a device come to.

    Attributes:
      cycles: that the compiler expects, 0 where it has no model.
      bytes: read from and written to the device's memory, every operand and every result once.
      flops: of convolutions and matrix products, two for each product; none with padding.
      count: of instructions.
    """

    cycles: int = 0
    bytes: int = 0
    flops: int = 0
    count: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.cycles + other.cycles,
            self.bytes + other.bytes,
            self.flops + other.flops,
            self.count + other.count,
        )

    def __mul__(self, times: int) -> "Work":
        return Work(self.cycles * times, self.bytes * times, self.flops * times, self.count * times)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where an instruction comes from.

    Attributes:
      layer: the named scopes that it is in, such as `trunk/stage_4/branch_0`; '' for none.
      kind: one of `KINDS`, `COPY`, or `ELEMENTWISE` for the rest.
      is_backward: whether it is of the gradient, or computes again what that needs.
    """

    layer: str
    kind: str
    is_backward: bool


def of_program(program: hlo.Program) -> dict[Place, Work]:
    """The work of each place; that of all is the program's.

    A fusion is of the place of the convolution or product in it, or of its result.

    Args:
      program: compiled for a TPU, a GPU or a CPU; bytes and operations are those of one device.
    """
    reader = _Reader(program)
    found: dict[Place, Work] = collections.defaultdict(Work)
    for times, instruction in program.runs():
        if instruction.opcode not in _FREE and not instruction.opcode.endswith("-done"):
            found[reader.place(instruction)] += reader.work(instruction) * times
    return dict(found)


def place_of(op_name: str) -> Place:
    """The place that a name stack tells.

    >>> place_of("jit(train_step)/jvp(scale_0.5)/trunk/stage_2/branch_1/convolution/jit(f)/conv")
    Place(layer='trunk/stage_2/branch_1', kind='convolution', is_backward=False)
    >>> place_of("jit(train_step)/transpose(jvp(losses))/main/fusion/mul")
    Place(layer='losses/main/fusion', kind='elementwise', is_backward=True)

    What is computed again, or in a loop, has the scopes around it twice.

    >>> place_of("transpose(jvp(s))/trunk/stage_4/jvp(s)/trunk/stage_4/checkpoint/branch_1/add")
    Place(layer='trunk/stage_4/branch_1', kind='elementwise', is_backward=True)
    """
    names = re.split(r"[/()]+", op_name)
    layers: list[str] = []
    for name in filter(_LAYER.fullmatch, names):
        layers = [name] if name in layers[:1] else [*layers, name]
    kind = next((name for name in reversed(names) if name in KINDS), ELEMENTWISE)
    return Place("/".join(layers), kind, "transpose(jvp" in op_name)


class _Reader:
    """Looks up what an instruction reads, and where it is from."""

    def __init__(self, program: hlo.Program):
        self._program = program
        self._named = {i.name: i for each in program.computations.values() for i in each}
        self._readers: dict[str, hlo.Instruction] = {}
        for instruction in self._named.values():
            for operand in instruction.operands:
                self._readers.setdefault(operand, instruction)

    def work(self, instruction: hlo.Instruction) -> Work:
        return Work(cycles(instruction), self._bytes(instruction), self._flops(instruction), 1)

    def place(self, instruction: hlo.Instruction) -> Place:
        inner = list(self._inner(instruction))
        is_copy = instruction.opcode in _COPIES or (
            len(inner) > 1 and all(i.opcode in _COPIES | _FREE for i in inner[1:])
        )
        products = [i for i in inner if self._products(i)]
        name = next(filter(None, map(_op_name, [*products, *inner])), None)
        place = place_of(name or self._op_name_near(instruction))
        return dataclasses.replace(place, kind=COPY) if is_copy and not products else place

    def _op_name_near(self, instruction: hlo.Instruction) -> str:
        """The name of what first reads a copy that the compiler made, or of what it copies."""
        for step in (self._reader_of, self._source_of):
            current = step(instruction)
            for _ in range(_HOPS):
                if current is None:
                    break
                if name := next(filter(None, map(_op_name, self._inner(current))), ""):
                    return name
                current = step(current)
        return ""

    def _reader_of(self, instruction: hlo.Instruction) -> hlo.Instruction | None:
        return self._readers.get(instruction.name)

    def _source_of(self, instruction: hlo.Instruction) -> hlo.Instruction | None:
        return self._named.get(instruction.operands[0]) if instruction.operands else None

    def _inner(self, instruction: hlo.Instruction) -> Iterator[hlo.Instruction]:
        """An instruction, and those that are fused into it."""
        yield instruction
        if instruction.opcode == "fusion" and instruction.called:
            for each in self._program.computations.get(instruction.called, ()):
                yield from self._inner(each)

    def _bytes(self, instruction: hlo.Instruction) -> int:
        results = hlo.arrays_of(instruction.result)
        if instruction.opcode.endswith("-start"):  # (result, operands, contexts)
            results = results[:1]
        sources = [self._named[name] for name in instruction.operands if name in self._named]
        read = [array for source in sources for array in hlo.arrays_of(source.result)]
        return sum(array.bytes for array in (*results, *read) if not array.is_on_chip)

    def _flops(self, instruction: hlo.Instruction) -> int:
        return sum(map(self._products, self._inner(instruction)))

    def _products(self, instruction: hlo.Instruction) -> int:
        """The operations of a convolution or a matrix product, 0 for anything else."""
        if labels := _LABELS.search(instruction.rest):
            result, first, second = map(self._shape, (instruction.name, *instruction.operands[:2]))
            if instruction.opcode == "convolution":
                return _of_convolution(instruction, labels.groups(), (first, second, result))
            output, kernel = result, second
            if _BACKWARD_INPUT in instruction.rest:  # of the output's gradient and the kernel
                output = first
            elif _BACKWARD_FILTER in instruction.rest:  # of the input and the output's gradient
                output, kernel = second, result
            channels = dict(zip(labels[2], kernel, strict=False)).get("o", 1)
            return 2 * math.prod(output) * math.prod(kernel) // max(channels, 1)
        contracted = _CONTRACTED.search(instruction.rest)
        if contracted and (instruction.opcode == "dot" or _GEMM in instruction.rest):
            left = self._shape(instruction.operands[0])
            terms = math.prod(left[int(axis)] for axis in re.findall(r"\d+", contracted[1]))
            return 2 * math.prod(self._shape(instruction.name)) * terms
        return 0

    def _shape(self, name: str) -> tuple[int, ...]:
        arrays = hlo.arrays_of(self._named[name].result) if name in self._named else []
        return arrays[0].shape if arrays else ()


def _of_convolution(
    instruction: hlo.Instruction, axes: Sequence[str], shapes: Sequence[tuple[int, ...]]
) -> int:
    """The operations of a convolution in which a tap meets a number of the image.

    A TPU's compiler writes a matrix product as a convolution whose taps are nearly all on padding,
    and the chip leaves those out.

    Args:
      instruction: the convolution.
      axes: of image, kernel and result: a letter, or the number of a spatial one, for each axis.
      shapes: of the three.
    """
    image, kernel, result = (
        dict(zip(*each, strict=True)) for each in zip(axes, shapes, strict=True)
    )
    window = _WINDOW.search(instruction.rest)
    settings = dict(part.split("=", 1) for part in (window[1].split() if window else ()))
    spatial = sorted(set(result) - {"b", "f"})

    def along_axes(name, default):
        """A setting along each spatial axis; of two numbers the first, such as of a padding."""
        values = settings[name].split("x") if name in settings else [default] * len(spatial)
        return [int(value.split("_")[0]) for value in values]

    names = {"stride": "1", "pad": "0", "lhs_dilate": "1", "rhs_dilate": "1"}
    windows = zip(*(along_axes(*each) for each in names.items()), strict=True)
    met = (
        flops.taps(image[axis], kernel[axis], result[axis], *window)
        for axis, window in zip(spatial, windows, strict=True)
    )
    return 2 * result["b"] * result["f"] * kernel["i"] * math.prod(met)


def _op_name(instruction: hlo.Instruction) -> str | None:
    match = _OP_NAME.search(instruction.rest)
    return match[1] if match and "/" in match[1] else None


def shortened(layer: str) -> str:
    """The layer without the scopes inside a branch, a head or a loss.

    >>> shortened("trunk/stage_4/branch_0/main")
    'trunk/stage_4/branch_0'
    """
    return "/".join(layer.split("/")[:_DEPTH])
