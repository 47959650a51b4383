"""Matches globs against names, which need not exist, and against object stores."""

import errno
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from storage.objects import Stored, find_object, list_objects

WILDCARD = re.compile(r"[*?\[]")


def find_objects(pattern: str) -> Iterator[Stored]:
    """The objects that a glob matches, in the order of names.

    Only names that begin with the part before the first wildcard are listed, page by page.
    """
    wildcard = WILDCARD.search(pattern)
    if wildcard is None:
        found = find_object(pattern)
        if found:
            yield found
        return
    head, rest = pattern[: wildcard.start()], pattern[wildcard.start() :]
    if "/" not in head.partition("://")[2]:
        raise OSError(errno.EINVAL, "the name of a bucket cannot contain wildcards", pattern)
    for stored in list_objects(head, deep="/" in rest or rest == "**"):
        if matches(pattern, stored.uri):
            yield stored


def matches(pattern: str, uri: str) -> bool:
    """Whether a glob matches a URI; `**` stands for any directories.

    Hidden names need a pattern that names the dot, as in walk.
    """
    parts = pattern.split("/")
    return len(parts) in _skipping(parts, _reached(parts, uri.split("/"), hidden=False))


def could_match_below(pattern: str, directory: str) -> bool:
    """Whether a glob could match any path below a directory, hidden or not."""
    parts = pattern.split("/")
    return any(index < len(parts) for index in _reached(parts, directory.split("/"), hidden=True))


def _reached(pattern: list[str], parts: list[str], hidden: bool) -> set[int]:
    """The indices of a pattern that a match of all parts of a path can have reached."""
    reached = {0}
    for part in parts:
        reached = {
            index if pattern[index] == "**" else index + 1
            for index in _skipping(pattern, reached)
            if index < len(pattern)
            and fnmatchcase(part, pattern[index])
            and (hidden or not part.startswith(".") or not WILDCARD.match(pattern[index]))
        }
    return reached


def _skipping(pattern: list[str], reached: set[int]) -> set[int]:
    """The same indices, and those reached when a `**` stands for no directory."""
    found = set(reached)
    for index in sorted(reached):
        while index < len(pattern) and pattern[index] == "**":
            index += 1
            found.add(index)
    return found
