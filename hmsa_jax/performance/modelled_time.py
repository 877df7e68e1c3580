"""How long a TPU's compiler expects a program to take."""

import re

import jax

from hmsa_jax.performance import hlo

# Each of these calls makes `optimal_seconds` a second too small (libtpu 0.0.42); others do not.
_UNCOUNTED_CALL = re.compile(
    r'custom_call_target="(ConcatBitcast|ZeroCrop|Cholesky|InvertDiagBlocks\w*Triangular)"'
)
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')


def modelled_seconds(program: jax.stages.Compiled) -> float | None:
    """Seconds of one device, communication left out.

    The compiler's own `optimal_seconds` counts the body of a loop once. The function multiplies it
    by the ratio of the estimated cycles with all rounds of the loops to those with one round.

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
    once, repeated = cycles_of(hlo.read(text))
    return seconds * repeated / once if once else seconds


def cycles_of(program: hlo.Program) -> tuple[int, int]:
    """Estimated cycles: the body of each loop once, and as often as it runs."""
    once, repeated = (
        sum(times * cycles(instruction) for times, instruction in program.runs(repeat=repeat))
        for repeat in (False, True)
    )
    return once, repeated


def cycles(instruction: hlo.Instruction) -> int:
    """What the compiler expects an instruction to take, 0 where it does not say."""
    match = _CYCLES.search(instruction.rest)
    return int(match[1]) if match else 0
