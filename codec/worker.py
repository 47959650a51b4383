"""The child that decodes, started by codec.isolated: `python -m codec.worker DESCRIPTOR`.

It ends, instead of the job, when a decoder crashes, takes too long (by an alarm) or takes too much
memory (by a limit, or killed by the kernel).
"""

import math
import os
import resource
import signal
import socket
import sys
import traceback
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import cv2

from codec.decode import decode_image, read_header
from codec.errors import ImageError
from codec.picture import Picture
from codec.wire import receive_bytes, receive_message, send_message, send_picture

# For the header, and for each megapixel beyond that: JPEG 2000 and AVIF are slow.
_SECONDS = 30
_SECONDS_PER_MEGAPIXEL = 5
# Beyond the child's memory at its start.
_BYTES = 512 * 1024 * 1024
_BYTES_PER_PIXEL = 48  # 16-bit samples of four channels, converted and turned
_BYTES_PER_BYTE = 4  # of the file


def serve(link: socket.socket) -> None:
    """Decodes one file after another until the other side is gone."""
    cv2.setNumThreads(1)  # the network uses the other cores
    held = _data_bytes()
    send_message(link, {"ready": True})
    while True:
        try:
            limits = receive_message(link)
            content = bytes(receive_bytes(link))
        except (EOFError, ConnectionError):
            return
        # A function, so that nothing of this file is held while the next one is awaited.
        _serve_one(link, content, held + _BYTES + _BYTES_PER_BYTE * len(content), **limits)
        del content


def _serve_one(
    link: socket.socket,
    content: bytes,
    data_bytes: int,
    max_megapixels: float = math.inf,
    max_seconds: float = math.inf,
    header_only: bool = False,
) -> None:
    """Answers with the picture or the header, or with the reason why there is none."""
    try:
        _set_limits(min(_SECONDS, max_seconds), data_bytes)
        header = read_header(content)
        if header_only:
            answer = {"header": asdict(header)}
        else:
            megapixels = min(header.megapixels, max_megapixels)
            seconds = _SECONDS + _SECONDS_PER_MEGAPIXEL * megapixels
            data_bytes += int(_BYTES_PER_PIXEL * megapixels * 1e6)
            _set_limits(min(seconds, max_seconds), data_bytes)
            answer = decode_image(content, max_megapixels)
    except ImageError as error:
        answer = {"refused": str(error)}
    except MemoryError as error:
        answer = {"out_of_memory": str(error)}
    finally:
        _set_limits(0, resource.RLIM_INFINITY)
    if isinstance(answer, Picture):
        send_picture(link, answer)
    else:
        send_message(link, answer)


def _set_limits(seconds: float, data_bytes: int) -> None:
    """Sets the alarm (0: none), which ends the process, and the memory limit."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if hard != resource.RLIM_INFINITY:
        data_bytes = hard if data_bytes == resource.RLIM_INFINITY else min(data_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (data_bytes, hard))


def _data_bytes() -> int:
    """The bytes that RLIMIT_DATA counts of this process now; 0 where the system gives none."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    return 0


def main(descriptor: int) -> int:
    """Serves the socket of that number."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the job ends its children itself
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        # When memory runs out, the kernel should kill this process before the job, but not before
        # another process that has taken a third of it.
        Path("/proc/self/oom_score_adj").write_text("300")
    link = socket.socket(fileno=descriptor)
    try:
        serve(link)
    except BrokenPipeError:
        return 0  # the job is gone
    except Exception:
        send_message(link, {"bug": traceback.format_exc()})
        return 1
    return 0


if __name__ == "__main__":
    code = main(int(sys.argv[1]))
    os._exit(code)  # skips the libraries' exit handlers
