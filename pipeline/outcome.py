"""What a run prints: warnings, how it went, why it failed."""

import sys
import traceback
from contextlib import suppress
from typing import Any

from pipeline.errors import REMEDIES, ExitCode
from pipeline.job import Job
from pipeline.options import Command
from pipeline.reporting.summary import format_summary, to_json
from pipeline.runners.base import RunnerError
from pipeline.runners.causes import find_error
from pipeline.terminal import printable
from storage.errors import OutputFullError


def report_warnings(job: Job) -> None:
    """Prints what the user should know before the run."""
    for warning in job.warnings:
        print(f"warning: {printable(warning)}", file=sys.stderr)


def report_summary(summary: dict[str, Any], job: Job, command: Command) -> None:
    """Prints what came of a run, and where that is."""
    if command.json:
        print(to_json(summary).decode())
    elif not command.quiet:
        print(format_summary(summary))
        print(_where_to_look(job, summary))
    if summary["exit_code"] == ExitCode.FAILURES:
        print(
            f"error: {summary['counts']['failed']} images failed, more than --max_failures "
            f"{job.config.max_failures} allows; mend them, run it again",
            file=sys.stderr,
        )


def report_failure(error: Exception, job: Job, runner: str, verbose: bool) -> None:
    """Prints in one line why a run failed and what would help; to be called in the handler."""
    if known := find_error(error, REMEDIES):
        name, message = known
        print(f"error: {printable(message)}; {REMEDIES[name]}", file=sys.stderr)
    elif isinstance(error, RunnerError) and not verbose:
        print(
            f"error: the job failed on {runner}, run {job.store.run_id}: {printable(str(error))}. "
            "What is done is skipped the next time; --verbose shows the runner's own words",
            file=sys.stderr,
        )
    else:
        _report_crash(job, verbose)


def _report_crash(job: Job, verbose: bool) -> None:
    """Reports a bug, or a runner's failure: one line, and a file of the traceback."""
    path, text = f"{job.run_directory}/traceback.txt", traceback.format_exc()
    with suppress(OSError, OutputFullError):
        job.store.write(path, text.encode("utf-8", "backslashreplace"))
    if verbose:
        print(text, file=sys.stderr)
    said = text.strip().splitlines()[-1]  # of a worker's error, which is a traceback, the error
    print(
        f"error: the job crashed: {printable(said[:300])}; run it again to go on; traceback: "
        f"{printable(job.store.uri(path))}, or --verbose",
        file=sys.stderr,
    )


def _where_to_look(job: Job, summary: dict[str, Any]) -> str:
    places = {}
    if summary["counts"]["matched"] > summary["in_shards"]:
        places["images"] = "images/"
    if summary["in_shards"] and job.config.shards == "write":
        places["shards"] = "shards/"
    places["report"] = f"metrics/run_id={job.store.run_id}/"
    if job.config.comparisons not in ("none", 0):
        places["comparisons"] = "comparisons/"
    places["page"] = f"{job.run_directory}/index.html"
    return "\n" + "\n".join(
        f"  {name:12} {printable(job.store.uri(path))}" for name, path in places.items()
    )
