"""What may go wrong with one image without being anybody's programming error."""

import errno

from codec.errors import ImageError

# OSError: the store; MemoryError: one picture too large for this worker. Anything else is a bug
# and stops the job.
EXPECTED_ERRORS = (ImageError, OSError, MemoryError)

# What file systems behind a network or a bus say while they are out of reach for a moment.
_PASSING = {
    errno.EAGAIN, errno.EBUSY, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET,
    errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EIO, errno.EMFILE, errno.ENETDOWN,
    errno.ENETRESET, errno.ENETUNREACH, errno.ENFILE, errno.ENOTCONN, errno.EREMOTEIO,
    errno.ESTALE, errno.ETIMEDOUT,
}  # fmt: skip


def may_pass(error: Exception) -> bool:
    """Whether an error is one of the store that trying again may end, and not the image's own."""
    return isinstance(error, OSError) and error.errno in _PASSING
