"""Reads and writes whole files, locally and on object stores, none visible half-written."""

import errno
import glob
import os
import shutil
import stat
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

from codec.errors import ImageError
from srcnn.files import read_regular
from transforms.globs import find_objects
from transforms.objects import (
    delete_object,
    list_objects,
    look_at,
    open_object,
    read_object,
    read_small_object,
    write_object,
)


def is_local(uri: str) -> bool:
    """Whether a path or URI is on the local file system."""
    return "://" not in uri


def lies_within(path: str, directory: str) -> bool:
    """Whether a local path, links followed, is a directory or something below it."""
    real, root = os.path.realpath(path), os.path.realpath(directory)
    return real == root or real.startswith(root.rstrip("/") + "/")


def is_gone(uri: str) -> bool:
    """Whether there surely is no file of that name; False where that cannot be found out."""
    try:
        if not is_local(uri):
            return look_at(uri) is None
        os.lstat(uri)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def open_file(uri: str) -> BinaryIO:
    """Opens a file for reading.

    Raises:
      ImageError: it is a directory, or a device or pipe that could block for ever.
      OSError: it cannot be read.
      StoreError: its store cannot be used.
    """
    if not is_local(uri):
        return open_object(uri)
    kind = os.stat(uri).st_mode
    if stat.S_ISDIR(kind):
        raise ImageError("is a directory, not an image; use ** to reach the images in it")
    if not stat.S_ISREG(kind):
        raise ImageError("is not a regular file")
    return open(uri, "rb")


def read_file(uri: str) -> bytes:
    """The content of a file; see open_file for the errors."""
    if not is_local(uri):
        return read_object(uri)
    with open_file(uri) as file:
        return file.read()


def read_small(uri: str | os.PathLike, limit: int) -> bytes:
    """The content of a file of at most `limit` bytes; see read_regular and read_small_object."""
    uri = os.fspath(uri)
    return read_regular(uri, limit) if is_local(uri) else read_small_object(uri, limit)


class OutputFullError(Exception):
    """Nothing can be written to OUTPUT any more. No image's own error: it ends the run."""


# Below OUTPUT: what must be on the disk before anything that relies on it. An image that a power
# loss cuts short is noticed by its size and made again.
_LASTING = ("metrics/", "runs/")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class _Writers:
    """The threads of this process that are writing a local file."""

    def __init__(self):
        self._changed = threading.Condition()
        self._writing: set[int] = set()
        self._last: int | None = None

    @contextmanager
    def one_more(self) -> Iterator[None]:
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


@dataclass(frozen=True)
class OutputStore:
    """The place that a run writes to.

    Local files are written under a name of their own in the run's scratch directory, on the same
    file system, and renamed; so one directory holds whatever an interrupted run leaves. Object
    stores make a single put visible at once by themselves.

    Attributes:
      root: OUTPUT, a directory or URI.
      run_id: the run, which names the scratch directory.
    """

    root: str
    run_id: str

    @property
    def scratch(self) -> str:
        """The directory of files that are not finished."""
        return os.path.join(self.root, ".scratch", self.run_id)

    def uri(self, path: str) -> str:
        """Where a path below OUTPUT is."""
        return f"{self.root.rstrip('/')}/{path}"

    def write(self, path: str, content: bytes) -> str:
        """Writes a file whole or not at all and returns its URI.

        A link of that name is replaced, not followed.

        Raises:
          ImageError: a directory on its path is a link.
          OutputFullError: there is no room, or no file system any more that can be written.
          OSError: it could not be written; a former file of that name stands untouched.
          StoreError: the store cannot be used.
        """
        uri = self.uri(path)
        if not is_local(self.root):
            write_object(uri, content)
            return uri
        try:
            with _writers.one_more():
                self._write_local(path, content)
        except OSError as error:
            if error.errno in _FULL:
                raise OutputFullError(f"output: {self.root!r}: {error.strerror}") from None
            if error.errno != errno.ENAMETOOLONG:
                raise
            message = "the result's name or path is too long for the file system of the output"
            raise OSError(error.errno, message, uri) from None
        return uri

    def create(self, path: str, content: bytes) -> bool:
        """Makes a file at one stroke; returns whether there was none.

        Object stores that know no conditions write over one that is there.

        Raises:
          OSError, OutputFullError, StoreError: see write.
        """
        if not is_local(self.root):
            return write_object(self.uri(path), content, only_new=True)
        draft = f"{path}.{uuid.uuid4().hex}"
        self.write(draft, content)
        try:
            os.link(self.uri(draft), self.uri(path))
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
                raise
            # No hard links on this file system; its content comes a moment later.
            try:
                with open(self.uri(path), "xb") as file:
                    file.write(content)
            except FileExistsError:
                return False
        finally:
            self.delete(draft)
        return True

    def _write_local(self, path: str, content: bytes) -> None:
        uri = self.uri(path)
        with suppress(FileNotFoundError, NotADirectoryError):
            os.lstat(uri)  # fails for too long a path, before any directory is made
        directory = os.path.dirname(path)
        place = os.path.join(os.path.realpath(self.root), directory).rstrip("/")
        if os.path.realpath(os.path.dirname(uri)) != place:
            raise ImageError(f"a link in the output leads elsewhere: {directory}")
        _make_directories(place)
        _make_directories(self.scratch)
        temporary = os.path.join(self.scratch, uuid.uuid4().hex)
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                if path.startswith(_LASTING):
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(temporary, uri)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise

    def read(self, path: str) -> bytes:
        """The content of a file below OUTPUT."""
        return read_file(self.uri(path))

    def glob(self, pattern: str) -> list[str]:
        """Paths below OUTPUT that match a glob, in order; `*` stays within a directory."""
        if is_local(self.root):
            return sorted(glob.glob(pattern, root_dir=self.root))
        found = find_objects(self.uri(pattern))
        return sorted(stored.uri[len(self.uri("")) :] for stored in found)

    def size(self, path: str) -> int | None:
        """Bytes of a file below OUTPUT, or None if it is not there."""
        if is_local(self.root):
            try:
                return os.stat(self.uri(path)).st_size
            except (FileNotFoundError, NotADirectoryError):
                return None
        found = look_at(self.uri(path))
        return found.size if found else None

    def sizes(self, directory: str) -> Iterator[tuple[str, int]]:
        """Path and bytes of all that an object store has below a directory of OUTPUT."""
        for stored in list_objects(self.uri(f"{directory}/")):
            yield stored.uri[len(self.uri("")) :], stored.size

    def delete(self, path: str) -> None:
        """Removes a file below OUTPUT, if it is there."""
        if not is_local(self.root):
            delete_object(self.uri(path))
            return
        with suppress(FileNotFoundError):
            os.unlink(self.uri(path))

    def delete_directory(self, path: str) -> None:
        """Removes a directory of files below OUTPUT, if it is there."""
        for file in self.glob(f"{path}/*"):
            self.delete(file)
        if is_local(self.root):
            with suppress(FileNotFoundError):
                os.rmdir(self.uri(path))

    def clean(self, everything: bool = False) -> None:
        """Removes what is not finished; of all runs if everything."""
        if is_local(self.root):
            scratch = os.path.dirname(self.scratch) if everything else self.scratch
            shutil.rmtree(scratch, ignore_errors=True)
            with suppress(OSError):  # another run is at work, or there is none
                os.rmdir(os.path.dirname(self.scratch))


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
