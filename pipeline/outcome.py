"""The messages of a run: warnings, the summary, the reason of a failure."""

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
from pipeline.terminal import print_result, printable
from storage.errors import OutputFullError


def report_warnings(job: Job) -> None:
    """Prints the warnings that precede a run."""
    for warning in job.warnings:
        print(f"warning: {printable(warning)}", file=sys.stderr)


def report_summary(summary: dict[str, Any], job: Job, command: Command) -> None:
    """Prints the summary of a run, and an error if too many images failed."""
    if command.json:
        print_result(to_json(summary).decode())
    elif not command.quiet:
        print_result(format_summary(summary))
    if summary["exit_code"] == ExitCode.FAILURES:
        counts, limit = summary["counts"], job.config.max_failures
        print(
            f"error: {counts['failed']} of {counts['matched']} images failed, more than "
            f"--max_failures {limit} allows; repair or remove them and run the command again",
            file=sys.stderr,
        )


def report_failure(error: Exception, job: Job, runner: str, verbose: bool) -> None:
    """Prints in one line the reason of a failed run and the remedy; called in the handler."""
    if known := find_error(error, REMEDIES):
        name, message = known
        print(f"error: {printable(message)}; {REMEDIES[name]}", file=sys.stderr)
    elif isinstance(error, RunnerError) and not verbose:
        print(
            f"error: the job failed on {runner}, run {job.store.run_id}: {printable(str(error))}. "
            "Run it again: finished images are skipped; --verbose shows the runner's messages",
            file=sys.stderr,
        )
    else:
        _report_crash(job, verbose)


def _report_crash(job: Job, verbose: bool) -> None:
    """Prints one line and writes the traceback to a file: a bug, or a failure of the runner."""
    path, text = f"{job.run_directory}/traceback.txt", traceback.format_exc()
    with suppress(OSError, OutputFullError):
        job.store.write(path, text.encode("utf-8", "backslashreplace"))
    if verbose:
        print(text, file=sys.stderr)
    said = text.strip().splitlines()[-1]  # a worker's error is a traceback: its last line
    print(
        f"error: the job crashed: {printable(said[:300])}; run it again to continue; traceback: "
        f"{printable(job.store.uri(path))}, or --verbose",
        file=sys.stderr,
    )
