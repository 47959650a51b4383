"""Restores shards: samples in, samples out, in order, with an image of each thread in memory.

A shared engine and a pool of threads, not RunInference: that takes its images from one bundle, on
one thread, and hands them on one by one to a writer that would not know where a shard ends.
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

# Of an object store a shard is asked for in parts of so many bytes.
_READ_AHEAD = 16 << 20
_new_spool = partial(tempfile.SpooledTemporaryFile, 1 << 20)
# Samples that are read, waiting or done before the one that is to be written next, for each thread.
_AHEAD = 2

Tell = Callable[..., None] | None


@dataclass(frozen=True)
class ShardRules:
    """What becomes of shards.

    Attributes:
      image_column: the column that holds the images, or the ending of such members; or empty.
      write: whether shards are written, or the report alone.
      figures: names of the figures that are written into the shards.
      on_failure: what a sample that cannot be restored does: `keep` its place as it is, `drop` out,
        or `fail`, so that no shard is written.
    """

    image_column: str = ""
    write: bool = True
    figures: tuple[str, ...] = ()
    on_failure: Literal["keep", "drop", "fail"] = "keep"


def shard_figures(mode: str) -> tuple[str, ...]:
    """The columns of a mode's figures, as shards hold them."""
    return tuple(column.name for figure in figures_of(mode) for column in figure.columns)


class _Rows:
    """Rows of a shard, on the disk until all of them are known.

    Attributes:
      number: of rows.
      problem: why no shard is to be written, or None.
      output_bytes: of the shard that was written.
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
        """Yields the rows, now that it is known what became of the shard."""
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
    """A shard, open for reading; one in which a reader jumps is copied from its store before."""
    with open_file(uri, _READ_AHEAD) as source:
        if is_local(uri) or not jumps:
            yield source
            return
        with temporary_file() as copied:
            shutil.copyfileobj(source, copied, _READ_AHEAD)
            copied.seek(0)
            yield copied


class _WithheldError(Exception):
    """Ends a draft that is not to be written."""


class ShardWorker:
    """Restores shards, one after the other, on a pool of threads.

    Args:
      chain: what is done to an image.
      pool: runs it.
      threads: of the pool.
      rules: what becomes of shards.
      on_match, on_end: called for each image that is found, and with status and pixels of each that
        is done; or None.
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
          ImageError, OSError, PathError: nothing of it can be read, or it cannot be written.
        """
        rows, store = _Rows(), self._chain.write.store
        if not self._rules.write:
            self._restore(ref, rows, None)
            rows.output_bytes = None if rows.problem else 0
            rows.problem = None  # what was restored was never to be written
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
                empty = Sample("", None, problem="there is no sample in it")
                self._end(ref, empty, self._submit(ref, empty), rows, None)
                rows.problem = None
            if writer:
                writer.close()
        if stat_file(ref.uri) != before:
            raise ImageError("it was changed while it was read; run it again")

    def _in_order(
        self, ref: ShardRef, samples: Sequence[Sample]
    ) -> Iterator[tuple[Sample, Future | None]]:
        """Yields samples with what is made of them, and reads on meanwhile."""
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
        """Writes a sample, and makes its row."""
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
        """Whether no shard is written because of a sample."""
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
        """The row with where its image was found and put."""
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
    """What the threads of a process share: an engine, and the pool that uses it."""

    def __init__(self, engine: Engine, threads: int):
        self.engine, self.threads = engine, threads
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="shard")


class _RestoreShard(beam.DoFn):
    """See RestoreShards."""

    def __init__(self, options: "RestoreShards"):
        self._options = options
        self._shared = Shared()

    def setup(self):
        self._worker = None  # most jobs have no shards, and loading takes time

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
      stages: of the job: ReadImages, what is done to an image, WriteImages.
      rules: what becomes of shards.
      output_format: see transforms.listed.output_path_of.
      threads: that work on images at the same time in a process; 0: one for each of its cores.
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
