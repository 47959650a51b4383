"""PNG files: more than 8 bits, and their chunks."""

import io
import struct
import zlib
from collections.abc import Container, Iterator

import cv2
import numpy as np
from PIL import Image

from codec import pillow
from codec.errors import ImageError
from codec.metadata import LARGEST_BLOCK, attempt
from codec.picture import Decoded, Metadata, several_pictures
from codec.samples import Planes, split, turned

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_END = len(SIGNATURE) + 8 + 13 + 4

_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_COLOUR = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4}  # and their lengths
_TEXT = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_XMP_KEYWORD = b"XML:com.adobe.xmp"
_RAW_PROFILE = b"Raw profile type "
_PER_METRE = 1  # of pHYs' units

# More text in a compressed chunk is refused by Pillow, too.
INFLATED_LIMIT = 2**20


def decode(content: bytes) -> Decoded:
    """Decodes a PNG; of an animation the picture that others show in its place."""
    with pillow.opened("PNG", io.BytesIO(content)) as image:
        notes = several_pictures(image.n_frames)
        if any(";16" in str(tile.args) for tile in image.tile):
            planes = _decode_deep(image, content)
        else:
            _scale_transparent_gray(image)
            planes, _ = pillow.planes_of(image)
        return Decoded(*planes, metadata_in(content), notes)


def metadata_in(content: bytes) -> Metadata:
    """What stands beside the pixels, wherever in the file it stands."""
    texts = _texts(content)
    xmp = (text for _, keyword, text in texts if keyword == _XMP_KEYWORD)
    colour: dict[bytes, bytes] = {}
    for kind, body in chunks(content, _COLOUR):
        if len(body) == _COLOUR[kind]:
            colour.setdefault(kind, body)
    return Metadata(
        exif=_first(content, b"eXIf") or attempt(lambda: _legacy_exif(texts)),
        xmp=next(xmp, None),
        icc=attempt(lambda: _profile(content)),
        dpi=attempt(lambda: _dpi(content)),
        png_colour=tuple(colour.items()),
        png_text=tuple(
            chunk
            for chunk, keyword, _ in texts
            if keyword != _XMP_KEYWORD and not keyword.startswith(_RAW_PROFILE)
        ),
    )


def chunks(content: bytes, kinds: Container[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yields type and content of a file's chunks of some types, those with a false sum left out."""
    position = len(SIGNATURE)
    while position + 12 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, position)
        body = position + 8
        position = body + size + 4
        if kind in kinds and position <= len(content):
            (crc,) = struct.unpack_from(">I", content, body + size)
            if zlib.crc32(content[body - 4 : body + size]) == crc:
                yield kind, content[body : body + size]


def only_pixels(content: bytes) -> bytes | None:
    """A PNG file of nothing but the chunks that its pixels need; None where it has no pixels."""
    parts, position = [SIGNATURE], len(SIGNATURE)
    while position + 12 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, position)
        if kind in _PIXELS:
            parts.append(content[position : position + size + 12])
        position += size + 12
    return b"".join(parts) if any(part[4:8] == b"IDAT" for part in parts) else None


def with_chunks(content: bytes, added: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG file with chunks (type and content) added behind its header."""
    written = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in added
    )
    return b"".join([content[:_HEADER_END], *written, content[_HEADER_END:]])


def text_of(kind: bytes, body: bytes) -> tuple[bytes, bytes]:
    """Keyword and text of a tEXt, zTXt or iTXt chunk.

    Raises:
      ValueError: it is damaged, or its text is longer than INFLATED_LIMIT.
    """
    keyword, _, text = body.partition(b"\0")
    if not 1 <= len(keyword) <= 79:
        raise ValueError("no keyword")
    if kind == b"tEXt":
        return keyword, text
    if kind == b"zTXt":
        return keyword, _inflate(text[1:])
    flags, (_, _, text) = text[:2], text[2:].split(b"\0", 2)
    return keyword, _inflate(text) if flags[0] else text


def international_text(keyword: bytes, text: bytes) -> tuple[bytes, bytes]:
    """An iTXt chunk, not compressed."""
    return b"iTXt", keyword + b"\0\0\0\0\0" + text


def _decode_deep(image: Image.Image, content: bytes) -> Planes:
    """Samples of 16 bits, upright, by OpenCV: Pillow has no 16-bit colour."""
    # Of an animation OpenCV would show a frame that is not the picture.
    still = np.frombuffer(only_pixels(content) or b"", np.uint8)
    pixels = cv2.imdecode(still, cv2.IMREAD_UNCHANGED) if still.size else None
    if pixels is None:
        raise ImageError("the image is damaged or of a kind of 16-bit image not supported")
    alpha = None
    if pixels.ndim == 3:
        has_alpha = pixels.shape[2] == 4
        conversion = cv2.COLOR_BGRA2RGBA if has_alpha else cv2.COLOR_BGR2RGB
        pixels, alpha = split(cv2.cvtColor(pixels, conversion))
        if "LA;16" in str(image.tile[0].args):
            pixels = pixels[..., 0]
    elif "transparency" in image.info:
        alpha = (pixels != image.info["transparency"]) * np.uint16(65535)
    orientation = pillow.orientation_of(image)
    return turned(pixels, orientation), None if alpha is None else turned(alpha, orientation)


def _scale_transparent_gray(image: Image.Image) -> None:
    """Makes the key of a PNG of 2 or 4 bits fit the 8 bits that Pillow makes of its grays."""
    if image.tile and "transparency" in image.info:
        image.info["transparency"] *= {"L;2": 85, "L;4": 17}.get(image.tile[0].args, 1)


def _first(content: bytes, kind: bytes) -> bytes | None:
    return next((body for _, body in chunks(content, {kind})), None)


def _texts(content: bytes) -> list[tuple[tuple[bytes, bytes], bytes, bytes]]:
    """Chunks of text with their keywords and texts, those left out that cannot be read."""
    found = []
    total = 0
    for kind, body in chunks(content, _TEXT):
        total += len(body)
        if total > LARGEST_BLOCK:
            break
        text = attempt(lambda kind=kind, body=body: text_of(kind, body))
        if text:
            found.append(((kind, body), *text))
    return found


def _legacy_exif(texts: list[tuple[tuple[bytes, bytes], bytes, bytes]]) -> bytes | None:
    """EXIF as ImageMagick writes it into PNG: three lines, then hexadecimal digits."""
    names = (_RAW_PROFILE + b"exif", _RAW_PROFILE + b"APP1")
    profile = next((text for _, keyword, text in texts if keyword in names), None)
    return profile and bytes.fromhex(b"".join(profile.split(b"\n")[3:]).decode("ascii"))


def _profile(content: bytes) -> bytes | None:
    chunk = _first(content, b"iCCP")
    return chunk and _inflate(chunk.partition(b"\0")[2][1:])


def _dpi(content: bytes) -> tuple[float, float] | None:
    x, y, unit = struct.unpack(">IIB", _first(content, b"pHYs") or bytes(9))
    return (x * 0.0254, y * 0.0254) if unit == _PER_METRE else None


def _inflate(compressed: bytes) -> bytes:
    decompressor = zlib.decompressobj()
    try:
        text = decompressor.decompress(compressed, INFLATED_LIMIT)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not decompressor.eof:
        raise ValueError("damaged or too long")
    return text
