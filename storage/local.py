"""Writes local files, none visible half-written, and none while the process ends."""

import errno
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from storage.errors import OutputFullError, PathError

# Below OUTPUT: what must be on the disk before anything that relies on it. Another file that a
# power loss cuts short is noticed by its size and made again.
_LASTING = ("metrics/", "runs/")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class _Writers:
    """The threads of this process that are writing a local file."""

    def __init__(self):
        self._changed = threading.Condition()
        self._writing: set[int] = set()
        self._last: int | None = None

    @contextmanager
    def registered(self) -> Iterator[None]:
        me = threading.get_ident()
        with self._changed:
            self._changed.wait_for(lambda: self._last in (None, me))
            self._writing.add(me)
        try:
            yield
        finally:
            with self._changed:
                self._writing.discard(me)
                self._changed.notify_all()

    def end(self, seconds: float) -> None:
        me = threading.get_ident()
        with self._changed:
            self._last = me
            self._changed.wait_for(lambda: not self._writing - {me}, seconds)


_writers = _Writers()


def end_writing(seconds: float = 5.0) -> None:
    """Lets no other thread of this process write a local file any more.

    For a process that is about to end: Beam's threads go on while it cleans up behind them.

    Args:
      seconds: the most to wait for files that are being written.
    """
    _writers.end(seconds)


@contextmanager
def draft_local(root: str, scratch: str, path: str) -> Iterator[BinaryIO]:
    """A new file, open for writing, that gets its name below root when the context ends well.

    See OutputStore.write for the errors.

    Args:
      root: OUTPUT.
      scratch: the directory of unfinished files, on the same file system.
      path: below root.
    """
    temporary = os.path.join(scratch, uuid.uuid4().hex)
    try:
        with _writers.registered():
            place = _checked_place(root, path)
            _make_directories(scratch)
            file = open(temporary, "w+b")  # noqa: SIM115 (closed below)
        try:
            with file:
                yield file
                file.flush()
                if path.startswith(_LASTING):
                    os.fsync(file.fileno())
            with _writers.registered():
                _make_directories(place)
                os.replace(temporary, f"{root.rstrip('/')}/{path}")
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
    except OSError as error:
        if error.errno in _FULL:
            raise OutputFullError(f"output: {root!r}: {error.strerror}") from None
        if error.errno != errno.ENAMETOOLONG:
            raise
        message = "the result's name or path is too long for the file system of the output"
        raise OSError(error.errno, message, f"{root}/{path}") from None


def link_or_create(draft: str, path: str, content: bytes) -> bool:
    """Gives a finished local file its name unless that is taken; returns whether it was free."""
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        # No hard links on this file system; its content comes a moment later.
        try:
            with open(path, "xb") as file:
                file.write(content)
        except FileExistsError:
            return False
    return True


def _checked_place(root: str, path: str) -> str:
    """The real directory of a path below root, which no link leads away from."""
    target = f"{root.rstrip('/')}/{path}"
    with suppress(FileNotFoundError, NotADirectoryError):
        os.lstat(target)  # fails for too long a path, before any directory is made
    directory = os.path.dirname(path)
    place = os.path.join(os.path.realpath(root), directory).rstrip("/")
    if os.path.realpath(os.path.dirname(target)) != place:
        raise PathError(f"a link in the output leads elsewhere: {directory}")
    return place


def _make_directories(path: str) -> None:
    """As os.makedirs, but not by recursion, which a deep tree would exhaust."""
    missing, path = [], os.path.realpath(path)
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for directory in reversed(missing):
        try:
            os.mkdir(directory)
        except FileExistsError:  # another worker was quicker
            if not os.path.isdir(directory):
                raise
