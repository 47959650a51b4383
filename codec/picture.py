"""A decoded image and its metadata."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Metadata:
    """A file's metadata, made to fit the pixels as decoded.

    Attributes:
      exif: an EXIF block (a TIFF structure, without the `Exif` header of JPEG) of orientation 1.
      xmp: an XMP packet.
      icc: an ICC profile.
      dpi: horizontal and vertical resolution in pixels per inch.
      png_colour: colour chunks of a PNG (gAMA, cHRM, sRGB, cICP): type and content.
      png_text: text chunks of a PNG (tEXt, zTXt, iTXt), without XMP: type and content.
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
      metadata: of the file.
      notes: for the file's owner, on parts that were left out and choices that were made.
      jpeg_tables: quantisation tables of a JPEG (64 numbers each, in natural order), else ().
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    format: str
    metadata: Metadata = Metadata()
    notes: tuple[str, ...] = ()
    jpeg_tables: tuple[tuple[int, ...], ...] = ()


class Decoded(NamedTuple):
    """The result of a format's reader.

    Attributes:
      pixels: (h, w, 3) RGB or (h, w), uint8 or uint16, upright.
      alpha, notes, jpeg_tables: see Picture.
      metadata: as the file states them, not yet fitted to the pixels.
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
    return (f"the file holds {count} pictures; only the {taken} was used",)
