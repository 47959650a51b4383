"""JPEG 2000: codestreams, and the boxes of JP2 files (ISO 15444-1, annex I)."""

import io
import struct
from dataclasses import replace

import imagecodecs

from codec import pillow
from codec.boxes import boxes
from codec.errors import ImageError
from codec.picture import Decoded
from codec.samples import Planes, scale_codes, split_alpha

SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
CODESTREAM = b"\xff\x4f\xff\x51"
_EXIF = b"JpgTiffExif->JP2"
_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


def size_of(stream: io.BufferedIOBase) -> tuple[int, int]:
    """Width and height.

    Raises:
      ImageError: header and codestream differ: limits are checked by the first, memory is taken by
        the second.
    """
    stated = pillow.size_of("JPEG2000", stream)
    stream.seek(0)
    size, _ = _codestream_of(stream.read())
    if size != stated:
        raise ImageError("the image's header is damaged: it states two sizes")
    return size


def decode(content: bytes) -> Decoded:
    """Decodes a JPEG 2000.

    Raises:
      ImageError: its samples are of a kind that is not supported.
    """
    with pillow.open_image("JPEG2000", io.BytesIO(content)) as image:
        metadata = replace(
            pillow.metadata_in(image),
            exif=_block_in(content, _EXIF),
            xmp=_block_in(content, _XMP),
            icc=_profile_in(content),
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
            "JPEG 2000 samples that are signed, deeper than 16 bits or of differing depths are not "
            "supported"
        )
    # The library converts sYCC to RGB.
    return split_alpha(scale_codes(imagecodecs.jpeg2k_decode(content), bits))


def _block_in(content: bytes, uuid: bytes) -> bytes | None:
    """The content of a file's box of a UUID: EXIF or XMP."""
    found = (body for kind, body in boxes(content) if kind == b"uuid")
    return next((body[len(uuid) :] for body in found if body.startswith(uuid)), None)


def _profile_in(content: bytes) -> bytes | None:
    """A file's ICC profile (I.5.3.3: method 2 or 3)."""
    headers = (body for kind, body in boxes(content) if kind == b"jp2h")
    colours = (body for header in headers for kind, body in boxes(header) if kind == b"colr")
    return next((body[3:] for body in colours if body[:1] in (b"\2", b"\3")), None)


def _codestream_of(content: bytes) -> tuple[tuple[int, int], list[tuple[int, bool]]]:
    """Width and height, and each component's bits per sample and whether it has a sign."""
    start = content.find(CODESTREAM)
    if start < 0:
        raise ImageError("the image's header is damaged: no JPEG 2000 codestream")
    right, bottom, left, top = struct.unpack_from(">IIII", content, start + 8)
    count = struct.unpack_from(">H", content, start + 40)[0]
    codes = content[start + 42 : start + 42 + 3 * count : 3]
    return (right - left, bottom - top), [((code & 127) + 1, code > 127) for code in codes]
