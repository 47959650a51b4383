"""Decodes images. The header is looked at before any pixel is decoded."""

import io
import warnings
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from codec.errors import ImageError
from codec.picture import Picture
from srcnn.colour import peak_of, quantise_half_up

# Sizes are checked by max_megapixels, from the header, with a message of our own.
Image.MAX_IMAGE_PIXELS = None

# Pillow opens more, among them formats that start another program (EPS).
_FORMATS = frozenset(
    (
        "AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "TGA",
        "TIFF", "WEBP",
    )
)  # fmt: skip
_NOT_AN_IMAGE = "not an image, or of a format that cannot be decoded"

# TIFF 6.0
_BITS_PER_SAMPLE_TAG = 258
_PHOTOMETRIC_TAG = 262
_WHITE_IS_ZERO = 0
_ORIENTATION_TAG = 274  # also of EXIF
_PLANAR_TAG = 284
_SEPARATE_PLANES = 2


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of itself before decoding.

    Attributes:
      format: as Pillow names it, such as `PNG`.
      width: pixels, as stored (before any EXIF rotation).
      height: pixels, as stored.
      bit_depth: bits per sample, 8 or 16 (fewer than 8 count as 8).
      frames: pictures in the file; 1 for MPO, the JPEG of cameras with previews behind it.
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


def decode_image(content: bytes, max_megapixels: float) -> Picture:
    """Decodes an image with its depth and channels kept and its EXIF orientation applied.

    Args:
      content: the file's bytes.
      max_megapixels: larger images are refused before they are decoded.

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
            pixels, alpha = _decode_deep(content, image)
        else:
            pixels, alpha = _decode_eight_bit(image)
        return Picture(pixels, alpha, header.format)


def _open(stream: io.BufferedIOBase) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # oddities in metadata that do not touch pixels
            return Image.open(stream)
    except UnidentifiedImageError:
        stream.seek(0)
        if not stream.read(1):
            raise ImageError("the file is empty") from None
        raise ImageError(_NOT_AN_IMAGE) from None
    except Exception as error:
        raise _damaged("the image's header is damaged", error) from None


def _damaged(what: str, error: Exception) -> Exception:
    """The error for a file that a decoder stumbled over.

    Pillow's plugins raise whatever a damaged file makes of them: TypeError, struct.error, KeyError.
    """
    return error if isinstance(error, (MemoryError, ImageError)) else ImageError(f"{what}: {error}")


def _header_of(image: Image.Image) -> ImageHeader:
    if image.format not in _FORMATS:
        raise ImageError(_NOT_AN_IMAGE)
    try:
        frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        depth = 16 if _is_deep(image) else 8
    except Exception as error:
        raise _damaged("the image's header is damaged", error) from None
    return ImageHeader(image.format, image.width, image.height, depth, frames)


def _is_deep(image: Image.Image) -> bool:
    """Whether samples have more than 8 bits; Pillow would cut such colours to 8 without a word."""
    if image.mode.startswith("I"):
        return True
    if image.format == "PNG":
        return any(";16" in str(tile.args) for tile in image.tile)
    if image.format == "PPM":
        return _largest_code(image) > 255
    if image.format == "TIFF":
        return max(image.tag_v2.get(_BITS_PER_SAMPLE_TAG, (8,))) > 8
    return False


def _largest_code(image: Image.Image) -> int:
    """What a PNM file calls white, where that is not the type's largest value."""
    arguments = image.tile[0].args
    return arguments[1] if isinstance(arguments, tuple) else 0


def _decode_eight_bit(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        image.load()
        image = ImageOps.exif_transpose(image)
        if "transparency" in image.info:
            image = image.convert("LA" if image.mode in ("1", "L") else "RGBA")
        elif image.mode in ("P", "1", "CMYK", "YCbCr", "LAB", "HSV"):
            image = image.convert("L" if image.mode == "1" else "RGB")
    except Exception as error:
        raise _damaged("the image is damaged", error) from None
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        raise ImageError(f"pixels of kind {image.mode} are not supported")
    return _split(np.asarray(image), alpha=image.mode in ("LA", "RGBA"))


def _decode_deep(content: bytes, image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """16-bit images, by OpenCV: Pillow has no 16-bit colour."""
    if image.format == "TIFF" and image.tag_v2.get(_PLANAR_TAG) == _SEPARATE_PLANES:
        # OpenCV mixes the planes up without a word.
        raise ImageError("16-bit TIFF files with separate colour planes are not supported")
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageError(f"the image is damaged: {error.err}") from None
    if pixels is None:
        raise ImageError("the image is damaged or of a kind of 16-bit image not supported")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"samples of type {pixels.dtype} are not supported; 8 or 16 bits are")
    try:
        pixels, alpha = _as_shown(pixels, image)
    except Exception as error:
        raise _damaged("the image is damaged", error) from None
    return np.ascontiguousarray(pixels), None if alpha is None else np.ascontiguousarray(alpha)


def _as_shown(pixels: np.ndarray, image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """What OpenCV leaves out of deep images: white's code, inversion, orientation, transparency."""
    alpha = None
    if image.format == "PPM" and _largest_code(image):
        pixels = quantise_half_up(pixels * (65535 / _largest_code(image)), np.uint16)
    if image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO:
        pixels = peak_of(pixels) - pixels
    if image.format == "PNG":
        gray = "LA;16" in str(image.tile[0].args)
        # Reads on to the end of the file, where EXIF may stand (OpenCV turns TIFF by itself).
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
        pixels = _turned(pixels, orientation)
        if pixels.ndim == 2 and "transparency" in image.info:
            opaque = pixels != image.info["transparency"]
            alpha = opaque * np.uint16(65535)
        if pixels.ndim == 3 and gray:
            return pixels[..., 0], pixels[..., -1]
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        return pixels[..., :3], pixels[..., 3]
    return pixels, alpha


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Applies an EXIF orientation, 1 to 8."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


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
