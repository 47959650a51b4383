"""Decoding in a child process.

A damaged or hostile file can make a decoder crash, loop or take all memory. Python cannot catch
that, so it has to end a child process, and costs that one image.
"""

import os
import signal
import socket
import subprocess
import sys
from io import BufferedIOBase
from typing import Any

from codec.decode import ImageHeader, read_header
from codec.errors import ImageError
from codec.picture import Picture
from codec.readers import BEGINNING, reader_of
from codec.wire import receive_message, receive_picture, send_bytes, send_message
from srcnn.isolated import child_environment


def decode_isolated(content: bytes, max_megapixels: float, max_seconds: float) -> Picture:
    """Decodes an image in a child process, which is kept for the next image.

    Threads that decode at the same time use different children.

    Args:
      content: the file's bytes.
      max_megapixels: larger images are refused before they are decoded.
      max_seconds: limit for decoding; small images have a shorter one.

    Raises:
      ImageError: see codec.decode.decode_image; or the child did not survive the file.
      MemoryError: the picture needs more memory than its size explains.
      RuntimeError: a programming error in the child.
    """
    return _ask(content, max_megapixels=max_megapixels, max_seconds=max_seconds)


def read_header_isolated(stream: BufferedIOBase) -> ImageHeader:
    """Reads an image's header, in a child process if the format's library may crash on it.

    Args:
      stream: an open binary file that can seek.

    Raises:
      ImageError: see codec.decode.read_header; or the child did not survive the file.
      RuntimeError: a programming error in the child.
    """
    may_crash = reader_of(stream.read(BEGINNING)).may_crash
    stream.seek(0)
    if not may_crash:
        return read_header(stream)
    return _ask(stream.read(), header_only=True)


def _ask(content: bytes, **request: float) -> Picture | ImageHeader:
    try:
        return _ask_once(content, request)
    except _KilledError:
        # Another process may have taken the memory.
        return _ask_once(content, request)


def _ask_once(content: bytes, request: dict[str, float]) -> Picture | ImageHeader:
    try:
        child = _idle.pop()
    except IndexError:
        child = _Child()
    try:
        return child.ask(content, request)
    finally:
        if child.idle:
            _idle.append(child)


class _KilledError(ImageError):
    """The child was killed from outside."""


class _Child:
    """A running `codec.worker` and the socket that leads to it; ends when the socket closes."""

    def __init__(self):
        self._link, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "codec.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # libraries print warnings about odd files
                env=child_environment(),
            )
        try:
            answer = receive_message(self._link)
        except (EOFError, ConnectionError):
            message = f"the decoder's process did not start: {self._end()}"
            raise RuntimeError(message) from None
        _raise_bug(answer)
        self.idle = True

    def ask(self, content: bytes, request: dict[str, float]) -> Picture | ImageHeader:
        """The child's answer for a file; the request holds options of codec.worker."""
        self.idle = False  # until the answer is here
        try:
            send_message(self._link, request)
            send_bytes(self._link, content)
            answer = receive_message(self._link)
            picture = receive_picture(self._link, answer) if "dtype" in answer else None
        except (EOFError, ConnectionError):
            raise self._end() from None
        _raise_bug(answer)
        self.idle = True
        if "out_of_memory" in answer:
            raise MemoryError(answer["out_of_memory"])
        if "refused" in answer:
            raise ImageError(answer["refused"])
        return ImageHeader(**answer["header"]) if "header" in answer else picture

    def _end(self) -> ImageError:
        """Waits for a child that closed its socket; returns the error with the reason."""
        code = self._process.wait()
        self._link.close()
        if code == -signal.SIGALRM:
            return ImageError("decoding exceeded the time limit (--max_seconds)")
        if code == -signal.SIGKILL:
            return _KilledError(
                "the decoder was killed while reading the file, most likely because memory ran out"
            )
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return ImageError(f"the decoder crashed on the file ({name})")


def _raise_bug(answer: dict[str, Any]) -> None:
    if "bug" in answer:
        raise RuntimeError(f"the decoder's process failed:\n{answer['bug']}")


# Children that wait for a file. A forked process must not use its parent's.
_idle: list[_Child] = []
os.register_at_fork(after_in_child=_idle.clear)
