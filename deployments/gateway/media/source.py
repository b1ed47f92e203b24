"""Where a medium's bytes come from: inline, the web, a bucket, or an uploaded file."""

import re
from dataclasses import dataclass

from deployments.files.file import FileMissing, Owner
from deployments.files.place import StoreFailed
from deployments.gateway.errors import FilesUnavailable
from deployments.gateway.media.data_url import is_data_url, read_data_url
from deployments.gateway.media.fault import Fault, NotTaken, TooManyBytes
from deployments.gateway.media.fetch import Fetcher
from deployments.gateway.media.files import Files
from deployments.gateway.media.s3 import SCHEME as S3
from deployments.gateway.media.s3 import Buckets
from deployments.gateway.media.threads import Threads

# What OpenAI's SDK and ours call an uploaded file.
_FILE_ID = re.compile(r"file[-_][A-Za-z0-9_-]{1,100}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """`media_types` begin those that a data URL may have; `taken` tells them to a caller."""

    media_types: tuple[str, ...]
    taken: str
    bytes_max: int

    def takes(self, media_type: str) -> bool:
        """What says nothing ("") is decided by the bytes."""
        return not media_type or media_type.startswith(self.media_types)


class Sources:
    """Reads what a part of a request names, within the bytes that are wanted."""

    def __init__(self, fetcher: Fetcher, buckets: Buckets, files: Files, threads: Threads) -> None:
        self._fetcher = fetcher
        self._buckets = buckets
        self._files = files
        self._threads = threads

    async def read(self, url: str, owner: Owner, wanted: Wanted) -> bytes:
        """The bytes, at least one. Raises `Fault` or `FilesUnavailable`."""
        data = await self._read(url.strip(), owner, wanted)
        if not data:
            raise Fault("empty_image_file", "it is empty")
        if len(data) > wanted.bytes_max:
            raise TooManyBytes(wanted.bytes_max)
        return data

    async def _read(self, url: str, owner: Owner, wanted: Wanted) -> bytes:
        if is_data_url(url):
            return await self._inline(url, owner, wanted)
        if url.startswith(S3):
            return await self._buckets.read(url, wanted.bytes_max, owner.path)
        if _FILE_ID.fullmatch(url):
            return await self._file(url, owner, wanted.bytes_max)
        return await self._fetcher.fetch(url, wanted.bytes_max, owner.path)

    async def _inline(self, url: str, owner: Owner, wanted: Wanted) -> bytes:
        media_type, data = await self._threads.run_if_large(owner.path, read_data_url, url)
        if not wanted.takes(media_type):
            raise NotTaken(wanted.taken)
        return data

    async def _file(self, file_id: str, owner: Owner, bytes_max: int) -> bytes:
        try:
            if (await self._files.find(owner, file_id)).size_bytes > bytes_max:
                raise TooManyBytes(bytes_max)
            return await self._files.read(file_id, owner)
        except FileMissing as error:
            raise Fault("image_file_not_found", "there is no such file here. Upload it, or send its content") from error
        except StoreFailed as error:
            raise FilesUnavailable from error
