"""Finds the images: globs to references, each with a place of its own in the output."""

import glob
import os
import posixpath
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from transforms.errors import ImageError
from transforms.records import ImageRef
from transforms.stage import FAILED, failed_row
from transforms.storage import is_local
from transforms.write import WRITABLE_SUFFIXES

_WILDCARD = re.compile(r"[*?\[]")


def fixed_prefix(pattern: str) -> str:
    """The directory part of a glob before its first wildcard, with a trailing separator.

    `photos/2026/*/a*.png` has `photos/2026/`; a path without wildcards has its directory.
    """
    wildcard = _WILDCARD.search(pattern)
    head = pattern[: wildcard.start()] if wildcard else pattern
    return head[: head.rfind("/") + 1]


def output_path_of(relative_path: str) -> str:
    """The path of the restored image below OUTPUT/images.

    The same as the source's; `.png` is added where the source's ending names no format that can
    be written.
    """
    suffix = PurePosixPath(relative_path).suffix.lower()
    return relative_path if suffix in WRITABLE_SUFFIXES else relative_path + ".png"


def expand_glob(pattern: str, order: int = 0) -> Iterator[ImageRef]:
    """Lists what a glob matches, in no particular order.

    `**` matches any number of directories, none included. Local patterns follow Python's glob
    module: hidden files need a pattern that names the dot. Directories are listed too, so that the
    report can name them, but for those that a final `**` matches.

    Raises:
      ValueError: `..` stands behind a wildcard, so that results would lie outside of the output.
    """
    if ".." in pattern[len(fixed_prefix(pattern)) :].split("/"):
        raise ValueError("'..' cannot stand behind a wildcard")
    if is_local(pattern):
        pattern = re.sub("/{2,}", "/", pattern)  # as glob does; the prefix must be of one length
    prefix = fixed_prefix(pattern)
    for uri, size, modified in _list_local(pattern) if is_local(pattern) else _list_store(pattern):
        relative = posixpath.normpath(uri[len(prefix) :])
        yield ImageRef(uri, relative, output_path_of(relative), size, modified, order)


def claim_output(refs: Iterable[ImageRef]) -> Iterator[ImageRef | tuple[ImageRef, ImageError]]:
    """Decides among references that would write the same file.

    The first input's (then the alphabetically first) keeps the place; the same source matched
    twice counts once.

    Yields:
      The reference that may write, and the others each with an error.
    """
    ordered = sorted(refs, key=lambda ref: (ref.order, ref.uri))
    first = ordered[0]
    yield first
    seen = {first.uri}
    for ref in ordered[1:]:
        if ref.uri not in seen:
            seen.add(ref.uri)
            yield ref, ImageError(f"would write the same output as {first.uri}")


def _list_local(pattern: str) -> Iterator[tuple[str, int, float]]:
    everything_below = os.path.basename(pattern) == "**"
    for path in glob.iglob(pattern, recursive=True):
        try:
            status = os.stat(path)
        except OSError:  # a dangling link, say: reading it will name the reason
            yield path, 0, 0.0
            continue
        if not (everything_below and stat.S_ISDIR(status.st_mode)):
            yield path.rstrip("/"), status.st_size, status.st_mtime


def _list_store(pattern: str) -> Iterator[tuple[str, int, float]]:
    for found in FileSystems.match([pattern])[0].metadata_list:
        yield found.path, found.size_in_bytes, found.last_updated_in_seconds or 0.0


def _keyed(ref: ImageRef, on_match: Callable[[], None] | None) -> tuple[bytes, ImageRef]:
    if on_match:
        on_match()
    return os.fsencode(ref.output_path), ref  # as bytes: a name need not be Unicode


class _ClaimOutput(beam.DoFn):
    def process(self, grouped: tuple[bytes, Iterable[ImageRef]]):
        for outcome in claim_output(grouped[1]):
            if isinstance(outcome, ImageRef):
                yield outcome
            else:
                yield beam.pvalue.TaggedOutput(FAILED, failed_row(outcome[0], "match", outcome[1]))


@dataclass
class MatchImages(beam.PTransform):
    """Globs to references; expands to (references, failed rows).

    Grouping by output path finds clashes without a list in memory, and spreads the references
    over the workers as a reshuffle would.

    Attributes:
      patterns: the input globs.
      on_match: called for each match before any image is read, to announce it; or None.
    """

    patterns: tuple[str, ...]
    on_match: Callable[[], None] | None = None

    def expand(self, pbegin):
        """Returns the two outputs as a pair."""
        outputs = (
            pbegin
            | "Patterns" >> beam.Create(list(enumerate(self.patterns)))
            | "List" >> beam.FlatMapTuple(lambda order, pattern: expand_glob(pattern, order))
            | "KeyByOutput" >> beam.Map(_keyed, self.on_match)
            | "GroupByOutput" >> beam.GroupByKey()
            | "ClaimOutput" >> beam.ParDo(_ClaimOutput()).with_outputs(FAILED, main="references")
        )
        return outputs.references, outputs[FAILED]
