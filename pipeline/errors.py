"""How a run can end, and the errors that end it before it begins."""

from collections.abc import Iterator
from contextlib import contextmanager

from storage.errors import StoreError

# What ends a run without being a bug, by the error's name: from a worker it comes as text.
REMEDIES = {
    "OutputFullError": "make room and run it again",
    "StoreError": "run it again",
    "DamagedReportError": "move it away and run it again: what it tells of is restored again",
}


class ExitCode:
    """Exit codes of the command; ended by a signal it is 128 and the signal's number."""

    OK = 0
    CRASHED = 1
    USAGE = 2
    FAILURES = 3
    NOTHING_MATCHED = 4
    GATE = 5


class UsageError(ValueError):
    """The configuration cannot be run; nothing was touched.

    Attributes:
      exit_code: what the command ends with.
    """

    exit_code = ExitCode.USAGE


class NothingMatchedError(UsageError):
    """No input glob matches anything."""

    exit_code = ExitCode.NOTHING_MATCHED


@contextmanager
def about(option: str, value: str) -> Iterator[None]:
    """A context whose errors become usage errors that name an option and its value."""
    try:
        yield
    except UsageError:
        raise
    except (OSError, ValueError, StoreError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{option}: {value!r}: {reason}") from None
