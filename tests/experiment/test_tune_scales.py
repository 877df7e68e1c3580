"""The command on a small run, as a user types it, beside `evaluate` of the same subsets."""

import json

import pytest

import main
from configs import street_scenes
from hmsa_jax.experiment import evaluation, experiment, run_directory, tune_scales
from hmsa_jax.training import checkpoint

pytestmark = pytest.mark.usefixtures("short_trunk")


@pytest.fixture(scope="module")
def run(camvid_tree, tmp_path_factory):
    """A run whose weights are as drawn, scored."""
    root = tmp_path_factory.mktemp("runs")
    config = street_scenes.get_config()
    config.model.trunk = "short"
    config.model.ocr_channels, config.model.ocr_key_channels = 16, 8
    config.model.head_channels = 8
    config.data.name, config.data.dir = "camvid", str(camvid_tree)
    config.data.cache_dir = str(root / "data")
    config.evaluate.images_per_device = 1
    config.evaluate.metrics = ()
    config.evaluate.protocols = ("single", "hierarchical:0.5,1")
    assembled = experiment.assemble(config)
    run_directory.claim(root / "run", config, assembled.label_spec)
    with checkpoint.Checkpoints(root / "run", keep=1) as checkpoints:
        checkpoints.save(assembled.initial_state(), 3)
    evaluation.evaluate(config, root / "run")
    return root / "run"


def error_of(capsys, *arguments, status=1):
    with pytest.raises(SystemExit) as end:
        main.main(["tune-scales", *map(str, arguments)])
    assert end.value.code == status
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


def test_every_subset_is_scored_as_evaluate_does(run, capsys):
    main.main(["tune-scales", f"--workdir={run}", "--scales=0.5,1", "--budget=2"])
    (path,) = (run / "scales").glob("*.json")
    assert path.with_suffix(".svg").exists()
    written = json.loads(path.read_text())
    (evaluated,) = (run / "evaluation").glob("*.json")
    expected = json.loads(evaluated.read_text())
    assert written["weights"] == expected["weights"]
    assert written["protocols"].keys() == expected["protocols"].keys()
    for name, scores in expected["protocols"].items():
        assert written["protocols"][name]["mean_iou"] == scores["mean_iou"]
    single, both = written["protocols"].values()
    (difference,) = expected["differences"]
    assert both["beyond"] == {n: difference[n] for n in ("mean_iou", "interval")}
    assert 1.1 * single["flops"] < both["flops"] < 2 * single["flops"]
    assert single["seconds"] > 0 < single["seconds_of_scales"]
    best = max(written["protocols"].values(), key=lambda scores: scores["mean_iou"])
    assert written["costs"]["choice"] == best["protocol"]
    printed = " ".join(capsys.readouterr().out.split())
    assert f"--config.evaluate.protocols={best['protocol']}" in printed
    assert "optimistic" in printed


def test_what_subsets_cannot_share_is_refused(run, capsys):
    image = "--config.evaluate.fusion_resolution=image"
    assert "type --config.evaluate.fusion_resolution=features" in error_of(
        capsys, f"--workdir={run}", image
    )
    config = street_scenes.get_config()
    config.model.attention = "explicit"
    with pytest.raises(ValueError, match=r"model\.attention is 'explicit', but any subset"):
        tune_scales.check_network(config)


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["--scales=0.5,2"], 1, "--scales is '0.5,2'; expected numbers above 0 like 0.5,1,2"),
        (["--scales=0.001,1"], 1, "--scales: scale 0.001 leaves nothing of an image"),
        (["--scales=1,9e4"], 1, "at the scales of --scales would take"),
        (["--budget=0.5"], 2, "'0.5'; expected a number of 1, what scale 1 alone costs, or more"),
        (["--budget=low"], 2, "'low'; expected a number of 1, what scale 1 alone costs, or more"),
        (["--by=joules"], 2, "'joules' is none; expected flops or seconds"),
        (["--by=seconds", "--notimes"], 2, "--by=seconds needs times; leave out --notimes"),
    ],
)
def test_flags_that_cannot_be_meant_are_refused(run, capsys, flags, status, message):
    assert message in error_of(capsys, f"--workdir={run}", *flags, status=status)


def test_more_counts_than_the_memory_holds_are_refused(run, capsys, monkeypatch):
    monkeypatch.setattr("hmsa_jax.experiment.feasibility._machine_memory", lambda: 2 * 10**6)
    scales = ",".join(f"{1 + i / 8:g}" for i in range(11))
    message = error_of(capsys, f"--workdir={run}", f"--scales={scales}")
    assert "the logits of 1 images of 64 x 96 pixels at the 11 scales of --scales" in message
