"""PNG files: their chunks, and samples of more than 8 bits."""

import io
import struct
import zlib
from collections.abc import Callable, Container, Iterator
from dataclasses import replace

import imagecodecs
from PIL import Image

from codec import pillow
from codec.errors import ImageError
from codec.metadata import LARGEST_BLOCK
from codec.picture import Decoded, Metadata, several_pictures
from codec.samples import split_alpha, turned

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_END = len(SIGNATURE) + 8 + 13 + 4

_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT"})
_COLOUR = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4}  # and their lengths
_TEXT = frozenset({b"tEXt", b"zTXt", b"iTXt"})
# Keywords of chunks that hold no text: XMP, and EXIF as ImageMagick writes it.
_NO_TEXT = (b"XML:com.adobe.xmp", b"Raw profile type ")
_DAMAGED_METADATA = "the file is damaged outside its pixels; its metadata was left out"

# Pillow refuses more text in a compressed chunk.
INFLATED_LIMIT = 2**20


def size_of(stream: io.BufferedIOBase) -> tuple[int, int]:
    """Width and height, by the header alone."""
    stream.seek(0)
    header = stream.read(_HEADER_END) + struct.pack(">I4s", 0, b"IDAT")
    return pillow.size_of("PNG", io.BytesIO(header))


def decode(content: bytes) -> Decoded:
    """Decodes a PNG; of an animation, the picture for viewers that do not animate."""
    try:
        return _decode(content)
    except (ImageError, MemoryError):
        raise
    except Exception:
        found = _decode(_with_chunks_of(content, _PIXELS.__contains__))
        return found._replace(notes=(_DAMAGED_METADATA, *found.notes))


def with_chunks(content: bytes, added: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG file with chunks (type and content) added after its header."""
    written = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in added
    )
    return b"".join([content[:_HEADER_END], *written, content[_HEADER_END:]])


def _decode(content: bytes) -> Decoded:
    with pillow.open_image("PNG", io.BytesIO(content)) as image:
        notes = several_pictures(image.n_frames)
    still = _with_chunks_of(content, lambda kind: kind not in _ANIMATION)
    with pillow.open_image("PNG", io.BytesIO(still)) as image:
        kind = str(image.tile[0].args) if image.tile else ""
        image.load()  # also reads the chunks after the pixels
        metadata = _metadata_in(image, still)
        if ";16" in kind:  # Pillow has no 16-bit colour
            plain = _with_chunks_of(content, _PIXELS.__contains__)
            samples = imagecodecs.png_decode(plain)
            planes = split_alpha(turned(samples, pillow.orientation_of(image)))
        else:
            # Pillow scales grays of 2 and 4 bits to 8, but not the transparent one.
            if "transparency" in image.info:
                image.info["transparency"] *= {"L;2": 85, "L;4": 17}.get(kind, 1)
            planes, _ = pillow.planes_of(image)
        return Decoded(*planes, metadata, notes)


def _metadata_in(image: Image.Image, content: bytes) -> Metadata:
    """The metadata of a loaded file."""
    metadata = pillow.metadata_in(image)
    legacy = image.info.get("Raw profile type exif")
    if legacy and not metadata.exif:  # three lines, then hexadecimal digits
        metadata = replace(metadata, exif=bytes.fromhex("".join(legacy.split("\n")[3:])))
    colour: dict[bytes, bytes] = {}
    for kind, body in _sound_bodies(content, _COLOUR):
        if len(body) == _COLOUR[kind]:
            colour.setdefault(kind, body)
    return replace(metadata, png_colour=tuple(colour.items()), png_text=tuple(_texts(content)))


def _texts(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    total = 0
    for kind, body in _sound_bodies(content, _TEXT):
        keyword = body.partition(b"\0")[0]
        total += len(body)
        if total > LARGEST_BLOCK:
            return
        if 1 <= len(keyword) <= 79 and not keyword.startswith(_NO_TEXT):
            yield kind, body


def _with_chunks_of(content: bytes, wanted: Callable[[bytes], bool]) -> bytes:
    """A PNG file reduced to its chunks of the wanted types."""
    return b"".join([SIGNATURE, *(chunk for kind, chunk in _chunks(content) if wanted(kind))])


def _sound_bodies(content: bytes, kinds: Container[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yields type and content of the chunks of some types whose checksum is right."""
    for kind, chunk in _chunks(content):
        if kind in kinds and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:]):
            yield kind, chunk[8:-4]


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields type and bytes of a file's chunks; the last one may be cut."""
    position = len(SIGNATURE)
    while position + 12 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, position)
        end = position + size + 12
        yield kind, content[position:end]
        position = end
