"""Runners with a job server, and Prism, which runs on this machine."""

from contextlib import suppress

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions

from pipeline.config import JobConfig
from pipeline.errors import UsageError
from pipeline.runners.remote import RemoteRunner
from srcnn.engines import cores

ANSWER_SECONDS = 10.0
# Beam limits the watch of a job by the timeout of a request, at which some runners end it.
_NEVER = 10 * 366 * 24 * 3600


class PortableRunner(RemoteRunner):
    """A runner behind a job server.

    Attributes:
      embedded: whether the runner starts on this machine, and its workers in this process.
    """

    names = ("portablerunner", "sparkrunner")
    takes_unknown_options = True  # Beam asks the job server for them on submission
    # Reads messages of the job; if it fails, the thread that waits for the job reports that.
    ignored_threads = ("wait_until_finish_read",)
    embedded = False

    def __init__(self, arguments: list[str]):
        super().__init__(arguments)
        self._portable = self.options.view_as(PortableOptions)
        self._servers: list = []
        environment = self._portable.environment_type
        if environment == "LOOPBACK" or (self.embedded and not environment):
            self.workers = cores()

    def prepare(self, config: JobConfig) -> None:
        super().prepare(config)
        default = PipelineOptions([]).view_as(PortableOptions).job_server_timeout
        if self._portable.job_server_timeout == default:
            self._portable.job_server_timeout = _NEVER
        if self._portable.job_endpoint not in (None, "", "embed"):
            _check_answers(self._portable.job_endpoint)

    def make_pipeline(self) -> beam.Pipeline:
        pipeline = super().make_pipeline()
        make = getattr(pipeline.runner, "default_job_server", None)

        def make_and_remember(options: PipelineOptions):
            self._servers.append(make(options))
            return self._servers[-1]

        if make is not None:
            pipeline.runner.default_job_server = make_and_remember
        return pipeline

    def _close(self) -> None:
        # Beam would stop its job server at the end of the process, when the temporary files that
        # the server uses are gone.
        for server in self._servers:
            with suppress(OSError):
                server.stop()


class PrismRunner(PortableRunner):
    """Beam's portable runner for one machine."""

    names = ("prismrunner",)
    embedded = True
    hints = {"remote prism binary": "name one (--prism_location)"}


def _check_answers(endpoint: str) -> None:
    with grpc.insecure_channel(endpoint) as channel:
        try:
            grpc.channel_ready_future(channel).result(ANSWER_SECONDS)
        except grpc.FutureTimeoutError:
            raise UsageError(
                f"job_endpoint: nothing answers at {endpoint!r}; start the runner's job server, or "
                "name another"
            ) from None
