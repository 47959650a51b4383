"""Writes the restored images, whole or not at all, and makes their rows."""

from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from codec.encode import SUFFIXES_OF, EncodeSettings, encode_image
from codec.picture import Metadata
from storage.store import OutputStore
from transforms.records import ImageRecord, ReportRow
from transforms.stage import ImageStage


def encode_record(
    record: ImageRecord, suffix: str, settings: EncodeSettings, keep_metadata: bool
) -> tuple[ImageRecord, bytes]:
    """Encodes a restored image.

    Args:
      record: with `restored` set.
      suffix: of its file, a member of WRITABLE_SUFFIXES.
      settings: of the encoders.
      keep_metadata: whether the source's metadata is written too.

    Returns:
      The record with all notes, and the file's bytes.

    Raises:
      ImageError: the format cannot hold the image.
    """
    notes, metadata = record.notes, record.metadata
    if not keep_metadata:
        if metadata.icc:
            notes = (*notes, "the colour profile was left out (--metadata strip)")
        metadata = Metadata()
    if record.ref.output_path == record.ref.relative_path and (
        suffix in SUFFIXES_OF["jpeg"] and record.format not in ("JPEG", "MPO")
    ):
        notes = (
            *notes,
            f"the file is a {record.format}; it was written as JPEG because of its name",
        )
    settings = replace(settings, jpeg_tables=record.jpeg_tables)
    encoded = encode_image(record.restored, record.alpha, suffix, metadata, settings)
    return replace(record, notes=(*notes, *encoded.notes)), encoded.content


def report_row(record: ImageRecord, output_uri: str, output_bytes: int) -> ReportRow:
    """The row of an image that was written."""
    height, width = record.source_shape
    channels = 1 if record.restored.ndim == 2 else 3
    return record.ref.row(
        "written",
        warnings=record.notes or None,
        format=record.format,
        width=width,
        height=height,
        channels=channels + (record.alpha is not None),
        bit_depth=record.restored.dtype.itemsize * 8,
        output_uri=output_uri,
        output_path=record.ref.output_path,
        output_width=record.restored.shape[1],
        output_height=record.restored.shape[0],
        output_bytes=output_bytes,
        infer_seconds=record.infer_seconds,
        degradation=record.drawn and record.drawn.text,
        drawn=record.drawn and record.drawn.numbers(),
        figures=record.figures,
    )


@dataclass
class WriteImages(ImageStage):
    """Measured images to files and rows.

    Attributes:
      store: where they go.
      settings: of the encoders.
      keep_metadata: whether the source's metadata is written too.
    """

    store: OutputStore
    settings: EncodeSettings
    keep_metadata: bool
    stage = "write"
    produces = Any

    def encode(self, record: ImageRecord, suffix: str) -> tuple[ImageRecord, bytes]:
        """See encode_record."""
        return encode_record(record, suffix, self.settings, self.keep_metadata)

    def apply(self, element: ImageRecord) -> ReportRow:
        path = element.ref.output_path
        record, content = self.encode(element, PurePosixPath(path).suffix.lower())
        return report_row(record, self.store.write(f"images/{path}", content), len(content))
