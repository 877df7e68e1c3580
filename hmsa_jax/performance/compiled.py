"""The memory and the communication of a compiled program, as the compiler tells them."""

import dataclasses
import re

import jax

from hmsa_jax.performance import hlo

_COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
    "collective-broadcast",
    "ragged-all-to-all",
)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_OUT_OF_MEMORY = (
    re.compile(r"\(([\d.]+)([KMGT]?)\) exceeds available HBM \(([\d.]+)([KMGT]?)\)"),
    re.compile(r"Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm"),
)


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes that a program takes on one device.

    Attributes:
      arguments: what it is given.
      temporaries: what it needs in between.
      outputs: what it returns.
      aliased: the part of the outputs that reuses the memory of arguments.
    """

    arguments: int
    temporaries: int
    outputs: int
    aliased: int

    @property
    def peak(self) -> int:
        """All of it at once: arguments + temporaries + outputs - aliased."""
        return self.arguments + self.temporaries + self.outputs - self.aliased


@dataclasses.dataclass(frozen=True)
class Traffic:
    """Collective operations of one kind.

    Attributes:
      count: number of operations; one in the body of a loop counts once.
      bytes: size of all their results on one device.
    """

    count: int
    bytes: int


def memory_of(program: jax.stages.Compiled) -> Memory | None:
    """What the compiler reserves for the program; None if it does not tell."""
    sizes = program.memory_analysis()
    if sizes is None:
        return None
    return Memory(
        arguments=sizes.argument_size_in_bytes,
        temporaries=sizes.temp_size_in_bytes,
        outputs=sizes.output_size_in_bytes,
        aliased=sizes.alias_size_in_bytes,
    )


def collectives_of(text: str) -> dict[str, Traffic]:
    """Counts the collective operations of a compiled program, by kind.

    Args:
      text: the program, `compiled.as_text()`.
    """
    found: dict[str, Traffic] = {}
    for instruction in (i for each in hlo.read(text).computations.values() for i in each):
        # A start and its done are one transfer: the start counts.
        kind = instruction.opcode.removesuffix("-start")
        if kind in _COLLECTIVES:
            before = found.get(kind, Traffic(0, 0))
            found[kind] = Traffic(before.count + 1, before.bytes + _result_bytes(instruction, kind))
    return found


def sizes_of_failure(message: str) -> tuple[int, int] | None:
    """The bytes that a program needs and those of the device, from RESOURCE_EXHAUSTED's text."""
    for pattern in _OUT_OF_MEMORY:
        if match := pattern.search(message):
            need, need_unit, limit, limit_unit = match.groups()
            return round(float(need) * _UNITS[need_unit]), round(float(limit) * _UNITS[limit_unit])
    return None


def _result_bytes(instruction: hlo.Instruction, kind: str) -> int:
    result = instruction.result
    if instruction.opcode != kind and kind != "all-reduce":
        # (operands, results, contexts): the type of a start includes what it sends.
        operands, results = _first_two(result)
        result = results or operands
    return sum(array.bytes for array in hlo.arrays_of(result))


def _first_two(shape: str) -> tuple[str, str]:
    """The first two members of a tuple's shape, `((f32[8], f32[4]), (f32[16], f32[8]), u32[])`."""
    members, depth, current = [], 0, ""
    for character in shape.strip().removeprefix("(").removesuffix(")"):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            members.append(current)
            current = ""
        else:
            current += character
    members += [current, ""]
    return members[0], members[1]
