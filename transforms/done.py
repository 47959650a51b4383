"""Results of earlier runs, and which of them still hold."""

import glob
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from shards.formats import is_shard
from storage.globs import matches
from storage.store import OutputStore, is_gone
from transforms.records import ImageRef, ReportRow, as_unicode, report_schema, result_path

# Columns about the end of a shard, which its rows repeat when it is skipped.
SHARD_COLUMNS = (
    "shard", "shard_bytes", "shard_images", "shard_output_bytes", "change", "stage",
    "error_type", "error_message",
)  # fmt: skip
_COLUMNS = (
    "run_id", "status", "source_uri", "relative_path", "source_bytes", "source_modified",
    "fingerprint", "output_path", "output_bytes", "finished_at", "done_run_id", *SHARD_COLUMNS,
)  # fmt: skip
_ENDED = ("written", "failed", "pruned")


class DamagedReportError(Exception):
    """A report file of an earlier run cannot be read; its content must not be guessed."""


@dataclass(frozen=True, slots=True)
class PastRow:
    """A row of an earlier run's report, as far as a later run needs it.

    Attributes:
      run_id: the run.
      status: `written`, `failed` or `pruned`.
      source_uri, relative_path: names of the source, as the report has them.
      source_bytes, source_modified: its identity besides the name.
      same_settings: whether the run's fingerprint is the present one.
      output_path: below OUTPUT/images.
      output_bytes: size of the file that was written.
      finished: when the row was made, seconds since 1970.
      in_shard: the SHARD_COLUMNS of an image of a shard, or None.
    """

    run_id: str
    status: str
    source_uri: str
    relative_path: str
    source_bytes: int | None
    source_modified: float | None
    same_settings: bool
    output_path: str | None
    output_bytes: int | None
    finished: float
    in_shard: Mapping[str, Any] | None = None

    @property
    def shard(self) -> str | None:
        """The relative path of the image's shard, or None."""
        return self.in_shard and self.in_shard["shard"]


# Bytes of the results at a place of the output, by path below images/, as one listing of the store
# had them; None: each is checked, which costs nothing on a local file system.
Sizes = Mapping[str, int] | None


@dataclass(frozen=True)
class Policy:
    """The rules by which an earlier run's work is repeated.

    Attributes:
      store: OUTPUT.
      fingerprint: of the present settings.
      shard_fingerprint: the same of shards.
      take: `needed`: images that are not done; `all`: every image; `failed`: the last failures.
      prune: whether outputs whose source is gone are removed.
      covers: globs of the sources that this run covers: of these a missing one is gone.
      dry: decide only, and touch nothing.
    """

    store: OutputStore
    fingerprint: str
    shard_fingerprint: str = ""
    take: Literal["needed", "all", "failed"] = "needed"
    prune: bool = False
    covers: tuple[str, ...] = ()
    dry: bool = False


def read_past(path: str, policy: Policy) -> Iterator[PastRow]:
    """The rows of a report file (Parquet) that state an image's result.

    Args:
      path: of the file, below OUTPUT; columns that it lacks are null.
      policy: OUTPUT, and the present settings.

    Raises:
      DamagedReportError: it cannot be read.
    """
    schema = report_schema().empty_table().select(list(_COLUMNS)).schema
    store, content = policy.store, io.BytesIO(policy.store.read(path))
    # Of the run that made a shard all rows count, also those of images that were left as they were.
    wanted = [[("status", "in", list(_ENDED))], [("shard_images", ">", 0)]]
    try:
        table = pq.read_table(content, schema=schema, filters=wanted)
    except pa.ArrowInvalid as error:
        raise DamagedReportError(
            f"the report of an earlier run is damaged: {store.uri(path)}: {error}"
        ) from None
    for batch in table.to_batches(max_chunksize=1000):
        for row in batch.to_pylist():
            finished, done_run_id = row.pop("finished_at"), row.pop("done_run_id")
            in_shard = {name: row.pop(name) for name in SHARD_COLUMNS}
            of_shard = in_shard["shard"] is not None
            present = policy.shard_fingerprint if of_shard else policy.fingerprint
            if row["status"] == "failed" and done_run_id:
                continue  # repeats the result of a skipped shard
            yield PastRow(
                same_settings=row.pop("fingerprint") == present,
                finished=finished.replace(tzinfo=UTC).timestamp() if finished else 0.0,
                in_shard=in_shard if of_shard else None,
                **row,
            )


def change_of(ref: ImageRef, past: Iterable[PastRow], output_bytes: int | None) -> str:
    """The reason to restore an image, or `unchanged`: then `last_written` holds.

    Args:
      ref: the source.
      past: rows of its place in the output.
      output_bytes: size of the output that is there, or None.
    """
    last = last_of(past)
    written = last_written(past)
    if last is None or written is None:
        return "failed before" if last and last.status == "failed" else "new"
    identity = (as_unicode(ref.uri), ref.size, ref.modified)
    if (written.source_uri, written.source_bytes, written.source_modified) != identity:
        return "source changed"
    if not written.same_settings:
        return "settings changed"
    return "unchanged" if written.output_bytes == output_bytes else "output missing"


def last_written(past: Iterable[PastRow]) -> PastRow | None:
    """The row that made the file at a place of the output, None where none is left of it."""
    last = last_of(row for row in past if row.status != "failed")
    return last if last and last.status == "written" else None


def decide(
    ref: ImageRef, past: Iterable[PastRow], policy: Policy, sizes: Sizes = None
) -> ImageRef | ReportRow:
    """The reference, with the reason to restore it, or the row of an image that is skipped."""
    past, store = list(past), policy.store
    change = change_of(ref, past, size_of(ref.output_path, policy, sizes) if past else None)
    last = last_of(past)
    if reason := reason_of(change, last is not None and last.status == "failed", policy):
        return replace(ref, change=reason)
    if change != "unchanged":
        return ref.row("skipped", change=change)
    written = last_written(past)
    return ref.row(
        "skipped",
        change=change,
        done_run_id=written.run_id,
        output_uri=store.uri(result_path(ref.output_path)),
        output_path=ref.output_path,
        output_bytes=written.output_bytes,
    )


def reason_of(change: str, failed: bool, policy: Policy) -> str | None:
    """Why something is done again, None if it is not.

    Args:
      change: see change_of.
      failed: whether it failed the last time.
      policy: decides which work is repeated.
    """
    if policy.take == "failed":
        return "failed before" if failed else None
    if change != "unchanged":
        return change
    return "forced" if policy.take == "all" else None


def vanished(past: Iterable[PastRow], policy: Policy, sizes: Sizes = None) -> Iterator[ReportRow]:
    """Yields the row of an output if its source is gone; removes the output if the policy prunes.

    Only for sources that the inputs cover; an inaccessible one does not count as gone.

    Args:
      past: rows of a place in the output for which no source was found.
      policy: decides whether it is removed.
      sizes: see Sizes.
    """
    written = last_written(past)
    if written is None or not any(matches(p, written.source_uri) for p in policy.covers):
        return
    store, path = policy.store, result_path(written.output_path)
    if size_of(written.output_path, policy, sizes) is None or not is_gone(written.source_uri):
        return
    if policy.prune and not policy.dry:
        store.delete(path)
        store.delete(f"comparisons/{written.relative_path}.png")
        if is_shard(written.output_path):
            store.delete_all(f"comparisons/{glob.escape(written.relative_path)}!*")
    yield ReportRow(
        source_uri=written.source_uri,
        relative_path=written.relative_path,
        source_bytes=written.source_bytes,
        source_modified=written.source_modified,
        status="pruned" if policy.prune else "vanished",
        change="source gone",
        done_run_id=written.run_id,
        output_uri=store.uri(path),
        output_path=written.output_path,
        output_bytes=written.output_bytes,
    )


def size_of(output_path: str, policy: Policy, sizes: Sizes) -> int | None:
    """Bytes of the result at a place of the output, or None."""
    return policy.store.size(result_path(output_path)) if sizes is None else sizes.get(output_path)


def last_of(past: Iterable[PastRow]) -> PastRow | None:
    """The newest row, None if there is none."""
    return max(past, key=lambda row: row.finished, default=None)
