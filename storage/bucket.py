"""What is the same in all object stores: what each can do, and what its refusals mean."""

import errno
import os
from abc import ABC, abstractmethod
from typing import NamedTuple

from storage.errors import StoreError

# A store that does not answer is given up within a minute, the last try included.
CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0

# Of a listing: keys, bytes and seconds since 1970; and what the next page is asked for with.
Page = tuple[list[tuple[str, int, float]], str | None]

# Answers that are not about the object that was asked for.
_OF_THE_STORE = (
    "ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId",
    "SignatureDoesNotMatch", "RequestTimeTooSkewed",
)  # fmt: skip
_BUSY = (
    "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestTimeout",
    "InternalError", "ConditionalRequestConflict", "OperationAborted",
)  # fmt: skip


class AgainError(Exception):
    """A request was not answered, and may be at another try."""

    patience = 25.0  # seconds that all tries may take


class BusyError(AgainError):
    """A store answered that it is busy, or broken, and may be so for a while."""

    patience = 180.0


class ExistsError(Exception):
    """An object that was to be new is there."""


class Part(NamedTuple):
    """A part of an upload: its number from 0, where it starts, its content; bytes of the whole."""

    number: int
    start: int
    content: bytes
    size: int


class Bucket(ABC):
    """A bucket of an object store, made by its name. Each call is one request.

    All raise AgainError where another try may help, else what `refusal` returns, or StoreError.
    """

    @abstractmethod
    def read(self, key: str, start: int | None, end: int | None) -> bytes:
        """The content of an object, or its bytes from `start` up to `end`."""

    @abstractmethod
    def write(self, key: str, content: bytes, kind: str, only_new: bool) -> None:
        """Writes an object of a media type; raises ExistsError if `only_new` and it is there."""

    @abstractmethod
    def begin_upload(self, key: str, kind: str) -> str:
        """Begins an object of a media type that comes in parts; returns the upload's name."""

    @abstractmethod
    def put_part(self, key: str, upload: str, part: Part) -> str:
        """Writes a part, the last one last; returns what `end_upload` needs of it."""

    @abstractmethod
    def end_upload(self, key: str, upload: str, tags: list[str], size: int) -> None:
        """Makes an object of so many bytes of its parts."""

    @abstractmethod
    def abort_upload(self, key: str, upload: str) -> None:
        """Gives an upload up."""

    @abstractmethod
    def stat(self, key: str) -> tuple[int, float]:
        """Bytes of an object, and when it was written, seconds since 1970."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Removes an object."""

    @abstractmethod
    def page(self, prefix: str, deep: bool, token: str | None) -> Page:
        """A page of a listing; `deep`: also keys with a slash behind the prefix."""


def refusal(uri: str, status: int, code: str, message: str) -> Exception:
    """The error that an answer of a store stands for."""
    words = " ".join(f"{code} {status}: {message}".split())
    if status == 412:
        return ExistsError()
    if status in (408, 429) or status >= 500 or code in _BUSY:
        return BusyError(f"the store is busy or broken ({words})")
    if code in _OF_THE_STORE or status == 401:
        return StoreError(f"{uri}: {words}")
    if status == 404 and code != "NoSuchBucket":
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), uri)
    if status == 403:
        return PermissionError(errno.EACCES, f"access denied ({words})", uri)
    return OSError(errno.EINVAL, words, uri)


def brief(error: Exception) -> str:
    """An error of a library in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
