"""The boxes of ISO files, such as JPEG 2000 and JPEG XL."""

import struct
from collections.abc import Iterator


def boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields type and content of consecutive boxes; stops at damage."""
    position = 0
    while position + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, position)
        start = position + 8
        if size == 1 and start + 8 <= len(content):
            (size,) = struct.unpack_from(">Q", content, start)
            start += 8
        end = position + size if size else len(content)
        if end < start:
            return
        yield kind, content[start:end]
        position = end
