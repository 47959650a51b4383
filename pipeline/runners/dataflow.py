"""Google Cloud Dataflow; docs/dataflow.md."""

from pipeline.runners.remote import RemoteRunner


class DataflowRunner(RemoteRunner):
    """Dataflow, whose service ends the job when Beam asks it to."""

    names = ("dataflowrunner",)
