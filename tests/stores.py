"""Local object stores for tests that count requests and fail on command."""

import threading
from collections.abc import Callable, Iterable
from contextlib import contextmanager

import boto3
import moto.backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from storage import gcs, objects, s3

BUCKET = "bucket"
_CODES = {503: "SlowDown", 500: "InternalError", 403: "AccessDenied", 400: "ExpiredToken"}
ACCOUNT = "123456789012"  # moto's


class _Handler(WSGIRequestHandler):
    """Logs nothing and closes connections, so that threads end."""

    def log(self, *_, **__):
        pass


class S3Server:
    """An S3 server (moto) on a free port.

    Attributes:
      url: the endpoint.
      requests: method and path, with its query, of every request since the last `forget`.
      fault: called with method, path and the number of times that the same was asked before;
        returns a status to answer with instead, `drop` to close the connection, `lose` to do so
        when all is done, `cut` to break off in the middle of the answer, or None.
    """

    def __init__(self):
        moto.backends.get_backend("s3").reset()
        self._backend = moto.backends.get_backend("s3")[ACCOUNT]["aws"]
        self.requests: list[tuple[str, str]] = []
        self.fault: Callable[[str, str, int], int | str | None] = lambda *_: None
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        self._server = make_server(
            "127.0.0.1", 0, self._serve, threaded=True, request_handler=_Handler
        )
        self.url = f"http://127.0.0.1:{self._server.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def client(self):
        """A client independent of the code under test."""
        return boto3.client("s3", endpoint_url=self.url)

    def put(self, key: str, content: bytes) -> None:
        self._backend.put_object(BUCKET, key, content)

    def files(self, prefix: str = "") -> dict[str, bytes]:
        """The objects below a prefix, by the rest of their names."""
        client = self.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        keys = [one["Key"] for page in pages for one in page.get("Contents", ())]
        get = client.get_object
        return {k[len(prefix) :]: get(Bucket=BUCKET, Key=k)["Body"].read() for k in keys}

    def forget(self) -> None:
        self.requests.clear()

    def asked(self, method: str, part: str = "") -> int:
        """The number of requests of a method whose path contains a text."""
        return sum(m == method and part in path for m, path in self.requests)

    def close(self) -> None:
        """Stops the server; may be called again."""
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, environ: dict, start_response: Callable) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["RAW_URI"]
        with self._lock:
            fault = self.fault(method, path, self.requests.count((method, path)))
            self.requests.append((method, path))
        if fault == "lose":
            with self._lock:
                b"".join(self._moto(environ, lambda *_: None))
        if fault in ("drop", "lose"):
            environ["werkzeug.socket"].shutdown(2)
            raise ConnectionAbortedError
        if isinstance(fault, int):
            code = _CODES.get(fault, "Odd")
            body = f"<Error><Code>{code}</Code><Message>by the test</Message></Error>".encode()
            start_response(f"{fault} No", [("Content-Length", str(len(body)))])
            return [b"" if method == "HEAD" else body]
        if fault == "cut":
            with self._lock:
                body = b"".join(self._moto(environ, start_response))
            return [body[: len(body) // 2]]
        with self._lock:  # moto's backend is not made for threads
            return [b"".join(self._moto(environ, start_response))]


@contextmanager
def serving_s3(monkeypatch):
    """An S3 server with an empty bucket, configured in the environment."""
    server = S3Server()
    for name, value in {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    forget_clients()
    server.client().create_bucket(Bucket=BUCKET)
    try:
        yield server
    finally:
        server.close()
        forget_clients()


def forget_clients() -> None:
    """Drops cached clients, so that the next request reads the environment again."""
    for cached in (s3._s3_client, gcs._google_client, objects._open_bucket):
        cached.cache_clear()
