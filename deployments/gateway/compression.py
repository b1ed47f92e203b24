"""A request's body that its client has compressed, under the same cap as one that is not. Pure."""

import zlib

from deployments.gateway.errors import BadRequest, EncodingNotTaken, TooLarge

HEADER = "Content-Encoding"
# How zlib is told what to expect: gzip's frame, or zlib's own, which HTTP calls deflate.
WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
# Some clients send deflate without a frame.
NO_FRAME = -zlib.MAX_WBITS
# What is made of a byte at most, beyond the first MiB. Text becomes a tenth at best and images hardly less; more is a bomb, of
# which a hundred kilobytes are as much work as thirty megabytes that are sent as they are.
TIMES_MAX, FREE_BYTES = 20, 2**20


def encoding_of(header: str | None) -> str | None:
    """What the body is compressed by, None for nothing. Raises `EncodingNotTaken`."""
    name = (header or "identity").strip().lower()
    if name in ("", "identity"):
        return None
    if name not in WINDOW_BITS:
        raise EncodingNotTaken
    return name


def decompressed(body: bytes, encoding: str, bytes_max: int) -> bytes:
    """What was compressed; not a byte more than one above the cap, or above what such a body may become, is made of it. Raises
    `BadRequest` or `TooLarge`.
    """
    bytes_max = min(bytes_max, FREE_BYTES + TIMES_MAX * len(body))
    try:
        return _read(body, WINDOW_BITS[encoding], bytes_max)
    except zlib.error:
        pass
    try:
        if encoding == "deflate":
            return _read(body, NO_FRAME, bytes_max)
    except zlib.error:
        pass
    raise BadRequest(
        f"The body is not what '{HEADER}' says, or cut off. Compress it anew, or send it plain.", param=HEADER
    )


def _read(body: bytes, window_bits: int, bytes_max: int) -> bytes:
    reader = zlib.decompressobj(window_bits)
    plain = reader.decompress(body, bytes_max + 1)
    if len(plain) > bytes_max:
        raise TooLarge(bytes_max)
    if not reader.eof or reader.unused_data:
        raise zlib.error
    return plain
