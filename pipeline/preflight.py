"""Pre-run checks of inputs and output: nothing is written that stays."""

import os
import unicodedata
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

from pipeline.config import JobConfig
from pipeline.errors import NothingMatchedError, UsageError, about
from pipeline.job import Job
from shards.formats import format_of, refusal
from shards.samples import ColumnError
from storage.globs import could_match_below
from storage.lists import check_list, list_files, read_list
from storage.objects import list_objects, read_object
from storage.store import is_local, open_file
from transforms.errors import EXPECTED_ERRORS
from transforms.match import expand_glob, fixed_prefix
from transforms.records import ImageRef, ShardRef

# Objects that are read before a run to see whether any may be.
_PROBED = 3
# Files of a list that are looked at side by side: each costs a store's answer.
_LOOKERS = 16
_DIRECTORIES = (".scratch", "images", "shards", "metrics", "runs", "comparisons")


def check_places(job: Job) -> Job:
    """Checks inputs and output; writes nothing that stays.

    Returns:
      The job, completed by what was found: a warning for each glob or list that has nothing while
      others do, and whether names fold in the output.

    Raises:
      UsageError: an input is a directory, a list is missing or no list, the output lies inside the
        inputs, leads elsewhere by a link or cannot be written.
      NothingMatchedError: no input has anything, or with `fail_on_empty` one does not.
    """
    config = job.config
    for pattern in config.input:
        if why := refusal(pattern):
            raise UsageError(f"input: {pattern!r}: {why}")
        if os.path.isdir(pattern) if is_local(pattern) else _names_directory(pattern):
            raise UsageError(
                f"input: {pattern!r} is a directory; "
                f"name its images, such as '{pattern.rstrip('/')}/**/*.png'"
            )
        same_kind = is_local(pattern) == is_local(config.output)
        if same_kind and could_match_output(pattern, config.output):
            raise UsageError(
                f"output: {config.output!r} lies inside the input glob {pattern!r}; "
                "results would be taken for inputs. Write somewhere else"
            )
    empty = [
        *(f"nothing matches {one!r}" for one in config.input if not _any_match(one, config)),
        *(f"nothing is listed in {name!r}" for name in config.input_list if not _any_listed(name)),
    ]
    if empty and (config.fail_on_empty or len(empty) == len(config.input + config.input_list)):
        raise NothingMatchedError(f"input: {', '.join(empty)}")
    warnings = (*job.warnings, *empty)
    names_fold = is_local(config.output) and _check_writable(config.output)
    if not is_local(config.output):
        _check_store(config.output)
    if config.run_id and job.store.size(f"{job.run_directory}/manifest.json") is not None:
        raise UsageError(
            f"run_id: {config.run_id!r} is a run in {config.output!r} already; name another, or "
            "leave it out"
        )
    return replace(job, warnings=warnings, names_fold=names_fold)


def could_match_output(pattern: str, output: str) -> bool:
    """Whether a glob could match something in the output, both local or both on a store.

    Both as they are written and with the links followed that are known beforehand; what links of
    the input lead to is only known when it is listed.
    """
    if not is_local(pattern):
        return could_match_below(pattern, output.rstrip("/"))
    prefix = fixed_prefix(pattern)
    rest = os.path.normpath(pattern[len(prefix) :])
    variants = {
        (os.path.abspath(pattern), os.path.abspath(output)),
        (os.path.join(os.path.realpath(prefix), rest), os.path.realpath(output)),
    }
    return any(could_match_below(p.strip("/"), d.strip("/")) for p, d in variants)


def _names_directory(uri: str) -> bool:
    return uri.endswith("/") or "/" not in uri.partition("://")[2]


def _any_match(pattern: str, config: JobConfig) -> bool:
    with about("input", pattern):
        found = list(islice(expand_glob(pattern), _PROBED))
        refs = [ref for ref in found if isinstance(ref, ImageRef) and ref.size]
        if not is_local(pattern):
            _check_readable(refs)
        _check_columns([ref.uri for ref in refs if isinstance(ref, ShardRef)], config.image_column)
        return bool(found)


def _check_columns(uris: list[str], image_column: str) -> None:
    """One shard without a column of images is a bad one; all that are tried are a wrong option.

    Raises:
      UsageError: none that is tried has images where they are to be.
    """
    wrong = None
    for uri in uris:
        check = format_of(uri).check
        if check is None:
            return
        try:
            with open_file(uri) as file:
                check(file, image_column)
            return
        except ColumnError as error:
            wrong = wrong or UsageError(f"image_column: {image_column!r}: {uri}: {error}")
        except EXPECTED_ERRORS:  # its row will say so
            return
    if wrong:
        raise wrong


def _check_readable(refs: list[ImageRef]) -> None:
    """One object that is denied is a bad image; all that are tried are a lack of rights.

    Raises:
      PermissionError: none may be read.
    """
    for index, ref in enumerate(refs):
        try:
            read_object(ref.uri, 0, 1)
            return
        except PermissionError:
            if index == len(refs) - 1:
                raise
        except OSError:  # its row will say so
            return


def _check_store(output: str) -> None:
    """Whether an object store is there and can be listed.

    Raises:
      UsageError: it cannot; the message says why.
    """
    with about("output", output):
        next(list_objects(output.rstrip("/") + "/"), None)


def _any_listed(pattern: str) -> bool:
    """Whether a list names anything; all its files are looked at.

    Raises:
      UsageError: there are none, or one is no list.
    """
    with about("input_list", pattern):
        files = list_files(pattern)
        with ThreadPoolExecutor(_LOOKERS) as pool:
            for _ in pool.map(_check_list, files):
                pass
        return any(next(read_list(file), None) is not None for file in files)


def _check_list(file: str) -> None:
    with about("input_list", file):
        check_list(file)


def _check_writable(output: str) -> bool:
    """Whether names fold where the output would be; leaves no trace.

    Raises:
      UsageError: it cannot be written, or leads elsewhere.
    """
    for name in _DIRECTORIES:
        if os.path.islink(os.path.join(output, name)):
            raise UsageError(f"output: {name!r} in {output!r} is a link; results must stay there")
    existing = os.path.abspath(output)
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    try:
        if not os.path.isdir(existing):
            raise NotADirectoryError(None, f"{existing} is not a directory")
        return _names_fold(existing)
    except OSError as error:
        raise UsageError(f"output: {output!r} cannot be written: {error.strerror}") from None


def _names_fold(directory: str) -> bool:
    """Whether a file is found by a name in another case, or with its letters composed otherwise."""
    name = f".srcnn-probe-{uuid.uuid4().hex}-\N{LATIN SMALL LETTER E WITH ACUTE}"
    twins = (name.replace("srcnn", "SRCNN"), unicodedata.normalize("NFD", name))
    probe = os.path.join(directory, name)
    with open(probe, "xb"):
        pass
    try:
        return any(os.path.lexists(os.path.join(directory, twin)) for twin in twins)
    finally:
        os.unlink(probe)
