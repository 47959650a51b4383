"""Reads and writes whole files, locally and on object stores, none visible half-written."""

import errno
import glob
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

from srcnn.files import read_regular
from storage.errors import OutputFullError, PathError
from storage.globs import find_objects
from storage.local import draft_local, link_or_create
from storage.objects import (
    READ_AHEAD,
    Stored,
    delete_object,
    list_objects,
    open_object,
    read_object,
    stat_object,
    upload_object,
    write_object,
)


def is_local(uri: str) -> bool:
    """Whether a path or URI is on the local file system."""
    return "://" not in uri


def lies_within(path: str, directory: str) -> bool:
    """Whether a local path, links followed, is a directory or something below it."""
    real, root = os.path.realpath(path), os.path.realpath(directory)
    return real == root or real.startswith(root.rstrip("/") + "/")


def stat_file(uri: str) -> Stored:
    """Size and time of modification of a file.

    Raises:
      OSError: it is not there, cannot be looked at, or nothing here can read such a URI.
      StoreError: its store cannot be used.
    """
    if not is_local(uri):
        return stat_object(uri)
    status = os.stat(uri)
    return Stored(uri, status.st_size, status.st_mtime)


def is_gone(uri: str) -> bool:
    """Whether there surely is no file of that name; False where that cannot be found out."""
    try:
        os.lstat(uri) if is_local(uri) else stat_object(uri)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def open_file(uri: str, read_ahead: int = READ_AHEAD) -> BinaryIO:
    """Opens a file for reading.

    Args:
      uri: of the file.
      read_ahead: bytes that are asked of an object store at a time.

    Raises:
      PathError: it is a directory, or a device or pipe that could block for ever.
      OSError: it cannot be read.
      StoreError: its store cannot be used.
    """
    if not is_local(uri):
        return open_object(uri, read_ahead)
    kind = os.stat(uri).st_mode
    if stat.S_ISDIR(kind):
        raise PathError("is a directory, not a file; use ** to reach the files in it")
    if not stat.S_ISREG(kind):
        raise PathError("is not a regular file")
    return open(uri, "rb")


def read_file(uri: str) -> bytes:
    """The content of a file; see open_file for the errors."""
    if not is_local(uri):
        return read_object(uri)
    with open_file(uri) as file:
        return file.read()


def read_part(uri: str, start: int, size: int) -> bytes:
    """So many bytes of a file, fewer where it ends; see open_file for the errors."""
    if not is_local(uri):
        return read_object(uri, start, start + size) if size else b""
    with open_file(uri) as file:
        file.seek(start)
        return file.read(size)


def read_small(uri: str | os.PathLike, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes; see read_regular for the errors."""
    uri = os.fspath(uri)
    if is_local(uri):
        return read_regular(uri, limit)
    if stat_object(uri).size > limit:
        raise OSError(errno.EFBIG, f"larger than {limit:,} bytes", uri)
    return read_object(uri)


@contextmanager
def temporary_file() -> Iterator[BinaryIO]:
    """A file without a name in this machine's temporary directory.

    Raises:
      OutputFullError: the directory is full.
    """
    try:
        with tempfile.TemporaryFile() as file:
            yield file
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = tempfile.gettempdir()
        raise OutputFullError(f"the temporary directory {place!r}: {error.strerror}") from None


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
          PathError: a directory on its path is a link.
          OutputFullError: there is no room, or no file system any more that can be written.
          OSError: it could not be written; a former file of that name stands untouched.
          StoreError: the store cannot be used.
        """
        uri = self.uri(path)
        if not is_local(self.root):
            write_object(uri, content)
            return uri
        with draft_local(self.root, self.scratch, path) as file:
            file.write(content)
        return uri

    @contextmanager
    def draft(self, path: str) -> Iterator[BinaryIO]:
        """A local file, open for writing, that becomes a whole file when the context ends well.

        On an object store it is uploaded then, and takes its size of this machine's temporary
        directory until that is done. Errors: see write.
        """
        if is_local(self.root):
            with draft_local(self.root, self.scratch, path) as file:
                yield file
            return
        with temporary_file() as file:
            yield file
            upload_object(self.uri(path), file)

    def create(self, path: str, content: bytes) -> bool:
        """Makes a file at one stroke; returns whether there was none.

        Object stores that know no conditions write over one that is there. Errors: see write.
        """
        if not is_local(self.root):
            return write_object(self.uri(path), content, only_new=True)
        draft = f"{path}.{uuid.uuid4().hex}"
        self.write(draft, content)
        try:
            return link_or_create(self.uri(draft), self.uri(path), content)
        finally:
            self.delete(draft)

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
        try:
            return stat_file(self.uri(path)).size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def sizes(self, directory: str) -> Iterator[tuple[str, int]]:
        """Path below a directory of OUTPUT, and bytes, of all that an object store has there."""
        prefix = self.uri(f"{directory}/")
        for stored in list_objects(prefix):
            yield stored.uri[len(prefix) :], stored.size

    def delete(self, path: str) -> None:
        """Removes a file below OUTPUT, if it is there."""
        if not is_local(self.root):
            delete_object(self.uri(path))
            return
        with suppress(FileNotFoundError):
            os.unlink(self.uri(path))

    def delete_all(self, pattern: str) -> None:
        """Removes the files below OUTPUT that match a glob."""
        for path in self.glob(pattern):
            self.delete(path)

    def delete_directory(self, path: str) -> None:
        """Removes a directory of files below OUTPUT, if it is there."""
        self.delete_all(f"{path}/*")
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
