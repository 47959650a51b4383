"""The story of a run: check, build, run, conclude."""

import logging
import os
import time
from contextlib import nullcontext
from pathlib import Path
from threading import Thread

from pipeline.claim import Claim
from pipeline.conclude import check_shared, conclude
from pipeline.config import JobConfig
from pipeline.errors import ExitCode
from pipeline.graph import build
from pipeline.job import Job, prepare_job
from pipeline.options import Command
from pipeline.outcome import report_failure, report_summary, report_warnings
from pipeline.plan import print_plan
from pipeline.preflight import check_places
from pipeline.progress import ProgressFile, ProgressWatcher
from pipeline.recovery import past_files, recover
from pipeline.reporting.manifest import Manifest
from pipeline.runners.base import Runner
from pipeline.runners.lifetime import Lifetime
from pipeline.runners.table import find_runner
from srcnn.engines import cores
from srcnn.metrics import load_ssim
from srcnn.protocols import PROTOCOLS
from storage.errors import OutputFullError, StoreError
from storage.local import end_writing
from storage.objects import limit_retries


def run(command: Command, started: float) -> int:
    """Runs a command, started at a time.monotonic(), to its end and returns its exit code.

    After a UsageError nothing was touched.
    """
    runner = find_runner(command.beam_arguments)
    runner.prepare(command.config)
    if runner.workers is not None and not command.dry_run:
        _preload(command.config)
    job = check_places(prepare_job(command.config))
    report_warnings(job)
    if command.dry_run:
        print_plan(job)
        return ExitCode.OK
    with Lifetime(runner.fatal_threads, runner.ignored_threads) as lifetime:
        runner.make_pipeline()
        try:
            with Claim(job.store, job.config.take_over, lifetime.fail) as claim:
                manifest = Manifest(job, command.beam_arguments)
                lifetime.on_end = lambda state: _release(manifest, claim, state)
                return _run_claimed(manifest, command, runner, lifetime, started)
        finally:
            job.store.clean()


def _preload(config: JobConfig) -> None:
    """Loads SSIM, which takes half a second, while a child process reads the weights."""
    if config.mode == "evaluate":
        window = PROTOCOLS[config.protocol].ssim_window
        Thread(target=load_ssim, args=(window,), name="load_ssim").start()


def _run_claimed(
    manifest: Manifest, command: Command, runner: Runner, lifetime: Lifetime, started: float
) -> int:
    job = manifest.job
    try:
        recover(job.store)
        past = past_files(job.store)
        manifest.write("running")
        _run_graph(job, past, command, runner, lifetime)
        summary = conclude(job, manifest, lambda: time.monotonic() - started)
        report_summary(summary, job, command)
        return summary["exit_code"]
    except Exception as error:
        report_failure(error, job, runner.name, command.verbose)
        _write_last(manifest, "failed")
        return ExitCode.CRASHED


def _run_graph(
    job: Job, past: list[str], command: Command, runner: Runner, lifetime: Lifetime
) -> None:
    pipeline, run_id = runner.pipeline, job.store.run_id
    if runner.workers is None:
        build(pipeline, job, past)
        runner.run(run_id, lifetime, command.verbose)
        check_shared(job)
        return
    progress = ProgressFile(os.path.join(lifetime.temporary, "progress"))
    Path(progress.path).touch()
    engine_threads = max(1, cores() // runner.workers)
    build(pipeline, job, past, progress, engine_threads, runner.image_threads)
    with nullcontext() if command.quiet else ProgressWatcher(progress):
        runner.run(run_id, lifetime, command.verbose)


def _release(manifest: Manifest, claim: Claim, state: str) -> None:
    """Releases OUTPUT when the process is about to end."""
    limit_retries()
    _write_last(manifest, state)
    end_writing()
    manifest.job.store.clean()
    claim.release()


def _write_last(manifest: Manifest, state: str) -> None:
    try:
        manifest.write(state)
    except (OSError, OutputFullError, StoreError) as error:
        logging.getLogger(__name__).warning("the manifest was not updated: %s", error)
