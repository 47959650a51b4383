"""The end of a run: report, summary and pages from the files of the workers."""

import json
from collections.abc import Callable
from typing import Any

from pipeline.errors import ExitCode
from pipeline.job import Job
from pipeline.reporting.manifest import Manifest, describe_job
from pipeline.reporting.pages import write_output_page, write_run_page
from pipeline.reporting.report import compact_journal, remove_journal
from pipeline.reporting.summary import reconcile, to_json, totals_path
from pipeline.runners.base import RunnerError


def check_shared(job: Job) -> None:
    """Raises RunnerError unless workers saw the inputs and wrote where this process reads."""
    path, problem = totals_path(job.store), None
    if job.store.size(path) is None:
        problem = f"the workers' results are not in {job.store.root!r}"
    elif not json.loads(job.store.read(path))["counts"]["matched"]:
        problem = "the workers found none of the inputs"
    if problem:
        raise RunnerError(f"{problem}; name a place that all workers and this process share")


def conclude(job: Job, manifest: Manifest, elapsed: Callable[[], float]) -> dict[str, Any]:
    """Writes report, summary and pages, marks the run as complete and returns the summary.

    `elapsed` returns the seconds since the run began. RuntimeError: an image was lost or counted
    twice.
    """
    totals: dict[str, Any] = json.loads(job.store.read(totals_path(job.store)))
    rows = compact_journal(job.store, job.store.run_id)
    if problem := reconcile(totals, rows):
        raise RuntimeError(problem)
    counts, seconds = totals["counts"], elapsed()
    within = counts["failed"] <= job.config.allowed_failures(counts["matched"])
    summary = describe_job(job) | totals | {
        "started_at": manifest.started_at.isoformat(),
        "wall_seconds": seconds,
        "megapixels_per_second": totals["megapixels"] / seconds,
        "exit_code": ExitCode.OK if within else ExitCode.FAILURES,
    }  # fmt: skip
    store, directory = job.store, job.run_directory
    store.write(f"{directory}/summary.json", to_json(summary))
    write_run_page(store, store.run_id, summary)
    manifest.write("complete")
    write_output_page(store)
    store.write(f"{directory}/_SUCCESS", b"")
    remove_journal(store, store.run_id)
    return summary
