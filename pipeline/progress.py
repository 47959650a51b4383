"""Progress of a run on this machine: workers append events to a file, the main process reads them.

Threads and worker processes alike can append to a file opened with O_APPEND, while Beam's local
runner blocks the main thread.
"""

import os
import struct
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass

from tqdm import tqdm

_EVENT = struct.Struct("<cQ")  # first letter of the kind, pixels: 9 bytes, appended by one write
# The most important part first: a narrow terminal cuts the end.
_BAR = "{percentage:3.0f}% {bar} {n_fmt}/{total_fmt} [{elapsed}<{remaining}]{postfix}"


@dataclass(frozen=True)
class ProgressFile:
    """The file of events, an existing local file."""

    path: str

    def add(self, kind: str, pixels: int = 0) -> None:
        """Appends one event: `matched`, `written`, `failed` or `skipped`."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, _EVENT.pack(kind[:1].encode(), pixels))
        finally:
            os.close(descriptor)


class ProgressWatcher:
    """A context that shows the progress: as a bar on a terminal, else a line every `interval` s."""

    def __init__(self, file: ProgressFile, interval: float = 30.0):
        self._file = file
        self._interval = interval
        self._counts: Counter = Counter()
        self._pixels = 0
        self._offset = 0
        self._started = time.monotonic()
        self._stop = threading.Event()
        # A dumb terminal cannot return to the beginning of a line.
        self._terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    @property
    def done(self) -> int:
        """Images finished so far: written, failed or skipped."""
        return sum(self._counts[kind] for kind in (b"w", b"f", b"s"))

    def _watch(self) -> None:
        if self._terminal:
            with tqdm(total=0, dynamic_ncols=True, leave=True, bar_format=_BAR) as bar:
                while not self._stop.wait(0.2):
                    self._refresh(bar)
                self._refresh(bar)
            return
        while not self._stop.wait(self._interval):
            self._read()
            print(self._line(), file=sys.stderr, flush=True)

    def _refresh(self, bar: tqdm) -> None:
        self._read()
        bar.total = self._counts[b"m"] or None
        bar.n = self.done
        bar.set_postfix_str(f"{self._counts[b'f']} failed, {self._megapixels()}")

    def _line(self) -> str:
        total = self._counts[b"m"]
        seconds = time.monotonic() - self._started
        eta = f", {seconds / self.done * (total - self.done):.0f} s left" if self.done else ""
        return (
            f"progress: {self.done} of {total} images, {self._megapixels()}, "
            f"{self._counts[b'f']} failed, {seconds:.0f} s{eta}"
        )

    def _megapixels(self) -> str:
        seconds = max(time.monotonic() - self._started, 1e-9)
        return f"{self._pixels / 1e6:.1f} MP, {self._pixels / 1e6 / seconds:.2f} MP/s"

    def _read(self) -> None:
        with open(self._file.path, "rb") as events:
            events.seek(self._offset)
            content = events.read()
        whole = len(content) - len(content) % _EVENT.size
        for kind, pixels in _EVENT.iter_unpack(content[:whole]):
            self._counts[kind] += 1
            self._pixels += pixels
        self._offset += whole
