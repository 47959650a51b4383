"""Dataflow's Flex Template: its launcher starts a run and does not wait for it.

The graph concludes the run in a last step on a worker, which run_pipeline.py does in its main
process. The run holds no claim on OUTPUT: see docs/dataflow.md.
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
    """Builds and submits the job of a command line; returns the exit code."""
    try:
        return start(parse(sys.argv[1:] if arguments is None else arguments))
    except UsageError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return error.exit_code


def start(command: Command) -> int:
    """Starts a run; after a UsageError nothing was touched."""
    if command.dry_run:
        raise UsageError("--dry_run prints to a log here; use run_pipeline.py for it")
    runner = find_runner(command.beam_arguments)
    runner.prepare(command.config)
    job = check_places(prepare_job(command.config))
    try:
        # Keeps out other runs until the launcher ends.
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
    """Concludes a run, if that is not done yet: runners may repeat a step. Returns its argument."""
    if job.store.size(f"{job.run_directory}/_SUCCESS") is None:
        began = manifest.started_at
        conclude(job, manifest, lambda: (datetime.now(UTC) - began).total_seconds())
    return ends
