"""The report: rows are journaled during a run and become Parquet files at its end.

Every few seconds a worker writes its rows to a small file below runs/<id>/rows, so that a killed
run loses no finished image. The main process, or the next run, compacts them into
metrics/run_id=<id>/.
"""

import io
import logging
import socket
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.progress import ProgressFile
from storage.store import OutputStore
from transforms.records import BESIDE_MATCHED, ReportRow, as_unicode, report_schema, to_table
from transforms.stage import count

# Rows of a file, and of a row group.
_FILE_ROWS = 100_000
_GROUP_ROWS = 10_000
# Rows, or (shortest, longest) seconds, after which the journal is written: a kill loses little, and
# a long run, which waits for a share of its duration, has few files.
_JOURNAL_ROWS = 1_000
_JOURNAL_SECONDS = (1.0, 60.0)
_JOURNAL_SHARE = 0.05
# Columns that stay empty in rows of images that this run did not restore.
_OF_THE_WORK = ("engine", "versions")
# Columns that identify an image.
_NAMES = ["source_uri", "relative_path"]
_KEYS = [*_NAMES, "finished_at", "shard"]
_TEXTS = tuple(column.name for column in report_schema() if column.type == pa.string())


class RowJournal:
    """Collects rows and writes them to journal files in a store."""

    def __init__(self, store: OutputStore):
        self._store = store
        self._rows: list[ReportRow] = []
        self._started = self._written = time.monotonic()

    def add(self, row: ReportRow) -> None:
        """Adds a row; writes the collected rows when it is time."""
        self._rows.append(row)
        now = time.monotonic()
        shortest, longest = _JOURNAL_SECONDS
        wait = min(max(shortest, _JOURNAL_SHARE * (now - self._started)), longest)
        if len(self._rows) >= _JOURNAL_ROWS or now - self._written >= wait:
            self.write()

    def write(self) -> None:
        """Writes the collected rows."""
        if self._rows:
            name = f"{journal_of(self._store.run_id)}/{uuid.uuid4().hex}.parquet"
            self._store.write(name, encode_table(to_table(self._rows)))
            self._rows.clear()
        self._written = time.monotonic()


class EndRow(beam.DoFn):
    """Completes a row with the constant columns of its run, journals it, counts and reports it.

    Rows of images in shards have the `shard_fingerprint` instead of the constant one.
    """

    def __init__(
        self,
        constants: ReportRow,
        shard_fingerprint: str,
        store: OutputStore,
        progress: ProgressFile | None,
    ):
        texts = {k: v for k, v in asdict(constants).items() if v is not None}
        self._constants = texts | _readable(texts)
        self._of_shards = self._constants | {"fingerprint": shard_fingerprint}
        self._store = store
        self._progress = progress

    def setup(self):
        self._journal = RowJournal(self._store)

    def process(self, row: ReportRow):
        """Yields the complete row."""
        count(f"images_{row.status}")
        pixels = (row.width or 0) * (row.height or 0)
        count("pixels_restored", pixels if row.status == "written" else 0)
        added = _readable({name: getattr(row, name) for name in _TEXTS})
        added |= self._constants if row.shard is None else self._of_shards
        if row.status in ("skipped", *BESIDE_MATCHED):
            for name in _OF_THE_WORK:
                added.pop(name, None)
        row = replace(row, finished_at=datetime.now(UTC), host=socket.gethostname(), **added)
        self._journal.add(row)
        if self._progress and row.status not in BESIDE_MATCHED:
            self._progress.add(row.status, pixels)
        yield row

    def finish_bundle(self):
        self._journal.write()


def journal_of(run_id: str) -> str:
    """The directory of a run's journal, below OUTPUT."""
    return f"runs/{run_id}/rows"


def encode_table(table: pa.Table) -> bytes:
    """Rows as one Parquet file, zstd."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=_GROUP_ROWS, compression="zstd")
    return buffer.getvalue()


def compact_journal(store: OutputStore, run_id: str) -> int:
    """Writes the report of a finished run from its journal, which it leaves; returns the rows.

    Each source and relative path has one row, the latest if a runner repeated an image. A file has
    at most 100,000 rows, ordered by status and name. Journal files that a power loss has damaged
    are left out; their images are restored again.
    """
    parts = [p for p in store.glob(f"{journal_of(run_id)}/*.parquet") if _is_whole(store, p)]
    keep = _latest(_keys_of(store, parts))
    directory = f"metrics/run_id={run_id}"
    before = set(store.glob(f"{directory}/*.parquet"))
    order = [("status", "ascending"), ("relative_path", "ascending")]
    for number, table in enumerate(_gathered(_kept_tables(store, parts, keep))):
        path = f"{directory}/part-{number:05d}.parquet"
        store.write(path, encode_table(table.sort_by(order)))
        before.discard(path)
    for path in before:
        store.delete(path)
    return int(keep.sum())


def remove_journal(store: OutputStore, run_id: str) -> None:
    """Removes the journal of a run."""
    store.delete_directory(journal_of(run_id))


def journals(store: OutputStore) -> dict[str, list[str]]:
    """The files of all journals, by run."""
    found: dict[str, list[str]] = {}
    for path in store.glob("runs/*/rows/*.parquet"):
        found.setdefault(path.split("/")[1], []).append(path)
    return found


def _is_whole(store: OutputStore, part: str) -> bool:
    try:
        pq.read_metadata(io.BytesIO(store.read(part)))
    except pa.ArrowInvalid:
        logging.getLogger(__name__).warning(
            "a damaged journal file is left out, its images are restored again: %s", store.uri(part)
        )
        return False
    return True


def _keys_of(store: OutputStore, parts: Iterable[str]) -> Iterator[pd.DataFrame]:
    """The keys of rows, with hashes instead of names: a run may have millions."""
    for part in parts:
        content = io.BytesIO(store.read(part))
        frame = pq.read_table(content, columns=[*_KEYS, "shard_images"]).to_pandas()
        for name in (*_NAMES, "shard"):
            frame[name] = pd.util.hash_pandas_object(frame[name], index=False, categorize=False)
        frame["shard_images"] = frame["shard_images"].fillna(0).astype(np.int32)
        yield frame


def _latest(keys: Iterable[pd.DataFrame]) -> np.ndarray:
    """Which rows to keep, in the order of the parts.

    Incomplete shards are left out: the run was killed while it wrote their rows.
    """
    frames = list(keys)
    if not frames:
        return np.zeros(0, bool)
    rows = pd.concat(frames, ignore_index=True).sort_values("finished_at", kind="stable")
    rows["kept"] = ~rows.duplicated(_NAMES, keep="last")
    of_shards = rows[rows.shard_images > 0]
    there = of_shards.groupby("shard")["kept"].transform("sum")
    rows.loc[of_shards.index[there < of_shards.shard_images], "kept"] = False
    return rows["kept"].sort_index().to_numpy()


def _kept_tables(store: OutputStore, parts: Iterable[str], keep: np.ndarray) -> Iterator[pa.Table]:
    start, schema = 0, report_schema()
    for part in parts:
        table = pq.read_table(io.BytesIO(store.read(part)), schema=schema)
        yield table.filter(pa.array(keep[start : start + len(table)]))
        start += len(table)


def _gathered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Joins tables into larger ones of at most _FILE_ROWS rows."""
    gathered: list[pa.Table] = []
    for table in tables:
        if gathered and sum(map(len, gathered)) + len(table) > _FILE_ROWS:
            yield pa.concat_tables(gathered)
            gathered = []
        gathered.append(table)
    if gathered:
        yield pa.concat_tables(gathered)


def _readable(columns: dict[str, Any]) -> dict[str, str]:
    """The columns whose text is not Unicode (odd file names), with those bytes escaped."""
    return {
        name: as_unicode(text)
        for name, text in columns.items()
        if isinstance(text, str) and not text.isascii()
    }
