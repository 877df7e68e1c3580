"""What the devices of a compiled program exchange."""

import re

import jax

from hmsa_jax.models.layers.collectives import COLLECTIVES

_KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute|collective-broadcast"
_EXCHANGE = re.compile(rf"= (.+?) ({_KINDS})(?:-start)?\(")


def exchanges(program):
    """The kind and the shape of every array that devices exchange."""
    return [
        (kind, tuple(int(n) for n in shape.split(",") if n))
        for arrays, kind in _EXCHANGE.findall(program.as_text())
        for shape in re.findall(r"\[([\d,]*)\]", arrays)
    ]


def assert_edges_and_sums_only(program, params, *, narrow, rows):
    """Of features a row is passed on, of narrow maps a few rows; only gradients are summed.

    Args:
      program: a compiled train step.
      params: its parameters.
      narrow: channels that logits do not exceed, nor columns of the loss's maps.
      rows: of narrow maps that are passed on at most.
    """
    found = exchanges(program)
    assert {kind for kind, _ in found} == {"collective-permute", "all-reduce"}
    passed_on = [shape for kind, shape in found if kind == "collective-permute"]
    assert {count for _, count, _, channels in passed_on if channels > narrow} == {1}
    assert max(count for _, count, *_ in passed_on) <= rows
    # Kernels, and vectors: no features.
    kernels = {x.shape for x in params if x.ndim == 4}
    assert {shape for kind, shape in found if kind == "all-reduce" and len(shape) > 3} <= kernels


def count_collectives(jaxpr):
    """How many collectives of BatchNorm a traced function has, with those of functions inside."""
    count = 0
    for equation in jaxpr.eqns:
        if equation.params.get("name") in COLLECTIVES:
            count += 1
            continue
        for value in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(value, "jaxpr", value)
            count += count_collectives(inner) if hasattr(inner, "eqns") else 0
    return count
