"""Decodes images. The header is looked at before any pixel is decoded."""

import io
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
from PIL import Image, ImageOps

from codec import bmp, deep, jxl, png, psd, tiff, xpm
from codec.colour import rgb_from_cmyk
from codec.errors import ImageError, damaged
from codec.header import MENDED, ImageHeader, OpenImage, open_image
from codec.jpeg import ended_jpeg
from codec.metadata import metadata_of
from codec.picture import Picture
from codec.samples import turned

__all__ = ["ImageHeader", "decode_image", "read_header"]

_ORIENTATION_TAG = 274  # of TIFF
# What Pillow's modes become, where that takes no more than Pillow.
_CONVERTED = {
    "1": "L", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB", "YCbCr": "RGB", "HSV": "RGB",
}  # fmt: skip
_REFUSED = {"F": "32-bit floating-point samples", "I": "32-bit integer samples"}
_CUT = "16-bit samples of SGI files cannot be read whole: their upper 8 bits were taken"
# Of Pillow's info, and of a TIFF's tags.
_NOT_CARRIED = {
    "comment": "a comment",
    "photoshop": "what Photoshop or IPTC says",
    34377: "what Photoshop says",
    33922: "the place on a map (GeoTIFF)",
    34264: "the place on a map (GeoTIFF)",
}
_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_NO_END = "the JPEG's end marker is missing; no pixel is"
_UNUSED_ALPHA = "transparency that hides the whole TGA was taken for unused, and left out"
_LARGEST_FIRST = ("ICO", "ICNS")


class _KeptOpen(io.BytesIO):
    """A file that readers which close it (FTEX's) leave open for those that come behind."""

    def close(self) -> None:
        """Does nothing; the memory goes with the last reference."""


def read_header(content: bytes | io.BufferedIOBase) -> ImageHeader:
    """Reads an image's header; decodes no pixels.

    Args:
      content: a file's bytes, or an open binary file.

    Raises:
      ImageError: the file is empty or is no image that can be decoded.
    """
    stream = io.BytesIO(content) if isinstance(content, bytes) else content
    return open_image(stream).header


def decode_image(content: bytes, max_megapixels: float) -> Picture:
    """Decodes an image with its depth and channels kept and its EXIF orientation applied.

    Of several pictures in a file the first is taken, of an icon's sizes the largest. CMYK and LAB
    become sRGB. Samples of less than 8 bits become 8 bits, of more than 8 become 16.

    Args:
      content: the file's bytes.
      max_megapixels: larger images are refused before they are decoded.

    Raises:
      ImageError: the content is empty, not an image, truncated, too large or of a kind that is
        not supported.
      MemoryError: there is too little memory for it.
    """
    opened = open_image(_KeptOpen(content), max_megapixels)
    with opened.image as image:
        # Before the pixels: decoding changes what Pillow says of the file.
        metadata = metadata_of(image, opened.stream.getvalue())
        left_out = tuple(_left_out(image))
        try:
            pixels, alpha, notes = _decode(opened)
        except Exception as error:
            mended, note = _mended(opened.header, content, error)
            if mended is None:
                raise damaged("the image is damaged", error) from None
            picture = decode_image(mended, max_megapixels)
            return replace(picture, notes=(*picture.notes, note))
        if pixels.ndim == 3:
            pixels = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2BGR)
        return Picture(
            np.ascontiguousarray(pixels),
            None if alpha is None else np.ascontiguousarray(alpha),
            opened.header.format,
            metadata,
            notes=(*opened.notes, *_notes_of(opened.header), *notes, *left_out),
            jpeg_tables=_tables_of(image),
        )


def _mended(header: ImageHeader, content: bytes, error: Exception) -> tuple[bytes | None, str]:
    """A file with all the pixels of one that a decoder stumbled over, or None; a note."""
    if header.format in ("JPEG", "MPO") and isinstance(error, OSError):
        return ended_jpeg(content), _NO_END
    if header.format == "PNG" and isinstance(error, SyntaxError):
        pixels = png.only_pixels(content)
        return (pixels if 0 < len(pixels) < len(content) else None), MENDED
    return None, ""


def _decode(opened: OpenImage) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """(h, w, 3) RGB or (h, w), alpha, notes; all upright."""
    image, header, stream, page = opened.image, opened.header, opened.stream, opened.page
    if page and not tiff.is_whole_in_pillow(image, page):
        pixels, alpha, notes = tiff.decode_tiff(image, page)
        orientation = page.tags.valueof(_ORIENTATION_TAG, 1)
        alpha = None if alpha is None else turned(alpha, orientation)
        return turned(pixels, orientation), alpha, notes
    if header.format == "PAM":
        return *deep.decode_pam(stream), []
    if header.format == "JPEG XL":
        return *jxl.decode_jxl(stream.getvalue(), jxl.header_of_jxl(stream).bits), []
    if header.format == "XPM":
        return *xpm.decode_xpm(stream.getvalue()), []
    if header.format == "PSD":
        return psd.decode_psd(stream.getvalue())
    if header.format == "BMP" and image.format is None:
        return *bmp.decode_bmp(stream.getvalue()), []
    if deep.needs_own_decoder(image, stream, header.bit_depth):
        return *deep.decode_deep(image, stream.getvalue()), []
    return _decode_by_pillow(image)


def _decode_by_pillow(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    notes = [_CUT] if _has_deep_sgi_samples(image) else []
    _scale_transparent_gray(image)
    _load(image)
    profile = image.info.get("icc_profile")
    ImageOps.exif_transpose(image, in_place=True)  # else it copies those that stand upright too
    upright = image
    if upright.mode == "CMYK":
        rgb, notes = rgb_from_cmyk(np.asarray(upright), profile)
        # It speaks of numbers that are gone.
        image.info.pop("icc_profile", None)
        return rgb, None, notes
    if "transparency" in upright.info:
        upright = upright.convert("LA" if upright.mode in ("1", "L") else "RGBA")
    elif upright.mode == "P":
        upright = upright.convert("RGBA" if upright.palette.mode == "RGBA" else "RGB")
    elif upright.mode in _CONVERTED:
        upright = upright.convert(_CONVERTED[upright.mode])
    if upright.mode not in ("L", "LA", "RGB", "RGBA"):
        kind = _REFUSED.get(upright.mode, f"pixels of kind {upright.mode}")
        raise ImageError(f"{kind} are not supported; 8 or 16 bits are")
    samples = np.asarray(upright)
    if image.format == "XBM":  # Pillow shows it inverted
        samples = 255 - samples
    if image.format == "TGA" and upright.mode in ("LA", "RGBA") and not samples[..., -1].any():
        return samples[..., 0] if upright.mode == "LA" else samples[..., :3], None, [_UNUSED_ALPHA]
    if upright.mode in ("L", "RGB"):
        return samples, None, notes
    return samples[..., 0] if upright.mode == "LA" else samples[..., :3], samples[..., -1], notes


def _load(image: Image.Image) -> None:
    """Loads a picture; what the first frame of a GIF leaves open is transparent, as in browsers."""
    frame = image.tile[0].extents if image.format == "GIF" and image.tile else None
    image.load()
    # With a transparent colour Pillow fills with it.
    if frame and frame != (0, 0, *image.size) and "transparency" not in image.info:
        covered = Image.new("L", image.size)
        covered.paste(255, frame)
        image.putalpha(covered)


def _has_deep_sgi_samples(image: Image.Image) -> bool:
    """Whether Pillow cuts samples of 16 bits, as it does in SGI files alone of those it decodes."""
    if image.format != "SGI":
        return False
    tile = image.tile[0]
    return tile.codec_name == "SGI16" or (tile.codec_name == "sgi_rle" and tile.args[2] == 2)


def _scale_transparent_gray(image: Image.Image) -> None:
    """Makes the key of a PNG of 2 or 4 bits fit the 8 bits that Pillow makes of its grays."""
    if image.format == "PNG" and image.tile and "transparency" in image.info:
        image.info["transparency"] *= {"L;2": 85, "L;4": 17}.get(image.tile[0].args, 1)


def _notes_of(header: ImageHeader) -> list[str]:
    if header.frames == 1:
        return []
    which = "the largest" if header.format in _LARGEST_FIRST else "the first"
    more = "at least " * (header.frames >= tiff.MOST_PAGES and header.format == "TIFF")
    return [f"the file holds {more}{header.frames} pictures, only {which} was taken"]


def _left_out(image: Image.Image) -> Iterator[str]:
    """Notes on what stands beside the pixels and is not in Metadata."""
    for name, what in _NOT_CARRIED.items():
        if name in (image.info if isinstance(name, str) else getattr(image, "tag_v2", ())):
            yield f"{what} was left out"
    if any(block.startswith(_EXTENDED_XMP) for _, block in getattr(image, "applist", ())):
        yield "extended XMP was left out"


def _tables_of(image: Image.Image) -> tuple[tuple[int, ...], ...]:
    tables = getattr(image, "quantization", None) if image.format in ("JPEG", "MPO") else None
    return tuple(tuple(table) for _, table in sorted((tables or {}).items()))
