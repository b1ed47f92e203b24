"""Lines of a connection, each of a bounded length: one that is longer does not end what comes behind it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

CHUNK_BYTES = 256 * 2**10
# Of a line that is too long its beginning is kept: its number is there, so that it can be answered.
HEAD_BYTES = 64


@dataclass(frozen=True, slots=True)
class TooLong:
    """A line that was not read to its end, by its first bytes."""

    head: bytes


async def lines_of(reader: asyncio.StreamReader, bytes_max: int) -> AsyncIterator[bytes | TooLong]:
    """Every line, without its end. What comes last and has no end is none."""
    begun = bytearray()  # of the line that is being read
    skipped = False
    while chunk := await reader.read(CHUNK_BYTES):
        *ended, last = chunk.split(b"\n")
        for part in ended:
            if skipped or len(begun) + len(part) > bytes_max:
                yield TooLong(bytes(begun[:HEAD_BYTES] + part[:HEAD_BYTES])[:HEAD_BYTES])
            else:
                yield bytes(begun + part) if begun else part
            begun, skipped = bytearray(), False
        if not skipped:
            begun += last
        if len(begun) > bytes_max:
            begun, skipped = begun[:HEAD_BYTES], True
