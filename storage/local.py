"""Writes local files: never visible half-written, and none while the process ends."""

import errno
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from storage.errors import OutputFullError, PathError

# Directories below OUTPUT whose files are synced to disk. Other files that a power loss cuts short
# are detected by their size and written again.
_SYNCED = ("metrics/", "runs/")
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
    """Stops all other threads of this process from writing local files.

    For a process that is about to end: Beam's threads continue while it cleans up. Files that are
    being written get some seconds to finish.
    """
    _writers.end(seconds)


@contextmanager
def draft_local(root: str, scratch: str, path: str) -> Iterator[BinaryIO]:
    """A new file, open for writing, which is renamed to a path below root when the context ends.

    Until then it is in `scratch`, on the same file system. See OutputStore.write for the errors.
    """
    temporary = os.path.join(scratch, uuid.uuid4().hex)
    try:
        with _writers.registered():
            directory = _checked_directory(root, path)
            _make_directories(scratch)
            file = open(temporary, "w+b")  # noqa: SIM115 (closed below)
        try:
            with file:
                yield file
                file.flush()
                if path.startswith(_SYNCED):
                    os.fsync(file.fileno())
            with _writers.registered():
                _make_directories(directory)
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
    """Names a finished local file unless the name is taken; returns whether it was free."""
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        # This file system has no hard links: the content follows the name by a moment.
        try:
            with open(path, "xb") as file:
                file.write(content)
        except FileExistsError:
            return False
    return True


def _checked_directory(root: str, path: str) -> str:
    """The real directory of a path below root; a PathError where a link leads elsewhere."""
    target = f"{root.rstrip('/')}/{path}"
    with suppress(FileNotFoundError, NotADirectoryError):
        os.lstat(target)  # a path that is too long fails before any directory is made
    parent = os.path.dirname(path)
    directory = os.path.join(os.path.realpath(root), parent).rstrip("/")
    if os.path.realpath(os.path.dirname(target)) != directory:
        raise PathError(f"a link in the output leads elsewhere: {parent}")
    return directory


def _make_directories(path: str) -> None:
    """Like os.makedirs, but without recursion, whose limit a deep tree would exceed."""
    missing, path = [], os.path.realpath(path)
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for directory in reversed(missing):
        try:
            os.mkdir(directory)
        except FileExistsError:  # another worker made it
            if not os.path.isdir(directory):
                raise
