"""Restores shards: samples in, samples out, in order, with one image per thread in memory.

A shared engine and a pool of threads instead of RunInference, which takes images from one bundle on
one thread and passes them on one by one: the writer would not know where a shard ends.
"""

import pickle
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, BinaryIO, Literal

import apache_beam as beam
from apache_beam.utils.shared import Shared

from codec.errors import ImageError
from shards.formats import format_of
from shards.samples import NewImage, Sample, ShardError, ShardWriter, with_ending
from srcnn.engines import Engine, cores
from srcnn.figures import figures_of
from storage.store import is_local, open_file, stat_file, temporary_file
from transforms.chain import Chain, chain_of
from transforms.errors import EXPECTED_ERRORS
from transforms.records import ImageRef, ReportRow, ShardRef
from transforms.restore import RestoreLuma
from transforms.stage import call_persistently, failed_row, with_warnings

# Bytes of each request that reads a shard of an object store.
_READ_AHEAD = 16 << 20
_new_spool = partial(tempfile.SpooledTemporaryFile, 1 << 20)
# Samples in memory for each thread: being restored, or waiting for their turn to be written.
_AHEAD = 2

Tell = Callable[..., None] | None


@dataclass(frozen=True)
class ShardRules:
    """The options of shards.

    Attributes:
      image_column: the column that holds the images, or the ending of such members; or empty.
      write: whether shards are written, or the report alone.
      figures: names of the figures that are written into the shards.
      on_failure: of a sample that cannot be restored: `keep` it as it is, `drop` it, or `fail`, so
        that no shard is written.
    """

    image_column: str = ""
    write: bool = True
    figures: tuple[str, ...] = ()
    on_failure: Literal["keep", "drop", "fail"] = "keep"


def shard_figures(mode: str) -> tuple[str, ...]:
    """The columns of a mode's figures, as shards hold them."""
    return tuple(column.name for figure in figures_of(mode) for column in figure.columns)


class _Rows:
    """Rows of a shard, on disk until all of them are known.

    Attributes:
      number: of rows.
      problem: why the shard is not written, or None.
      output_bytes: of the written shard.
    """

    def __init__(self):
        self.number = 0
        self.problem: str | None = None
        self.output_bytes: int | None = None
        self._file = _new_spool()

    def add(self, row: ReportRow) -> None:
        pickle.dump(row, self._file, pickle.HIGHEST_PROTOCOL)
        self.number += 1

    def __iter__(self) -> Iterator[ReportRow]:
        """Yields the rows, completed with the result of the shard."""
        self._file.seek(0)
        for _ in range(self.number):
            row = pickle.load(self._file)
            if self.problem and row.status != "failed":
                row = _unwritten(row, self.problem)
            yield replace(row, shard_images=self.number, shard_output_bytes=self.output_bytes)


def _unwritten(row: ReportRow, problem: str) -> ReportRow:
    return replace(
        row,
        status="failed",
        stage="write",
        error_type=ShardError.__name__,
        error_message=f"the shard was not written: {problem}",
        output_uri=None,
        output_path=None,
        output_bytes=None,
        output_offset=None,
    )


@contextmanager
def _opened(uri: str, jumps: bool) -> Iterator[BinaryIO]:
    """A shard, open for reading; copied from its store first if its reader seeks."""
    with open_file(uri, _READ_AHEAD) as source:
        if is_local(uri) or not jumps:
            yield source
            return
        with temporary_file() as copied:
            shutil.copyfileobj(source, copied, _READ_AHEAD)
            copied.seek(0)
            yield copied


class _WithheldError(Exception):
    """Discards a draft."""


class ShardWorker:
    """Restores shards, one at a time, on a pool of threads.

    Args:
      chain: the stages of an image.
      pool: runs them.
      threads: of the pool.
      rules: the options of shards.
      on_match, on_end: called for each image found, and with status and pixels of each image done;
        or None.
    """

    def __init__(
        self,
        chain: Chain,
        pool: ThreadPoolExecutor,
        threads: int,
        rules: ShardRules,
        on_match: Tell = None,
        on_end: Tell = None,
    ):
        self._chain = chain
        self._pool = pool
        self._ahead = _AHEAD * threads
        self._rules = rules
        self._on_match = on_match
        self._on_end = on_end

    def restore(self, ref: ShardRef) -> _Rows:
        """Restores a shard, and writes it whole or not at all.

        Raises:
          ImageError, OSError, PathError: it cannot be opened, or not written.
        """
        rows, store = _Rows(), self._chain.write.store
        if not self._rules.write:
            self._restore(ref, rows, None)
            rows.output_bytes = None if rows.problem else 0
            rows.problem = None  # no shard is missing
            return rows
        try:
            with store.draft(f"shards/{ref.output_path}") as file:
                self._restore(ref, rows, file)
                if rows.problem:
                    raise _WithheldError
                size = file.tell()
            rows.output_bytes = size
        except _WithheldError:
            pass
        return rows

    def _restore(self, ref: ShardRef, rows: _Rows, file: BinaryIO | None) -> None:
        before = stat_file(ref.uri)
        form = format_of(ref.uri)
        with _opened(ref.uri, form.jumps) as source:
            reader = form.open(source, self._rules.image_column)
            writer = form.write(file, reader, self._rules.figures) if file else None
            for sample, future in self._in_order(ref, reader):
                self._end(ref, sample, future, rows, writer)
            if not rows.number:
                empty = Sample("", None, problem="it holds no samples")
                self._end(ref, empty, self._submit(ref, empty), rows, None)
                rows.problem = None
            if writer:
                writer.close()
        if stat_file(ref.uri) != before:
            raise ImageError("it changed while it was being read; run it again")

    def _in_order(
        self, ref: ShardRef, samples: Sequence[Sample]
    ) -> Iterator[tuple[Sample, Future | None]]:
        """Yields samples with their futures in order, and reads ahead."""
        waiting: deque[tuple[Sample, Future | None]] = deque()
        try:
            for sample in samples:
                waiting.append((sample, self._submit(ref, sample)))
                if len(waiting) > self._ahead:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            for _, future in waiting:
                if future:
                    future.cancel()

    def _submit(self, ref: ShardRef, sample: Sample) -> Future | None:
        if sample.name is None:
            return None
        if self._on_match:
            self._on_match()
        name = sample.name
        image = ImageRef(
            f"{ref.uri}!{name}", f"{ref.relative_path}!{name}", f"{ref.output_path}!{name}",
            sample.size, ref.modified, ref.order, ref.change,
        )  # fmt: skip
        return self._pool.submit(self._chain.restore, image, sample)

    def _end(
        self,
        ref: ShardRef,
        sample: Sample,
        future: Future | None,
        rows: _Rows,
        writer: ShardWriter | None,
    ) -> None:
        """Writes a sample and its row."""
        image, row = future.result() if future else (None, None)
        failed = row is not None and row.status == "failed"
        if failed and not rows.problem and self._withholds(sample):
            rows.problem = row.error_message
        offset = None
        if writer and sample.carried and not (failed and self._rules.on_failure == "drop"):
            offset = writer.add(sample, image, row and self._figures(row))
        if row is not None:
            rows.add(self._placed(ref, sample, image, row, offset))
            if self._on_end:
                self._on_end(row.status, (row.width or 0) * (row.height or 0))

    def _withholds(self, failed: Sample) -> bool:
        """Whether a failed sample prevents its shard."""
        if failed.carried is None:
            return self._rules.on_failure != "drop"
        return self._rules.on_failure == "fail"

    def _figures(self, row: ReportRow) -> dict[str, Any] | None:
        if not self._rules.figures:
            return None
        figures = {name: row.figure(name) for name in self._rules.figures}
        return {"failure": row.error_message} | figures

    def _placed(
        self,
        ref: ShardRef,
        sample: Sample,
        image: NewImage | None,
        row: ReportRow,
        offset: int | None,
    ) -> ReportRow:
        """The row with the places of its image in source and result."""
        placed = {}
        if image and self._rules.write:
            is_member = sample.name == sample.file_name
            name = with_ending(sample.name, image.ending) if is_member else sample.name
            path = f"{ref.output_path}!{name}"
            uri = self._chain.write.store.uri(f"shards/{path}")
            placed = {"output_uri": uri, "output_path": path, "output_offset": offset}
        elif image:
            placed = {"output_path": None, "output_bytes": None}
        return replace(
            row,
            shard=ref.relative_path,
            shard_bytes=ref.size,
            source_offset=sample.offset,
            **placed,
        )


class _Workshop:
    """The engine and the pool of threads of a process."""

    def __init__(self, engine: Engine, threads: int):
        self.engine, self.threads = engine, threads
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="shard")


class _RestoreShard(beam.DoFn):
    """See RestoreShards."""

    def __init__(self, options: "RestoreShards"):
        self._options = options
        self._shared = Shared()

    def setup(self):
        self._worker = None  # loaded with the first shard: most jobs have none

    def _load(self) -> ShardWorker:
        o = self._options
        (luma,) = [stage for stage in o.stages if isinstance(stage, RestoreLuma)]
        threads = o.threads or cores()
        self._workshop = self._shared.acquire(lambda: _Workshop(luma.handler.load_model(), threads))
        chain = chain_of(o.stages, self._workshop.engine, o.output_format)
        return ShardWorker(
            chain, self._workshop.pool, self._workshop.threads, o.rules, o.on_match, o.on_end
        )

    def process(self, ref: ShardRef):
        """Yields the rows of a shard's images, or the failed row of the shard."""
        self._worker = self._worker or self._load()
        try:
            rows, notes = call_persistently(self._worker.restore, ref)
        except EXPECTED_ERRORS as error:
            if self._options.on_match:
                self._options.on_match()
                self._options.on_end("failed")
            yield failed_row(ref, "read", error)
            return
        for row in rows:
            yield with_warnings(row, notes)


@dataclass
class RestoreShards(beam.PTransform):
    """References of shards to the rows of their images.

    Attributes:
      stages: of the job, from ReadImages to WriteImages.
      rules: the options of shards.
      output_format: see transforms.listed.output_path_of.
      threads: of a process; 0: one for each core.
      on_match, on_end: see ShardWorker.
    """

    stages: list[beam.PTransform]
    rules: ShardRules
    output_format: str = "same"
    threads: int = 0
    on_match: Tell = None
    on_end: Tell = None

    def expand(self, refs):
        """Returns the rows."""
        return refs | beam.ParDo(_RestoreShard(self))
