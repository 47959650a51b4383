"""Errors of files, objects, and the stores that hold them."""

import errno

# Errors of network and bus file systems that are out of reach for a moment.
_TRANSIENT = {
    errno.EAGAIN, errno.EBUSY, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET,
    errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EIO, errno.EMFILE, errno.ENETDOWN,
    errno.ENETRESET, errno.ENETUNREACH, errno.ENFILE, errno.ENOTCONN, errno.EREMOTEIO,
    errno.ESTALE, errno.ETIMEDOUT,
}  # fmt: skip


class PathError(Exception):
    """A path does not lead to a usable file; the message gives the reason."""


class StoreError(Exception):
    """A store cannot be used, or not now; the message is one line. It ends the run."""


class OutputFullError(Exception):
    """OUTPUT cannot take another file. It ends the run."""


def may_pass(error: Exception) -> bool:
    """Whether a retry may succeed: the error is the store's and not the file's."""
    return isinstance(error, OSError) and error.errno in _TRANSIENT
