"""PyTorch files into a run's directory and out of it."""

import importlib
import json
import pickle
import re
import zipfile

import jax
import numpy as np
import pytest

import main
from configs import published
from hmsa_jax.experiment import convert, experiment, run_directory
from hmsa_jax.models import pretrained
from hmsa_jax.models.trunks import TRUNKS
from hmsa_jax.training import checkpoint
from hmsa_jax.weights import pytorch_pickle, weight_file
from tests import least_networks
from tests.fixtures import drawn, seeded
from tests.fixtures.arrays import read


def config(**changes):
    config = importlib.import_module("configs.street_scenes").get_config()
    config.data.batch_size = 8  # one image for each simulated device
    config.model.semantic_head = "published"
    config.model.ocr_channels = 16
    config.model.ocr_key_channels = 8
    config.model.head_channels = 8
    config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module")
def state():
    """A published state dict of the network of `config`."""
    assembled = experiment.assemble(config())
    exported = pretrained.export(
        assembled.params, assembled.batch_stats, assembled.architecture, updates=0
    )
    state = seeded.state_dict(5, {name: value.shape for name, value in exported.items()})
    return state | {k: np.zeros_like(v) for k, v in state.items() if k.endswith("_tracked")}


@pytest.fixture
def file(request, state, tmp_path):
    path = tmp_path / f"published{getattr(request, 'param', '.pth')}"
    weight_file.write(path, {f"module.{name}": value for name, value in state.items()})
    return path


@pytest.mark.parametrize("file", [".pth", ".safetensors"], indirect=True)
def test_round_trip_is_exact(file, state, tmp_path, capsys):
    workdir, back = tmp_path / "run", tmp_path / f"back{file.suffix}"
    convert.convert_from(config(), workdir, file)
    convert.convert_to(config(), workdir, back)
    got = weight_file.read(back)
    assert got.keys() == state.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)
        assert got[name].dtype == value.dtype
    output = " ".join(capsys.readouterr().out.split())
    assert f"step 0 of {workdir}." in output
    assert f"{len(state)} tensors in {back}." in output


def write(path, content):
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        weight_file.write(path, content)


WRONG = {
    "truncated": "copy it again|truncated|incomplete",
    "not a checkpoint": "text",
    "another network": "Nothing fits: name the --config",
    "another number of classes": (
        r"4 of another shape or type: .*ocr\.cls_head\.weight: \[19, 16, 1, 1\] in the source, "
        r"\[11, 16, 1, 1\] in the network"
    ),
    "without attention": r"in the network only: .*scale_attn",
}


@pytest.mark.parametrize("file", [".pth", ".safetensors"], indirect=True)
@pytest.mark.parametrize("problem", WRONG)
def test_wrong_file_is_one_error_and_writes_nothing(problem, file, state, tmp_path):
    heads = ("ocr.cls_head.", "ocr.aux_head.2.")
    content = {
        "truncated": file.read_bytes()[:-20_000],
        "not a checkpoint": b"<html>404 Not Found</html>" * 100,
        "another network": {"features.0.weight": np.ones((8, 3, 3, 3), np.float32)},
        "another number of classes": {
            k: np.repeat(v, 2, 0)[:19] if k.startswith(heads) else v for k, v in state.items()
        },
        "without attention": {k: v for k, v in state.items() if not k.startswith("scale_attn")},
    }[problem]
    write(file, content)
    with pytest.raises(ValueError, match=f"(?s){WRONG[problem]}") as error:
        convert.convert_from(config(), tmp_path / "run", file)
    assert str(file) in str(error.value)
    assert list(tmp_path.iterdir()) == [file]


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.pth"):
        convert.convert_from(config(), tmp_path / "run", tmp_path / "absent.pth")
    assert not (tmp_path / "run").exists()


def write_with_average(path, tensors):
    """A checkpoint with a second state dict, `ema`, as programs write it."""
    weight_file.write(path, tensors)
    pickled = pytorch_pickle.dumps(tensors)
    average = pickled.replace(b"\x0a\0\0\0state_dict", b"\x03\0\0\0ema", 1)
    both = pickled[:-1] + average[3:]  # after the opcodes that begin a pickle and a mapping
    with zipfile.ZipFile(path) as whole:
        records = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (records | {"archive/data.pkl": both}).items():
            archive.writestr(name, content)


def test_partial_files_are_taken_if_the_config_says_so(state, tmp_path, capsys):
    path = tmp_path / "trunk.pth"
    trunk = {k: v for k, v in state.items() if k.startswith("backbone.")}
    write_with_average(path, trunk | {"head.bias": np.ones(3, np.float32)})
    with pytest.raises(ValueError, match=r"take what fits with --config\.convert_partial=True"):
        convert.convert_from(config(), tmp_path / "run", path)
    coverage = convert.convert_from(config(convert_partial=True), tmp_path / "run", path)
    counted = [name for name in trunk if not name.endswith("_tracked")]
    assert sorted(coverage.taken) == sorted(counted)
    assert coverage.unused == ["head.bias"]
    output = " ".join(capsys.readouterr().out.split())
    assert "1 in the source only: head.bias" in output
    assert f"{len(counted)} tensors from state_dict of {path} are step 0" in output
    assert "Not taken: ema." in output

    # From there a run with other classes and without attention starts.
    assembled = experiment.assemble(
        config(**{"model.attention": "none", "objective.scales": (1.0,)})
    )
    started, coverage = checkpoint.start_from(tmp_path / "run", assembled.initial_state())
    assert coverage.unused
    assert not coverage.missing
    weights = jax.device_get((started.params, started.batch_stats))
    got = pretrained.export(*weights, assembled.architecture, updates=0)
    for name in counted:
        np.testing.assert_array_equal(got[name], trunk[name], err_msg=name)


def test_a_workdir_with_checkpoints_is_not_overwritten(file, tmp_path):
    convert.convert_from(config(), tmp_path / "run", file)
    with pytest.raises(ValueError, match="holds checkpoints already; name another --workdir"):
        convert.convert_from(config(), tmp_path / "run", file)


def test_out_of_an_empty_workdir(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"workdir is .*run, which holds no checkpoint"):
        convert.convert_to(config(), tmp_path / "run", tmp_path / "out.pth")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "problem"),
    [("out.npz", "suffix"), ("no/out.pth", "make it"), ("run.pth", "which exists")],
)
def test_out_to_an_impossible_file(name, problem, file, tmp_path):
    convert.convert_from(config(), tmp_path / "run", file)
    (tmp_path / "run.pth").write_text("weights")
    with pytest.raises((ValueError, FileNotFoundError), match=problem):
        convert.convert_to(config(), tmp_path / "run", tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {"run", "run.pth", file.name}
    assert (tmp_path / "run.pth").read_text() == "weights"


def test_nothing_fits_another_run(file, tmp_path):
    convert.convert_from(config(), tmp_path / "run", file)
    changes = {"model.trunk": "least", "model.head_channels": 4, "objective.aux_weight": 0.0}
    with TRUNKS.holding("least", least_networks.RESNET):
        state = experiment.assemble(config(**changes)).initial_state()
    with pytest.raises(ValueError, match=r"no tensor of .*run fits this network"):
        checkpoint.start_from(tmp_path / "run", state)


def of_others(source):
    """The tensors of a network of another project, w18_small with narrow heads."""
    return drawn.weights(json.loads(str(read(f"{source}_small")["shapes"])))


def trunk_alone(tensors):
    kept = {k: v for k, v in tensors.items() if k.startswith("backbone.")}
    return {k.removeprefix("backbone."): v for k, v in kept.items()}


FILES = {
    "paddleseg": "model.pdparams",
    "paddleseg_ocrnet": "pretrained.pdparams",
    "mmsegmentation": "ocrnet.pth",
    "timm": "trunk.safetensors",
}


def save(folder, source, change=lambda tensors: tensors):
    """A file as the project has it."""
    tensors = of_others("mmsegmentation" if source == "timm" else source)
    tensors = change(trunk_alone(tensors) if source == "timm" else tensors)
    path = folder / FILES[source]
    if path.suffix == ".pdparams":
        path.write_bytes(pickle.dumps(tensors, protocol=2))
    else:
        weight_file.write(path, tensors)
    return path


@pytest.mark.parametrize("source", ["paddleseg", "mmsegmentation"])
def test_a_file_is_enough(source, tmp_path, capsys):
    path, run = save(tmp_path, source), tmp_path / "run"
    main.main(["convert", f"--from={path}", f"--workdir={run}"])
    config = run_directory.read_config(run)
    attends = source == "paddleseg"
    assert config.data.name == "cityscapes"
    assert config.model.trunk == "w18_small"
    assert config.model.attention == ("hierarchical" if attends else "none")
    assert config.objective.scales == ((0.5, 1.0) if attends else (1.0,))
    assert (config.model.ocr_channels, config.model.ocr_key_channels) == (16, 8)
    assert (config.model.dtype, config.evaluate.fusion_resolution) == ("float32", "image")
    output = " ".join(capsys.readouterr().out.split())
    assert f"{path} holds w18_small and ocr for 19 classes, attention" in output
    project = "PaddleSeg" if attends else "mmsegmentation"
    assert f"tensors from {path} are step 0 of {run}. Their names are those of {project}." in output
    assert "Left out" not in output


def test_paddlesegs_own_network_is_taken_where_that_is_asked_for(tmp_path, capsys):
    """All tensors fit, but the file does not tell which pixels its convolutions read."""
    path, run = save(tmp_path, "paddleseg_ocrnet"), tmp_path / "run"
    words = ["convert", f"--from={path}", f"--workdir={run}"]
    with pytest.raises(SystemExit):
        main.main(words)
    output = " ".join(capsys.readouterr().out.split())
    assert f"{path} has all tensors of our network, and is another. It is PaddleSeg's own" in output
    assert list(tmp_path.iterdir()) == [path]
    main.main([*words, "--config.convert_partial=True"])
    output = " ".join(capsys.readouterr().out.split())
    assert "7 biases went into the means of the BatchNorms after them. It is PaddleSeg" in output
    assert "Left out" not in output


def cut(path):
    path.write_bytes(path.read_bytes()[:-20_000])


@pytest.mark.parametrize("source", ["paddleseg", "mmsegmentation", "timm"])
@pytest.mark.parametrize(
    ("change", "damage", "problem"),
    [
        (lambda tensors: tensors, cut, "is cut off|copy it again"),
        (
            lambda tensors: {"features.0.weight": np.ones((8, 3, 3, 3), np.float32)},
            lambda path: None,
            r"no network that is known by its tensors \(features\.0\.weight\)\. Name the --config",
        ),
    ],
)
def test_another_file_is_one_error_and_writes_nothing(
    source, change, damage, problem, tmp_path, capsys
):
    path = save(tmp_path, source, change)
    damage(path)
    with pytest.raises(SystemExit):
        main.main(["convert", f"--from={path}", f"--workdir={tmp_path / 'run'}"])
    output = " ".join(capsys.readouterr().out.split())
    assert re.search(f"ValueError: {path} .*({problem})", output)
    assert list(tmp_path.iterdir()) == [path]


def config_of(path, **typed):
    typed = {name.replace("__", "."): value for name, value in typed.items()}
    base = published.get_config()
    return convert.config_of(path, weight_file.read(path), base, typed)


def test_a_trunk_that_is_typed_goes_before_the_file(tmp_path, capsys):
    """The config is then the default one with what was typed, as of every new run."""
    path = save(tmp_path, "mmsegmentation")
    with pytest.raises(SystemExit):
        main.main(
            [
                "convert",
                f"--from={path}",
                f"--workdir={tmp_path / 'run'}",
                "--config.model.trunk=tiny",
            ]
        )
    output = " ".join(capsys.readouterr().out.split())
    assert (
        f"{path} does not fit this network (tiny, attention hierarchical, street_scenes)" in output
    )
    assert list(tmp_path.iterdir()) == [path]


def with_65_classes(tensors):
    return {
        k: np.repeat(v, 4, 0)[:65] if v.ndim and len(v) == 19 else v for k, v in tensors.items()
    }


def test_other_classes_need_the_name_of_their_data_set(tmp_path):
    path = save(tmp_path, "paddleseg", with_65_classes)
    message = r"predicts 65 classes, and cityscapes has 19; .* --config\.data\.name=NAME"
    with pytest.raises(ValueError, match=message):
        config_of(path)
    config = config_of(path, data__name="mapillary_v1", model__dropout=0.1)
    assert (config.data.name, config.model.trunk) == ("mapillary_v1", "w18_small")
    assert config.model.dropout == 0.1


def test_a_trunk_alone_needs_the_training_to_come(tmp_path):
    path = save(tmp_path, "timm")
    message = r"the trunk w18_small without a head of ours; name .*convert_partial=True"
    with pytest.raises(ValueError, match=message):
        config_of(path)
    config = config_of(path, data__name="cityscapes", convert_partial=True)
    assert config.model.trunk == "w18_small"
    assert config.model.attention == "hierarchical"
    assert config.objective.scales == (0.5, 1.0)


def test_a_network_that_is_none_of_ours_is_told(tmp_path):
    def with_pyramid(tensors):
        pyramid = {"decode_head.aspp_modules.0.conv.weight": np.ones((8, 8, 1, 1), np.float32)}
        return {k: v for k, v in tensors.items() if k.startswith("backbone.")} | pyramid

    path = save(tmp_path, "mmsegmentation", with_pyramid)
    with pytest.raises(ValueError, match=r"It is mmsegmentation's DeepLabV3 or DeepLabV3\+"):
        config_of(path)
