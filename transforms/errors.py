"""Errors of one image that are not programming errors."""

from codec.errors import ImageError
from storage.errors import PathError

# OSError: the store; MemoryError: one picture too large for this worker. Anything else is a bug
# and stops the job.
EXPECTED_ERRORS = (ImageError, PathError, OSError, MemoryError)
