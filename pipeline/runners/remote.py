"""Runners of other processes: the job is submitted, watched and cancelled."""

import logging
import os
import re
import sys
import threading
import time
from contextlib import suppress

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.runner import PipelineResult, PipelineState

from pipeline.config import JobConfig
from pipeline.errors import UsageError
from pipeline.runners.base import Runner, RunnerError, end_start_up
from pipeline.runners.causes import reason_of
from pipeline.runners.lifetime import Lifetime
from storage.store import is_local

_CANCEL_SECONDS = 30.0


class RemoteRunner(Runner):
    """Submits the job to other processes and waits for its end.

    Attributes:
      hints: remedies, by words of the reason why a job failed.
    """

    hints: dict[str, str] = {}

    def prepare(self, config: JobConfig) -> None:
        if self.workers is None:
            _check_absolute(config)

    def cancel(self, result: PipelineResult) -> None:
        """Cancels the job and waits until it has ended."""
        if not PipelineState.is_terminal(result.state):
            result.cancel()
        while not PipelineState.is_terminal(result.state):
            time.sleep(0.2)

    def run(self, run_id: str, lifetime: Lifetime, verbose: bool) -> None:
        end_start_up()
        if not verbose:
            # They are stack traces, whose reason RunnerError names.
            logging.getLogger().setLevel(logging.CRITICAL)
        try:
            self._begin(name_job(self.options, run_id))
            with lifetime.deferring():
                # A job that is interrupted during its submission would continue unnoticed.
                result = self.pipeline.run()
                lifetime.before_end = lambda: self._cancel_in_time(result)
            result.wait_until_finish()
        except Exception as error:
            reason = reason_of(str(error)) or type(error).__name__
            hints = [hint for words, hint in self.hints.items() if words in reason]
            self._abandon()
            raise RunnerError("; ".join([reason, *hints])) from error
        finally:
            self._close()

    def _begin(self, job_name: str) -> None:
        """Called before the submission."""

    def _abandon(self) -> None:
        """Called when the job has failed, or is lost and may continue."""

    def _close(self) -> None:
        """Called at the end in every case."""

    def _cancel_in_time(self, result: PipelineResult) -> None:
        """Cancels the job, with a time limit."""
        ended = threading.Event()

        def cancel() -> None:
            with suppress(Exception):  # such as a lost job server
                self.cancel(result)
                ended.set()

        thread = threading.Thread(target=cancel, daemon=True)
        thread.start()
        thread.join(_CANCEL_SECONDS)
        if not ended.is_set():
            print(
                "warning: the job was not cancelled and may still run; cancel it on the cluster",
                file=sys.stderr,
            )


def name_job(options: PipelineOptions, run_id: str) -> str:
    """The name of the job: given, or the run's in lower case, digits and hyphens."""
    cloud = options.view_as(GoogleCloudOptions)
    if not cloud.job_name:
        cloud.job_name = re.sub("[^a-z0-9]+", "-", f"srcnn-{run_id.lower()}").strip("-")
    return cloud.job_name


def _check_absolute(config: JobConfig) -> None:
    for name in ("input", "input_list", "input_root", "output"):
        value = getattr(config, name)
        for path in [value] if isinstance(value, str) else value:
            if path and is_local(path) and not os.path.isabs(path):
                raise UsageError(
                    f"{name}: {path!r} is relative, but the workers run in another directory; use "
                    f"the absolute path ({os.path.abspath(path)!r}), if all workers can see it"
                )
