"""Files are written whole or not at all."""

import errno
import os
import threading
from pathlib import Path

import pytest
from conftest import PATIENCE, files_below

from storage import local
from storage.errors import OutputFullError, PathError
from storage.store import OutputStore, read_file


@pytest.fixture
def store(tmp_path):
    return OutputStore(str(tmp_path / "out"), "run")


def test_write_creates_directories_and_replaces(store, tmp_path):
    assert store.write("a/b/c.bin", b"one") == f"{tmp_path}/out/a/b/c.bin"
    store.write("a/b/c.bin", b"two")
    assert store.read("a/b/c.bin") == b"two"
    store.clean()
    assert files_below(tmp_path) == {"out/a/b/c.bin"}
    assert not (tmp_path / "out/.scratch").exists()


@pytest.mark.parametrize(("step", "name"), [("replace", "a.bin"), ("mkdir", "new/a.bin")])
def test_failed_write_keeps_the_old_file_and_leaves_nothing_else(
    store, tmp_path, monkeypatch, step, name
):
    store.write("a.bin", b"old")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OutputFullError, match="No space left"):
        store.write(name, b"new")
    monkeypatch.undo()
    assert files_below(tmp_path) == {"out/a.bin"}
    assert store.read("a.bin") == b"old"


@pytest.mark.parametrize("path", ["../x.bin", "a/../../x.bin", "link/x.bin", "link/new/x.bin"])
def test_nothing_is_written_outside_the_output(store, tmp_path, path):
    store.write("a/x.bin", b"")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out/link").symlink_to(tmp_path / "elsewhere")
    store.clean()
    with pytest.raises(PathError, match="leads elsewhere"):
        store.write(path, b"")
    assert files_below(tmp_path) == {"out/a/x.bin"}


def test_cleaning_one_run_keeps_other_runs_files(tmp_path):
    mine, other = (OutputStore(str(tmp_path), name) for name in ("mine", "other"))
    for store in (mine, other):
        os.makedirs(store.scratch)
        (tmp_path / ".scratch" / store.run_id / "half").touch()
    mine.clean()
    assert files_below(tmp_path) == {".scratch/other/half"}


def test_ending_process_waits_for_running_writes_and_blocks_new_ones(store, monkeypatch):
    writers = local._Writers()
    monkeypatch.setattr(local, "_writers", writers)
    begun, go_on, replace = threading.Event(), threading.Event(), os.replace

    def slow(*names):
        begun.set()
        assert go_on.wait(PATIENCE)
        replace(*names)

    monkeypatch.setattr(os, "replace", slow)
    first = threading.Thread(target=store.write, args=("first.bin", b"1"), daemon=True)
    first.start()
    assert begun.wait(PATIENCE)
    threading.Timer(0.3, go_on.set).start()
    local.end_writing()
    assert store.read("first.bin") == b"1"
    late = threading.Thread(target=store.write, args=("late.bin", b"2"), daemon=True)
    late.start()
    late.join(0.3)
    assert late.is_alive()
    store.write("own.bin", b"3")
    store.clean()
    assert files_below(Path(store.root)) == {"first.bin", "own.bin"}


def test_hanging_write_does_not_block_the_end_of_a_process(store, monkeypatch):
    monkeypatch.setattr(local, "_writers", local._Writers())
    hang, hanging = threading.Event(), threading.Event()
    monkeypatch.setattr(os, "replace", lambda *_: hanging.set() or hang.wait())
    threading.Thread(target=store.write, args=("a.bin", b""), daemon=True).start()
    assert hanging.wait(PATIENCE)
    local.end_writing(0.1)


def test_reading_a_directory_pipe_or_missing_file_is_an_error(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PathError, match="directory"):
        read_file(str(tmp_path))
    with pytest.raises(PathError, match="regular"):
        read_file(str(tmp_path / "pipe"))
    with pytest.raises(FileNotFoundError):
        read_file(str(tmp_path / "nothing"))
