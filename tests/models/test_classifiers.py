"""Classifiers brought to other classes, against their columns by name."""

import numpy as np
import pytest

from hmsa_jax.models import classifiers

THEIRS = ("road", "sky", "pole")


def network(classes, seed, inputs=4, aux=True):
    rng = np.random.default_rng(seed)

    def layer():
        kernel = rng.normal(size=(1, 1, inputs, classes))
        return {"kernel": kernel, "bias": rng.normal(size=(classes,))}

    trunk = {"stem": {"kernel": rng.normal(size=(3, 3, 3, 8))}}
    params = {"trunk": trunk, "semantic_head": {"hidden": trunk, "output": layer()}}
    if aux:
        params["decoder"] = {"up": trunk, "aux_head": {"output": layer()}}
    return params


def outputs(params):
    yield params["semantic_head"]["output"]
    yield params["decoder"]["aux_head"]["output"]


@pytest.mark.parametrize("ours", [("pole", "road", "sky"), ("bus", "sky", "car", "road")])
def test_an_output_is_that_of_the_class_of_its_name(ours):
    theirs, drawn = network(3, 0), network(len(ours), 1)
    taken = classifiers.with_classes(theirs, drawn, THEIRS, ours)
    for got, source, new in zip(*map(outputs, (taken, theirs, drawn)), strict=True):
        for leaf in ("kernel", "bias"):
            for number, name in enumerate(ours):
                column = (
                    source[leaf][..., THEIRS.index(name)]
                    if name in THEIRS
                    else new[leaf][..., number]
                )
                np.testing.assert_array_equal(got[leaf][..., number], column)
    assert taken["trunk"] == theirs["trunk"]
    assert theirs["semantic_head"]["output"]["bias"].shape == (3,)  # as it was


def test_what_shares_nothing_is_left_out():
    theirs = network(3, 0)
    of_none = classifiers.with_classes(theirs, network(3, 1), THEIRS, ("a", "b", "c"))
    other_inputs = classifiers.with_classes(theirs, network(3, 1, inputs=5), THEIRS, THEIRS[::-1])
    for taken in (of_none, other_inputs):
        assert "output" not in taken["semantic_head"]
        assert "output" not in taken["decoder"]["aux_head"]
        assert taken["semantic_head"]["hidden"] == theirs["semantic_head"]["hidden"]
    without_aux = classifiers.with_classes(theirs, network(3, 1, aux=False), THEIRS, THEIRS[::-1])
    assert "output" in without_aux["semantic_head"]
    assert "output" not in without_aux["decoder"]["aux_head"]
