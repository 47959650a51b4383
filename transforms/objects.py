"""Objects of S3 and of Google Cloud Storage, by URI: each request bounded in time and tries.

Credentials and endpoints come from the environment (AWS_*, GOOGLE_APPLICATION_CREDENTIALS, ...), on
every machine that takes part.
"""

import errno
import io
import math
import mimetypes
import os
import random
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

# Seconds. A store that does not answer is given up within a minute, the last try included; one that
# answers that it is busy will have time for us.
_CONNECT_SECONDS = 5.0
_READ_SECONDS = 20.0
_PATIENCE_SILENT = 25.0
_PATIENCE_BUSY = 180.0
_FIRST_WAIT = 0.25
_LONGEST_WAIT = 15.0
_READ_AHEAD = 4 << 20
_CONNECTIONS = 32

T = TypeVar("T")
# Of a listing: keys, bytes and seconds since 1970; and what the next page is asked for with.
_Page = tuple[list[tuple[str, int, float]], str | None]
_most_patience = math.inf


def hurry(seconds: float = 2.0) -> None:
    """Lets this process, which is about to end, try nothing again after so many seconds."""
    global _most_patience
    _most_patience = seconds


class StoreError(Exception):
    """A store cannot be used, or not now; one line. No image's own error: it ends the run."""


class Stored(NamedTuple):
    """An object as a listing tells it: URI, bytes, and when it was written, seconds since 1970."""

    uri: str
    size: int
    modified: float


class _AgainError(Exception):
    """What may go well at another try."""

    def __init__(self, reason: str, patience: float):
        super().__init__(reason)
        self.patience = patience


class _ExistsError(Exception):
    """An object that was to be new is there."""


def read_object(uri: str, start: int | None = None, end: int | None = None) -> bytes:
    """The content of an object, or its bytes from `start` up to `end`, of which there must be some.

    Raises:
      FileNotFoundError, PermissionError: of this object.
      OSError: another error of this object.
      StoreError: the store cannot be used.
    """
    return _ask(uri, lambda bucket, key: bucket.read(key, start, end))


def read_small_object(uri: str, limit: int) -> bytes:
    """The content of an object of at most `limit` bytes.

    Raises:
      OSError, StoreError: see read_object; it is larger.
    """
    if stat_object(uri).size > limit:
        raise OSError(errno.EFBIG, f"larger than {limit:,} bytes", uri)
    return read_object(uri)


def write_object(uri: str, content: bytes, only_new: bool = False) -> bool:
    """Writes an object by one put, so whole or not at all.

    Args:
      uri: where.
      content: what.
      only_new: write only where there is none. Stores that know no such condition overwrite.

    Returns:
      Whether it was written.

    Raises:
      OSError, StoreError: see read_object.
    """
    kind = mimetypes.guess_type(uri)[0] or "application/octet-stream"
    try:
        _ask(uri, lambda bucket, key: bucket.write(key, content, kind, only_new))
    except _ExistsError:
        return False
    return True


def stat_object(uri: str) -> Stored:
    """Size and time of an object.

    Raises:
      OSError, StoreError: see read_object.
    """
    return Stored(uri, *_ask(uri, lambda bucket, key: bucket.look(key)))


def look_at(uri: str) -> Stored | None:
    """As stat_object, or None if there is no such object."""
    try:
        return stat_object(uri)
    except FileNotFoundError:
        return None


def delete_object(uri: str) -> None:
    """Removes an object, if it is there.

    Raises:
      OSError, StoreError: see read_object.
    """
    try:
        _ask(uri, lambda bucket, key: bucket.delete(key))
    except FileNotFoundError:
        return


def list_objects(prefix: str, deep: bool = True) -> Iterator[Stored]:
    """Lists the objects whose URI begins with a prefix, page by page.

    Markers of directories (names that end in a slash) are no objects of ours.

    Args:
      prefix: a URI; `s3://bucket/photos/a` is one of `s3://bucket/photos/abc/d.png`.
      deep: also those with a further slash behind the prefix.

    Raises:
      OSError, StoreError: see read_object.
    """
    root, token = prefix[: prefix.index("/", prefix.index("://") + 3) + 1], None
    while True:
        found, token = _ask(prefix, lambda bucket, key, token=token: bucket.page(key, deep, token))
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

    def tell(self):
        return self._at

    def readinto(self, buffer):
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        content = read_object(self._uri, self._at, end)
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)


def open_object(uri: str) -> io.BufferedReader:
    """Opens an object for reading in parts.

    Raises:
      OSError, StoreError: see read_object.
    """
    return io.BufferedReader(ObjectReader(uri), _READ_AHEAD)


def _ask(uri: str, request: Callable[["_Bucket", str], T]) -> T:
    """Makes a request until it is answered, with growing waits that no two workers share."""
    bucket, key = _locate(uri)
    started, tries = time.monotonic(), 0
    while True:
        try:
            return request(bucket, key)
        except _AgainError as again:
            tries += 1
            wait = min(_FIRST_WAIT * 2 ** (tries - 1), _LONGEST_WAIT) * random.uniform(0.5, 1.0)
            seconds = time.monotonic() - started
            if seconds + wait > min(again.patience, _most_patience):
                raise StoreError(
                    f"{uri}: {again}; tried {tries} times in {seconds:.0f} seconds"
                ) from None
            time.sleep(wait)


def _locate(uri: str) -> tuple["_Bucket", str]:
    scheme, _, rest = uri.partition("://")
    name, _, key = rest.partition("/")
    if scheme not in _STORES:
        raise OSError(errno.EINVAL, f"there are stores of s3:// and gs://, not {scheme}://", uri)
    if not name:
        raise OSError(errno.EINVAL, "no bucket is named", uri)
    return _open_bucket(scheme, name), key


@lru_cache(maxsize=16)
def _open_bucket(scheme: str, name: str) -> "_Bucket":
    store, package = _STORES[scheme]
    try:
        return store(name)
    except ImportError:
        raise StoreError(
            f"{scheme}://{name}: needs a package that is not installed: "
            f"pip install 'srcnn-beam[{package}]'"
        ) from None


class _S3Bucket:
    def __init__(self, name: str):
        from botocore import exceptions

        self._name = name
        self._client = _s3_client()
        self._client_error = exceptions.ClientError
        self._any_error = exceptions.BotoCoreError
        self._invalid = exceptions.ParamValidationError
        self._silences = (
            exceptions.HTTPClientError,
            exceptions.ConnectionError,
            exceptions.IncompleteReadError,
            exceptions.FlexibleChecksumError,
        )

    def read(self, key: str, start: int | None, end: int | None) -> bytes:
        part = {} if start is None else {"Range": f"bytes={start}-{end - 1}"}
        return self._call("get_object", Key=key, **part)

    def write(self, key: str, content: bytes, kind: str, only_new: bool) -> None:
        condition = {"IfNoneMatch": "*"} if only_new else {}
        self._call("put_object", Key=key, Body=content, ContentType=kind, **condition)

    def look(self, key: str) -> tuple[int, float]:
        found = self._call("head_object", Key=key)
        return found["ContentLength"], _whole_seconds(found["LastModified"])

    def delete(self, key: str) -> None:
        self._call("delete_object", Key=key)

    def page(self, prefix: str, deep: bool, token: str | None) -> _Page:
        arguments = {"Prefix": prefix}
        if not deep:
            arguments["Delimiter"] = "/"
        if token is not None:
            arguments["ContinuationToken"] = token
        answer = self._call("list_objects_v2", **arguments)
        found = [
            (one["Key"], one["Size"], _whole_seconds(one["LastModified"]))
            for one in answer.get("Contents", ())
        ]
        return found, answer.get("NextContinuationToken")

    def _call(self, operation: str, **arguments: Any) -> Any:
        uri = f"s3://{self._name}/{arguments.get('Key', arguments.get('Prefix', ''))}"
        try:
            answer = getattr(self._client, operation)(Bucket=self._name, **arguments)
            return answer["Body"].read() if "Body" in answer else answer
        except self._client_error as error:
            told, status = error.response.get("Error", {}), error.response["ResponseMetadata"]
            code, status = told.get("Code", ""), status["HTTPStatusCode"]
            if status == 501 and "IfNoneMatch" in arguments:
                del arguments["IfNoneMatch"]
                return self._call(operation, **arguments)
            raise _refusal(uri, status, code, told.get("Message", "")) from None
        except self._silences as error:
            place = self._client.meta.endpoint_url
            raise _AgainError(
                f"no answer from {place} ({_brief(error)})", _PATIENCE_SILENT
            ) from None
        except self._invalid as error:
            raise OSError(errno.EINVAL, _brief(error), uri) from None
        except self._any_error as error:  # no credentials, say
            raise StoreError(f"{uri}: {_brief(error)}") from None


@lru_cache(maxsize=1)
def _s3_client() -> Any:
    """The client of this process; its threads share it and its connections."""
    import boto3
    from botocore.config import Config

    # The tries are ours: botocore does not try again when an answer breaks off in its body, and has
    # no bound for all of its tries together.
    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"total_max_attempts": 1},
        max_pool_connections=_CONNECTIONS,
    )
    # us-east-1, unless the environment says otherwise: other stores than Amazon's take any.
    session = boto3.session.Session()
    return session.client("s3", region_name=session.region_name or "us-east-1", config=config)


class _GoogleBucket:
    def __init__(self, name: str):
        import requests
        from google.api_core.exceptions import GoogleAPICallError
        from google.auth.exceptions import GoogleAuthError, TransportError
        from google.cloud.storage.exceptions import DataCorruption

        self._name = name
        self._client = _google_client()
        self._bucket = self._client.bucket(name)
        self._api_error = GoogleAPICallError
        self._auth_error = GoogleAuthError
        self._silences = (
            requests.exceptions.RequestException, TransportError, ConnectionError, DataCorruption,
        )  # fmt: skip

    def read(self, key: str, start: int | None, end: int | None) -> bytes:
        last = None if end is None else end - 1
        blob = self._bucket.blob(key)
        return self._call(key, blob.download_as_bytes, start=start, end=last)

    def write(self, key: str, content: bytes, kind: str, only_new: bool) -> None:
        condition = {"if_generation_match": 0} if only_new else {}
        blob = self._bucket.blob(key)
        self._call(key, blob.upload_from_string, content, content_type=kind, **condition)

    def look(self, key: str) -> tuple[int, float]:
        blob = self._bucket.blob(key)
        self._call(key, blob.reload)
        return blob.size, blob.updated.timestamp()

    def delete(self, key: str) -> None:
        self._call(key, self._bucket.blob(key).delete)

    def page(self, prefix: str, deep: bool, token: str | None) -> _Page:
        def page(**bounds: Any) -> _Page:
            blobs = self._client.list_blobs(
                self._name,
                prefix=prefix,
                delimiter=None if deep else "/",
                page_token=token,
                fields="items(name,size,updated),nextPageToken",
                **bounds,
            )
            first = next(blobs.pages, ())
            found = [(blob.name, blob.size, blob.updated.timestamp()) for blob in first]
            return found, blobs.next_page_token

        return self._call(prefix, page)

    def _call(self, key: str, request: Callable, *arguments: Any, **named: Any) -> Any:
        uri, bounds = f"gs://{self._name}/{key}", (_CONNECT_SECONDS, _READ_SECONDS)
        try:
            return request(*arguments, **named, timeout=bounds, retry=None)
        except self._api_error as error:
            # A listing has nothing else that could be missing; the message names it else.
            listed = request.__name__ == "page" or "bucket does not exist" in error.message
            code = "NoSuchBucket" if error.code == 404 and listed else error.code.name
            raise _refusal(uri, error.code, code, error.message) from None
        except self._silences as error:
            raise _AgainError(f"no answer ({_brief(error)})", _PATIENCE_SILENT) from None
        except self._auth_error as error:
            raise StoreError(f"{uri}: {_brief(error)}") from None


@lru_cache(maxsize=1)
def _google_client() -> Any:
    """The client of this process; its threads share it and its connections."""
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import storage

    try:
        # A project is asked for, and needed only to make buckets.
        return storage.Client(project=os.environ.get("GOOGLE_CLOUD_PROJECT", "none"))
    except GoogleAuthError as error:
        raise StoreError(f"gs://: {_brief(error)}") from None


# Each call is one request, and raises _AgainError where another may help.
_Bucket = _S3Bucket | _GoogleBucket
_STORES: dict[str, tuple[Callable[[str], _Bucket], str]] = {
    "s3": (_S3Bucket, "s3"),
    "gs": (_GoogleBucket, "gcs"),
}
# Answers that are not about the object that was asked for.
_OF_THE_STORE = (
    "ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId",
    "SignatureDoesNotMatch", "RequestTimeTooSkewed",
)  # fmt: skip
_BUSY = (
    "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestTimeout",
    "InternalError", "ConditionalRequestConflict", "OperationAborted",
)  # fmt: skip


def _refusal(uri: str, status: int, code: str, message: str) -> Exception:
    """What an answer that is no success means."""
    told = " ".join(f"{code} {status}: {message}".split())
    if status == 412:
        return _ExistsError()
    if status in (408, 429) or status >= 500 or code in _BUSY:
        return _AgainError(f"the store is busy or broken ({told})", _PATIENCE_BUSY)
    if code in _OF_THE_STORE or status == 401:
        return StoreError(f"{uri}: {told}")
    if status == 404 and code != "NoSuchBucket":
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), uri)
    if status == 403:
        return PermissionError(errno.EACCES, f"access denied ({told})", uri)
    return OSError(errno.EINVAL, told, uri)


def _whole_seconds(moment: Any) -> float:
    """Some stores tell fractions in one kind of answer and not in the other."""
    return float(int(moment.timestamp()))


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
