"""Metadata of image files: made to fit the pixels as decoded, and as written."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import TypeVar

from codec import exif as exif_blocks
from codec.picture import Metadata

# Larger blocks are left out.
LARGEST_BLOCK = 8_000_000

_XMP_ORIENTATION = re.compile(
    rb"""(\btiff:Orientation\s*=\s*["']\s*|<tiff:Orientation\b[^<>]*>\s*)(\d+)"""
)
_XMP_RESOLUTION = re.compile(
    rb"""(\btiff:[XY]Resolution\s*=\s*["']\s*|<tiff:[XY]Resolution\b[^<>]*>\s*)(\d+)(?:/(\d+))?"""
)

T = TypeVar("T")


def fit_metadata(found: Metadata) -> Metadata:
    """A file's metadata, made to fit the pixels as decoded upright.

    Metadata that cannot be read or are larger than LARGEST_BLOCK are left out, and so are ICC
    profiles for other colour models than gray and RGB.
    """
    exif = attempt(lambda: _parsed(found.exif))
    xmp = attempt(lambda: _packet(found.xmp))
    orientation = (exif and exif_blocks.orientation_of(exif)) or (xmp and _orientation_in(xmp)) or 1
    dpi = attempt(lambda: _plausible(found.dpi) or (exif and _plausible(exif_blocks.dpi_of(exif))))
    if dpi and orientation >= 5:
        dpi = dpi[::-1]
    return Metadata(
        exif=exif and _bounded(exif_blocks.serialise(exif_blocks.upright(exif))),
        xmp=xmp and _XMP_ORIENTATION.sub(rb"\g<1>1", xmp),
        icc=attempt(lambda: _profile(found.icc)),
        dpi=dpi,
        png_colour=found.png_colour,
        png_text=found.png_text,
    )


def scale_resolution(metadata: Metadata, factor: float) -> Metadata:
    """The metadata of a picture with `factor` times as many pixels per inch."""
    if factor == 1:
        return metadata
    exif, xmp, dpi = metadata.exif, metadata.xmp, metadata.dpi
    return replace(
        metadata,
        exif=exif
        and exif_blocks.serialise(exif_blocks.scale_resolution(exif_blocks.parse(exif), factor)),
        xmp=xmp and _XMP_RESOLUTION.sub(lambda match: _times(match, factor), xmp),
        dpi=dpi and _plausible((dpi[0] * factor, dpi[1] * factor)),
    )


def with_size(metadata: Metadata, width: int, height: int) -> Metadata:
    """The metadata of a picture of a size: EXIF that states another one is corrected."""
    if metadata.exif is None:
        return metadata
    exif = exif_blocks.with_size(exif_blocks.parse(metadata.exif), width, height)
    return replace(metadata, exif=exif_blocks.serialise(exif))


def profile_model(profile: bytes) -> str:
    """The colour model that an ICC profile is for: `GRAY`, `RGB` or another."""
    return profile[16:20].decode("latin-1").strip()


def attempt(read: Callable[[], T]) -> T | None:
    """The result, or None where damage makes reading fail with any exception."""
    try:
        return read()
    except MemoryError:
        raise
    except Exception:
        return None


def _parsed(block: bytes | None) -> exif_blocks.Exif | None:
    exif = exif_blocks.parse(block.removeprefix(b"Exif\0\0")) if block else None
    return exif if exif and exif.tags else None


def _packet(xmp: bytes | None) -> bytes | None:
    xmp = xmp and (_bounded(xmp) or b"").rstrip(b"\0")
    return None if not xmp or b"\0" in xmp else xmp


def _orientation_in(xmp: bytes) -> int | None:
    match = _XMP_ORIENTATION.search(xmp)
    return int(match[2]) if match else None


def _times(match: re.Match[bytes], factor: float) -> bytes:
    """A resolution in XMP, such as `72/1`, times a factor."""
    before, numerator, denominator = match.groups(b"1")
    if int(denominator) == 0:
        return match[0]
    value = Fraction(int(numerator), int(denominator)) * Fraction(factor)
    value = value.limit_denominator(10_000)
    return before + b"%d/%d" % (value.numerator, value.denominator)


def _profile(profile: bytes | None) -> bytes | None:
    """A sound ICC profile (ICC.1, 7.2), without bytes after its end."""
    if not profile or len(profile) < 128 or profile[36:40] != b"acsp":
        return None
    size = int.from_bytes(profile[:4])
    if not 128 <= size <= len(profile) or profile_model(profile) not in ("GRAY", "RGB"):
        return None
    return _bounded(profile[:size])


def _plausible(dpi: tuple[float, float] | None) -> tuple[float, float] | None:
    """The resolution, if every format can hold it."""
    x, y = (float(value) for value in dpi or (0, 0))
    return (x, y) if all(math.isfinite(v) and 1 <= v <= 65535 for v in (x, y)) else None


def _bounded(block: bytes) -> bytes | None:
    return block if len(block) <= LARGEST_BLOCK else None
