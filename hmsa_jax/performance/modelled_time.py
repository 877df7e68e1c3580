"""How long a TPU's compiler expects a program to take."""

import re

import jax

# Each of these calls makes `optimal_seconds` a second too small (libtpu 0.0.42); others do not.
_UNCOUNTED_CALL = re.compile(
    r'custom_call_target="(ConcatBitcast|ZeroCrop|Cholesky|InvertDiagBlocks\w*Triangular)"'
)
_COMPUTATION = re.compile(r"^(ENTRY )?%?([^\s(]+) .*\{$")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_LOOP = re.compile(r" while\(.*condition=%?([^\s,)]+), body=%?([^\s,)]+)")
_BRANCHES = re.compile(r" conditional\(.*branch_computations=\{([^}]*)\}")
_CALL = re.compile(r" call\(.*to_apply=%?([^\s,)]+)")
_CONSTANT = re.compile(r" s32\[\]\S* constant\((\d+)\)")


def modelled_seconds(program: jax.stages.Compiled) -> float | None:
    """Seconds of one device, communication left out.

    The compiler's own `optimal_seconds` counts the body of a loop once. The function multiplies it
    by the ratio of the estimated cycles with all rounds of the loops to those with one round. The
    number of rounds is the constant that the condition of a `jax.lax.scan` compares with.

    Returns:
      Seconds, or None if the compiler has no model, as for CPU and GPU.
    """
    cost = program.cost_analysis() or {}
    if "optimal_seconds" not in cost:
        return None
    text = program.as_text() or ""
    seconds = cost["optimal_seconds"] + len(_UNCOUNTED_CALL.findall(text))
    if seconds <= 0:
        return None
    once, repeated = cycles_of(text)
    return seconds * repeated / once if once else seconds


def cycles_of(text: str) -> tuple[int, int]:
    """Estimated cycles of a compiled program: each loop's body once, and as often as it runs.

    Args:
      text: the program, `compiled.as_text()`.
    """
    computations, entry = _computations(text)

    def total(name: str, repeat: bool) -> int:
        cycles = 0
        for line in computations.get(name, ()):
            if match := _CYCLES.search(line):
                cycles += int(match[1])
            if match := _LOOP.search(line):
                condition, body = match.groups()
                rounds = _rounds(computations[condition]) if repeat else 1
                cycles += rounds * total(body, repeat)
            elif match := _CALL.search(line):
                cycles += total(match[1], repeat)
            elif match := _BRANCHES.search(line):
                branches = re.findall(r"%?([^\s,]+)", match[1])
                cycles += max(total(branch, repeat) for branch in branches)
        return cycles

    return (total(entry, False), total(entry, True)) if entry else (0, 0)


def _computations(text: str) -> tuple[dict[str, list[str]], str | None]:
    """The instructions of each computation by its name, and the name of the first to run."""
    computations: dict[str, list[str]] = {}
    entry = current = None
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            current = computations.setdefault(match[2], [])
            entry = match[2] if match[1] else entry
        elif current is not None and " = " in line:
            current.append(line)
    return computations, entry


def _rounds(condition: list[str]) -> int:
    constants = [int(match[1]) for line in condition if (match := _CONSTANT.search(line))]
    return max(constants, default=1)
