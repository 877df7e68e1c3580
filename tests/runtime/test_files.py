import pytest

from hmsa_jax.runtime import files


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "result.json"
    for text in ("first", "second"):
        files.write_atomically(path, text)
        assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"old")
    failure = pytest.raises(UnicodeEncodeError)
    with failure, files.atomic_path(path) as partial:
        partial.write_text("ne" + "\N{WHITE SMILING FACE}" * 9999, "ascii")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_whole_files_and_is_told_with_their_name(tmp_path, full_disk):
    path = tmp_path / "result.json"
    files.write_atomically(path, "old")
    with full_disk(10), pytest.raises(OSError, match=str(path)):
        files.write_atomically(path, "new" * 10)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_whole_lines(tmp_path, full_disk):
    path = tmp_path / "lines"
    with files.Lines(path) as lines:
        lines.append("first")
        with full_disk(10), pytest.raises(OSError, match=str(path)):
            lines.append("second")  # of which four bytes fit
        assert path.read_text() == "first\n"
        lines.append("third")
    assert path.read_text() == "first\nthird\n"


def test_an_error_names_the_file_that_was_meant(tmp_path):
    path = tmp_path / "missing" / "result.json"
    with pytest.raises(FileNotFoundError) as error:
        files.write_atomically(path, "text")
    assert error.value.filename == str(path)


def test_the_longest_name_that_the_system_takes(tmp_path):
    path = tmp_path / ("x" * 255)
    files.write_atomically(path, "text")
    assert list(tmp_path.iterdir()) == [path]
