"""What may go wrong with a file, an object, or the place that holds them."""

import errno

# What file systems behind a network or a bus say while they are out of reach for a moment.
_PASSING = {
    errno.EAGAIN, errno.EBUSY, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET,
    errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EIO, errno.EMFILE, errno.ENETDOWN,
    errno.ENETRESET, errno.ENETUNREACH, errno.ENFILE, errno.ENOTCONN, errno.EREMOTEIO,
    errno.ESTALE, errno.ETIMEDOUT,
}  # fmt: skip


class PathError(Exception):
    """A path does not lead to a file that may be used; the message says what it leads to."""


class StoreError(Exception):
    """A store cannot be used, or not now; one line. It ends the run."""


class OutputFullError(Exception):
    """Nothing can be written to OUTPUT any more. It ends the run."""


def may_pass(error: Exception) -> bool:
    """Whether trying again may end an error, which then is the store's and not the file's own."""
    return isinstance(error, OSError) and error.errno in _PASSING
