"""The table of writers: the abilities of each format, and the function that writes it."""

import functools
import io
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from codec import exif as exif_blocks
from codec import png
from codec.metadata import LARGEST_BLOCK
from codec.picture import Metadata
from srcnn.colour import peak_of

_JPEG_QUALITY = 95
_METRES_PER_INCH = 0.0254

JpegTables = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class EncodeSettings:
    """How images are encoded.

    Attributes:
      quality: 1 to 100, for JPEG and WebP. None: JPEG at least 95 and no coarser than the source's
        tables, WebP without loss.
      compression: 0 to 9, the effort of lossless compression for PNG and TIFF.
      jpeg_tables: quantisation tables of the source, if that was a JPEG, in natural order: luma,
        then chroma. They count only where quality is None.
    """

    quality: int | None = None
    compression: int = 1
    jpeg_tables: JpegTables = ()


Writer = Callable[[np.ndarray, Metadata, EncodeSettings], bytes]


@dataclass(frozen=True)
class Format:
    """A format: its abilities and limits, and its writer.

    Attributes:
      name: for the owner.
      suffixes: endings of its files, the preferred one first.
      write: makes a file of samples that the format can hold: (h, w) gray, (h, w, 2) gray and
        alpha, (h, w, 3) RGB or (h, w, 4) RGBA.
      holds: fields of Metadata and the bytes that they may have.
    """

    name: str
    suffixes: tuple[str, ...]
    write: Writer
    holds: Mapping[str, int] = field(default_factory=dict)
    gray: bool = True
    gray_alpha: bool = True
    alpha: bool = True
    deep: bool = True
    longest_side: int = 2**31 - 1
    most_bytes: float = float("inf")


def _per_metre(dpi: tuple[float, float]) -> tuple[int, int]:
    return round(dpi[0] / _METRES_PER_INCH), round(dpi[1] / _METRES_PER_INCH)


# PNG

# zlib's strategies and libpng's filters: OpenCV's choice for speed, and all filters.
_FILTERED, _RUN_LENGTHS = 1, 3
_SUB_FILTER, _ALL_FILTERS = 0x10, 0xF8


def _png(samples: np.ndarray, metadata: Metadata, settings: EncodeSettings) -> bytes:
    quick = settings.compression <= 1
    # The buffer that imagecodecs allocates is too small for narrow noise, by a byte a row.
    room = samples.nbytes + samples.nbytes // 100 + 64 * len(samples) + 4096
    content = imagecodecs.png_encode(
        samples,
        level=settings.compression,
        strategy=_RUN_LENGTHS if quick else _FILTERED,
        filter=_SUB_FILTER if quick else _ALL_FILTERS,
        out=room,
    )
    return png.with_chunks(bytes(content), _png_chunks(metadata))


def _png_chunks(metadata: Metadata) -> list[tuple[bytes, bytes]]:
    added = [
        (kind, body)
        for kind, body in metadata.png_colour
        if not (kind == b"sRGB" and metadata.icc)  # the two exclude each other
    ]
    if metadata.icc:
        added.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    if metadata.dpi:
        added.append((b"pHYs", struct.pack(">IIB", *_per_metre(metadata.dpi), 1)))
    if metadata.exif:
        added.append((b"eXIf", metadata.exif))
    if metadata.xmp:
        added.append((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp))
    return [*added, *metadata.png_text]


# JPEG and WebP, by Pillow


def _jpeg(samples: np.ndarray, metadata: Metadata, settings: EncodeSettings) -> bytes:
    if settings.quality is None:
        options = {"qtables": _at_least(settings.jpeg_tables)}
    else:
        options = {"quality": settings.quality}
    if metadata.exif:
        metadata = replace(metadata, exif=b"Exif\0\0" + metadata.exif)
    return _pillow_file("JPEG", samples, metadata, subsampling=0, **options)


def _at_least(tables: JpegTables) -> list[list[int]]:
    """Tables for luma and chroma as fine as those of quality 95 and as the source's."""
    luma, chroma = _tables_of_quality(_JPEG_QUALITY)
    return [
        [min(steps) for steps in zip(luma, *tables[:1], strict=True)],
        [min(steps) for steps in zip(chroma, *(tables[1:] or tables), strict=True)],
    ]


@functools.cache
def _tables_of_quality(quality: int) -> JpegTables:
    content = _pillow_file("JPEG", np.zeros((8, 8, 3), np.uint8), Metadata(), quality=quality)
    with Image.open(io.BytesIO(content)) as image:
        return tuple(tuple(table) for table in image.quantization.values())


def _webp(samples: np.ndarray, metadata: Metadata, settings: EncodeSettings) -> bytes:
    # Without loss, quality and method are effort: a third of the time that the defaults take, for
    # 1 to 7 per cent more bytes.
    options = {"lossless": True, "exact": True, "quality": 20, "method": 1}
    if settings.quality is not None:
        options = {"quality": settings.quality}
    return _pillow_file("WEBP", samples, metadata, **options)


def _pillow_file(file_format: str, samples: np.ndarray, metadata: Metadata, **options) -> bytes:
    stated = {
        "icc_profile": metadata.icc,
        "xmp": metadata.xmp,
        "exif": metadata.exif,
        "dpi": metadata.dpi,
    }
    buffer = io.BytesIO()
    options |= {name: value for name, value in stated.items() if value}
    Image.fromarray(samples).save(buffer, file_format, **options)
    return buffer.getvalue()


# TIFF

_XMP_TAG = 700
_BYTE = 1
_PER_INCH = 2


def _tiff(samples: np.ndarray, metadata: Metadata, settings: EncodeSettings) -> bytes:
    exif = exif_blocks.parse(metadata.exif) if metadata.exif else exif_blocks.Exif("<", {})
    tags = {tag: item for tag, item in exif.tags.items() if tag not in exif_blocks.OF_THE_FILE}
    if metadata.xmp:
        tags[_XMP_TAG] = exif_blocks.Entry(_BYTE, metadata.xmp)
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        samples,
        byteorder=exif.order,
        bigtiff=False,
        photometric="minisblack" if channels < 3 else "rgb",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="adobe_deflate",
        compressionargs={"level": settings.compression},
        predictor=True,
        iccprofile=metadata.icc,
        resolution=metadata.dpi,
        resolutionunit=_PER_INCH if metadata.dpi else None,
        software=False,
        metadata=None,
        maxworkers=1,
    )
    content = buffer.getvalue()
    return exif_blocks.with_tags(content, tags) if tags else content


# BMP, PNM

_PELS_PER_METRE = 38  # their place in a BMP file


def _bmp(samples: np.ndarray, metadata: Metadata, settings: EncodeSettings) -> bytes:
    content = memoryview(imagecodecs.bmp_encode(samples))
    pels = struct.pack("<ii", *(_per_metre(metadata.dpi) if metadata.dpi else (0, 0)))
    return b"".join([content[:_PELS_PER_METRE], pels, content[_PELS_PER_METRE + len(pels) :]])


def _pnm(samples: np.ndarray, metadata: Metadata, settings: EncodeSettings) -> bytes:
    height, width = samples.shape[:2]
    letters = b"P5" if samples.ndim == 2 else b"P6"
    header = b"%s\n%d %d\n%d\n" % (letters, width, height, peak_of(samples))
    return header + samples.astype(samples.dtype.newbyteorder(">")).tobytes()


# Names of Metadata's fields in notes.
NAMES = {
    "exif": "EXIF",
    "xmp": "XMP",
    "icc": "the ICC profile",
    "dpi": "the resolution (dpi)",
    "png_colour": "the colour information of PNG",
    "png_text": "the text of PNG",
}

_ANY = LARGEST_BLOCK
_FOUR_GIB = 2**32 - 2**25  # less room for metadata

FORMATS = (
    # Pillow opens no PNG whose profile is larger.
    Format("PNG", (".png",), _png, dict.fromkeys(NAMES, _ANY) | {"icc": png.INFLATED_LIMIT}),
    # A segment has 65,533 bytes; only profiles can be spread over several.
    Format(
        "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), _jpeg,
        {"exif": 65_533 - 6, "xmp": 65_502, "icc": _ANY, "dpi": _ANY},
        alpha=False, deep=False, longest_side=65_500,
    ),
    Format(
        "WebP", (".webp",), _webp, dict.fromkeys(("exif", "xmp", "icc"), _ANY),
        gray=False, gray_alpha=False, deep=False, longest_side=16_383,
    ),
    Format(
        "TIFF", (".tif", ".tiff"), _tiff, dict.fromkeys(("exif", "xmp", "icc", "dpi"), _ANY),
        most_bytes=_FOUR_GIB,
    ),
    Format(
        "BMP", (".bmp", ".dib"), _bmp, {"dpi": _ANY},
        gray_alpha=False, deep=False, most_bytes=_FOUR_GIB,
    ),
    Format("PNM", (".ppm", ".pgm", ".pnm"), _pnm, alpha=False),
)  # fmt: skip
