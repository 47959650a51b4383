"""Progress: events of many writers, shown by one reader."""

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable

import pytest
from conftest import PATIENCE, ROOT

from pipeline.progress import ProgressFile, ProgressWatcher


def progress_file(tmp_path) -> ProgressFile:
    path = tmp_path / "progress"
    path.touch()
    return ProgressFile(str(path))


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_progress_lines_are_printed_without_a_terminal(tmp_path, capfd):
    file = progress_file(tmp_path)
    for _ in range(3):
        file.add("matched")
    with ProgressWatcher(file, interval=0.05) as watcher:
        file.add("written", 2_000_000)
        file.add("failed")
        wait_until(lambda: watcher.done == 2)
    lines = capfd.readouterr().err.splitlines()
    assert re.match(r"progress: 2 of 3 images, 2\.0 MP, .* MP/s, 1 failed, .* s left", lines[-1])


def test_concurrent_writers_lose_no_events(tmp_path):
    file = progress_file(tmp_path)
    threads = [
        threading.Thread(target=lambda: [file.add("written", 7) for _ in range(200)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    watcher = ProgressWatcher(file)
    for thread in threads:
        thread.join()
    watcher._read()
    assert watcher.done == 1600


def test_progress_bar_is_shown_on_a_terminal(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    file = progress_file(tmp_path)
    file.add("matched")
    with ProgressWatcher(file):
        file.add("written", 500_000)
    err = capfd.readouterr().err
    assert "1/1" in err
    assert "0.5 MP" in err


def test_dumb_terminal_gets_lines(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    file = progress_file(tmp_path)
    file.add("matched")
    with ProgressWatcher(file, interval=0.05) as watcher:
        wait_until(lambda: watcher._counts[b"m"] == 1)
    err = capfd.readouterr().err
    assert "\r" not in err
    assert err.startswith("progress: 0 of 1 images")


_WATCHED = """
import sys
from pipeline.progress import ProgressFile, ProgressWatcher
file = ProgressFile(sys.argv[1])
for _ in range(1234):
    file.add("matched")
with ProgressWatcher(file):
    for _ in range(7):
        file.add("failed")
    for _ in range(500):
        file.add("written", 2_000_000)
"""


@pytest.mark.parametrize("columns", [80, 40])
def test_progress_bar_fits_the_terminal_and_shows_failures(tmp_path, columns):
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-c", _WATCHED, progress_file(tmp_path).path]
    environment = os.environ | {"TERM": "xterm"}
    subprocess.run(command, cwd=ROOT, stderr=theirs, env=environment, check=True, timeout=PATIENCE)
    shown = os.read(ours, 100_000).decode()
    last = re.split(r"[\r\n]+", shown.strip())[-1]
    assert "507/1234" in last
    assert "7 failed" in last
    assert len(last) <= columns
