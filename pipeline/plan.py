"""What a run would do: the front of the graph, with the headers of the images read."""

import heapq
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from codec.isolated import read_header_isolated
from pipeline.graph import match
from pipeline.job import Job
from pipeline.recovery import past_files
from pipeline.reporting.summary import to_json
from pipeline.runners.lifetime import Lifetime
from pipeline.runners.local import LocalRunner
from pipeline.terminal import printable
from shards.formats import format_of
from storage.store import open_file
from transforms.errors import EXPECTED_ERRORS
from transforms.records import LARGE_ENOUGH, ImageRef, ReportRow, ShardRef, result_path
from transforms.stage import failed_row

_SHOWN = 20
_COUNTED = ("counts", "entries", "changes")


def print_plan(job: Job) -> None:
    """Prints what a run would do; the front of its graph runs on this machine."""
    runner = LocalRunner([])
    with Lifetime(runner.fatal_threads) as lifetime:
        path = os.path.join(lifetime.temporary, "plan.json")
        _build(runner.make_pipeline(), job, path)
        runner.run(job.store.run_id, lifetime, verbose=False)
        print("\n".join(_describe(job, path)))


def _build(pipeline: beam.Pipeline, job: Job, path: str) -> None:
    """Adds the plan of a job to a pipeline on this machine, which writes it to a file."""

    def write(plan: dict[str, Any]) -> None:
        with open(path, "wb") as file:
            file.write(to_json(plan))

    largest = job.config.largest_input
    refs, ended = match(pipeline, job, past_files(job.store), dry=True)
    images = refs | "PlanImages" >> beam.Map(_plan_image, job.config.image_column, largest)
    (
        (images, ended | "PlanRows" >> beam.Map(_plan_row))
        | beam.Flatten()
        | beam.CombineGlobally(_merge)
        | "Write" >> beam.Map(write)
    )


def _describe(job: Job, path: str) -> Iterator[str]:
    with open(path, "rb") as file:
        plan = json.load(file)
    shown = {kind: [line for _, line in lines] for kind, lines in plan["lines"].items()}
    config, card, counts = job.config, job.weights.card, plan["counts"]
    entries = Counter(plan["entries"])
    yield f"mode        {config.mode}, x{config.scale} {config.kernel}, protocol {config.protocol}"
    yield f"model       {card.name} (sha256 {card.sha256[:12]}…), engine {job.engine}"
    yield f"output      {printable(config.output)} (run {job.store.run_id})"
    yield ""
    restored = counts.get("restore", 0)
    yield from _some(shown.get("restore", []), entries["restore"])
    failures = counts.get("unreadable", 0) + counts.get("clash", 0)
    clashing = shown.get("clash", []) + shown.get("unreadable", [])
    yield from _some([f"would fail: {line}" for line in clashing], failures)
    gone = "would be removed, its source is gone: " if config.prune else "its source is gone: "
    yield from _some([gone + line for line in shown.get("gone", [])], counts.get("gone", 0))
    skipped = counts.get("skip", 0)
    yield ""
    yield (
        f"{restored + failures + skipped} images matched, {plan['megapixels']:.1f} megapixels to "
        f"restore; {counts.get('clash', 0)} clashing outputs, {counts.get('unreadable', 0)} "
        "unreadable"
    )
    reasons = ", ".join(f"{number} {change}" for change, number in sorted(plan["changes"].items()))
    if in_shards := counts.get("in_shards", 0):
        yield f"{in_shards} of them are in shards, which are not decoded: megapixels without these"
    yield f"to restore: {reasons or 'nothing'}; {skipped} would be skipped"
    yield "dry run: nothing was written"


def _some(lines: list[str], number: int) -> Iterator[str]:
    yield from (f"  {line}" for line in lines[:_SHOWN])
    if number > _SHOWN:
        yield f"  … and {number - _SHOWN} more"


# Of some images: counts of them by kind and by reason, and of lines by kind; the first lines of
# each kind and what orders them.
Plan = dict[str, Any]


def _plan(
    kind: str, order: str, line: str, megapixels: float = 0.0, change: str = "", number: int = 1
) -> Plan:
    """The plan of an image, or of a shard of so many."""
    changes = Counter({change: number} if change else {})
    lines = {kind: [(printable(order), printable(line))]}
    return {
        "counts": Counter({kind: number}),
        "entries": Counter([kind]),
        "changes": changes,
        "megapixels": megapixels,
        "lines": lines,
    }


def _merge(plans: Iterable[Plan]) -> Plan:
    merged: Plan = {name: Counter() for name in _COUNTED} | {"megapixels": 0.0, "lines": {}}
    for plan in plans:
        for name in _COUNTED:
            merged[name].update(plan[name])
        merged["megapixels"] += plan["megapixels"]
        for kind, lines in plan["lines"].items():
            both = merged["lines"].get(kind, []) + lines
            merged["lines"][kind] = heapq.nsmallest(_SHOWN, both)
    return merged


def _plan_image(ref: ImageRef, image_column: str, largest: float | None) -> Plan:
    if isinstance(ref, ShardRef):
        return _plan_shard(ref, image_column)
    try:
        with open_file(ref.uri) as file:
            header = read_header_isolated(file)
    except EXPECTED_ERRORS as error:
        return _plan_row(failed_row(ref, "read", error))
    if largest is not None and header.megapixels > largest:
        return _plan_row(ref.row("skipped", change=LARGE_ENOUGH))
    line = f"{ref.uri}  {header.width} x {header.height}  ->  images/{ref.output_path}"
    return _plan("restore", ref.output_path, line, header.megapixels, ref.change or "")


def _plan_shard(ref: ShardRef, image_column: str) -> Plan:
    try:
        with open_file(ref.uri) as file:
            number = format_of(ref.uri).count(file, image_column)
    except EXPECTED_ERRORS as error:
        return _plan_row(failed_row(ref, "read", error))
    line = f"{ref.uri}  {number} samples  ->  {result_path(ref.output_path)}"
    plan = _plan("restore", ref.output_path, line, change=ref.change or "", number=number)
    plan["counts"]["in_shards"] = number
    return plan


def _plan_row(row: ReportRow) -> Plan:
    if row.status == "failed":
        clash = (row.error_message or "").startswith("would write the same")
        line = f"{row.source_uri}: {row.error_message}"
        return _plan("clash" if clash else "unreadable", row.relative_path, line)
    kind = "skip" if row.status == "skipped" else "gone"
    return _plan(kind, row.relative_path, row.output_uri or "")
