"""Guarded reading of files that others made, and atomic writing."""

import errno
import os
import stat
from pathlib import Path


def read_regular(path: str | os.PathLike, limit: int) -> bytes:
    """Reads a whole regular file of at most `limit` bytes.

    Pipes, devices and directories are refused without being opened: they might block or never end.

    Raises:
      FileNotFoundError: there is no such file.
      OSError: the file cannot be read; `strerror` gives the reason.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is a pipe or a device; a regular file is needed")
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    except ValueError as error:  # a name with a zero byte
        raise OSError(errno.EINVAL, str(error)) from None
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit:,} bytes")
    return content


def replace_file(path: Path, content: bytes) -> None:
    """Writes a temporary file and renames it: a kill leaves the old file or the new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
