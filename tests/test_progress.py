"""Progress: events of many writers, seen by one reader."""

import re
import threading
import time

from pipeline.progress import ProgressFile, ProgressWatcher


def progress_file(tmp_path) -> ProgressFile:
    path = tmp_path / "progress"
    path.touch()
    return ProgressFile(str(path))


def test_lines_where_there_is_no_terminal(tmp_path, capfd):
    file = progress_file(tmp_path)
    for _ in range(3):
        file.add("matched")
    with ProgressWatcher(file, interval=0.05):
        file.add("written", 2_000_000)
        file.add("failed")
        time.sleep(0.3)
    lines = capfd.readouterr().err.splitlines()
    assert re.match(r"progress: 2 of 3 images, 2\.0 MP, .* MP/s, 1 failed, .* s left", lines[-1])


def test_many_writers_lose_nothing(tmp_path):
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


def test_a_bar_on_a_terminal(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    file = progress_file(tmp_path)
    file.add("matched")
    with ProgressWatcher(file):
        file.add("written", 500_000)
        time.sleep(0.4)
    err = capfd.readouterr().err
    assert "1/1" in err
    assert "0.5 MP" in err


def test_a_dumb_terminal_gets_lines(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    file = progress_file(tmp_path)
    file.add("matched")
    with ProgressWatcher(file, interval=0.05):
        time.sleep(0.3)
    err = capfd.readouterr().err
    assert "\r" not in err
    assert err.startswith("progress: 0 of 1 images")
