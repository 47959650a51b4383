"""Files that somebody else may have made: read whole, or refused before they can do harm."""

import errno
import os
import stat


def read_regular(path: str | os.PathLike, limit: int) -> bytes:
    """Reads a whole regular file of at most `limit` bytes.

    Pipes, devices and directories are refused without being opened: they may wait or go on for
    ever.

    Raises:
      FileNotFoundError: there is no such file.
      OSError: the file cannot be read; `strerror` says why.
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
