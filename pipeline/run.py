"""Runs a prepared command: checks, builds, runs, sums up. Returns the exit code."""

import gc
import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext, suppress
from threading import Thread
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    StandardOptions,
    TypeOptions,
)
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.worker import sdk_worker

from pipeline.claim import Claim
from pipeline.errors import ExitCode, UsageError
from pipeline.graph import build
from pipeline.job import Job, prepare_job
from pipeline.lifetime import Lifetime
from pipeline.options import Command
from pipeline.plan import build_plan, describe_plan
from pipeline.preflight import check_places
from pipeline.progress import ProgressFile, ProgressWatcher
from pipeline.recovery import past_files, recover
from pipeline.remote import RemoteError, prepare_options, run_remote, works_here
from pipeline.reporting.manifest import Manifest, describe_job
from pipeline.reporting.pages import write_output_page, write_run_page
from pipeline.reporting.report import compact_journal, remove_journal
from pipeline.reporting.summary import format_summary, reconcile, to_json, totals_path
from pipeline.terminal import printable
from srcnn.engines import cores
from srcnn.metrics import load_ssim
from srcnn.protocols import PROTOCOLS
from transforms.objects import StoreError, hurry
from transforms.storage import OutputFullError, end_writing

_NEVER_MS = 1000 * 24 * 3600 * 365
# What ends a run without being a bug, by the error's name: it may come from a worker, as text.
_REMEDIES = {
    "OutputFullError": "make room and run it again",
    "StoreError": "run it again",
    "DamagedReportError": "move it away and run it again: what it tells of is restored again",
}
_LOCAL_RUNNERS = (None, "DirectRunner", "FnApiRunner", "BundleBasedDirectRunner")


def run(command: Command, started: float) -> int:
    """Runs a command to its end.

    Args:
      command: what to do.
      started: when the command began, by time.monotonic.

    Raises:
      UsageError: nothing was touched; the message says why.
    """
    options = pipeline_options(command.beam_arguments)
    if not _is_local(options):
        prepare_options(options, command.config)
    elif command.config.mode == "evaluate" and not command.dry_run:
        # Half a second, most of which passes while a child reads the weights.
        window = PROTOCOLS[command.config.protocol].ssim_window
        Thread(target=load_ssim, args=(window,), name="load_ssim").start()
    job = check_places(prepare_job(command.config))
    for warning in job.warnings:
        print(f"warning: {printable(warning)}", file=sys.stderr)
    with Lifetime() as lifetime:
        if command.dry_run:
            return _plan(job, lifetime)
        pipeline = _new_pipeline(options)
        try:
            with Claim(job.store, job.config.take_over, lifetime.fail) as claim:
                return _run_claimed(job, command, pipeline, lifetime, claim, started)
        finally:
            job.store.clean()


def _plan(job: Job, lifetime: Lifetime) -> int:
    path = os.path.join(lifetime.temporary, "plan.json")
    _end_start_up()
    with beam.Pipeline(options=pipeline_options([])) as pipeline:
        build_plan(pipeline, job, past_files(job.store), path)
    print("\n".join(describe_plan(job, path)))
    return ExitCode.OK


def _new_pipeline(options: PipelineOptions) -> beam.Pipeline:
    try:
        return beam.Pipeline(options=options)
    except ValueError as error:  # an unknown runner; options that contradict each other
        raise UsageError(" ".join(str(error).split())) from None


def _run_claimed(
    job: Job,
    command: Command,
    pipeline: beam.Pipeline,
    lifetime: Lifetime,
    claim: Claim,
    started: float,
) -> int:
    manifest = Manifest(job, command.beam_arguments)
    lifetime.on_end = lambda state: _let_go(job, manifest, claim, state)
    try:
        recover(job.store)
        past = past_files(job.store)
        manifest.write("running")
        _run_graph(job, past, command, pipeline, lifetime)
        return _conclude(job, manifest, command, lambda: time.monotonic() - started)
    except Exception as error:
        known = re.search(
            rf"({'|'.join(_REMEDIES)}): (.*?)(?: \[while running|$)",
            f"{type(error).__name__}: {error}",
            re.MULTILINE,
        )
        if known:
            print(f"error: {printable(known[2])}; {_REMEDIES[known[1]]}", file=sys.stderr)
        elif isinstance(error, RemoteError) and not command.verbose:
            print(
                f"error: the job failed on {type(pipeline.runner).__name__}, run "
                f"{job.store.run_id}: {printable(str(error))}. What is done is skipped the next "
                "time; --verbose shows the runner's own words",
                file=sys.stderr,
            )
        else:
            _tell_crash(job, command.verbose)
        _write_last(manifest, "failed")
        return ExitCode.CRASHED


def _tell_crash(job: Job, verbose: bool) -> None:
    """A bug, or a runner's failure: one line for a person; its place is kept where it can be."""
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


def pipeline_options(arguments: list[str]) -> PipelineOptions:
    """Beam's options; the local runner takes a thread per core unless they say otherwise.

    Threads of one process share the network, and nearly all their time is spent where Python lets
    others run. Processes start later and take more memory.
    """
    options = PipelineOptions(arguments)
    if options.view_as(StandardOptions).runner not in _LOCAL_RUNNERS:
        return options
    # Otherwise DirectRunner first tries to download Prism. There are no triggers here.
    options.view_as(TypeOptions).allow_unsafe_triggers = True
    # A worker thread's output is flushed each second by another thread, which does not wait for the
    # element that is being written and would cut it in two. It is sent by size and at the end.
    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = _NEVER_MS
    given = {argument.partition("=")[0] for argument in arguments}
    direct = options.view_as(DirectOptions)
    if "--direct_running_mode" not in given:
        direct.direct_running_mode = "multi_threading"
    if direct.direct_running_mode == "in_memory":
        direct.direct_num_workers = 1
    elif "--direct_num_workers" not in given or not direct.direct_num_workers:
        direct.direct_num_workers = cores()
    return options


def _is_local(options: PipelineOptions) -> bool:
    return options.view_as(StandardOptions).runner in _LOCAL_RUNNERS


def _run_graph(
    job: Job, past: list[str], command: Command, pipeline: beam.Pipeline, lifetime: Lifetime
) -> None:
    options, local = pipeline.options, _is_local(pipeline.options)
    if not local and not works_here(options):
        build(pipeline, job, past)
        _end_start_up()
        run_remote(pipeline, job.store.run_id, lifetime, command.verbose)
        _check_shared(job)
        return
    progress = ProgressFile(os.path.join(lifetime.temporary, "progress"))
    with open(progress.path, "xb"):
        pass
    workers = options.view_as(DirectOptions).direct_num_workers if local else cores()
    build(pipeline, job, past, progress, max(1, cores() // workers))
    _end_start_up()
    # It prints the traceback of every error that it also hands on, and nothing else.
    sdk_worker.print = print if command.verbose else lambda *_, **__: None
    with nullcontext() if command.quiet else ProgressWatcher(progress):
        if local:
            pipeline.run().wait_until_finish()
        else:
            run_remote(pipeline, job.store.run_id, lifetime, command.verbose)


def _end_start_up() -> None:
    """Garbage is looked for again, but not in what there is now, which stays."""
    gc.freeze()
    gc.enable()


def _check_shared(job: Job) -> None:
    """That the workers saw the inputs, of which there are some, and wrote where this process reads.

    Raises:
      RemoteError: they did not.
    """
    path = totals_path(job.store)
    if job.store.size(path) is None:
        raise RemoteError(
            f"the workers' results are not in {job.store.root!r}; name a place that all of them "
            "and this process share"
        )
    if not json.loads(job.store.read(path))["counts"]["matched"]:
        raise RemoteError(
            "the workers found none of the inputs; name a place that all of them and this process "
            "share"
        )


def _conclude(job: Job, manifest: Manifest, command: Command, elapsed: Callable[[], float]) -> int:
    """Concludes the run and tells what came of it."""
    summary = conclude(job, manifest, elapsed)
    if command.json:
        print(to_json(summary).decode())
    elif not command.quiet:
        print(format_summary(summary))
        print(_where_to_look(job))
    if summary["exit_code"] == ExitCode.FAILURES:
        print(
            f"error: {summary['counts']['failed']} images failed, more than --max_failures "
            f"{job.config.max_failures} allows; mend them, run it again",
            file=sys.stderr,
        )
    return summary["exit_code"]


def conclude(job: Job, manifest: Manifest, elapsed: Callable[[], float]) -> dict[str, Any]:
    """Makes report, summary and pages of what the workers left, and marks the run as complete.

    Args:
      job: whose pipeline has ended.
      manifest: of the run.
      elapsed: tells the seconds since the run began.

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


def _where_to_look(job: Job) -> str:
    places = {"images": "images/", "report": f"metrics/run_id={job.store.run_id}/"}
    if job.config.comparisons not in ("none", 0):
        places["comparisons"] = "comparisons/"
    places["page"] = f"{job.run_directory}/index.html"
    return "\n" + "\n".join(
        f"  {name:12} {printable(job.store.uri(path))}" for name, path in places.items()
    )


def _let_go(job: Job, manifest: Manifest, claim: Claim, state: str) -> None:
    hurry()
    _write_last(manifest, state)
    end_writing()
    job.store.clean()
    claim.release()


def _write_last(manifest: Manifest, state: str) -> None:
    try:
        manifest.write(state)
    except (OSError, OutputFullError, StoreError) as error:
        logging.getLogger(__name__).warning("the manifest could not be updated: %s", error)
