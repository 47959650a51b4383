"""JPEG files: their frame, and more than 8 bits."""

import io
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import imagecodecs
import numpy as np
from PIL import Image

from codec import pillow
from codec.errors import ImageError
from codec.picture import Decoded, Metadata
from codec.samples import scaled, turned

SIGNATURE = b"\xff\xd8"
_END = b"\xff\xd9"
_LOSSLESS = 0xC3
_HAS_DENSITY = (1, 2)  # of JFIF's units: per inch, per centimetre
_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"


class _Frame(NamedTuple):
    """The header of a frame: where it stands, its marker, bits per sample, size."""

    position: int
    marker: int
    bits: int
    height: int
    width: int


def size_of(stream: io.BufferedIOBase) -> tuple[int, int]:
    """Width and height.

    Raises:
      ImageError: there is no frame.
    """
    frame = _frame_of(stream)
    return frame.width, frame.height


def decode(content: bytes) -> Decoded:
    """Decodes a JPEG; of a camera's file with previews (MPO) the photograph."""
    frame = _frame_of(io.BytesIO(content))
    with _opened(content, frame) as image:
        metadata, left_out = _metadata_in(image), tuple(_left_out_of(image))
        tables = tuple(tuple(table) for _, table in sorted(image.quantization.items()))
        if frame.bits == 8 and frame.marker != _LOSSLESS:
            planes, notes = pillow.planes_of(image)
        else:
            pixels = _decode_deep(content, frame)
            planes, notes = (turned(pixels, pillow.orientation_of(image)), None), ()
        return Decoded(*planes, metadata, notes + left_out, tables)


def _frame_of(stream: io.BufferedIOBase) -> _Frame:
    position = len(SIGNATURE)
    while True:
        stream.seek(position)
        segment = stream.read(9)
        if len(segment) < 9:
            raise ImageError("the image's header is damaged: a JPEG without a frame")
        marker, length = segment[1], int.from_bytes(segment[2:4])
        if segment[0] != 0xFF or marker in (0xFF, 0x00):  # filling bytes
            position += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return _Frame(position, marker, *struct.unpack(">BHH", segment[4:]))
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a length
            position += 2
        else:
            position += 2 + length


def _opened(content: bytes, frame: _Frame) -> Image.Image:
    """By Pillow, which is told 8 bits where there are more: it refuses such headers."""
    if frame.bits != 8:
        content = bytearray(content)
        content[frame.position + 4] = 8
    return pillow.opened("JPEG", io.BytesIO(content))


def _metadata_in(image: Image.Image) -> Metadata:
    metadata = pillow.metadata_in(image)
    # Where a file says nothing, Pillow says 72.
    has_dpi = image.info.get("jfif_unit") in _HAS_DENSITY
    return metadata if has_dpi else replace(metadata, dpi=None)


def _left_out_of(image: Image.Image) -> Iterator[str]:
    yield from pillow.left_out_of(image)
    if "photoshop" in image.info:
        yield "what Photoshop or IPTC says was left out"
    if any(block.startswith(_EXTENDED_XMP) for _, block in image.applist):
        yield "extended XMP was left out"


def _decode_deep(content: bytes, frame: _Frame) -> np.ndarray:
    """Gray or RGB, of more than 8 bits or lossless, as stored."""
    if _END not in content[frame.position :]:  # the library warns, no more
        raise ImageError("the image is damaged: the file is truncated")
    pixels = imagecodecs.jpeg_decode(content)
    if pixels.ndim == 3 and pixels.shape[2] != 3:
        raise ImageError(f"a deep JPEG of {pixels.shape[2]} channels is not supported")
    return scaled(pixels, frame.bits)
