"""A run that is interrupted or killed leaves nothing half-written and nothing running."""

import signal
import tempfile
import time
from pathlib import Path

import cv2
import psutil
import pytest
from conftest import files_below, start_job, write_images

IMAGES = 60


@pytest.fixture
def folder(tmp_path, photo):
    write_images(tmp_path / "in", {f"{i:03}.png": photo for i in range(IMAGES)})
    return tmp_path / "in"


def run_in_background(folder, output, weights, *more):
    return start_job(
        "--input", f"{folder}/*.png", "--output", output, "--weights", weights,
        "--comparisons", "none", *more,
    )  # fmt: skip


def wait_for_images(process, output, number=3, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()
        if len(list((output / "images").glob("*.png"))) >= number:
            return
        time.sleep(0.02)
    pytest.fail("no image was written in time")


def temporary_directories() -> set[str]:
    return {str(p) for p in Path(tempfile.gettempdir()).glob("srcnn-beam-*")}


MODES = {
    "in_memory": [],
    "multi_processing": [
        "--direct_num_workers", "2", "--direct_running_mode", "multi_processing",
    ],
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_everything(folder, tmp_path, tiny_weights, mode, number, code):
    output, before = tmp_path / "out", temporary_directories()
    process = run_in_background(folder, output, tiny_weights, *MODES[mode])
    wait_for_images(process, output)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert "interrupted" in err
    assert "Traceback" not in err
    assert not [child for child in children if child.is_running()]
    assert temporary_directories() == before
    assert not (output / ".scratch").exists()
    (run,) = (output / "runs").iterdir()
    assert '"state": "interrupted"' in (run / "manifest.json").read_text()
    assert not (run / "_SUCCESS").exists()
    assert_whole_images(output)


@pytest.mark.parametrize("delay", [0.5, 2.0, 4.0])
def test_a_signal_during_start_up_ends_everything(folder, tmp_path, tiny_weights, delay):
    before = temporary_directories()
    process = run_in_background(folder, tmp_path / "out", tiny_weights, *MODES["multi_processing"])
    time.sleep(delay)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert not [child for child in children if child.is_running()]
    assert temporary_directories() == before


@pytest.mark.parametrize("number", [1, 7, 20])
def test_sigkill_leaves_only_whole_files_and_the_next_run_completes(
    folder, tmp_path, tiny_weights, number, run_job
):
    output = tmp_path / "out"
    process = run_in_background(folder, output, tiny_weights)
    wait_for_images(process, output, number)
    process.kill()
    process.communicate(timeout=30)
    assert_whole_images(output)
    undisturbed = run_job("--input", f"{folder}/*.png", output=tmp_path / "undisturbed")
    again = run_job("--input", f"{folder}/*.png", output=output)
    assert again.code == 0
    assert files_below(output / "images") == files_below(undisturbed.output / "images")
    for name in files_below(output / "images"):
        assert (output / "images" / name).read_bytes() == (
            undisturbed.output / "images" / name
        ).read_bytes()
    assert list(again.rows.status) == ["written"] * IMAGES


def assert_whole_images(output):
    """Everything under a final name decodes and is complete."""
    for path in (output / "images").rglob("*"):
        content = path.read_bytes()
        assert content.endswith(b"IEND\xaeB`\x82"), path
        assert cv2.imread(str(path)) is not None
    assert not list(output.glob("metrics/**/*.parquet"))
