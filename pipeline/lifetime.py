"""What a run owns besides its output, and how it lets go of it when it is interrupted."""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

_PROJECT = Path(__file__).resolve().parents[1]
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def leaving_on_signals() -> Iterator[None]:
    """Leaves at once with 128 + signal, while there is nothing to clean yet."""
    before = {number: signal.signal(number, _leave) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Lifetime:
    """A context that ends cleanly on SIGINT and SIGTERM.

    Beam's local runner hangs on a signal while its workers start, and cleans nothing; so the
    handler ends the child processes, removes temporary files and leaves with 128 + signal.

    Attributes:
      temporary: a directory for every temporary file of this process and its children.
      on_interrupt: called by the handler before the files are removed.
    """

    def __init__(self):
        self.temporary = tempfile.mkdtemp(prefix="srcnn-beam-")
        self.on_interrupt: Callable[[], None] = lambda: None
        self._before: dict[str, str | None] = {}
        self._handlers: dict[int, object] = {}

    def __enter__(self):
        # Worker processes import from their working directory; they need the project's.
        path = os.pathsep.join(filter(None, (str(_PROJECT), os.environ.get("PYTHONPATH"))))
        for name, value in (("TMPDIR", self.temporary), ("PYTHONPATH", path)):
            self._before[name] = os.environ.get(name)
            os.environ[name] = value
        tempfile.tempdir = self.temporary
        for number in _SIGNALS:
            self._handlers[number] = signal.signal(number, self._interrupted)
        return self

    def __exit__(self, *_):
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        for name, value in self._before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        tempfile.tempdir = None
        shutil.rmtree(self.temporary, ignore_errors=True)

    def _interrupted(self, number: int, _frame) -> None:
        # A second signal must not cut this short.
        for again in _SIGNALS:
            signal.signal(again, signal.SIG_IGN)
        _announce(number)
        # Beam's threads complain about the workers that end here.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stderr__.fileno())
        _end_children()
        try:
            self.on_interrupt()
        finally:
            shutil.rmtree(self.temporary, ignore_errors=True)
            # Not sys.exit: Beam's threads would keep the process alive.
            os._exit(128 + number)


def _leave(number: int, _frame) -> None:
    _announce(number)
    os._exit(128 + number)


def _announce(number: int) -> None:
    print(f"\ninterrupted by {signal.Signals(number).name}", file=sys.stderr, flush=True)


def _end_children() -> None:
    children = psutil.Process().children(recursive=True)
    for child in children:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(children, timeout=5)
