"""Signals, child processes and temporary files of a run, and its end when it is interrupted."""

import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import psutil

from pipeline.errors import ExitCode

_PROJECT = Path(__file__).resolve().parents[2]
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_GRACE = 2.0


@contextmanager
def _handling_signals(handler: Callable) -> Iterator[None]:
    """A context with a handler for SIGINT and SIGTERM, which restores the handlers of before."""
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def leaving_on_signals() -> AbstractContextManager[None]:
    """A context in which a signal ends child processes and the process, with 128 + signal."""
    return _handling_signals(_leave)


class Lifetime:
    """A context that ends cleanly on SIGINT and SIGTERM, and when one of Beam's workers dies.

    Beam's local runner hangs on a signal while its workers start, waits for ever when a worker is
    lost, and cleans nothing up. Here child processes are killed, temporary files removed, and the
    exit code is 128 + signal or 1.

    Args:
      fatal_threads: names of threads that fail when a worker has died.
      ignored_threads: names of threads whose failure is reported elsewhere.

    Attributes:
      temporary: directory of all temporary files of this process and its children.
      before_end: called first, while the child processes live.
      on_end: called with `interrupted` or `failed` before the files are removed.
    """

    def __init__(self, fatal_threads: Sequence[str] = (), ignored_threads: Sequence[str] = ()):
        self.temporary = tempfile.mkdtemp(prefix="srcnn-beam-")
        self.before_end: Callable[[], None] = lambda: None
        self.on_end: Callable[[str], None] = lambda state: None
        self._fatal_threads = fatal_threads
        self._ignored_threads = ignored_threads
        self._before: dict[str, str | None] = {}
        self._handling = _handling_signals(self._interrupted)
        self._thread_hook: Callable = threading.excepthook
        self._over = threading.Event()
        self._ending = threading.Lock()

    def __enter__(self):
        # Worker processes import from their working directory; they need the project's.
        path = os.pathsep.join(filter(None, (str(_PROJECT), os.environ.get("PYTHONPATH"))))
        for name, value in (("TMPDIR", self.temporary), ("PYTHONPATH", path)):
            self._before[name] = os.environ.get(name)
            os.environ[name] = value
        tempfile.tempdir = self.temporary
        self._handling.__enter__()
        threading.excepthook = self._thread_failed
        return self

    def __exit__(self, *_):
        self._over.set()
        threading.excepthook = self._thread_hook
        self._handling.__exit__(None, None, None)
        for name, value in self._before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        tempfile.tempdir = None
        shutil.rmtree(self.temporary, ignore_errors=True)

    @contextmanager
    def deferring(self) -> Iterator[None]:
        """A context in which a signal waits for its end; a second one does not.

        Afterwards the handlers are those of this class again, even if Beam has set others.
        """
        pending: list[int] = []

        def defer(number: int, frame) -> None:
            if pending:
                self._interrupted(number, frame)
            pending.append(number)

        try:
            with _handling_signals(defer):
                yield
        finally:
            if pending:
                self._interrupted(pending[0], None)

    def _interrupted(self, number: int, _frame) -> None:
        # A second signal must not interrupt this.
        for again in _SIGNALS:
            signal.signal(again, signal.SIG_IGN)
        _announce(number)
        self._end("interrupted", 128 + number)

    def _thread_failed(self, failure: threading.ExceptHookArgs) -> None:
        name = failure.thread.name if failure.thread else ""
        if name in self._ignored_threads:
            return
        if name not in self._fatal_threads:
            self._thread_hook(failure)
            return
        if self._ending.locked():
            return
        print(f"\nwarning: a worker died: {failure.exc_value}", file=sys.stderr, flush=True)
        # If all work is done, the run ends by itself.
        if not self._over.wait(_GRACE):
            self.fail(
                "the job crashed: a worker died; run it again, with --direct_num_workers 1 if "
                "memory ran out"
            )

    def fail(self, why: str) -> None:
        """Ends the process from any thread."""
        self._end("failed", ExitCode.CRASHED, f"\nerror: {why}\n")

    def _end(self, state: str, code: int, last_words: str = "") -> None:
        """Ends the process, unless another thread does."""
        if not self._ending.acquire(blocking=False):
            return
        self.before_end()
        # Silences Beam's threads, which complain about the workers that end here.
        terminal = os.dup(sys.__stderr__.fileno())
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stderr__.fileno())
        os.write(terminal, last_words.encode())
        _kill([*_children(), *self._orphans()])
        try:
            self.on_end(state)
        finally:
            shutil.rmtree(self.temporary, ignore_errors=True)
            # Not sys.exit: Beam's threads would keep the process alive.
            os._exit(code)

    def _orphans(self) -> Iterator[psutil.Process]:
        """Processes of this run without a parent, found by their temporary directory."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("TMPDIR") == self.temporary:
                    yield process


def _leave(number: int, _frame) -> None:
    _announce(number)
    _kill(_children())  # such as the one that parses weights
    os._exit(128 + number)


def _children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=5)


def _announce(number: int) -> None:
    print(f"\ninterrupted by {signal.Signals(number).name}", file=sys.stderr, flush=True)
