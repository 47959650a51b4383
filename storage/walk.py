"""Lists the matches of a local glob, as Python's glob module does, but in trees of any shape."""

import errno
import heapq
import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from glob import has_magic
from typing import NamedTuple

from storage.errors import PathError
from storage.store import lies_within


class _Found(NamedTuple):
    path: str
    is_directory: bool = False
    is_link: bool = False
    error: Exception | None = None


def walk(pattern: str, output: str | None = None) -> Iterator[tuple[str, Exception | None]]:
    """Lists the matches of a local glob.

    `**` matches any number of directories, including none; hidden names need a pattern that names
    the dot. Unlike Python's glob, `**` enters each real directory once, by its real path if that
    lies in the walk, so that links make no loop; and unreadable directories are reported.

    Args:
      pattern: the glob.
      output: a local directory that links of the input must not lead into, or None.

    Yields:
      Each match with None; each unreadable directory, and each path that leads into `output`, with
      its error. A final `**` matches no directories.
    """
    parts = pattern.split("/")
    # (is a link, path with a trailing slash, index of the next part): links come last. Not
    # recursive: a tree may be thousands of directories deep.
    queue = [(False, "/", 1)] if pattern.startswith("/") else [(False, "", 0)]
    entered: set[tuple[int, int, int]] = set()
    while queue:
        _, directory, index = heapq.heappop(queue)
        part, last = parts[index], index == len(parts) - 1
        try:
            if part == "**":
                status = os.stat(directory or ".")
                identity = (status.st_dev, status.st_ino, index)
                if identity in entered:
                    continue
                entered.add(identity)
            find = _entries if has_magic(part) else _named
            for path, is_directory, is_link, error in find(directory, part, output):
                if last and not (part == "**" and is_directory) or is_directory and error:
                    yield path, error
                elif is_directory:
                    step = (is_link, path + "/", index if part == "**" else index + 1)
                    heapq.heappush(queue, step)
            if part == "**" and not last:
                heapq.heappush(queue, (False, directory, index + 1))
        except OSError as error:
            yield directory or ".", error


def _named(directory: str, name: str, output: str | None) -> Iterator[_Found]:
    path = directory + name
    try:
        is_directory = stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        if os.path.lexists(path):  # a dangling link: reading it gives the reason
            yield _Found(path)
    except OSError as error:
        yield _Found(path, is_directory=True, error=error)  # assumed
    else:
        yield _Found(path, is_directory, error=_refusal(path, output))


def _entries(directory: str, part: str, output: str | None) -> Iterator[_Found]:
    inode = os.stat(output).st_ino if output and os.path.isdir(output) else None
    with os.scandir(directory or ".") as entries:
        for entry in entries:
            hidden = entry.name.startswith(".") and not part.startswith(".")
            if hidden or not fnmatchcase(entry.name, part):
                continue
            path, is_link = directory + entry.name, entry.is_symlink()
            # Without a link, only the output directory itself can lie in the output.
            suspect = is_link or entry.inode() == inode
            error = _refusal(path, output) if suspect else None
            yield _Found(path, _is_directory(entry), is_link, error)


def _is_directory(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        # A link to itself leads nowhere; entering anything else gives the reason.
        return error.errno != errno.ELOOP


def _refusal(path: str, output: str | None) -> PathError | None:
    if output and lies_within(path, output):
        return PathError("lies in the output directory")
    return None
