"""The table of runners, and the one for a command line."""

from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.runners.base import Runner
from pipeline.runners.flink import FlinkRunner
from pipeline.runners.local import LocalRunner
from pipeline.runners.portable import PortableRunner, PrismRunner
from pipeline.runners.remote import RemoteRunner

# The first that serves the options. Flink precedes the job server, which may lead to it.
RUNNERS = (LocalRunner, FlinkRunner, PrismRunner, PortableRunner)


def runner_class(options: PipelineOptions) -> type[Runner]:
    """The class for options; other runners, such as Dataflow's, need no more than a remote one."""
    return next((one for one in RUNNERS if one.serves(options)), RemoteRunner)


def find_runner(arguments: list[str]) -> Runner:
    """The runner for Beam's options of a command."""
    return runner_class(PipelineOptions(arguments))(arguments)
