"""Reads and writes whole files, locally and on object stores, none visible half-written."""

import os
import shutil
import stat
import uuid
from dataclasses import dataclass
from typing import BinaryIO

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from transforms.errors import ImageError


def is_local(uri: str) -> bool:
    """Whether a path or URI is on the local file system."""
    return "://" not in uri


def open_file(uri: str) -> BinaryIO:
    """Opens a file for reading.

    Raises:
      ImageError: it is a directory, or a device or pipe that could block for ever.
      OSError: it cannot be read.
    """
    if not is_local(uri):
        return FileSystems.open(uri, compression_type=CompressionTypes.UNCOMPRESSED)
    kind = os.stat(uri).st_mode
    if stat.S_ISDIR(kind):
        raise ImageError("is a directory, not an image; use ** to reach the images in it")
    if not stat.S_ISREG(kind):
        raise ImageError("is not a regular file")
    return open(uri, "rb")


def read_file(uri: str) -> bytes:
    """The content of a file; see open_file for the errors."""
    with open_file(uri) as file:
        return file.read()


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

        Raises:
          OSError: it could not be written; a former file of that name stands untouched.
        """
        uri = self.uri(path)
        if not is_local(self.root):
            with FileSystems.create(uri, compression_type=CompressionTypes.UNCOMPRESSED) as file:
                file.write(content)
            return uri
        os.makedirs(os.path.dirname(uri), exist_ok=True)
        os.makedirs(self.scratch, exist_ok=True)
        temporary = os.path.join(self.scratch, uuid.uuid4().hex)
        try:
            with open(temporary, "wb") as file:
                file.write(content)
            os.replace(temporary, uri)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise
        return uri

    def read(self, path: str) -> bytes:
        """The content of a file below OUTPUT."""
        return read_file(self.uri(path))

    def clean(self) -> None:
        """Removes what is not finished."""
        if is_local(self.root):
            shutil.rmtree(self.scratch, ignore_errors=True)
            parent = os.path.dirname(self.scratch)
            if os.path.isdir(parent) and not os.listdir(parent):
                os.rmdir(parent)
