"""A function as plain operations of one platform: what is chosen by platform is chosen.

`jax.lax.platform_dependent` leaves its choice to whoever compiles a program, `materialize` needs a
conditional that XLA does not see through, and `jit` makes functions in functions. Converters to
other formats know little of that. Here a function is traced and evaluated again, operation by
operation, without any of it; what depends on no argument is computed at once.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

_CALLED = ("jaxpr", "call_jaxpr")  # where an operation that is a function keeps it


def on_platform(function: Callable, platform: str, *arguments: jax.ShapeDtypeStruct) -> Callable:
    """The function as operations of a platform, on flat lists of arrays.

    Args:
      function: of arrays, to a tree of arrays.
      platform: such as "cpu".
      *arguments: what it will be given.

    Returns:
      A function of the same arguments to the leaves of the tree.

    >>> choose = lambda x: jax.lax.platform_dependent(x, tpu=lambda x: x + 1, default=lambda x: -x)
    >>> x = jax.ShapeDtypeStruct((), np.float32)
    >>> jax.make_jaxpr(on_platform(jax.jit(choose), "cpu", x))(x)
    { lambda ; a:f32[]. let b:f32[] = neg a in (b,) }
    """
    closed = jax.make_jaxpr(function)(*arguments)
    return lambda *arrays: _evaluate(closed.jaxpr, closed.consts, arrays, platform)


def _evaluate(jaxpr: core.Jaxpr, consts: Sequence, arguments: Sequence, platform: str) -> list:
    values: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    values |= zip(jaxpr.invars, arguments, strict=True)

    def of(variable: Any) -> Any:
        return variable.val if isinstance(variable, core.Literal) else values[variable]

    for equation in jaxpr.eqns:
        results = _results(equation, [of(variable) for variable in equation.invars], platform)
        values |= zip(equation.outvars, results, strict=True)
    return [of(variable) for variable in jaxpr.outvars]


def _evaluate_called(called: Any, arguments: Sequence, platform: str) -> list:
    """The results of a function in a function, which holds its constants or has none."""
    jaxpr, consts = getattr(called, "jaxpr", called), getattr(called, "consts", ())
    return _evaluate(jaxpr, consts, arguments, platform)


def _results(equation: core.JaxprEqn, inputs: list, platform: str) -> Sequence:
    primitive, params = equation.primitive, equation.params
    if primitive.name == "platform_index":
        return [_index(params["platforms"], platform)]
    if primitive.name in ("optimization_barrier", "name"):
        return inputs
    if primitive.name == "cond" and not isinstance(inputs[0], jax.core.Tracer):
        return _evaluate_called(params["branches"][int(inputs[0])], inputs[1:], platform)
    if primitive.name == "scan":
        return _unrolled(equation, inputs, platform)
    called = next((params[name] for name in _CALLED if name in params), None)
    if called is not None and not primitive.name.startswith("reduce"):  # which keeps its sum there
        return _evaluate_called(called, inputs, platform)
    if any(isinstance(value, jax.core.Tracer) for value in inputs):
        results = primitive.bind(*inputs, **params)
    else:
        with jax.ensure_compile_time_eval():
            results = primitive.bind(*inputs, **params)
    return results if primitive.multiple_results else [results]


def _index(platforms: Sequence, platform: str) -> np.int32:
    """Of the first choice for the platform, or else of the default one, which is None."""
    for index, names in enumerate(platforms):
        if names is None or platform in names:
            return np.int32(index)
    raise ValueError(f"nothing is chosen for {platform} among {platforms}")


def _unrolled(equation: core.JaxprEqn, inputs: list, platform: str) -> list:
    """The turns of a loop one after the other: there are as many as views of an image."""
    params = equation.params
    body = getattr(params["jaxpr"], "jaxpr", params["jaxpr"])
    # How many inputs are what, versions of JAX write down each in its own way. What a turn has a
    # slice of has an axis more outside.
    carry = sum(map(_is_alike, equation.outvars, body.outvars))
    sliced = len(inputs) - sum(map(_is_alike, equation.invars, body.invars))
    consts = len(inputs) - sliced - carry
    state, outputs = inputs[consts : consts + carry], []
    turns = range(params["length"])
    for turn in reversed(turns) if params["reverse"] else turns:
        slices = [jax.lax.index_in_dim(x, turn, keepdims=False) for x in inputs[consts + carry :]]
        arguments = [*inputs[:consts], *state, *slices]
        results = _evaluate_called(params["jaxpr"], arguments, platform)
        state = results[:carry]
        outputs.append(results[carry:])
    if params["reverse"]:
        outputs.reverse()
    stacked = [
        jax.lax.concatenate([jax.lax.expand_dims(x, [0]) for x in of_turns], 0)
        for of_turns in zip(*outputs, strict=True)
    ]
    return [*state, *stacked]


def _is_alike(outside: Any, inside: Any) -> bool:
    return outside.aval.ndim == inside.aval.ndim
