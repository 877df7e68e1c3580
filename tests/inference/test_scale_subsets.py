"""Many sets of scales at once, beside an evaluation by each; on eight devices, padded too."""

import itertools

import cv2
import jax
import numpy as np
import pytest

from hmsa_jax.distributed import sharding
from hmsa_jax.inference import evaluation, scale_subsets
from hmsa_jax.inference.predictor import Predictor
from hmsa_jax.input.layout import lay_out
from hmsa_jax.performance import flops
from tests import short_network

CLASSES = 4
SIZES = ((32, 48), (48, 40))
SCALES = scale_subsets.scales_of("0.5,1,1.3")
IMAGES = 11


@pytest.fixture(scope="module")
def network(short_trunk):
    return short_network.drawn(CLASSES)


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(0)

    def record(i):
        rows, columns = SIZES[i % len(SIZES)]
        image = cv2.resize(rng.integers(0, 256, (4, 6, 3), np.uint8), (columns, rows))
        label = rng.choice([*range(CLASSES), 255], (rows, columns)).astype(np.uint8)
        encoded = {"image": cv2.imencode(".png", image), "label": cv2.imencode(".png", label)}
        return {name: data.tobytes() for name, (_, data) in encoded.items()} | {"id": str(i)}

    return [record(i) for i in range(IMAGES)]


def counted(network, source, subsets, make_step, *, mesh):
    """The counts `[N, P, C, C]` of a step, whose images lie on one canvas."""
    graphdef, params, batch_stats = network
    layout, program = lay_out(source, 1), []
    predictor = Predictor(graphdef, mesh, subsets, "features", flip=True)
    jitted = make_step(predictor, classes=CLASSES)

    def step(*arguments):
        if not program:
            program.append(jitted.lower(*arguments).compile())
        return program[0](*arguments)

    evaluated = evaluation.score_source(
        step,
        *jax.device_put((params, batch_stats), sharding.replicated(mesh)),
        source,
        mesh,
        protocols=[subset.name for subset in subsets],
        classes=tuple("abcd"),
        images_per_device=2,
        ignore_label=255,
        layout=layout,
    )
    return evaluated.confusions.counts


def test_every_subset_counts_as_an_evaluation_does(network, source):
    mesh = sharding.make_mesh(4, 2)
    subsets = scale_subsets.subsets_of(SCALES)
    some = [0, 2, 3]
    assert [subsets[i].scales for i in some] == [(1,), (1, 1.3), SCALES]
    found = counted(network, source, subsets, scale_subsets.make_subset_step, mesh=mesh)
    assert found.shape[1] == len(subsets) == 4
    expected = counted(
        network,
        source,
        tuple(subsets[i] for i in some),
        evaluation.make_evaluation_step,
        mesh=mesh,
    )
    np.testing.assert_array_equal(found[:, some], expected)
    for first, second in itertools.combinations(range(len(subsets)), 2):
        assert (found[:, first] != found[:, second]).any()


def test_the_work_of_pieces_adds_up(network):
    graphdef, *weights = network
    mesh = sharding.make_mesh(1, 1, jax.devices()[:1])
    batch = {"image": jax.ShapeDtypeStruct((1, *SIZES[0], 3), np.uint8)}

    def count(step):
        return flops.count(step.trace(*weights, batch).jaxpr)

    for subset in scale_subsets.subsets_of((0.5, 1.0)):
        predictor = Predictor(graphdef, mesh, (subset,), "features", flip=True)
        whole = predictor.step(lambda outputs, _: outputs[0].logits, sharding.replicated(mesh))
        pieces = [
            count(scale_subsets.make_piece_step(predictor, piece))
            for piece in scale_subsets.pieces_of(subset)
        ]
        assert count(whole) == sum(pieces) > 0


@pytest.mark.parametrize(
    "text", ["0.5,2", "1", "1,1,2", "0,1", "1,two", "1,1.0000001", "", "0.5,1,2@50%"]
)
def test_what_is_no_list_of_scales_is_refused(text):
    with pytest.raises(ValueError, match=f"--scales is '{text}'; expected numbers above 0 like"):
        scale_subsets.scales_of(text)


def test_more_subsets_than_can_be_scored_are_refused():
    text = ",".join(f"{number}" for number in range(1, 15))
    with pytest.raises(ValueError, match="8192 subsets with scale 1; expected 13 scales at most"):
        scale_subsets.scales_of(text)
    assert len(scale_subsets.subsets_of(range(1, 14))) == 4096
