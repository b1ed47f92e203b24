"""How a body was compressed on its way (`Content-Encoding`), and what it was before."""

import zlib
from collections.abc import Iterable

from deployments.gateway.media.fault import Fault, NotDownloaded, TooManyBytes

# zlib's window and header. What is called "deflate" has zlib's header by the standard, and none from some servers.
GZIP, ZLIB, RAW = zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS
PACKINGS = {"gzip": (GZIP,), "x-gzip": (GZIP,), "deflate": (ZLIB, RAW)}
GZIP_START = b"\x1f\x8b"
# Programs write one; each more is a copy of what follows it.
MEMBERS_MAX = 16
# What stands in that header and packs nothing: by the standard, and by the habit of stores of files, which tell what they
# were told at the upload.
NO_PACKINGS = frozenset({"", "identity", "none", "binary", "8bit", "utf-8", "aws-chunked"})


def check_packing(headers: Iterable[str]) -> str:
    """The one packing of `PACKINGS` that `Content-Encoding` names, or "". Raises `Fault` for any other, and for several."""
    named = [word.strip().lower() for header in headers for word in header.split(",")]
    packings = [name for name in named if name not in NO_PACKINGS]
    if len(packings) > 1 or not PACKINGS.keys() >= set(packings):
        raise Fault(
            "failed_to_download_image",
            "its server sent it in a Content-Encoding that is not taken. Have it sent as it is, or with gzip or deflate",
        )
    return packings[0] if packings else ""


def unpacked(data: bytes, packing: str, bytes_max: int) -> bytes:
    """What was packed. Raises `Fault`, also for more than `bytes_max`, of which no more are unpacked."""
    for window in PACKINGS[packing]:
        try:
            return _unpacked(data, window, bytes_max)
        except zlib.error:
            continue
    raise NotDownloaded


def _unpacked(data: bytes, window: int, bytes_max: int) -> bytes:
    """Of gzip all members that follow each other (RFC 1952); what else stands behind the end is passed over."""
    found = bytearray()
    for _ in range(MEMBERS_MAX):
        unpacker = zlib.decompressobj(window)
        found += unpacker.decompress(data, bytes_max + 1 - len(found))
        if len(found) > bytes_max:
            raise TooManyBytes(bytes_max)
        if not unpacker.eof:
            raise zlib.error("it is cut off")
        data = unpacker.unused_data
        if not (window == GZIP and data.startswith(GZIP_START)):
            return bytes(found)
    raise zlib.error("it has too many members")
