"""BMP files, read by Pillow; files that it misreads are repaired or refused."""

import io
import struct

from codec import pillow
from codec.errors import ImageError
from codec.picture import Decoded

_BEGINNING = 14 + 56  # includes the masks that may follow a header of 40 bytes
_LENGTHS = (12, 40, 52, 56, 64, 108, 124)  # of headers; 12 has neither compression nor colours
_BIT_FIELDS, _ALPHA_FIELDS = 3, 6
_RARE = {
    2: "with 4-bit run-length encoding",
    4: "that holds a JPEG",
    5: "that holds a PNG",
    _ALPHA_FIELDS: "with bit fields and alpha",
}


def size_of(stream: io.BufferedIOBase) -> tuple[int, int]:
    """Width and height.

    Raises:
      ImageError: this kind of BMP is not supported.
    """
    try:
        return pillow.size_of("BMP", _plain(stream))
    except OSError as error:
        if not str(error).startswith("Unsupported BMP"):
            raise
        raise ImageError(f"this BMP is not supported; convert it to PNG: {error}") from None


def decode(content: bytes) -> Decoded:
    """Decodes a BMP."""
    return pillow.decode("BMP", _plain(io.BytesIO(content)).read())


def _plain(stream: io.BufferedIOBase) -> io.BufferedIOBase:
    """The file, or one of the same picture that Pillow reads right, at its beginning."""
    stream.seek(0)
    beginning = stream.read(_BEGINNING).ljust(_BEGINNING, b"\0")
    stream.seek(0)
    offset, length = struct.unpack_from("<II", beginning, 10)
    bits, compression, colours = struct.unpack_from("<HI12xI", beginning, 28)
    if length not in _LENGTHS:
        raise ImageError(
            f"a BMP with a header of {length} bytes is not supported; convert it to PNG"
        )
    if length == 12:
        return stream
    (alpha,) = struct.unpack_from("<I", beginning, 66)
    if compression == _BIT_FIELDS and bits == 16 and length >= 56 and alpha:
        compression = _ALPHA_FIELDS  # Pillow drops this alpha
    if compression in _RARE:
        raise ImageError(f"a BMP {_RARE[compression]} is not supported; convert it to PNG")
    if bits <= 8 and colours and colours != 1 << bits:
        return io.BytesIO(_with_full_palette(stream.read(), offset, length, bits, colours))
    return stream


def _with_full_palette(content: bytes, offset: int, length: int, bits: int, colours: int) -> bytes:
    """The file with a colour for each code; otherwise Pillow may misjudge the pixels' depth."""
    end = 14 + length + 4 * colours
    missing = bytes(4 * max(0, (1 << bits) - colours))
    start = struct.pack("<I", offset + len(missing))
    header = content[:10] + start + content[14:46] + bytes(4)
    return header + content[50:end] + missing + content[end:]
