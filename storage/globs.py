"""What globs mean for names that need not exist, and on object stores."""

import errno
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from storage.objects import Stored, find_object, list_objects

WILDCARD = re.compile(r"[*?\[]")


def find_objects(pattern: str) -> Iterator[Stored]:
    """Lists what a glob matches on an object store, in the order of names.

    Listed is what begins as the glob does up to its first wildcard, a page at a time.

    Raises:
      OSError, StoreError: the store cannot be listed.
    """
    wildcard = WILDCARD.search(pattern)
    if wildcard is None:
        found = find_object(pattern)
        if found:
            yield found
        return
    head, rest = pattern[: wildcard.start()], pattern[wildcard.start() :]
    if "/" not in head.partition("://")[2]:
        raise OSError(errno.EINVAL, "the name of a bucket cannot hold wildcards", pattern)
    for stored in list_objects(head, deep="/" in rest or rest == "**"):
        if matches(pattern, stored.uri):
            yield stored


def matches(pattern: str, uri: str) -> bool:
    """Whether a glob matches a URI, which need not exist; `**` stands for any directories.

    As in walk, hidden names need a pattern that names the dot.
    """
    parts = pattern.split("/")
    return len(parts) in _skipping(parts, _reached(parts, uri.split("/"), hidden=False))


def could_match_below(pattern: str, directory: str) -> bool:
    """Whether a glob could match a path below a directory, whatever that path is, hidden or not."""
    parts = pattern.split("/")
    return any(index < len(parts) for index in _reached(parts, directory.split("/"), hidden=True))


def _reached(pattern: list[str], parts: list[str], hidden: bool) -> set[int]:
    """How much of a pattern can have been used up by the parts of a path."""
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
    """What is reached where `**` stand for nothing."""
    found = set(reached)
    for index in sorted(reached):
        while index < len(pattern) and pattern[index] == "**":
            index += 1
            found.add(index)
    return found
