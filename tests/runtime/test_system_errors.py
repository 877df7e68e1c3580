"""Errors of the operating system, in words."""

import errno
import os
import pathlib

import pytest

from hmsa_jax.runtime import system_errors

CHECKPOINT = (  # of tensorstore, by way of orbax
    'RESOURCE_EXHAUSTED: Error writing "b/0" in OCDBT database at local file'
    ' "/data/run [1]/checkpoints/0/": Failed writing: "/data/run [1]/checkpoints/0/d/27": Failed'
    " to write 408725 bytes to file 4: No space left on device [os_error_code='28']"
)
RECORDS = (  # of array_record, by way of TFDS
    "write() failed: No space left on device; writing /cache/a b/camvid-train.array_record-00000;"
    " at byte 36864; Failed to close chunk_writer"
)


@pytest.mark.parametrize(
    ("error", "path"),
    [
        (ValueError(CHECKPOINT), "/data/run [1]/checkpoints/0/"),
        (RuntimeError(RECORDS), "/cache/a b/camvid-train.array_record-00000"),
    ],
)
def test_what_libraries_say_of_a_full_disk(error, path):
    found = system_errors.of_system(error)
    assert (found.errno, found.filename) == (errno.ENOSPC, path)
    assert system_errors.describe(found).startswith(f"{path}: No space left on device; free")


def test_the_cause_of_an_error_of_ours_counts():
    error = OSError("/data/run/checkpoints: no checkpoint can be written: RESOURCE ...")
    error.__cause__ = ValueError(CHECKPOINT)
    assert system_errors.of_system(error).errno == errno.ENOSPC


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "may read and write"),
        (errno.ENOTDIR, "is a file"),
        (errno.EISDIR, "is a directory"),
        (errno.ENOSPC, "free some space"),
        (errno.EMFILE, "ulimit -n"),
    ],
)
def test_a_line_says_where_what_and_what_to_do(number, words):
    line = system_errors.describe(OSError(number, os.strerror(number), "/a b"))
    assert line.startswith(f"/a b: {os.strerror(number)}; ")
    assert words in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x.png cannot be read (Permission denied); replace the file."),
        KeyError("a"),
        FileNotFoundError("DIR holds no checkpoint"),
        RuntimeError('"/a" is no b'),
    ],
)
def test_other_errors_are_not_the_systems(error):
    assert system_errors.of_system(error) is None


def test_a_write_names_its_file():
    path = pathlib.Path("/dev/full")
    refused = pytest.raises(OSError, match="No space left on device: '/dev/full'")
    with refused, system_errors.named(path), path.open("wb", 0) as file:
        file.write(b"x")
