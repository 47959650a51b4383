"""PNG files: more than 8 bits, and their chunks."""

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
from codec.samples import split, turned

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_END = len(SIGNATURE) + 8 + 13 + 4

_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT"})
_COLOUR = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4}  # and their lengths
_TEXT = frozenset({b"tEXt", b"zTXt", b"iTXt"})
# Keywords of what is no text: XMP, and EXIF as ImageMagick writes it.
_NO_TEXT = (b"XML:com.adobe.xmp", b"Raw profile type ")
_DAMAGE_BESIDE = "what stands beside the pixels is damaged and was left out"

# More text in a compressed chunk is refused by Pillow.
INFLATED_LIMIT = 2**20


def size_of(stream: io.BufferedIOBase) -> tuple[int, int]:
    """Width and height, whatever stands behind the header."""
    stream.seek(0)
    header = stream.read(_HEADER_END) + struct.pack(">I4s", 0, b"IDAT")
    return pillow.size_of("PNG", io.BytesIO(header))


def decode(content: bytes) -> Decoded:
    """Decodes a PNG; of an animation the picture that others show in its place."""
    try:
        return _decode(content)
    except (ImageError, MemoryError):
        raise
    except Exception:
        found = _decode(_with_chunks_of(content, _PIXELS.__contains__))
        return found._replace(notes=(_DAMAGE_BESIDE, *found.notes))


def with_chunks(content: bytes, added: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG file with chunks (type and content) added behind its header."""
    written = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in added
    )
    return b"".join([content[:_HEADER_END], *written, content[_HEADER_END:]])


def international_text(keyword: bytes, text: bytes) -> tuple[bytes, bytes]:
    """An iTXt chunk, not compressed."""
    return b"iTXt", keyword + b"\0\0\0\0\0" + text


def _decode(content: bytes) -> Decoded:
    with pillow.opened("PNG", io.BytesIO(content)) as image:
        notes = several_pictures(image.n_frames)
    still = _with_chunks_of(content, lambda kind: kind not in _ANIMATION)
    with pillow.opened("PNG", io.BytesIO(still)) as image:
        kind = str(image.tile[0].args) if image.tile else ""
        image.load()  # what stands behind the pixels, too
        metadata = _metadata_in(image, still)
        if ";16" in kind:  # Pillow has no 16-bit colour
            plain = _with_chunks_of(content, _PIXELS.__contains__)
            samples = imagecodecs.png_decode(plain)
            planes = split(turned(samples, pillow.orientation_of(image)))
        else:
            # Pillow makes 8 bits of grays of 2 and 4, but not of the one that is transparent.
            if "transparency" in image.info:
                image.info["transparency"] *= {"L;2": 85, "L;4": 17}.get(kind, 1)
            planes, _ = pillow.planes_of(image)
        return Decoded(*planes, metadata, notes)


def _metadata_in(image: Image.Image, content: bytes) -> Metadata:
    """What stands beside the pixels of a file that is loaded."""
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
    """A PNG file of nothing but its chunks of the wanted types."""
    return b"".join([SIGNATURE, *(chunk for kind, chunk in _chunks(content) if wanted(kind))])


def _sound_bodies(content: bytes, kinds: Container[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yields type and content of chunks of some types, those with a false sum left out."""
    for kind, chunk in _chunks(content):
        if kind in kinds and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:]):
            yield kind, chunk[8:-4]


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields types of a file's chunks and their bytes, of the last as many as there are."""
    position = len(SIGNATURE)
    while position + 12 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, position)
        end = position + size + 12
        yield kind, content[position:end]
        position = end
