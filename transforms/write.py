"""Writes the restored images, whole or not at all, and makes their rows."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from codec.encode import encode_image
from transforms.records import ImageRecord, ReportRow
from transforms.stage import ImageStage
from transforms.storage import OutputStore


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
