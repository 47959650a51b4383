"""Chunks of PNG files."""

import struct
import zlib
from collections.abc import Container, Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_END = len(SIGNATURE) + 8 + 13 + 4

_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})

# More text in a compressed chunk is refused by Pillow, too.
INFLATED_LIMIT = 2**20


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


def only_pixels(content: bytes) -> bytes:
    """A PNG file of nothing but the chunks that its pixels need; empty where it has no pixels."""
    parts, position = [SIGNATURE], len(SIGNATURE)
    while position + 12 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, position)
        if kind in _PIXELS:
            parts.append(content[position : position + size + 12])
        position += size + 12
    return b"".join(parts) if any(part[4:8] == b"IDAT" for part in parts) else b""


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


def _inflate(compressed: bytes) -> bytes:
    decompressor = zlib.decompressobj()
    try:
        text = decompressor.decompress(compressed, INFLATED_LIMIT)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not decompressor.eof:
        raise ValueError("damaged or too long")
    return text
