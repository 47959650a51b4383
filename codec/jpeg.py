"""JPEG files of 8 bits, read by Pillow."""

import io
import re
from collections.abc import Iterator
from dataclasses import replace

from PIL import Image

from codec import pillow
from codec.errors import ImageError
from codec.picture import Decoded, Metadata

_DEEP = re.compile(r"cannot handle (\d+)-bit layers")
_HAS_DENSITY = (1, 2)  # of JFIF's units: per inch, per centimetre
_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"


def size_of(stream: io.BufferedIOBase) -> tuple[int, int]:
    """Width and height.

    Raises:
      ImageError: its samples have more than 8 bits.
    """
    try:
        return pillow.size_of("JPEG", stream)
    except SyntaxError as error:
        deep = _DEEP.fullmatch(str(error))
        if not deep:
            raise
        raise ImageError(f"{deep[1]}-bit JPEG is not supported; convert it to PNG") from None


def decode(content: bytes) -> Decoded:
    """Decodes a JPEG; of a camera's file with previews (MPO) the photograph."""
    with pillow.open_image("JPEG", io.BytesIO(content)) as image:
        metadata, left_out = _metadata_in(image), tuple(_left_out_of(image))
        tables = tuple(tuple(table) for _, table in sorted(image.quantization.items()))
        planes, notes = pillow.planes_of(image)
        return Decoded(*planes, metadata, notes + left_out, tables)


def _metadata_in(image: Image.Image) -> Metadata:
    metadata = pillow.metadata_in(image)
    # Pillow gives 72 where a file states nothing.
    has_dpi = image.info.get("jfif_unit") in _HAS_DENSITY
    return metadata if has_dpi else replace(metadata, dpi=None)


def _left_out_of(image: Image.Image) -> Iterator[str]:
    yield from pillow.left_out_of(image)
    if "photoshop" in image.info:
        yield "Photoshop or IPTC data was left out"
    if any(block.startswith(_EXTENDED_XMP) for _, block in image.applist):
        yield "extended XMP was left out"
