"""Finds the images: globs and lists to references, each with its own place in the output."""

import os
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows

from codec.errors import ImageError
from storage.globs import WILDCARD, find_objects
from storage.lists import Part, list_files, parts_of, read_part
from storage.store import is_local
from storage.walk import walk
from transforms.blocks import Block, from_blocks, to_blocks
from transforms.done import PastRow, Policy, Sizes, decide, read_past, vanished
from transforms.done_shards import decide_shard, fold_shards
from transforms.listed import Found, ListRules, checked, output_path_of, refer, reference
from transforms.records import ImageRef, ReportRow, ShardRef, as_unicode
from transforms.stage import failed_row

_WINDOW = 1024


def fixed_prefix(pattern: str) -> str:
    """The directory part of a glob before its first wildcard, with a trailing separator.

    `photos/2026/*/a*.png` has `photos/2026/`; a path without wildcards has its directory.
    """
    wildcard = WILDCARD.search(pattern)
    head = pattern[: wildcard.start()] if wildcard else pattern
    return head[: head.rfind("/") + 1]


def expand_glob(
    pattern: str, order: int = 0, output: str | None = None, output_format: str = "same"
) -> Iterator[Found]:
    """Lists a glob's matches, in no particular order.

    Directories are listed too, so that the report can name them, except those that a final `**`
    matches.

    Args:
      pattern: the glob; see walk for its meaning on this machine.
      order: its position among the inputs.
      output: OUTPUT; input links that lead there are refused.
      output_format: see output_path_of.

    Yields:
      A reference for each match; a failed row for each refused one, and for each directory that
      cannot be read.

    Raises:
      ValueError: `..` follows a wildcard, so that results would lie outside the output.
    """
    if ".." in pattern[len(fixed_prefix(pattern)) :].split("/"):
        raise ValueError("'..' cannot follow a wildcard")
    if is_local(pattern):
        pattern = re.sub("/{2,}", "/", pattern)  # as glob does; the prefix must be of one length
    prefix = fixed_prefix(pattern)

    def ref_of(uri: str, size: int, modified: float) -> ImageRef:
        relative = posixpath.normpath(uri[len(prefix) :])
        return reference(uri, relative, size, modified, order, output_format)

    if not is_local(pattern):
        for found in find_objects(pattern):
            ref = ref_of(*found)
            if {"", ".", ".."}.isdisjoint(found.uri[len(prefix) :].split("/")):
                yield checked(ref)
            else:
                yield _refused(
                    ref, "a key with an empty, '.' or '..' part cannot be the path of a result"
                )
        return
    for path, error in walk(pattern, output if output and is_local(output) else None):
        path = path.rstrip("/")
        try:
            status = os.stat(path)
            ref = ref_of(path, status.st_size, status.st_mtime)
        except OSError:  # such as a dangling link: reading it will give the reason
            ref = ref_of(path, 0, 0.0)
        yield failed_row(ref, "match", error) if error else checked(ref)


def claim_key(output_path: str, names_fold: bool) -> str:
    """The key that output paths share if they mean the same file.

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
    found: Iterable[Found], past: Iterable[PastRow], policy: Policy, sizes: Sizes = None
) -> Iterator[Found]:
    """Decides on all inputs that were found for one place in the output.

    Args:
      found: references, and rows of inputs that could not be listed.
      past: rows of earlier runs for that place.
      policy: decides which of it is repeated.
      sizes: see Sizes.

    Yields:
      The reference to restore; rows of the others.
    """
    found, past = list(found), list(past)
    for one in claim_output(one for one in found if isinstance(one, ImageRef)):
        if isinstance(one, ShardRef):
            yield from decide_shard(one, past, policy, sizes)
        else:
            yield decide(one, past, policy, sizes) if isinstance(one, ImageRef) else one
    # Two globs meet the same unreadable directory.
    yield from {row.source_uri: row for row in found if isinstance(row, ReportRow)}.values()
    if not found:
        yield from vanished(fold_shards(past), policy, sizes)


class Settle(beam.DoFn):
    """Inputs and rows of earlier runs, one bucket of places at a time, to the remaining work.

    References leave ordered by size within windows of bounded memory: a runner that deals them to
    its workers in turn gives each as much to do, and all end together.

    Args:
      policy: decides which work is repeated.
      names_fold: see claim_key.
      listing: whether the sizes of results were listed.
      on_match: called for each image of a shard that ends here, or None.
    """

    ROWS = "rows"

    def __init__(
        self,
        policy: Policy,
        names_fold: bool,
        listing: bool,
        on_match: Callable[[], None] | None = None,
    ):
        self._policy = policy
        self._on_match = on_match
        self._names_fold = names_fold
        self._listing = listing

    def start_bundle(self):
        self._refs: list[ImageRef] = []

    def process(self, group: tuple[int, dict[str, Iterable[bytes]]]):
        """Yields references, and on the tag ROWS the rows of inputs that end here."""
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
                        if self._on_match and one.shard is not None:
                            self._on_match()
                        yield beam.pvalue.TaggedOutput(self.ROWS, one)
        if len(self._refs) >= _WINDOW:
            yield from self._by_size()

    def finish_bundle(self):
        """Yields the references that are left."""
        yield from map(GlobalWindows.windowed_value, self._by_size())

    def _by_size(self) -> list[ImageRef]:
        refs, self._refs = sorted(self._refs, key=lambda ref: (ref.size, ref.uri)), []
        return refs


@dataclass(frozen=True)
class _Blocks:
    """Blocks of inputs and of earlier rows, keyed by place in the output.

    Attributes: see MatchImages.
    """

    policy: Policy
    rules: ListRules
    names_fold: bool
    on_match: Callable[[], None] | None

    def globbed(self, pattern: tuple[int, bytes]) -> Iterator[Block]:
        order, name = pattern
        found = expand_glob(os.fsdecode(name), order, self.rules.output, self.rules.output_format)
        return to_blocks(map(self._announce, found))

    def listed(self, numbered: tuple[int, Part]) -> Iterator[Block]:
        order, part = numbered
        return to_blocks(map(self._announce, refer(read_part(part), order, self.rules)))

    def past(self, path: bytes) -> Iterator[Block]:
        rows = read_past(os.fsdecode(path), self.policy)
        return to_blocks((self._place_of(row), row) for row in rows)

    def results(self, directory: str) -> Iterator[Block]:
        sizes = self.policy.store.sizes(directory)
        return to_blocks((self._place(path), (path, size)) for path, size in sizes)

    def _announce(self, one: Found) -> tuple[bytes, Found]:
        # Of the images of a shard it announces each, when it is known.
        if self.on_match and not isinstance(one, ShardRef):
            self.on_match()
        return self._place_of(one), one

    def _place_of(self, one: Found | PastRow) -> bytes:
        shard = None if isinstance(one, ImageRef) else one.shard
        path = output_path_of(shard or one.relative_path, self.rules.output_format)
        return self._place(path)

    def _place(self, output_path: str) -> bytes:
        # Escaped, as the report has it; Settle distinguishes names that become equal.
        return as_unicode(claim_key(output_path, self.names_fold)).encode()


@dataclass
class MatchImages(beam.PTransform):
    """Globs and lists to references; expands to (references, rows of inputs that end here).

    Grouping by place in the output finds clashes and finished results; inputs and earlier rows are
    never in one memory as a whole, only blocks of them (see transforms.blocks). The remaining
    references are spread over the workers.

    Attributes:
      inputs: globs of images.
      lists: globs of files of URIs.
      policy: OUTPUT, and which inputs are repeated.
      past: files of the report of earlier runs, below OUTPUT.
      rules: the meaning of list entries, and how results are named.
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
        blocks = _Blocks(self.policy, self.rules, self.names_fold, self.on_match)
        # Nothing was done before: nothing needs to be looked up.
        listing = bool(self.past) and not is_local(self.policy.store.root)
        sides = {
            # Globs and parts of lists are spread: one may name millions.
            "globbed": pbegin
            | "Globs" >> beam.Create(_numbered(self.inputs))
            | "SpreadGlobs" >> beam.Reshuffle()
            | "List" >> beam.FlatMap(blocks.globbed),
            "listed": pbegin
            | "Lists" >> beam.Create(_numbered(self.lists, len(self.inputs)))
            | "PartsOfLists" >> beam.FlatMap(_parts)
            | "SpreadParts" >> beam.Reshuffle()
            | "ReadLists" >> beam.FlatMap(blocks.listed),
            "past": pbegin
            | "Past" >> beam.Create([os.fsencode(path) for path in self.past])
            | "SpreadPast" >> beam.Reshuffle()
            | "ReadPast" >> beam.FlatMap(blocks.past),
            "results": pbegin
            | "Results" >> beam.Create(["images", "shards"] if listing else [])
            | "ListResults" >> beam.FlatMap(blocks.results),
        }
        settle = beam.ParDo(Settle(self.policy, self.names_fold, listing, self.on_match))
        settled = (
            sides
            | "GroupByPlace" >> beam.CoGroupByKey()
            | "Settle" >> settle.with_outputs(Settle.ROWS, main="refs")
        )
        return settled.refs | "Spread" >> beam.Reshuffle(), settled[Settle.ROWS]


def _numbered(patterns: tuple[str, ...], first: int = 0) -> list[tuple[int, bytes]]:
    """Names as bytes wherever Beam would encode them: they need not be Unicode."""
    return [(index, os.fsencode(pattern)) for index, pattern in enumerate(patterns, first)]


def _parts(pattern: tuple[int, bytes]) -> Iterator[tuple[int, Part]]:
    order, name = pattern
    for file in list_files(os.fsdecode(name)):
        for part in parts_of(file):
            yield order, part
