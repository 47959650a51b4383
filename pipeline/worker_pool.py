"""Custom worker pool: starts a runner's Python workers on this machine, for Flink, for example.

    python -m pipeline.worker_pool --port 50000

Runners use it as an external environment: `--environment_type EXTERNAL --environment_config
localhost:50000`. Beam's own pool listens on every interface and runs any command that it is sent;
this one listens to this machine (or this pod) alone, and its workers use its own interpreter and
packages.
"""

import argparse
import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NoReturn

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
from apache_beam.runners.worker.sdk_worker import SdkHarness

from pipeline.runners.lifetime import leaving_on_signals

_HOST = "127.0.0.1"
_GRACE = 10.0


class WorkerPool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """The service: starts a process for each worker that a runner requests."""

    def __init__(self):
        self._workers: list[_Worker] = []
        self._lock = threading.Lock()

    def StartWorker(self, request, context):  # noqa: N802 (gRPC's name)
        command = [
            sys.executable, "-m", "pipeline.worker_pool",
            "--worker", request.worker_id, "--control", request.control_endpoint.url,
        ]  # fmt: skip
        try:
            # The pipe ends with this process, however it dies, and the worker ends with the pipe.
            process = subprocess.Popen(command, stdin=subprocess.PIPE)
        except OSError as error:
            return beam_fn_api_pb2.StartWorkerResponse(error=str(error))
        with self._lock:
            self._workers = [one for one in self._workers if one.process.poll() is None]
            self._workers.append(_Worker(request.worker_id, context.peer(), process))
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, request, context):  # noqa: N802
        # Each runner counts its own workers: two TaskManagers both have a worker 1-1.
        with self._lock:
            same = [one for one in self._workers if one.id == request.worker_id]
            asked = [one for one in same if one.runner == context.peer()] or same
            # If a runner on a new connection could mean several, none is stopped: the runner closed
            # the connection of its own worker before, which ended it.
            stopped = asked if len(asked) == 1 else []
            self._workers = [one for one in self._workers if one not in stopped]
        for worker in stopped:
            worker.process.stdin.close()
            try:
                worker.process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
        return beam_fn_api_pb2.StopWorkerResponse()


@dataclass(frozen=True, eq=False)
class _Worker:
    """A process, with the runner's name of the worker and the runner's connection."""

    id: str
    runner: str
    process: subprocess.Popen


def serve(port: int) -> tuple[grpc.Server, int]:
    """Starts the service on this machine's loopback interface; returns it and its port.

    Port 0 means any free port; a RuntimeError, that the port is taken.
    """
    # Otherwise two pools on one port would share the requests.
    server = grpc.server(ThreadPoolExecutor(), options=[("grpc.so_reuseport", 0)])
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(WorkerPool(), server)
    bound = server.add_insecure_port(f"{_HOST}:{port}")
    server.start()
    return server, bound


def _work(worker_id: str, control: str) -> NoReturn:
    """Runs a worker until the runner or the pool ends it."""
    threading.Thread(target=_exit_with_pool, daemon=True).start()
    code = 1
    try:
        SdkHarness(
            control, worker_id=worker_id, state_cache_size=0, data_buffer_time_limit_ms=-1
        ).run()
        code = 0
    except grpc.RpcError as error:
        logging.getLogger(__name__).warning("the worker lost its runner: %s", error.details())
    finally:
        os._exit(code)  # gRPC can keep Python from ending when its peer is gone


def _exit_with_pool() -> None:
    os.read(sys.stdin.fileno(), 1)  # not sys.stdin.read, whose lock a forked process inherits
    os._exit(0)


def main() -> int:
    """Runs the pool until a signal ends it."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.worker_pool",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    role = parser.add_mutually_exclusive_group(required=True)
    role.add_argument("--port", type=int, help="port on 127.0.0.1; 0: any free port")
    role.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--control", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    if arguments.worker:
        _work(arguments.worker, arguments.control)
    with leaving_on_signals():
        try:
            server, port = serve(arguments.port)
        except RuntimeError:
            print(f"error: {_HOST}:{arguments.port} is in use", file=sys.stderr)
            return 2
        print(f"worker pool at localhost:{port}", flush=True)
        server.wait_for_termination()
    return 0


if __name__ == "__main__":
    sys.exit(main())
