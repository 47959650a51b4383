"""Decoders that crash, loop or take all memory cost one image, not the run."""

import signal
import socket
import subprocess
import sys
import textwrap
import threading
from contextlib import suppress

import numpy as np
import psutil
import pytest
from conftest import PATIENCE, ROOT, write_images
from PIL import Image
from support import pillow_file, random_image

from codec import isolated
from codec.decode import decode_image
from codec.errors import ImageError
from codec.isolated import decode_isolated
from codec.picture import Metadata, Picture
from codec.wire import receive_message, receive_picture, send_picture

# Runs first in the decoder's process: a picture whose first pixel has one of these reds
# makes Pillow's PNG decoder misbehave.
SABOTAGE = """
import ctypes, os, time
from PIL import PngImagePlugin

decode = PngImagePlugin.PngImageFile.load

def segfault():
    ctypes.string_at(0)

def loop():
    while True:
        pass

def devour():
    hoard = []
    while True:
        hoard.append(bytearray(os.urandom(1 << 20)) * 64)

def load(image):
    result = decode(image)
    first = image.im.getpixel((0, 0))
    def kill():
        os.kill(os.getpid(), 9)

    def kill_once():
        try:
            os.close(os.open(os.environ["KILLED_ONCE"], os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        kill()

    misdeeds = segfault, os.abort, loop, devour, lambda: os._exit(7), kill, kill_once
    deeds = dict(enumerate(misdeeds, 201))
    if isinstance(first, tuple) and first[1:3] == (1, 2) and first[0] in deeds:
        deeds[first[0]]()
    return result

PngImagePlugin.PngImageFile.load = load
"""
SEGFAULT, ABORT, LOOP, DEVOUR, LEAVE, KILL, KILL_ONCE = range(201, 208)


def sabotaged(deed: int, size: int = 40) -> np.ndarray:
    image = random_image((size, size, 3), seed=deed)
    image[0, 0] = (2, 1, deed)
    return image


def png(image: np.ndarray) -> bytes:
    return pillow_file(Image.fromarray(image[..., ::-1].copy()), "PNG")


@pytest.fixture
def sabotage(tmp_path, monkeypatch):
    """Makes all decoders that start from now on misbehave."""
    place = tmp_path / "sabotage"
    place.mkdir()
    (place / "sitecustomize.py").write_text(textwrap.dedent(SABOTAGE))
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setattr(isolated, "_idle", [])


@pytest.mark.parametrize(
    ("deed", "message"),
    [
        (SEGFAULT, r"the decoder crashed on the file \(SIGSEGV\)"),
        (ABORT, r"the decoder crashed on the file \(SIGABRT\)"),
        (LEAVE, r"the decoder crashed on the file \(exit code 7\)"),
        (LOOP, "decoding exceeded the time limit"),
    ],
)
def test_decoder_crash_is_an_image_error(sabotage, deed, message):
    good = random_image((30, 40, 3))
    for _ in range(1 if deed == LOOP else 2):  # with a used child and with a new one
        np.testing.assert_array_equal(decode_isolated(png(good), 1, 60).pixels, good)
        with pytest.raises(ImageError, match=message):
            decode_isolated(png(sabotaged(deed)), 1, 1 if deed == LOOP else 60)


def test_decoder_that_exhausts_memory_is_stopped(sabotage):
    with pytest.raises((MemoryError, ImageError)):
        decode_isolated(png(sabotaged(DEVOUR)), 1, 60)
    good = random_image((30, 40, 3))
    np.testing.assert_array_equal(decode_isolated(png(good), 1, 60).pixels, good)


def test_decoder_killed_twice_is_an_image_error(sabotage):
    """As the kernel does when memory runs out."""
    with pytest.raises(
        ImageError, match="killed while reading the file, most likely because memory"
    ):
        decode_isolated(png(sabotaged(KILL)), 1, 60)


def test_decoding_is_retried_after_one_kill(sabotage, tmp_path, monkeypatch):
    """The kernel may kill a child for memory that another process used."""
    monkeypatch.setenv("KILLED_ONCE", str(tmp_path / "killed"))
    image = sabotaged(KILL_ONCE)
    np.testing.assert_array_equal(decode_isolated(png(image), 1, 60).pixels, image)
    assert (tmp_path / "killed").exists()


@pytest.mark.slow
def test_run_continues_when_decoders_die(sabotage, tmp_path, run_job):
    good = {f"good/{index}.png": random_image((40, 50, 3), seed=index) for index in range(5)}
    bad = {f"bad/{deed}.png": sabotaged(deed) for deed in range(SEGFAULT, KILL + 1)}
    write_images(tmp_path / "in", good | bad)
    ended = run_job("--input", tmp_path / "in/**/*.png", "--mode", "restore", "--max_seconds", 5)
    assert ended.code == 3
    rows = ended.rows
    assert (rows.loc[list(good), "status"] == "written").all()
    failed = rows.loc[list(bad)]
    assert (failed["status"] == "failed").all()
    assert (failed["stage"] == "read").all()
    assert "SIGSEGV" in failed.loc["bad/201.png", "error_message"]
    assert "memory" in failed.loc["bad/204.png", "error_message"]


def test_decoder_that_does_not_start_is_not_an_image_error(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import os\nos._exit(9)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(isolated, "_idle", [])
    with pytest.raises(RuntimeError, match="did not start: .*exit code 9"):
        decode_isolated(png(random_image((9, 9, 3))), 1, 60)


def test_programming_error_in_the_child_is_raised(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(
        "import codec.decode\ncodec.decode.decode_image = lambda content, limit: 1 / 0\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(isolated, "_idle", [])
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        decode_isolated(png(random_image((9, 9, 3))), 1, 60)


@pytest.mark.parametrize("content", [b"", b"text", png(random_image((60, 60, 3)))[:200]])
def test_refusals_equal_in_process_decoding_and_keep_the_child(content):
    with pytest.raises(ImageError) as expected:
        decode_image(content, 1)
    for _ in range(2):
        with pytest.raises(ImageError) as found:
            decode_isolated(content, 1, 60)
        assert str(found.value) == str(expected.value)
    children = [child._process.pid for child in isolated._idle]
    decode_isolated(png(random_image((9, 9, 3))), 1, 60)
    assert [child._process.pid for child in isolated._idle] == children


def test_size_limit_applies_in_the_child():
    with pytest.raises(ImageError, match="megapixels allowed"):
        decode_isolated(png(random_image((100, 100, 3))), 0.001, 60)


def test_concurrent_threads_use_separate_children(monkeypatch):
    monkeypatch.setattr(isolated, "_idle", [])
    images = [random_image((200, 300, 3), seed=seed) for seed in range(4)]
    wrong = []

    def decode_many(image):
        content = png(image)
        for _ in range(10):
            if not np.array_equal(decode_isolated(content, 1, 60).pixels, image):
                wrong.append(image)

    threads = [threading.Thread(target=decode_many, args=[image]) for image in images]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert 1 <= len(isolated._idle) <= 4


def test_children_end_with_their_parent(tmp_path):
    (tmp_path / "image.png").write_bytes(png(random_image((9, 9, 3))))
    program = """
import os, pathlib, signal, sys
from codec import isolated
isolated.decode_isolated(pathlib.Path(sys.argv[1]).read_bytes(), 1, 60)
print(isolated._idle[0]._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    parent = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "image.png"],
        cwd=ROOT, stdout=subprocess.PIPE, timeout=PATIENCE,
    )  # fmt: skip
    assert parent.returncode == -signal.SIGKILL
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(parent.stdout)).wait(PATIENCE)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (1, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_pictures_are_transferred_unchanged(shape, dtype, has_alpha):
    sent = Picture(
        pixels=random_image(shape, dtype),
        alpha=random_image(shape[:2], dtype, 1) if has_alpha else None,
        format="PNG",
        metadata=Metadata(bytes(range(256)), b"\xff\0x", None, (72.5, 300.0), ((b"gAMA", b"\1"),)),
        notes=("größer", "; "),
        jpeg_tables=((1, 2), (3, 4)),
    )
    here, there = socket.socketpair()
    with here, there:
        sender = threading.Thread(target=send_picture, args=(there, sent))
        sender.start()
        found = receive_picture(here, receive_message(here))
        sender.join()
    np.testing.assert_array_equal(found.pixels, sent.pixels)
    assert found.pixels.dtype == dtype
    if has_alpha:
        np.testing.assert_array_equal(found.alpha, sent.alpha)
    else:
        assert found.alpha is None
    for name in ("format", "metadata", "notes", "jpeg_tables"):
        assert getattr(found, name) == getattr(sent, name)
