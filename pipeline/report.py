"""Completes the rows of the report and writes them as Parquet."""

import io
import os
import socket
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from itertools import islice

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.progress import ProgressFile
from transforms.records import SCHEMA, ReportRow
from transforms.stage import count
from transforms.storage import OutputStore

_ROW_GROUP = 1_000


def encode_rows(rows: Iterable[ReportRow]) -> bytes:
    """Rows as one Parquet file: explicit schema, zstd; row groups bound the memory."""
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, SCHEMA, compression="zstd") as writer:
        remaining = iter(rows)
        while group := [asdict(row) for row in islice(remaining, _ROW_GROUP)]:
            writer.write_table(pa.Table.from_pylist(group, SCHEMA))
    return buffer.getvalue()


class CompleteRow(beam.DoFn):
    """Adds what is the same in every row of the run, counts it and reports progress.

    Args:
      constants: columns of the run.
      progress: where the watching process looks, or None.
    """

    def __init__(self, constants: ReportRow, progress: ProgressFile | None):
        self._constants = {k: v for k, v in asdict(constants).items() if v is not None}
        self._progress = progress

    def process(self, row: ReportRow):
        """Yields the complete row."""
        count(f"images_{row.status}")
        pixels = (row.width or 0) * (row.height or 0)
        count("pixels_restored", pixels if row.status == "written" else 0)
        if self._progress:
            self._progress.add(row.status, pixels)
        row = replace(
            row, finished_at=datetime.now(UTC), host=socket.gethostname(), **self._constants
        )
        yield replace(row, **_escaped(row))


@dataclass
class WriteMetrics(beam.PTransform):
    """Rows to Parquet files under metrics/run_id=<id>/, one per shard.

    Rows are spread by their source's name, so that a re-run makes the same files; within a file
    they are in the order of their names.

    Attributes:
      store: where they go.
      shards: number of files.
    """

    store: OutputStore
    shards: int

    def expand(self, rows):
        """Returns the files' URIs as bytes: OUTPUT's name need not be Unicode."""
        shards, store = self.shards, self.store
        return (
            rows
            | "KeyByShard" >> beam.Map(lambda row: (_shard_of(row, shards), row))
            | "GroupByShard" >> beam.GroupByKey()
            | "WriteShard"
            >> beam.MapTuple(lambda shard, group: _write_shard(store, shard, shards, group))
        )


def _shard_of(row: ReportRow, shards: int) -> int:
    return zlib.crc32(row.source_uri.encode()) % shards


def _write_shard(store: OutputStore, shard: int, shards: int, rows: Iterable[ReportRow]) -> bytes:
    ordered = sorted(rows, key=lambda row: (row.relative_path, row.source_uri))
    path = f"metrics/run_id={store.run_id}/part-{shard:05d}-of-{shards:05d}.parquet"
    return os.fsencode(store.write(path, encode_rows(ordered)))


def _escaped(row: ReportRow) -> dict[str, str]:
    """The columns whose text is no Unicode (odd file names), with the odd bytes escaped."""
    texts = {f.name: getattr(row, f.name) for f in fields(row)}
    return {
        name: text.encode("utf-8", "backslashreplace").decode()
        for name, text in texts.items()
        if isinstance(text, str) and not text.isascii()
    }
