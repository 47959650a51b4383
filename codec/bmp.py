"""BMP files whose pixels Pillow refuses, rounds or gets wrong: bit fields and 4-bit run lengths."""

import io
import struct
from typing import NamedTuple

import cv2
import numpy as np

from codec.errors import ImageError
from codec.samples import scaled

SIGNATURE = b"BM"
RUN_LENGTHS = (1, 2)  # of 8 and 4 bits
_RLE4 = RUN_LENGTHS[1]
_WHOLE_FILES = (4, 5)  # a JPEG, a PNG
_BIT_FIELDS = (3, 6)  # without and with alpha
_SHORTEST_HEADER = 40  # that has a compression
_LENGTHS = (40, 52, 56, 64, 108, 124)  # that are known; 64 is OS/2's
_SHORT_OS2 = 16  # version 2, without what may be left out
_LONGEST_BEGINNING = 14 + 40


def plain_bmp(stream: io.BufferedIOBase) -> bytes | None:
    """The same picture as a file that others read, where they do not read this one.

    They know neither JPEG and PNG in a BMP, nor OS/2's short headers, nor headers of odd lengths,
    nor some palettes that are longer or shorter than the pixels can count.
    """
    stream.seek(0)
    content = stream.read(_LONGEST_BEGINNING)
    if len(content) < _LONGEST_BEGINNING:
        return None
    offset, length = struct.unpack_from("<II", content, 10)
    bits, compression, stored, colours = struct.unpack_from("<HII8xI", content, 28)
    if _SHORT_OS2 <= length < _SHORTEST_HEADER:
        return _with_plain_header(content + stream.read(), offset, length, _SHORT_OS2)
    if length < _SHORTEST_HEADER:
        return None
    if compression in _WHOLE_FILES:
        return (content + stream.read())[offset : offset + stored]
    if length not in _LENGTHS and length <= offset - 14 and compression not in _BIT_FIELDS:
        return _with_plain_header(content + stream.read(), offset, length, _SHORTEST_HEADER)
    if bits <= 8 and colours > 1 << bits:
        return content[:46] + bytes(4) + content[50:] + stream.read()
    if _is_short_palette(bits, colours):
        dib = content[14:] + stream.read()
        full = with_full_palette(dib)
        return content[:10] + struct.pack("<I", offset + len(full) - len(dib)) + full
    return None


def _with_plain_header(content: bytes, offset: int, length: int, kept: int) -> bytes:
    """A BMP whose header, of a length, is one of 40 bytes: its first ones that are kept, then 0."""
    header = content[18 : 14 + kept].ljust(_SHORTEST_HEADER - 4, b"\0")
    moved = offset + _SHORTEST_HEADER - length
    begin = content[:10] + struct.pack("<II", moved, _SHORTEST_HEADER)
    return begin + header + content[14 + length :]


def with_full_palette(dib: bytes) -> bytes:
    """A bitmap (what stands behind a BMP's first 14 bytes) with a colour for each code."""
    length, bits, colours = struct.unpack_from("<I10xH16xI", dib)
    if not _is_short_palette(bits, colours):
        return dib
    end = length + 4 * colours
    missing = bytes(4 * ((1 << bits) - colours))
    return dib[:32] + bytes(4) + dib[36:end] + missing + dib[end:]


def start_of_pixels(dib: bytes) -> int:
    """The bytes of a bitmap's header, of masks behind one without room for them, and palette."""
    length, bits, compression, colours = struct.unpack_from("<I10xHI12xI", dib)
    if length == _SHORTEST_HEADER and compression in _BIT_FIELDS:
        length += 12 if compression == _BIT_FIELDS[0] else 16
    return length + (4 * (colours or 1 << bits) if bits <= 8 else 0)


def _is_short_palette(bits: int, colours: int) -> bool:
    """Whether Pillow may take pixels for deeper or shallower than they are: of grays it does."""
    return (bits == 4 and 0 < colours < 16) or (bits == 8 and colours == 2)


class BmpHeader(NamedTuple):
    """What a BMP says of pixels that are decoded here.

    Attributes:
      width: pixels.
      height: pixels.
      top_down: whether the first row stored is the first shown.
      bits: per pixel.
      compression: 2 run lengths of 4 bits, 3 or 6 bit fields.
      offset: where the pixels stand.
      stored: the bytes of compressed pixels.
      masks: of red, green, blue and alpha in a pixel.
      dpi: pixels per inch; 0 where it says nothing.
    """

    width: int
    height: int
    top_down: bool
    bits: int
    compression: int
    offset: int
    stored: int
    masks: tuple[int, int, int, int]
    dpi: tuple[float, float]


def header_of_bmp(stream: io.BufferedIOBase) -> BmpHeader | None:
    """The header of a BMP that is decoded here; None of others."""
    stream.seek(0)
    beginning = stream.read(14 + 56).ljust(14 + 56, b"\0")
    offset, length, width, height, _, bits, compression, stored = struct.unpack_from(
        "<IIiiHHII", beginning, 10
    )
    fields = compression in _BIT_FIELDS and bits in (16, 32)
    if length < _SHORTEST_HEADER or not (fields or (compression == _RLE4 and bits == 4)):
        return None
    masks = struct.unpack_from("<IIII", beginning, 54)
    if length < 56 and compression != _BIT_FIELDS[1]:  # the fourth is no mask yet
        masks = (*masks[:3], 0)
    x, y = (value * 0.0254 for value in struct.unpack_from("<ii", beginning, 38))
    top_down = height < 0
    return BmpHeader(
        width, abs(height), top_down, bits, compression, offset, stored, masks, (x, y)
    )  # fmt: skip


def decode_bmp(content: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    """Decodes a BMP of which header_of_bmp tells.

    Returns:
      (h, w, 3) RGB or (h, w), uint8; alpha, (h, w), uint8, or None.

    Raises:
      ImageError: it is damaged.
    """
    header = header_of_bmp(io.BytesIO(content))
    if header.compression == _RLE4:
        return _decode_rle4(header, content), None
    return _decode_bit_fields(header, content)


def _decode_rle4(header: BmpHeader, content: bytes) -> np.ndarray:
    pixels = None
    if header.offset + header.stored <= len(content):
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise ImageError("the image is damaged: the file is truncated")
    return pixels


def _decode_bit_fields(header: BmpHeader, content: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    stored = np.dtype(f"<u{header.bits // 8}")
    in_row = -(-header.width * stored.itemsize // 4) * 4 // stored.itemsize  # whole 32-bit words
    count = in_row * header.height
    if header.offset + count * stored.itemsize > len(content):
        raise ImageError("the image is damaged: the file is truncated")
    codes = np.frombuffer(content, stored, count, header.offset)
    codes = codes.reshape(header.height, in_row)[:: 1 if header.top_down else -1, : header.width]
    *colours, alpha = (_field(codes, mask) for mask in header.masks)
    return np.stack(colours, axis=-1), alpha if header.masks[3] else None


def _field(codes: np.ndarray, mask: int) -> np.ndarray:
    """The bits under a mask as 8 bits."""
    if not mask:
        return np.zeros(codes.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    white = mask >> shift
    bits = white.bit_length()
    if white & (white + 1) or bits > 16:
        raise ImageError(f"a BMP with the colour mask {mask:#x} is not supported")
    return scaled((codes & mask) >> shift, bits, np.uint8)
