"""What a run would do: the front of the graph, with the headers of the images read."""

import heapq
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from codec.apart import read_header_apart
from pipeline.graph import match
from pipeline.job import Job
from pipeline.reporting.summary import to_json
from pipeline.terminal import printable
from transforms.errors import EXPECTED_ERRORS
from transforms.records import ImageRef, ReportRow
from transforms.stage import failed_row
from transforms.storage import open_file

_SHOWN = 20


def build_plan(pipeline: beam.Pipeline, job: Job, past: list[str], path: str) -> None:
    """Adds the plan of a job to a pipeline on this machine.

    Args:
      pipeline: an empty pipeline.
      job: what would be done.
      past: files of the report of earlier runs.
      path: the local file to write what describe_plan takes to.
    """

    def write(plan: dict[str, Any]) -> None:
        with open(path, "wb") as file:
            file.write(to_json(plan))

    refs, ended = match(pipeline, job, past, dry=True)
    looked_at = refs | "LookAt" >> beam.Map(_look_at)
    (
        (looked_at, ended | "AsEntries" >> beam.Map(_entry_of))
        | beam.Flatten()
        | beam.CombineGlobally(_PlanFn())
        | "Write" >> beam.Map(write)
    )


def describe_plan(job: Job, path: str) -> Iterator[str]:
    """The plan of a file that build_plan wrote, line by line."""
    with open(path, "rb") as file:
        plan = json.load(file)
    config, card, counts = job.config, job.weights.card, plan["counts"]
    yield f"mode        {config.mode}, x{config.scale} {config.kernel}, protocol {config.protocol}"
    yield f"model       {card.name} (sha256 {card.sha256[:12]}…), engine {job.engine}"
    yield f"output      {printable(config.output)} (run {job.store.run_id})"
    yield ""
    restored = counts.get("restore", 0)
    yield from _some(plan["lines"].get("restore", []), restored)
    failures = counts.get("unreadable", 0) + counts.get("clash", 0)
    clashing = plan["lines"].get("clash", []) + plan["lines"].get("unreadable", [])
    yield from _some([f"would fail: {line}" for line in clashing], failures)
    gone = "would be removed, its source is gone: " if config.prune else "its source is gone: "
    yield from _some([gone + line for line in plan["lines"].get("gone", [])], counts.get("gone", 0))
    skipped = counts.get("skip", 0)
    yield ""
    yield (
        f"{restored + failures + skipped} images matched, {plan['megapixels']:.1f} megapixels to "
        f"restore; {counts.get('clash', 0)} clashing outputs, {counts.get('unreadable', 0)} "
        "unreadable"
    )
    reasons = ", ".join(f"{number} {change}" for change, number in sorted(plan["changes"].items()))
    yield f"to restore: {reasons or 'nothing'}; {skipped} would be skipped"
    yield "dry run: nothing was written"


def _some(lines: list[str], number: int) -> Iterator[str]:
    yield from (f"  {line}" for line in lines[:_SHOWN])
    if number > _SHOWN:
        yield f"  … and {number - _SHOWN} more"


# An entry: (kind, what to order by, the line to show, megapixels, change)
Entry = tuple[str, str, str, float, str]


def _look_at(ref: ImageRef) -> Entry:
    try:
        with open_file(ref.uri) as file:
            header = read_header_apart(file)
    except EXPECTED_ERRORS as error:
        return _failure("unreadable", failed_row(ref, "read", error))
    line = (
        f"{printable(ref.uri)}  {header.width} x {header.height}"
        f"  ->  images/{printable(ref.output_path)}"
    )
    return "restore", printable(ref.output_path), line, header.megapixels, ref.change or ""


def _entry_of(row: ReportRow) -> Entry:
    if row.status == "failed":
        clash = (row.error_message or "").startswith("would write the same")
        return _failure("clash" if clash else "unreadable", row)
    kind = "skip" if row.status == "skipped" else "gone"
    return kind, printable(row.relative_path), printable(row.output_uri or ""), 0.0, ""


def _failure(kind: str, row: ReportRow) -> Entry:
    line = printable(f"{row.source_uri}: {row.error_message}")
    return kind, printable(row.relative_path), line, 0.0, ""


class _PlanFn(beam.CombineFn):
    """Entries to numbers, and the first lines of each kind."""

    def create_accumulator(self) -> dict[str, Any]:
        return {"counts": Counter(), "changes": Counter(), "megapixels": 0.0, "lines": {}}

    def add_input(self, plan: dict[str, Any], entry: Entry) -> dict[str, Any]:
        kind, order, line, megapixels, change = entry
        plan["counts"][kind] += 1
        plan["megapixels"] += megapixels
        if change:
            plan["changes"][change] += 1
        self._add_lines(plan, kind, [(order, line)])
        return plan

    def merge_accumulators(self, accumulators: Iterable[dict[str, Any]]) -> dict[str, Any]:
        merged = self.create_accumulator()
        for plan in accumulators:
            merged["counts"].update(plan["counts"])
            merged["changes"].update(plan["changes"])
            merged["megapixels"] += plan["megapixels"]
            for kind, lines in plan["lines"].items():
                self._add_lines(merged, kind, lines)
        return merged

    def extract_output(self, plan: dict[str, Any]) -> dict[str, Any]:
        lines = {kind: [line for _, line in lines] for kind, lines in plan["lines"].items()}
        return plan | {"lines": lines}

    def _add_lines(self, plan: dict[str, Any], kind: str, lines: list[tuple[str, str]]) -> None:
        plan["lines"][kind] = heapq.nsmallest(_SHOWN, plan["lines"].get(kind, []) + lines)
