"""The formats that are read, in one table. Others are refused before a decoder sees them."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from codec import avif, bmp, heif, jp2, jpeg, jxl, pillow, png, pnm, tiff
from codec.errors import ImageError
from codec.picture import Decoded
from codec.refused import name_of_refused

BEGINNING = 2052  # bytes that identify the format; Photo CD needs the most

_NOT_AN_IMAGE = "not an image, or an unsupported format"


@dataclass(frozen=True)
class Reader:
    """How files of a format are recognised and read.

    Both functions may raise any exception on damage; an ImageError gives the reason to refuse
    a file that may be sound.

    Attributes:
      name: of the format.
      signature: matches the beginning of its files.
      size_of: width and height that an open file states, as stored (before any EXIF rotation);
        decodes no pixels.
      decode: decodes a file's content.
      may_crash: whether size_of, too, must run in a child process.
    """

    name: str
    signature: re.Pattern[bytes]
    size_of: Callable[[io.BufferedIOBase], tuple[int, int]]
    decode: Callable[[bytes], Decoded]
    may_crash: bool = False


def _pattern(signature: bytes) -> re.Pattern[bytes]:
    return re.compile(signature, re.DOTALL)


def _by_pillow(name: str, signature: bytes, decode: Callable[[bytes], Decoded]) -> Reader:
    """A reader that takes the size from Pillow's plugin of the same name."""
    return Reader(name, _pattern(signature), partial(pillow.size_of, name), decode)


_HEIF = rb"....ftyp(?:he[iv][cmsx]|m[is]f1)"
_JPEG_2000 = re.escape(jp2.SIGNATURE) + b"|" + re.escape(jp2.CODESTREAM)
_JPEG_XL = re.escape(jxl.SIGNATURE) + b"|" + re.escape(jxl.CODESTREAM)
# There is no signature: a colour map or none, a kind of pixels, bits per pixel.
_TGA = rb".[\0\1][\1\2\3\x09\x0a\x0b].{13}[\x01\x08\x0f\x10\x18\x20]"

READERS = (
    Reader("JPEG", _pattern(rb"\xff\xd8"), jpeg.size_of, jpeg.decode),
    Reader("PNG", _pattern(re.escape(png.SIGNATURE)), png.size_of, png.decode),
    Reader("TIFF", _pattern(rb"II[*+]\0|MM\0[*+]"), tiff.size_of, tiff.decode),
    _by_pillow("WEBP", rb"RIFF....WEBP", partial(pillow.decode, "WEBP")),
    _by_pillow("AVIF", rb"....ftyp(?:avi[fs]|m[is]f1.{,60}avif)", avif.decode),
    Reader("HEIF", _pattern(_HEIF), heif.size_of, heif.decode, may_crash=True),
    Reader("JPEG XL", _pattern(_JPEG_XL), jxl.size_of, jxl.decode),
    Reader("JPEG2000", _pattern(_JPEG_2000), jp2.size_of, jp2.decode),
    _by_pillow("GIF", rb"GIF8[79]a", pillow.decode_gif),
    Reader("BMP", _pattern(rb"BM"), bmp.size_of, bmp.decode),
    _by_pillow("PPM", rb"P[1-6]\s", pnm.decode),
    _by_pillow("QOI", rb"qoif", partial(pillow.decode, "QOI")),
    _by_pillow("TGA", _TGA, pillow.decode_tga),
)

# Endings of files that may be of these formats; their content decides.
READ_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".avif")
    + (".heic", ".heif", ".hif", ".jxl", ".jp2", ".j2k", ".j2c", ".jpf", ".gif")
    + (".bmp", ".dib", ".pbm", ".pgm", ".ppm", ".pnm", ".qoi", ".tga")
)


def reader_of(beginning: bytes) -> Reader:
    """The reader of a file.

    Args:
      beginning: the file's first BEGINNING bytes.

    Raises:
      ImageError: the file is empty or of an unsupported format.
    """
    if not beginning:
        raise ImageError("the file is empty")
    name = name_of_refused(beginning)
    if name:
        raise ImageError(f"{name} is not supported; convert it to PNG")
    found = next((reader for reader in READERS if reader.signature.match(beginning)), None)
    if found is None:
        raise ImageError(_NOT_AN_IMAGE)
    return found
