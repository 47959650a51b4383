"""The elements between the stages: a reference, an image on its way, a row of the report."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import partial
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from codec.picture import Metadata
from shards.formats import is_shard
from srcnn.degradations import Degradation, Parameter, drawn_columns
from srcnn.figures import Values
from srcnn.figures import columns as figure_columns


@dataclass(frozen=True, slots=True)  # no names of fields in each reference's bytes
class ImageRef:
    """A source image, before anything of it is read.

    Attributes:
      uri: where it is, as the file system named it.
      relative_path: its path below the fixed prefix of the glob that matched it, or as its list
        has it.
      output_path: where its restored image goes, below OUTPUT/images.
      size: bytes, as listed.
      modified: time of last modification, seconds since 1970, 0 where unknown.
      order: position of the glob or list among the inputs.
      change: the reason to restore it; see transforms.done.
    """

    uri: str
    relative_path: str
    output_path: str
    size: int
    modified: float
    order: int
    change: str | None = None

    def row(self, status: str, **columns: Any) -> "ReportRow":
        """The image's report row."""
        return ReportRow(
            source_uri=self.uri,
            relative_path=self.relative_path,
            source_bytes=self.size,
            source_modified=self.modified,
            status=status,
            **{"change": self.change} | columns,
        )


@dataclass(frozen=True, slots=True)
class ShardRef(ImageRef):
    """A shard, before anything of it is read; its result goes below OUTPUT/shards."""


@dataclass(frozen=True)
class ImageRecord:
    """An image on its way through the stages. Stays within one worker.

    Attributes:
      ref: where it comes from.
      original: (h, w, 3) BGR or (h, w), uint8 or uint16: the ground truth in evaluate mode, the
        input in restore mode.
      source_shape: (height, width) of the source as decoded, before any crop.
      alpha: (h, w) of the original's type, or None.
      format: of the source file, as Pillow names it.
      metadata: of the source; in restore mode adapted to the output's size.
      jpeg_tables: quantisation tables of a JPEG source, else ().
      notes: losses and decisions so far, in words.
      small: the small picture, until the network's input is set; see srcnn.restoration.
      interpolated: the small picture at the result's size; see srcnn.restoration.
      drawn: the degradation with the image's drawn values (evaluate mode).
      luma: the network's input: luma, (h, w), or luma and chroma, (h, w, 3).
      restored_luma: its output, (H', W') or (H', W', 3) integer codes.
      failure: why the network gave no picture, or None.
      restored: (H', W', 3) BGR or (H', W'), the image to write.
      figures: columns of the report measured so far.
      infer_seconds: time in the network.
      total_seconds: time in all stages so far.
    """

    ref: ImageRef
    original: np.ndarray
    source_shape: tuple[int, int]
    alpha: np.ndarray | None = None
    format: str = ""
    metadata: Metadata = Metadata()
    jpeg_tables: tuple[tuple[int, ...], ...] = ()
    notes: tuple[str, ...] = ()
    small: np.ndarray | None = None
    interpolated: np.ndarray | None = None
    drawn: Degradation | None = None
    luma: np.ndarray | None = None
    restored_luma: np.ndarray | None = None
    failure: str | None = None
    restored: np.ndarray | None = None
    figures: Values | None = None
    infer_seconds: float = 0.0
    total_seconds: float = 0.0


class ImageRecordCoder(beam.coders.Coder):
    """Pickles an image record, and estimates its size without doing so.

    Beam samples the size of elements even within a fused stage; the general coder would pickle
    every picture for that.
    """

    def encode(self, value: ImageRecord) -> bytes:
        return pickle.dumps(value, protocol=5)

    def decode(self, encoded: bytes) -> ImageRecord:
        return pickle.loads(encoded)

    def estimate_size(self, value: ImageRecord) -> int:
        arrays = (getattr(value, f.name) for f in fields(value))
        size = sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))
        return min(size, 1 << 30)  # Beam keeps it in a C int

    def to_type_hint(self) -> type:
        return ImageRecord


beam.coders.registry.register_coder(ImageRecord, ImageRecordCoder)


def as_unicode(name: str) -> str:
    """A name as the report has it: bytes that are not Unicode are escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def column(kind: pa.DataType, description: str):
    """A field of ReportRow: its Parquet type and its line in the documentation."""
    return field(default=None, metadata={"type": kind, "description": description})


# Kinds of columns.
_text = partial(column, pa.string())
_whole = partial(column, pa.int32())
_real = partial(column, pa.float64())

# The type that readers give the run_id=<id> of the directory; another would not merge with it.
RUN_ID = pa.dictionary(pa.int32(), pa.string())


# The value of `change` for an image that is larger than `--skip_above`.
LARGE_ENOUGH = "large enough"

# Statuses of rows without a matched image.
BESIDE_MATCHED = ("vanished", "pruned")


@dataclass(frozen=True, slots=True)  # no names of fields in each row's bytes
class ReportRow:
    """One matched image's line in the report; report_columns derives the Parquet schema from it."""

    run_id: str | None = column(RUN_ID, "The run that wrote the row.")
    source_uri: str | None = _text("Where the image was read from; in a shard `shard!name`.")
    relative_path: str | None = _text(
        "Path below the fixed prefix of the glob, or as the list states it (forward slashes); "
        "in a shard `shard!name`."
    )
    source_bytes: int | None = column(pa.int64(), "Size of the source image's file, bytes.")
    source_modified: float | None = _real(
        "Modification time of the source file, seconds since 1970-01-01 UTC."
    )
    shard: str | None = _text("Images of a shard: the shard's relative path.")
    shard_bytes: int | None = column(pa.int64(), "Images of a shard: size of the source shard.")
    shard_images: int | None = _whole(
        "Images of a shard: number of its rows in the run that read it."
    )
    shard_output_bytes: int | None = column(
        pa.int64(),
        "Images of a shard: size of the written shard; 0 if none was requested.",
    )
    source_offset: int | None = column(
        pa.int64(), "Images of a tar: offset of the image's bytes in the source."
    )
    output_offset: int | None = column(
        pa.int64(), "Images of a tar: offset of the restored image's bytes in the result."
    )
    status: str | None = _text(
        "`written`, `skipped` or `failed`; beside the matched images `vanished` or `pruned`."
    )
    change: str | None = _text("Why the image was restored or not, compared with earlier runs.")
    done_run_id: str | None = _text(
        "Skipped, vanished and pruned rows, and failed ones of a shard that is done: the run that "
        "wrote the image, or the shard."
    )
    stage: str | None = _text("Failed rows: the stage that failed.")
    error_type: str | None = _text("Failed rows: the error's class.")
    error_message: str | None = _text("Failed rows: the reason.")
    warnings: tuple[str, ...] | None = column(
        pa.list_(pa.string()), "Conversions, and data that the written format cannot hold."
    )
    format: str | None = _text("Format of the source by its content, such as `PNG` or `JPEG`.")
    width: int | None = _whole("Width of the source image, pixels.")
    height: int | None = _whole("Height of the source image, pixels.")
    channels: int | None = _whole("Channels of the source: 1 gray, 3 colour, one more with alpha.")
    bit_depth: int | None = _whole("Bits per sample of the source, 8 or 16.")
    output_uri: str | None = _text("Where the restored image was written.")
    output_path: str | None = _text("The same below OUTPUT/images, or OUTPUT/shards.")
    output_width: int | None = _whole("Width of the restored image, pixels.")
    output_height: int | None = _whole("Height of the restored image, pixels.")
    output_bytes: int | None = column(pa.int64(), "Size of the restored file, bytes.")
    fingerprint: str | None = _text("Hash of all settings that change the content of images.")
    mode: str | None = _text("`evaluate` or `restore`.")
    scale: int | None = _whole("Scale of the run; 1: nothing was enlarged.")
    kernel: str | None = _text("Interpolation of the degradation or enlargement.")
    degradation: str | None = _text(
        "Steps applied to the original, with the drawn values (evaluate; docs/metrics.md)."
    )
    drawn: Values | None = None  # columns of srcnn.degradations, by name
    protocol: str | None = _text("Convention of colour and figures.")
    border: str | None = _text("`keep` or `shave`.")
    strength: float | None = _real("1: output of the network; 0: the interpolated image.")
    measure_shave: int | None = _whole("Pixels left out on each side before measuring (evaluate).")
    model: str | None = _text("Name on the model card.")
    weights_sha256: str | None = _text("Hash of the weights file.")
    engine: str | None = _text("Inference engine.")
    ensemble: int | None = _whole("Results of the network that were averaged: 8 or 1.")
    figures: Values | None = None  # columns of srcnn.figures, by name
    infer_seconds: float | None = _real(
        "Seconds in the network; of a shared batch by share of pixels."
    )
    total_seconds: float | None = _real("Seconds in all stages together.")
    finished_at: datetime | None = column(pa.timestamp("us", "UTC"), "Time of the row.")
    host: str | None = _text("The worker's host name.")
    versions: str | None = _text(
        "Versions of this software and of the libraries behind the figures."
    )

    def figure(self, name: str) -> float | None:
        """The figure in a column of the report."""
        return self.figures.get(name) if self.figures else None

    def value(self, name: str) -> Any:
        """The value in a column of the report."""
        derived = (self.drawn or {}) | (self.figures or {})
        return derived.get(name) if name in derived else getattr(self, name, None)


def report_columns() -> dict[str, tuple[pa.DataType, str]]:
    """Parquet type and meaning of the report's columns, in order."""
    derived = {
        "figures": {c.name: (pa.float64(), c.meaning) for c in figure_columns()},
        "drawn": {name: (pa.float64(), _drawn(name, p)) for name, p in drawn_columns().items()},
    }
    columns = {}
    for one in fields(ReportRow):
        if one.name in derived:
            columns |= derived[one.name]
        else:
            columns[one.name] = (one.metadata["type"], one.metadata["description"])
    return columns


def _drawn(step: str, parameter: Parameter) -> str:
    unit = f", {parameter.unit}" if parameter.unit else ""
    return f"Step `{step}` of the degradation: {parameter.name}{unit}; null without one (evaluate)."


def report_schema() -> pa.Schema:
    """The schema of the report's files."""
    return pa.schema([(name, kind) for name, (kind, _) in report_columns().items()])


def result_path(output_path: str) -> str:
    """Where the result of a reference is, below OUTPUT."""
    return f"{'shards' if is_shard(output_path) else 'images'}/{output_path}"


def to_table(rows: Sequence[ReportRow]) -> pa.Table:
    """Rows as a table of the report."""
    schema = report_schema()
    columns = {name: [row.value(name) for row in rows] for name in schema.names}
    return pa.table(columns, schema)
