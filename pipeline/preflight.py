"""Pre-run checks of inputs and output; they leave nothing behind."""

import os
import unicodedata
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

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

# Matches of a glob that are read before a run.
_PROBED = 3
# Files of a list that are checked in parallel: each costs a request.
_LIST_THREADS = 16
_EMPTY_HINT = "check the path, the quotes, and upper and lower case"
_DIRECTORIES = (".scratch", "images", "shards", "metrics", "runs", "comparisons")


def check_places(job: Job) -> Job:
    """Checks inputs and output; returns the job with `names_fold` and warnings of empty inputs.

    Raises:
      UsageError: an input is a directory, a list is missing or damaged, the output lies inside the
        inputs, leads elsewhere by a link or cannot be written.
      NothingMatchedError: all inputs are empty, or with `fail_on_empty` one is.
    """
    config = job.config
    for pattern in config.input:
        _check_pattern(pattern, config.output)
    empty = [
        *(f"nothing matches {one!r}" for one in config.input if not _any_match(one, config)),
        *(f"nothing is listed in {name!r}" for name in config.input_list if not _any_listed(name)),
    ]
    if empty and (config.fail_on_empty or len(empty) == len(config.input + config.input_list)):
        raise NothingMatchedError(f"input: {', '.join(empty)}; {_EMPTY_HINT}")
    names_fold = False
    if is_local(config.output):
        names_fold = _check_writable(config.output)
    else:
        with about("output", config.output):
            next(list_objects(config.output.rstrip("/") + "/"), None)
    if config.run_id and job.store.size(f"{job.run_directory}/manifest.json") is not None:
        raise UsageError(
            f"run_id: {config.run_id!r} already exists in {config.output!r}; choose another, or "
            "leave it out"
        )
    warnings = (*job.warnings, *(f"{one}; {_EMPTY_HINT}" for one in empty))
    return replace(job, warnings=warnings, names_fold=names_fold)


def _check_pattern(pattern: str, output: str) -> None:
    if why := refusal(pattern):
        raise UsageError(f"input: {pattern!r}: {why}")
    if os.path.isdir(pattern) if is_local(pattern) else _names_directory(pattern):
        raise UsageError(
            f"input: {pattern!r} is a directory; "
            f"name its images, such as '{pattern.rstrip('/')}/**/*.png'"
        )
    if is_local(pattern) == is_local(output) and could_match_output(pattern, output):
        raise UsageError(
            f"output: {output!r} lies inside the input glob {pattern!r}; "
            "results would be taken for inputs. Write somewhere else"
        )


def could_match_output(pattern: str, output: str) -> bool:
    """Whether a glob could match a file in the output, both local or both on object stores.

    Paths are compared as written and with known links followed; links below the glob are only known
    when it is listed.
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
    """Whether a glob matches anything; tries to read the first matches."""
    with about("input", pattern):
        found = list(islice(expand_glob(pattern), _PROBED))
        if not is_local(pattern):
            images = [ref.uri for ref in found if isinstance(ref, ImageRef) and ref.size]
            _refuse_if_all(lambda uri: read_object(uri, 0, 1), images, PermissionError)
        shards = [ref.uri for ref in found if isinstance(ref, ShardRef)]
        _refuse_if_all(partial(_check_column, config.image_column), shards, UsageError)
        return bool(found)


def _refuse_if_all(check: Callable[[str], Any], uris: list[str], refused: type[Exception]) -> None:
    """Raises the last refusal if a check refuses all files; a few of them become failed rows."""
    denied = None
    for uri in uris:
        try:
            check(uri)
            return
        except refused as error:
            denied = error
        except EXPECTED_ERRORS:
            return
    if denied:
        raise denied


def _check_column(image_column: str, uri: str) -> None:
    if check := format_of(uri).check:
        try:
            with open_file(uri) as file:
                check(file, image_column)
        except ColumnError as error:
            raise UsageError(f"image_column: {image_column!r}: {uri}: {error}") from None


def _any_listed(pattern: str) -> bool:
    """Checks all files of a list; returns whether they name anything."""
    with about("input_list", pattern):
        files = list_files(pattern)
        with ThreadPoolExecutor(_LIST_THREADS) as pool:
            for _ in pool.map(_check_list, files):
                pass
        return any(next(read_list(file), None) is not None for file in files)


def _check_list(file: str) -> None:
    with about("input_list", file):
        check_list(file)


def _check_writable(output: str) -> bool:
    """Checks a local output without a trace; returns whether names fold there."""
    for name in _DIRECTORIES:
        if os.path.islink(os.path.join(output, name)):
            raise UsageError(
                f"output: {name!r} in {output!r} is a link; results must stay in OUTPUT"
            )
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
    """Whether a file is found by its name in another case or another composition of letters."""
    name = f".srcnn-probe-{uuid.uuid4().hex}-\N{LATIN SMALL LETTER E WITH ACUTE}"
    twins = (name.replace("srcnn", "SRCNN"), unicodedata.normalize("NFD", name))
    probe = os.path.join(directory, name)
    with open(probe, "xb"):
        pass
    try:
        return any(os.path.lexists(os.path.join(directory, twin)) for twin in twins)
    finally:
        os.unlink(probe)
