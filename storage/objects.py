"""Objects of S3 and of Google Cloud Storage, by URI: each request bounded in time and tries.

Credentials and endpoints come from the environment (AWS_*, GOOGLE_APPLICATION_CREDENTIALS, ...), on
every machine that takes part. Every function raises OSError for an error of the object (such as
FileNotFoundError and PermissionError), and StoreError where its store cannot be used.
"""

import errno
import io
import math
import mimetypes
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import BinaryIO, NamedTuple, TypeVar

from storage.bucket import AgainError, Bucket, ExistsError, Part
from storage.errors import StoreError
from storage.gcs import GoogleBucket
from storage.s3 import S3Bucket

# The stores, by the scheme of their URIs, and the extra of this package that each needs.
_STORES = {"s3": (S3Bucket, "s3"), "gs": (GoogleBucket, "gcs")}
_FIRST_WAIT = 0.25
_LONGEST_WAIT = 15.0
READ_AHEAD = 4 << 20
# An upload has parts of so many bytes, and S3 takes this many parts.
_PART_BYTES = 16 << 20
_MOST_PARTS = 10_000

T = TypeVar("T")
_most_patience = math.inf


def limit_retries(seconds: float = 2.0) -> None:
    """Stops all retries of this process, which is about to end, after so many seconds."""
    global _most_patience
    _most_patience = seconds


class Stored(NamedTuple):
    """An object of a listing: URI, bytes, and when it was written, seconds since 1970."""

    uri: str
    size: int
    modified: float


def read_object(uri: str, start: int | None = None, end: int | None = None) -> bytes:
    """The content of an object, or its bytes from `start` up to `end`, which must not be none."""
    return _retry(uri, lambda bucket, key: bucket.read(key, start, end))


def write_object(uri: str, content: bytes, only_new: bool = False) -> bool:
    """Writes an object by one put, so whole or not at all; returns whether it was written.

    `only_new`: only where there is none. Stores that know no such condition overwrite.
    """
    kind = mimetypes.guess_type(uri)[0] or "application/octet-stream"
    try:
        _retry(uri, lambda bucket, key: bucket.write(key, content, kind, only_new))
    except ExistsError:
        return False
    return True


def upload_object(uri: str, file: BinaryIO) -> None:
    """Makes an object of a local file: by one put, or part by part; visible whole or not at all.

    Args:
      uri: of the object.
      file: open for reading, wherever it stands.
    """
    size = file.seek(0, io.SEEK_END)
    step = max(_PART_BYTES, -(-size // _MOST_PARTS))
    file.seek(0)
    if size <= step:
        write_object(uri, file.read())
        return
    kind = mimetypes.guess_type(uri)[0] or "application/octet-stream"
    upload = _retry(uri, lambda bucket, key: bucket.begin_upload(key, kind))
    try:
        tags = []
        for start in range(0, size, step):
            part = Part(len(tags), start, file.read(step), size)
            tags.append(_retry(uri, lambda bucket, key, p=part: bucket.put_part(key, upload, p)))
        _retry(uri, lambda bucket, key: bucket.end_upload(key, upload, tags, size))
    except BaseException:
        with suppress(OSError, StoreError):
            _retry(uri, lambda bucket, key: bucket.abort_upload(key, upload))
        raise


def stat_object(uri: str) -> Stored:
    """Size and time of an object."""
    return Stored(uri, *_retry(uri, lambda bucket, key: bucket.stat(key)))


def find_object(uri: str) -> Stored | None:
    """As stat_object, or None if there is no such object."""
    try:
        return stat_object(uri)
    except FileNotFoundError:
        return None


def delete_object(uri: str) -> None:
    """Removes an object, if it is there."""
    try:
        _retry(uri, lambda bucket, key: bucket.delete(key))
    except FileNotFoundError:
        return


def list_objects(prefix: str, deep: bool = True) -> Iterator[Stored]:
    """Lists the objects whose URI begins with a prefix, page by page.

    Markers of directories (names that end in a slash) are no objects of ours.

    Args:
      prefix: a URI; `s3://bucket/photos/a` is one of `s3://bucket/photos/abc/d.png`.
      deep: also those with a further slash behind the prefix.
    """
    root, token = prefix[: prefix.index("/", prefix.index("://") + 3) + 1], None
    while True:
        found, token = _retry(
            prefix, lambda bucket, key, token=token: bucket.page(key, deep, token)
        )
        for key, size, modified in found:
            if not key.endswith("/"):
                yield Stored(root + key, size, modified)
        if token is None:
            return


class ObjectReader(io.RawIOBase):
    """An object as a file that is read in parts, wherever one seeks; see open_object."""

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
    """Opens an object for reading in parts of so many bytes."""
    return io.BufferedReader(ObjectReader(uri), read_ahead)


def _retry(uri: str, request: Callable[[Bucket, str], T]) -> T:
    """Makes a request until it is answered, with growing waits that no two workers share."""
    bucket, key = _locate(uri)
    started, tries = time.monotonic(), 0
    while True:
        try:
            return request(bucket, key)
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
        raise OSError(errno.EINVAL, f"there are stores of s3:// and gs://, not {scheme}://", uri)
    if not name:
        raise OSError(errno.EINVAL, "no bucket is named", uri)
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
