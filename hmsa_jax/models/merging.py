"""As few collectives as the depth of a network needs.

A network walks its branches and its scales one after the other, so that every layer tells the other
devices of its moments by itself: HRNet-W48 at two scales more than six hundred times, forward
alone. Most of these do not wait for each other. `merged` traces the network and does them together.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from hmsa_jax.models.layers.collectives import COLLECTIVES

_CALL = "jit"  # the primitive of a jitted function
_REMAT = "remat2"  # the primitive of `jax.checkpoint`
_REMAT_SETTINGS = "policy", "prevent_cse"
_STOP = "stop_gradient"


def merged(function: Callable) -> Callable:
    """The same function, in which collectives that do not wait for each other are one.

    Every operation has a level: the number of collectives on the longest way to it. The operations
    of a level are computed, then all its collectives are done together, their channels side by
    side, and so are its rematerialised regions, where those have collectives in them. The backward
    pass, which is derived from this order, has as few. What reaches no result but through
    `stop_gradient` has no backward pass, whatever lies beside it.

    Args:
      function: of arrays in trees, which returns arrays in trees. It may close over no tracer.
    """

    def run(*arguments):
        traced, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        whole = _Traced("", traced, [True] * len(traced.out_avals))
        (results,) = _run([whole], [jax.tree.leaves(arguments)])
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return run


@dataclasses.dataclass(frozen=True)
class _Traced:
    """A traced function.

    Attributes:
      scope: of names, around it.
      program: what it computes.
      asked: of each result, whether its gradient may be asked for.
    """

    scope: str
    program: ClosedJaxpr
    asked: Sequence[bool]


@dataclasses.dataclass(frozen=True)
class _Operation:
    """An equation of a traced function, in which calls of functions with collectives are unfolded.

    Attributes:
      equation: what is computed.
      scope: of names, around it.
      inputs: numbers of values, or `Literal`s.
      outputs: numbers of values.
    """

    equation: JaxprEqn
    scope: str
    inputs: Sequence[int | Literal]
    outputs: Sequence[int]

    @property
    def meeting(self) -> Hashable:
        """Equal where operations may be done together; None of those that are by themselves."""
        parameters = self.equation.params
        if _is_collective(self.equation):
            (source,), (result,) = (
                [x.aval for x in xs] for xs in (self.equation.invars, self.equation.outvars)
            )
            return parameters["name"], source.dtype, result.shape[:2]  # type: ignore[attr-defined]
        if _waits(self.equation):
            return tuple(parameters[name] for name in _REMAT_SETTINGS)
        return None


def _run(functions: Sequence[_Traced], arguments: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """What each of several functions makes of its arguments, all their collectives merged."""
    values: dict[int, Any] = {}
    operations: list[_Operation] = []
    numbers = itertools.count()
    returned = []
    asked: set[int] = set()
    for each, own in zip(functions, arguments, strict=True):
        given = [*each.program.consts, *own]
        inputs = list(itertools.islice(numbers, len(given)))
        values.update(zip(inputs, given, strict=True))
        results = _unfold(each.program.jaxpr, inputs, each.scope, operations, numbers)
        returned.append(results)
        asked.update(x for x in itertools.compress(results, each.asked) if isinstance(x, int))
    _follow_back(asked, operations)

    def read(x):
        return x.val if isinstance(x, Literal) else values[x]

    for level in _levels(operations):
        together: dict[Hashable, list[_Operation]] = {}
        for operation in level:
            if operation.meeting is None:
                outputs = _compute(operation, [read(x) for x in operation.inputs])
                values.update(zip(operation.outputs, outputs, strict=True))
            else:
                together.setdefault(operation.meeting, []).append(operation)
        for several in together.values():
            meet = _reduce if _is_collective(several[0].equation) else _compute_again
            given_each = [[read(x) for x in o.inputs] for o in several]
            asked_each = [[x in asked for x in o.outputs] for o in several]
            met = meet(several, given_each, asked_each)
            for operation, outputs in zip(several, met, strict=True):
                values.update(zip(operation.outputs, outputs, strict=True))
    return [[read(x) for x in each] for each in returned]


def _unfold(
    jaxpr: Jaxpr,
    inputs: Sequence[int | Literal],
    scope: str,
    operations: list[_Operation],
    numbers: Iterator[int],
) -> list[int | Literal]:
    """Appends the operations of a traced function, and says which values it returns.

    Args:
      jaxpr: of the function.
      inputs: of the function, constants before arguments.
      scope: of names, around the function.
      operations: so far.
      numbers: that no value has yet.
    """
    names = dict(zip([*jaxpr.constvars, *jaxpr.invars], inputs, strict=True))

    def named(x):
        return x if isinstance(x, Literal) else names[x]

    for equation in jaxpr.eqns:
        own = "/".join(filter(None, (scope, str(equation.source_info.name_stack))))
        given = [named(x) for x in equation.invars]
        outputs: Sequence[int | Literal]
        if _is_call(equation) and not _is_collective(equation) and _has_collective(equation):
            inner = equation.params["jaxpr"]
            constants = [Literal(x, jax.typeof(x)) for x in inner.consts]
            outputs = _unfold(inner.jaxpr, [*constants, *given], own, operations, numbers)
        else:
            new = list(itertools.islice(numbers, len(equation.outvars)))
            operations.append(_Operation(equation, own, given, new))
            outputs = _passed_on(equation, given, new)
        names.update(zip(equation.outvars, outputs, strict=True))
    return [named(x) for x in jaxpr.outvars]


def _passed_on(
    equation: JaxprEqn, given: Sequence[int | Literal], new: Sequence[int]
) -> Sequence[int | Literal]:
    """What an equation returns; what a region only hands on does not wait for it."""
    if equation.primitive.name != _REMAT:
        return new
    inner = equation.params["jaxpr"]
    sources = dict(zip(inner.invars, given, strict=True))
    return [
        y if isinstance(x, Literal) else sources.get(x, y)
        for x, y in zip(inner.outvars, new, strict=True)
    ]


def _follow_back(asked: set[int], operations: Sequence[_Operation]) -> None:
    """Adds to the values whose gradient may be asked for those that they are made of."""
    for operation in reversed(operations):
        if operation.equation.primitive.name != _STOP and not asked.isdisjoint(operation.outputs):
            asked.update(x for x in operation.inputs if isinstance(x, int))


def _levels(operations: Sequence[_Operation]) -> list[list[_Operation]]:
    """The operations by the number of collectives before them, otherwise in their order."""
    depth: dict[int, int] = {}
    levels: list[list[_Operation]] = []
    for operation in operations:
        level = max((depth.get(x, 0) for x in operation.inputs if isinstance(x, int)), default=0)
        while len(levels) <= level:
            levels.append([])
        levels[level].append(operation)
        depth |= dict.fromkeys(operation.outputs, level + _waits(operation.equation))
    return levels


def _compute(operation: _Operation, inputs: Sequence[Any]) -> Sequence[Any]:
    equation = operation.equation
    with jax.named_scope(operation.scope), equation.ctx.manager:
        settings = equation.primitive.get_bind_params(equation.params)
        outputs = equation.primitive.bind(*inputs, **settings)
    return outputs if equation.primitive.multiple_results else [outputs]


def _reduce(
    operations: Sequence[_Operation],
    inputs: Sequence[Sequence[Any]],
    asked: Sequence[Sequence[bool]],
) -> list[list[Any]]:
    """Several collectives as one, side by side in the channels."""
    equation = operations[0].equation
    (_, shares, _) = equation.outvars[0].aval.shape  # type: ignore[attr-defined]
    with jax.named_scope("collectives"):
        own = [_where_asked(x, each) for (x,), (each,) in zip(inputs, asked, strict=True)]
        together = jnp.concatenate(own, axis=-1)
        together = COLLECTIVES[equation.params["name"]](together, shares)
        results = jax.lax.split(together, [x.shape[-1] for x in own], axis=2)
        return [[_where_asked(x, each)] for x, (each,) in zip(results, asked, strict=True)]


def _where_asked(x: jax.Array, asked: bool) -> jax.Array:
    """With its gradient, or without: beside others it would be zeros, to go back with."""
    return x if asked else jax.lax.stop_gradient(x)


def _compute_again(
    operations: Sequence[_Operation],
    inputs: Sequence[Sequence[Any]],
    asked: Sequence[Sequence[bool]],
) -> list[list[Any]]:
    """Several regions that are rematerialised as one."""
    functions = [
        _Traced(o.scope, ClosedJaxpr(o.equation.params["jaxpr"], ()), of_results)
        for o, of_results in zip(operations, asked, strict=True)
    ]
    parameters = operations[0].equation.params
    settings = {name: parameters[name] for name in _REMAT_SETTINGS}
    return jax.checkpoint(functools.partial(_run, functions), **settings)(inputs)


def _is_call(equation: JaxprEqn) -> bool:
    return equation.primitive.name == _CALL


def _is_collective(equation: JaxprEqn) -> bool:
    return _is_call(equation) and equation.params["name"] in COLLECTIVES


def _waits(equation: JaxprEqn) -> bool:
    """Whether what follows is a level further: a collective, or a region with some in it."""
    is_region = equation.primitive.name == _REMAT
    return _is_collective(equation) or (is_region and _has_collective(equation))


def _has_collective(equation: JaxprEqn) -> bool:
    inner = equation.params["jaxpr"]
    return _has_any(getattr(inner, "jaxpr", inner))


@functools.lru_cache(maxsize=4096)
def _has_any(jaxpr: Jaxpr) -> bool:
    """Whether anything in it is a collective."""
    return any(
        _is_collective(equation) or ("jaxpr" in equation.params and _has_collective(equation))
        for equation in jaxpr.eqns
    )
