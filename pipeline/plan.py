"""The dry run: the front of the graph, and the headers of the images."""

import heapq
import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import apache_beam as beam

from codec.isolated import read_header_isolated
from pipeline.graph import match
from pipeline.job import Job
from pipeline.recovery import past_files
from pipeline.reporting.render import render
from pipeline.reporting.summary import to_json
from pipeline.runners.lifetime import Lifetime
from pipeline.runners.local import LocalRunner
from pipeline.terminal import print_result, printable
from shards.formats import format_of
from storage.store import open_file
from transforms.errors import EXPECTED_ERRORS
from transforms.records import LARGE_ENOUGH, ImageRef, ReportRow, ShardRef, result_path
from transforms.stage import failed_row

_SHOWN = 20
_COUNTED = ("counts", "entries", "changes")


def print_plan(job: Job) -> None:
    """Prints the plan of a run; the front of its graph runs on this machine."""
    runner = LocalRunner([])
    with Lifetime(runner.fatal_threads) as lifetime:
        path = os.path.join(lifetime.temporary, "plan.json")
        _build(runner.make_pipeline(), job, path)
        runner.run(job.store.run_id, lifetime, verbose=False)
        plan = json.loads(Path(path).read_bytes())
    counts = plan["counts"]
    print_result(
        render(
            "plan.txt", plan=plan, failures=counts.get("unreadable", 0) + counts.get("clash", 0),
            config=job.config, card=job.weights.card, engine=job.engine, run_id=job.store.run_id,
        )
    )  # fmt: skip


def _build(pipeline: beam.Pipeline, job: Job, path: str) -> None:
    """Adds the plan of a job to a pipeline on this machine, which writes it to a file."""
    refs, ended = match(pipeline, job, past_files(job.store), dry=True)
    c = job.config
    restored = refs | "PlanRefs" >> beam.Map(_plan_ref, c.image_column, c.largest_input)
    (
        (restored, ended | "PlanRows" >> beam.Map(_plan_row))
        | beam.Flatten()
        | beam.CombineGlobally(_merge)
        | "Write" >> beam.Map(lambda plan: Path(path).write_bytes(to_json(plan)))
    )


# The plan of some images: numbers of images by kind and by reason, numbers of lines by kind, and
# the first lines of each kind with their sort keys.
Plan = dict[str, Any]


def _plan(
    kind: str, order: str, line: str, megapixels: float = 0.0, change: str = "", number: int = 1
) -> Plan:
    """The plan of one image, or of a shard with a number of images."""
    return {
        "counts": Counter({kind: number}),
        "entries": Counter([kind]),
        "changes": Counter({change: number} if change else {}),
        "megapixels": megapixels,
        "lines": {kind: [(printable(order), printable(line))]},
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


def _plan_ref(ref: ImageRef | ShardRef, image_column: str, largest: float | None) -> Plan:
    """The plan of a reference, from the header of its image or the index of its shard."""
    number, megapixels, in_shard = 1, 0.0, isinstance(ref, ShardRef)
    try:
        with open_file(ref.uri) as file:
            if in_shard:
                number = format_of(ref.uri).count(file, image_column)
                size = f"{number} samples"
            else:
                header = read_header_isolated(file)
                megapixels, size = header.megapixels, f"{header.width} x {header.height}"
    except EXPECTED_ERRORS as error:
        return _plan_row(failed_row(ref, "read", error))
    if largest is not None and megapixels > largest:
        return _plan_row(ref.row("skipped", change=LARGE_ENOUGH))
    line = f"{ref.uri}  {size}  ->  {result_path(ref.output_path)}"
    plan = _plan("restore", ref.output_path, line, megapixels, ref.change or "", number)
    plan["counts"]["in_shards"] = number * in_shard
    return plan


def _plan_row(row: ReportRow) -> Plan:
    if row.status == "failed":
        clash = (row.error_message or "").startswith("would write the same")
        line = f"{row.source_uri}: {row.error_message}"
        return _plan("clash" if clash else "unreadable", row.relative_path, line)
    kind = "skip" if row.status == "skipped" else "gone"
    return _plan(kind, row.relative_path, row.output_uri or "")
