"""What TensorBoard reads, taken apart without it."""

import pathlib
import struct

import cv2
import numpy as np
from tensorboardX.proto.event_pb2 import Event


def events(data: bytes) -> list[Event]:
    """The records of a file: length and its checksum, content and its checksum."""
    found = []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return found


def pictures(run: pathlib.Path) -> dict[tuple[int, str], np.ndarray]:
    """The pictures of a run by step and tag, none twice, as OpenCV reads them."""
    found = {}
    for path in (run / "tensorboard").glob("events.*"):
        for event in events(path.read_bytes()):
            for value in event.summary.value:
                if value.HasField("image"):
                    data = np.frombuffer(value.image.encoded_image_string, np.uint8)
                    picture = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
                    assert picture.shape == (value.image.height, value.image.width, 3)
                    assert (event.step, value.tag) not in found
                    found[event.step, value.tag] = picture
    return found
