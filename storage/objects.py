"""Objects of S3 and of Google Cloud Storage, by URI: requests are bounded in time and retried.

Credentials and endpoints come from the environment (AWS_*, GOOGLE_APPLICATION_CREDENTIALS, ...) of
each machine. Every function raises OSError for an error of the object (FileNotFoundError,
PermissionError, ...), and StoreError where the store cannot be used.
"""

import errno
import io
import math
import mimetypes
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any, BinaryIO, NamedTuple

from storage.bucket import AgainError, Bucket, ExistsError, Part
from storage.errors import StoreError
from storage.gcs import GoogleBucket
from storage.s3 import S3Bucket

# Each store and the extra that installs its client, by the scheme of its URIs.
_STORES = {"s3": (S3Bucket, "s3"), "gs": (GoogleBucket, "gcs")}
_FIRST_WAIT = 0.25
_LONGEST_WAIT = 15.0
READ_AHEAD = 4 << 20
# Bytes of a part of an upload, and the number of parts that S3 accepts.
_PART_BYTES = 16 << 20
_MOST_PARTS = 10_000

_most_patience = math.inf


def limit_retries(seconds: float = 2.0) -> None:
    """Limits the time for all retries of this process, which is about to end."""
    global _most_patience
    _most_patience = seconds


class Stored(NamedTuple):
    """A file or object: URI, bytes, and modification time in seconds since 1970."""

    uri: str
    size: int
    modified: float


def read_object(uri: str, start: int | None = None, end: int | None = None) -> bytes:
    """The content of an object, or its bytes from `start` up to `end`, at least one."""
    return _request(uri, "read", start, end)


def write_object(uri: str, content: bytes, only_new: bool = False) -> bool:
    """Writes an object by one put, hence whole or not at all; returns whether it was written.

    With `only_new` an existing object stays, except on stores without conditional writes.
    """
    try:
        _request(uri, "write", content, _media_type(uri), only_new)
    except ExistsError:
        return False
    return True


def upload_object(uri: str, file: BinaryIO) -> None:
    """Uploads a local file, open for reading at any position, by one put or in parts.

    The object is visible whole or not at all.
    """
    size = file.seek(0, io.SEEK_END)
    step = max(_PART_BYTES, -(-size // _MOST_PARTS))
    file.seek(0)
    if size <= step:
        write_object(uri, file.read())
        return
    upload = _request(uri, "begin_upload", _media_type(uri))
    try:
        tags = []
        for start in range(0, size, step):
            part = Part(len(tags), start, file.read(step), size)
            tags.append(_request(uri, "put_part", upload, part))
        _request(uri, "end_upload", upload, tags, size)
    except BaseException:
        with suppress(OSError, StoreError):
            _request(uri, "abort_upload", upload)
        raise


def stat_object(uri: str) -> Stored:
    """Size and modification time of an object."""
    return Stored(uri, *_request(uri, "stat"))


def find_object(uri: str) -> Stored | None:
    """Size and modification time of an object, or None if it does not exist."""
    try:
        return stat_object(uri)
    except FileNotFoundError:
        return None


def delete_object(uri: str) -> None:
    """Removes an object if it exists."""
    with suppress(FileNotFoundError):
        _request(uri, "delete")


def list_objects(prefix: str, deep: bool = True) -> Iterator[Stored]:
    """Lists the objects whose URI begins with a prefix, page by page.

    Markers of directories (names that end in a slash) are left out.

    Args:
      prefix: a URI; `s3://bucket/photos/a` is a prefix of `s3://bucket/photos/abc/d.png`.
      deep: whether to include names with a slash after the prefix.
    """
    root, token = prefix[: prefix.index("/", prefix.index("://") + 3) + 1], None
    while True:
        found, token = _request(prefix, "page", deep, token)
        for key, size, modified in found:
            if not key.endswith("/"):
                yield Stored(root + key, size, modified)
        if token is None:
            return


class ObjectReader(io.RawIOBase):
    """An object as a seekable file, read in parts; see open_object."""

    def __init__(self, uri: str):
        self._uri, self._size, self._at = uri, stat_object(uri).size, 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer):
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        content = read_object(self._uri, self._at, end)
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)


def open_object(uri: str, read_ahead: int = READ_AHEAD) -> io.BufferedReader:
    """Opens an object for reading, `read_ahead` bytes a request."""
    return io.BufferedReader(ObjectReader(uri), read_ahead)


def _media_type(uri: str) -> str:
    return mimetypes.guess_type(uri)[0] or "application/octet-stream"


def _request(uri: str, method: str, *arguments: Any) -> Any:
    """Calls a method of Bucket until it is answered, with growing, randomized waits."""
    bucket, key = _locate(uri)
    started, tries = time.monotonic(), 0
    while True:
        try:
            return getattr(bucket, method)(key, *arguments)
        except AgainError as again:
            tries += 1
            wait = min(_FIRST_WAIT * 2 ** (tries - 1), _LONGEST_WAIT) * random.uniform(0.5, 1.0)
            seconds = time.monotonic() - started
            if seconds + wait > min(again.patience, _most_patience):
                raise StoreError(
                    f"{uri}: {again}; tried {tries} times in {seconds:.0f} seconds"
                ) from None
            time.sleep(wait)


def _locate(uri: str) -> tuple[Bucket, str]:
    scheme, _, rest = uri.partition("://")
    name, _, key = rest.partition("/")
    if scheme not in _STORES:
        raise OSError(errno.EINVAL, f"{scheme}:// is not supported; use s3:// or gs://", uri)
    if not name:
        raise OSError(errno.EINVAL, "the URI names no bucket", uri)
    return _open_bucket(scheme, name), key


@lru_cache(maxsize=16)
def _open_bucket(scheme: str, name: str) -> Bucket:
    store, package = _STORES[scheme]
    try:
        return store(name)
    except ImportError:
        raise StoreError(
            f"{scheme}://{name}: needs a package that is not installed: "
            f"pip install 'srcnn-beam[{package}]'"
        ) from None
