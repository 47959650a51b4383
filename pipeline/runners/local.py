"""Beam's local runner: threads of this process, or child processes."""

from apache_beam.options.pipeline_options import DirectOptions, TypeOptions
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.worker import sdk_worker

from pipeline.runners.base import Runner, end_start_up
from pipeline.runners.lifetime import Lifetime
from srcnn.engines import cores

_NEVER_MS = 1000 * 24 * 3600 * 365


class LocalRunner(Runner):
    """Uses a thread for each core unless the options say otherwise.

    Threads share the network and spend nearly all their time outside Python's lock; processes start
    later and take more memory. Lifetime cancels the job, by ending all child processes.
    """

    names = ("", "directrunner", "fnapirunner", "bundlebaseddirectrunner")
    # The thread that waits for a worker of the runner. Other child processes may come and go.
    fatal_threads = ("run_worker",)

    def __init__(self, arguments: list[str]):
        super().__init__(arguments)
        # Otherwise DirectRunner first tries to download Prism. There are no triggers here.
        self.options.view_as(TypeOptions).allow_unsafe_triggers = True
        # Beam flushes the output of a worker thread every second from another thread, which can cut
        # an element in two. Output is sent by size and at the end. Beam has no option for that.
        worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = _NEVER_MS
        given = {argument.partition("=")[0] for argument in arguments}
        direct = self.options.view_as(DirectOptions)
        if "--direct_running_mode" not in given:
            direct.direct_running_mode = "multi_threading"
        if direct.direct_running_mode == "in_memory":
            direct.direct_num_workers = 1
        elif "--direct_num_workers" not in given or not direct.direct_num_workers:
            direct.direct_num_workers = cores()
        self.workers = direct.direct_num_workers
        threads = direct.direct_running_mode == "multi_threading"
        self.image_threads = self.workers if threads else 1

    def run(self, run_id: str, lifetime: Lifetime, verbose: bool) -> None:
        # Beam prints only tracebacks of errors that it also raises.
        sdk_worker.print = print if verbose else lambda *_, **__: None
        end_start_up()
        self.pipeline.run().wait_until_finish()
