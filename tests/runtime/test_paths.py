"""Paths that users name."""

import pathlib

import pytest

from hmsa_jax.runtime import paths


@pytest.mark.parametrize(
    "text", ["runs/a", "/a b/[c]*", "gs:/a", "a:b//c", "50%/**/?@2", "über\n'\"", "1://a"]
)
def test_a_path_stays_as_it_is(text):
    assert paths.local_path(text, "--workdir") == pathlib.Path(text)


def test_home_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert paths.local_path("~/a", "data.dir") == pathlib.Path("/home/someone/a")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("gs://bucket/run", "only a path of this machine works here .gs:// works for --workdir"),
        ("s3://bucket", "s3:// is not supported"),
        ("file:///tmp/a", "file:// is not supported; name a path of this machine"),
        ("a\0b", "NUL"),
        ("a\udcffb", "UTF-8"),
        ("~no_such_user_here/a", "home directory"),
        ("", "is empty"),
    ],
)
def test_what_is_no_path_here_is_refused_by_name(text, why):
    with pytest.raises(ValueError, match=f"^data.dir .*{why}") as error:
        paths.local_path(text, "data.dir")
    assert "\n" not in str(error.value)
