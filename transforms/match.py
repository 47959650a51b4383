"""Finds the images: globs and lists to references, each with a place of its own in the output."""

import glob
import os
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import PurePosixPath

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows

from codec.encode import SUFFIXES_OF, WRITABLE_SUFFIXES
from codec.errors import ImageError
from storage.globs import WILDCARD, find_objects
from storage.lists import Listed, Part, list_files, parts_of, read_part
from storage.objects import stat_object
from storage.store import is_local
from storage.walk import walk
from transforms.blocks import Block, from_blocks, to_blocks
from transforms.done import PastRow, Policy, Sizes, decide, read_past, vanished
from transforms.errors import EXPECTED_ERRORS
from transforms.records import ImageRef, ReportRow, as_unicode
from transforms.stage import failed_row

# Rows are of what is refused.
Found = ImageRef | ReportRow
_WINDOW = 1024


def fixed_prefix(pattern: str) -> str:
    """The directory part of a glob before its first wildcard, with a trailing separator.

    `photos/2026/*/a*.png` has `photos/2026/`; a path without wildcards has its directory.
    """
    wildcard = WILDCARD.search(pattern)
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
) -> Iterator[Found]:
    """Lists what a glob matches, in no particular order.

    Directories are listed too, so that the report can name them, but for those that a final `**`
    matches.

    Args:
      pattern: the glob; see walk for what it means on this machine.
      order: its position among the inputs.
      output: OUTPUT; what links of the input lead to there is refused.
      output_format: see output_path_of.

    Yields:
      A reference for each match; a failed row for what is refused, and for each directory that
      cannot be read.

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
        for found in find_objects(pattern):
            ref = ref_of(*found)
            if {"", ".", ".."}.isdisjoint(found.uri[len(prefix) :].split("/")):
                yield ref
            else:
                yield _refused(ref, "a key with an empty, '.' or '..' part is no path of a result")
        return
    for path, error in walk(pattern, output if output and is_local(output) else None):
        path = path.rstrip("/")
        try:
            status = os.stat(path)
            ref = ref_of(path, status.st_size, status.st_mtime)
        except OSError:  # a dangling link, say: reading it will name the reason
            ref = ref_of(path, 0, 0.0)
        yield failed_row(ref, "match", error) if error else ref


@dataclass(frozen=True)
class ListRules:
    """What the entries of a list mean.

    Attributes:
      root: what relative paths start from, a directory or URI; empty: the bucket, or `/`.
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
                f"is relative to {as_unicode(self.directory)}, and the worker's directory is "
                "another: list it in full, where all workers see it"
            )

    def relative_path(self, listed: Listed) -> str:
        """Where the result of an entry goes, below OUTPUT/images but for its ending.

        Raises:
          ImageError: nowhere; the message says why.
        """
        uri, root = listed.uri, self.root.rstrip("/") + "/"
        if listed.relative_path is not None:
            path = listed.relative_path
        elif self.root:
            if is_local(uri) and is_local(root):
                # abspath gives `/` no further slash.
                uri, root = os.path.abspath(uri), os.path.abspath(root).rstrip("/") + "/"
            if not uri.startswith(root):
                raise ImageError(f"does not lie below {self.root} (--input_root)")
            path = uri[len(root) :]
        elif is_local(uri):
            path = posixpath.normpath(uri).lstrip("/")
        else:
            path = uri.partition("://")[2].partition("/")[2]
        if not path or path.startswith("/") or ".." in path.split("/") or path.endswith("/"):
            raise ImageError(
                f"would write outside of the output, or no file: {as_unicode(path)!r}; "
                "give a relative_path, or --input_root"
            )
        return posixpath.normpath(path)


def covered(inputs: tuple[str, ...], root: str) -> tuple[str, ...]:
    """Globs of the sources that a run is about: its own, and whatever lies below a root of lists.

    A list without a root says nothing of what it leaves out.
    """
    if not root:
        return inputs
    below = os.path.abspath(root) if is_local(root) else root
    return *inputs, *{f"{glob.escape(name.rstrip('/'))}/**" for name in (root, below)}


def refer(entries: Iterable[Listed], order: int, rules: ListRules) -> Iterator[Found]:
    """References of the entries of a list.

    A file is looked at only where its entry lacks the size or the time of modification.

    Args:
      entries: of a list.
      order: its position among the inputs.
      rules: what entries mean.

    Yields:
      A reference for each entry, or the failed row of what is none: a bad line, a file that is not
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
                size, modified = _look_up(uri)
        except EXPECTED_ERRORS as failure:
            error = failure
        path = output_path_of(relative, rules.output_format)
        ref = ImageRef(uri, relative, path, size or 0, modified or 0.0, order)
        yield failed_row(ref, "match", error) if error else ref


def _look_up(uri: str) -> tuple[int, float]:
    """Size and time of modification of a file.

    Raises:
      OSError: it is not there, cannot be looked at, or nothing here can read such a URI.
      StoreError: its store cannot be used.
    """
    if is_local(uri):
        status = os.stat(uri)
        return status.st_size, status.st_mtime
    found = stat_object(uri)
    return found.size, found.modified


def claim_key(output_path: str, names_fold: bool) -> str:
    """What output paths have in common that mean the same file.

    Args:
      output_path: below OUTPUT/images.
      names_fold: whether neither case nor the composition of letters counts in the output.
    """
    if not names_fold:
        return output_path
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", output_path).casefold())


def claim_output(refs: Iterable[ImageRef]) -> Iterator[Found]:
    """Decides among references that would write the same file.

    The first input's (then the alphabetically first) keeps the place; the same source matched
    twice counts once.

    Yields:
      The reference that may write, and failed rows of the others.
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
            yield _refused(ref, f"would write the same output as {first.uri}")


def _refused(ref: ImageRef, why: str) -> ReportRow:
    return failed_row(ref, "match", ImageError(why))


def settle(
    found: Iterable[Found],
    past: Iterable[PastRow],
    policy: Policy,
    sizes: Sizes = None,
) -> Iterator[Found]:
    """Settles what becomes of everything that was found for one place in the output.

    Args:
      found: references, and rows of what could not be listed.
      past: what earlier runs did there.
      policy: what of it is done again.
      sizes: see Sizes.

    Yields:
      The reference that is to be restored; rows of the others.
    """
    found, past = list(found), list(past)
    for one in claim_output(one for one in found if isinstance(one, ImageRef)):
        yield decide(one, past, policy, sizes) if isinstance(one, ImageRef) else one
    # Two globs meet the same unreadable directory.
    yield from {row.source_uri: row for row in found if isinstance(row, ReportRow)}.values()
    if not found:
        yield from vanished(past, policy, sizes)


class Settle(beam.DoFn):
    """What was found and what earlier runs did, a bucket of places at a time, to what is left.

    References leave ordered by size within windows of bounded memory: a runner that deals them to
    its workers in turn gives each as much to do, and all end together.

    Args:
      policy: what is done again.
      names_fold: see claim_key.
      listing: whether the sizes of results were listed.
    """

    ROWS = "rows"

    def __init__(self, policy: Policy, names_fold: bool, listing: bool):
        self._policy = policy
        self._names_fold = names_fold
        self._listing = listing

    def start_bundle(self):
        self._refs: list[ImageRef] = []

    def process(self, group: tuple[int, dict[str, Iterable[bytes]]]):
        """Yields references, and tagged ROWS of what ends here."""
        sides = group[1]
        found = from_blocks(chain(sides["globbed"], sides["listed"]))
        past, results = from_blocks(sides["past"]), from_blocks(sides["results"])
        for place in found.keys() | past.keys():
            sizes = dict(results.get(place, ())) if self._listing else None
            claims: dict[str | None, list[Found]] = {}
            for one in found.get(place, ()):
                is_ref = isinstance(one, ImageRef)
                key = claim_key(one.output_path, self._names_fold) if is_ref else None
                claims.setdefault(key, []).append(one)
            for claimed in claims.values() or [()]:
                for one in settle(claimed, past.get(place, ()), self._policy, sizes):
                    if isinstance(one, ImageRef):
                        self._refs.append(one)
                    else:
                        yield beam.pvalue.TaggedOutput(self.ROWS, one)
        if len(self._refs) >= _WINDOW:
            yield from self._by_size()

    def finish_bundle(self):
        """Yields the references that are left."""
        yield from map(GlobalWindows.windowed_value, self._by_size())

    def _by_size(self) -> list[ImageRef]:
        refs, self._refs = sorted(self._refs, key=lambda ref: (ref.size, ref.uri)), []
        return refs


@dataclass
class MatchImages(beam.PTransform):
    """Globs and lists to references; expands to (references, rows of what ends here).

    Grouping by place in the output finds clashes and what is done; neither what was found nor what
    earlier runs did is ever in one memory, but for blocks of it (see transforms.blocks). The
    references that are left are spread over the workers.

    Attributes:
      inputs: globs of images.
      lists: globs of files of URIs.
      policy: OUTPUT, and what is done again.
      past: files of the report of earlier runs, below OUTPUT.
      rules: what the entries of lists mean, and how results are named.
      names_fold: whether OUTPUT takes names for the same that differ in case.
      on_match: called for each match before any image is read, to announce it; or None.
    """

    inputs: tuple[str, ...]
    lists: tuple[str, ...]
    policy: Policy
    past: list[str]
    rules: ListRules
    names_fold: bool = False
    on_match: Callable[[], None] | None = None

    def expand(self, pbegin):
        """Returns the two outputs."""
        policy, rules = self.policy, self.rules
        names_fold, on_match = self.names_fold, self.on_match
        first_list = len(self.inputs)

        def globbed(pattern: tuple[int, bytes]) -> Iterator[Block]:
            name = os.fsdecode(pattern[1])
            return placed(expand_glob(name, pattern[0], rules.output, rules.output_format))

        def parts(pattern: tuple[int, bytes]) -> Iterator[tuple[int, Part]]:
            for file in list_files(os.fsdecode(pattern[1])):
                for part in parts_of(file):
                    yield pattern[0], part

        def listed(numbered: tuple[int, Part]) -> Iterator[Block]:
            return placed(refer(read_part(numbered[1]), first_list + numbered[0], rules))

        def placed(found: Iterable[Found]) -> Iterator[Block]:
            return to_blocks(map(announced, found))

        def announced(one: Found) -> tuple[bytes, Found]:
            if on_match:
                on_match()
            return place_of(one), one

        def place(output_path: str) -> bytes:
            # Escaped, as the report has it; Settle tells apart what that makes equal.
            return as_unicode(claim_key(output_path, names_fold)).encode()

        def place_of(one: Found | PastRow) -> bytes:
            return place(output_path_of(one.relative_path, rules.output_format))

        def past(path: bytes) -> Iterator[Block]:
            rows = read_past(policy.store, os.fsdecode(path), policy.fingerprint)
            return to_blocks((place_of(row), row) for row in rows)

        def results(directory: str) -> Iterator[Block]:
            paths = (
                (path.removeprefix(f"{directory}/"), size)
                for path, size in policy.store.sizes(directory)
            )
            return to_blocks((place(path), (path, size)) for path, size in paths)

        # Nothing was done before: nothing needs to be looked up.
        listing = bool(self.past) and not is_local(policy.store.root)
        sides = {
            # Globs and parts of lists are spread, for one may name millions.
            "globbed": pbegin
            | "Globs" >> beam.Create(_numbered(self.inputs))
            | "SpreadGlobs" >> beam.Reshuffle()
            | "List" >> beam.FlatMap(globbed),
            "listed": pbegin
            | "Lists" >> beam.Create(_numbered(self.lists))
            | "PartsOfLists" >> beam.FlatMap(parts)
            | "SpreadParts" >> beam.Reshuffle()
            | "ReadLists" >> beam.FlatMap(listed),
            "past": pbegin
            | "Past" >> beam.Create([os.fsencode(path) for path in self.past])
            | "SpreadPast" >> beam.Reshuffle()
            | "ReadPast" >> beam.FlatMap(past),
            "results": pbegin
            | "Results" >> beam.Create(["images"] if listing else [])
            | "ListResults" >> beam.FlatMap(results),
        }
        settled = (
            sides
            | "GroupByPlace" >> beam.CoGroupByKey()
            | "Settle"
            >> beam.ParDo(Settle(policy, names_fold, listing)).with_outputs(
                Settle.ROWS, main="refs"
            )
        )
        return settled.refs | "Spread" >> beam.Reshuffle(), settled[Settle.ROWS]


def _numbered(patterns: tuple[str, ...]) -> list[tuple[int, bytes]]:
    """Names as bytes wherever Beam would encode them: they need not be Unicode."""
    return [(index, os.fsencode(pattern)) for index, pattern in enumerate(patterns)]
