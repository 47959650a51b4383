"""What concerns runners of other processes, as far as none of them is needed for it."""

import os
import signal
import subprocess
import sys

import grpc
import pandas as pd
import psutil
import pytest
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc, endpoints_pb2
from apache_beam.runners.portability.local_job_service import LocalJobServicer
from conftest import ROOT, files_below, write_images

from pipeline.lifetime import Lifetime
from pipeline.remote import reason_of

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
def test_the_reason_is_the_line_that_says_most(text, reason):
    assert reason_of(text) == (text if reason is None else reason)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--runner", "PortableRunner", "--job_endpoint", "localhost:1"],
            "job_endpoint: nothing answers at 'localhost:1'",
        ),
        (["--runner", "Nonsense"], "Unexpected pipeline runner: Nonsense"),
    ],
)
def test_a_runner_that_cannot_be_is_refused_before_anything(
    run_job, photo, tmp_path, monkeypatch, options, message
):
    monkeypatch.setattr("pipeline.remote._ANSWER_SECONDS", 0.5)
    write_images(tmp_path / "in", {"a.png": photo[:40, :40]})
    outcome = run_job("--input", f"{tmp_path}/in/*", *options)
    assert outcome.code == 2
    assert message in outcome.err
    assert not outcome.output.exists()


@pytest.mark.parametrize("name", ["input", "output"])
def test_a_relative_path_means_something_else_to_workers(
    run_job, photo, tmp_path, monkeypatch, name
):
    write_images(tmp_path / "in", {"a.png": photo[:40, :40]})
    monkeypatch.chdir(tmp_path)
    paths = {"input": f"{tmp_path}/in/*", "output": tmp_path / "out"}
    paths[name] = os.path.relpath(paths[name])
    options = ["--runner", "PortableRunner", "--job_endpoint", "embed"]
    options += ["--environment_type", "EXTERNAL", "--environment_config", "localhost:1"]
    outcome = run_job("--input", paths["input"], *options, output=paths["output"])
    assert outcome.code == 2
    assert f"{name}: " in outcome.err and "relative" in outcome.err
    assert str(tmp_path) in outcome.err
    assert not (tmp_path / "out").exists()


def test_a_signal_waits_for_the_submission_but_not_twice(monkeypatch):
    ended = []
    with Lifetime() as lifetime:
        monkeypatch.setattr(lifetime, "_end", lambda state, code: ended.append(code))
        with lifetime.deferring():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a runner of Beam's might
            signal.raise_signal(signal.SIGTERM)
            assert not ended
        assert ended == [143]
        ended.clear()
        with lifetime.deferring():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            assert ended


@pytest.fixture
def pool(tmp_path):
    """A pool of workers as a process away from the checkout, and its port."""
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
    # What is at this address accepts the worker and never asks it for anything.
    endpoint = endpoints_pb2.ApiServiceDescriptor(url="localhost:1")
    request = beam_fn_api_pb2.StartWorkerRequest(worker_id="one", control_endpoint=endpoint)
    assert not stub.StartWorker(request).error
    return stub


def test_the_pool_is_reached_from_this_machine_alone(pool):
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
def test_workers_end_when_they_shall_and_with_their_pool(pool, end):
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
            assert process.wait(10) == 143
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


@pytest.fixture
def job_server():
    """Beam's own job server in Python, and its port. It runs jobs in threads of this process."""
    server = LocalJobServicer()
    yield server.start_grpc_server(0)
    server.stop()


def test_the_result_of_external_workers_is_the_local_runners(
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


def test_openvino_reports_nothing_to_anybody():
    pytest.importorskip("openvino")
    program = (
        "import sys, srcnn.engines.openvino\n"
        "print([name for name in sys.modules if name.startswith('openvino_telemetry')])"
    )
    shown = subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True)
    assert shown.strip() == "[]"
