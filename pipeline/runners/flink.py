"""Flink: a job server, and the REST interface of its cluster.

Jobs are cancelled by REST: when Beam's job server cancels a job, it only interrupts the thread that
waits for it (`JobInvocation.cancel`, seen with 2.62), and the job continues in the cluster.
"""

import json
import time
from contextlib import suppress
from urllib.error import URLError
from urllib.request import Request, urlopen

from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions
from apache_beam.runners.portability.flink_runner import MAGIC_HOST_NAMES
from apache_beam.runners.portability.flink_runner import FlinkRunner as BeamFlinkRunner
from apache_beam.runners.runner import PipelineResult

from pipeline.config import JobConfig
from pipeline.errors import UsageError
from pipeline.runners.portable import ANSWER_SECONDS, PortableRunner

_ENDED = ("FINISHED", "CANCELED", "FAILED", "SUSPENDED")
# A job that is submitted during its cancellation appears in the cluster a moment later.
_LATE_SECONDS = 5.0


class FlinkRunner(PortableRunner):
    """Beam's runner for Flink, or the job server of a cluster that `--flink_master` names."""

    names = ("flinkrunner",)
    hints = {
        "remote job server jar": "name a job server (--job_endpoint) or --flink_job_server_jar"
    }
    _jobs: "FlinkJobs | None" = None

    @classmethod
    def serves(cls, options: PipelineOptions) -> bool:
        return super().serves(options) or _master_of(options) is not None

    @property
    def embedded(self) -> bool:
        return _master_of(self.options) is None

    def prepare(self, config: JobConfig) -> None:
        super().prepare(config)
        if master := _master_of(self.options):
            try:
                FlinkJobs(master, "")
            except OSError as error:
                raise UsageError(
                    f"flink_master: Flink does not answer at {master!r} ({error}); give the "
                    "address of the cluster's web pages"
                ) from None

    def cancel(self, result: PipelineResult) -> None:
        if not self._jobs:
            super().cancel(result)
            return
        with suppress(Exception):  # the job server may be gone
            super().cancel(result)
        self._jobs.end()

    def _begin(self, job_name: str) -> None:
        if master := _master_of(self.options):
            self._jobs = FlinkJobs(master, job_name)

    def _abandon(self) -> None:
        if self._jobs:
            with suppress(OSError):  # if only the job server was lost, the job continues
                self._jobs.cancel()


def _master_of(options: PipelineOptions) -> str | None:
    """Address of the cluster, if it is named."""
    master = options.view_as(FlinkRunnerOptions).flink_master
    return None if master in MAGIC_HOST_NAMES else master


class FlinkJobs:
    """The jobs of one name that began after this object was made.

    `master` is the address of the REST interface, with or without `http://`. Every method raises
    OSError if Flink does not answer.
    """

    def __init__(self, master: str, name: str):
        self._url = BeamFlinkRunner.add_http_scheme(master).rstrip("/")
        self._name = name
        self._others = frozenset(self._named())

    def running(self) -> list[str]:
        """The ids of jobs that have not ended."""
        states = self._named()
        return [job for job in states if job not in self._others and states[job] not in _ENDED]

    def end(self) -> None:
        """Cancels jobs that run, or begin within a few seconds; waits until they have ended."""
        latest = time.monotonic() + _LATE_SECONDS
        seen = False
        while (running := self.running()) or not (seen or time.monotonic() > latest):
            if running and not seen:
                self.cancel()
                seen = True
            time.sleep(0.2)

    def cancel(self) -> None:
        """Requests the end of running jobs; returns at once."""
        for job in self.running():
            request = Request(f"{self._url}/jobs/{job}?mode=cancel", method="PATCH")
            urlopen(request, timeout=ANSWER_SECONDS).close()

    def _named(self) -> dict[str, str]:
        """States of the jobs by id."""
        with urlopen(f"{self._url}/jobs/overview", timeout=ANSWER_SECONDS) as answer:
            try:
                jobs = json.load(answer)["jobs"]
            except (ValueError, KeyError, TypeError):
                raise URLError("it is not Flink's REST interface") from None
        return {job["jid"]: job["state"] for job in jobs if job["name"] == self._name}
