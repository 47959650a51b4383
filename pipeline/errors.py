"""Exit codes, and the errors that end a run before it begins."""

from collections.abc import Iterator
from contextlib import contextmanager

from storage.errors import StoreError

# Errors that end a run without being bugs, by name, because those of workers arrive as text.
REMEDIES = {
    "OutputFullError": "free some space and run it again",
    "StoreError": "run it again",
    "DamagedReportError": "move it away and run it again: its images are restored again",
}


class ExitCode:
    """Exit codes of the command; after a signal the code is 128 + its number."""

    OK = 0
    CRASHED = 1
    USAGE = 2
    FAILURES = 3
    NOTHING_MATCHED = 4
    GATE = 5


class UsageError(ValueError):
    """The configuration cannot be run; nothing was touched. The message gives the reason."""

    exit_code = ExitCode.USAGE


class NothingMatchedError(UsageError):
    """No input glob matches anything."""

    exit_code = ExitCode.NOTHING_MATCHED


@contextmanager
def about(option: str, value: str) -> Iterator[None]:
    """A context that turns errors into usage errors which name an option and its value."""
    try:
        yield
    except UsageError:
        raise
    except (OSError, ValueError, StoreError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{option}: {value!r}: {reason}") from None
