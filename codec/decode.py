"""Decodes images; the header is checked before any pixel is decoded."""

import io
from dataclasses import dataclass

import cv2
import numpy as np

from codec.errors import NO_PIXELS, ImageError, damage_error
from codec.metadata import fit_metadata
from codec.picture import Picture
from codec.readers import BEGINNING, reader_of

_DAMAGED_HEADER = "the image's header is damaged"
_DAMAGED = "the image is damaged"


@dataclass(frozen=True)
class ImageHeader:
    """A file's format and stated size.

    Attributes:
      format: as codec.readers names it, such as `PNG`.
      width: pixels, as stored (before any EXIF rotation).
      height: pixels, as stored.
    """

    format: str
    width: int
    height: int

    @property
    def megapixels(self) -> float:
        """Size in millions of pixels."""
        return self.width * self.height / 1e6


def read_header(source: bytes | io.BufferedIOBase) -> ImageHeader:
    """Reads an image's header; decodes no pixels.

    Args:
      source: a file's bytes, or an open binary file that can seek.

    Raises:
      ImageError: the file is empty, not an image, damaged or of a kind that is not supported.
    """
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    reader = reader_of(stream.read(BEGINNING))
    try:
        width, height = reader.size_of(stream)
    except Exception as error:
        raise damage_error(_DAMAGED_HEADER, error) from None
    if width < 1 or height < 1:
        raise ImageError(NO_PIXELS)
    return ImageHeader(reader.name, width, height)


def decode_image(content: bytes, max_megapixels: float) -> Picture:
    """Decodes an image with its depth and channels kept and its EXIF orientation applied.

    Of several pictures in a file the first is taken, of a HEIF the primary one. CMYK becomes sRGB.
    Samples become 8 bits deep, or 16 if they have more than 8.

    Args:
      content: the file's bytes.
      max_megapixels: larger images are refused before they are decoded.

    Raises:
      ImageError: the content is empty, not an image, truncated, too large or of a kind that is
        not supported.
      MemoryError: there is too little memory for it.
    """
    header = read_header(content)
    if header.megapixels > max_megapixels:
        raise ImageError(
            f"{header.width} x {header.height} pixels are more than the "
            f"{max_megapixels:g} megapixels allowed (--max_megapixels)"
        )
    reader = reader_of(content[:BEGINNING])
    try:
        found = reader.decode(content)
    except Exception as error:
        raise damage_error(_DAMAGED, error) from None
    if sorted(found.pixels.shape[:2]) != sorted((header.height, header.width)):
        raise ImageError(f"{_DAMAGED_HEADER}: it states two sizes")
    pixels, alpha = np.ascontiguousarray(found.pixels), found.alpha
    return Picture(
        cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels,
        None if alpha is None else np.ascontiguousarray(alpha),
        header.format,
        fit_metadata(found.metadata),
        notes=found.notes,
        jpeg_tables=found.jpeg_tables,
    )
