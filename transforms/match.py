"""Finds the images: globs to references, each with a place of its own in the output."""

import os
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from codec.encode import SUFFIXES_OF, WRITABLE_SUFFIXES
from codec.errors import ImageError
from transforms.done import PastRow, Policy, ReadPast, decide, vanished
from transforms.records import ImageRef, ReportRow, as_unicode
from transforms.stage import failed_row
from transforms.storage import is_local
from transforms.walk import walk

_WILDCARD = re.compile(r"[*?\[]")

Refused = tuple[ImageRef, Exception]


def fixed_prefix(pattern: str) -> str:
    """The directory part of a glob before its first wildcard, with a trailing separator.

    `photos/2026/*/a*.png` has `photos/2026/`; a path without wildcards has its directory.
    """
    wildcard = _WILDCARD.search(pattern)
    head = pattern[: wildcard.start()] if wildcard else pattern
    return head[: head.rfind("/") + 1]


def output_path_of(relative_path: str, output_format: str = "same") -> str:
    """The path of the restored image below OUTPUT/images.

    The same as the source's where its ending names the format to write; else that format's ending
    is added, so that no two sources meet in one file.

    Args:
      relative_path: the source's.
      output_format: `same`: by the source's ending, PNG where it names no format that can be
        written; or a key of SUFFIXES_OF.
    """
    suffix = PurePosixPath(relative_path).suffix.lower()
    if output_format == "same":
        fits, ending = suffix in WRITABLE_SUFFIXES, ".png"
    else:
        fits, ending = suffix in SUFFIXES_OF[output_format], SUFFIXES_OF[output_format][0]
    return relative_path if fits else relative_path + ending


def expand_glob(
    pattern: str, order: int = 0, output: str | None = None, output_format: str = "same"
) -> Iterator[ImageRef | Refused]:
    """Lists what a glob matches, in no particular order.

    Directories are listed too, so that the report can name them, but for those that a final `**`
    matches.

    Args:
      pattern: the glob; see walk for what it means on this machine.
      order: its position among the inputs.
      output: OUTPUT; what links of the input lead to there is refused.
      output_format: see output_path_of.

    Yields:
      A reference for each match; those that are refused and directories that cannot be read, each
      with an error.

    Raises:
      ValueError: `..` stands behind a wildcard, so that results would lie outside of the output.
    """
    if ".." in pattern[len(fixed_prefix(pattern)) :].split("/"):
        raise ValueError("'..' cannot stand behind a wildcard")
    if is_local(pattern):
        pattern = re.sub("/{2,}", "/", pattern)  # as glob does; the prefix must be of one length
    prefix = fixed_prefix(pattern)

    def ref_of(uri: str, size: int, modified: float) -> ImageRef:
        relative = posixpath.normpath(uri[len(prefix) :])
        output_path = output_path_of(relative, output_format)
        return ImageRef(uri, relative, output_path, size, modified, order)

    if not is_local(pattern):
        for found in FileSystems.match([pattern])[0].metadata_list:
            yield ref_of(found.path, found.size_in_bytes, found.last_updated_in_seconds or 0.0)
        return
    for path, error in walk(pattern, output if output and is_local(output) else None):
        path = path.rstrip("/")
        try:
            status = os.stat(path)
            ref = ref_of(path, status.st_size, status.st_mtime)
        except OSError:  # a dangling link, say: reading it will name the reason
            ref = ref_of(path, 0, 0.0)
        yield (ref, error) if error else ref


def claim_key(output_path: str, names_fold: bool) -> str:
    """What output paths have in common that mean the same file.

    Args:
      output_path: below OUTPUT/images.
      names_fold: whether neither case nor the composition of letters counts in the output.
    """
    if not names_fold:
        return output_path
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", output_path).casefold())


def claim_output(refs: Iterable[ImageRef]) -> Iterator[ImageRef | Refused]:
    """Decides among references that would write the same file.

    The first input's (then the alphabetically first) keeps the place; the same source matched
    twice counts once.

    Yields:
      The reference that may write, and the others each with an error.
    """
    ordered = sorted(refs, key=lambda ref: (ref.order, ref.uri))
    if not ordered:
        return
    first = ordered[0]
    yield first
    seen = {first.uri}
    for ref in ordered[1:]:
        if ref.uri not in seen:
            seen.add(ref.uri)
            yield ref, ImageError(f"would write the same output as {first.uri}")


def _row_of(outcome: ImageRef | Refused) -> ImageRef | ReportRow:
    return outcome if isinstance(outcome, ImageRef) else failed_row(outcome[0], "match", outcome[1])


def settle(
    found: Iterable[ImageRef | ReportRow], past: Iterable[PastRow], policy: Policy
) -> Iterator[ImageRef | ReportRow]:
    """Settles what becomes of everything that was found for one place in the output.

    Args:
      found: references, and rows of what could not be listed.
      past: what earlier runs did there.
      policy: what of it is done again.

    Yields:
      The reference that is to be restored; rows of the others.
    """
    found, past = list(found), list(past)
    for outcome in claim_output(one for one in found if isinstance(one, ImageRef)):
        if isinstance(outcome, ImageRef):
            yield decide(outcome, past, policy)
        else:
            yield _row_of(outcome)
    # Two globs meet the same unreadable directory.
    yield from {row.source_uri: row for row in found if isinstance(row, ReportRow)}.values()
    if not found:
        yield from vanished(past, policy)


@dataclass
class MatchImages(beam.PTransform):
    """Globs to references; expands to (references, rows of what ends here).

    Grouping by output path finds clashes and what is done without a list in memory, and spreads
    the references over the workers as a reshuffle would.

    Attributes:
      policy: the input globs, OUTPUT, and what is done again.
      past: files of the report of earlier runs, below OUTPUT.
      output_format: of the restored images, see output_path_of.
      names_fold: whether OUTPUT takes names for the same that differ in case.
      on_match: called for each match before any image is read, to announce it; or None.
    """

    policy: Policy
    past: list[str]
    output_format: str = "same"
    names_fold: bool = False
    on_match: Callable[[], None] | None = None

    def expand(self, pbegin):
        """Returns the two outputs."""
        policy, output_format = self.policy, self.output_format
        names_fold, on_match = self.names_fold, self.on_match

        def expanded(pattern: tuple[int, bytes]) -> Iterator[tuple[bytes, ImageRef | ReportRow]]:
            glob, root = os.fsdecode(pattern[1]), policy.store.root
            for outcome in expand_glob(glob, pattern[0], root, output_format):
                if on_match:
                    on_match()
                ref = outcome if isinstance(outcome, ImageRef) else outcome[0]
                yield place(ref.output_path), _row_of(outcome)

        def place(output_path: str) -> bytes:
            # Escaped, as the report has it; `settled` tells apart what that makes equal.
            return as_unicode(claim_key(output_path, names_fold)).encode()

        def settled(group) -> Iterator[ImageRef | ReportRow]:
            _, sides = group
            past, claims = list(sides["past"]), {}
            for one in sides["found"]:
                key = claim_key(one.output_path, names_fold) if isinstance(one, ImageRef) else None
                claims.setdefault(key, []).append(one)
            for found in claims.values() or [()]:
                yield from settle(found, past, policy)

        # Names as bytes wherever Beam would encode them: they need not be Unicode.
        found = (
            pbegin
            | "Inputs" >> beam.Create([(i, os.fsencode(p)) for i, p in enumerate(policy.inputs)])
            | "List" >> beam.FlatMap(expanded)
        )
        past = (
            pbegin
            | "ReadPast" >> ReadPast(self.past, policy.store, policy.fingerprint)
            | "PlaceOf"
            >> beam.Map(lambda row: (place(output_path_of(row.relative_path, output_format)), row))
        )
        ended = (
            {"found": found, "past": past}
            | "GroupByOutput" >> beam.CoGroupByKey()
            | "Settle" >> beam.FlatMap(settled)
            | "Split" >> beam.Partition(lambda one, _: int(isinstance(one, ReportRow)), 2)
        )
        return ended[0], ended[1]
