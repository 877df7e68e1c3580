"""What image decoders say on the standard error stream, past Python.

libjpeg and libpng report damage there, and OpenCV returns the picture all the same.
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

# How libjpeg's reports of damage begin; its others are of what does no harm.
_DAMAGE = ("Corrupt JPEG data", "Premature end of JPEG", "Inconsistent progression")
# Those of libpng, and the log of OpenCV.
_OTHERS = ("libpng ", "[ WARN:", "[ERROR:")


class Messages:
    """What has been said so far.

    Args:
      file: where it is kept.
    """

    def __init__(self, file: BinaryIO):
        self._file = file

    def size(self) -> int:
        """Bytes that have been said, by whatever thread."""
        return os.fstat(self._file.fileno()).st_size

    def damage_since(self, size: int) -> str:
        """The damage reported since there were `size` bytes, each kind once; empty if none."""
        found = (line for line in self._lines(size) if line.startswith(_DAMAGE))
        return "; ".join(dict.fromkeys(found))

    def others(self) -> list[str]:
        """The lines that are of no decoder."""
        return [line for line in self._lines(0) if not line.startswith((*_DAMAGE, *_OTHERS))]

    def _lines(self, start: int) -> list[str]:
        end = self.size()
        if end == start:
            return []
        text = os.pread(self._file.fileno(), end - start, start).decode(errors="replace")
        return text.splitlines()


@contextlib.contextmanager
def heard() -> Iterator[Messages]:
    """Keeps what the process writes to descriptor 2 meanwhile; `sys.stderr` goes where it went."""
    with tempfile.TemporaryFile() as file, contextlib.ExitStack() as stack:
        messages = Messages(file)
        try:
            before = os.dup(2)
        except OSError:  # the process has no standard error stream
            yield messages
            return
        stack.callback(os.close, before)
        with open(before, "w", buffering=1, closefd=False, errors="backslashreplace") as python:
            if _is_descriptor_2(sys.stderr):
                stack.enter_context(contextlib.redirect_stderr(python))
            os.dup2(file.fileno(), 2)
            try:
                yield messages
            finally:
                os.dup2(before, 2)
                for line in messages.others():
                    print(line, file=python)


def _is_descriptor_2(stream: Any) -> bool:
    try:
        return stream.fileno() == 2
    except (AttributeError, OSError, ValueError):  # none, or one in memory
        return False
