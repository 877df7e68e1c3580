import pytest

from hmsa_jax.weights.file_type import recognize


@pytest.mark.parametrize(
    ("head", "sort"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n", "a PNG image"),
        ("<html>Zugriff später".encode(), "text, such as the page that a failed download leaves"),
        (b"PK\3\4", None),
        (b"\x80\2\x8a", None),
    ],
)
def test_what_is_recognize_is_told(head, sort):
    assert recognize(head) == sort
