"""Objects in S3, or in what speaks its language: boto3 takes the address from AWS_ENDPOINT_URL."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from deployments.files.place import StoreFailed, Upload

if TYPE_CHECKING:  # the stubs are a dependency of development only
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

# S3 takes parts of 5 MiB and more, and at most 10,000 of them.
PART_BYTES = 8 * 2**20


class Bucket:
    """Implements `deployments.files.place.Place`. `prefix` is empty or ends in "/"."""

    def __init__(self, client: "S3Client", name: str, prefix: str) -> None:
        self._client = client
        self._name = name
        self._prefix = prefix

    @classmethod
    def at(cls, url: str) -> "Bucket":
        """`s3://bucket/prefix`"""
        address = urlsplit(url)
        prefix = address.path.strip("/")
        with translated(url):
            return cls(boto3.client("s3"), address.netloc, f"{prefix}/" if prefix else "")

    def read(self, key: str, start: int = 0, size: int | None = None) -> bytes | None:
        """See `Place`."""
        part = f"bytes={start}-{'' if size is None else start + size - 1}"
        with translated(key):
            try:
                return self._client.get_object(Bucket=self._name, Key=self._prefix + key, Range=part)["Body"].read()
            except ClientError as error:
                match error.response["Error"]["Code"]:
                    case "NoSuchKey":
                        return None
                    case "InvalidRange":  # it begins at or behind the end
                        return b""
                raise

    def upload(self, key: str) -> Upload:
        """See `Place`."""
        return _BucketUpload(self._client, self._name, self._prefix + key)

    def remove(self, key: str) -> None:
        """See `Place`."""
        with translated(key):
            self._client.delete_object(Bucket=self._name, Key=self._prefix + key)

    def keys(self, prefix: str) -> list[str]:
        """See `Place`."""
        lister = self._client.get_paginator("list_objects_v2")
        with translated(prefix):
            pages = lister.paginate(Bucket=self._name, Prefix=self._prefix + prefix, Delimiter="/")
            keys = [item["Key"].removeprefix(self._prefix) for page in pages for item in page.get("Contents", ())]
            return [key for key in keys if not key.endswith("/")]

    def stored(self, prefix: str) -> tuple[int, int]:
        """See `Place`."""
        lister = self._client.get_paginator("list_objects_v2")
        with translated(prefix):
            pages = lister.paginate(Bucket=self._name, Prefix=self._prefix + prefix, Delimiter="/")
            sizes = [item["Size"] for page in pages for item in page.get("Contents", ())]
        return len(sizes), sum(sizes)


class _BucketUpload:
    """One request if it is small, a multipart upload if it is not."""

    def __init__(self, client: "S3Client", bucket: str, key: str) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._rest = bytearray()
        self._upload_id = ""
        self._parts: list[CompletedPartTypeDef] = []

    def write(self, data: bytes) -> None:
        """See `Upload`."""
        self._rest += data
        if len(self._rest) >= PART_BYTES:
            with translated(self._key):
                self._send_part()

    def finish(self) -> None:
        """See `Upload`."""
        with translated(self._key):
            if not self._upload_id:
                self._client.put_object(Bucket=self._bucket, Key=self._key, Body=bytes(self._rest))
                return
            if self._rest:
                self._send_part()
            self._client.complete_multipart_upload(
                Bucket=self._bucket, Key=self._key, UploadId=self._upload_id, MultipartUpload={"Parts": self._parts}
            )
            self._upload_id = ""

    def abandon(self) -> None:
        """See `Upload`."""
        if self._upload_id:
            with translated(self._key):
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=self._upload_id)
            self._upload_id = ""

    def _send_part(self) -> None:
        if not self._upload_id:
            begun = self._client.create_multipart_upload(Bucket=self._bucket, Key=self._key)
            self._upload_id = begun["UploadId"]
        number = len(self._parts) + 1
        sent = self._client.upload_part(
            Bucket=self._bucket, Key=self._key, UploadId=self._upload_id, PartNumber=number, Body=bytes(self._rest)
        )
        self._parts.append({"ETag": sent["ETag"], "PartNumber": number})
        self._rest.clear()


@contextmanager
def translated(key: str) -> Iterator[None]:
    """The one place where S3's errors become ours."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise StoreFailed(f"{key}: S3 failed: {error}; check the bucket and the credentials") from error
