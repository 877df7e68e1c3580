"""Splits that a command reads, on a small data set."""

import json

import jax
import pytest

from data import registry
from hmsa_jax.distributed import hosts
from hmsa_jax.experiment import splits


@pytest.fixture(scope="module")
def builder(camvid_tree, tmp_path_factory):
    return registry.prepare("camvid", str(camvid_tree), str(tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize("split", ["absent", "train+", "train[:200%]", "train[5:2]", "", "train["])
def test_a_split_that_is_not_there_names_the_field(builder, split):
    with pytest.raises(ValueError, match=r"data\.eval_split"):
        splits.open_split(builder, "data.eval_split", split)


def test_an_empty_part_is_no_split(builder):
    with pytest.raises(ValueError, match=r"data\.eval_split is 'train\[:0\]': .* holds no image"):
        splits.open_split(builder, "data.eval_split", "train[:0]")
    assert len(splits.open_split(builder, "data.eval_split", "train+validation[:1]")) == 7


def test_what_has_no_labels_cannot_be_scored(builder):
    source = splits.open_split(builder, "data.eval_split", "validation")
    splits.check_labels(source, "data.eval_split", "validation")
    blank = [dict(record, train_ids=bytes([255] * 256)) for record in source]
    with pytest.raises(ValueError, match=r"data\.eval_split is 'test', whose 5 images have no"):
        splits.check_labels(blank, "data.eval_split", "test")
    splits.check_labels([*blank, source[0]], "data.eval_split", "test")


def test_processes_compare_images_and_classes(builder, monkeypatch):
    compared = {}
    monkeypatch.setattr(hosts, "check_agreement", lambda _, facts, minutes: compared.update(facts))
    source = splits.open_split(builder, "data.eval_split", "validation")
    label_spec = builder.label_spec(builder.directory)
    splits.check_agreement({"data.eval_split": source}, label_spec, None)
    assert not compared  # one process alone
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    splits.check_agreement({"data.eval_split": source}, label_spec, None)
    assert compared["data.eval_split"] == splits.describe(source)
    assert [json.loads(compared[f"class {i}"])["name"] for i in range(11)] == list(label_spec.names)


def test_a_fingerprint_is_of_number_order_and_content(builder):
    records = list(splits.open_split(builder, "data.train_split", "train"))
    assert splits.describe(records).startswith("6 images, fingerprint ")
    others = [
        records[:-1],
        records[::-1],
        [*records[:-1], records[-1] | {"id": "renamed"}],
        [records[0] | {"image": records[0]["image"] + b"\0"}, *records[1:]],
        [records[0] | {"label": records[1]["label"]}, *records[1:]],
    ]
    described = [splits.describe(source) for source in (records, list(records), *others)]
    assert len(set(described)) == 1 + len(others)
