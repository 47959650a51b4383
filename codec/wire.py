"""Messages between the job and the child that decodes: JSON and raw samples.

There is no pickle, since the child has read an untrusted file.
"""

import json
import socket
import struct
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from codec.picture import Metadata, Picture

_LENGTH = struct.Struct("!Q")
_DTYPES = {"uint8": np.uint8, "uint16": np.uint16}


def send_message(link: socket.socket, message: dict[str, Any]) -> None:
    """Sends a mapping of strings, numbers, bytes and sequences of them."""
    line = json.dumps(message, default=lambda content: {"latin-1": content.decode("latin-1")})
    send_bytes(link, line.encode())


def receive_message(link: socket.socket) -> dict[str, Any]:
    """Receives a message of send_message, with tuples for sequences.

    Raises:
      EOFError: the other side is gone.
    """
    return _restored(json.loads(receive_bytes(link)))


def send_bytes(link: socket.socket, content: bytes) -> None:
    """Sends bytes of any length."""
    link.sendall(_LENGTH.pack(len(content)))
    link.sendall(content)


def receive_bytes(link: socket.socket) -> bytearray:
    """Receives bytes of send_bytes.

    Raises:
      EOFError: the other side is gone.
    """
    prefix = bytearray(_LENGTH.size)
    _fill(link, memoryview(prefix))
    content = bytearray(_LENGTH.unpack(prefix)[0])
    _fill(link, memoryview(content))
    return content


def send_picture(link: socket.socket, picture: Picture) -> None:
    """Sends a picture: a message, then the samples as they lie in memory."""
    planes = [plane for plane in (picture.pixels, picture.alpha) if plane is not None]
    dtype, shapes = picture.pixels.dtype.name, [plane.shape for plane in planes]
    others = asdict(replace(picture, pixels=None, alpha=None))
    send_message(link, others | {"dtype": dtype, "shapes": shapes})
    for plane in planes:
        link.sendall(memoryview(plane).cast("B"))


def receive_picture(link: socket.socket, message: dict[str, Any]) -> Picture:
    """Receives the samples after a picture's message.

    Raises:
      EOFError: the other side is gone.
    """
    dtype = _DTYPES[message.pop("dtype")]
    planes = [np.empty(shape, dtype) for shape in message.pop("shapes")]
    for plane in planes:
        _fill(link, memoryview(plane).cast("B"))
    pixels, alpha = (*planes, None)[:2]
    metadata = Metadata(**message["metadata"])
    return Picture(**message | {"pixels": pixels, "alpha": alpha, "metadata": metadata})


def _fill(link: socket.socket, view: memoryview) -> None:
    while view:
        received = link.recv_into(view)
        if not received:
            raise EOFError
        view = view[received:]


def _restored(value: Any) -> Any:
    """A value of send_message: tuples instead of JSON's lists, and its bytes."""
    if isinstance(value, list):
        return tuple(_restored(item) for item in value)
    if isinstance(value, dict):
        if value.keys() == {"latin-1"}:
            return value["latin-1"].encode("latin-1")
        return {name: _restored(item) for name, item in value.items()}
    return value
