"""TensorBoard: event files in the run's directory."""

import contextlib
import pathlib
import secrets
import tempfile
import time
from collections.abc import Mapping

import numpy as np
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from data.pixels import encode_image
from hmsa_jax.runtime import storage
from hmsa_jax.runtime.system_errors import named
from hmsa_jax.training.boards.board import Kind, Start

_RGB = 3  # channels of a picture
_SECONDS_BETWEEN_FLUSHES = 30


class TensorBoard:
    """Events, written at once: a thread that fails would be waited for for ever.

    Those of a run in a bucket are written here and uploaded whenever they are flushed.

    Args:
      directory: of the event files, made if it is missing.
      first_step: of what follows; what was written for it and later ones before is void.
    """

    def __init__(self, directory: pathlib.Path, first_step: int):
        storage.make_directory(directory)
        self._directory = directory
        self._flush_time = time.monotonic()
        self._scratch = None
        place = directory.absolute()  # what begins with s3: or gs: would be written elsewhere
        if storage.is_remote(directory):
            self._scratch = tempfile.TemporaryDirectory(prefix="hmsa-tensorboard-")
            place = pathlib.Path(self._scratch.name)
        with named(directory):
            # Its name has a time in seconds: two starts within one would be one file.
            self._events = EventsWriter(str(place / "events"), f".{secrets.token_hex(4)}")
            start = SessionLog(status=SessionLog.START)
            self._events.write_event(Event(step=first_step, session_log=start))

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Writes scalars; raises OSError with the name of the directory."""
        self._write(step, [Summary.Value(tag=n, simple_value=v) for n, v in figures.items()])

    def show(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Writes pictures, as JPEG; raises OSError with the name of the directory."""
        values = []
        for name, picture in pictures.items():
            height, width, _ = picture.shape
            image = Summary.Image(
                height=height,
                width=width,
                colorspace=_RGB,
                encoded_image_string=encode_image(picture),
            )
            values.append(Summary.Value(tag=name, image=image))
        self._write(step, values)

    def _write(self, step: int, values: list[Summary.Value]) -> None:
        with named(self._directory):
            for value in values:
                summary = Summary(value=[value])
                event = Event(wall_time=time.time(), step=step, summary=summary)
                self._events.write_event(event)
        if time.monotonic() - self._flush_time > _SECONDS_BETWEEN_FLUSHES:
            self.flush()

    def flush(self) -> None:
        """Writes, or uploads, all that it has been given."""
        with named(self._directory):
            self._events.flush()
        self._upload()
        self._flush_time = time.monotonic()

    def close(self) -> None:
        """Does so for the last time. What does not fit here is in the JSONL file."""
        with contextlib.suppress(OSError):
            self._events.close()
            self._upload()
        if self._scratch is not None:
            self._scratch.cleanup()

    def _upload(self) -> None:
        if self._scratch is not None:
            storage.upload_tree(pathlib.Path(self._scratch.name), self._directory)


def _open(start: Start) -> TensorBoard:
    return TensorBoard(start.workdir / "tensorboard", start.step + 1)


KIND = Kind(_open)
