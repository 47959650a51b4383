"""What image files say beside their pixels: read, and kept true for the pixels that are written."""

import codecs
import math
import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import TypeVar

from PIL import Image

from codec import exif as exif_blocks
from codec import jp2, png, tiff
from codec.picture import Metadata

# Larger blocks are left out: nobody needs them, and no format must fail for them.
LARGEST_BLOCK = 8_000_000

_XMP_KEYWORD = b"XML:com.adobe.xmp"
_RAW_PROFILE = b"Raw profile type "
_COLOUR_CHUNKS = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4}
_TEXT_CHUNKS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
# TIFF 6.0 and XMP part 3
_X_RESOLUTION_TAG = 282
_XMP_TAG = 700
_WITH_JFIF = frozenset({"JPEG", "MPO"})
_HAS_JFIF_DENSITY = (1, 2)  # per inch, per centimetre

_XMP_ORIENTATION = re.compile(
    rb"""(\btiff:Orientation\s*=\s*["']\s*|<tiff:Orientation\b[^<>]*>\s*)(\d+)"""
)
_XMP_RESOLUTION = re.compile(
    rb"""(\btiff:[XY]Resolution\s*=\s*["']\s*|<tiff:[XY]Resolution\b[^<>]*>\s*)(\d+)(?:/(\d+))?"""
)

T = TypeVar("T")


def metadata_of(image: Image.Image, content: bytes) -> Metadata:
    """What a file says beside its pixels, fit for the pixels as decoded upright.

    Damaged metadata raise nothing: what cannot be read, and what is larger than LARGEST_BLOCK, is
    left out, and so is an ICC profile for another colour model than gray and RGB.

    Args:
      image: the file as Pillow opened it, loaded or not; no copy that was converted or turned.
      content: the file.
    """
    text = _attempt(lambda: _png_text(content), ()) if image.format == "PNG" else ()
    xmp = _attempt(lambda: _xmp(image, content, text))
    exif = _attempt(lambda: _exif(image, content))
    orientation = (exif and exif_blocks.orientation_of(exif)) or (xmp and _orientation_in(xmp)) or 1
    dpi = _attempt(lambda: _dpi(image, exif))
    if dpi and orientation >= 5:
        dpi = dpi[::-1]
    return Metadata(
        exif=exif and _bounded(exif_blocks.serialise(exif_blocks.upright(exif))),
        xmp=xmp and _XMP_ORIENTATION.sub(rb"\g<1>1", xmp),
        icc=_attempt(lambda: _profile(_stored_profile(image, content))),
        dpi=dpi,
        png_colour=_png_colour(content) if image.format == "PNG" else (),
        png_text=tuple(
            chunk
            for chunk, keyword, _ in text
            if keyword != _XMP_KEYWORD and not keyword.startswith(_RAW_PROFILE)
        ),
    )


def scaled(metadata: Metadata, factor: float) -> Metadata:
    """The same for a picture with `factor` times as many pixels per inch."""
    if factor == 1:
        return metadata
    exif, xmp, dpi = metadata.exif, metadata.xmp, metadata.dpi
    return replace(
        metadata,
        exif=exif and exif_blocks.serialise(exif_blocks.scaled(exif_blocks.parse(exif), factor)),
        xmp=xmp and _XMP_RESOLUTION.sub(lambda match: _times(match, factor), xmp),
        dpi=dpi and _plausible((dpi[0] * factor, dpi[1] * factor)),
    )


def sized(metadata: Metadata, width: int, height: int) -> Metadata:
    """The same for a picture of a size: EXIF that states another one is corrected."""
    if metadata.exif is None:
        return metadata
    exif = exif_blocks.sized(exif_blocks.parse(metadata.exif), width, height)
    return replace(metadata, exif=exif_blocks.serialise(exif))


def profile_model(profile: bytes) -> str:
    """The colour model that an ICC profile is for: `GRAY`, `RGB` or another."""
    return profile[16:20].decode("latin-1").strip()


def _attempt(read: Callable[[], T], otherwise: T | None = None) -> T | None:
    """What can be read. Pillow's plugins raise whatever a damaged file makes of them."""
    try:
        return read()
    except MemoryError:
        raise
    except Exception:
        return otherwise


def _exif(image: Image.Image, content: bytes) -> exif_blocks.Exif | None:
    if image.format == "TIFF" or content.startswith(tiff.BIG_ENDIAN_BIGTIFF):
        parsed = exif_blocks.parse(content, exif_blocks.OF_THE_FILE)
    else:
        block = image.info.get("exif")
        if image.format == "PNG":
            found = next(png.chunks(content, {b"eXIf"}), None)
            block = found[1] if found else _legacy_exif(image)
        elif image.format == "JPEG2000":
            block = jp2.block_in(content, jp2.EXIF)
        if not block:
            return None
        parsed = exif_blocks.parse(block.removeprefix(b"Exif\0\0"))
    return parsed if parsed.tags else None


def _legacy_exif(image: Image.Image) -> bytes | None:
    """EXIF as ImageMagick writes it into PNG: three lines, then hexadecimal digits."""
    profile = image.info.get("Raw profile type exif") or image.info.get("Raw profile type APP1")
    return profile and bytes.fromhex("".join(profile.split("\n")[3:]))


def _stored_profile(image: Image.Image, content: bytes) -> bytes | None:
    if image.format == "JPEG2000":
        return jp2.profile_in(content)
    return image.info.get("icc_profile")


def _xmp(image: Image.Image, content: bytes, text: tuple) -> bytes | None:
    if image.format == "PNG":
        xmp = next((packet for _, keyword, packet in text if keyword == _XMP_KEYWORD), None)
    elif image.format == "TIFF":  # on loading, Pillow takes the orientation out of `info`
        xmp = image.tag_v2.get(_XMP_TAG)
    elif image.format == "JPEG2000":
        xmp = jp2.block_in(content, jp2.XMP)
    else:
        xmp = image.info.get("xmp")
    xmp = xmp and _as_utf8(_bounded(xmp) or b"").rstrip(b"\0")
    return None if not xmp or b"\0" in xmp else xmp


def _as_utf8(xmp: bytes) -> bytes:
    """A packet that may be of UTF-16 (XMP part 1, 7.3.2), in UTF-8."""
    start = xmp[:4].lstrip(codecs.BOM_UTF16_LE + codecs.BOM_UTF16_BE)
    if b"\0" not in start:
        return xmp
    order = "be" if start.startswith(b"\0") else "le"
    packet = xmp[: len(xmp) // 2 * 2].decode(f"utf-16-{order}")
    return packet.lstrip("\ufeff").encode()


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
    """An ICC profile (ICC.1, 7.2) without what stands behind its end."""
    if not profile or len(profile) < 128 or profile[36:40] != b"acsp":
        return None
    size = int.from_bytes(profile[:4])
    if not 128 <= size <= len(profile) or profile_model(profile) not in ("GRAY", "RGB"):
        return None
    return _bounded(profile[:size])


def _dpi(image: Image.Image, exif: exif_blocks.Exif | None) -> tuple[float, float] | None:
    stated = image.info.get("dpi")
    # Where a file says nothing, Pillow says 72 of JPEG and 1 of TIFF.
    if image.format in _WITH_JFIF and image.info.get("jfif_unit") not in _HAS_JFIF_DENSITY:
        stated = None
    if image.format == "TIFF" and _X_RESOLUTION_TAG not in image.tag_v2:
        stated = None
    return (stated and _plausible(stated)) or (
        exif and _plausible(exif_blocks.dpi_of(exif) or (0, 0))
    )


def _plausible(dpi: tuple[float, float]) -> tuple[float, float] | None:
    """The resolution, if every format can hold it."""
    x, y = (float(value) for value in dpi)
    return (x, y) if all(math.isfinite(v) and 1 <= v <= 65535 for v in (x, y)) else None


def _png_colour(content: bytes) -> tuple[tuple[bytes, bytes], ...]:
    found: dict[bytes, bytes] = {}
    for kind, body in png.chunks(content, _COLOUR_CHUNKS):
        if len(body) == _COLOUR_CHUNKS[kind]:
            found.setdefault(kind, body)
    return tuple(found.items())


def _png_text(content: bytes) -> tuple[tuple[tuple[bytes, bytes], bytes, bytes], ...]:
    """Chunks of text with their keywords and texts, those left out that cannot be read."""
    found = []
    total = 0
    for kind, body in png.chunks(content, _TEXT_CHUNKS):
        total += len(body)
        if total > LARGEST_BLOCK:
            break
        text = _attempt(lambda kind=kind, body=body: png.text_of(kind, body))
        if text:
            found.append(((kind, body), *text))
    return tuple(found)


def _bounded(block: bytes) -> bytes | None:
    return block if len(block) <= LARGEST_BLOCK else None
