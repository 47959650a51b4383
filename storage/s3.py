"""Amazon S3, and stores that speak its protocol."""

import errno
from functools import lru_cache
from typing import Any

from storage.bucket import TIMEOUTS, AgainError, Page, Part, brief, refusal
from storage.errors import StoreError

_CONNECTIONS = 32


class S3Bucket:
    """A bucket of S3, or of a store that speaks its protocol."""

    def __init__(self, name: str):
        from botocore import exceptions

        self._name = name
        self._client = _s3_client()
        self._client_error = exceptions.ClientError
        self._any_error = exceptions.BotoCoreError
        self._invalid = exceptions.ParamValidationError
        self._silences = (
            exceptions.HTTPClientError, exceptions.ConnectionError,
            exceptions.IncompleteReadError, exceptions.FlexibleChecksumError,
        )  # fmt: skip

    def read(self, key: str, start: int | None, end: int | None) -> bytes:
        part = {} if start is None else {"Range": f"bytes={start}-{end - 1}"}
        return self._call("get_object", Key=key, **part)

    def write(self, key: str, content: bytes, kind: str, only_new: bool) -> None:
        condition = {"IfNoneMatch": "*"} if only_new else {}
        self._call("put_object", Key=key, Body=content, ContentType=kind, **condition)

    def begin_upload(self, key: str, kind: str) -> str:
        return self._call("create_multipart_upload", Key=key, ContentType=kind)["UploadId"]

    def put_part(self, key: str, upload: str, part: Part) -> str:
        named = {"UploadId": upload, "PartNumber": part.number + 1, "Body": part.content}
        return self._call("upload_part", Key=key, **named)["ETag"]

    def end_upload(self, key: str, upload: str, tags: list[str], size: int) -> None:
        parts = {"Parts": [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(tags, 1)]}
        try:
            self._call("complete_multipart_upload", Key=key, UploadId=upload, MultipartUpload=parts)
        except FileNotFoundError:
            # A first try whose answer was lost: the upload has become the object.
            if self.stat(key)[0] != size:
                raise

    def abort_upload(self, key: str, upload: str) -> None:
        self._call("abort_multipart_upload", Key=key, UploadId=upload)

    def stat(self, key: str) -> tuple[int, float]:
        found = self._call("head_object", Key=key)
        return found["ContentLength"], _whole_seconds(found["LastModified"])

    def delete(self, key: str) -> None:
        self._call("delete_object", Key=key)

    def page(self, prefix: str, deep: bool, token: str | None) -> Page:
        bounds = {} if deep else {"Delimiter": "/"}
        if token is not None:
            bounds["ContinuationToken"] = token
        answer = self._call("list_objects_v2", Prefix=prefix, **bounds)
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
            answer, status = error.response.get("Error", {}), error.response["ResponseMetadata"]
            code, status = answer.get("Code", ""), status["HTTPStatusCode"]
            if status == 501 and "IfNoneMatch" in arguments:  # the store knows no conditions
                del arguments["IfNoneMatch"]
                return self._call(operation, **arguments)
            raise refusal(uri, status, code, answer.get("Message", "")) from None
        except self._silences as error:
            place = self._client.meta.endpoint_url
            raise AgainError(f"no answer from {place} ({brief(error)})") from None
        except self._invalid as error:
            raise OSError(errno.EINVAL, brief(error), uri) from None
        except self._any_error as error:  # missing credentials, for example
            raise StoreError(f"{uri}: {brief(error)}") from None


@lru_cache(maxsize=1)
def _s3_client() -> Any:
    """The client of this process; its threads share it and its connections."""
    import boto3
    from botocore.config import Config

    # Retries are in storage.objects: botocore does not retry an answer that breaks off in its body,
    # and does not bound the time of all tries together.
    config = Config(
        connect_timeout=TIMEOUTS[0],
        read_timeout=TIMEOUTS[1],
        retries={"total_max_attempts": 1},
        max_pool_connections=_CONNECTIONS,
    )
    # Stores other than Amazon's accept any region.
    session = boto3.session.Session()
    return session.client("s3", region_name=session.region_name or "us-east-1", config=config)


def _whole_seconds(moment: Any) -> float:
    """Seconds since 1970 without fractions, which some stores give in one kind of answer only."""
    return float(int(moment.timestamp()))
