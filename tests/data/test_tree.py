"""The files below a folder: links, loops, and what is left out and why."""

import os
import socket
from pathlib import Path

import pytest

from data import tree
from data.files import File


def named(folder):
    found, left_out = tree.named_files(folder, (".png",))
    reasons = {str(item.file.path.relative_to(folder)): item.reason for item in left_out}
    return [name for name, _ in found], reasons


def test_links_to_folders_and_files_are_followed(tmp_path):
    far = tmp_path / "far"
    (far / "deep").mkdir(parents=True)
    (far / "deep/b.png").touch()
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.png").symlink_to(far / "deep/b.png")
    (folder / "linked").symlink_to(far)
    (folder / "twice").symlink_to(far)
    assert named(folder) == (["a", "linked/deep/b", "twice/deep/b"], {})


def test_a_loop_is_left_out(tmp_path):
    folder = tmp_path / "images/train"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/a.png").touch()
    (folder / "deep/back").symlink_to(folder)
    (folder / "self").symlink_to(folder / "self")
    (folder / "above").symlink_to(tmp_path)
    names, reasons = named(folder)
    assert names == ["deep/a"]
    assert reasons == {"deep/back": tree.LOOP, "above": tree.LOOP, "self": tree.OTHER_NAME}


def test_what_is_left_out_and_why(tmp_path, monkeypatch):
    for name in ("a.png", "B.PNG", "c.tif", "d.jfif", ".e.png", "f.webp"):
        (tmp_path / name).touch()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/g.png").touch()
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "fifo.png")
    with socket.socket(socket.AF_UNIX) as sock:
        monkeypatch.chdir(tmp_path)  # the path of a socket is short
        sock.bind("socket.png")
    names, reasons = named(tmp_path)
    assert names == ["B", "a"]
    assert reasons == {
        ".e.png": tree.HIDDEN,
        ".git": tree.HIDDEN,
        "c.tif": tree.OTHER_NAME,
        "d.jfif": tree.OTHER_NAME,
        "f.webp": tree.OTHER_NAME,
        "fifo.png": tree.SPECIAL,
        "folder.png": tree.EMPTY,
        "socket.png": tree.SPECIAL,
    }
    text = tree.describe(tree.named_files(tmp_path, (".png",))[1])
    assert text.startswith("2 left out, hidden: ")
    assert "3 left out, of another suffix or name: " in text


def test_a_link_that_leads_nowhere_is_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "nowhere.png")
    ((_, file),), left_out = tree.named_files(tmp_path, (".png",))
    assert not left_out
    with pytest.raises(ValueError, match=r"a\.png cannot be read"):
        file.read()


def test_a_folder_that_may_not_be_read_is_no_empty_folder(tmp_path, monkeypatch):
    (tmp_path / "shut").mkdir()
    scandir = os.scandir

    def guarded(path):  # the tests may run as root, who may read everything
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(PermissionError, match=r"shut: this folder may not be read"):
        tree.named_files(tmp_path, (".png",))


def test_names_are_shown_on_one_line_and_can_be_printed():
    shown = str(File(Path(os.fsdecode(b"a/caf\xe9\n\x1b[31m.png"))))
    assert shown == r"a/caf\udce9\n\x1b[31m.png"
    assert shown.encode()
    assert str(File(Path("straße/क्‍ष 東京.png"))) == "straße/क्‍ष 東京.png"


def test_an_empty_folder_with_the_name_of_a_file_is_told(tmp_path):
    (tmp_path / "a.png").mkdir()
    (tmp_path / "b.png" / "c").mkdir(parents=True)
    (tmp_path / "d").mkdir()
    (tmp_path / "e.d").mkdir()
    (tmp_path / "e.d" / "f.png").touch()
    named, left_out = tree.named_files(tmp_path, (".png",))
    assert [name for name, _ in named] == ["e.d/f"]
    assert [(item.file.path.name, item.reason) for item in left_out] == [("a.png", tree.EMPTY)]
