"""Rows are journaled in parts and compacted into Parquet files without loss or duplicates."""

import io
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import files_below
from hypothesis import given
from hypothesis import strategies as st
from support import quick

from pipeline.reporting import report
from pipeline.reporting.report import (
    RowJournal,
    compact_journal,
    journal_of,
    journals,
    remove_journal,
)
from storage.store import OutputStore
from transforms.records import ReportRow, report_schema

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def row(number: int, attempt: int = 0, status: str = "written", run: str = "run") -> ReportRow:
    return ReportRow(
        run_id=run,
        source_uri=f"in/{number:06}.png",
        relative_path=f"{number:06}.png",
        status=status,
        finished_at=NOON + timedelta(seconds=attempt),
        output_bytes=attempt,
    )


def journal(store: OutputStore, parts: list[list[ReportRow]]) -> None:
    for part in parts:
        one = RowJournal(store)
        for entry in part:
            one.add(entry)
        one.write()


@pytest.fixture
def store(tmp_path):
    return OutputStore(str(tmp_path), "run")


def rows_of(store) -> pd.DataFrame:
    return pd.read_parquet(f"{store.root}/metrics")


def test_compaction_keeps_each_row_once_preferring_the_later(store, tmp_path):
    parts = [
        [row(1), row(2, 5, "failed")],
        [],
        [row(3), row(2, 9), row(2, 7, "failed")],
        [row(1, 1)],
    ]
    journal(store, parts)
    assert compact_journal(store, "run") == 3
    rows = rows_of(store).set_index("relative_path")
    assert list(rows.index) == ["000001.png", "000002.png", "000003.png"]
    assert list(rows.status) == ["written"] * 3
    assert list(rows.output_bytes) == [1, 9, 0]
    assert compact_journal(store, "run") == 3, "again, with the same end"
    assert len(rows_of(store)) == 3
    remove_journal(store, "run")
    assert files_below(tmp_path / "runs") == set()
    assert not (tmp_path / journal_of("run")).exists()


@quick
@given(st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=6), max_size=6))
def test_compacted_rows_equal_a_dictionary_by_source(tmp_path_factory, entries):
    store = OutputStore(str(tmp_path_factory.mktemp("out")), "run")
    journal(store, [[row(number, attempt) for number, attempt in part] for part in entries])
    expected: dict[str, int] = {}
    for number, attempt in (entry for part in entries for entry in part):
        name = f"{number:06}.png"
        expected[name] = max(attempt, expected.get(name, 0))
    assert compact_journal(store, "run") == len(expected)
    if expected:
        rows = rows_of(store)
        assert dict(zip(rows.relative_path, rows.output_bytes, strict=True)) == expected


def test_report_files_and_row_groups_are_bounded_and_ordered(store, monkeypatch):
    monkeypatch.setattr(report, "_FILE_ROWS", 40)
    monkeypatch.setattr(report, "_GROUP_ROWS", 8)
    statuses = ("written", "skipped", "failed")
    journal(store, [[row(n * 10 + i, status=statuses[i % 3]) for i in range(10)] for n in range(9)])
    store.write("metrics/run_id=run/part-00009.parquet", b"of an attempt with more rows")
    assert compact_journal(store, "run") == 90
    names = store.glob("metrics/run_id=run/*.parquet")
    assert [name[-18:] for name in names] == [f"part-{i:05d}.parquet" for i in range(3)]
    for name in names:
        file = pq.ParquetFile(io.BytesIO(store.read(name)))
        assert file.metadata.num_rows <= 40
        assert file.metadata.row_group(0).num_rows <= 8
        read = file.read().to_pandas()
        keys = list(zip(read.status, read.relative_path, strict=True))
        assert all(a < b for a, b in pairwise(keys))
    assert len(rows_of(store)) == 90


class Clock:
    """A clock that a test advances."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_journal_writes_start_early_and_become_rarer(store, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(report, "time", clock)
    one, written = RowJournal(store), []
    for number in range(5_000):
        clock.now += 0.5
        one.add(row(number))
        if len(journals(store).get("run", [])) > len(written):
            written.append(clock.now)
    gaps = [b - a for a, b in pairwise(written)]
    assert written[0] == 1.0
    assert max(gaps) == 60.0
    assert gaps == sorted(gaps)
    assert len(written) < 150


def test_full_journal_buffer_is_written_immediately(store):
    one = RowJournal(store)
    for number in range(2_500):
        one.add(row(number))
    assert len(journals(store)["run"]) >= 2
    one.write()
    assert compact_journal(store, "run") == 2_500


def test_schema_is_complete_for_rows_without_values(store):
    journal(store, [[ReportRow(run_id="run", source_uri="a", relative_path="a")]])
    compact_journal(store, "run")
    file = pq.ParquetFile(io.BytesIO(store.read("metrics/run_id=run/part-00000.parquet")))
    assert file.schema_arrow.equals(report_schema())
    assert isinstance(file.read(), pa.Table)
