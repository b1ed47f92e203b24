"""Reading objects of S3, out of buckets that the operator has listed."""

from functools import cached_property
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from deployments.gateway.media.fault import Fault, NotDownloaded, TooManyBytes
from deployments.gateway.media.threads import Threads

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

SCHEME = "s3://"
READERS = 8
CONFIG = Config(connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 2}, max_pool_connections=READERS)


class Buckets:
    """The buckets that requests may name. Their objects are open to every key, so list none that is a secret.

    Credentials, region and endpoint are boto3's own: from the environment, or the role of the machine.
    """

    def __init__(self, names: tuple[str, ...] = ()) -> None:
        self._names = frozenset(names)
        self._readers = Threads(READERS, "s3")

    async def read(self, url: str, bytes_max: int, tenant: str) -> bytes:
        """The object at `s3://bucket/key`. Raises `Fault`; a bucket that is not listed looks like one that is not there."""
        if not self._names:
            raise Fault("invalid_image_url", "s3:// is not taken here. Send an http, https or data URL")
        bucket, _, key = url.removeprefix(SCHEME).partition("/")
        if bucket not in self._names or not key:
            raise NotDownloaded
        return await self._readers.run(tenant, self._read, bucket, key, bytes_max)

    def _read(self, bucket: str, key: str, bytes_max: int) -> bytes:
        try:
            found = self._client.get_object(Bucket=bucket, Key=key)
            with found["Body"] as body:
                # One byte beyond the cap tells a longer one.
                data = b"" if found["ContentLength"] > bytes_max else body.read(bytes_max + 1)
        except (BotoCoreError, ClientError, OSError) as error:
            raise NotDownloaded from error
        if found["ContentLength"] > bytes_max or len(data) > bytes_max:
            raise TooManyBytes(bytes_max)
        return data

    @cached_property
    def _client(self) -> "S3Client":
        return boto3.client("s3", config=CONFIG)
