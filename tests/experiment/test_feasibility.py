"""What no memory holds is refused in no time, and what the recipes ask for is not."""

import importlib

import cv2
import numpy as np
import pytest

from configs import base, street_scenes
from hmsa_jax.experiment import experiment, feasibility
from hmsa_jax.inference.tiles import Tiling
from tests.config.test_schema import CONFIGS

MEMORY = 64 * 10**9


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.setattr(feasibility, "_machine_memory", lambda: MEMORY)


def config_with(**changes):
    config = street_scenes.get_config()
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return config


def image(rows=64, columns=96):
    encoded = cv2.imencode(".png", np.zeros((rows, columns, 3), np.uint8))[1]
    return {"image": encoded.tobytes(), "id": "a"}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_recipes_are_possible(name):
    config = importlib.import_module(f"configs.{name}").get_config()
    feasibility.check_training(config)
    feasibility.check_inference(config, [image(1024, 2048)], "evaluate.protocols", (0.25, 1.0, 2.0))
    feasibility.check_widths(config.model)


@pytest.mark.parametrize(
    "changes",
    [
        {"data__batch_size": 10**9},
        {"data__batch_size": 10**20},
        {"data__crop_size": (10**7, 10**7)},
        {"data__workers": 10**20},
        {"data__workers": 1000},
        {"objective__scales": (1.0, 10.0**4)},
        {"objective__scales": (1.0, 10.0**300)},
    ],
)
def test_a_train_step_beyond_any_memory(changes):
    (field,) = changes
    name = field.replace("__", ".")
    with pytest.raises(ValueError, match=rf"{name}=.* GB in the memory .* which is \d+ GB"):
        feasibility.check_training(config_with(**changes))


def test_the_numbers_are_those_of_the_rule():
    """4 bytes a pixel of the batch: 10^6 crops of 128 x 256 take 131 GB."""
    config = config_with(data__batch_size=10**6, data__crop_size=(128, 256))
    with pytest.raises(ValueError, match=r"would take 131 GB in the memory of this machine"):
        feasibility.check_training(config)
    config.data.batch_size = 488_000  # 63.96 of 64 GB
    with pytest.raises(ValueError, match=r"would take 20 GB in the memory of each device"):
        feasibility.check_training(config)  # eight simulated devices have 8 GB each


@pytest.mark.parametrize("field", ["evaluate.images_per_device"])
@pytest.mark.parametrize("source", [[image()], [{"image": b"damaged", "id": "a"}]])
def test_whole_images_beyond_any_memory(field, source):
    config = config_with(**{field.replace(".", "__"): 10**20})
    with pytest.raises(ValueError, match=rf"{field}=1.* GB in the memory"):
        feasibility.check_inference(config, source, "evaluate.protocols", (1.0,))
    feasibility.check_inference(street_scenes.get_config(), source, "evaluate.protocols", (1.0,))


def test_of_an_image_in_tiles_a_tile_is_looked_at():
    config = config_with(evaluate__images_per_device=64)
    large = [image(20_000, 10_000)]
    with pytest.raises(ValueError, match=r"evaluate\.images_per_device=64 of 20000 x 10000 pixels"):
        feasibility.check_inference(config, large, "--protocol", (1.0, 2.0))
    tiling = Tiling(256, 2**23)
    feasibility.check_inference(config, large, "--protocol", (1.0, 2.0), tiling=tiling)


def test_a_scale_that_leaves_nothing():
    with pytest.raises(ValueError, match=r"--protocol: scale 0\.01 leaves nothing .* 64 x 96"):
        feasibility.check_inference(config_with(), [image()], "--protocol", (0.01, 1.0))
    with pytest.raises(ValueError, match=r"objective\.scales: scale 0\.001 leaves nothing"):
        feasibility.check_training(config_with(objective__scales=(0.001, 1.0)))


@pytest.mark.parametrize("field", ["ocr_channels", "ocr_key_channels", "head_channels"])
def test_weights_beyond_any_memory_are_not_drawn(field, monkeypatch):
    monkeypatch.setattr(feasibility, "_machine_memory", lambda: 16 * 10**9)
    with pytest.raises(ValueError, match=rf"model\.{field}=65536.* GB in the memory"):
        experiment.assemble(config_with(**{f"model__{field}": 2**16}))


def test_widths_that_are_not_used_do_not_count():
    config = base.get_config()
    config.model.trunk, config.model.ocr_channels = "resnet50", 10**8
    feasibility.check_widths(config.model)


def test_no_device_at_all_holds_it():
    with pytest.raises(ValueError, match=r"--images_per_device=9 of data\.crop_size=\(64, 64\)"):
        feasibility.check_any_device("--images_per_device=9", 10**20, (64, 64), (1.0,))
    feasibility.check_any_device("--images_per_device=64", 64, (1024, 2048), (0.5, 1.0))
