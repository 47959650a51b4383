"""Which runner a command line asks for."""

from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.runners.base import Runner
from pipeline.runners.dataflow import DataflowRunner
from pipeline.runners.flink import FlinkRunner
from pipeline.runners.local import LocalRunner
from pipeline.runners.portable import PortableRunner, PrismRunner
from pipeline.runners.remote import RemoteRunner

# The first that serves the options. Flink stands before the job server that may lead to it.
RUNNERS = (LocalRunner, FlinkRunner, PrismRunner, PortableRunner, DataflowRunner)


def runner_class(options: PipelineOptions) -> type[Runner]:
    """The class for options; one that is not in the table is taken for a remote one."""
    return next((one for one in RUNNERS if one.serves(options)), RemoteRunner)


def find_runner(arguments: list[str]) -> Runner:
    """The runner that Beam's arguments of a command ask for."""
    return runner_class(PipelineOptions(arguments))(arguments)
