"""JPEG 2000: codestreams, and the boxes of JP2 files (ISO 15444-1, annex I)."""

import io
import math
import struct
from dataclasses import replace
from fractions import Fraction

import imagecodecs

from codec import pillow
from codec.boxes import boxes
from codec.errors import ImageError
from codec.metadata import attempt
from codec.picture import Decoded
from codec.samples import Planes, scaled, split

SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
CODESTREAM = b"\xff\x4f\xff\x51"
# What of the header box is about pixels: size, depths, colour space, palette, channels.
_PIXELS = frozenset({b"ihdr", b"bpcc", b"colr", b"pclr", b"cmap", b"cdef"})
# What stands before the header box in the files of OpenJPEG: the signature and the file type.
_HEADER = 32
EXIF = b"JpgTiffExif->JP2"
XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


def size_of(stream: io.BufferedIOBase) -> tuple[int, int]:
    """Width and height.

    Raises:
      ImageError: header and codestream state two: memory is taken by the second, limits are held
        to the first.
    """
    stated = pillow.size_of("JPEG2000", stream)
    stream.seek(0)
    size, _ = _codestream_of(stream.read())
    if size != stated:
        raise ImageError("the image's header is damaged: it says two sizes")
    return size


def decode(content: bytes) -> Decoded:
    """Decodes a JPEG 2000.

    Raises:
      ImageError: its samples are of a kind that is not supported.
    """
    with pillow.opened("JPEG2000", io.BytesIO(content)) as image:
        metadata = replace(
            pillow.metadata_in(image),
            exif=block_in(content, EXIF),
            xmp=block_in(content, XMP),
            icc=profile_in(content),
        )
        left_out = pillow.left_out_of(image)
        _, components = _codestream_of(content)
        if max(bits for bits, _ in components) <= 8:
            planes, _ = pillow.planes_of(image)
        else:
            planes = _decode_deep(content, components)
        return Decoded(*planes, metadata, left_out)


def _decode_deep(content: bytes, components: list[tuple[int, bool]]) -> Planes:
    bits = components[0][0]
    if any(component != (bits, False) for component in components) or bits > 16:
        raise ImageError(
            "JPEG 2000 samples that have signs, more than 16 bits or differing depths are not "
            "supported"
        )
    # Of sYCC the library makes RGB.
    return split(scaled(imagecodecs.jpeg2k_decode(content), bits))


def block_in(content: bytes, uuid: bytes) -> bytes | None:
    """What a file holds in its box of a UUID: EXIF or XMP."""
    found = (body for kind, body in boxes(content) if kind == b"uuid")
    return next((body[len(uuid) :] for body in found if body.startswith(uuid)), None)


def mended(content: bytes) -> bytes | None:
    """A file of nothing but the boxes that its pixels need.

    None where it has no pixels, and where its boxes are sound: then its pixels are damaged.
    """
    if attempt(lambda: pillow.opened("JPEG2000", io.BytesIO(content))):
        return None
    found = dict(boxes(content))
    if b"jp2h" not in found or b"jp2c" not in found:
        return None
    header = b"".join(_box(kind, body) for kind, body in boxes(found[b"jp2h"]) if kind in _PIXELS)
    parts = [(b"jP  ", SIGNATURE[8:]), (b"ftyp", b"jp2 \0\0\0\0jp2 "), (b"jp2h", header)]
    return b"".join(_box(kind, body) for kind, body in [*parts, (b"jp2c", found[b"jp2c"])])


def profile_in(content: bytes) -> bytes | None:
    """The ICC profile that a file holds (I.5.3.3: method 2 or 3)."""
    headers = (body for kind, body in boxes(content) if kind == b"jp2h")
    colours = (body for header in headers for kind, body in boxes(header) if kind == b"colr")
    return next((body[3:] for body in colours if body[:1] in (b"\2", b"\3")), None)


def with_boxes(
    content: bytes,
    channels: int,
    dpi: tuple[float, float] | None,
    exif: bytes | None,
    xmp: bytes | None,
) -> bytes:
    """A file of OpenJPEG with what it leaves out: which channel is alpha, and metadata.

    Args:
      content: the file.
      channels: 1 to 4; with 2 and 4 the last one is alpha.
      dpi: pixels per inch.
      exif: as in Metadata.
      xmp: as in Metadata.
    """
    (size,) = struct.unpack_from(">I", content, _HEADER)
    header, rest = content[_HEADER + 8 : _HEADER + size], content[_HEADER + size :]
    if channels in (2, 4):
        header += _channel_definition(channels)
    if dpi:
        header += _box(b"res ", _box(b"resc", _resolution(*dpi)))
    for uuid, block in ((EXIF, exif), (XMP, xmp)):
        if block:
            rest += _box(b"uuid", uuid + block)
    return content[:_HEADER] + _box(b"jp2h", header) + rest


def _codestream_of(content: bytes) -> tuple[tuple[int, int], list[tuple[int, bool]]]:
    """Width and height, and each component's bits per sample and whether it has a sign."""
    start = content.find(CODESTREAM)
    if start < 0:
        raise ImageError("the image's header is damaged: no JPEG 2000 codestream")
    right, bottom, left, top = struct.unpack_from(">IIII", content, start + 8)
    count = struct.unpack_from(">H", content, start + 40)[0]
    codes = content[start + 42 : start + 42 + 3 * count : 3]
    return (right - left, bottom - top), [((code & 127) + 1, code > 127) for code in codes]


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _channel_definition(channels: int) -> bytes:
    colours = [(index, 0, index + 1) for index in range(channels - 1)]
    alpha = (channels - 1, 1, 0)
    fields = b"".join(struct.pack(">HHH", *channel) for channel in [*colours, alpha])
    return _box(b"cdef", struct.pack(">H", channels) + fields)


def _resolution(x: float, y: float) -> bytes:
    """Pixels per metre, vertical first: fractions of 16 bits, then powers of ten."""
    (vertical, v_power), (horizontal, h_power) = (_per_metre(dpi) for dpi in (y, x))
    return struct.pack(
        ">HHHHbb",
        *(vertical.numerator, vertical.denominator, horizontal.numerator, horizontal.denominator),
        *(v_power, h_power),
    )


def _per_metre(dpi: float) -> tuple[Fraction, int]:
    """Powers are never negative: Pillow would read them wrongly."""
    value = Fraction(dpi) / Fraction("0.0254")
    power = max(0, math.ceil(math.log10(value / 65535)))
    value /= 10**power
    return value.limit_denominator(int(65535 / value)), power
