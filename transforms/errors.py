"""What may go wrong with one image without being anybody's programming error."""


class ImageError(Exception):
    """An image cannot be processed; the message tells its owner why."""


# OSError: the store; MemoryError: one picture too large for this worker. Anything else is a bug
# and stops the job.
EXPECTED_ERRORS = (ImageError, OSError, MemoryError)
