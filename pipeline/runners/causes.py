"""What a runner's words say of the error that matters.

Errors of workers reach this process as text: Python's traceback, or a runner's own around it.
"""

import re
from collections.abc import Iterable

_REASON_LENGTH = 400
# The last line that fits the first of these: a Python error within Beam, a Python error, Java's
# cause, gRPC's words.
_REASONS = (
    r"(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception)\b(?!.*Exception: ).*\[while running.*",
    r"(?<![\w.$])[A-Z]\w*Error: .*",
    r"(?:Caused by: )(.*)",
    r"details = \"(.*)\"",
)


def reason_of(text: str) -> str:
    """The line of a remote stack trace that says most: the last cause, Python's before Java's."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for pattern in _REASONS:
        found = [match for line in lines if (match := re.search(pattern, line))]
        if found:
            last = found[-1]
            return last[last.lastindex or 0][:_REASON_LENGTH]
    return lines[0][:_REASON_LENGTH] if lines else ""


def find_error(error: Exception, names: Iterable[str]) -> tuple[str, str] | None:
    """Name and message of the first error with one of these names, here or in a worker's text."""
    found = re.search(
        rf"({'|'.join(names)}): (.*?)(?: \[while running|$)",
        f"{type(error).__name__}: {error}",
        re.MULTILINE,
    )
    return (found[1], found[2]) if found else None
