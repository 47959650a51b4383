"""Finds the root cause in error texts.

Errors of workers arrive as text: a Python traceback, perhaps within a runner's stack trace.
"""

import re
from collections.abc import Iterable

_REASON_LENGTH = 400
# The reason is the last line that matches the first of these: a Python error within Beam, a Python
# error, a cause in Java, a message of gRPC.
_REASONS = (
    r"(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception)\b(?!.*Exception: ).*\[while running.*",
    r"(?<![\w.$])[A-Z]\w*Error: .*",
    r"(?:Caused by: )(.*)",
    r"details = \"(.*)\"",
)


def reason_of(text: str) -> str:
    """The reason in a remote stack trace: the last cause, Python's before Java's."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for pattern in _REASONS:
        found = [match for line in lines if (match := re.search(pattern, line))]
        if found:
            last = found[-1]
            return last[last.lastindex or 0][:_REASON_LENGTH]
    return lines[0][:_REASON_LENGTH] if lines else ""


def find_error(error: Exception, names: Iterable[str]) -> tuple[str, str] | None:
    """Name and message of the first error with one of these names, also in a worker's text."""
    found = re.search(
        rf"({'|'.join(names)}): (.*?)(?: \[while running|$)",
        f"{type(error).__name__}: {error}",
        re.MULTILINE,
    )
    return (found[1], found[2]) if found else None
