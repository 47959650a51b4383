"""BMP files, by Pillow: what it reads wrongly or in part is repaired or refused."""

import io
import struct

from codec import pillow
from codec.errors import ImageError
from codec.picture import Decoded

_BEGINNING = 14 + 56  # with the masks that may stand behind a header of 40 bytes
_LENGTHS = (12, 40, 52, 56, 64, 108, 124)  # of headers; 12 has neither compression nor colours
_RARE = {
    2: "with 4-bit run lengths",
    4: "that holds a JPEG",
    5: "that holds a PNG",
    6: "with bit fields and alpha",
}
_BIT_FIELDS = 3


def size_of(stream: io.BufferedIOBase) -> tuple[int, int]:
    """Width and height.

    Raises:
      ImageError: it is of a kind that is not read.
    """
    try:
        return pillow.size_of("BMP", _plain(stream))
    except OSError as error:
        if not str(error).startswith("Unsupported BMP"):
            raise
        raise ImageError(f"this BMP is not read; convert it to PNG: {error}") from None


def decode(content: bytes) -> Decoded:
    """Decodes a BMP."""
    return pillow.decode("BMP", _plain(io.BytesIO(content)).read())


def _plain(stream: io.BufferedIOBase) -> io.BufferedIOBase:
    """The file, or one of the same picture that Pillow reads right, from its beginning on."""
    stream.seek(0)
    beginning = stream.read(_BEGINNING).ljust(_BEGINNING, b"\0")
    stream.seek(0)
    offset, length = struct.unpack_from("<II", beginning, 10)
    bits, compression, colours = struct.unpack_from("<HI12xI", beginning, 28)
    if length not in _LENGTHS:
        raise ImageError(f"a BMP with a header of {length} bytes is not read; convert it to PNG")
    if length == 12:
        return stream
    kind = _RARE.get(compression)
    (alpha,) = struct.unpack_from("<I", beginning, 66)
    if compression == _BIT_FIELDS and bits == 16 and length >= 56 and alpha:
        kind = _RARE[6]  # of which Pillow drops the alpha
    if kind:
        raise ImageError(f"a BMP {kind} is not read; convert it to PNG")
    if bits <= 8 and colours and colours != 1 << bits:
        return io.BytesIO(_with_full_palette(stream.read(), offset, length, bits, colours))
    return stream


def _with_full_palette(content: bytes, offset: int, length: int, bits: int, colours: int) -> bytes:
    """With a colour for each code: of other numbers Pillow may take the pixels for deeper ones."""
    end = 14 + length + 4 * colours
    missing = bytes(4 * max(0, (1 << bits) - colours))
    start = struct.pack("<I", offset + len(missing))
    header = content[:10] + start + content[14:46] + bytes(4)
    return header + content[50:end] + missing + content[end:]
