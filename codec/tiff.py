"""TIFF files: which page is the picture, and samples that Pillow does not decode whole."""

import io
import itertools
import logging

import numpy as np
from PIL import Image, TiffImagePlugin
from tifffile import COMPRESSION, PHOTOMETRIC, TiffFile, TiffPage

from codec.colour import rgb_from_cmyk, rgb_from_lab
from codec.errors import NO_PIXELS, ImageError
from codec.samples import scaled, straight_from_premultiplied
from srcnn.strips import map_strips

# Damage that it logs ends in an ImageError, or does not touch pixels.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
BIG_ENDIAN_BIGTIFF = b"MM\0+"
MOST_PAGES = 1000
_MOST_SAMPLES = 16  # per pixel

# TIFF 6.0
_WIDTH_TAG = 256
_HEIGHT_TAG = 257
_ICC_TAG = 34675
_INK_SET_TAG = 332
_CMYK = 1
_EXTRA_SAMPLES_TAG = 338
_REDUCED_OR_MASK = 1 | 4  # of NewSubfileType
_PREMULTIPLIED, _STRAIGHT = 1, 2  # of ExtraSamples
_SAMPLE_KINDS = {
    2: "signed integer",
    3: "floating-point",
    4: "undefined",
    5: "complex integer",
    6: "complex",
}
# What Pillow's libtiff may have been built without.
_OPTIONAL_COMPRESSIONS = (COMPRESSION.LZMA, COMPRESSION.ZSTD, COMPRESSION.WEBP)
_COLOURS = {
    PHOTOMETRIC.MINISWHITE: 1,
    PHOTOMETRIC.MINISBLACK: 1,
    PHOTOMETRIC.RGB: 3,
    PHOTOMETRIC.PALETTE: 1,
    PHOTOMETRIC.SEPARATED: 4,
    PHOTOMETRIC.YCBCR: 3,
    PHOTOMETRIC.CIELAB: 3,
    PHOTOMETRIC.ICCLAB: 3,
}
_LAB = (PHOTOMETRIC.CIELAB, PHOTOMETRIC.ICCLAB)
_GRAY_OR_RGB = (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB)
_ROUNDED = "32 bits per sample were rounded to 16"


class _AnyTiff(TiffImagePlugin.TiffImageFile):
    """A TIFF by Pillow, its tags read also where its pixels are of a kind that Pillow refuses."""

    def _setup(self) -> None:
        try:
            super()._setup()
        except (KeyError, SyntaxError):
            self.tile = []
            self._mode = "L"
            self._size = self._tile_size = self.tag_v2[_WIDTH_TAG], self.tag_v2[_HEIGHT_TAG]
            if _ICC_TAG in self.tag_v2:
                self.info["icc_profile"] = self.tag_v2[_ICC_TAG]


def open_tiff(stream: io.BufferedIOBase) -> tuple[Image.Image, TiffPage, int]:
    """Opens the first page of a TIFF that is a picture in full resolution; decodes no pixels.

    Returns:
      The page by Pillow and by tifffile; how many pages are pictures of their own, at most
      MOST_PAGES.

    Raises:
      ImageError: it has no pixels.
      Exception: whatever damage makes of the libraries.
    """
    full, seen = [], set()
    pages = TiffFile(stream).pages
    for index in range(MOST_PAGES):
        try:
            page = pages[index]
        except Exception:  # the end of the chain, or damage behind the first page
            if index == 0:
                raise
            break
        if page.offset in seen:  # a loop
            break
        seen.add(page.offset)
        if not page.subfiletype & _REDUCED_OR_MASK:
            full.append(index)
    first = full[0] if full else 0
    if 0 in (pages[first].imagewidth, pages[first].imagelength):
        raise ImageError(NO_PIXELS)
    return _by_pillow(stream, first, pages[first]), pages[first], max(1, len(full))


def _by_pillow(stream: io.BufferedIOBase, index: int, page: TiffPage) -> Image.Image:
    stream.seek(0)
    if stream.read(4) == BIG_ENDIAN_BIGTIFF:  # Pillow takes it for damage
        image = Image.new("L", (1, 1))
        if page.iccprofile:
            image.info["icc_profile"] = page.iccprofile
        return image
    stream.seek(0)
    image = _AnyTiff(stream)
    image.seek(index)
    return image


def depth_of(page: TiffPage) -> int:
    """Bits per sample; the most, where channels differ."""
    return int(np.max(page.bitspersample))


def is_whole_in_pillow(image: Image.Image, page: TiffPage) -> bool:
    """Whether Pillow decodes the picture with nothing cut off, dropped or rounded twice."""
    return (
        bool(getattr(image, "tile", ()))
        and page.compression not in _OPTIONAL_COMPRESSIONS
        and depth_of(page) <= 8
        and page.sampleformat == 1
        and page.extrasamples in ((), (_STRAIGHT,))
        and page.photometric not in (PHOTOMETRIC.PALETTE, *_LAB)
    )


def decode_tiff(
    image: Image.Image, page: TiffPage
) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """Decodes a page by tifffile; takes a profile that was used out of `image.info`.

    Returns:
      (h, w, 3) RGB or (h, w), uint8 or uint16, as stored (not turned); alpha, (h, w) of the same
      type, or None; notes.

    Raises:
      ImageError: a kind of samples, colours or compression that is not supported; missing data.
      Exception: whatever damage makes of the libraries.
    """
    _check_supported(page)
    stored = page.asarray(maxworkers=1)
    if page.axes == "SYX":
        stored = np.moveaxis(stored, 0, -1)
    stored = stored.reshape(page.imagelength, page.imagewidth, page.samplesperpixel)
    count = _COLOURS[page.photometric]
    bits, notes = depth_of(page), []
    if bits == 32:
        stored, bits = _sixteen_bit(stored), 16
        notes.append(_ROUNDED)
    colours, extras = stored[..., :count], stored[..., count:]
    if page.photometric == PHOTOMETRIC.PALETTE:
        colours = _through_colour_map(colours[..., 0], page.colormap)
    elif page.photometric in _LAB:
        colours = _through_lab(colours, page.photometric)
    else:
        colours = scaled(colours, bits)
    kinds = tuple(page.extrasamples)
    if _EXTRA_SAMPLES_TAG not in page.tags and extras.shape[2] == 1:
        kinds = (_STRAIGHT,)  # what programs mean that do not say
    kinds = (*kinds, *[0] * extras.shape[2])[: extras.shape[2]]
    alpha, kind = None, None
    for channel, kind in enumerate(kinds):
        if kind in (_PREMULTIPLIED, _STRAIGHT):
            alpha = scaled(extras[..., channel], bits)
            break
    dropped = len(kinds) - (alpha is not None)
    if dropped:
        notes.append(f"extra channels without a stated meaning were dropped: {dropped}")
    if alpha is not None and alpha.dtype != colours.dtype:
        alpha = scaled(alpha, 8, colours.dtype)
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        colours = np.iinfo(colours.dtype).max - colours
    if kind == _PREMULTIPLIED:
        colours = straight_from_premultiplied(colours, alpha)
    if page.photometric == PHOTOMETRIC.SEPARATED:
        colours, notes_of_colour = rgb_from_cmyk(colours, image.info.pop("icc_profile", None))
        notes += notes_of_colour
    return (colours[..., 0] if colours.shape[2] == 1 else colours), alpha, notes


def _check_supported(page: TiffPage) -> None:
    bits = depth_of(page)
    has_sign = page.sampleformat == 2 and page.photometric not in _LAB
    if has_sign or page.sampleformat not in (1, 2) or (bits > 16 and bits != 32):
        kind = _SAMPLE_KINDS.get(page.sampleformat, "integer")
        raise ImageError(f"{bits}-bit {kind} samples are not supported; 8 or 16 bits are")
    if np.min(page.bitspersample) != bits:
        raise ImageError(f"samples of differing depths {page.bitspersample} are not supported")
    if (
        page.photometric not in _COLOURS
        or page.imagedepth != 1
        or (bits == 32 and page.photometric not in _GRAY_OR_RGB)
    ):
        name = getattr(page.photometric, "name", page.photometric)
        raise ImageError(f"TIFF pixels of kind {name} with {bits} bits are not supported")
    if not _COLOURS[page.photometric] <= page.samplesperpixel <= _MOST_SAMPLES:
        raise ImageError(f"{page.samplesperpixel} samples per pixel are not supported")
    inkset = page.tags.valueof(_INK_SET_TAG, _CMYK)
    if page.photometric == PHOTOMETRIC.SEPARATED and inkset != _CMYK:
        raise ImageError("inks other than cyan, magenta, yellow and black are not supported")
    if page.photometric == PHOTOMETRIC.YCBCR and page.compression not in (
        COMPRESSION.OJPEG, COMPRESSION.JPEG
    ):  # fmt: skip
        raise ImageError(f"YCbCr of {bits} bits is not supported")
    counts = page.databytecounts
    if len(counts) < np.prod(page.chunked) or 0 in itertools.chain(counts, page.dataoffsets):
        raise ImageError("the image is damaged: strips or tiles are missing")


def _sixteen_bit(samples: np.ndarray) -> np.ndarray:
    """Unsigned 32-bit samples as 16 bits, rounded; 65537 codes are one."""
    return map_strips(lambda strip: (strip + np.uint64(32768)) // 65537, np.uint16, samples)


def _through_lab(stored: np.ndarray, photometric: PHOTOMETRIC) -> np.ndarray:
    """CIELab has signs (TIFF 6.0, section 23), ICCLab is the encoding of ICC profiles."""
    deep = stored.itemsize == 2
    unit = 256 if deep else 1
    if photometric == PHOTOMETRIC.ICCLAB:
        return rgb_from_lab(stored, 65280 if deep else 255, unit, 128 * unit)
    codes = stored.astype(np.uint16 if deep else np.uint8)
    codes[..., 1:] ^= 128 * unit  # two's complement, as a distance from the smallest
    return rgb_from_lab(codes, 65535 if deep else 255, unit, 128 * unit)


def _through_colour_map(indices: np.ndarray, colour_map: np.ndarray) -> np.ndarray:
    """Colours of 8 bits where the map holds no more, else of 16.

    Args:
      colour_map: (3, n), uint16.
    """
    colours = np.ascontiguousarray(colour_map.T).astype(np.uint16)
    if colours.max(initial=0) < 256:  # a common mistake: 8-bit colours, not scaled to 16 bits
        colours = colours.astype(np.uint8)
    elif not np.any(colours % 257):
        colours = (colours // 257).astype(np.uint8)
    elif not np.any(colours % 256):  # another: multiplied by 256
        colours = (colours // 256).astype(np.uint8)
    if indices.max(initial=0) >= len(colours):
        raise ImageError("the image is damaged: pixels of a colour that is not in its palette")
    return colours[indices.astype(np.uint16, copy=False)]  # of one bit they are truth values
