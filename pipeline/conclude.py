"""The end of a run: report, summary and pages of what the workers left."""

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
    """Checks that the workers saw the inputs, and wrote where this process reads.

    Raises:
      RunnerError: they did not.
    """
    path = totals_path(job.store)
    if job.store.size(path) is None:
        raise RunnerError(
            f"the workers' results are not in {job.store.root!r}; name a place that all of them "
            "and this process share"
        )
    if not json.loads(job.store.read(path))["counts"]["matched"]:
        raise RunnerError(
            "the workers found none of the inputs; name a place that all of them and this process "
            "share"
        )


def conclude(job: Job, manifest: Manifest, elapsed: Callable[[], float]) -> dict[str, Any]:
    """Makes report, summary and pages of what the workers left, and marks the run as complete.

    Args:
      job: whose pipeline has ended.
      manifest: of the run.
      elapsed: returns the seconds since the run began.

    Returns:
      The summary.

    Raises:
      RuntimeError: an image was lost or counted twice.
      OSError: something could not be read or written.
    """
    totals: dict[str, Any] = json.loads(job.store.read(totals_path(job.store)))
    rows = compact_journal(job.store, job.store.run_id)
    problem = reconcile(totals, rows)
    if problem:
        raise RuntimeError(problem)
    counts = totals["counts"]
    within = counts["failed"] <= job.config.allowed_failures(counts["matched"])
    code = ExitCode.OK if within else ExitCode.FAILURES
    seconds = elapsed()
    summary = (
        describe_job(job)
        | totals
        | {
            "started_at": manifest.started_at.isoformat(),
            "wall_seconds": seconds,
            "megapixels_per_second": totals["megapixels"] / seconds,
            "exit_code": code,
        }
    )
    store, directory = job.store, job.run_directory
    store.write(f"{directory}/summary.json", to_json(summary))
    write_run_page(store, store.run_id, summary)
    manifest.write("complete")
    write_output_page(store)
    store.write(f"{directory}/_SUCCESS", b"")
    remove_journal(store, store.run_id)
    return summary
