"""A decoded image, and what its file says beside the pixels."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Metadata:
    """What a file says beside its pixels, made to fit them as they are decoded.

    Attributes:
      exif: an EXIF block (a TIFF structure, without the `Exif` header of JPEG), or None. Its
        orientation is 1: the pixels stand upright.
      xmp: an XMP packet, or None.
      icc: an ICC profile for the pixels as decoded, or None.
      dpi: horizontal and vertical resolution in pixels per inch, or None.
      png_colour: chunks of a PNG that say what its numbers mean (gAMA, cHRM, sRGB, cICP): type and
        content.
      png_text: chunks of text of a PNG (tEXt, zTXt, iTXt), without XMP: type and content.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    png_colour: tuple[tuple[bytes, bytes], ...] = ()
    png_text: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True)
class Picture:
    """A decoded image file.

    Attributes:
      pixels: (h, w, 3) BGR or (h, w), uint8 or uint16, contiguous, upright.
      alpha: (h, w) of the same type, or None.
      format: of the file, as codec.readers names it, such as `PNG`.
      metadata: what stands beside the pixels.
      notes: what of the file could not be kept, or was decided, in words for its owner.
      jpeg_tables: quantisation tables of a JPEG (64 numbers each, in natural order), else ().
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    format: str
    metadata: Metadata = Metadata()
    notes: tuple[str, ...] = ()
    jpeg_tables: tuple[tuple[int, ...], ...] = ()


class Decoded(NamedTuple):
    """What the reader of a format makes of a file.

    Attributes:
      pixels: (h, w, 3) RGB or (h, w), uint8 or uint16, upright.
      alpha: (h, w) of the same type, or None.
      metadata: as the file states them, for the samples as stored; codec.metadata makes them fit.
      notes: see Picture.
      jpeg_tables: see Picture.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    metadata: Metadata
    notes: tuple[str, ...] = ()
    jpeg_tables: tuple[tuple[int, ...], ...] = ()


def several_pictures(count: int | str, taken: str = "first") -> tuple[str, ...]:
    """The note on a file of several pictures, of which one is taken; none for a single picture."""
    if count == 1:
        return ()
    return (f"the file holds {count} pictures, only the {taken} was taken",)
