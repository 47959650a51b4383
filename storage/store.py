"""Reads and writes files, locally and on object stores; none is visible half-written."""

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
from storage import objects
from storage.errors import OutputFullError, PathError
from storage.globs import find_objects
from storage.local import draft_local, link_or_create
from storage.objects import READ_AHEAD, Stored


def is_local(uri: str) -> bool:
    """Whether a path or URI is on the local file system."""
    return "://" not in uri


def lies_within(path: str, directory: str) -> bool:
    """Whether a local path, links followed, is a directory or something below it."""
    real, root = os.path.realpath(path), os.path.realpath(directory)
    return real == root or real.startswith(root.rstrip("/") + "/")


def stat_file(uri: str) -> Stored:
    """Size and modification time of a file; see open_file for the errors."""
    if not is_local(uri):
        return objects.stat_object(uri)
    status = os.stat(uri)
    return Stored(uri, status.st_size, status.st_mtime)


def is_gone(uri: str) -> bool:
    """Whether a file certainly does not exist; False where that cannot be determined."""
    try:
        os.lstat(uri) if is_local(uri) else objects.stat_object(uri)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def open_file(uri: str, read_ahead: int = READ_AHEAD) -> BinaryIO:
    """Opens a file for reading; from an object store `read_ahead` bytes are requested at a time.

    Raises:
      PathError: it is a directory, or a device or pipe, which could block for ever.
      OSError: it cannot be read, or no store takes such a URI.
      StoreError: its store cannot be used.
    """
    if not is_local(uri):
        return objects.open_object(uri, read_ahead)
    kind = os.stat(uri).st_mode
    if stat.S_ISDIR(kind):
        raise PathError("is a directory, not a file; use ** to reach the files in it")
    if not stat.S_ISREG(kind):
        raise PathError("is not a regular file")
    return open(uri, "rb")


def read_file(uri: str) -> bytes:
    """The content of a file; see open_file for the errors."""
    if not is_local(uri):
        return objects.read_object(uri)
    with open_file(uri) as file:
        return file.read()


def read_part(uri: str, start: int, size: int) -> bytes:
    """Up to `size` bytes of a file from `start`; see open_file for the errors."""
    if not is_local(uri):
        return objects.read_object(uri, start, start + size) if size else b""
    with open_file(uri) as file:
        file.seek(start)
        return file.read(size)


def read_small(uri: str | os.PathLike, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes; see read_regular for the errors."""
    uri = os.fspath(uri)
    if is_local(uri):
        return read_regular(uri, limit)
    if objects.stat_object(uri).size > limit:
        raise OSError(errno.EFBIG, f"larger than {limit:,} bytes", uri)
    return objects.read_object(uri)


@contextmanager
def temporary_file() -> Iterator[BinaryIO]:
    """An unnamed file in this machine's temporary directory; OutputFullError if that is full."""
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
    """The OUTPUT of a run. Paths are relative to it.

    Local files are written to the scratch directory of the run, on the same file system, and then
    renamed. Objects become visible whole by a single put.

    Attributes:
      root: a directory or URI.
      run_id: the run, which names the scratch directory.
    """

    root: str
    run_id: str

    @property
    def scratch(self) -> str:
        """The directory of unfinished files."""
        return os.path.join(self.root, ".scratch", self.run_id)

    def uri(self, path: str) -> str:
        """The URI of a path."""
        return f"{self.root.rstrip('/')}/{path}"

    def write(self, path: str, content: bytes) -> str:
        """Writes a file whole or not at all and returns its URI; a link is replaced, not followed.

        Raises:
          PathError: a directory on its path is a link.
          OutputFullError: the file system is full or cannot be written any more.
          OSError: the file could not be written; an earlier one of that name is unchanged.
          StoreError: the store cannot be used.
        """
        if is_local(self.root):
            with draft_local(self.root, self.scratch, path) as file:
                file.write(content)
        else:
            objects.write_object(self.uri(path), content)
        return self.uri(path)

    @contextmanager
    def draft(self, path: str) -> Iterator[BinaryIO]:
        """A file, open for writing, visible when the context ends; see write for the errors.

        For an object store it is a temporary file of this machine, uploaded at the end.
        """
        if is_local(self.root):
            with draft_local(self.root, self.scratch, path) as file:
                yield file
            return
        with temporary_file() as file:
            yield file
            objects.upload_object(self.uri(path), file)

    def create(self, path: str, content: bytes) -> bool:
        """Writes a file only if it does not exist; returns whether it did so.

        Atomic, except on object stores without conditional writes, which overwrite. See write for
        the errors.
        """
        if not is_local(self.root):
            return objects.write_object(self.uri(path), content, only_new=True)
        draft = f"{path}.{uuid.uuid4().hex}"
        self.write(draft, content)
        try:
            return link_or_create(self.uri(draft), self.uri(path), content)
        finally:
            self.delete(draft)

    def read(self, path: str) -> bytes:
        """The content of a file."""
        return read_file(self.uri(path))

    def glob(self, pattern: str) -> list[str]:
        """The paths that match a glob, in order; `*` stays within a directory."""
        if is_local(self.root):
            return sorted(glob.glob(pattern, root_dir=self.root))
        found = find_objects(self.uri(pattern))
        return sorted(stored.uri[len(self.uri("")) :] for stored in found)

    def size(self, path: str) -> int | None:
        """Bytes of a file, or None if it does not exist."""
        try:
            return stat_file(self.uri(path)).size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def sizes(self, directory: str) -> Iterator[tuple[str, int]]:
        """(path below a directory, bytes) of every object in it."""
        prefix = self.uri(f"{directory}/")
        for stored in objects.list_objects(prefix):
            yield stored.uri[len(prefix) :], stored.size

    def delete(self, path: str) -> None:
        """Removes a file if it exists."""
        if not is_local(self.root):
            objects.delete_object(self.uri(path))
            return
        with suppress(FileNotFoundError):
            os.unlink(self.uri(path))

    def delete_all(self, pattern: str) -> None:
        """Removes the files that match a glob."""
        for path in self.glob(pattern):
            self.delete(path)

    def delete_directory(self, path: str) -> None:
        """Removes a directory of files if it exists."""
        self.delete_all(f"{path}/*")
        if is_local(self.root):
            with suppress(FileNotFoundError):
                os.rmdir(self.uri(path))

    def clean(self, everything: bool = False) -> None:
        """Removes the unfinished files of this run, or with `everything` of all runs."""
        if is_local(self.root):
            scratch = os.path.dirname(self.scratch) if everything else self.scratch
            shutil.rmtree(scratch, ignore_errors=True)
            with suppress(OSError):  # other runs have some, or there are none
                os.rmdir(os.path.dirname(self.scratch))
