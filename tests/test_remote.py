"""Remote runners, as far as they can be tested without a cluster."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import grpc
import pandas as pd
import psutil
import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc, endpoints_pb2
from apache_beam.runners.portability.local_job_service import LocalJobServicer
from conftest import PATIENCE, ROOT, files_below, write_images

from pipeline.runners.causes import reason_of
from pipeline.runners.flink import FlinkJobs, FlinkRunner
from pipeline.runners.local import LocalRunner
from pipeline.runners.portable import PortableRunner, PrismRunner
from pipeline.runners.remote import RemoteRunner, name_job
from pipeline.runners.table import find_runner

JAVA = """java.util.concurrent.ExecutionException: org.apache.beam.sdk.util.UserCodeException
Caused by: java.lang.RuntimeException: Error received from SDK harness for instruction 3: Traceback
  File "stage.py", line 3, in process
ValueError: boom

During handling of the above exception, another exception occurred:

RuntimeError: boom [while running 'ReadImages/Map']
	at org.apache.beam.Foo(Bar.java:3)
	... 6 more
Caused by: org.apache.flink.runtime.JobException: Recovery is suppressed by NoRestart"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (JAVA, "RuntimeError: boom [while running 'ReadImages/Map']"),
        (
            "a\nCaused by: org.apache.flink.JobException: No\n\tat x\n"
            "Caused by: java.io.IOException: Connection refused: localhost:50000\n\tat y",
            "java.io.IOException: Connection refused: localhost:50000",
        ),
        ("Pipeline 4 failed in state FAILED: worker lost", None),
        ("<_Rendezvous\n\tstatus = UNAVAILABLE\n\tdetails = \"Socket closed\"\n>", "Socket closed"),
        ("", ""),
    ],
)  # fmt: skip
def test_failure_reason_is_the_most_informative_line(text, reason):
    assert reason_of(text) == (text if reason is None else reason)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--runner", "PortableRunner", "--job_endpoint", "localhost:1"],
            "job_endpoint: nothing answers at 'localhost:1'",
        ),
        (["--runner", "Nonsense"], "Unexpected pipeline runner: Nonsense"),
        (
            ["--runner", "PortableRunner", "--flink_master", "localhost:1"],
            "flink_master: Flink does not answer at 'localhost:1'",
        ),
    ],
)
def test_unreachable_or_unknown_runner_is_refused_before_the_run(
    run_job, photo, tmp_path, monkeypatch, options, message
):
    monkeypatch.setattr("pipeline.runners.portable.ANSWER_SECONDS", 0.5)
    write_images(tmp_path / "in", {"a.png": photo[:40, :40]})
    outcome = run_job("--input", f"{tmp_path}/in/*", *options)
    assert outcome.code == 2
    assert message in outcome.err
    assert not outcome.output.exists()


@pytest.mark.parametrize(
    ("options", "runner", "here"),
    [
        ([], LocalRunner, True),
        (["--runner=DirectRunner"], LocalRunner, True),
        (["--runner=PrismRunner"], PrismRunner, True),
        (["--runner=PrismRunner", "--environment_type=EXTERNAL"], PrismRunner, False),
        (["--runner=FlinkRunner"], FlinkRunner, True),
        (["--runner=FlinkRunner", "--flink_master=a:1"], FlinkRunner, False),
        (["--runner=PortableRunner", "--flink_master=a:1"], FlinkRunner, False),
        (["--runner=PortableRunner", "--job_endpoint=a:1"], PortableRunner, False),
        (["--runner=PortableRunner", "--environment_type=LOOPBACK"], PortableRunner, True),
        (["--runner=DataflowRunner"], RemoteRunner, False),
        (["--runner=Nonsense"], RemoteRunner, False),
    ],
)
def test_options_select_the_runner_and_locate_its_workers(options, runner, here):
    found = find_runner(options)
    assert type(found) is runner
    assert (found.workers is not None) == here


def test_options_set_by_a_runner_reach_its_pipeline():
    runner = find_runner(["--runner=PrismRunner"])
    pipeline = runner.make_pipeline()
    name = name_job(runner.options, "night")
    assert pipeline.options.view_as(GoogleCloudOptions).job_name == name == "srcnn-night"


@pytest.mark.parametrize("name", ["input", "input_list", "output"])
def test_relative_path_is_refused_for_remote_workers(run_job, photo, tmp_path, monkeypatch, name):
    write_images(tmp_path / "in", {"a.png": photo[:40, :40]})
    monkeypatch.chdir(tmp_path)
    paths = {
        "input": f"{tmp_path}/in/*",
        "input_list": f"{tmp_path}/a.txt",
        "output": tmp_path / "out",
    }
    paths[name] = os.path.relpath(paths[name])
    (tmp_path / "a.txt").write_text(f"{tmp_path}/in/a.png\n")
    options = ["--runner", "PortableRunner", "--job_endpoint", "embed"]
    options += ["--environment_type", "EXTERNAL", "--environment_config", "localhost:1"]
    options += ["--input_list", paths["input_list"]]
    outcome = run_job("--input", paths["input"], *options, output=paths["output"])
    assert outcome.code == 2
    assert f"{name}: " in outcome.err and "relative" in outcome.err
    assert str(tmp_path) in outcome.err
    assert not (tmp_path / "out").exists()


# The signals are raised in a child process, so that they cannot end pytest's.
DEFERRING = """
import signal
from pipeline.runners.lifetime import Lifetime
with Lifetime() as lifetime, lifetime.deferring():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as one of Beam's runners might
    for number in range({signals}):
        signal.raise_signal(signal.SIGTERM)
        print("deferred", number, flush=True)
print("never reached", flush=True)
"""


@pytest.mark.parametrize("signals", [1, 2])
def test_first_signal_waits_for_the_submission_and_the_second_does_not(signals):
    program = DEFERRING.format(signals=signals)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stdout) == (143, "deferred 0\n")
    assert done.stderr.strip() == "interrupted by SIGTERM"


@pytest.fixture
def pool(tmp_path):
    """A worker pool, started outside the checkout, and its port."""
    command = [sys.executable, "-m", "pipeline.worker_pool", "--port", "0"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    assert line.startswith("worker pool at localhost:")
    yield process, int(line.rpartition(":")[2])
    process.kill()
    process.wait()
    process.stdout.close()


def workers_of(process) -> list[psutil.Process]:
    return psutil.Process(process.pid).children()


def ask_for_a_worker(channel) -> beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub:
    stub = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
    # The worker is accepted and gets no work from this address.
    endpoint = endpoints_pb2.ApiServiceDescriptor(url="localhost:1")
    request = beam_fn_api_pb2.StartWorkerRequest(worker_id="one", control_endpoint=endpoint)
    assert not stub.StartWorker(request).error
    return stub


def test_worker_pool_listens_on_localhost_only(pool):
    process, port = pool
    (listening,) = [
        connection.laddr
        for connection in psutil.Process(process.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening.port == port
    assert listening.ip.removeprefix("::ffff:") == "127.0.0.1"
    second = [sys.executable, "-m", "pipeline.worker_pool", "--port", str(port)]
    refused = subprocess.run(second, cwd=ROOT, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "in use" in refused.stderr


@pytest.mark.parametrize("end", ["asked", "killed", "terminated"])
def test_workers_end_on_request_and_with_their_pool(pool, end):
    process, port = pool
    with grpc.insecure_channel(f"localhost:{port}") as channel:
        stub = ask_for_a_worker(channel)
        workers = workers_of(process)
        assert len(workers) == 1
        if end == "asked":
            stub.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="one"))
            assert process.poll() is None
        elif end == "killed":
            process.kill()
        else:
            process.terminate()
            assert process.wait(PATIENCE) == 143
    _, alive = psutil.wait_procs(workers, timeout=PATIENCE)
    assert not alive


def test_runner_stops_only_its_own_worker_of_two_with_equal_names(pool):
    """Two TaskManagers beside one pool both number their workers from 1."""
    process, port = pool
    # Channels with equal options share a connection.
    options = [("grpc.use_local_subchannel_pool", 1)]
    address = f"localhost:{port}"
    with (
        grpc.insecure_channel(address, options=options) as first,
        grpc.insecure_channel(address, options=options) as second,
        grpc.insecure_channel(address, options=options) as unknown,
    ):
        stop = beam_fn_api_pb2.StopWorkerRequest(worker_id="one")
        stub = ask_for_a_worker(first)
        mine = workers_of(process)
        ask_for_a_worker(second)
        (other,) = set(workers_of(process)) - set(mine)
        beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(unknown).StopWorker(stop)
        assert len(workers_of(process)) == 2
        stub.StopWorker(stop)
        assert workers_of(process) == [other]
        beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(unknown).StopWorker(stop)
        assert not workers_of(process)


class FlinkPages(BaseHTTPRequestHandler):
    """Flink's REST interface for `server.jobs`: name and state by job id."""

    def do_GET(self):  # noqa: N802 (the library's name for it)
        jobs = [
            {"jid": jid, "name": name, "state": state}
            for jid, (name, state) in self.server.jobs.items()
        ]
        self._answer(200, json.dumps({"jobs": jobs}).encode())

    def do_PATCH(self):  # noqa: N802
        asked = re.fullmatch(r"/jobs/(\w+)\?mode=cancel", self.path)
        name, _ = self.server.jobs[asked[1]]
        self.server.jobs[asked[1]] = (name, "CANCELED")
        self._answer(202, b"{}")

    def _answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def flink() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), FlinkPages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_only_flink_jobs_of_the_run_are_cancelled(flink):
    flink.jobs = {"old": ("srcnn-1", "RUNNING"), "gone": ("srcnn-1", "FAILED")}
    jobs = FlinkJobs(f"127.0.0.1:{flink.server_port}", "srcnn-1")
    flink.jobs |= {
        "mine": ("srcnn-1", "RESTARTING"),
        "done": ("srcnn-1", "FINISHED"),
        "other": ("srcnn-2", "RUNNING"),
    }
    assert jobs.running() == ["mine"]
    jobs.cancel()
    assert not jobs.running()
    states = {jid: state for jid, (_, state) in flink.jobs.items()}
    assert states == {
        "old": "RUNNING", "gone": "FAILED", "mine": "CANCELED", "done": "FINISHED",
        "other": "RUNNING",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("run_id", "name"),
    [
        ("20261125T210610Z-9ef7eb", "srcnn-20261125t210610z-9ef7eb"),
        ("Nightly_2.0-", "srcnn-nightly-2-0"),
    ],
)
def test_remote_job_is_named_after_its_run(run_id, name):
    options = PipelineOptions([])
    name_job(options, run_id)
    assert options.view_as(GoogleCloudOptions).job_name == name
    name_job(options, "another")
    assert options.view_as(GoogleCloudOptions).job_name == name


@pytest.fixture
def job_server():
    """Beam's own job server in Python, and its port. It runs jobs in threads of this process."""
    server = LocalJobServicer()
    yield server.start_grpc_server(0)
    server.stop()


@pytest.mark.slow
def test_external_workers_give_the_same_results_as_the_local_runner(
    job_server, pool, run_job, photo, tmp_path, tiny_weights
):
    images = {f"{i}.png": photo[i : i + 60, i : i + 80] for i in range(6)}
    write_images(tmp_path / "in", images)
    (tmp_path / "in" / "broken.png").write_bytes(b"no picture")
    arguments = ["--input", f"{tmp_path}/in/*", "--max_failures", "1"]
    local = run_job(*arguments)
    options = [
        "--runner", "PortableRunner", "--job_endpoint", f"localhost:{job_server}",
        "--environment_type", "EXTERNAL", "--environment_config", f"localhost:{pool[1]}",
    ]  # fmt: skip
    remote = run_job(*arguments, *options, output=tmp_path / "remote")
    assert remote.code == local.code == 0
    for name in files_below(local.output / "images"):
        images = (local.output / "images" / name, remote.output / "images" / name)
        assert images[0].read_bytes() == images[1].read_bytes()
    of_the_run = ["run_id", "output_uri", "infer_seconds", "total_seconds", "finished_at", "host"]
    pd.testing.assert_frame_equal(
        remote.rows.drop(columns=of_the_run), local.rows.drop(columns=of_the_run)
    )


def test_openvino_telemetry_is_not_loaded():
    pytest.importorskip("openvino")
    program = (
        "import sys, srcnn.engines.openvino\n"
        "print([name for name in sys.modules if name.startswith('openvino_telemetry')])"
    )
    shown = subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True)
    assert shown.strip() == "[]"
