"""A run as a file that jax and numpy alone open, and what is refused of either."""

import dataclasses
import doctest
import io
import json
import pathlib
import shutil
import subprocess
import sys
import textwrap
import zipfile

import jax
import numpy as np
import pytest

import hmsa_jax
import main
from configs import street_scenes
from data import pixels
from hmsa_jax.experiment import experiment, export, run_directory
from hmsa_jax.exported import model, onnx_file, precision, program, stablehlo
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.training import checkpoint

pytestmark = pytest.mark.usefixtures("short_trunk")
pytest.importorskip("flatbuffers")

ROOT = pathlib.Path(__file__).parents[2]
PROTOCOL, SIZE = "hierarchical:0.5,1", (50, 64)
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run") / "run"
    config = street_scenes.get_config()
    config.model.trunk = "short"
    config.model.ocr_channels, config.model.ocr_key_channels = 16, 8
    config.model.head_channels = 8
    assembled = experiment.assemble(config)
    run_directory.claim(directory, config, assembled.label_spec)
    with checkpoint.Checkpoints(directory, keep=1) as checkpoints:
        checkpoints.save(assembled.initial_state(), 3)
    return directory


def do(directory, out, size=SIZE, *, changes=None, **options):
    config = run_directory.resolve(directory, None, changes or {})
    export.export(config, directory, out, size, **{"protocol": PROTOCOL} | options)


def a_program(directory, protocol):
    run, way = hmsa_jax.load_run(directory), (protocol_lib.parse(protocol),)
    predictor = run._experiment.predictor(way, flip=False, images=1, each_scale=True)
    return program.Program(predictor, run.params, run.batch_stats, (64, 64), is_exact=False)


@pytest.fixture(scope="module")
def file(directory, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "network.hmsa"
    do(directory, out)
    return out


@pytest.fixture(scope="module")
def opened(file):
    return hmsa_jax.load_export(file)


def test_it_says_what_the_run_says(opened, directory):
    image = RNG.integers(0, 256, (37, 51, 3), np.uint8)
    output = hmsa_jax.load_run(directory).outputs(image, protocol=PROTOCOL)
    got = opened.predict(image)
    logits = np.asarray(output.logits[0])
    assert got.classes.shape == (37, 51)
    assert (got.classes == logits.argmax(-1)).mean() > 0.998  # rounding may decide a tie
    probability = np.asarray(jax.nn.softmax(logits)).max(-1)
    assert np.abs(got.probability - 255 * probability).max() < 1
    assert sorted(got.shares) == [0.5, 1.0]
    for scale, share in got.shares.items():
        expected = 255 * np.asarray(output.scales.weights[scale])[0, ..., 0]
        assert np.abs(share - expected).max() < 1


def test_a_window_goes_into_a_file(directory, tmp_path):
    way, out = "hierarchical:0.5,1,2@40%", tmp_path / "window.hmsa"
    do(directory, out, protocol=way)
    opened = hmsa_jax.load_export(out)
    assert opened.about["protocol"]["percent"] == 40
    images = RNG.integers(0, 256, (2, 47, 60, 3), np.uint8)
    got = opened.predict(images)
    output = hmsa_jax.load_run(directory).outputs(images, protocol=way)
    assert (got.classes == np.asarray(output.logits).argmax(-1)).mean() > 0.998
    expected = 255 * np.asarray(output.scales.weights[2.0])[..., 0]
    assert np.abs(got.shares[2.0] - expected).max() < 1
    assert 0 < (got.shares[2.0] == 0).mean() < 1


def test_images_of_a_batch_do_not_change_each_other(opened):
    images = RNG.integers(0, 256, (3, 64, 40, 3), np.uint8)
    together = opened.predict(images)
    assert together.classes.shape == (3, 64, 40)
    for number, image in enumerate(images):
        alone = opened.predict(image)
        np.testing.assert_array_equal(together.classes[number], alone.classes)
        np.testing.assert_array_equal(together.shares[1.0][number], alone.shares[1.0])


def test_it_knows_what_it_is(opened, directory):
    run = hmsa_jax.load_run(directory)
    assert opened.classes == run.classes
    assert opened.palette.tolist() == [list(colour) for colour in run.label_spec.palette]
    assert opened.label_values.tolist() == list(run.label_spec.class_values)
    assert (opened.canvas, opened.scales) == ((64, 64), (0.5, 1.0))
    about = opened.about
    assert (about["dtype"], about["run"]["step"], about["smallest_side"]) == ("float32", 3, 2)
    assert about["platforms"] == ["cpu", "cuda", "tpu"]
    assert about["versions"]["jax"] == jax.__version__
    assert opened.deviation.classes < 0.001
    assert "0.000 at most" in str(opened.deviation)


def test_the_bytes_say_nothing_of_time_or_place(directory, file):
    with zipfile.ZipFile(file) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        stored = archive.read(model.PROGRAM)
    assert str(ROOT).encode() not in stored
    jax.clear_caches()
    assert bytes(stablehlo._export(a_program(directory, PROTOCOL)).serialize()) == stored


def test_jax_and_numpy_alone_open_it(file, tmp_path):
    """By the copied file, and by the package; nothing else is found."""
    (tmp_path / "opener.py").write_bytes((ROOT / "hmsa_jax/exported/model.py").read_bytes())
    script = """
        import importlib.machinery as machinery, importlib.util, sys
        ALLOWED = {"jax", "jaxlib", "numpy", "ml_dtypes", "opt_einsum", "scipy", "flatbuffers"}
        OURS = set(sys.argv[3:])
        class Few:
            def find_spec(name, path=None, target=None):
                known = ALLOWED | OURS | sys.stdlib_module_names
                if name.partition(".")[0] in known or name.startswith("_sysconfigdata"):
                    return machinery.PathFinder.find_spec(name, path, target)
        sys.meta_path[:] = [machinery.BuiltinImporter, machinery.FrozenImporter, Few]
        assert importlib.util.find_spec("flax") is None
        sys.path[:0] = [sys.argv[1]]
        if OURS == {"opener"}:
            import opener
            network = opener.load(sys.argv[2])
        else:
            import hmsa_jax
            network = hmsa_jax.load_export(sys.argv[2], check=False)
        import numpy as np
        print(network.predict(np.zeros((33, 40, 3), np.uint8)).classes.shape, network.deviation)
    """
    for place, name, said in ((tmp_path, "opener", "0.000%"), (ROOT, "hmsa_jax", "None")):
        command = [sys.executable, "-c", textwrap.dedent(script), str(place), str(file), name]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"(33, 40) {said}")


def rewritten(file, path, name, data):
    """The file with other bytes for one of its entries, whose checksums are right."""
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.namelist():
            new.writestr(entry, data if entry == name else old.read(entry))
    return path


def about_with(file, **changes):
    with zipfile.ZipFile(file) as archive:
        return json.dumps(json.loads(archive.read(model.ABOUT)) | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, r"is no exported network: it has no network\.json that says so"),
        ({"version": 2}, "is of version 2 of the format, and version 1 is read here"),
        ({"calling_convention": 99}, "convention 99, and jax .* reads .*; use a jax near to"),
        ({"files": 7}, r"is damaged \(it holds \d+ of 7 files\)"),
        ({"tolerance": {"classes": -1, "probability": 0}}, "is not computed here as where"),
    ],
)
def test_other_kinds_and_versions_are_refused(file, tmp_path, changes, message):
    other = rewritten(file, tmp_path / "other", model.ABOUT, about_with(file, **changes))
    with pytest.raises(ValueError, match=message):
        hmsa_jax.load_export(other)


def test_damage_is_found(file, tmp_path, monkeypatch):
    data = file.read_bytes()
    path = tmp_path / "damaged"
    with zipfile.ZipFile(file) as archive:
        infos = [entry for entry in archive.infolist() if entry.file_size > 200]
    for entry in infos[:: len(infos) // 4]:
        middle = entry.header_offset + 150
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
        with pytest.raises(ValueError, match=r"is damaged \(.*\); copy or export it again"):
            hmsa_jax.load_export(path)
    for part in (b"", data[:1000], data[:-100]):
        path.write_bytes(part)
        with pytest.raises(ValueError, match="is no exported network, or its end is missing"):
            hmsa_jax.load_export(path)
    rewritten(file, path, model.PROGRAM, b"no program")
    with pytest.raises(ValueError, match="cannot read its program"):
        hmsa_jax.load_export(path)
    with pytest.raises(FileNotFoundError):
        hmsa_jax.load_export(tmp_path / "missing")
    monkeypatch.setattr(model.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install flatbuffers"):
        hmsa_jax.load_export(file)


def test_other_weights_are_noticed(file, tmp_path):
    name = f"{model.WEIGHTS}params.semantic_head.output.kernel.npy"
    with zipfile.ZipFile(file) as archive:
        kernel = np.load(io.BytesIO(archive.read(name)))
    other = io.BytesIO()
    np.save(other, kernel[..., ::-1])
    path = rewritten(file, tmp_path / "other", name, other.getvalue())
    with pytest.raises(ValueError, match=r"not computed here .* get another class"):
        hmsa_jax.load_export(path)
    assert hmsa_jax.load_export(path, check=False).deviation is None
    np.save(other := io.BytesIO(), np.full_like(kernel, np.nan))
    rewritten(file, path, name, other.getvalue())
    with pytest.raises(FloatingPointError, match="image 0 is not finite"):
        hmsa_jax.load_export(path)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3)), r"float64 \[4, 4, 3\]; expected uint8"),
        (np.zeros((0, 4, 4, 3), np.uint8), "of one image or more"),
        (np.zeros((65, 64, 3), np.uint8), "65 x 64; expected 2 to 64 rows and 2 to 64 columns"),
        (np.zeros((64, 1, 3), np.uint8), "64 x 1; expected 2"),
    ],
)
def test_what_it_cannot_predict_is_refused(opened, image, message):
    with pytest.raises(ValueError, match=message):
        opened.predict(image)


def test_the_guide_does_what_it_says(file, tmp_path, monkeypatch):
    shutil.copy(file, tmp_path / "network.hmsa")
    monkeypatch.chdir(tmp_path)
    guide, options = str(ROOT / "docs/export.md"), doctest.ELLIPSIS
    result = doctest.testfile(guide, module_relative=False, optionflags=options)
    assert result.attempted > 6
    assert not result.failed


def test_the_guide_to_python_does_what_it_says(directory, file, tmp_path, monkeypatch):
    """With two painted streets for its scores."""
    monkeypatch.setattr("data.street_scenes.data_set.SIZES", {"train": 1, "validation": 2})
    run = shutil.copytree(directory, tmp_path / "runs" / "street_scenes")
    fields = json.loads((run / "config.json").read_text())
    fields |= {"data.cache_dir": str(tmp_path), "mesh.data": 1, "evaluate.images_per_device": 2}
    (run / "config.json").write_text(json.dumps(fields))
    shutil.copy(file, tmp_path / "network.hmsa")
    monkeypatch.chdir(tmp_path)
    guide, options = str(ROOT / "docs/python.md"), doctest.ELLIPSIS
    result = doctest.testfile(guide, module_relative=False, optionflags=options)
    assert result.attempted > 15
    assert not result.failed


def test_images_of_one_size_alone(directory, tmp_path, capsys, monkeypatch):
    out, options = tmp_path / "exact", {"is_exact": True, "protocol": "single", "flip": True}
    do(directory, out, **options)
    said = capsys.readouterr().out  # of what the written file says of a picture, beside the run
    assert "for images of 50 x 64 pixels. Beside the run itself, 0.000% of the pixels" in said
    exact = hmsa_jax.load_export(out, check=False)
    with pytest.raises(ValueError, match="for images of 50 x 64 pixels alone"):
        exact.predict(np.zeros((49, 64, 3), np.uint8))
    out.unlink()
    monkeypatch.setattr(stablehlo, "TOLERANCE_HERE", {"classes": -1, "probability": 1})
    with pytest.raises(ValueError, match=r"exact is not written, since what .* 0\.000% of the pix"):
        do(directory, out, **options)
    assert not list(tmp_path.iterdir())


def test_a_method_without_shares_has_none(directory):
    exported = a_program(directory, "max:0.5,1")
    results = jax.eval_shape(exported, exported.weights, *exported.inputs(2))
    assert sorted(results) == ["classes", "finite", "probability"]
    assert exported.smallest_side == 2  # half of one pixel, rounded to even, is none


def test_what_cannot_be_exported_is_refused_at_once(directory, file, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "assemble", lambda *_, **__: pytest.fail("too late"))
    out = tmp_path / "network.hmsa"

    def refuses(message, error=ValueError, **options):
        with pytest.raises(error, match=message):
            do(options.pop("directory", directory), options.pop("out", out), **options)

    refuses("exists; name another file", out=file)
    refuses("is no directory; make it", FileNotFoundError, out=tmp_path / "no" / "file")
    refuses("model.attention is 'hierarchical'", protocol="explicit:0.5,1")
    refuses("scale 0.01 leaves nothing of an image of 50 x 64", protocol="average:0.01,1")
    refuses("of which `predict` makes tiles", changes={"evaluate.tile_above": 999})
    refuses("there is no format 'tflite'; expected one of", form="tflite")
    refuses("--format=onnx is float32", form="onnx", dtype="bfloat16")
    refuses("is for images of one size alone; add --exact", form="onnx")
    refuses("in the dtype of the run or in --dtype; leave --precision out", precision="int8")
    refuses("there is no precision 'int4'; did you", form="onnx", precision="int4", is_exact=True)
    refuses("int8 needs images .*: --calibration=DIR", form="onnx", precision="int8", is_exact=True)
    refuses("only --precision=int8 needs images; add it", calibration="camvid/train")
    half = {"form": "onnx", "precision": "float16", "is_exact": True}
    refuses("only --precision=int8 needs images", **half, calibration="camvid/train")
    refuses("--step is 9, but .* holds step 3", FileNotFoundError, step=9)
    monkeypatch.setattr(stablehlo.importlib.util, "find_spec", lambda name: None)
    refuses("needs flatbuffers: pip install", form="stablehlo")
    refuses("needs jax2onnx and onnx and onnx_ir and onnxruntime: pip", form="onnx", is_exact=True)
    assert not out.exists()


@pytest.mark.parametrize("size", ["0x4", "64", "64x", "64x64x3", "-1x5"])
def test_a_size_is_rows_and_columns(size, capsys):
    with pytest.raises(SystemExit):
        main.main(["export", "--workdir=RUN", "--out=FILE", f"--size={size}"])
    assert "is no size; expected rows and columns" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("way", "scales"), [(PROTOCOL, 2), ("hierarchical:0.5,1,2@40%", 3)], ids=["whole", "window"]
)
def test_onnxruntime_says_what_the_run_says(directory, tmp_path, way, scales):
    onnx, onnxruntime = map(pytest.importorskip, ("onnx", "onnxruntime"))
    pytest.importorskip("jax2onnx")
    out = tmp_path / "network.onnx"
    do(directory, out, form="onnx", is_exact=True, flip=True, protocol=way)
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    image = RNG.integers(0, 256, (*SIZE, 3), np.uint8)
    names = [output.name for output in session.get_outputs()]
    got = dict(zip(names, session.run(names, {"image": image[None]}), strict=True))
    output = hmsa_jax.load_run(directory).outputs(image, protocol=way, flip=True)
    logits = np.asarray(output.logits[0])
    assert (got["classes"][0] == logits.argmax(-1)).mean() > 0.998
    assert np.abs(got["probability"][0] - 255 * jax.nn.softmax(logits).max(-1)).max() < 1
    assert got["shares"].shape == (1, scales, *SIZE)
    assert got["finite"].tolist() == [True]
    about = json.loads(session.get_modelmeta().custom_metadata_map[onnx_file.METADATA])
    assert about["classes"][0] == "road"
    weights = [(w.data_type, *w.dims, w.raw_data) for w in onnx.load(out).graph.initializer]
    assert len(weights) == len(set(weights))  # though all scales and their mirror images use them


def test_onnx_of_fewer_bits(directory, tmp_path, capsys, monkeypatch):
    """The bytes get fewer, what goes in and out stays, and nothing far from float32 is written."""
    onnx, onnxruntime = map(pytest.importorskip, ("onnx", "onnxruntime"))
    pytest.importorskip("jax2onnx")
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        squares = RNG.integers(0, 256, (8, 9, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        (folder / f"{number}.png").write_bytes(pixels.encode_image(squares))
    convert, converted = onnx_file._convert, []

    def convert_once(program):  # it is what takes the time
        converted.extend(() if converted else (convert(program),))
        return converted[0]

    monkeypatch.setattr(onnx_file, "_convert", convert_once)
    shared = {"form": "onnx", "is_exact": True}
    calibrated = {"precision": "int8", "calibration": str(folder)}
    sessions, operations = {}, {}
    for name, options in (
        ("float32", {"precision": "float32"}),
        ("float16", {"precision": "float16"}),
        ("int8", calibrated),
    ):
        out = tmp_path / f"{name}.onnx"
        # Nothing is trained here, so that classes lie close together.
        wide = dataclasses.replace(
            precision.PRECISIONS.get(name), tolerance={"classes": 0.2, "probability": 0.02}
        )
        with precision.PRECISIONS.holding(name, wide):
            do(directory, out, **shared, **options)
        said = capsys.readouterr().out
        assert ("beside float32" in said) == (name != "float32")
        sessions[name] = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
        operations[name] = [node.op_type for node in onnx.load(out).graph.node]
    image = RNG.integers(0, 256, (1, *SIZE, 3), np.uint8)
    results = {name: session.run(None, {"image": image}) for name, session in sessions.items()}
    for name, most in (("float16", 1), ("int8", 25)):
        for got, expected in zip(results[name], results["float32"], strict=True):
            assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
        metadata = sessions[name].get_modelmeta().custom_metadata_map
        about = json.loads(metadata.pop(onnx_file.METADATA))
        assert (about["dtype"], metadata) == (name, {})
        assert about["beside_float32"]["images"] == (3 if name == "int8" else 1)
        names = [output.name for output in sessions[name].get_outputs()]
        probability = (
            x[names.index("probability")].astype(int) for x in (results[name], results["float32"])
        )
        assert np.abs(np.subtract(*probability)).max() <= most
    assert operations["int8"].count("QLinearConv") == operations["float32"].count("Conv") > 0
    strict = dataclasses.replace(
        precision.PRECISIONS.get("int8"), tolerance={"classes": -1, "probability": 1}
    )
    out = tmp_path / "far.onnx"
    with (
        precision.PRECISIONS.holding("int8", strict),
        pytest.raises(ValueError, match=r"far\.onnx is not written, since in int8 .*; calibrate"),
    ):
        do(directory, out, **shared, **calibrated)
    assert not out.exists()
