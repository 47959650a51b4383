"""A job that other processes run, on Flink, Dataflow or Prism: its options, its end."""

import logging
import os
import re
import sys
import threading
import time
from contextlib import suppress

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.runners.portability.flink_runner import MAGIC_HOST_NAMES
from apache_beam.runners.runner import PipelineState

from pipeline.config import JobConfig
from pipeline.errors import UsageError
from pipeline.flink import FlinkJobs
from pipeline.lifetime import Lifetime
from storage.store import is_local

_ANSWER_SECONDS = 10.0
_CANCEL_SECONDS = 30.0
# A job that was handed over as it was cancelled appears in the cluster a moment later.
_LATE_SECONDS = 5.0
# Beam gives what watches a job the time limit of a request, and some runners end the watch then.
_NEVER = 10 * 366 * 24 * 3600
_REASON_LENGTH = 400
_WAYS_OUT = {
    "remote job server jar": "name one that runs (--job_endpoint) or --flink_job_server_jar",
    "remote prism binary": "name one (--prism_location)",
}


class RemoteError(Exception):
    """The job could not be handed over, failed, or was lost; the message is one line."""


def works_here(options: PipelineOptions) -> bool:
    """Whether a runner of another process lets the work itself be done in this one."""
    runner = options.view_as(StandardOptions).runner
    environment = options.view_as(PortableOptions).environment_type
    embedded = runner == "PrismRunner" or (runner == "FlinkRunner" and not _flink_master(options))
    return environment == "LOOPBACK" or (embedded and not environment)


def prepare_options(options: PipelineOptions, config: JobConfig) -> None:
    """Checks and completes the options of a job that other processes run.

    Raises:
      UsageError: no job server answers, or a path means something else to the workers.
    """
    portable = options.view_as(PortableOptions)
    if (
        portable.job_server_timeout
        == PipelineOptions([]).view_as(PortableOptions).job_server_timeout
    ):
        portable.job_server_timeout = _NEVER
    if not works_here(options):
        for name in ("input", "input_list", "input_root", "output"):
            value = getattr(config, name)
            for path in [value] if isinstance(value, str) else value:
                if path and is_local(path) and not os.path.isabs(path):
                    raise UsageError(
                        f"{name}: {path!r} is relative, and the workers' directory is another; "
                        f"name it in full ({os.path.abspath(path)!r}), where all of them see it"
                    )
    if portable.job_endpoint and portable.job_endpoint != "embed":
        _check_answers(portable.job_endpoint)
    if master := _flink_master(options):
        try:
            FlinkJobs(master, "")
        except OSError as error:
            raise UsageError(
                f"flink_master: no Flink answers at {master!r} ({error}); name the address of the "
                "cluster's pages"
            ) from None


def name_job(options: PipelineOptions, run_id: str) -> str:
    """The job's name: after the run, if it has none, of small letters, digits and hyphens."""
    cloud = options.view_as(GoogleCloudOptions)
    if not cloud.job_name:
        cloud.job_name = re.sub("[^a-z0-9]+", "-", f"srcnn-{run_id.lower()}").strip("-")
    return cloud.job_name


def run_remote(pipeline: beam.Pipeline, run_id: str, lifetime: Lifetime, verbose: bool) -> None:
    """Hands the job over and waits for its end; an interruption cancels it.

    Args:
      pipeline: the whole job.
      run_id: after which it is named, if it has no name.
      lifetime: of the run.
      verbose: show what the runner says.

    Raises:
      RemoteError: see there.
    """
    if not verbose:
        logging.getLogger().setLevel(logging.CRITICAL)  # stack traces, of which we tell the cause
    servers = _remember_servers(pipeline.runner)
    name = name_job(pipeline.options, run_id)
    on_flink = None
    try:
        if master := _flink_master(pipeline.options):
            on_flink = FlinkJobs(master, name)
        with lifetime.deferring():
            # Interrupted in the midst of it, the job would go on where nobody knows it.
            result = pipeline.run()
            lifetime.before_end = lambda: _cancel(result, on_flink)
        result.wait_until_finish()
    except Exception as error:
        reason = reason_of(str(error)) or type(error).__name__
        hints = [hint for fault, hint in _WAYS_OUT.items() if fault in reason]
        if on_flink:
            with suppress(OSError):  # where only the job server was lost, the job goes on
                on_flink.cancel()
        raise RemoteError("; ".join([reason, *hints])) from error
    finally:
        for server in servers:
            with suppress(OSError):
                server.stop()


def reason_of(text: str) -> str:
    """The line of a remote stack trace that says most: the last cause, Python's before Java's."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for pattern in (
        r"(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception)\b(?!.*Exception: ).*\[while running.*",
        r"(?<![\w.$])[A-Z]\w*Error: .*",
        r"(?:Caused by: )(.*)",
        r"details = \"(.*)\"",
    ):
        found = [match for line in lines if (match := re.search(pattern, line))]
        if found:
            last = found[-1]
            return last[last.lastindex or 0][:_REASON_LENGTH]
    return lines[0][:_REASON_LENGTH] if lines else ""


def _check_answers(endpoint: str) -> None:
    with grpc.insecure_channel(endpoint) as channel:
        try:
            grpc.channel_ready_future(channel).result(_ANSWER_SECONDS)
        except grpc.FutureTimeoutError:
            raise UsageError(
                f"job_endpoint: nothing answers at {endpoint!r}; start the runner's job server, or "
                "name the one that runs"
            ) from None


def _remember_servers(runner: beam.runners.PipelineRunner) -> list:
    """A list to which a job server is added that the runner starts for this job.

    Beam ends it when the process ends, which is after the temporary files have gone that it uses.
    """
    servers: list = []
    make = getattr(runner, "default_job_server", None)

    def make_and_remember(options: PipelineOptions):
        servers.append(make(options))
        return servers[-1]

    if make is not None:
        runner.default_job_server = make_and_remember
    return servers


def _flink_master(options: PipelineOptions) -> str | None:
    """Address of the cluster, where it is named."""
    master = options.view_as(FlinkRunnerOptions).flink_master
    return None if master in MAGIC_HOST_NAMES else master


def _cancel(result: beam.runners.runner.PipelineResult, on_flink: FlinkJobs | None) -> None:
    """Cancels a job and waits until it has ended, but not for ever."""
    ended = threading.Event()

    def ask() -> None:
        with suppress(Exception):  # the job server is gone, say
            if not PipelineState.is_terminal(result.state):
                result.cancel()
            while not PipelineState.is_terminal(result.state):
                time.sleep(0.2)
            if not on_flink:
                ended.set()
        if on_flink:
            with suppress(OSError):
                _end_on_flink(on_flink)
                ended.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_CANCEL_SECONDS)
    if not ended.is_set():
        print(
            "warning: the job could not be cancelled and may go on; cancel it on the cluster",
            file=sys.stderr,
        )


def _end_on_flink(jobs: FlinkJobs) -> None:
    latest = time.monotonic() + _LATE_SECONDS
    seen = False
    while (running := jobs.running()) or not (seen or time.monotonic() > latest):
        if running and not seen:
            jobs.cancel()
            seen = True
        time.sleep(0.2)
