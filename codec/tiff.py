"""TIFF files, by tifffile: which page is the picture, and its samples as RGB or gray."""

import io
import itertools
import logging

import numpy as np
from tifffile import COMPRESSION, PHOTOMETRIC, TiffFile, TiffPage

from codec import exif as exif_blocks
from codec.colour import rgb_from_cmyk
from codec.errors import NO_PIXELS, ImageError
from codec.metadata import attempt
from codec.picture import Decoded, Metadata, several_pictures
from codec.samples import Planes, scale_codes, straight_from_premultiplied, turned

# Damage that it logs ends in an ImageError, or leaves pixels intact.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

_MOST_PAGES = 1000
_MOST_SAMPLES = 16  # per pixel

# TIFF 6.0 and XMP part 3
_WIDTH_TAG = 256
_HEIGHT_TAG = 257
_ORIENTATION_TAG = 274
_XMP_TAG = 700
_INK_SET_TAG = 332
_CMYK = 1
_EXTRA_SAMPLES_TAG = 338
_REDUCED_OR_MASK = 1 | 4  # of NewSubfileType
_PREMULTIPLIED, _STRAIGHT = 1, 2  # of ExtraSamples
_SAMPLE_KINDS = {
    2: "signed integer", 3: "floating-point", 4: "undefined", 5: "complex integer", 6: "complex"
}  # fmt: skip
_COLOURS = {  # samples per pixel, without alpha
    PHOTOMETRIC.MINISWHITE: 1, PHOTOMETRIC.MINISBLACK: 1, PHOTOMETRIC.PALETTE: 1,
    PHOTOMETRIC.RGB: 3, PHOTOMETRIC.YCBCR: 3, PHOTOMETRIC.SEPARATED: 4,
}  # fmt: skip
_NOT_CARRIED = {
    34377: "Photoshop data was left out",
    33922: "the map position (GeoTIFF) was left out",
    34264: "the map position (GeoTIFF) was left out",
}


def size_of(stream: io.BufferedIOBase) -> tuple[int, int]:
    """Width and height of the first page that is a picture in full resolution.

    Raises:
      ImageError: it has no pixels.
    """
    page, _ = _page_of(stream)
    return int(page.imagewidth), int(page.imagelength)  # tuples in a damaged file


def decode(content: bytes) -> Decoded:
    """Decodes that page."""
    page, count = _page_of(io.BytesIO(content))
    (pixels, alpha), notes = _planes_of(page)
    orientation = page.tags.valueof(_ORIENTATION_TAG, 1)
    pixels = turned(pixels, orientation)
    alpha = None if alpha is None else turned(alpha, orientation)
    pages = several_pictures(f"at least {count}" if count >= _MOST_PAGES else count)
    left_out = dict.fromkeys(note for tag, note in _NOT_CARRIED.items() if tag in page.tags)
    return Decoded(pixels, alpha, _metadata_of(page, content), (*pages, *notes, *left_out))


def _metadata_of(page: TiffPage, content: bytes) -> Metadata:
    """The page's metadata; the resolution is among the tags of EXIF."""
    xmp = page.tags.valueof(_XMP_TAG)
    without = exif_blocks.OF_THE_FILE
    return Metadata(
        exif=attempt(lambda: exif_blocks.serialise(exif_blocks.parse(content, without))),
        xmp=xmp.encode() if isinstance(xmp, str) else xmp and bytes(xmp),
        icc=page.iccprofile,
    )


def _page_of(stream: io.BufferedIOBase) -> tuple[TiffPage, int]:
    """The first page in full resolution, and the number of such pages (at most _MOST_PAGES)."""
    full, seen = [], set()
    stream.seek(0)
    pages = TiffFile(stream).pages
    for index in range(_MOST_PAGES):
        try:
            page = pages[index]
        except Exception:  # the end of the chain, or damage after the first page
            if index == 0:
                raise
            break
        if page.offset in seen:  # a loop
            break
        seen.add(page.offset)
        if not page.subfiletype & _REDUCED_OR_MASK:
            full.append(index)
    first = full[0] if full else 0
    tags = [tag.code for tag in pages[first].tags]
    if (tags.count(_WIDTH_TAG), tags.count(_HEIGHT_TAG)) != (1, 1):
        raise ImageError("the image's header is damaged: it states no size, or several")
    if 0 in (pages[first].imagewidth, pages[first].imagelength):
        raise ImageError(NO_PIXELS)
    return pages[first], max(1, len(full))


def _bits_of(page: TiffPage) -> int:
    return int(np.max(page.bitspersample))


def _planes_of(page: TiffPage) -> tuple[Planes, tuple[str, ...]]:
    """Colours (RGB or gray) and alpha as stored (not turned), and notes.

    Raises:
      ImageError: a kind of samples, colours or compression that is not supported; missing data.
      Exception: any other, on damage.
    """
    _check_supported(page)
    stored = page.asarray(maxworkers=1)
    if page.axes == "SYX":
        stored = np.moveaxis(stored, 0, -1)
    stored = stored.reshape(page.imagelength, page.imagewidth, page.samplesperpixel)
    count = _COLOURS[page.photometric]
    bits, notes = _bits_of(page), ()
    colours, extras = stored[..., :count], stored[..., count:]
    if page.photometric == PHOTOMETRIC.PALETTE:
        colours = _through_colour_map(colours[..., 0], page.colormap)
    else:
        colours = scale_codes(colours, bits)
    alpha, kind, dropped = _alpha_of(page, extras, bits)
    if dropped:
        notes += (f"extra channels without a stated meaning were dropped: {dropped}",)
    if alpha is not None and alpha.dtype != colours.dtype:
        alpha = scale_codes(alpha, 8, colours.dtype)
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        colours = np.iinfo(colours.dtype).max - colours
    if kind == _PREMULTIPLIED:
        colours = straight_from_premultiplied(colours, alpha)
    if page.photometric == PHOTOMETRIC.SEPARATED:
        colours, notes_of_colour = rgb_from_cmyk(colours, page.iccprofile)
        notes += notes_of_colour
    return ((colours[..., 0] if colours.shape[2] == 1 else colours), alpha), notes


def _alpha_of(
    page: TiffPage, extras: np.ndarray, bits: int
) -> tuple[np.ndarray | None, int | None, int]:
    """Alpha among the channels after the colours, its kind, and the number of other channels."""
    kinds = tuple(page.extrasamples)
    if _EXTRA_SAMPLES_TAG not in page.tags and extras.shape[2] == 1:
        kinds = (_STRAIGHT,)  # the meaning where a file states none
    kinds = (*kinds, *[0] * extras.shape[2])[: extras.shape[2]]
    for channel, kind in enumerate(kinds):
        if kind in (_PREMULTIPLIED, _STRAIGHT):
            return scale_codes(extras[..., channel], bits), kind, len(kinds) - 1
    return None, None, len(kinds)


def _check_supported(page: TiffPage) -> None:
    bits = _bits_of(page)
    if page.sampleformat != 1 or bits > 16:
        kind = _SAMPLE_KINDS.get(page.sampleformat, "unsigned integer")
        raise ImageError(
            f"{bits}-bit {kind} samples are not supported; convert them to 8 or 16 bits"
        )
    if np.min(page.bitspersample) != bits:
        raise ImageError(f"samples of differing depths {page.bitspersample} are not supported")
    if page.photometric not in _COLOURS or page.imagedepth != 1:
        name = getattr(page.photometric, "name", repr(page.photometric))
        raise ImageError(
            f"TIFF pixels of kind {name} with {bits} bits are not supported; convert it to PNG"
        )
    if not _COLOURS[page.photometric] <= page.samplesperpixel <= _MOST_SAMPLES:
        raise ImageError(f"{page.samplesperpixel} samples per pixel are not supported")
    inkset = page.tags.valueof(_INK_SET_TAG, _CMYK)
    if page.photometric == PHOTOMETRIC.SEPARATED and inkset != _CMYK:
        raise ImageError("inks other than cyan, magenta, yellow and black are not supported")
    if page.photometric == PHOTOMETRIC.YCBCR and page.compression not in (
        COMPRESSION.OJPEG, COMPRESSION.JPEG
    ):  # fmt: skip
        raise ImageError("YCbCr without JPEG compression is not supported; convert it to PNG")
    _check_whole(page)


def _check_whole(page: TiffPage) -> None:
    counts, offsets = page.databytecounts, page.dataoffsets
    if len(counts) < np.prod(page.chunked) or 0 in itertools.chain(counts, offsets):
        raise ImageError("the image is damaged: strips or tiles are missing")
    # Uncompressed files may state too much; the library reports them when they are cut.
    ends = map(sum, zip(offsets, counts, strict=False))
    if page.compression != COMPRESSION.NONE and max(ends) > page.parent.filehandle.size:
        raise ImageError("the image is damaged: the file is truncated")


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
        raise ImageError("the image is damaged: a pixel's colour is not in the palette")
    return colours[indices.astype(np.uint16, copy=False)]  # one-bit indices are booleans
