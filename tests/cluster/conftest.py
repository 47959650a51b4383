"""Engines that run the job in other processes: Prism, and Flink with two TaskManagers."""

import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
FLINK = ROOT / "deploy" / "flink"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@dataclass
class Engine:
    """A job server and a pool of workers, as processes.

    Attributes:
      name: `prism` or `flink`.
      job: port of the job server.
      pool: port of the pool.
      rest: port of Flink's REST interface, or 0.
      pids: of the processes, by name.
    """

    name: str
    job: int
    pool: int
    rest: int = 0
    pids: dict[str, int] = field(default_factory=dict)

    @property
    def options(self) -> list[str]:
        return [
            "--runner", "PortableRunner", "--job_endpoint", f"127.0.0.1:{self.job}",
            "--environment_type", "EXTERNAL", "--environment_config", f"127.0.0.1:{self.pool}",
            *(["--flink_master", f"127.0.0.1:{self.rest}"] if self.rest else []),
            *(["--parallelism", "2"] if self.rest else []),
        ]  # fmt: skip

    def kill(self, name: str) -> None:
        os.kill(self.pids[name], signal.SIGKILL)

    def workers(self) -> list[psutil.Process]:
        """The workers of the pool."""
        children = psutil.Process(self.pids["pool"]).children()
        return [child for child in children if "--worker" in child.cmdline()]


@pytest.fixture(params=["prism", "flink"])
def engine(request, tmp_path) -> Iterator[Engine]:
    make = {"prism": prism, "flink": flink}[request.param]
    yield from make(tmp_path)


def prism(tmp_path: Path) -> Iterator[Engine]:
    binary = prism_binary()
    made = Engine("prism", free_port(), free_port())
    commands = {
        "job-server": [binary, "--job_port", str(made.job), "--serve_http=false"],
        "pool": [sys.executable, "-m", "pipeline.worker_pool", "--port", str(made.pool)],
    }
    processes = []
    for name, command in commands.items():
        with open(tmp_path / f"{name}.log", "wb") as log:
            processes.append(subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log))
        made.pids[name] = processes[-1].pid
    try:
        wait_for(lambda: answers(made.job) and answers(made.pool))
        yield made
    finally:
        for process in processes:
            process.kill()
            process.wait()


def prism_binary() -> str:
    found = os.environ.get("PRISM") or shutil.which("prism", path=f"{ROOT / '.prism'}")
    if not found:
        pytest.skip("needs Prism: make prism, or PRISM=/path/to/prism")
    return found


@functools.cache
def fetched() -> subprocess.CompletedProcess:
    """The process that fetched Flink; its exit code is 3 without Beam's job server."""
    made = run_script("fetch.sh", capture_output=True, text=True)
    assert made.returncode in (0, 3), made.stderr
    return made


def run_script(name: str, *arguments: str, **options) -> subprocess.CompletedProcess:
    """One of deploy/flink, with this Python in place of .venv's."""
    environment = os.environ | {"VENV_PYTHON": sys.executable}
    return subprocess.run([FLINK / name, *arguments], env=environment, check=False, **options)


def flink(tmp_path: Path) -> Iterator[Engine]:
    if fetched().returncode:
        pytest.skip(f"needs Beam's Flink job server: {fetched().stderr.strip()}")
    try:
        assert run_script("start.sh").returncode == 0
        yield running_flink()
    finally:
        run_script("stop.sh")


def running_flink() -> Engine:
    """The cluster of start.sh."""
    state = ROOT / ".flink" / "run"
    ports = dict(line.split("=") for line in (state / "ports").read_text().split())
    pids = dict(line.split() for line in (state / "pids").read_text().splitlines())
    return Engine(
        "flink", int(ports["JOB"]), int(ports["POOL"]), int(ports["REST"]),
        {name: int(pid) for name, pid in pids.items()},
    )  # fmt: skip
