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
    return _match_parts(pattern.split("/"), uri.split("/"))


def _match_parts(pattern: list[str], parts: list[str]) -> bool:
    reached = {0}  # how much of the pattern can have been used up
    for part in parts:
        reached = _skipping(pattern, reached)
        reached = {
            index if pattern[index] == "**" else index + 1
            for index in reached
            if index < len(pattern)
            and fnmatchcase(part, pattern[index])
            and (not part.startswith(".") or not WILDCARD.match(pattern[index]))
        }
    return len(pattern) in _skipping(pattern, reached)


def _skipping(pattern: list[str], reached: set[int]) -> set[int]:
    """What is reached where `**` stand for nothing."""
    found = set(reached)
    for index in sorted(reached):
        while index < len(pattern) and pattern[index] == "**":
            index += 1
            found.add(index)
    return found
