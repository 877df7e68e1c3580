"""Every path that a user names, with names that mean something to some library or shell.

tests/training/test_checkpoint.py has those of checkpoints; tests/runtime/test_paths.py has what is
refused.
"""

import json
import pickle

import cv2
import numpy as np
import pytest

from data import registry
from hmsa_jax.auto_labels import unlabelled_images
from hmsa_jax.auto_labels.labelled_images import LabelledImages, Prediction
from hmsa_jax.runtime.paths import local_path
from hmsa_jax.training.metric_writer import MetricWriter

NAMES = [
    *("a b", "[a]", "[", "a[0:1]", "*", "?", "a@2", "a\nb", "é道", "{0}", "%s", "'\"", "\\", "gs:"),
    *("s3:b", "~a", "#", "a,b", "-x", ":car:", "x.array_record", "folder-train-00000-of-00001"),
]


@pytest.fixture(scope="module")
def picture():
    return cv2.imencode(".png", np.full((8, 12, 3), 7, np.uint8))[1].tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_all_that_a_user_names(name, picture, tmp_path):
    base = tmp_path / name / name  # twice: a pattern would match its own name once
    source, out = base / "set", base / "out"
    for kind in ("images", "masks"):
        (source / kind / "train").mkdir(parents=True)
    (source / "classes.json").write_text(json.dumps({"classes": [{"name": "a"}, {"name": "b"}]}))
    (source / "images" / "train" / f"p{name}.png").write_bytes(picture)
    label = cv2.imencode(".png", np.eye(8, 12, dtype=np.uint8))[1].tobytes()
    (source / "masks" / "train" / f"p{name}.png").write_bytes(label)
    builder = registry.prepare("folder", str(source), str(base / "cache"))
    records = pickle.loads(pickle.dumps(registry.open_source(builder, "train")))
    assert [record["id"] for record in records] == [f"p{name}"]
    assert records[0]["image"] == picture

    images, origin = unlabelled_images.open_images(str(source / "images"), out, data=None)
    assert [record["id"] for record in images] == [f"train/p{name}"]
    assert origin == str(source / "images")

    label_spec = registry.get("folder", str(source)).label_spec
    with LabelledImages(out, label_spec, {}, previews=True) as target:
        classes = np.full((8, 12), 1, np.uint8)
        prediction = Prediction(classes, classes, classes > 0)
        target.record(target.write(images[0], prediction, images.path(0)))
        assert list(target.done()) == [f"train/p{name}"]
    again = registry.prepare("folder", str(out), str(base / "cache"))
    (record,) = registry.open_source(again, "train")
    assert set(cv2.imdecode(np.frombuffer(record["label"], np.uint8), -1).ravel()) == {1}

    with MetricWriter(local_path(str(base), "--workdir"), 0) as writer:
        writer.write(1, {"loss": 1.0})
    assert len(list((base / "tensorboard").iterdir())) == 1


def test_a_cache_that_tfds_takes_for_a_pattern_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^data.cache_dir is .*\*\*.*name another"):
        registry.prepare("street_scenes", None, str(tmp_path / "**"))
    assert not list(tmp_path.iterdir())
