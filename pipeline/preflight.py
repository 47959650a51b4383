"""What is looked at before anything is written: inputs, output, and what a dry run shows."""

import glob
import itertools
import os
import uuid
from collections.abc import Iterator
from fnmatch import fnmatchcase

from pipeline.config import JobConfig
from pipeline.errors import NothingMatchedError, UsageError
from pipeline.job import Job
from transforms.errors import EXPECTED_ERRORS
from transforms.match import claim_output, expand_glob, fixed_prefix
from transforms.read import ImageHeader, read_header
from transforms.records import ImageRef
from transforms.storage import is_local, open_file

_SHOWN = 20


def check_places(config: JobConfig) -> list[str]:
    """Checks inputs and output; writes nothing that stays.

    Returns:
      Warnings: globs that match nothing while others do.

    Raises:
      UsageError: an input is a directory, the output lies inside the inputs or cannot be written.
      NothingMatchedError: no glob matches anything.
    """
    for pattern in config.input:
        if is_local(pattern) and os.path.isdir(pattern):
            raise UsageError(
                f"input: {pattern!r} is a directory; "
                f"name its images, such as '{pattern.rstrip('/')}/**/*.png'"
            )
        both_local = is_local(pattern) and is_local(config.output)
        if both_local and could_match_below(
            os.path.abspath(pattern), os.path.abspath(config.output)
        ):
            raise UsageError(
                f"output: {config.output!r} lies inside the input glob {pattern!r}; "
                "results would be taken for inputs. Write somewhere else"
            )
    empty = [pattern for pattern in config.input if not _matches_anything(pattern)]
    if len(empty) == len(config.input):
        raise NothingMatchedError(f"input: nothing matches {', '.join(map(repr, empty))}")
    if is_local(config.output):
        _check_writable(config.output)
    return [f"nothing matches {pattern!r}" for pattern in empty]


def could_match_below(pattern: str, directory: str) -> bool:
    """Whether a glob could match a path below a directory, whatever that path is.

    Args:
      pattern: absolute glob.
      directory: absolute path.
    """
    real = os.path.realpath
    prefix = fixed_prefix(pattern)
    variants = {
        (pattern, directory),
        (_join(real(prefix), pattern[len(prefix) :]), real(directory)),
    }
    return any(
        _reaches_below(p.strip("/").split("/"), d.strip("/").split("/")) for p, d in variants
    )


def describe_plan(job: Job) -> Iterator[str]:
    """What a run would do, line by line; reads headers, touches nothing."""
    config, card = job.config, job.weights.card
    yield f"mode        {config.mode}, x{config.scale} {config.kernel}, protocol {config.protocol}"
    yield f"model       {card.name} (sha256 {card.sha256[:12]}…), engine {job.engine}"
    yield f"output      {config.output} (run {job.store.run_id})"
    yield ""
    claims: dict[str, list[ImageRef]] = {}
    for order, pattern in enumerate(config.input):
        for ref in expand_glob(pattern, order):
            claims.setdefault(ref.output_path, []).append(ref)
    megapixels, unreadable, clashing = 0.0, [], []
    for position, output_path in enumerate(sorted(claims)):
        first, *clashes = claim_output(claims[output_path])
        clashing += clashes
        try:
            header = _header(first)
        except EXPECTED_ERRORS as error:
            unreadable.append((first, error))
            continue
        megapixels += header.megapixels
        if position < _SHOWN:
            yield f"  {first.uri}  {header.width} x {header.height}  ->  images/{output_path}"
    if len(claims) > _SHOWN:
        yield f"  … and {len(claims) - _SHOWN} more"
    for ref, error in itertools.islice(clashing + unreadable, _SHOWN):
        yield f"  would fail: {ref.uri}: {error}"
    matched = len(claims) + len(clashing)
    yield ""
    yield (
        f"{matched} images matched, {megapixels:.1f} megapixels; "
        f"{len(clashing)} clashing outputs, {len(unreadable)} unreadable"
    )
    yield "dry run: nothing was written"


def _header(ref: ImageRef) -> ImageHeader:
    with open_file(ref.uri) as file:
        return read_header(file)


def _matches_anything(pattern: str) -> bool:
    try:
        return next(expand_glob(pattern), None) is not None
    except (OSError, ValueError) as error:
        raise UsageError(f"input: {pattern!r}: {error}") from None


def _check_writable(output: str) -> None:
    """Makes and removes a file where the output would be, and leaves no trace."""
    existing = os.path.abspath(output)
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    probe = os.path.join(existing, f".srcnn-probe-{uuid.uuid4().hex}")
    try:
        if not os.path.isdir(existing):
            raise NotADirectoryError(None, f"{existing} is not a directory")
        with open(probe, "xb"):
            pass
        os.unlink(probe)
    except OSError as error:
        raise UsageError(f"output: {output!r} cannot be written: {error.strerror}") from None


def _join(prefix: str, rest: str) -> str:
    return f"{prefix.rstrip('/')}/{rest}"


def _reaches_below(pattern: list[str], directory: list[str]) -> bool:
    """Whether some path with `directory` as a proper prefix matches the pattern's components."""
    if not directory:
        return bool(pattern)
    if not pattern:
        return False
    if pattern[0] == "**":
        return _reaches_below(pattern[1:], directory) or _reaches_below(pattern, directory[1:])
    matches = (
        fnmatchcase(directory[0], pattern[0])
        if glob.has_magic(pattern[0])
        else directory[0] == pattern[0]
    )
    return matches and _reaches_below(pattern[1:], directory[1:])
