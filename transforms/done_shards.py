"""The results of earlier runs for shards: a row is of an image, a shard is done as a whole."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from transforms.done import (
    PastRow,
    Policy,
    Sizes,
    change_of,
    last_of,
    last_written,
    reason_of,
    size_of,
)
from transforms.records import ReportRow, ShardRef


def fold_shards(past: Iterable[PastRow]) -> list[PastRow]:
    """The rows of a path in the output, the images of a shard in a run folded into one row.

    It is `written` where the run wrote the shard and all of its rows exist.
    """
    folded, runs = [], defaultdict(list)
    for row in past:
        if row.in_shard is None:
            folded.append(row)
        else:
            runs[row.run_id].append(row)
    return folded + [_fold(rows) for rows in runs.values()]


def _fold(rows: list[PastRow]) -> PastRow:
    last = last_of(rows)
    said = last.in_shard
    whole = said["shard_output_bytes"] is not None and len(rows) == said["shard_images"]
    return replace(
        last,
        status="written" if whole else "failed",
        source_uri=last.source_uri[: len(last.source_uri) - len(_name(last)) - 1],
        relative_path=said["shard"],
        source_bytes=said["shard_bytes"],
        output_path=said["shard"],
        # With --shards none there is no file.
        output_bytes=said["shard_output_bytes"] or None,
        in_shard=None,
    )


def decide_shard(
    ref: ShardRef, past: Iterable[PastRow], policy: Policy, sizes: Sizes = None
) -> Iterator[ShardRef | ReportRow]:
    """The reference with the reason to restore the shard, or the rows of its images.

    An image that failed in a finished shard is a failed row again: the dataset still lacks it.
    """
    past = list(past)
    folded = fold_shards(past)
    written = last_written(folded)
    expected = written and written.output_bytes is not None
    change = change_of(ref, folded, size_of(ref.output_path, policy, sizes) if expected else None)
    rows = [row for row in past if row.in_shard and written and row.run_id == written.run_id]
    last = last_of(folded)
    failed = (
        last is not None and last.status == "failed" or any(row.status == "failed" for row in rows)
    )
    if reason := reason_of(change, failed, policy):
        yield replace(ref, change=reason)
    elif change == "unchanged":
        yield from (_row(ref, row, policy) for row in rows)
    else:
        yield ref.row("skipped", change=change)


def _row(ref: ShardRef, past: PastRow, policy: Policy) -> ReportRow:
    """The row of an image in a skipped shard."""
    said = past.in_shard
    failed = {name: said[name] for name in ("stage", "error_type", "error_message")}
    left = past.status == "skipped"  # left unchanged in its shard
    return replace(
        ref.row(
            "failed" if past.status == "failed" else "skipped",
            change=said["change"] if left else "unchanged",
        ),
        source_uri=f"{ref.uri}!{_name(past)}",
        relative_path=past.relative_path,
        source_bytes=past.source_bytes,
        shard=said["shard"],
        shard_bytes=said["shard_bytes"],
        shard_output_bytes=said["shard_output_bytes"],
        done_run_id=past.run_id,
        output_uri=past.output_path and policy.store.uri(f"shards/{past.output_path}"),
        output_path=past.output_path,
        output_bytes=past.output_bytes,
        **failed,
    )


def _name(row: PastRow) -> str:
    """An image's name within its shard."""
    return row.relative_path[len(row.shard) + 1 :]
