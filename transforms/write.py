"""Encodes the restored images and writes them, whole or not at all."""

import io
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import cv2
import numpy as np
from PIL import Image

from transforms.errors import ImageError
from transforms.records import ImageRecord, ReportRow
from transforms.stage import ImageStage
from transforms.storage import OutputStore

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


def write_image(record: ImageRecord, store: OutputStore) -> ReportRow:
    """Writes one restored image and makes its row.

    Raises:
      ImageError: the format cannot hold the image.
      OSError: it could not be written.
    """
    suffix = PurePosixPath(record.ref.output_path).suffix.lower()
    content = encode_image(record.restored, record.alpha, suffix)
    uri = store.write(f"images/{record.ref.output_path}", content)
    return report_row(record, uri, len(content))


def report_row(record: ImageRecord, output_uri: str, output_bytes: int) -> ReportRow:
    """The row of an image that was written."""
    height, width = record.source_shape
    channels = 1 if record.restored.ndim == 2 else 3
    return ReportRow(
        source_uri=record.ref.uri,
        relative_path=record.ref.relative_path,
        source_bytes=record.ref.size,
        source_modified=record.ref.modified,
        status="written",
        width=width,
        height=height,
        channels=channels + (record.alpha is not None),
        bit_depth=record.restored.dtype.itemsize * 8,
        output_uri=output_uri,
        output_width=record.restored.shape[1],
        output_height=record.restored.shape[0],
        output_bytes=output_bytes,
        infer_seconds=record.infer_seconds,
        **record.figures,
    )


@dataclass
class WriteImages(ImageStage):
    """Measured images to files and rows.

    Attributes:
      store: where they go.
    """

    store: OutputStore
    stage = "write"
    produces = Any

    def apply(self, element: ImageRecord) -> ReportRow:
        return write_image(element, self.store)
