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
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.runners.runner import PipelineState

from pipeline.config import JobConfig
from pipeline.errors import UsageError
from pipeline.lifetime import Lifetime
from transforms.storage import is_local

_ANSWER_SECONDS = 10.0
_CANCEL_SECONDS = 30.0
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
    embedded = runner == "PrismRunner" or (
        runner == "FlinkRunner"
        and options.view_as(FlinkRunnerOptions).flink_master in ("[local]", "[auto]")
    )
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


def run_remote(pipeline: beam.Pipeline, lifetime: Lifetime, verbose: bool) -> None:
    """Hands the job over and waits for its end; an interruption cancels it.

    Args:
      pipeline: the whole job.
      lifetime: of the run.
      verbose: show what the runner says.

    Raises:
      RemoteError: see there.
    """
    if not verbose:
        logging.getLogger().setLevel(logging.CRITICAL)  # stack traces, of which we tell the cause
    servers = _remember_servers(pipeline.runner)
    try:
        with lifetime.deferring():
            # Interrupted in the midst of it, the job would go on where nobody knows it.
            result = pipeline.run()
            lifetime.before_end = lambda: _cancel(result)
        result.wait_until_finish()
    except Exception as error:
        reason = reason_of(str(error)) or type(error).__name__
        hints = [hint for fault, hint in _WAYS_OUT.items() if fault in reason]
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


def _cancel(result: beam.runners.runner.PipelineResult) -> None:
    """Cancels a job and waits until it has ended, but not for ever."""
    ended = threading.Event()

    def ask() -> None:
        with suppress(Exception):  # the job server is gone, say
            if not PipelineState.is_terminal(result.state):
                result.cancel()
            while not PipelineState.is_terminal(result.state):
                time.sleep(0.2)
            ended.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_CANCEL_SECONDS)
    if not ended.is_set():
        print(
            "warning: the job could not be cancelled and may go on; cancel it on the cluster",
            file=sys.stderr,
        )
