"""How long a TPU's compiler expects a program to take."""

import re

import jax

# One second less in `optimal_seconds` for each (libtpu 0.0.42). Other custom calls change nothing.
_UNCOUNTED_CALL = re.compile(
    r'custom_call_target="(ConcatBitcast|Cholesky|InvertDiagBlocks\w*Triangular)"'
)
_COMPUTATION = re.compile(r"^(ENTRY )?%?([^\s(]+) .*\{$")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_LOOP = re.compile(r" while\(.*condition=%?([^\s,)]+), body=%?([^\s,)]+)")
_BRANCHES = re.compile(r" conditional\(.*branch_computations=\{([^}]*)\}")
_CALL = re.compile(r" call\(.*to_apply=%?([^\s,)]+)")
_CONSTANT = re.compile(r" s32\[\]\S* constant\((\d+)\)")


def modelled_seconds(program: jax.stages.Compiled) -> float | None:
    """Seconds of one device, communication left out.

    The compiler's own `optimal_seconds` has the body of a loop once. It is multiplied by what the
    rounds add to the cycles that the compiler estimates for each instruction. The conditions of
    `jax.lax.scan` compare with a constant, the number of rounds.

    Returns:
      Seconds, or None if the compiler has no model, as for CPU and GPU.
    """
    cost = program.cost_analysis() or {}
    if "optimal_seconds" not in cost:
        return None
    text = program.as_text()
    seconds = cost["optimal_seconds"] + len(_UNCOUNTED_CALL.findall(text))
    if seconds <= 0:
        return None
    once, repeated = cycles_of(text)
    return seconds * repeated / once if once else seconds


def cycles_of(text: str) -> tuple[int, int]:
    """Estimated cycles of a compiled program, with every loop's body once and as often as it runs.

    Args:
      text: the program, `compiled.as_text()`.
    """
    computations, entry = _computations(text)

    def total(name, repeat):
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

    return total(entry, False), total(entry, True)


def _computations(text: str) -> tuple[dict[str, list[str]], str | None]:
    """The instructions of each computation by its name, and the name of the first to run."""
    computations, entry, current = {}, None, None
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
