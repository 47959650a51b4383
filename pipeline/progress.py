"""Progress of a run on this machine: workers append fixed-size events, the main process watches.

A file opened with O_APPEND is the one channel that threads and worker processes share with the
process that waits, while Beam's local runner blocks it.
"""

import os
import struct
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass

from tqdm import tqdm

_EVENT = struct.Struct("<cQ")  # kind, pixels: 9 bytes, appended at once
_KINDS = {"matched": b"m", "written": b"w", "failed": b"f", "skipped": b"s"}
_NAMES = {code: name for name, code in _KINDS.items()}
# What matters most first: a narrow terminal cuts the end.
_BAR = "{percentage:3.0f}% {bar} {n_fmt}/{total_fmt} [{elapsed}<{remaining}]{postfix}"


@dataclass(frozen=True)
class ProgressFile:
    """The file of events.

    Attributes:
      path: a local file that exists.
    """

    path: str

    def add(self, kind: str, pixels: int = 0) -> None:
        """Appends one event: `matched`, `written`, `failed` or `skipped`."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, _EVENT.pack(_KINDS[kind], pixels))
        finally:
            os.close(descriptor)


class ProgressWatcher:
    """Shows the events of a progress file until stopped: a bar, or lines where no terminal is.

    Args:
      file: the file of events.
      interval: seconds between lines where there is no terminal.
    """

    def __init__(self, file: ProgressFile, interval: float = 30.0):
        self._file = file
        self._interval = interval
        self._counts: Counter = Counter()
        self._pixels = 0
        self._offset = 0
        self._started = time.monotonic()
        self._stop = threading.Event()
        # A dumb terminal cannot go back to the beginning of a line.
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
        """Images finished so far, whatever their end."""
        return sum(self._counts[kind] for kind in ("written", "failed", "skipped"))

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
        bar.total = self._counts["matched"] or None
        bar.n = self.done
        bar.set_postfix_str(f"{self._counts['failed']} failed, {self._megapixels()}")

    def _line(self) -> str:
        total = self._counts["matched"]
        seconds = time.monotonic() - self._started
        eta = f", {seconds / self.done * (total - self.done):.0f} s left" if self.done else ""
        return (
            f"progress: {self.done} of {total} images, {self._megapixels()}, "
            f"{self._counts['failed']} failed, {seconds:.0f} s{eta}"
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
            self._counts[_NAMES[kind]] += 1
            self._pixels += pixels
        self._offset += whole
