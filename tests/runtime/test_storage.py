"""Paths in a bucket beside those of this machine: both do the same."""

import importlib.util
import pathlib

import pytest

from hmsa_jax.runtime import files, storage, work_record
from hmsa_jax.runtime.paths import any_path
from hmsa_jax.runtime.work_record import WorkRecord
from tests import bucket

FILES = {"a.txt": b"1", "b~": b"22", "deep/er/[x] é#.png": b"333", "deep/.hidden": b""}


@pytest.fixture(params=["local", "bucket"])
def place(request, tmp_path):
    """A directory that is missing, of either kind."""
    if request.param == "local":
        return tmp_path / "place"
    address = request.getfixturevalue("new_bucket")
    return any_path(f"{address}/{tmp_path.name}/place", "--out")


@pytest.fixture
def remote(new_bucket, tmp_path):
    return any_path(f"{new_bucket}/{tmp_path.name}/remote", "--out")


def fill(place):
    for name, data in FILES.items():
        files.store(place / name, data)


def content(place):
    return {name: storage.read(place / name) for name in storage.files_below(place)}


def test_what_is_written_is_listed_and_read(place):
    assert storage.names(place) == storage.files_below(place) == []
    storage.make_directory(place)
    fill(place)
    assert content(place) == FILES
    assert storage.names(place) == ["a.txt", "b~", "deep"]
    assert storage.names(place, "b") == ["b~"]
    assert storage.names(place / "none") == []
    files.store(place / "same" / "same", b"")
    assert storage.names(place / "same") == ["same"]
    storage.remove_tree(place / "same")
    assert storage.sizes(place) == {"a.txt": 1, "b~": 2}
    assert (place / "deep").is_dir()
    assert not (place / "deep").is_file()
    assert (place / "a.txt").is_file()
    assert abs(storage.modified_ns(place / "a.txt") - storage.modified_ns(place / "b~")) < 60e9
    assert storage.absolute(place) == place
    storage.remove_tree(place / "deep")
    assert list(content(place)) == ["a.txt", "b~"]
    storage.remove_tree(place / "deep")


def test_a_directory_moves(place):
    fill(place / "old")
    storage.move_tree(place / "old", place / "new", last="a.txt")
    assert content(place / "new") == FILES
    assert storage.names(place) == ["new"]


@pytest.mark.parametrize("requests", range(8))
def test_a_move_that_ends_early_leaves_one_that_is_whole(remote, requests, monkeypatch):
    """`a.txt` says which."""
    fill(remote / "old")
    system, left = storage._file_system(), [requests]

    def counted(function):
        def call(*arguments):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return function(*arguments)

        return call

    for name in ("cp_file", "rm_file"):
        monkeypatch.setattr(system, name, counted(getattr(system, name)))
    with pytest.raises(KeyboardInterrupt):
        storage.move_tree(remote / "old", remote / "new", last="a.txt")
    whole = [p for p in (remote / "old", remote / "new") if (p / "a.txt").exists()]
    assert whole
    assert all(content(p) == FILES for p in whole)


def test_files_that_another_process_writes_are_seen(remote):
    assert storage.names(remote) == []
    assert not (remote / "a").exists()
    bucket.client().pipe_file(f"{remote}/a", b"1")
    assert storage.names(remote) == ["a"]
    assert (remote / "a").exists()
    bucket.client().rm_file(f"{remote}/a")
    assert storage.names(remote) == []
    assert not (remote / "a").exists()


def test_an_empty_folder_of_a_console_is_no_file(remote):
    for name in ("", "empty/", "a"):
        bucket.client().pipe_file(f"{remote}/{name}", b"")
    assert storage.names(remote) == ["a", "empty"]
    assert storage.files_below(remote) == ["a"]
    assert storage.sizes(remote) == {"a": 0}


def test_the_root_of_a_bucket(storage_server):
    root = any_path(bucket.make("root-of-it"), "--images")
    assert storage.files_below(root) == storage.names(root) == []
    for name in ("a/b.png", "c"):
        files.store(root / name, b"")
    assert storage.files_below(root) == ["a/b.png", "c"]
    assert storage.names(root) == ["a", "c"]
    assert list(storage.versions(root, "c")) == ["c"]


def test_of_those_who_write_a_new_object_one_does(remote):
    assert storage.put_new(remote / "a", b"first")
    assert not storage.put_new(remote / "a", b"second")
    assert storage.put_new(remote / "a", b"first")  # its answer was lost, and it tried again
    assert storage.read(remote / "a") == b"first"


def test_a_file_is_replaced_as_a_whole(remote):
    path = remote / "weights.zip"
    files.write_atomically(path, "old")
    failure = pytest.raises(UnicodeEncodeError)
    with failure, files.atomic_path(path) as partial:
        partial.write_text("ne" + "\N{WHITE SMILING FACE}" * 9999, "ascii")
    assert storage.read(path) == b"old"
    with files.atomic_path(path) as partial:
        partial.write_text("new")
    assert content(remote) == {"weights.zip": b"new"}


def test_lines_are_written_now_and_then_and_on_demand(remote, monkeypatch):
    path = remote / "lines.jsonl"
    monkeypatch.setattr(files, "_SECONDS_BETWEEN_WRITES", 3600)
    with files.lines(path) as lines:
        lines.append("first")
        assert not path.exists()
        lines.flush()
        assert path.read_text() == "first\n"
        monkeypatch.setattr(lines, "_due", 0)
        lines.append("zweite é")
        assert path.read_text() == "first\nzweite é\n"
        lines.append("third")
    with files.lines(path) as lines:
        lines.append("fourth")
    assert path.read_text() == "first\nzweite é\nthird\nfourth\n"


def test_a_record_of_work_goes_on(remote, quick_leases):
    for items in (["a", "b"], ["c"]):
        with WorkRecord(remote, "paint", "painted", {"colour": "red"}) as record:
            for item in items:
                record.add({"id": item})
            with (
                pytest.raises(ValueError, match=r"in use by process \d+ on "),
                WorkRecord(remote, "paint", "painted", {"colour": "red"}),
            ):
                pass
    with WorkRecord(remote, "paint", "painted", {"colour": "red"}, process_index=1) as record:
        record.add({"id": "d"})
        assert [line["id"] for line in record.lines(dict)] == ["a", "b", "c"]
    assert [line["id"] for line in record.lines(dict)] == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="colour: 'red' there, 'blue' here"):
        work_record.check(remote, "paint", {"colour": "blue"})
    with pytest.raises(ValueError, match="holds other files"):
        work_record.check(remote, "draw", {})


def test_a_place_is_tried_before_the_work(remote, monkeypatch):
    storage.check_place(remote, "--workdir")
    assert storage.files_below(remote) == []
    monkeypatch.setattr(storage._file_system(), "rm_file", lambda path: None)
    storage.check_place(remote, "--out")  # as another process does, that is not done yet
    assert len(storage.files_below(remote)) == 1
    work_record.check(remote, "paint", {})
    with pytest.raises(ValueError, match=r"^--workdir is gs://none-such/run, .* no such bucket"):
        storage.check_place(any_path("gs://none-such/run", "--workdir"), "--workdir")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("gs://", "'' is no name of a bucket; expected gs://BUCKET/PATH"),
        ("gs://A B/run", "'A B' is no name of a bucket"),
        ("gs://bucket/a/../b", "'..' means something else"),
        ("gs://bucket/./b", "'.' means"),
        ("gs://bucket/a#1", "'#' means"),
        ("gs://bucket/a[1]", "'\\[' means"),
        ("gs://bucket/*", "'\\*' means"),
        ("gs://bucket/a\nb", "means something else"),
        ("gs://bucket/\udcff", "means something else"),
        ("az://bucket/a", "az:// is not supported; name a path of this machine or gs://"),
    ],
)
def test_what_is_no_path_in_a_bucket_is_refused(text, why):
    with pytest.raises(ValueError, match=f"^--out is .*{why}") as error:
        any_path(text, "--out")
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("storage_server")
def test_a_path_in_a_bucket_stays_as_it_is():
    for text in ("gs://bucket", "gs://bucket/a..b/.c/x y", "gs://b.c-d_e/100%/~é@{0},=:"):
        path = any_path(text, "--out")
        assert str(path) == text
        assert storage.is_remote(path)
        assert not storage.is_remote(pathlib.Path(text))
    assert str(any_path("gs://bucket/**/a[0-9]?.png", "--images", is_pattern=True)).endswith(
        "?.png"
    )


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"gs:// needs gcsfs; pip install -e \.\[gcs\]"):
        any_path("gs://bucket/run", "--workdir")


def test_errors_of_the_libraries_are_a_line():
    gcsfs = pytest.importorskip("gcsfs")
    error = gcsfs.retry.HttpError({"code": 401, "message": "Anonymous caller\nhas no access"})
    assert storage.describe(error) == (
        "HttpError: Anonymous caller has no access, 401; docs/storage.md says what gs:// takes"
    )
    assert storage.describe(OSError("Forbidden: b/x")).startswith("OSError: Forbidden: b/x; docs")
    assert storage.describe(OSError("another")) is None
