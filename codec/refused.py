"""Formats that are refused by name."""

import re

# Formats that image datasets do not consist of.
_SIGNATURES = (
    (rb"\0\0\x01\0(?!\0\0)", "Windows icon (.ico)"),
    (rb"\0\0\x02\0(?!\0\0)", "Windows cursor (.cur)"),
    (rb"icns", "Apple icon (.icns)"),
    (rb"8BPS", "Photoshop (.psd, .psb)"),
    (rb"\s*/\* XPM", "XPM"),
    (rb"P7\s", "PAM"),
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
    (rb"RIFF....ACON", "animated cursor (.ani)"),
    (rb"gimp xcf ", "GIMP (.xcf)"),
    (rb"\0\0..\0\0\0[\1\2].{12}GIMP", "GIMP brush (.gbr)"),
    (rb"id=ImageMagick", "MIFF"),
    (rb"\xab\x01", "VIFF"),
    (rb"S\x80\xf64", "Softimage PIC"),
    (rb"R\xcc", "Utah RLE"),
    (rb"FORM....(?:ILBM|PBM )", "IFF (ILBM)"),
    (rb"BLP[12]", "Blizzard texture (.blp)"),
    (rb"DDS ", "DirectDraw surface (.dds)"),
    (rb"FTEX", "FTEX"),
    (rb"\x0a[\0\2\3\5]\x01[\1\2\4\x08]", "PCX"),
    (rb"\xb1\x68\xde\x3a", "DCX"),
    (rb".{4}[\x11\x12]\xaf.{8}[\0\3]\0", "FLI or FLC"),
    (rb".{2048}PCD_", "Photo CD (.pcd)"),
    (rb"\x80\xe8\0\0", "PIXAR"),
    (rb"DanM|LinS", "Microsoft Paint (.msp)"),
    (rb"Image type: ", "IFUNC (.im)"),
    (rb"\x59\xa6\x6a\x95", "Sun raster"),
    (rb"\x01\xda[\0\1][\1\2]", "SGI"),
    (rb"\s*(?:/\*.*?\*/\s*)?#define[ \t]+\S+_width[ \t]", "XBM"),
    (rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml.*?)?(?:<!--.*?)?(?:<!DOCTYPE svg.*?)?<svg[\s>]", "SVG"),
)
_PATTERNS = tuple((re.compile(pattern, re.DOTALL), name) for pattern, name in _SIGNATURES)


def name_of_refused(beginning: bytes) -> str | None:
    """The name of a known format that is not supported.

    Args:
      beginning: the file's first codec.readers.BEGINNING bytes.
    """
    return next((name for pattern, name in _PATTERNS if pattern.match(beginning)), None)
