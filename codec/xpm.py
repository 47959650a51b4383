"""XPM 3: pixmaps as C source (Pillow reads neither transparency nor named colours)."""

import re
from typing import NamedTuple

import numpy as np
from PIL import ImageColor

from codec.errors import TRUNCATED, ImageError
from codec.samples import Planes, split

SIGNATURE = b"/* XPM"
_STRING = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_KINDS = (b"c", b"g", b"g4", b"m")  # of colours, the best first; b"s" is a name
_GRAY = re.compile(r"gr[ae]y(\d{1,3})")  # of X11, in percent
_LONGEST_KEY = 8


class XpmHeader(NamedTuple):
    """Width and height in pixels, how many colours, bytes that name one, and where they follow."""

    width: int
    height: int
    colours: int
    in_key: int
    end: int


def header_of_xpm(content: bytes) -> XpmHeader:
    """Reads the first line.

    Raises:
      ImageError: it is damaged.
    """
    found = _STRING.search(content)
    numbers = re.findall(rb"\d{1,9}", found[1])[:4] if found else []
    if len(numbers) < 4 or not 1 <= int(numbers[3]) <= _LONGEST_KEY:
        raise ImageError("the image's header is damaged: an XPM needs four numbers")
    return XpmHeader(*map(int, numbers), found.end())


def decode_xpm(content: bytes) -> Planes:
    """Decodes an XPM; a colour that is `None` is transparent.

    Raises:
      ImageError: it is damaged.
    """
    width, height, count, in_key, start = header_of_xpm(content)
    strings = [found[1] for found in _STRING.finditer(content, start)]
    table, rows = strings[:count], strings[count : count + height]
    if len(rows) < height or any(len(row) < width * in_key for row in rows):
        raise ImageError(f"the image is damaged: {TRUNCATED}")
    colours = np.array([_colour(line[in_key:]) for line in table], np.uint8).reshape(-1, 4)
    keys = _keys(b"".join(line[:in_key] for line in table), in_key)
    order = np.argsort(keys)
    pixels = _keys(b"".join(row[: width * in_key] for row in rows), in_key)
    places = order[np.minimum(np.searchsorted(keys, pixels, sorter=order), max(0, count - 1))]
    if not np.array_equal(keys[places], pixels):
        raise ImageError("the image is damaged: pixels of a colour that is not in its palette")
    shown = colours[places].reshape(height, width, 4)
    return split(shown if (colours[:, 3] == 0).any() else shown[..., :3])


def _keys(names: bytes, length: int) -> np.ndarray:
    """Each name of `length` bytes as a number."""
    padded = np.zeros((len(names) // length, 8), np.uint8)
    padded[:, :length] = np.frombuffer(names, np.uint8).reshape(-1, length)
    return padded.view(np.uint64)[:, 0]


def _colour(line: bytes) -> tuple[int, int, int, int]:
    """Red, green, blue and alpha of the rest of a colour's line: kinds and values in turns."""
    values, kind = {}, None
    for word in line.split():
        if word in (*_KINDS, b"s"):
            kind = word
            values[kind] = ""
        elif kind:
            values[kind] += word.decode("latin-1").lower()
    value = next((values[kind] for kind in _KINDS if values.get(kind)), "")
    if value == "none":
        return 0, 0, 0, 0
    digits = len(value) // 3
    if value.startswith("#") and len(value) in (4, 7, 10, 13):
        parts = [int(value[1 + digits * i : 1 + digits * (i + 1)], 16) for i in range(3)]
        red, green, blue = (part * 255 // (16**digits - 1) for part in parts)
        return red, green, blue, 255
    gray = _GRAY.fullmatch(value)
    if gray:
        return (*[min(255, (int(gray[1]) * 255 + 50) // 100)] * 3, 255)
    try:
        return (*ImageColor.getrgb(value)[:3], 255)
    except ValueError:
        raise ImageError(f"the image is damaged: it names an unknown colour, {value!r}") from None
