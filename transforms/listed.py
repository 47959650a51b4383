"""The entries of lists as references, each with its own place in the output."""

import glob
import os
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from codec.encode import SUFFIXES_OF, WRITABLE_SUFFIXES
from codec.errors import ImageError
from shards.formats import is_shard, refusal
from storage.lists import Listed
from storage.store import is_local, stat_file
from transforms.errors import EXPECTED_ERRORS
from transforms.records import ImageRef, ReportRow, ShardRef, as_unicode
from transforms.stage import failed_row

# A row stands for a refused input.
Found = ImageRef | ReportRow


def output_path_of(relative_path: str, output_format: str = "same") -> str:
    """The path of the restored image below OUTPUT/images; of a shard, below OUTPUT/shards.

    The same as the source's where its ending names the format to write; else that format's ending
    is added, so that no two sources meet in one file.

    Args:
      relative_path: the source's.
      output_format: `same`: by the source's ending, PNG where it names no format that can be
        written; or a key of SUFFIXES_OF.
    """
    if is_shard(relative_path):
        return relative_path
    suffix = PurePosixPath(relative_path).suffix.lower()
    if output_format == "same":
        fits, ending = suffix in WRITABLE_SUFFIXES, ".png"
    else:
        fits, ending = suffix in SUFFIXES_OF[output_format], SUFFIXES_OF[output_format][0]
    return relative_path if fits else relative_path + ending


def reference(
    uri: str, relative_path: str, size: int, modified: float, order: int, output_format: str
) -> ImageRef:
    """The reference of an image or of a shard, by its path; see ImageRef."""
    output_path = output_path_of(relative_path, output_format)
    kind = ShardRef if is_shard(output_path) else ImageRef
    return kind(uri, relative_path, output_path, size, modified, order)


def checked(ref: ImageRef) -> Found:
    """The reference, or the failed row of a source refused by name."""
    why = refusal(ref.relative_path)
    return failed_row(ref, "match", ImageError(why)) if why else ref


@dataclass(frozen=True)
class ListRules:
    """The rules for the entries of a list.

    Attributes:
      root: base of relative paths, a directory or URI; empty: the bucket, or `/`.
      output: OUTPUT, in which no source may lie.
      output_format: see output_path_of.
      directory: of the command, to which relative paths refer; empty: of whoever reads them.
    """

    root: str = ""
    output: str | None = None
    output_format: str = "same"
    directory: str = ""

    def check(self, uri: str) -> None:
        """Refuses a relative path that means something else here.

        Raises:
          ImageError: it is one, and this process has another directory than the command.
        """
        relative = is_local(uri) and not os.path.isabs(uri)
        if relative and self.directory not in ("", os.getcwd()):
            raise ImageError(
                f"is relative to {as_unicode(self.directory)}, but the worker runs in another "
                "directory; list an absolute path that all workers can see"
            )

    def relative_path(self, listed: Listed) -> str:
        """The path of an entry's result below OUTPUT/images, except for its ending.

        Raises:
          ImageError: there is no such place; the message gives the reason.
        """
        uri, root = listed.uri, self.root.rstrip("/") + "/"
        if listed.relative_path is not None:
            path = listed.relative_path
        elif self.root:
            if is_local(uri) and is_local(root):
                # abspath gives `/` no further slash.
                uri, root = os.path.abspath(uri), os.path.abspath(root).rstrip("/") + "/"
            if not uri.startswith(root):
                raise ImageError(f"is not below {self.root} (--input_root)")
            path = uri[len(root) :]
        elif is_local(uri):
            path = posixpath.normpath(uri).lstrip("/")
        else:
            path = uri.partition("://")[2].partition("/")[2]
        if not path or path.startswith("/") or ".." in path.split("/") or path.endswith("/"):
            raise ImageError(
                f"would lie outside the output, or has no file name: {as_unicode(path)!r}; "
                "give a relative_path, or --input_root"
            )
        return posixpath.normpath(path)


def covered(inputs: tuple[str, ...], root: str) -> tuple[str, ...]:
    """Globs of the sources that a run covers: its inputs, and everything below the root of lists.

    A list without a root says nothing about files that it leaves out.
    """
    if not root:
        return inputs
    below = os.path.abspath(root) if is_local(root) else root
    return *inputs, *{f"{glob.escape(name.rstrip('/'))}/**" for name in (root, below)}


def refer(entries: Iterable[Listed], order: int, rules: ListRules) -> Iterator[Found]:
    """References of the entries of a list.

    A file is accessed only where its entry lacks the size or the time of modification.

    Args:
      entries: of a list.
      order: its position among the inputs.
      rules: the meaning of entries.

    Yields:
      A reference for each entry, or a failed row instead: a bad line, a file that is not
      there, lies in the output or could not be given a place there.
    """
    real = lru_cache(1024)(os.path.realpath)  # of directories: entries come by directory
    output = rules.output
    local_output = real(output) if output and is_local(output) else None

    def lies_in_output(uri: str) -> bool:
        if not is_local(uri):
            return output is not None and uri.startswith(output.rstrip("/") + "/")
        if local_output is None:
            return False
        directory, name = os.path.split(uri)
        path = os.path.realpath(uri) if os.path.islink(uri) else f"{real(directory)}/{name}"
        return path.startswith(local_output.rstrip("/") + "/")

    for listed in entries:
        uri, size, modified = listed.uri, listed.size, listed.modified
        relative, error = uri, None
        try:
            if listed.problem:
                raise ImageError(listed.problem)
            rules.check(uri)
            relative = rules.relative_path(listed)
            if lies_in_output(uri):
                raise ImageError("lies in the output directory")
            if size is None or modified is None:
                _, size, modified = stat_file(uri)
        except EXPECTED_ERRORS as failure:
            error = failure
        ref = reference(uri, relative, size or 0, modified or 0.0, order, rules.output_format)
        yield failed_row(ref, "match", error) if error else checked(ref)
