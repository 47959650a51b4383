"""What the job asks of a runner of Beam's, whichever it is."""

import gc

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from pipeline.config import JobConfig
from pipeline.errors import UsageError
from pipeline.runners.lifetime import Lifetime


class RunnerError(Exception):
    """The job could not be handed over, failed, or was lost; the message is one line."""


class Runner:
    """A runner of Beam's, with the options of one run.

    Args:
      arguments: Beam's options of the command.

    Attributes:
      options: the same, parsed; `prepare` completes them.
      pipeline: what make_pipeline returned.
      names: by which `--runner` names it, in small letters; empty: none is named.
      takes_unknown_options: whether it may know options that Beam does not.
      fatal_threads: names of its threads that fail when a worker has died.
      ignored_threads: names of its threads whose failure another thread reports.
      workers: how many workers it has on this machine; None: they are elsewhere, so that their
        progress cannot be seen, and their paths may mean something else.
      image_threads: how many images of shards a process works on; 0: as many as it has cores.
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
        """The name by which the command asks for it."""
        return self.options.view_as(StandardOptions).runner or "DirectRunner"

    @classmethod
    def serves(cls, options: PipelineOptions) -> bool:
        """Whether options ask for this runner."""
        name = options.view_as(StandardOptions).runner or ""
        return name.rpartition(".")[2].lower() in cls.names

    def prepare(self, config: JobConfig) -> None:
        """Checks and completes the options for a job.

        Raises:
          UsageError: the job cannot be run so; the message says why.
        """

    def make_pipeline(self) -> beam.Pipeline:
        """The empty pipeline that `run` will run when it is built.

        Raises:
          UsageError: there is no such runner, or options contradict each other.
        """
        try:
            self.pipeline = beam.Pipeline(options=self.options)
        except ValueError as error:
            raise UsageError(" ".join(str(error).split())) from None
        self.options = self.pipeline.options  # a copy, which the run reads
        return self.pipeline

    def run(self, run_id: str, lifetime: Lifetime, verbose: bool) -> None:
        """Runs the pipeline to its end; an interruption cancels it.

        Args:
          run_id: after which the job is named, where it has no name.
          lifetime: of the run.
          verbose: show what the runner says.

        Raises:
          RunnerError: see there. Other errors are the job's own.
        """
        raise NotImplementedError


def end_start_up() -> None:
    """Enables garbage collection, but not of what there is now, which stays."""
    gc.freeze()
    gc.enable()
