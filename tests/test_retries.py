"""Temporary storage errors are retried; errors of an image are not."""

import errno
import os
from collections import Counter

import pytest
from conftest import write_images

from storage.store import OutputStore
from transforms import read, stage


@pytest.fixture
def folder(tmp_path, photo, monkeypatch):
    monkeypatch.setattr(stage, "_WAITS", (0.0, 0.0, 0.0))
    write_images(tmp_path / "in", {f"{i}.png": photo[i : i + 40, :50] for i in range(4)})
    return tmp_path / "in"


def failing(function, calls: Counter, times: int, number: int, key: int):
    """The function, failing the first few calls for each name (its argument `key`)."""

    def call(*arguments):
        name = os.path.basename(str(arguments[key]))
        calls[name] += 1
        if name.endswith(".png") and calls[name] <= times:
            raise OSError(number, os.strerror(number))
        return function(*arguments)

    return call


@pytest.mark.parametrize("number", [errno.ETIMEDOUT, errno.ESTALE, errno.EIO])
def test_reading_is_retried_and_reported(run_job, folder, monkeypatch, number):
    calls = Counter()
    monkeypatch.setattr(read, "read_file", failing(read.read_file, calls, 2, number, 0))
    job = run_job("--input", f"{folder}/*.png")
    assert job.code == 0
    assert set(calls.values()) == {3}
    for warnings in job.rows.warnings:
        assert list(warnings) == [f"tried again: {os.strerror(number)}"] * 2
    assert "tried again" in job.out


def test_writing_is_retried(run_job, folder, monkeypatch):
    calls, write = Counter(), OutputStore.write
    monkeypatch.setattr(OutputStore, "write", failing(write, calls, 1, errno.ESTALE, 1))
    job = run_job("--input", f"{folder}/*.png")
    assert (job.code, set(job.rows.status)) == (0, {"written"})
    assert "tried again: Stale file handle" in job.rows.warnings.iloc[0]


def test_persistent_storage_error_is_a_failed_row_retried_by_the_next_run(
    run_job, folder, monkeypatch
):
    calls = Counter()
    with monkeypatch.context() as patch:
        patch.setattr(read, "read_file", failing(read.read_file, calls, 99, errno.ETIMEDOUT, 0))
        job = run_job("--input", f"{folder}/*.png", "--run_id", "a")
    assert job.code == 3
    assert set(job.rows.error_message) == {"Connection timed out"}
    assert set(calls.values()) == {4}
    assert run_job("--input", f"{folder}/*.png", "--run_id", "b").code == 0


def test_bad_image_is_not_retried(run_job, folder, monkeypatch):
    calls = Counter()
    monkeypatch.setattr(read, "read_file", failing(read.read_file, calls, 0, 0, 0))
    (folder / "0.png").write_bytes(b"no image")
    (folder / "1.png").unlink()
    (folder / "1.png").symlink_to("nowhere")
    job = run_job("--input", f"{folder}/*.png")
    assert list(job.rows.status) == ["failed", "failed", "written", "written"]
    assert calls["0.png"] == calls["1.png"] == 1
