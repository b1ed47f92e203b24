"""An export in S3, or in what speaks its language: boto3 takes the address from AWS_ENDPOINT_URL."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from exports.errors import TargetFailed

if TYPE_CHECKING:  # the stubs are a dependency of development only
    from mypy_boto3_s3 import S3Client


class Bucket:
    """Implements `exports.target.Target`. `prefix` is empty or ends in "/"."""

    def __init__(self, client: "S3Client", name: str, prefix: str) -> None:
        self._client = client
        self._name = name
        self._prefix = prefix

    @classmethod
    def at(cls, url: str) -> "Bucket":
        """`s3://bucket/prefix`"""
        address = urlsplit(url)
        prefix = address.path.strip("/")
        with _translated(url):
            return cls(boto3.client("s3"), address.netloc, f"{prefix}/" if prefix else "")

    def read(self, key: str) -> bytes | None:
        """See `Target`."""
        with _translated(key):
            try:
                return self._client.get_object(Bucket=self._name, Key=self._prefix + key)["Body"].read()
            except self._client.exceptions.NoSuchKey:
                return None

    def write(self, key: str, data: bytes) -> None:
        """See `Target`."""
        with _translated(key):
            self._client.put_object(Bucket=self._name, Key=self._prefix + key, Body=data)

    def keys(self, prefix: str) -> list[str]:
        """See `Target`."""
        lister = self._client.get_paginator("list_objects_v2")
        with _translated(prefix):
            pages = lister.paginate(Bucket=self._name, Prefix=self._prefix + prefix)
            keys = [item["Key"].removeprefix(self._prefix) for page in pages for item in page.get("Contents", ())]
            return [key for key in keys if not key.endswith("/")]


@contextmanager
def _translated(key: str) -> Iterator[None]:
    """The one place where S3's errors become ours."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise TargetFailed(
            f"{key}: S3 failed: {error}; check the bucket, the credentials and AWS_ENDPOINT_URL"
        ) from error
