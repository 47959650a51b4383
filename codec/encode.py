"""Encodes images."""

import io

import cv2
import numpy as np
from PIL import Image

from codec.errors import ImageError

# As little loss as the format allows: JPEG without chroma subsampling, WebP without any.
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]
_ENCODINGS: dict[str, list[int]] = {
    ".png": [],
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, 101],
    ".bmp": [],
    ".tif": [],
    ".tiff": [],
    ".ppm": [],
    ".pgm": [],
    ".pnm": [],
}
WRITABLE_SUFFIXES = frozenset(_ENCODINGS)
_KEEPS_ALPHA = frozenset({".png", ".webp", ".tif", ".tiff"})
_KEEPS_DEPTH = frozenset({".png", ".tif", ".tiff", ".ppm", ".pgm", ".pnm"})


def encode_image(image: np.ndarray, alpha: np.ndarray | None, suffix: str) -> bytes:
    """Encodes an image for a file of the given ending.

    Args:
      image: (h, w, 3) BGR or (h, w), uint8 or uint16.
      alpha: (h, w) of the same type, or None.
      suffix: a member of WRITABLE_SUFFIXES.

    Raises:
      ImageError: the format cannot hold the image's size, depth or alpha.
    """
    if alpha is not None and suffix not in _KEEPS_ALPHA:
        raise ImageError(f"{suffix} files cannot hold the image's transparency")
    if image.dtype != np.uint8 and suffix not in _KEEPS_DEPTH:
        raise ImageError(f"{suffix} files cannot hold 16 bits per sample")
    if alpha is not None and image.ndim == 2 and image.dtype == np.uint8 and suffix == ".png":
        buffer = io.BytesIO()  # OpenCV has no two-channel PNG
        Image.fromarray(np.dstack([image, alpha]), "LA").save(buffer, "PNG")
        return buffer.getvalue()
    if alpha is not None:
        colours = image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        image = np.dstack([colours, alpha])
    # Under .ppm and .pgm stands what the image is, colour or gray, as readers expect of .pnm.
    container = ".pnm" if suffix in (".ppm", ".pgm") else suffix
    try:
        done, encoded = cv2.imencode(container, image, _ENCODINGS[suffix])
    except cv2.error as error:
        raise ImageError(f"cannot be encoded as {suffix}: {error.err}") from None
    if not done:
        raise ImageError(f"cannot be encoded as {suffix}")
    return encoded.tobytes()
