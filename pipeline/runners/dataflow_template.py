"""Dataflow's Flex Template: its launcher starts a run that nobody waits for.

The graph concludes the run itself, in a last step on a worker; run_pipeline.py does that in the
process that waits. It holds no claim on OUTPUT while it is at work: see docs/dataflow.md.
"""

import sys
from datetime import UTC, datetime

import apache_beam as beam

from pipeline.claim import Claim
from pipeline.conclude import conclude
from pipeline.errors import ExitCode, UsageError
from pipeline.graph import build
from pipeline.job import Job, prepare_job
from pipeline.options import Command, parse
from pipeline.preflight import check_places
from pipeline.recovery import past_files, recover
from pipeline.reporting.manifest import Manifest
from pipeline.runners.table import find_runner
from pipeline.terminal import printable


def main(arguments: list[str] | None = None) -> int:
    """Builds the job of a command line and hands it to its runner; returns the exit code."""
    try:
        return start(parse(sys.argv[1:] if arguments is None else arguments))
    except UsageError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return error.exit_code


def start(command: Command) -> int:
    """Starts a run.

    Raises:
      UsageError: nothing was touched; the message says why.
    """
    if command.dry_run:
        raise UsageError("--dry_run shows what it finds to nobody here; use run_pipeline.py")
    runner = find_runner(command.beam_arguments)
    runner.prepare(command.config)
    job = check_places(prepare_job(command.config))
    try:
        # Against a run that is at work now; it is released when the launcher ends.
        with Claim(job.store, job.config.take_over, lambda _: None):
            recover(job.store)
            manifest = Manifest(job, command.beam_arguments)
            manifest.write("running")
            pipeline = runner.make_pipeline()
            ends = build(pipeline, job, past_files(job.store))
            (
                ends
                | beam.Flatten()
                | "Wait" >> beam.combiners.Count.Globally()
                | "Conclude" >> beam.Map(conclude_once, job, manifest)
            )
            pipeline.run()
    finally:
        job.store.clean()
    return ExitCode.OK


def conclude_once(ends: int, job: Job, manifest: Manifest) -> int:
    """Concludes a run; returns the number of what was waited for.

    A runner may do a step twice; a journal that is gone by then would make an empty report.
    """
    if job.store.size(f"{job.run_directory}/_SUCCESS") is None:
        began = manifest.started_at
        conclude(job, manifest, lambda: (datetime.now(UTC) - began).total_seconds())
    return ends
