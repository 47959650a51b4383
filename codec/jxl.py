"""JPEG XL files (ISO 18181): what the header says, and pixels by imagecodecs."""

import io

import imagecodecs
import numpy as np

from codec.boxes import boxes
from codec.errors import ImageError
from codec.picture import Decoded, Metadata
from codec.samples import scaled, split

CODESTREAM = b"\xff\x0a"
SIGNATURE = b"\0\0\0\x0cJXL \r\n\x87\n"
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_ALPHA, _SPOT, _CFA = 0, 2, 5  # of extra channels
_D65, _SRGB = 1, 1
_PROFILE = "the colour profile of a JPEG XL cannot be read; it was left out"
_ANIMATION = "the file is an animation, only the first picture was taken"

# Numbers of few bits: (the smallest, bits to add) for each of four selectors.
_ENUM = ((0, 0), (1, 0), (2, 4), (18, 6))
_SIDE = ((1, 9), (1, 13), (1, 18), (1, 30))
_PREVIEW_EIGHTHS = ((16, 0), (32, 0), (1, 5), (33, 9))
_PREVIEW_SIDE = ((1, 6), (65, 8), (321, 10), (1345, 12))
_INTEGER_BITS = ((8, 0), (10, 0), (12, 0), (1, 6))
_FLOAT_BITS = ((32, 0), (16, 0), (24, 0), (1, 6))


def size_of(stream: io.BufferedIOBase) -> tuple[int, int]:
    """Width and height.

    Raises:
      ImageError: the header is damaged, or the samples are floating-point.
    """
    stream.seek(0)
    return _header_of(stream.read())[0]


def decode(content: bytes) -> Decoded:
    """Decodes the first picture, which the library turns upright."""
    _, bits, notes = _header_of(content)
    samples = imagecodecs.jpegxl_decode(content, index=0)
    if samples.dtype not in (np.uint8, np.uint16) or (samples.ndim == 3 and samples.shape[2] > 4):
        raise ImageError(f"JPEG XL samples of shape {samples.shape} are not supported")
    found = {} if content.startswith(CODESTREAM) else dict(boxes(content))
    exif = found.get(b"Exif")
    exif = exif and exif[4 + int.from_bytes(exif[:4]) :]
    metadata = Metadata(exif=exif, xmp=found.get(b"xml "))
    return Decoded(*split(scaled(samples, bits)), metadata, notes)


def _header_of(content: bytes) -> tuple[tuple[int, int], int, tuple[str, ...]]:
    """Width and height, bits per sample, and notes on what is not read."""
    codestream = content
    if not content.startswith(CODESTREAM):
        parts = ((kind, body) for kind, body in boxes(content) if kind in (b"jxlc", b"jxlp"))
        kind, codestream = next(parts, (b"", b""))
        if kind == b"jxlp":  # a part, with its number before it
            codestream = codestream[4:]
    if not codestream.startswith(CODESTREAM):
        raise ImageError("the image's header is damaged: no JPEG XL codestream")
    bits = _Bits(codestream[len(CODESTREAM) :])
    height, width = bits.size(_SIDE)
    depth, notes = 8, []
    if not bits.take(1):  # all_default
        depth, notes = _metadata(bits)
    return (width, height), depth, tuple(notes)


class _Bits:
    """The bits of a codestream, the least significant first."""

    def __init__(self, content: bytes):
        self._number = int.from_bytes(content[:4096], "little")
        self._left = 8 * min(len(content), 4096)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ImageError("the image's header is damaged: the file is truncated")
        value = self._number & ((1 << count) - 1)
        self._number >>= count
        return value

    def choose(self, *choices: tuple[int, int]) -> int:
        smallest, count = choices[self.take(2)]
        return smallest + self.take(count)

    def size(self, side: tuple, eighths: tuple | None = None) -> tuple[int, int]:
        """Height and width."""
        in_eighths = self.take(1)

        def one() -> int:
            if not in_eighths:
                return self.choose(*side)
            return 8 * (self.choose(*eighths) if eighths else 1 + self.take(5))

        height = one()
        ratio = self.take(3)
        if not ratio:
            return height, one()
        wide, high = _RATIOS[ratio - 1]
        return height, height * wide // high

    def depth(self) -> tuple[int, bool]:
        """Bits per sample, and whether they are floating-point."""
        if not self.take(1):
            return self.choose(*_INTEGER_BITS), False
        bits = self.choose(*_FLOAT_BITS)
        self.take(4)
        return bits, True


def _metadata(bits: _Bits) -> tuple[int, list[str]]:
    """Bits per sample and notes of an ImageMetadata that is not all default."""
    notes = []
    if bits.take(1):  # extra_fields
        bits.take(3)  # the orientation, which the library applies
        if bits.take(1):
            bits.size(_SIDE)
        if bits.take(1):
            bits.size(_PREVIEW_SIDE, _PREVIEW_EIGHTHS)
        if bits.take(1):
            notes.append(_ANIMATION)
            bits.choose((100, 0), (1000, 0), (1, 10), (1, 30))
            bits.choose((1, 0), (1001, 0), (1, 8), (1, 10))
            bits.choose((0, 0), (0, 3), (0, 16), (0, 32))
            bits.take(1)
    depth, is_float = bits.depth()
    if is_float or depth > 16:
        kind = "floating-point" if is_float else "integer"
        raise ImageError(f"{depth}-bit {kind} samples are not supported; 8 or 16 bits are")
    bits.take(1)
    for _ in range(bits.choose((0, 0), (1, 0), (2, 4), (1, 12))):
        _pass_extra_channel(bits)
    bits.take(1)  # xyb_encoded
    if not bits.take(1) and _has_profile(bits):
        notes.append(_PROFILE)
    return depth, notes


def _pass_extra_channel(bits: _Bits) -> None:
    if bits.take(1):  # plain alpha
        return
    kind = bits.choose(*_ENUM)
    bits.depth()
    bits.choose((0, 0), (3, 0), (4, 0), (1, 3))
    bits.take(8 * bits.choose((0, 0), (0, 4), (16, 5), (48, 10)))
    if kind == _ALPHA:
        bits.take(1)
    elif kind == _SPOT:
        bits.take(64)
    elif kind == _CFA:
        bits.choose((1, 0), (0, 2), (3, 4), (19, 8))


def _has_profile(bits: _Bits) -> bool:
    """Whether the colours are others than sRGB's, or gray of another white."""
    if bits.take(1):  # an ICC profile
        return True
    is_gray = bits.choose(*_ENUM) == 1
    return bits.choose(*_ENUM) != _D65 or (not is_gray and bits.choose(*_ENUM) != _SRGB)
