"""Where a medium's bytes come from: inline, the web, a bucket, or an uploaded file."""

import binascii
import re
from dataclasses import dataclass

import pybase64

from deployments.files.file import FileMissing, Owner
from deployments.files.place import StoreFailed
from deployments.gateway.errors import FilesUnavailable
from deployments.gateway.media.fault import Fault, NotTaken, TooManyBytes
from deployments.gateway.media.fetch import Fetcher
from deployments.gateway.media.files import Files
from deployments.gateway.media.s3 import SCHEME as S3
from deployments.gateway.media.s3 import Buckets

DATA = "data:"
# What OpenAI's SDK and ours call an uploaded file.
_FILE_ID = re.compile(r"file[-_][A-Za-z0-9_-]{1,100}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """`media_types` begin a data URL's; `taken` tells them to a caller."""

    media_types: tuple[str, ...]
    taken: str
    bytes_max: int


class Sources:
    """Reads what a part of a request names, within the bytes that are wanted."""

    def __init__(self, fetcher: Fetcher, buckets: Buckets, files: Files) -> None:
        self._fetcher = fetcher
        self._buckets = buckets
        self._files = files

    async def read(self, url: str, owner: Owner, wanted: Wanted) -> bytes:
        """The bytes, at least one. Raises `Fault` or `FilesUnavailable`."""
        data = await self._read(url, owner, wanted)
        if not data:
            raise Fault("empty_image_file", "it is empty")
        if len(data) > wanted.bytes_max:
            raise TooManyBytes(wanted.bytes_max)
        return data

    async def _read(self, url: str, owner: Owner, wanted: Wanted) -> bytes:
        if url.startswith(DATA):
            return decode_data_url(url, wanted)
        if url.startswith(S3):
            return await self._buckets.read(url, wanted.bytes_max)
        if _FILE_ID.fullmatch(url):
            return await self._file(url, owner, wanted.bytes_max)
        return await self._fetcher.fetch(url, wanted.bytes_max)

    async def _file(self, file_id: str, owner: Owner, bytes_max: int) -> bytes:
        try:
            if (await self._files.find(owner, file_id)).size_bytes > bytes_max:
                raise TooManyBytes(bytes_max)
            return await self._files.read(file_id, owner)
        except FileMissing as error:
            raise Fault("image_file_not_found", "there is no such file here. Upload it, or send its content") from error
        except StoreFailed as error:
            raise FilesUnavailable from error


def decode_data_url(url: str, wanted: Wanted) -> bytes:
    """The bytes of `data:<media type>;base64,...`. Raises `Fault`."""
    head, comma, payload = url.partition(",")
    kind = head.removeprefix(DATA).lower()
    if not comma or not kind.endswith(";base64"):
        raise Fault("invalid_image_url", "it is not a data URL with base64")
    if not kind.startswith(wanted.media_types):
        raise NotTaken(wanted.taken)
    return decode_base64(payload)


def decode_base64(payload: str) -> bytes:
    """Raises `Fault`."""
    try:
        return pybase64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Fault("invalid_base64_image", "the base64 does not decode") from error
