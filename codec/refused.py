"""Files that are refused by name: formats that are not decoded, images without pixels."""

import re
import struct

_SIGNATURES = (
    (rb"....ftyp(?:hei[cmsx]|hev[cmsx]|mif1|msf1)(?!.{,60}avif)", "HEIC or HEIF"),
    (rb"%PDF-", "PDF"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript or EPS"),
    (rb"v/1\x01", "OpenEXR"),
    (rb"#\?RADIANCE|#\?RGBE", "Radiance HDR"),
    (rb"P[fF]\s", "PFM (floating-point samples)"),
    (rb"SIMPLE  =", "FITS"),
    (rb"\xd7\xcd\xc6\x9a|\x01\0\x09\0\0\x03", "WMF"),
    (rb"\x01\0\0\0.{36} EMF", "EMF"),
    (rb"AT&TFORM", "DjVu"),
    (rb"FLIF", "FLIF"),
    (rb"BPG\xfb", "BPG"),
    (rb"II\xbc", "JPEG XR"),
    (rb"\x8bJNG\r\n\x1a\n", "JNG"),
    (rb"\x8aMNG\r\n\x1a\n", "MNG"),
    (rb"RIFF....ACON", "animated cursor (ANI)"),
    (rb"gimp xcf ", "GIMP (XCF)"),
    (rb"id=ImageMagick", "MIFF"),
    (rb"\xab\x01", "VIFF"),
    (rb"S\x80\xf64", "Softimage PIC"),
    (rb"R\xcc", "Utah RLE"),
    (rb"FORM....(?:ILBM|PBM )", "IFF (ILBM)"),
    (rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml.*?)?(?:<!--.*?)?(?:<!DOCTYPE svg.*?)?<svg[\s>]", "SVG"),
)
_PATTERNS = tuple((re.compile(pattern, re.DOTALL), name) for pattern, name in _SIGNATURES)
SIGNATURE_LENGTH = 1024

# Where width and height stand, in either order: signature, layout, position.
_SIZES = (
    (b"\x89PNG\r\n\x1a\n", ">II", 16),
    (b"GIF8", "<HH", 6),
    (b"BM", "<II", 18),
    (b"8BPS", ">II", 14),
    (b"qoif", ">II", 4),
)


def name_of_refused(beginning: bytes) -> str | None:
    """The name of a known format that is not decoded.

    Args:
      beginning: the file's first SIGNATURE_LENGTH bytes.
    """
    return next((name for pattern, name in _PATTERNS if pattern.match(beginning)), None)


def has_no_pixels(beginning: bytes) -> bool:
    """Whether a header says a width or height of 0, in formats where Pillow has no word for it.

    Args:
      beginning: the file's first SIGNATURE_LENGTH bytes.
    """
    return any(
        beginning.startswith(signature)
        and len(beginning) >= position + struct.calcsize(layout)
        and 0 in struct.unpack_from(layout, beginning, position)
        for signature, layout, position in _SIZES
    )
