"""Parquet files with a column of images: binary, or Hugging Face's struct of `bytes` and `path`."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shards.samples import (
    FIGURES,
    ColumnError,
    Figures,
    NewImage,
    Sample,
    ShardError,
    ShardReader,
    ShardWriter,
    with_ending,
)

# Bytes of a written row group; bytes and rows that are read at a time.
_GROUP_BYTES = 16 << 20
_BATCH_BYTES = 4 << 20
_BATCH_ROWS = 64
# Values between two checks of a page's size, which is a megabyte: images are large.
_WRITE_BATCH = 16
_READ_BUFFER = 1 << 20
# Errors of Arrow on invalid files; names that are not UTF-8 raise a ValueError.
_BAD_FILE = (pa.ArrowException, OSError, ValueError)


@dataclass(frozen=True)
class _Row:
    """A row: its image as an array of one value, and the place of its other columns."""

    image: pa.Array
    others: pa.RecordBatch
    index: int


class ParquetReader(ShardReader):
    """Reads a Parquet file, a few rows at a time.

    Args:
      file: open for reading.
      column: of images; empty: the only one.

    Attributes:
      file: the file, opened by Arrow.
      column: of images.
      encoding: of its columns, as arguments of pyarrow's writer.

    Raises:
      ShardError: the file is not Parquet, or has no such column.
    """

    def __init__(self, file: BinaryIO, column: str = ""):
        try:
            # Page by page: by default Arrow reads a whole column of a row group at once.
            self.file = pq.ParquetFile(
                file, pre_buffer=False, buffer_size=_READ_BUFFER, page_checksum_verification=True
            )
            self.column = image_column(self.file.schema_arrow, column)
            self.encoding = _encoding(self.file.metadata, self.column)
        except _BAD_FILE as error:
            raise ShardError(f"not a readable Parquet file: {_why(error)}") from None

    def __iter__(self) -> Iterator[Sample]:
        """Yields a sample for each row; its name is the row's number."""
        metadata = self.file.metadata
        groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
        starts = accumulate((group.num_rows for group in groups), initial=0)
        for index, (group, start) in enumerate(zip(groups, starts, strict=False)):
            rows = _BATCH_BYTES * group.num_rows // max(group.total_byte_size, 1)
            batches, number = self._batches(index, min(max(rows, 1), _BATCH_ROWS)), start
            while True:
                try:
                    batch = next(batches, None)
                except _BAD_FILE as error:
                    problem = f"row group {index} is damaged from row {number} on: {_why(error)}"
                    yield Sample(f"damage in row group {index}", None, problem=problem)
                    break
                if batch is None:
                    break
                yield from self._samples(batch, number)
                number += len(batch)

    def _batches(self, group: int, rows: int) -> Iterator[pa.RecordBatch]:
        yield from self.file.iter_batches(rows, row_groups=[group], use_threads=False)

    def _samples(self, batch: pa.RecordBatch, start: int) -> Iterator[Sample]:
        images, others = batch.column(self.column), batch.drop_columns([self.column])
        for index in range(len(batch)):
            row = _Row(images.slice(index, 1), others, index)
            yield _sample(str(start + index), row)


def _sample(name: str, row: _Row) -> Sample:
    value, path, problem = row.image[0], "", None
    if isinstance(value, pa.StructScalar) and value.is_valid:
        try:
            path = ("path" in value and value["path"].as_py()) or ""
        except UnicodeDecodeError:
            problem = "its path is not UTF-8"
        value = value["bytes"]
        if path and not value.is_valid:
            problem = f"it has no bytes, only the file name {path}, which is not followed"
    if not value.is_valid:
        return Sample(name, row, problem=problem or "the image is missing (null)")
    size = value.as_buffer().size
    return Sample(name, row, value.as_py, size, path, problem=problem)


class ParquetWriter(ShardWriter):
    """Writes a Parquet file with the columns, types and metadata of its source.

    Args:
      file: open for writing, at its start.
      reader: of the samples.
      figures: names of the figures in the column `restoration`; empty: no such column.

    Raises:
      ShardError: the source has that column, or cannot be written as it was read.
    """

    def __init__(self, file: BinaryIO, reader: ParquetReader, figures: Sequence[str] = ()):
        self._schema = schema = reader.file.schema_arrow
        self._place = schema.get_field_index(reader.column)
        self._figures = None
        if figures:
            if FIGURES in schema.names:
                raise ShardError(f"it already has a column {FIGURES}; see --figures_in")
            fields = [("failure", pa.string()), *((name, pa.float64()) for name in figures)]
            self._figures = pa.struct(fields)
            self._schema = schema.append(pa.field(FIGURES, self._figures))
        self._rows: list[tuple[pa.RecordBatch, int, pa.Array, Figures | None]] = []
        self._bytes = 0
        try:
            self._writer = pq.ParquetWriter(
                file, self._schema, write_batch_size=_WRITE_BATCH, **reader.encoding
            )
        except _BAD_FILE as error:
            raise ShardError(f"it cannot be written as it was read: {_why(error)}") from None

    def add(self, sample: Sample, image: NewImage | None, figures: Figures | None) -> None:
        row: _Row = sample.carried
        value = _replaced(row.image, image) if image else row.image
        self._rows.append((row.others, row.index, value, figures))
        self._bytes += value.nbytes + row.others.nbytes // len(row.others)
        if self._bytes >= _GROUP_BYTES:
            self._write_group()

    def close(self) -> None:
        if self._rows:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        others = pa.Table.from_batches(_runs([row[:2] for row in self._rows]))
        images = pa.chunked_array([value for *_, value, _ in self._rows])
        table = others.add_column(self._place, self._schema.field(self._place), images)
        if self._figures is not None:
            values = pa.array([figures for *_, figures in self._rows], self._figures)
            table = table.append_column(self._schema.field(FIGURES), values)
        table = table.replace_schema_metadata(self._schema.metadata)
        self._writer.write_table(table, row_group_size=len(table))
        self._rows, self._bytes = [], 0


def count_rows(file: BinaryIO, column: str = "") -> int:
    """The number of rows of a Parquet file.

    Raises:
      ShardError: see ParquetReader.
    """
    return ParquetReader(file, column).file.metadata.num_rows


def find_image(file: BinaryIO, name: str, column: str = "") -> bytes:
    """The image in a row of a Parquet file.

    Raises:
      ShardError: there is none.
    """
    reader, number = ParquetReader(file, column), int(name)
    for group in range(reader.file.num_row_groups):
        rows = reader.file.metadata.row_group(group).num_rows
        if number < rows:
            return _find_in_group(reader, group, number)
        number -= rows
    raise ShardError(f"it has no row {name}")


def _find_in_group(reader: ParquetReader, group: int, number: int) -> bytes:
    batches = reader.file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=[reader.column])
    for batch in batches:
        if number < len(batch):
            row = _Row(batch.column(reader.column).slice(number, 1), batch, number)
            return _sample("", row).content()
        number -= len(batch)
    raise ShardError("it ends early")


def image_column(schema: pa.Schema, name: str = "") -> str:
    """The column that holds the images.

    Args:
      schema: of the file.
      name: of the column; empty: the only one that may hold them. A column that Hugging Face's
        metadata call an image is preferred to others of a fitting type.

    Raises:
      ColumnError: there is none or more than one; the message names the columns.
    """
    fitting = [field.name for field in schema if _holds_images(field.type)]
    if name:
        if name in fitting and schema.names.count(name) == 1:
            return name
        kind = f"is {schema.field(name).type}" if name in schema.names else "does not exist"
        raise ColumnError(
            f"column {name} {kind}; columns of images are binary, or structs of bytes and path: "
            f"{', '.join(fitting) or 'there are none'}"
        )
    found = [one for one in _declared(schema) if one in fitting] or fitting
    if len(found) == 1:
        return found[0]
    if found:
        raise ColumnError(
            f"several columns may hold the images: {', '.join(found)}; name one with --image_column"
        )
    raise ColumnError(
        "no column holds images (binary, or a struct of bytes and path); its columns are "
        f"{', '.join(f'{field.name} ({field.type})' for field in schema)}"
    )


def _declared(schema: pa.Schema) -> list[str]:
    """The columns that Hugging Face's metadata call images."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        return [name for name, feature in features.items() if feature.get("_type") == "Image"]
    except (TypeError, KeyError, ValueError, AttributeError):
        return []


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _is_binary(kind.field(index).type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _encoding(metadata: pq.FileMetaData, image: str) -> dict[str, Any]:
    """The columns' compression, and the columns with dictionaries; images get none."""
    if not metadata.num_row_groups:
        return {}
    group = metadata.row_group(0)
    columns = [group.column(index) for index in range(group.num_columns)]
    codecs = {one.path_in_schema: one.compression for one in columns}
    return {
        "compression": {
            name: "none" if codec == "UNCOMPRESSED" else codec.lower().removesuffix("_raw")
            for name, codec in codecs.items()
        },
        "use_dictionary": [
            one.path_in_schema
            for one in columns
            if one.has_dictionary_page and one.path_in_schema.partition(".")[0] != image
        ],
    }


def _replaced(old: pa.Array, image: NewImage) -> pa.Array:
    """An array of one value with another image and the path with its ending."""
    make = partial(pa.array, [image.content])
    if not pa.types.is_struct(old.type):
        return make(old.type)
    arrays = []
    for field in old.type:
        values = pc.struct_field(old, field.name)
        if field.name == "bytes":
            values = make(field.type)
        elif field.name == "path" and values[0].is_valid:
            values = pa.array([with_ending(values[0].as_py(), image.ending)], field.type)
        arrays.append(values)
    return pa.StructArray.from_arrays(arrays, fields=list(old.type))


def _runs(rows: Sequence[tuple[pa.RecordBatch, int]]) -> Iterator[pa.RecordBatch]:
    """The rows, each a batch and an index in it, in as few batches as possible."""
    first, start = rows[0]
    length = 1
    for batch, index in rows[1:]:
        if batch is first and index == start + length:
            length += 1
            continue
        yield first.slice(start, length)
        first, start, length = batch, index, 1
    yield first.slice(start, length)


def _why(error: Exception) -> str:
    """Arrow's message about a damaged file; raises errors of the file system."""
    if isinstance(error, OSError) and error.errno is not None:
        raise error
    return " ".join(str(error).split())[:200]
