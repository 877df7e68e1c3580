"""CONTRIBUTING.md says how to add things: it is done here as it stands there, in a copy."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
CREATE = re.compile(r"Create `([^`]+)`:\n\n```python\n(.*?)```", re.DOTALL)
INSERT = re.compile(
    r"In `([^`]+)`, (?:among the (imports)|in `(\w+)`|above `(\w+)`):\n\n```python\n(.*?)```",
    re.DOTALL,
)
USE = """
import contextlib, io, sys
import jax, numpy as np
import main
from hmsa_jax.inference import protocol
from hmsa_jax.losses.objective import Objective
from hmsa_jax.metrics import METRICS
from hmsa_jax.metrics.metric import Prediction, Truth
from hmsa_jax.models import multiscale, pretrained

def told(*arguments):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        main.main(list(arguments))
    return out.getvalue()

print(told("check-data", "--config.data.name=squares", "--config.data.cache_dir=" + sys.argv[1]))
print(told("describe", "--depth=2", "--config.model.trunk=strided", "--config.data.name=squares"))

widths = dict(ocr_channels=8, ocr_key_channels=8, head_channels=8)
architecture = multiscale.Architecture("strided", classes=2, **widths)
graphdef, params, statistics = multiscale.initialize(
    architecture, dtype="float32", remat="none", seed=0
)
tensors = pretrained.export(params, statistics, architecture, updates=1)
assert pretrained.load(tensors, params, statistics, architecture)[-1].complete
assert "backbone.conv1.weight" in tensors

def median(images):
    protocols = protocol.parse_all(["median:0.5,1,2"])
    network = graphdef, params, statistics, images
    (output,) = protocol.predict_all(protocols, *network, resolution="features", flip=False)
    return output.logits

assert jax.eval_shape(median, np.zeros((1, 32, 32, 3), np.uint8)).shape == (1, 32, 32, 2)

logits = np.zeros((1, 8, 8, 2), np.float32)
output = multiscale.ScaleOutput(logits, logits, None)
loss, terms = Objective(main_loss="focal", aux_loss="focal")({1.0: output}, np.zeros((1, 32, 32)))
main = 0.25 * np.log(2)  # (1 - 1/2)^2 x log 2
assert np.isclose(terms["main"], main, rtol=1e-4)  # a power in float32, on any processor
assert np.isclose(terms["aux"], terms["main"])

certain = METRICS.get("certain")
truth = Truth(np.array([[[0, 1, 255]]], np.uint8), np.array([[1, 3]]), 2)
counts = certain.counter(truth)(Prediction(np.zeros((1, 1, 3)), np.array([[[0.95, 0.5, 1]]])))
summed = {name: np.asarray(count).sum(0) for name, count in counts.items()}
assert certain.figures(summed).overall == {"certain": 0.5}
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the program in which everything is added."""
    copy = tmp_path_factory.mktemp("copy")
    for name in ("hmsa_jax", "data", "configs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "main.py", copy)
    for path, content in CREATE.findall(TEXT):
        assert not (copy / path).exists()
        (copy / path).write_text(content)
    for path, imports, table, below, lines in INSERT.findall(TEXT):
        place = r"(?=import |from )" if imports else rf"(?=def {below}\b)"
        if table:
            place = rf"{table}\b[^{{]*{{\n"
        lines += "\n\n" if below else ""  # no formatter leaves them at the end of an example
        text = (copy / path).read_text()
        match = re.search(rf"(?m)^{place}", text)
        assert match, f"{path} has no {imports or table or below}"
        (copy / path).write_text(text[: match.end()] + lines + text[match.end() :])
    return copy


def test_what_is_added_is_there(copy, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", USE, str(tmp_path)],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Nothing is wrong." in done.stdout
    assert "trunk.body: " in done.stdout
