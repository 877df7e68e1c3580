"""The loop that all predictions go through."""

import jax
import numpy as np
import pytest

from hmsa_jax.distributed import sharding
from hmsa_jax.inference import predictor
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.models import multiscale
from hmsa_jax.performance import compiled

MESH = sharding.make_mesh(1, 1, jax.devices()[:1])
SHARDINGS = {"image": sharding.whole_images(MESH)}
IDS = ("first", "second", "third")


def batches(*indices):
    for index in indices:
        image = np.full((2, 4, 6, 3), index[0], np.uint8)
        names = [IDS[i] for i in index]
        size = np.array([[3, 5], [4, 6]])
        yield {"image": image, "index": np.array(index), "id": names, "size": size}


def step(finite):
    def step(params, batch_stats, batch):
        return batch["image"][..., 0] + params["add"], np.array(finite)

    return step


def summaries(step, *indices):
    return predictor.summaries(step, {"add": 10}, {}, batches(*indices), SHARDINGS)


def test_every_batch_comes_with_its_own_summary_one_late():
    computed = []

    def counting(params, batch_stats, batch):
        computed.append(int(batch["image"][0, 0, 0, 0]))
        return step([True, True])(params, batch_stats, batch)

    found = summaries(counting, [0, 1], [2, 0], [1])
    batch, summary = next(found)
    assert computed == [0, 2]  # the second is on its way
    assert batch["index"].tolist() == [0, 1]
    assert summary.dtype == np.uint8
    np.testing.assert_array_equal(summary, 10)
    assert [(b["index"].tolist(), int(s[0, 0, 0])) for b, s in found] == [([2, 0], 12), ([1], 11)]
    assert list(summaries(counting)) == []


def test_an_image_whose_logits_are_not_finite_is_named_before_anything_is_made_of_it():
    message = "predicts what is not finite for first: its"
    with pytest.raises(FloatingPointError, match=message):
        next(summaries(step([True, False]), [1, 0]))
    (found,) = summaries(step([True, False]), [1])  # what follows is padding
    assert found[0]["index"].tolist() == [1]


def test_what_is_yielded_has_no_padding():
    (batch,) = batches([0, 1])
    arrays = {"classes": np.arange(48).reshape(2, 4, 6), "share": np.zeros((2, 4, 6, 3))}
    first, second = predictor.without_padding(batch, arrays)
    np.testing.assert_array_equal(first["classes"], arrays["classes"][0, :3, :5])
    assert first["classes"].flags.c_contiguous
    assert first["share"].shape == (3, 5, 3)
    assert second["classes"].shape == (4, 6)


def test_the_probability_is_that_of_the_softmax():
    logits = np.random.default_rng(0).normal(0, 3, (2, 4, 6, 5)).astype(np.float32)
    classes, probability = predictor.most_probable(logits)
    exponentials = np.exp(np.float64(logits))
    assert classes.dtype == np.uint8
    np.testing.assert_array_equal(classes, logits.argmax(-1))
    np.testing.assert_allclose(probability, exponentials.max(-1) / exponentials.sum(-1), rtol=1e-5)
    assert predictor.to_byte(np.array([0, 0.5, 0.501, 1])).tolist() == [0, 128, 128, 255]


@pytest.mark.parametrize(
    ("text", "most"), [("hierarchical:0.5,1", 1.5), ("hierarchical:0.5,1,2@30%", 2.5)]
)
def test_a_cpu_predicts_the_images_of_a_batch_one_after_the_other(text, most, short_trunk):
    """Each of eight devices has three, of sizes of their own, and takes the memory for one."""
    architecture = multiscale.Architecture(
        "short", 3, ocr_channels=16, ocr_key_channels=8, head_channels=8
    )
    graphdef, *weights = multiscale.initialize(architecture, dtype="float32", remat="none", seed=0)
    mesh = sharding.make_mesh(4, 2)
    images = sharding.whole_images(mesh)
    protocols = protocol_lib.parse_all([text])
    rng = np.random.default_rng(0)
    batch = {
        "image": rng.integers(0, 256, (24, 32, 48, 3), np.uint8),
        "size": np.stack([rng.integers(20, 33, 24), rng.integers(30, 49, 24)], 1, dtype=np.int32),
    }
    step = predictor.Predictor(graphdef, mesh, protocols, "features", flip=False).step(
        lambda outputs, batch: (outputs[0].logits, batch["size"]), images
    )
    program = step.lower(*weights, batch).compile()
    (found, sizes), finite = program(*weights, jax.device_put(batch, images))

    @jax.jit
    def at_once(weights, images, sizes):
        (output,) = protocol_lib.predict_all(
            protocols, graphdef, *weights, images, resolution="features", flip=False, sizes=sizes
        )
        return output.logits

    whole = at_once.lower(weights, *batch.values()).compile()
    expected = np.array(whole(weights, *batch.values()))
    np.testing.assert_array_equal(sizes, batch["size"])
    assert finite.shape == (24,)
    for i, (rows, columns) in enumerate(batch["size"]):
        np.testing.assert_allclose(
            found[i, :rows, :columns],
            expected[i, :rows, :columns],
            atol=1e-5 * float(abs(expected).max()),
        )
    # Nothing but whether logits are finite goes to another device.
    traffic = compiled.collectives_of(program.as_text())
    assert sum(kind.bytes for kind in traffic.values()) < 1000
    memory = compiled.memory_of(program)
    of_one = compiled.memory_of(whole).temporaries / 24
    assert memory.temporaries - memory.outputs < most * of_one
