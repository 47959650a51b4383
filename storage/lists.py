"""Reads lists of files, part by part: URIs in text, CSV or Parquet files (docs/lists.md)."""

import codecs
import csv
import glob
import io
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import PathError
from storage.globs import find_objects
from storage.store import is_local, open_file

_COLUMNS = ("uri", "relative_path", "size", "modified")
_COMPRESSED = (".gz", ".bz2", ".zst", ".xz", ".zip")
# Bytes of a text that a worker reads at a time, and the longest line: no path or key is as long.
_PART_BYTES = 4 << 20
_LONGEST_LINE = 1 << 16
_BATCH = 1_000


class ListError(ValueError):
    """A list cannot be used; the message gives the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a list that one worker reads at a time.

    Attributes:
      path: of the list's file.
      start, end: bytes of a text, or row groups of a Parquet file, from and up to; a CSV file is
        one part, because its quoted fields may hold line breaks.
    """

    path: str
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry of a list; None where the list does not give it.

    Attributes:
      uri: of the file; without one, the entry's place in the list.
      relative_path: of its result.
      size: bytes.
      modified: seconds since 1970.
      problem: why the entry cannot be used.
    """

    uri: str
    relative_path: str | None = None
    size: int | None = None
    modified: float | None = None
    problem: str | None = None


def list_files(pattern: str) -> list[str]:
    """The files of a list, in order: the matches of a glob, or the file; none is a ListError."""
    if is_local(pattern):
        files = sorted(glob.glob(pattern, recursive=True)) or [pattern]
        files = [file for file in files if os.path.lexists(file)]
    else:
        files = sorted(stored.uri for stored in find_objects(pattern))
    if not files:
        raise ListError("there is no such file; name a file of URIs, or a glob of such files")
    return files


def check_list(path: str) -> None:
    """Raises ListError if a file does not fit its ending, or has no column of URIs."""
    if path.lower().endswith(_COMPRESSED):
        raise ListError("compressed lists cannot be read in parts; use Parquet, or unpack it")
    try:
        with open_file(path) as file:
            _kind_of(path).check(file)
    except pa.ArrowException as error:
        raise ListError(f"is not a Parquet file: {str(error).partition('.')[0]}") from None
    except PathError:
        raise ListError("is not a regular file; name a file of URIs") from None


def parts_of(path: str) -> Iterator[Part]:
    """Splits a file of a list into parts."""
    with open_file(path) as file:
        yield from (Part(path, *bounds) for bounds in _kind_of(path).split(file))


def read_list(path: str) -> Iterator[Listed]:
    """The entries of a whole file."""
    return chain.from_iterable(map(read_part, parts_of(path)))


def read_part(part: Part) -> Iterator[Listed]:
    """The entries of a part, with a bounded number in memory.

    A damaged list ends with an entry that has a problem.
    """
    try:
        with open_file(part.path) as file:
            yield from _kind_of(part.path).read(file, part)
    except (PathError, OSError, MemoryError, pa.ArrowException) as error:
        yield Listed(part.path, problem=f"the list cannot be read: {error}")


def _check_text(file: BinaryIO) -> None:
    if b"\0" in file.read(_BATCH):
        raise ListError("is not text; lists are *.csv, *.parquet, or text with one URI per line")


def _check_schema(file: BinaryIO) -> None:
    schema = pq.read_schema(file)
    if "uri" not in schema.names:
        raise ListError(f"has no column 'uri', but {', '.join(map(repr, schema.names[:10]))}")
    allowed = {
        "uri": (_is_text, "text"),
        "relative_path": (_is_text, "text"),
        "size": (pa.types.is_integer, "a whole number"),
        "modified": (_is_time, "a timestamp or seconds since 1970"),
    }
    for name, (fits, kind) in allowed.items():
        if name in schema.names and not fits(schema.field(name).type):
            raise ListError(f"column {name!r} is {schema.field(name).type}, not {kind}")


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())


def _is_time(kind: pa.DataType) -> bool:
    types = pa.types
    return types.is_timestamp(kind) or types.is_integer(kind) or types.is_floating(kind)


def _split_text(file: BinaryIO) -> Iterator[tuple[int, int]]:
    size = file.seek(0, io.SEEK_END)
    return ((start, min(start + _PART_BYTES, size)) for start in range(0, size, _PART_BYTES))


def _split_row_groups(file: BinaryIO) -> Iterator[tuple[int, int]]:
    return ((index, index + 1) for index in range(pq.ParquetFile(file).metadata.num_row_groups))


def _line(file: BinaryIO) -> bytes:
    """The next line with its end, cut where it is too long; empty at the end of the file."""
    line = rest = file.readline(_LONGEST_LINE)
    while rest and not rest.endswith(b"\n"):
        rest = file.readline(_LONGEST_LINE)
    return line


def _text(content: bytes) -> str:
    """As os.fsdecode, but independent of the locale; names need not be Unicode."""
    return content.decode("utf-8", "surrogateescape")


def _read_text(file: BinaryIO, part: Part) -> Iterator[Listed]:
    """The lines that begin in a part."""
    if part.start:
        file.seek(part.start - 1)
        _line(file)  # skip to the first line that begins in the part
    while (at := file.tell()) < part.end:
        line = _line(file)
        if not at:
            line = line.removeprefix(codecs.BOM_UTF8)
        uri = _text(line.rstrip(b"\r\n"))
        if uri:
            yield _checked(Listed(uri), f"{part.path}:byte {at}")


def _read_csv(file: BinaryIO, part: Part) -> Iterator[Listed]:
    """The rows below a header that names `uri`; without a header the first column is the URI."""
    head = _line(file).removeprefix(codecs.BOM_UTF8)
    lines = (_text(line) for line in chain([head], iter(partial(_line, file), b"")))
    reader = csv.reader(lines, strict=True)
    columns, width = {"uri": 0}, 0
    while True:
        place = f"{part.path}:line {reader.line_num + 1}"
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Listed(place, problem=f"bad line: {error}")
            continue
        if not fields:
            continue
        if not width:
            width = len(fields)
            if "uri" in fields:
                columns = {name: fields.index(name) for name in _COLUMNS if name in fields}
                continue
        if len(fields) != width:
            problem = f"bad line: {len(fields)} fields instead of {width}"
            yield Listed(fields[0] or place, problem=problem)
            continue
        yield _parsed({name: fields[index] or None for name, index in columns.items()}, place)


def _read_row_groups(file: BinaryIO, part: Part) -> Iterator[Listed]:
    table = pq.ParquetFile(file)
    columns = [name for name in _COLUMNS if name in table.schema_arrow.names]
    groups, row = range(part.start, part.end), 0
    for batch in table.iter_batches(_BATCH, row_groups=groups, columns=columns):
        values = {name: _values(batch.column(name)) for name in columns}
        for fields in zip(*values.values(), strict=True):
            place = f"{part.path}:row {row} of row group {part.start}"
            yield _parsed(dict(zip(values, fields, strict=True)), place)
            row += 1


def _values(column: pa.Array) -> list[Any]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if _is_text(column.type):
        # Text columns need not hold valid Unicode.
        texts = column.cast(pa.large_binary()).to_pylist()
        return [None if text is None else _text(text) for text in texts]
    if pa.types.is_timestamp(column.type):
        scale = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}[column.type.unit]
        counts = column.cast(pa.int64()).to_pylist()
        return [None if count is None else count / scale for count in counts]
    return column.to_pylist()


def _parsed(fields: dict[str, Any], place: str) -> Listed:
    """The entry for the fields of a row, which are values or their texts."""
    uri = fields.get("uri")
    if not uri:
        return Listed(place, problem="bad line: no uri")
    try:
        size, modified = fields.get("size"), fields.get("modified")
        size = None if size is None else int(size)
        modified = None if modified is None else _seconds(modified)
        if size is not None and not 0 <= size < 1 << 63:
            raise ValueError(f"size {size}")
        if modified is not None and not math.isfinite(modified):
            raise ValueError(f"modified {modified}")
    except ValueError as error:
        return _checked(Listed(uri, problem=f"bad line: {error}"), place)
    return _checked(Listed(uri, fields.get("relative_path"), size, modified), place)


def _seconds(value: str | float) -> float:
    try:
        return float(value)
    except ValueError:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _checked(listed: Listed, place: str) -> Listed:
    names = (listed.uri, listed.relative_path or "")
    if any("\0" in name for name in names):
        return Listed(place, problem=f"bad line: the name contains a zero byte: {names[0]}")
    return listed


class _Kind(NamedTuple):
    """How lists with one ending are checked, split into (start, end) of parts, and read."""

    check: Callable[[BinaryIO], None]
    split: Callable[[BinaryIO], Iterator[tuple[int, int]]]
    read: Callable[[BinaryIO, Part], Iterator[Listed]]


# By the ending of the name; the first that fits.
_KINDS = {
    ".parquet": _Kind(_check_schema, _split_row_groups, _read_row_groups),
    ".csv": _Kind(_check_text, lambda file: iter([(0, 0)]), _read_csv),
    "": _Kind(_check_text, _split_text, _read_text),
}


def _kind_of(path: str) -> _Kind:
    return next(kind for ending, kind in _KINDS.items() if path.lower().endswith(ending))
