"""Interrupted and killed runs leave no partial file and no process."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import coverage
import cv2
import psutil
import pytest
from conftest import PATIENCE, files_below, start_job, write_images

from pipeline.runners.lifetime import Lifetime
from pipeline.runners.local import LocalRunner

IMAGES = 60
# More than a run restores before its signal arrives, however late the test gets the processor.
MANY = 600


@pytest.fixture
def temporary(tmp_path) -> Path:
    """A directory for the temporary files of the test's command only."""
    (tmp_path / "temporary").mkdir()
    return tmp_path / "temporary"


@pytest.fixture
def folder(tmp_path, photo):
    write_images(tmp_path / "in", {f"{i:03}.png": photo for i in range(IMAGES)})
    return tmp_path / "in"


@pytest.fixture
def large_folder(tmp_path, photo):
    """One image under many names."""
    write_images(tmp_path / "in", {"0.png": photo})
    for number in range(1, MANY):
        os.link(tmp_path / "in/0.png", tmp_path / f"in/{number}.png")
    return tmp_path / "in"


def run_in_background(folder, output, weights, *more, temporary=None):
    environment = os.environ | ({"TMPDIR": str(temporary)} if temporary else {})
    return start_job(
        "--input", f"{folder}/*.png", "--output", output, "--weights", weights,
        "--comparisons", "none", *more, env=environment,
    )  # fmt: skip


def wait_for_images(process, output, number=3):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()
        if len(list((output / "images").glob("*.png"))) >= number:
            return
        time.sleep(0.02)
    pytest.fail("no image was written in time")


def wait_for_handler(process, number):
    """Waits until the process handles a signal; before, its start-up cannot clean up."""
    status, end = Path(f"/proc/{process.pid}/status"), time.monotonic() + PATIENCE
    while time.monotonic() < end:
        (caught,) = re.findall(r"^SigCgt:\s*(\w+)", status.read_text(), re.MULTILINE)
        if int(caught, 16) >> (number - 1) & 1:
            return
        time.sleep(0.01)
    pytest.fail("the signal was not handled in time")


MODES = {
    "multi_threading": [],
    "in_memory": ["--direct_running_mode", "in_memory"],
    "multi_processing": [
        "--direct_num_workers", "2", "--direct_running_mode", "multi_processing",
    ],
}  # fmt: skip


def slow(*values):
    """A further variant of a case that the quick tests run once."""
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("mode", "number", "code"),
    [
        ("multi_processing", signal.SIGINT, 130),
        ("multi_threading", signal.SIGTERM, 143),
        slow("multi_processing", signal.SIGTERM, 143),
        slow("multi_threading", signal.SIGINT, 130),
        slow("in_memory", signal.SIGINT, 130),
        slow("in_memory", signal.SIGTERM, 143),
    ],
)
def test_signal_ends_all_processes_and_removes_temporary_files(
    large_folder, tmp_path, tiny_weights, temporary, mode, number, code
):
    output = tmp_path / "out"
    process = run_in_background(
        large_folder, output, tiny_weights, *MODES[mode], temporary=temporary
    )
    wait_for_images(process, output)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert "interrupted" in err
    assert "Traceback" not in err
    assert_nothing_is_left(output, children, temporary, "interrupted")
    assert_whole_images(output)


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.0, 1.5, 3.5])
def test_signal_during_start_up_ends_all_processes(
    large_folder, tmp_path, tiny_weights, temporary, delay
):
    if delay == 0 and coverage.Coverage.current():
        pytest.skip("coverage handles SIGTERM before the job does")
    process = run_in_background(
        large_folder, tmp_path / "out", tiny_weights, *MODES["multi_processing"],
        temporary=temporary,
    )  # fmt: skip
    wait_for_handler(process, signal.SIGTERM)
    time.sleep(delay)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert not [child for child in children if child.is_running()]
    assert not list(temporary.glob("srcnn-beam-*"))


def test_signal_before_the_job_ends_child_processes():
    """For example the one that parses the weights."""
    program = """
import subprocess, time
from pipeline.runners.lifetime import leaving_on_signals
with leaving_on_signals():
    print(subprocess.Popen(["sleep", "60"]).pid, flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    child = psutil.Process(int(process.stdout.readline()))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    assert not child.is_running()


@pytest.mark.parametrize("number", [slow(1), 7, slow(20)])
def test_sigkill_leaves_only_whole_files_and_the_next_run_completes(
    folder, tmp_path, tiny_weights, number, run_job
):
    output = tmp_path / "out"
    process = run_in_background(folder, output, tiny_weights)
    wait_for_images(process, output, number)
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert_whole_images(output)
    undisturbed = run_job("--input", f"{folder}/*.png", output=tmp_path / "undisturbed")
    again = run_job("--input", f"{folder}/*.png", output=output)
    assert again.code == 0
    assert contents(output / "images") == contents(undisturbed.output / "images")
    assert_one_written_row_each(again, IMAGES)


@pytest.mark.slow
def test_random_chains_are_the_same_after_a_sigkill(folder, tmp_path, tiny_weights, run_job):
    words = ["--degrade", "blur=0.2..1.2 shrink noise=0..10 jpeg=40..95", "--seed", 5]
    output = tmp_path / "out"
    process = run_in_background(folder, output, tiny_weights, *words)
    wait_for_images(process, output, 7)
    process.kill()
    process.communicate(timeout=PATIENCE)
    jobs = [
        run_job("--input", f"{folder}/*.png", *words, output=one)
        for one in (output, tmp_path / "undisturbed")
    ]
    assert [job.code for job in jobs] == [0, 0]
    again, whole = (contents(job.output / "images") for job in jobs)
    assert again == whole
    rows = [job.rows.query("status == 'written'").degradation for job in jobs]
    assert rows[0].equals(rows[1]) and rows[1].is_unique


def beam_processes(process, name) -> list[psutil.Process]:
    """The two workers (`python`) that Beam started, or the shells (`sh`) around them."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        children = psutil.Process(process.pid).children(recursive=True)
        found = [c for c in children if c.name().startswith(name) and not decodes(c)]
        if len(found) == 2:
            return found
        time.sleep(0.02)
    pytest.fail("the workers did not start in time")


def decodes(process) -> bool:
    """Whether a process decodes images for a worker."""
    try:
        return "codec.worker" in process.cmdline()
    except psutil.Error:
        return True


def assert_ended_by_worker_death(process, output, children, temporary):
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, err
    assert "a worker died" in err
    # The other worker may log the end of its connection last.
    own = re.sub(r"[^\n]*Logging client failed: .*?\.\.\. resetting\n?", "", err, flags=re.DOTALL)
    assert own.splitlines()[-1].startswith("error: the job crashed")
    assert_nothing_is_left(output, children, temporary, "failed")


@pytest.mark.slow
def test_killed_worker_ends_the_run_and_the_next_completes_it(
    tmp_path, tiny_weights, photo, run_job, temporary
):
    folder, output = tmp_path / "in", tmp_path / "out"
    write_images(folder, {f"{i:03}.png": photo[i : i + 100, i : i + 120] for i in range(200)})
    process = run_in_background(
        folder, output, tiny_weights, *MODES["multi_processing"], temporary=temporary
    )
    wait_for_images(process, output, 20)
    children = beam_processes(process, "python")
    children[0].kill()
    assert_ended_by_worker_death(process, output, children, temporary)
    assert_whole_images(output)
    assert 20 <= len(files_below(output / "images")) < 200

    again = run_job("--input", f"{folder}/*.png", output=output)
    assert again.code == 0
    assert_one_written_row_each(again, 200)
    undisturbed = run_job("--input", f"{folder}/*.png", output=tmp_path / "undisturbed")
    assert contents(output / "images") == contents(undisturbed.output / "images")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["python", "sh"])
def test_worker_killed_during_start_up_ends_the_run(
    folder, tmp_path, tiny_weights, temporary, name
):
    """Also if its shell is killed: the worker itself would continue without a parent."""
    output = tmp_path / "out"
    process = run_in_background(
        folder, output, tiny_weights, *MODES["multi_processing"], temporary=temporary
    )
    children = beam_processes(process, "python")
    beam_processes(process, name)[0].kill()
    assert_ended_by_worker_death(process, output, children, temporary)
    assert not (output / "images").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_death_of_other_children_and_threads_is_ignored(capfd):
    def fail():
        raise RuntimeError("a helper failed")

    with Lifetime():
        helper = subprocess.Popen(["sleep", "60"])
        helper.kill()
        helper.wait()
        thread = threading.Thread(target=fail, name="helper")
        thread.start()
        thread.join()
        assert "worker" not in capfd.readouterr().err


def test_worker_death_after_the_work_is_only_a_warning(capfd):
    def fail():
        raise RuntimeError("exited with return code 139")

    with Lifetime(LocalRunner.fatal_threads):
        thread = threading.Thread(target=fail, name="run_worker")
        thread.start()
    thread.join()
    assert "warning: a worker died: exited with return code 139" in capfd.readouterr().err


def assert_one_written_row_each(job, number):
    """Over all runs: images that the killed run had not reported are restored again."""
    written = job.rows[job.rows.status == "written"]
    assert sorted(written.index) == sorted(files_below(job.output / "images"))
    assert len(written) == number


def contents(directory) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in files_below(directory)}


def assert_whole_images(output):
    """Every file under its final name is complete and decodes."""
    for path in (output / "images").rglob("*"):
        content = path.read_bytes()
        assert content.endswith(b"IEND\xaeB`\x82"), path
        assert cv2.imread(str(path)) is not None
    assert not list(output.glob("metrics/**/*.parquet"))


def assert_nothing_is_left(output, children, temporary, state):
    """The run left no process and no temporary file, and its manifest has its state."""
    assert not [child for child in children if child.is_running()]
    assert not list(temporary.glob("srcnn-beam-*"))
    assert not (output / ".scratch").exists()
    (run,) = (output / "runs").iterdir()
    assert f'"state": "{state}"' in (run / "manifest.json").read_text()
    assert not (run / "_SUCCESS").exists()
