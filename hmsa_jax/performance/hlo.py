"""The text of a compiled program, read: its computations and their instructions."""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping

_COMPUTATION = re.compile(r"^(ENTRY )?%?([^\s(]+) .*\{$")
_NAMED = re.compile(r"^\s*(?:ROOT )?%?(\S+) = (.*)$")
_ARRAY = re.compile(r"\b(pred|token|[a-z]+(\d+)(?:e\d+m\d+\w*)?)\[([\d,]*)\](\{[^}]*\})?")
_OPERAND = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(r"\b(?:calls|to_apply)=%?([^\s,)]+)")
_LOOP = re.compile(r"condition=%?([^\s,)]+), body=%?([^\s,)]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_CONSTANT = re.compile(r"^s32\[\]\S* constant\((\d+)\)")


@dataclasses.dataclass(frozen=True)
class Array:
    """The type of an array.

    Attributes:
      dtype: as in the text, such as `bf16`.
      shape: its dimensions.
      bytes: of its elements.
      is_on_chip: whether the compiler keeps it in the memory of the core (`S(1)` and above of a
        TPU's layouts), so that it is not read from the memory of the device.
    """

    dtype: str
    shape: tuple[int, ...]
    bytes: int
    is_on_chip: bool


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
      name: unique in the program.
      opcode: such as `fusion`.
      result: text of the type of its result.
      operands: names of the instructions that it reads.
      rest: what follows the operands.
      body: all that follows the name.
    """

    name: str
    opcode: str
    result: str
    operands: tuple[str, ...]
    rest: str
    body: str

    @property
    def called(self) -> str | None:
        """The computation that a fusion or a call runs."""
        match = _CALLED.search(self.rest)
        return match[1] if match else None


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled program.

    Attributes:
      computations: the instructions of each computation by its name.
      entry: the name of the first to run; None if the text holds none.
    """

    computations: Mapping[str, list[Instruction]]
    entry: str | None

    def runs(self, *, repeat: bool = True) -> Iterator[tuple[int, Instruction]]:
        """Yields how often each instruction runs, with it; a fusion is one instruction.

        The number of rounds of a loop is the constant that the condition of a `jax.lax.scan`
        compares with. Of the branches of a conditional the longest is taken.

        Args:
          repeat: whether the body of a loop counts as often as it runs, or once.
        """
        if self.entry is not None:
            yield from self._runs(self.entry, 1, repeat)

    def _runs(self, name: str, times: int, repeat: bool) -> Iterator[tuple[int, Instruction]]:
        for instruction in self.computations.get(name, ()):
            yield times, instruction
            if instruction.opcode == "while" and (match := _LOOP.search(instruction.rest)):
                rounds = self._rounds(match[1]) if repeat else 1
                yield from self._runs(match[2], times * rounds, repeat)
            elif instruction.opcode == "call" and instruction.called:
                yield from self._runs(instruction.called, times, repeat)
            elif match := _BRANCHES.search(instruction.rest):
                branches = re.findall(r"%?([^\s,]+)", match[1])
                longest = max(branches, key=lambda name: len(self.computations.get(name, ())))
                yield from self._runs(longest, times, repeat)

    def _rounds(self, condition: str) -> int:
        constants = [_CONSTANT.match(i.body) for i in self.computations.get(condition, ())]
        return max((int(match[1]) for match in constants if match), default=1)


def read(text: str) -> Program:
    """Reads a program, `compiled.as_text()`."""
    computations: dict[str, list[Instruction]] = {}
    entry = current = None
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            current = computations.setdefault(match[2], [])
            entry = match[2] if match[1] else entry
        elif current is not None and (match := _NAMED.match(line)):
            current.append(_instruction(match[1], match[2]))
    return Program(computations, entry)


def arrays_of(result: str) -> list[Array]:
    """The arrays of the type of a result, a tuple's members in turn.

    >>> [(a.dtype, a.shape, a.bytes) for a in arrays_of("(bf16[2,3]{1,0}, pred[])")]
    [('bf16', (2, 3), 12), ('pred', (), 1)]
    """
    return [_array(*match) for match in _ARRAY.findall(result)]


def _array(dtype: str, bits: str, dimensions: str, layout: str) -> Array:
    shape = tuple(int(n) for n in dimensions.split(",") if n)
    width = {"pred": 8, "token": 0}.get(dtype) if not bits else int(bits)
    size = -(-math.prod(shape) * (width or 0) // 8)
    return Array(dtype, shape, size, re.search(r"S\([1-9]", layout) is not None)


def _instruction(name: str, body: str) -> Instruction:
    end = _closing(body, 0) if body.startswith("(") else body.find(" ") - 1
    result = body[: end + 1]
    opcode, parenthesis, _ = body[end + 1 :].strip().partition("(")
    if not parenthesis:
        return Instruction(name, opcode, result, (), "", body)
    begin = body.index("(", end + 1)
    close = _closing(body, begin)
    operands = tuple(_OPERAND.findall(body[begin:close]))
    return Instruction(name, opcode, result, operands, body[close + 1 :], body)


def _closing(text: str, begin: int) -> int:
    """Where the parenthesis that opens at `begin` closes."""
    depth = 0
    for i in range(begin, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if depth == 0:
            return i
    return len(text)
