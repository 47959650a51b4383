"""The interface of object stores: the requests that each answers, and how refusals are read."""

import errno
import os
from typing import NamedTuple, Protocol

from storage.errors import StoreError

# Seconds to connect and to read. A store that does not answer is given up within a minute.
TIMEOUTS = (5.0, 20.0)

# One page of a listing: (key, bytes, seconds since 1970) of each object, and the token of the next
# page.
Page = tuple[list[tuple[str, int, float]], str | None]

# Error codes that concern the store and not the object.
_STORE_CODES = (
    "ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId",
    "SignatureDoesNotMatch", "RequestTimeTooSkewed",
)  # fmt: skip
_BUSY_CODES = (
    "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestTimeout",
    "InternalError", "ConditionalRequestConflict", "OperationAborted",
)  # fmt: skip


class AgainError(Exception):
    """A request was not answered; a retry may succeed."""

    patience = 25.0  # seconds for all tries together


class BusyError(AgainError):
    """The store answered that it is busy or broken, which may take a while."""

    patience = 180.0


class ExistsError(Exception):
    """The object to create exists already."""


class Part(NamedTuple):
    """A part of an upload: its number from 0, its offset, its content, and the whole's bytes."""

    number: int
    start: int
    content: bytes
    size: int


class Bucket(Protocol):
    """A bucket of an object store, opened by name. Each call is one request.

    Every method raises AgainError where a retry may help, otherwise the result of `refusal`, or
    StoreError.
    """

    def read(self, key: str, start: int | None, end: int | None) -> bytes:
        """The content of an object, or its bytes from `start` up to `end`."""

    def write(self, key: str, content: bytes, kind: str, only_new: bool) -> None:
        """Writes an object of media type `kind`; `only_new`: or raises ExistsError."""

    def begin_upload(self, key: str, kind: str) -> str:
        """Begins an upload in parts; returns its name."""

    def put_part(self, key: str, upload: str, part: Part) -> str:
        """Writes a part, in order; returns its tag for `end_upload`."""

    def end_upload(self, key: str, upload: str, tags: list[str], size: int) -> None:
        """Turns the parts into an object of `size` bytes."""

    def abort_upload(self, key: str, upload: str) -> None:
        """Discards an upload."""

    def stat(self, key: str) -> tuple[int, float]:
        """Bytes of an object, and its modification time in seconds since 1970."""

    def delete(self, key: str) -> None:
        """Removes an object."""

    def page(self, prefix: str, deep: bool, token: str | None) -> Page:
        """A page of a listing; `deep` includes keys with a slash after the prefix."""


def refusal(uri: str, status: int, code: str, message: str) -> Exception:
    """The exception for an error answer of a store."""
    words = " ".join(f"{code} {status}: {message}".split())
    if status == 412:
        return ExistsError()
    if status in (408, 429) or status >= 500 or code in _BUSY_CODES:
        return BusyError(f"the store is busy or broken ({words})")
    if code in _STORE_CODES or status == 401:
        return StoreError(f"{uri}: {words}")
    if status == 404 and code != "NoSuchBucket":
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), uri)
    if status == 403:
        return PermissionError(errno.EACCES, f"access denied ({words})", uri)
    return OSError(errno.EINVAL, words, uri)


def brief(error: Exception) -> str:
    """A library's error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
