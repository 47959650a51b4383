"""Texts and figures as a person sees them."""

import os
import sys


def print_result(text: str) -> None:
    """Prints to standard output; a reader that has left, such as `head`, is no failure."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python flushes the rest when it exits, which would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def printable(text: str) -> str:
    """Text with unprintable characters escaped: names may hold line breaks and worse."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def or_dash(value: float | None, form: str) -> str:
    """A figure in a format, or a dash where there is none."""
    return "-" if value is None else format(value, form)
