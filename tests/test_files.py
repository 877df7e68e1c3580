import pytest

from hmsa_jax import files


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "result.json"
    for text in ("first", "second"):
        files.write_atomically(path, text)
        assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_is_locked_once(tmp_path):
    refused = pytest.raises(ValueError, match="in use by another process")
    with files.locked(tmp_path), refused, files.locked(tmp_path):
        pass
    with files.locked(tmp_path):  # free again
        pass


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"old")
    failure = pytest.raises(UnicodeEncodeError)
    with failure, files.atomic_path(path) as partial:
        partial.write_text("ne" + "\N{WHITE SMILING FACE}" * 9999, "ascii")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
