"""The interface of runners."""

import gc

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from pipeline.config import JobConfig
from pipeline.errors import UsageError
from pipeline.runners.lifetime import Lifetime


class RunnerError(Exception):
    """The job could not be submitted, failed, or was lost; the message is one line."""


class Runner:
    """One of Beam's runners, with the options of one run.

    Args:
      arguments: Beam's options of the command.

    Attributes:
      options: the arguments, parsed; `prepare` completes them.
      pipeline: the result of make_pipeline.
      names: values of `--runner`, in lower case; empty: no runner is named.
      takes_unknown_options: whether it may know options that Beam does not.
      fatal_threads: names of its threads that fail when a worker has died.
      ignored_threads: names of its threads whose failure another thread reports.
      workers: number of workers on this machine; None: they are elsewhere, so that their progress
        is unknown and their paths may differ.
      image_threads: images of shards that a process restores at a time; 0: one for each core.
    """

    names: tuple[str, ...] = ()
    takes_unknown_options = False
    fatal_threads: tuple[str, ...] = ()
    ignored_threads: tuple[str, ...] = ()
    workers: int | None = None
    image_threads = 0

    pipeline: beam.Pipeline

    def __init__(self, arguments: list[str]):
        self.options = PipelineOptions(arguments)

    @property
    def name(self) -> str:
        """Its name on the command line."""
        return self.options.view_as(StandardOptions).runner or "DirectRunner"

    @classmethod
    def serves(cls, options: PipelineOptions) -> bool:
        """Whether options ask for this runner."""
        name = options.view_as(StandardOptions).runner or ""
        return name.rpartition(".")[2].lower() in cls.names

    def prepare(self, config: JobConfig) -> None:
        """Checks and completes the options; UsageError if the job cannot run with them."""

    def make_pipeline(self) -> beam.Pipeline:
        """Returns an empty pipeline, which `run` runs after it has been built.

        UsageError: there is no such runner, or options contradict each other.
        """
        try:
            self.pipeline = beam.Pipeline(options=self.options)
        except ValueError as error:
            raise UsageError(" ".join(str(error).split())) from None
        self.options = self.pipeline.options  # a copy that the run reads
        return self.pipeline

    def run(self, run_id: str, lifetime: Lifetime, verbose: bool) -> None:
        """Runs the pipeline to its end; an interruption cancels it.

        Args:
          run_id: the default for the name of the job.
          lifetime: of the run.
          verbose: print the runner's messages.

        RunnerError: see there. Other errors are those of the job.
        """
        raise NotImplementedError


def end_start_up() -> None:
    """Enables garbage collection, except of the objects that exist now."""
    gc.freeze()
    gc.enable()
