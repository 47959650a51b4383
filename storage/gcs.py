"""Google Cloud Storage."""

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from storage.bucket import TIMEOUTS, AgainError, Page, Part, brief, refusal
from storage.errors import StoreError


class GoogleBucket:
    """A bucket of Google Cloud Storage."""

    def __init__(self, name: str):
        import requests
        from google.api_core.exceptions import GoogleAPICallError, from_http_response
        from google.auth.exceptions import GoogleAuthError, TransportError
        from google.cloud.storage.exceptions import DataCorruption

        self._name = name
        self._client = _google_client()
        self._bucket = self._client.bucket(name)
        self._api_error = GoogleAPICallError
        self._from_response = from_http_response
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

    def begin_upload(self, key: str, kind: str) -> str:
        # A resumable upload is named by the address of its session.
        blob = self._bucket.blob(key)
        return self._call(key, blob.create_resumable_upload_session, content_type=kind)

    def put_part(self, key: str, upload: str, part: Part) -> str:
        last = part.start + len(part.content) - 1
        bounds = {"Content-Range": f"bytes {part.start}-{last}/{part.size}"}
        self._send(key, "PUT", upload, part.content, bounds)
        return ""

    def end_upload(self, key: str, upload: str, tags: list[str], size: int) -> None:
        """Does nothing: the last part completes the object."""

    def abort_upload(self, key: str, upload: str) -> None:
        self._send(key, "DELETE", upload, b"", {"Content-Length": "0"})

    def _send(self, key: str, method: str, url: str, body: bytes, headers: dict[str, str]) -> None:
        """A request within an upload; 308 asks for the next part, 499 confirms the end."""

        def send(timeout: tuple[float, float], retry: None) -> None:
            answer = self._client._http.request(
                method, url, data=body, headers=headers, timeout=timeout
            )
            if not answer.ok and answer.status_code not in (308, 499):
                raise self._from_response(answer)

        self._call(key, send)

    def stat(self, key: str) -> tuple[int, float]:
        blob = self._bucket.blob(key)
        self._call(key, blob.reload)
        return blob.size, blob.updated.timestamp()

    def delete(self, key: str) -> None:
        self._call(key, self._bucket.blob(key).delete)

    def page(self, prefix: str, deep: bool, token: str | None) -> Page:
        def page(**bounds: Any) -> Page:
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
        uri = f"gs://{self._name}/{key}"
        try:
            return request(*arguments, **named, timeout=TIMEOUTS, retry=None)
        except self._api_error as error:
            # In a listing only the bucket can be missing; elsewhere the message names it.
            listed = request.__name__ == "page" or "bucket does not exist" in error.message
            code = "NoSuchBucket" if error.code == 404 and listed else error.code.name
            raise refusal(uri, error.code, code, error.message) from None
        except self._silences as error:
            raise AgainError(f"no answer ({brief(error)})") from None
        except self._auth_error as error:
            raise StoreError(f"{uri}: {brief(error)}") from None


@lru_cache(maxsize=1)
def _google_client() -> Any:
    """The client of this process; its threads share it and its connections."""
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import storage

    try:
        # The client requires a project, which is needed only to create buckets.
        return storage.Client(project=os.environ.get("GOOGLE_CLOUD_PROJECT", "none"))
    except GoogleAuthError as error:
        raise StoreError(f"gs://: {brief(error)}") from None
