"""Images of more than 8 bits, and other pixels that Pillow would cut or does not know."""

import io
import re
import struct
from typing import NamedTuple

import cv2
import imagecodecs
import numpy as np
from PIL import Image

from codec import png
from codec.errors import NO_PIXELS, ImageError
from codec.samples import Planes, scaled, scaled_from, split, turned

JPEG_SIGNATURE = b"\xff\xd8"
PAM_SIGNATURE = b"P7\n"
_END_OF_JPEG = b"\xff\xd9"
_LOSSLESS_FRAME = 0xC3
_ORIENTATION_TAG = 274  # of EXIF
_PAM_HEADER_LENGTH = 4096


class JpegFrame(NamedTuple):
    """The header of a JPEG's frame: where it stands, its marker, bits per sample, size."""

    position: int
    marker: int
    bits: int
    height: int
    width: int


def depth_of(image: Image.Image, stream: io.BufferedIOBase) -> int:
    """Bits per sample; the most, where channels differ.

    Args:
      image: opened by Pillow.
      stream: its file.
    """
    if image.format == "PNG":
        return 16 if any(";16" in str(tile.args) for tile in image.tile) else 8
    if image.format == "PPM":
        return max(8, _largest_code(image).bit_length())
    if image.format == "JPEG2000":
        content = _whole(stream)
        size, components = _codestream_of_jpeg2000(content)
        if size != image.size:  # memory is taken by the codestream, limits are held to the header
            raise ImageError("the image's header is damaged: it says two sizes")
        return max((bits for bits, _ in components), default=8)
    if image.format == "AVIF":
        return _depth_of_avif(_whole(stream))
    if image.format in ("JPEG", "MPO"):
        return frame_of_jpeg(stream).bits
    return 16 if image.mode.startswith("I;16") else 8


def needs_own_decoder(image: Image.Image, stream: io.BufferedIOBase, bits: int) -> bool:
    """Whether decode_deep decodes the image, and not Pillow."""
    if image.format == "JPEG":
        return bits > 8 or frame_of_jpeg(stream).marker == _LOSSLESS_FRAME
    return bits > 8


def decode_deep(image: Image.Image, content: bytes) -> Planes:
    """Decodes what needs_own_decoder tells.

    Raises:
      ImageError: damage, or samples of a kind that is not supported.
      Exception: whatever damage makes of the libraries.
    """
    if image.format in ("PNG", "PPM"):
        pixels, alpha = _by_opencv(image, content)
    elif image.format == "JPEG2000":
        pixels, alpha = split(_decode_jpeg2000(content))
    elif image.format == "AVIF":
        bits = _depth_of_avif(content)
        pixels, alpha = split(scaled(imagecodecs.avif_decode(content), bits))
    elif image.format == "JPEG":
        pixels, alpha = _decode_jpeg(content), None
    else:
        pixels, alpha = np.asarray(image).astype(np.uint16), None
    # Reads on to the end of the file, where EXIF may stand.
    orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    return turned(pixels, orientation), None if alpha is None else turned(alpha, orientation)


def frame_of_jpeg(stream: io.BufferedIOBase) -> JpegFrame:
    """Finds the frame header of a JPEG.

    Raises:
      ImageError: there is none.
    """
    position = 2
    while True:
        stream.seek(position)
        segment = stream.read(9)
        if len(segment) < 9:
            raise ImageError("the image's header is damaged: a JPEG without a frame")
        marker, length = segment[1], int.from_bytes(segment[2:4])
        if segment[0] != 0xFF or marker in (0xFF, 0x00):  # filling bytes
            position += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return JpegFrame(position, marker, *struct.unpack(">BHH", segment[4:]))
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a length
            position += 2
        else:
            position += 2 + length


def jpeg_for_pillow(stream: io.BufferedIOBase) -> io.BufferedIOBase:
    """The file; if it has more than 8 bits, said to have 8: Pillow refuses such headers."""
    frame = frame_of_jpeg(stream)
    if 0 in (frame.height, frame.width):
        raise ImageError(NO_PIXELS)
    if frame.bits == 8:
        stream.seek(0)
        return stream
    content = bytearray(_whole(stream))
    content[frame.position + 4] = 8
    return io.BytesIO(content)


def header_of_pam(stream: io.BufferedIOBase) -> tuple[int, int, int, int]:
    """Width, height, channels and white's code of a PAM file; leaves the stream at the pixels.

    Raises:
      ImageError: the header is damaged, or larger than any.
    """
    stream.seek(0)
    header = stream.read(_PAM_HEADER_LENGTH)
    end = re.search(rb"^ENDHDR\n", header, re.MULTILINE)
    fields = dict(re.findall(rb"^(WIDTH|HEIGHT|DEPTH|MAXVAL)[ \t]+(\d+)", header, re.MULTILINE))
    if not end or len(fields) < 4:
        raise ImageError("the image's header is damaged: a PAM needs four sizes")
    stream.seek(end.end())
    width, height, channels, white = (
        int(fields[name]) for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")
    )
    if not 1 <= channels <= 4 or not 1 <= white <= 65535:
        raise ImageError(f"a PAM of {channels} channels up to {white} is not supported")
    return width, height, channels, white


def decode_pam(stream: io.BytesIO) -> Planes:
    """Decodes a PAM file.

    Raises:
      ImageError: it is damaged.
    """
    width, height, channels, white = header_of_pam(stream)
    stored = np.dtype(">u2" if white > 255 else "u1")
    count = width * height * channels
    raw = stream.read(count * stored.itemsize)
    if len(raw) < count * stored.itemsize:
        raise ImageError("the image is damaged: the file is truncated")
    codes = np.frombuffer(raw, stored).reshape(height, width, channels)
    return split(scaled_from(codes, white, np.uint16 if white > 255 else np.uint8))


def _whole(stream: io.BufferedIOBase) -> bytes:
    stream.seek(0)
    return stream.read()


def _decode_jpeg(content: bytes) -> np.ndarray:
    frame = frame_of_jpeg(io.BytesIO(content))
    if _END_OF_JPEG not in content[frame.position :]:  # the library warns, no more
        raise ImageError("the image is damaged: the file is truncated")
    pixels = imagecodecs.jpeg_decode(content)
    if pixels.ndim == 3 and pixels.shape[2] != 3:
        raise ImageError(f"a deep JPEG of {pixels.shape[2]} channels is not supported")
    return scaled(pixels, frame.bits)


def _depth_of_avif(content: bytes) -> int:
    """Bits per sample by the AV1 configuration; 8 where there is none."""
    configuration = re.search(rb"av1C\x81.(.)", content, re.DOTALL)
    if not configuration or not configuration[1][0] & 0x40:
        return 8
    return 12 if configuration[1][0] & 0x20 else 10


def _codestream_of_jpeg2000(content: bytes) -> tuple[tuple[int, int], list[tuple[int, bool]]]:
    """Width and height, and each component's bits per sample and whether it has a sign."""
    start = content.find(b"\xff\x4f\xff\x51")
    if start < 0:
        raise ImageError("the image's header is damaged: no JPEG 2000 codestream")
    right, bottom, left, top = struct.unpack_from(">IIII", content, start + 8)
    count = struct.unpack_from(">H", content, start + 40)[0]
    codes = content[start + 42 : start + 42 + 3 * count : 3]
    return (right - left, bottom - top), [((code & 127) + 1, code > 127) for code in codes]


def _decode_jpeg2000(content: bytes) -> np.ndarray:
    _, components = _codestream_of_jpeg2000(content)
    bits = components[0][0]
    if any(component != (bits, False) for component in components) or bits > 16:
        raise ImageError(
            "JPEG 2000 samples that have signs, more than 16 bits or differing depths are not "
            "supported"
        )
    # Of sYCC the library makes RGB.
    return scaled(imagecodecs.jpeg2k_decode(content), bits)


def _by_opencv(image: Image.Image, content: bytes) -> Planes:
    """PNG and PNM: Pillow has no 16-bit colour."""
    if image.format == "PNG":  # of an animation OpenCV would show a frame that is not the picture
        content = png.only_pixels(content)
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ImageError("the image is damaged or of a kind of 16-bit image not supported")
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(
            pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
        )
    if image.format == "PPM":
        return scaled_from(pixels, _largest_code(image), np.uint16), None
    if "LA;16" in str(image.tile[0].args):
        return pixels[..., 0], pixels[..., -1]
    if pixels.ndim == 2 and "transparency" in image.info:
        return pixels, (pixels != image.info["transparency"]) * np.uint16(65535)
    return split(pixels)


def _largest_code(image: Image.Image) -> int:
    """What a PNM file calls white, where that is not the type's largest value."""
    arguments = image.tile[0].args
    if isinstance(arguments, tuple) and isinstance(arguments[-1], int):
        return arguments[-1] or 255
    return 65535 if image.mode.startswith("I") else 255
