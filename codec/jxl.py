"""JPEG XL files (ISO 18181): the header is parsed here, pixels are decoded by imagecodecs."""

import io

import imagecodecs
import numpy as np

from codec.boxes import boxes
from codec.errors import ImageError
from codec.picture import Decoded, Metadata
from codec.samples import scale_codes, split_alpha

CODESTREAM = b"\xff\x0a"
SIGNATURE = b"\0\0\0\x0cJXL \r\n\x87\n"
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_ALPHA = 0  # of extra channels
_D65, _SRGB = 1, 1
_PROFILE = "the colour profile of a JPEG XL cannot be read and was left out"
_RARE = "a JPEG XL with {} is not supported; convert it to PNG"

# Numbers of few bits: (the smallest, bits to add) for each of four selectors.
_ENUM = ((0, 0), (1, 0), (2, 4), (18, 6))
_SIDE = ((1, 9), (1, 13), (1, 18), (1, 30))
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
    return Decoded(*split_alpha(scale_codes(samples, bits)), metadata, notes)


def _header_of(content: bytes) -> tuple[tuple[int, int], int, tuple[str, ...]]:
    """Width and height, bits per sample, and notes on metadata that are left out."""
    codestream = content
    if not content.startswith(CODESTREAM):
        parts = ((kind, body) for kind, body in boxes(content) if kind in (b"jxlc", b"jxlp"))
        kind, codestream = next(parts, (b"", b""))
        if kind == b"jxlp":  # a part, after its number
            codestream = codestream[4:]
    if not codestream.startswith(CODESTREAM):
        raise ImageError("the image's header is damaged: no JPEG XL codestream")
    bits = _Bits(codestream[len(CODESTREAM) :])
    height, width = bits.size()
    depth, notes = (8, ()) if bits.take(1) else _metadata(bits)  # all_default
    return (width, height), depth, notes


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

    def size(self) -> tuple[int, int]:
        """Height and width."""
        in_eighths = self.take(1)

        def side() -> int:
            return 8 * (1 + self.take(5)) if in_eighths else self.choose(*_SIDE)

        height = side()
        ratio = self.take(3)
        if not ratio:
            return height, side()
        wide, high = _RATIOS[ratio - 1]
        return height, height * wide // high

    def depth(self) -> tuple[int, bool]:
        """Bits per sample, and whether they are floating-point."""
        if not self.take(1):
            return self.choose(*_INTEGER_BITS), False
        bits = self.choose(*_FLOAT_BITS)
        self.take(4)
        return bits, True


def _metadata(bits: _Bits) -> tuple[int, tuple[str, ...]]:
    """Bits per sample and notes of an ImageMetadata that is not all default."""
    if bits.take(1):  # extra_fields
        bits.take(3)  # the orientation, which the library applies
        if bits.take(3):
            raise ImageError(_RARE.format("an animation, a preview or a second size"))
    depth, is_float = bits.depth()
    if is_float or depth > 16:
        kind = "floating-point" if is_float else "integer"
        raise ImageError(
            f"{depth}-bit {kind} samples are not supported; convert them to 8 or 16 bits"
        )
    bits.take(1)
    for _ in range(bits.choose((0, 0), (1, 0), (2, 4), (1, 12))):
        _skip_alpha(bits)
    bits.take(1)  # xyb_encoded
    return depth, (_PROFILE,) if not bits.take(1) and _has_profile(bits) else ()


def _skip_alpha(bits: _Bits) -> None:
    """Reads past an extra channel, which must be alpha."""
    if bits.take(1):  # of 8 bits
        return
    if bits.choose(*_ENUM) != _ALPHA:
        raise ImageError(_RARE.format("channels other than colour and alpha"))
    bits.depth()
    bits.choose((0, 0), (3, 0), (4, 0), (1, 3))
    bits.take(8 * bits.choose((0, 0), (0, 4), (16, 5), (48, 10)))  # its name
    bits.take(1)


def _has_profile(bits: _Bits) -> bool:
    """Whether the colours are not sRGB's, or not gray of its white."""
    if bits.take(1):  # an ICC profile
        return True
    is_gray = bits.choose(*_ENUM) == 1
    return bits.choose(*_ENUM) != _D65 or (not is_gray and bits.choose(*_ENUM) != _SRGB)
