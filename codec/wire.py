"""How a decoded picture travels from the child that decoded it: numbers and text, no pickle.

The child has met the file; whatever it sends is taken for data only.
"""

import json
import socket
import struct
from dataclasses import asdict
from typing import Any

import numpy as np

from codec.picture import Metadata, Picture

_LENGTH = struct.Struct("!Q")
_DTYPES = {"uint8": np.uint8, "uint16": np.uint16}


def send_message(link: socket.socket, message: dict[str, Any]) -> None:
    """Sends a mapping of texts, numbers, bytes and sequences of them."""
    line = json.dumps(message, default=lambda content: {"latin-1": content.decode("latin-1")})
    send_bytes(link, line.encode())


def receive_message(link: socket.socket) -> dict[str, Any]:
    """Receives what send_message sent, sequences as tuples.

    Raises:
      EOFError: the other side is gone.
    """
    return _restored(json.loads(receive_bytes(link)))


def send_bytes(link: socket.socket, content: bytes) -> None:
    """Sends bytes of any length."""
    link.sendall(_LENGTH.pack(len(content)))
    link.sendall(content)


def receive_bytes(link: socket.socket) -> bytearray:
    """Receives what send_bytes sent.

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
    message = {
        "dtype": picture.pixels.dtype.name,
        "shapes": [plane.shape for plane in planes],
        "format": picture.format,
        "metadata": asdict(picture.metadata),
        "notes": picture.notes,
        "jpeg_tables": picture.jpeg_tables,
    }
    send_message(link, message)
    for plane in planes:
        link.sendall(memoryview(plane).cast("B"))


def receive_picture(link: socket.socket, message: dict[str, Any]) -> Picture:
    """Receives the samples behind a picture's message.

    Raises:
      EOFError: the other side is gone.
    """
    planes = [np.empty(shape, _DTYPES[message["dtype"]]) for shape in message["shapes"]]
    for plane in planes:
        _fill(link, memoryview(plane).cast("B"))
    return Picture(
        pixels=planes[0],
        alpha=planes[1] if len(planes) > 1 else None,
        format=message["format"],
        metadata=Metadata(**message["metadata"]),
        notes=message["notes"],
        jpeg_tables=message["jpeg_tables"],
    )


def _fill(link: socket.socket, view: memoryview) -> None:
    while view:
        received = link.recv_into(view)
        if not received:
            raise EOFError
        view = view[received:]


def _restored(value: Any) -> Any:
    """JSON's lists as tuples, and bytes as send_message wrapped them."""
    if isinstance(value, list):
        return tuple(_restored(item) for item in value)
    if isinstance(value, dict):
        if value.keys() == {"latin-1"}:
            return value["latin-1"].encode("latin-1")
        return {name: _restored(item) for name, item in value.items()}
    return value
