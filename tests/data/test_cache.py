"""Built data sets: opened by name and digest, here and in a bucket, when their source is gone."""

import json
import pathlib
import pickle
import shutil

import pytest

from data import built, cache, registry
from hmsa_jax.input import decoding
from hmsa_jax.runtime import storage
from hmsa_jax.runtime.paths import any_path
from tests.data.test_folder import CLASSES, write_classes, write_pair


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path / "mine")


def write_tree(root, names="ab"):
    write_classes(root, CLASSES)
    for name in names:
        write_pair(root, "train", name)
    write_pair(root, "validation", "c")
    return root


@pytest.fixture(params=["local", "bucket"])
def root(request, tmp_path):
    """A cache of either kind."""
    if request.param == "local":
        return str(tmp_path / "cache")
    return f"{request.getfixturevalue('new_bucket')}/{tmp_path.name}"


def records(builder):
    return [
        record
        for split in builder.info.splits
        for record in pickle.loads(pickle.dumps(registry.open_source(builder, split)))
    ]


def test_a_built_data_set_needs_no_source(tree, root):
    builder = registry.prepare("folder", str(tree), root)
    expected, spec = records(builder), registry.get("folder", str(tree)).label_spec
    assert len(expected) == 3
    shutil.rmtree(tree)
    registry.check_there("folder", None, root)
    opened = registry.prepare("folder", None, root)
    assert records(opened) == expected
    assert opened.found == builder.found
    assert opened.found.source == str(tree)
    assert opened.label_spec(opened.directory) == spec
    digest = opened.found.digest
    assert registry.get("folder", None, root, digest[:5]).label_spec == spec
    with pytest.raises(ValueError, match=r"holds none with data.built=zz: pass --config.data.dir"):
        registry.prepare("folder", None, root, "zz")
    with pytest.raises(FileNotFoundError, match=r"data\.dir is .*mine', expected an existing"):
        registry.prepare("folder", str(tree), root)


def test_of_several_the_digest_chooses(tmp_path, root):
    first = registry.prepare("folder", str(write_tree(tmp_path / "first")), root)
    second = registry.prepare("folder", str(write_tree(tmp_path / "second", "abd")), root)
    with pytest.raises(ValueError, match="holds several data sets folder; name") as error:
        registry.prepare("folder", "", root)
    for each in (first, second):
        assert f"{each.found.digest}: from {each.found.source}, in " in str(error.value)
        assert records(registry.prepare("folder", "", root, each.found.digest)) == records(each)


def test_the_digest_is_of_what_is_read_and_not_of_where_it_lay(tmp_path, tree):
    def digest(source):
        return registry.prepare("folder", str(source), str(tmp_path / "cache")).found.digest

    first = digest(tree)
    assert digest(shutil.copytree(tree, tmp_path / "copy")) == first
    write_pair(tmp_path / "copy", "train", "b", size=(20, 30))
    second = digest(tmp_path / "copy")
    names = [{**entry, "name": f"{entry['name']}s"} for entry in CLASSES["classes"]]
    write_classes(tree, CLASSES | {"classes": names})
    assert len({first, second, digest(tree)}) == 3


def test_another_digest_than_that_of_the_source_is_refused(tree, root):
    digest = registry.prepare("folder", str(tree), root).found.digest
    registry.prepare("folder", str(tree), root, digest)
    with pytest.raises(ValueError, match=f"data.built is 00, but folder .* {digest}"):
        registry.prepare("folder", str(tree), root, "00")


@pytest.mark.parametrize("damage", ["cut", "no findings", "no classes", "of an earlier version"])
def test_what_is_not_whole_is_not_opened_by_name(tree, root, damage):
    builder = registry.prepare("folder", str(tree), root)
    data_dir = any_path(str(builder.data_dir), "data.cache_dir")
    (shard,) = (name for name in storage.names(data_dir) if "train" in name)
    if damage == "cut":
        cut = storage.read(data_dir / shard)[:-100]
        (data_dir / shard).write_bytes(cut)
    elif damage == "no findings":  # as while it is uploaded
        (data_dir / built.NAME).unlink()
    elif damage == "no classes":
        (data_dir / "classes.json").unlink()
    else:
        found = json.loads(storage.read(data_dir / built.NAME))
        found.pop("digest")
        found.pop("source")
        (data_dir / built.NAME).write_text(json.dumps(found))
    with pytest.raises(ValueError, match="holds none: pass"):
        registry.prepare("folder", None, root)
    again = registry.prepare("folder", str(tree), root)
    assert len(records(again)) == 3
    assert (again.found == builder.found) == (damage != "of an earlier version")


def test_a_built_data_set_in_a_bucket_is_not_locked(new_bucket, tree, tmp_path, monkeypatch):
    root = f"{new_bucket}/{tmp_path.name}"
    builder = registry.prepare("folder", str(tree), root)
    monkeypatch.setattr(cache.locks, "waiting_for", None)
    assert registry.prepare("folder", str(tree), root).data_dir == builder.data_dir


def test_heads_tell_ids_and_sizes_without_a_record(tree, root, monkeypatch):
    builder = registry.prepare("folder", str(tree), root)
    for split in ("train", "train+validation", "validation[:1]+train[1:]", "train[50%:]"):
        source = registry.open_source(builder, split)
        expected = [(record["id"], decoding.image_size(record)) for record in source]
        monkeypatch.setattr(registry.EncodedSource, "__getitem__", None)
        heads = [source.head(i) for i in range(len(source))]
        monkeypatch.undo()
        assert [(head["id"], decoding.image_size(head)) for head in heads] == expected


def test_a_data_set_of_an_earlier_version_has_no_heads(tree, tmp_path):
    builder = registry.prepare("folder", str(tree), str(tmp_path / "cache"))
    (pathlib.Path(builder.data_dir) / "heads.json").unlink()
    source = registry.open_source(builder, "train")
    assert source.head(0) == source[0]
