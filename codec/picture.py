"""A decoded image, and what its file says beside the pixels."""

from dataclasses import dataclass

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
      format: of the file, as Pillow names it, such as `PNG`.
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
