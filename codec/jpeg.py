"""JPEG files that lack nothing but their end marker."""

import io

import numpy as np
from PIL import Image

_END = b"\xff\xd9"
_SCAN = 0xDA
_SEQUENTIAL = (0xC0, 0xC1)
_FILLERS = tuple(bytes([code]) * 4096 for code in (0x00, 0x55, 0xB6))


def ended_jpeg(content: bytes) -> bytes | None:
    """The file with its end marker, if that is all that it lacks; None otherwise.

    Pixels that are not in the file change with what is put behind it. If none does, all are there.
    Progressive files, and those with a scan for each component, may lack whole scans, which this
    does not show; for them it is None.

    Args:
      content: a JPEG file that a decoder calls truncated.
    """
    if not _is_one_scan(content):
        return None
    content = content.rstrip(b"\xff")  # the end marker's first half
    try:
        pictures = (
            np.asarray(Image.open(io.BytesIO(content + filler + _END))) for filler in _FILLERS
        )
        first = next(pictures)
        # One after the other: a large picture should not be in memory once for each.
        whole = all(np.array_equal(first, other) for other in pictures)
    except (OSError, SyntaxError):
        return None
    return content + _END if whole else None


def _is_one_scan(content: bytes) -> bool:
    """Whether the file is sequential and its first scan holds all components."""
    position, components = 2, 0
    while position + 10 <= len(content):
        marker, length = content[position + 1], int.from_bytes(content[position + 2 : position + 4])
        if content[position] != 0xFF or marker == 0xFF:  # filling bytes
            position += 1
        elif marker == _SCAN:
            return 0 < components == content[position + 4]
        else:
            if marker in _SEQUENTIAL:
                components = content[position + 9]
            position += 2 + length
    return False
