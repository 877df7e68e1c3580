"""How much arithmetic a program asks for, counted before any compiler sees it.

The count has what a chip's published peak counts: the multiplications and additions of
convolutions and matrix products, two for each pair of numbers that meet. Taps on padding do not
count, nor do taps on the zeros that the gradient of a strided convolution inserts. The body of a
loop counts as often as it runs. The count of a program is the same for every chip and for any
number of chips.
"""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from flax import nnx
from jax.extend import core


def count(jaxpr: core.ClosedJaxpr | core.Jaxpr, read: Sequence[bool] | None = None) -> int:
    """Floating-point operations of a traced program, of all devices together.

    Args:
      jaxpr: `jax.jit(f).trace(...).jaxpr`.
      read: which of the results somebody reads; all if it is left out. Work for results that nobody
        reads, such as the gradient of the images, does not count.
    """
    jaxpr = jaxpr.jaxpr if isinstance(jaxpr, core.ClosedJaxpr) else jaxpr
    results = itertools.compress(jaxpr.outvars, read or itertools.repeat(True))
    wanted = {variable for variable in results if isinstance(variable, core.Var)}
    total = 0
    for equation in reversed(jaxpr.eqns):
        are_wanted = [variable in wanted for variable in equation.outvars]
        if any(are_wanted) or equation.effects:
            wanted.update(v for v in equation.invars if isinstance(v, core.Var))
            total += _of_equation(equation, are_wanted)
    return total


def _of_equation(equation: core.JaxprEqn, read: list[bool]) -> int:
    name = equation.primitive.name
    if name == "dot_general":
        return _of_product(equation)
    if name == "conv_general_dilated":
        return _of_convolution(equation)
    if name == "cond":
        branches = [count(b, read) for b in equation.params["branches"]]
        # Branches for several kinds of device do the same: the cheapest is the useful work.
        is_choice_of_device = equation.params.get("branches_platforms") is not None
        return min(branches) if is_choice_of_device else max(branches)
    if name == "jit":
        return count(equation.params["jaxpr"], read)
    runs = equation.params["length"] if name == "scan" else 1
    return runs * sum(count(j) for j in _programs(equation.params))


def without_recomputation(graphdef: nnx.GraphDef, params: dict, batch_stats: dict) -> nnx.GraphDef:
    """The same network without rematerialisation: it computes nothing twice.

    Args:
      graphdef: of a network, as from `multiscale.initialize`.
      params: of the network.
      batch_stats: of the network.

    Returns:
      That network; `graphdef` itself if it has no rematerialisation.
    """
    network = nnx.merge(graphdef, params, batch_stats)
    if all(getattr(m, "remat", "none") == "none" for _, m in nnx.iter_modules(network)):
        return graphdef
    network.set_attributes(remat="none")
    return nnx.split(network, nnx.Param, nnx.BatchStat)[0]


def _programs(value: Any) -> Iterator[core.Jaxpr | core.ClosedJaxpr]:
    """All programs among the parameters of an equation, such as the body of an inner jit."""
    if isinstance(value, core.Jaxpr | core.ClosedJaxpr):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _programs(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _programs(item)


def _of_product(equation: core.JaxprEqn) -> int:
    left = _shape(equation.invars[0])
    (contracted, _), _ = equation.params["dimension_numbers"]
    return 2 * math.prod(_shape(equation.outvars[0])) * math.prod(left[i] for i in contracted)


def _of_convolution(equation: core.JaxprEqn) -> int:
    image, kernel = map(_shape, equation.invars)
    result = _shape(equation.outvars[0])
    p = equation.params
    numbers = p["dimension_numbers"]
    met = math.prod(
        taps(
            image[numbers.lhs_spec[2 + i]],
            kernel[numbers.rhs_spec[2 + i]],
            result[numbers.out_spec[2 + i]],
            p["window_strides"][i],
            p["padding"][i][0],
            p["lhs_dilation"][i],
            p["rhs_dilation"][i],
        )
        for i in range(len(image) - 2)
    )
    batch, channels = (result[numbers.out_spec[i]] for i in (0, 1))
    # The kernel's input channels are those of one group already.
    return 2 * batch * channels * kernel[numbers.rhs_spec[1]] * met


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape


@functools.cache
def taps(
    size: int,
    kernel: int,
    result: int,
    stride: int,
    padding: int,
    dilation: int,
    kernel_dilation: int,
) -> int:
    """Along one axis: the pairs of a result and a tap that meet a number of the image."""
    # Where each tap of each result lies in the image after `dilation` has spread it out.
    at = np.arange(result)[:, None] * stride + np.arange(kernel) * kernel_dilation - padding
    there = (at >= 0) & (at <= (size - 1) * dilation) & (at % dilation == 0)
    return int(there.sum())
