"""How a body was compressed on its way (`Content-Encoding`), and what it was before."""

import zlib
from collections.abc import Iterable

from deployments.gateway.media.fault import Fault, NotDownloaded, TooManyBytes

# zlib's window and header. What is called "deflate" has zlib's header by the standard, and none from some servers.
GZIP, ZLIB, RAW = zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS
PACKINGS = {"gzip": (GZIP,), "x-gzip": (GZIP,), "deflate": (ZLIB, RAW)}


def check_packing(headers: Iterable[str]) -> str:
    """The one packing of `PACKINGS` that `Content-Encoding` names, or "". Raises `Fault` for any other, and for several."""
    named = [word.strip().lower() for header in headers for word in header.split(",")]
    packings = [name for name in named if name not in ("", "identity")]
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
    unpacker = zlib.decompressobj(window)
    found = unpacker.decompress(data, bytes_max + 1)
    if len(found) > bytes_max:
        raise TooManyBytes(bytes_max)
    if not unpacker.eof:
        raise zlib.error("it is cut off")
    return found
