"""Reads and decodes images. The header is looked at before any pixel is decoded."""

import io
import os
import stat
import warnings
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from transforms.errors import ImageError
from transforms.records import ImageRecord, ImageRef
from transforms.stage import ImageStage
from transforms.storage import is_local, read_file

# Sizes are checked by max_megapixels, from the header, with a message of our own.
Image.MAX_IMAGE_PIXELS = None

_BITS_PER_SAMPLE_TAG = 258  # TIFF 6.0


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of itself before decoding.

    Attributes:
      format: as Pillow names it, such as `PNG`.
      width: pixels, as stored (before any EXIF rotation).
      height: pixels, as stored.
      bit_depth: bits per sample, 8 or 16 (fewer than 8 count as 8).
      frames: pictures in the file.
    """

    format: str
    width: int
    height: int
    bit_depth: int
    frames: int

    @property
    def megapixels(self) -> float:
        """Size in millions of pixels."""
        return self.width * self.height / 1e6


def read_header(content: bytes | io.BufferedIOBase) -> ImageHeader:
    """Reads an image's header; decodes no pixels.

    Args:
      content: a file's bytes, or an open binary file.

    Raises:
      ImageError: the file is empty or is no image that can be decoded.
    """
    stream = io.BytesIO(content) if isinstance(content, bytes) else content
    with _open(stream) as image:
        return _header_of(image)


def decode_image(content: bytes, max_megapixels: float) -> tuple[np.ndarray, np.ndarray | None]:
    """Decodes an image with its depth and channels kept and its EXIF orientation applied.

    Args:
      content: the file's bytes.
      max_megapixels: larger images are refused before they are decoded.

    Returns:
      (h, w, 3) BGR or (h, w), uint8 or uint16, contiguous, and the alpha plane (h, w) or None.

    Raises:
      ImageError: the content is empty, not an image, truncated, too large or of a kind that is
        not supported.
    """
    with _open(io.BytesIO(content)) as image:
        header = _header_of(image)
        if header.megapixels > max_megapixels:
            raise ImageError(
                f"{header.width} x {header.height} pixels are more than the "
                f"{max_megapixels:g} megapixels allowed (--max_megapixels)"
            )
        if header.frames > 1:
            raise ImageError(
                f"the file holds {header.frames} pictures; save the one you want as its own file"
            )
        if header.bit_depth > 8:
            return _decode_deep(content)
        return _decode_eight_bit(image)


def read_image(ref: ImageRef, max_megapixels: float) -> ImageRecord:
    """Reads and decodes one source.

    Raises:
      ImageError: see decode_image; or the source is a directory or no regular file.
      OSError: the source cannot be read.
    """
    if is_local(ref.uri):
        kind = os.stat(ref.uri).st_mode
        if stat.S_ISDIR(kind):
            raise ImageError("is a directory, not an image; use ** to reach the images in it")
        if not stat.S_ISREG(kind):
            raise ImageError("is not a regular file")
    original, alpha = decode_image(read_file(ref.uri), max_megapixels)
    return ImageRecord(ref, original, original.shape[:2], alpha)


@dataclass
class ReadImages(ImageStage):
    """References to decoded images.

    Attributes:
      max_megapixels: larger images are refused.
    """

    max_megapixels: float
    stage = "read"

    def apply(self, element: ImageRef) -> ImageRecord:
        return read_image(element, self.max_megapixels)


def _open(stream: io.BufferedIOBase) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # oddities in metadata that do not touch pixels
            return Image.open(stream)
    except UnidentifiedImageError:
        stream.seek(0)
        if not stream.read(1):
            raise ImageError("the file is empty") from None
        raise ImageError("not an image, or of a format that cannot be decoded") from None
    except (OSError, ValueError, SyntaxError, EOFError, OverflowError) as error:
        raise ImageError(f"the image's header is damaged: {error}") from None


def _header_of(image: Image.Image) -> ImageHeader:
    depth = 16 if image.mode.startswith("I") else 8
    if image.mode in ("RGB", "RGBA"):  # Pillow would cut 16-bit colour to 8 without a word
        if image.format == "PNG" and image.tile and ";16" in str(image.tile[0][3]):
            depth = 16
        if image.format == "TIFF" and max(image.tag_v2.get(_BITS_PER_SAMPLE_TAG, (8,))) > 8:
            depth = 16
    return ImageHeader(
        image.format, image.width, image.height, depth, getattr(image, "n_frames", 1)
    )


def _decode_eight_bit(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        image.load()
        image = ImageOps.exif_transpose(image)
        if image.mode == "P" or "transparency" in image.info:
            image = image.convert("RGBA" if "transparency" in image.info else "RGB")
        elif image.mode in ("1", "CMYK", "YCbCr", "LAB", "HSV"):
            image = image.convert("L" if image.mode == "1" else "RGB")
    except (OSError, ValueError, SyntaxError, EOFError, IndexError) as error:
        raise ImageError(f"the image is damaged: {error}") from None
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        raise ImageError(f"pixels of kind {image.mode} are not supported")
    return _split(np.asarray(image), alpha=image.mode in ("LA", "RGBA"))


def _decode_deep(content: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    """16-bit images, by OpenCV: Pillow has no 16-bit colour."""
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageError(f"the image is damaged: {error.err}") from None
    if pixels is None:
        raise ImageError("the image is damaged or of a kind of 16-bit image not supported")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"samples of type {pixels.dtype} are not supported; 8 or 16 bits are")
    if pixels.ndim == 2:
        return pixels, None
    if pixels.shape[2] == 3:
        return pixels, None
    return np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3])


def _split(pixels: np.ndarray, alpha: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Pillow's RGB[A] or L[A] samples as contiguous BGR or gray, and alpha."""
    if pixels.ndim == 2:
        return np.ascontiguousarray(pixels), None
    colours = pixels[..., :-1] if alpha else pixels
    if colours.shape[2] == 1:
        colours = np.ascontiguousarray(colours[..., 0])
    else:
        colours = cv2.cvtColor(np.ascontiguousarray(colours), cv2.COLOR_RGB2BGR)
    return colours, np.ascontiguousarray(pixels[..., -1]) if alpha else None
