"""A directory belongs to one config and one list of classes."""

import dataclasses
import json
import os

import pytest

from configs import base
from data.label_spec import LabelSpec
from hmsa_jax.config import schema
from hmsa_jax.config.fields import BEFORE
from hmsa_jax.experiment import run_directory

LABEL_SPEC = LabelSpec.of_raw_values(
    ("road", "sky", "pole"), ((1, 2, 3), (4, 5, 6), (7, 8, 9)), (7, 23, 17), (0, 255)
)


def files(directory):
    return sorted(path.name for path in directory.iterdir())


def test_it_belongs_to_one_config(tmp_path):
    workdir = tmp_path / "new" / "run"
    config = base.get_config()
    run_directory.check(workdir, config, LABEL_SPEC)
    assert not workdir.parent.exists()  # only the claim writes
    run_directory.claim(workdir, config, LABEL_SPEC)
    assert files(workdir) == ["classes.json", "config.json"]
    config.log_every += 1
    run_directory.check(workdir, config, LABEL_SPEC)  # no part in the result
    config.optimizer.learning_rate = 0.5
    for refuse in (run_directory.check, run_directory.claim):
        with pytest.raises(ValueError, match=r"optimizer\.learning_rate: 0\.01 there, 0\.5 here"):
            refuse(workdir, config, LABEL_SPEC)


def test_directories_of_data_mean_the_same_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = base.get_config()
    config.data.dir, config.data.cache_dir, config.data.pool.dir = "my data", "gs://b/c", "~/pool"
    run_directory.claim(tmp_path / "run", config, LABEL_SPEC)
    fields = json.loads((tmp_path / "run" / "config.json").read_text())
    assert fields["data.dir"] == str(tmp_path / "my data")
    assert fields["data.cache_dir"] == "gs://b/c"
    assert fields["data.pool.dir"] == "~/pool"


def test_other_classes_are_listed_one_by_one(tmp_path):
    run_directory.claim(tmp_path, base.get_config(), LABEL_SPEC)
    others = dataclasses.replace(LABEL_SPEC, names=("road", "pole", "sky"))
    with pytest.raises(ValueError, match="has other classes") as error:
        run_directory.check(tmp_path, base.get_config(), others)
    assert str(error.value).splitlines()[1:] == [
        "  class 1 is 'sky' there and 'pole' here",
        "  class 2 is 'pole' there and 'sky' here",
    ]
    fewer = LabelSpec.of_train_ids(LABEL_SPEC.names[:2], LABEL_SPEC.palette[:2])
    with pytest.raises(ValueError, match="class 2 is 'pole' there and missing here"):
        run_directory.check(tmp_path, base.get_config(), fewer)


def test_other_labels_of_the_same_classes_are_told(tmp_path, capsys):
    """Another copy of the data may number its labels otherwise: the score is the same."""
    run_directory.claim(tmp_path, base.get_config(), LABEL_SPEC)
    palette = ((1, 2, 3), (4, 5, 0), (7, 8, 9))
    other = LabelSpec.of_raw_values(LABEL_SPEC.names, palette, (7, 23, 18), (255,))
    run_directory.check(tmp_path, base.get_config(), LABEL_SPEC)
    assert not capsys.readouterr().out
    run_directory.check(tmp_path, base.get_config(), other)
    assert [line.strip() for line in capsys.readouterr().out.splitlines()[1:]] == [
        "class 'sky': colour (4, 5, 6) there and (4, 5, 0) here",
        "class 'pole': value 17 there and 18 here",
        "ignored values: [0, 255] there and [255] here",
    ]


def test_a_run_that_does_not_say_its_classes_gets_them(tmp_path, capsys):
    run_directory.claim(tmp_path, base.get_config(), LABEL_SPEC)
    (tmp_path / "classes.json").unlink()
    run_directory.check(tmp_path, base.get_config(), LABEL_SPEC)
    assert run_directory.classes_of(tmp_path) is None
    run_directory.claim(tmp_path, base.get_config(), LABEL_SPEC)
    assert "did not say which classes it has" in capsys.readouterr().out
    assert run_directory.classes_of(tmp_path) == LABEL_SPEC


def test_promised_weights_are_not_forgotten(tmp_path):
    run_directory.check_promise(tmp_path)
    run_directory.claim(tmp_path, base.get_config(), LABEL_SPEC, weights_of=tmp_path / "w48.pth")
    with pytest.raises(ValueError, match=r"weights of .*w48\.pth, but holds no whole checkpoint"):
        run_directory.check_promise(tmp_path)


@pytest.mark.parametrize("content", ["[]", "{", "[" * 100_000])
def test_a_damaged_config_is_named(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        run_directory.check(tmp_path, base.get_config(), LABEL_SPEC)


def test_a_value_that_no_field_has_is_named_with_its_file(tmp_path):
    run = write_run(tmp_path / "run", steps="x")
    with pytest.raises(ValueError, match=r"run/config\.json is damaged \(steps is 'x'; expected"):
        run_directory.read_config(run)


def test_a_file_is_no_directory(tmp_path):
    path = tmp_path / "notes.txt"
    path.touch()
    for workdir in (path, path / "run"):
        with pytest.raises(ValueError, match=r"notes\.txt is no directory"):
            run_directory.check(workdir, base.get_config(), LABEL_SPEC)


def test_fields_that_a_config_lacks(tmp_path):
    run_directory.claim(tmp_path, base.get_config(), LABEL_SPEC)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in content.items() if k != "model.dropout"}))
    with pytest.raises(ValueError, match=r"model\.dropout: missing there, 0\.05 here"):
        run_directory.check(tmp_path, base.get_config(), LABEL_SPEC)


def test_a_run_older_than_every_field_that_is_not_of_all_runs(tmp_path):
    config = base.get_config()
    config.update_from_flattened_dict(BEFORE)
    run_directory.claim(tmp_path, config, LABEL_SPEC)
    path = tmp_path / "config.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({name: stored[name] for name in stored.keys() - BEFORE.keys()}))
    run_directory.check(tmp_path, config, LABEL_SPEC)
    assert schema.flatten(run_directory.read_config(tmp_path)) == schema.flatten(config)


def test_a_run_older_than_a_field_did_what_was_done_before(tmp_path):
    config = base.get_config()
    run_directory.claim(tmp_path, config, LABEL_SPEC)
    path = tmp_path / "config.json"
    older = json.loads(path.read_text())
    del older["data.resampling"]
    path.write_text(json.dumps(older))
    with pytest.raises(ValueError, match=r"data\.resampling: 'bilinear' there, 'bicubic' here"):
        run_directory.check(tmp_path, config, LABEL_SPEC)
    config.data.resampling = "bilinear"
    run_directory.check(tmp_path, config, LABEL_SPEC)


def test_a_run_that_may_only_be_read_is_one(tmp_path, monkeypatch):
    """Its weights can be exported, or label images elsewhere."""
    run_directory.claim(tmp_path, base.get_config(), LABEL_SPEC)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the tests may run as root
    run_directory.check(tmp_path, base.get_config(), LABEL_SPEC)
    run_directory.claim(tmp_path, base.get_config(), LABEL_SPEC)
    with pytest.raises(ValueError, match="no directory that may be written to"):
        run_directory.check(tmp_path / "new", base.get_config(), LABEL_SPEC)


def write_run(workdir, **changes):
    config = base.get_config()
    config.data.dir = "there"
    config.evaluate.flip = False
    fields = schema.flatten(config) | {name.replace("__", "."): v for name, v in changes.items()}
    workdir.mkdir()
    (workdir / "config.json").write_text(json.dumps(fields))
    return workdir


def test_a_run_knows_its_config(tmp_path):
    run = write_run(tmp_path / "run", steps=7)
    config = run_directory.resolve(run, None, {})
    assert (config.steps, config.data.dir, config.evaluate.flip) == (7, "there", False)
    assert config.data.crop_size == (1024, 2048)
    assert config.evaluate.protocols == base.get_config().evaluate.protocols
    changed = {"data.dir": "here", "evaluate.protocols": ("single",)}
    config = run_directory.resolve(run, None, changed)
    assert (config.data.dir, config.evaluate.protocols) == ("here", ("single",))
    run.rename(tmp_path / "moved")
    assert run_directory.resolve(tmp_path / "moved", None, {}).steps == 7


def test_what_may_not_change_is_refused_with_both_values(tmp_path):
    run = write_run(tmp_path / "run")
    with pytest.raises(ValueError, match="another config") as refused:
        run_directory.resolve(run, None, {"seed": 3, "model.trunk": "w18", "data.dir": "here"})
    assert str(refused.value).splitlines()[1:] == [
        "  seed: 0 there, 3 here",
        "  model.trunk: 'w48' there, 'w18' here",
    ]
    assert run_directory.resolve(run, None, {"seed": 0}).seed == 0


def test_a_file_beside_a_run_is_compared(tmp_path, capsys):
    run = write_run(tmp_path / "run", checkpoint__every=200)
    config = run_directory.resolve(run, base.get_config(), {})
    assert (config.checkpoint.every, config.data.dir) == (
        200,
        "there",
    )  # the file leaves them alone
    assert capsys.readouterr().out == ""
    file = base.get_config()
    file.checkpoint.every = 100
    config = run_directory.resolve(run, file, {"evaluate.flip": True})
    assert (config.checkpoint.every, config.evaluate.flip) == (100, True)
    told = capsys.readouterr().out
    assert "checkpoint.every: 100, not 200" in told
    assert "flip" not in told
    file.seed = 3
    with pytest.raises(ValueError, match="seed: 0 there, 3 here"):
        run_directory.resolve(run, file, {})


def test_a_file_that_is_no_config_is_refused_beside_a_run_too(tmp_path):
    run = write_run(tmp_path / "run")
    file = base.get_config()
    file.data.bathc_size = 3
    with pytest.raises(ValueError, match=r"data\.bathc_size: no such field; did you mean"):
        run_directory.resolve(run, file, {})
    recipe = base.get_config()
    recipe.steps = 1000 // recipe.data.get_ref("batch_size")
    with pytest.raises(ValueError, match=r"data\.batch_size is 0"):
        run_directory.resolve(run, recipe, {"data.batch_size": 0})


def test_a_run_of_an_earlier_version_is_read(tmp_path):
    run = write_run(tmp_path / "run")
    fields = json.loads((run / "config.json").read_text())
    for name in ("data.resampling", "objective.mean_over", "evaluate.canvases"):
        del fields[name]
    fields["evaluate.size_multiple"] = 128  # had no other purpose
    (run / "config.json").write_text(json.dumps(fields))
    config = run_directory.resolve(run, None, {})
    assert (config.data.resampling, config.objective.mean_over) == ("bilinear", "pixels")
    assert config.evaluate.canvases == 4
    run_directory.claim(run, config, LABEL_SPEC)  # as evaluate does
    (run / "config.json").write_text(json.dumps(fields | {"model.fold_columns": True}))
    with pytest.raises(ValueError, match=r"does not know: model\.fold_columns"):
        run_directory.resolve(run, None, {})
